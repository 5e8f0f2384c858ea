"""The process that reads input files for a parent, and can be killed at any time.

Run as `python -m collapse_guard.ingest.worker PROGRESS_FD MEMORY_BYTES PARENT_PID`; tasks come in on standard input.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import resource
import signal
import sys
from contextlib import suppress
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from collapse_guard.ingest.collect import Collector, Part, Progress
from collapse_guard.ingest.formats import read_file
from collapse_guard.ingest.limits import Limits
from collapse_guard.ingest.messages import PROGRESS, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

_SLACK_BYTES = 8 * 2**20
_PIPE_BYTES = 2**20
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


class _NoPandas(MetaPathFinder):
    """Hides pandas: Arrow looks for it at its first conversion, at the cost of reading 20 MB of text."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Refuse pandas; whatever else is imported is found by others."""
        del path, target
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def main(arguments: list[str]) -> None:
    """Read files until standard input ends.

    Args:
        arguments: Descriptor of the progress file, memory in bytes, process id of the parent.
    """
    descriptor, memory_bytes, parent = map(int, arguments)
    _die_with(parent)
    channel = _own_channel()
    # Unlike the others, the system's allocator reserves no more than it uses, which the limit below would count.
    pa.set_memory_pool(pa.system_memory_pool())
    pa.set_cpu_count(1)
    sys.meta_path.insert(0, _NoPandas())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(memory_bytes)
    with mmap.mmap(descriptor, PROGRESS.size) as shared, memoryview(shared).cast("Q") as cells:
        _send(channel, {"ready": True})
        for task in _tasks():
            _serve(task, channel, Progress(cells))


def _die_with(parent: int) -> None:
    """Ask Linux to kill this process with its parent; elsewhere it ends at the next read or write."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _own_channel() -> BinaryIO:
    """Keep standard output for messages: what a library prints there goes nowhere."""
    channel = os.fdopen(os.dup(1), "wb", buffering=0)
    if sys.platform == "linux":
        with suppress(OSError):  # more than this user may have; messages then take more steps
            fcntl.fcntl(channel, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    return channel


def _limit_memory(memory_bytes: int) -> None:
    """Let this process grow by what is left of its share: data it has mapped so far is partly never touched."""
    usage = _memory_in_use()
    if usage is None:
        return
    mapped, resident = usage
    limit = mapped + max(memory_bytes - resident - _SLACK_BYTES, 0)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _memory_in_use() -> tuple[int, int] | None:
    """Measure mapped data and resident memory in bytes, where /proc tells."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    mapped, resident = (int(lines[key].split()[0]) * 1024 for key in ("VmData", "VmRSS"))
    return mapped, resident


def _tasks() -> Iterator[dict[str, Any]]:
    stdin = sys.stdin.buffer

    def read(size: int) -> bytearray:
        data = stdin.read(size)
        if len(data) < size:
            sys.exit(0)
        return bytearray(data)

    while True:
        yield unpack(read)[0]


def _serve(task: dict[str, Any], channel: BinaryIO, progress: Progress) -> None:
    def emit(part: Part) -> None:
        tables = (part.documents, part.quarantine, *(part.pictured or ()))
        _send(channel, {"upto": part.upto, "dropped": part.dropped}, *tables)

    out = Collector(
        task["file"],
        Limits(**task["limits"]),
        emit,
        fields=task["fields"],
        skip=task["skip"],
        culprits={int(at): (reason, detail) for at, (reason, detail) in task["culprits"].items()},
        until=task["until"],
        progress=progress,
    )
    try:
        read_file(Path(task["path"]), out)
    except Exception as error:  # noqa: BLE001 - whatever a parser raises is told, and costs the record it was at
        told = "it ran out of memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}"
        _send(channel, {"died": told[:500]})
        os._exit(1)
    _send(channel, {"done": True})


def _send(channel: BinaryIO, header: dict[str, Any], *tables: pa.Table) -> None:
    try:
        for part in pack(header, tables):
            rest = memoryview(part)
            while rest:
                rest = rest[channel.write(rest) :]
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
