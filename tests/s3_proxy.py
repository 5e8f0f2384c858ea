"""A proxy before an S3 service that breaks connections, delays, cuts and changes what passes, as a schedule says."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from s3_stub import CODES

if TYPE_CHECKING:
    from collections.abc import Callable

TOO_LONG = 0.4
"""Seconds; longer than the client waits."""
AT_ONCE_RST = struct.pack("ii", 1, 0)


class FaultyProxy:
    """Serves until its block ends; `schedule` gives the fault of each call by the name of its operation, or null."""

    def __init__(self, behind: str) -> None:
        self.schedule: Callable[[str], str | None] = lambda _: None
        self.faults: Counter[tuple[str, str]] = Counter()
        self.behind = urlsplit(behind).netloc
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fault(self, operation: str) -> str | None:
        with self.lock:
            fault = self.schedule(operation)
            if fault:
                self.faults[operation, fault] += 1
            return fault


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece: in two, the second waits for the first's acknowledgement
    disable_nagle_algorithm = True

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.fault(self._operation())
        if fault in CODES:
            self._answer(int(fault), {}, f"<Error><Code>{CODES[fault]}</Code></Error>".encode())
        elif fault in {"reset", "unreachable"}:
            self._break_off()
        elif fault == "timeout":
            time.sleep(TOO_LONG)
            self._break_off()
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_HEAD = do_DELETE = _pass_on  # noqa: N815 - the names that the base class looks for

    def _operation(self) -> str:
        names = {"PUT": "put_object", "HEAD": "head_object", "DELETE": "delete_object"}
        return names.get(self.command) or ("list_objects_v2" if "list-type=2" in self.path else "get_object")

    def _forward(self, body: bytes, fault: str | None) -> None:
        if fault == "wrong" and self.command == "PUT":
            body = _changed(body)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {"expect", "connection"}}
        there = http.client.HTTPConnection(self.proxy.behind, timeout=30)
        try:
            there.request(self.command, self.path, body, headers)
            answer = there.getresponse()
            self._reply(answer.status, dict(answer.getheaders()), answer.read(), fault)
        finally:
            there.close()

    def _reply(self, status: int, headers: dict[str, str], data: bytes, fault: str | None) -> None:
        if fault == "lost":
            self._break_off()
            return
        whole = status < 400 and self.command == "GET" and "Content-Range" not in {name.title() for name in headers}
        changed = _changed(data) if fault == "wrong" and whole else data
        cut = fault in {"truncated", "broken off", "cut"} and len(data) > 1
        self._answer(status, headers, changed[: len(data) // 2] if cut else changed, size=len(data))
        if cut:
            self._break_off()

    def _answer(self, status: int, headers: dict[str, str], data: bytes, size: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                self.send_header(name, value)
        said = {name.lower(): value for name, value in headers.items()}.get("content-length")
        length = said if self.command == "HEAD" and said else str(len(data) if size is None else size)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()

    def _break_off(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE_RST)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _changed(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if data else data
