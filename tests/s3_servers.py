"""Two S3 services on this machine, started from their Python packages; each process of the tests has its own."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from collapse_guard.store.calls import Patience
from collapse_guard.store.s3 import S3Store, client_config

MODULES = {"ministack": "ministack.app", "moto": "moto.server"}
KINDS = tuple(MODULES)
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
OPEN, LOCKED = "open-bucket", "locked-bucket"
QUICK = Patience(first=0.001, longest=0.01)
_START_SECONDS = 60
_SERVE = """
import os, runpy, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()  # when the tests are gone
del sys.argv[0]
if sys.argv[0].startswith("moto"):  # it looks and creates in two steps: with threads, two writers can both create
    import werkzeug.serving
    serve = werkzeug.serving.run_simple
    werkzeug.serving.run_simple = lambda *words, **named: serve(*words, **named | {"threaded": False})
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
_prefixes = itertools.count()


def environment(kind: str) -> dict[str, str]:
    """What a user would set to reach a service that runs here."""
    names = {name.upper(): value for name, value in KEYS.items() if name.startswith("aws_")}
    return {**names, "AWS_DEFAULT_REGION": KEYS["region_name"], "AWS_ENDPOINT_URL": running(kind).url}


def new_client(url: str, **settings: Any) -> Any:
    """A client as the store makes it, but of a server here."""
    return boto3.session.Session().client(
        "s3", endpoint_url=url, config=client_config().merge(Config(**settings)), **KEYS
    )


@dataclass(frozen=True)
class Server:
    """A running service with one ordinary bucket and one with Object Lock."""

    kind: str
    url: str
    client: Any

    def store(self, bucket: str = OPEN, prefix: str | None = None, client: Any = None) -> S3Store:
        """A store of its own, below a prefix that no other store has."""
        own = prefix or f"{os.getpid()}/{next(_prefixes)}"
        return S3Store(bucket, own, client or self.client, QUICK)


@functools.cache
def running(kind: str) -> Server:
    """Start a service, once; it is stopped when this process ends. Skips where its package is not installed."""
    module = MODULES[kind]
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        pytest.skip(f"{kind} is not installed; it is one of the development dependencies")
    folder = tempfile.mkdtemp(prefix=f"{kind}-")
    port = _free_port()
    process = _start(module, port, folder)
    atexit.register(_stop, process, folder)
    _wait(port, process, Path(folder))
    url = f"http://127.0.0.1:{port}"
    client = new_client(url)
    client.create_bucket(Bucket=OPEN)
    client.create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
    return Server(kind, url, client)


def _start(module: str, port: int, folder: str) -> subprocess.Popen[bytes]:
    options = ["-H", "127.0.0.1", "-p", str(port)] if module == MODULES["moto"] else []
    settings = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "s3", "TMPDIR": folder}
    quiet = {"LOG_LEVEL": "ERROR", "SFTP_ENABLED": "0", "IOT_MTLS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}
    with (Path(folder) / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", _SERVE, module, *options],
            env=os.environ | settings | quiet,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _stop(process: subprocess.Popen[bytes], folder: str) -> None:
    process.kill()
    process.communicate()
    shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"the server did not start: {(folder / 'log').read_text(errors='replace')[-2000:]}")
