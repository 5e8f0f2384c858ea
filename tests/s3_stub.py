"""S3's answers in memory, as boto3's client gives them, and seeded faults between it and the store."""

# ruff: noqa: N803 - arguments have the names that boto3 gives them

from __future__ import annotations

import base64
import hashlib
import io
import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError

if TYPE_CHECKING:
    from collections.abc import Callable


ADDRESS = "https://somewhere.invalid"
FAULTS = {
    "put_object": ["500", "503", "409", "timeout", "reset", "unreachable", "wrong", "lost"],
    "get_object": ["500", "503", "timeout", "reset", "unreachable", "truncated", "broken off", "wrong"],
    "head_object": ["500", "503", "timeout", "reset", "unreachable"],
    "list_objects_v2": ["500", "503", "timeout", "reset", "unreachable", "truncated", "cut"],
    "delete_object": ["500", "503", "timeout", "reset", "unreachable", "lost"],
}
CODES = {"500": "InternalError", "503": "SlowDown", "409": "ConditionalRequestConflict", "404": "NoSuchKey"}
PAGE = 3


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def client_error(status: int, code: str, operation: str = "GetObject", **more: str) -> ClientError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": {}}
    return ClientError({"Error": {"Code": code, "Message": "…", **more}, "ResponseMetadata": metadata}, operation)


def seeded(seed: int, share: float) -> Callable[[str], str | None]:
    """A schedule in which each call fails with a probability, in one of the ways in which that call can."""
    rng = random.Random(seed)

    def fault(operation: str) -> str | None:
        return rng.choice(FAULTS[operation]) if rng.random() < share else None

    return fault


class Body(io.BytesIO):
    """A body that can end early, with an error or without."""

    def __init__(self, data: bytes, fault: str | None) -> None:
        super().__init__(data if fault is None else data[: len(data) // 2])
        self._fault, self._size = fault, len(data)

    def read(self, size: int | None = -1) -> bytes:
        if self._fault == "truncated":
            raise IncompleteReadError(actual_bytes=self._size // 2, expected_bytes=self._size)
        if self._fault == "broken off":
            raise ResponseStreamingError(error="connection broken")
        return super().read(size)


class StubS3:
    """A bucket in memory whose calls fail as a schedule says; `calls` counts them, `faults` what failed."""

    def __init__(self, schedule: Callable[[str], str | None] = lambda _: None) -> None:
        self.objects: dict[str, bytes] = {}
        self.schedule = schedule
        self.calls: Counter[str] = Counter()
        self.faults: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def _fault(self, operation: str) -> str | None:
        """Note a call and its fault; raise those for which nothing was done."""
        with self._lock:
            fault = self.schedule(operation)
            self.calls[operation] += 1
            self.faults[operation, fault or "none"] += 1
        if fault in CODES:
            raise client_error(int(fault), CODES[fault], operation)
        if fault in {"timeout", "reset", "unreachable"}:
            raise _transport_error(fault)
        return fault

    def put_object(self, *, Key: str, Body: bytes, **options: Any) -> dict[str, Any]:
        fault = self._fault("put_object")
        if fault == "wrong" or options.get("ChecksumSHA256", sha256(Body)) != sha256(Body):
            raise client_error(400, "BadDigest", "PutObject")
        with self._lock:
            if options.get("IfNoneMatch") == "*" and Key in self.objects:
                raise client_error(412, "PreconditionFailed", "PutObject")
            self.objects[Key] = Body
        if fault == "lost":
            raise _transport_error("reset")
        return {}

    def _found(self, key: str, code: str = "NoSuchKey") -> bytes:
        if key not in self.objects:
            raise client_error(404, code)
        return self.objects[key]

    def get_object(self, *, Key: str, Range: str | None = None, **_: Any) -> dict[str, Any]:
        fault = self._fault("get_object")
        whole = data = self._found(Key)
        more = {"ChecksumSHA256": sha256(whole)}
        if Range:
            first, last = map(int, Range.removeprefix("bytes=").split("-"))
            data = whole[first : last + 1]
            if not data:
                raise client_error(416, "InvalidRange")
            more = {"ContentRange": f"bytes {first}-{first + len(data) - 1}/{len(whole)}"}
        if fault == "wrong" and data:
            fault = None if not Range else "truncated"  # nothing tells a part that arrives changed: see the contract
            data = bytes([data[0] ^ 1]) + data[1:]
        return {"Body": Body(data, fault), "ContentLength": len(data), **more}

    def head_object(self, *, Key: str, **_: Any) -> dict[str, Any]:
        self._fault("head_object")
        data = self._found(Key, "404")
        return {"ContentLength": len(data), "ChecksumSHA256": sha256(data)}

    def list_objects_v2(
        self,
        *,
        Prefix: str,
        MaxKeys: int,
        ContinuationToken: str = "",
        **_: Any,
    ) -> dict[str, Any]:
        fault = self._fault("list_objects_v2")
        if fault == "truncated":
            raise ResponseParserError("unclosed token")
        names = sorted(key for key in self.objects if key.startswith(Prefix) and key > ContinuationToken)
        page, rest = names[: min(MaxKeys, PAGE)], names[min(MaxKeys, PAGE) :]
        answer = {"Contents": [{"Key": name} for name in page], "IsTruncated": bool(rest)}
        if fault == "cut":
            return answer | {"IsTruncated": True}
        return answer | ({"NextContinuationToken": page[-1]} if rest else {})

    def delete_object(self, *, Key: str, **_: Any) -> dict[str, Any]:
        fault = self._fault("delete_object")
        self.objects.pop(Key, None)
        if fault == "lost":
            raise _transport_error("reset")
        return {}


def _transport_error(fault: str) -> Exception:
    if fault == "timeout":
        return ReadTimeoutError(endpoint_url=ADDRESS, error="no answer")
    if fault == "reset":
        return ConnectionClosedError(endpoint_url=ADDRESS)
    return EndpointConnectionError(endpoint_url=ADDRESS)
