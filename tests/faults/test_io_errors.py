from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

import pipeline
import pyarrow as pa
import pytest

from collapse_guard.errors import GuardError
from collapse_guard.release import open_release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Undisturbed

CALLS = [
    *((os, name) for name in ("open", "fdopen", "fchmod", "fsync", "link", "mkdir", "unlink", "scandir", "stat")),
    (io, "open"),
    (pa, "OSFile"),
    (pa.ipc, "new_file"),
]
NEVER = -1
PARTS = 8
"""The sweep in parts, so that several processes can share it."""
THIN = 8
MOST_LISTINGS = 30


class Fault:
    """Counts calls of some functions and lets one of them fail, on whichever thread it happens."""

    def __init__(self, at: int, error: int) -> None:
        self._at = at
        self._error = error
        self._lock = threading.Lock()
        self.calls = 0

    def due(self) -> bool:
        with self._lock:
            self.calls += 1
            return self.calls == self._at

    def error(self, name: str) -> OSError:
        return OSError(self._error, f"{os.strerror(self._error)} (call {self._at}, {name})")

    def failing(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which raises instead of doing anything when it is due."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.due():
                raise self.error(name)
            return function(*args, **kwargs)

        return call

    def full(self, file: BinaryIO) -> BinaryIO:
        """The file, of which half a write reaches the disk when it is due."""
        write = file.write

        def fill(data: bytes) -> int:
            if self.due():
                write(data[: len(data) // 2])
                file.flush()
                raise self.error("write")
            return write(data)

        return Overwritten(file, fill)  # type: ignore[return-value] - has all that the store uses of a file


class Overwritten:
    """A file with another way of writing."""

    def __init__(self, file: BinaryIO, write: Callable[[bytes], int]) -> None:
        self._file = file
        self.write = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Overwritten:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextlib.contextmanager
def failing_calls(at: int) -> Iterator[Fault]:
    """Let the n-th call to the operating system fail."""
    fault = Fault(at, errno.EIO)
    with pytest.MonkeyPatch.context() as patch:
        for module, name in CALLS:
            patch.setattr(module, name, fault.failing(name, getattr(module, name)))
        yield fault


@contextlib.contextmanager
def full_disk(at: int) -> Iterator[Fault]:
    """Let the disk be full at the n-th write, after half of it."""
    fault, fdopen, new_file = Fault(at, errno.ENOSPC), os.fdopen, pa.ipc.new_file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdopen", lambda *args: fault.full(fdopen(*args)))
        patch.setattr(pa.ipc, "new_file", fault.failing("spill", new_file))
        yield fault


Faults = contextlib.AbstractContextManager[Fault]


def check_every_fault(
    faults: Callable[[int], Faults], numbers: list[int], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    for number in numbers:
        root = tmp_path / str(number)
        with faults(number), contextlib.suppress(OSError, GuardError):
            pipeline.run(undisturbed.inputs, root)
        assert pipeline.published(root).items() <= undisturbed.tree.items(), f"fault {number}: something torn is there"
        assert opened(root) in {None, undisturbed.digests["release"]}
        assert pipeline.run(undisturbed.inputs, root) == undisturbed.digests, f"fault {number}: another result"
        pipeline.sweep_all(root)
        assert pipeline.tree(root) == undisturbed.tree, f"fault {number}: something is left over"
        shutil.rmtree(root)


def opened(root: Path) -> str | None:
    """The digest of what can be opened; null where nothing can."""
    try:
        return open_release(root / "guard", "web").digest
    except GuardError:
        return None


def calls_in_a_run(faults: Callable[[int], Faults], undisturbed: Undisturbed, root: Path) -> int:
    with faults(NEVER) as fault:
        pipeline.run(undisturbed.inputs, root)
    shutil.rmtree(root)
    return fault.calls


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "part" in metafunc.fixturenames:
        metafunc.parametrize("part", range(PARTS) if metafunc.config.getoption("--long") else [0])


def test_any_failing_call_leaves_nothing_torn_and_a_rerun_gives_the_same_bytes(
    part: int, undisturbed: Undisturbed, tmp_path: Path, long: bool
) -> None:
    most = calls_in_a_run(failing_calls, undisturbed, tmp_path / "counted")
    numbers = list(range(1 + part, most + 1, PARTS)) if long else list(range(7, most + 1, most // THIN))
    print(f"{most} calls in a run; failing {numbers}")

    check_every_fault(failing_calls, numbers, undisturbed, tmp_path)


def test_a_full_disk_at_any_write_leaves_nothing_torn_and_a_rerun_gives_the_same_bytes(
    undisturbed: Undisturbed, tmp_path: Path, long: bool
) -> None:
    most = calls_in_a_run(full_disk, undisturbed, tmp_path / "counted")
    numbers = list(range(1, most + 1, 1 if long else most // 5))
    print(f"{most} writes in a run; disk full at {numbers}")

    check_every_fault(full_disk, numbers, undisturbed, tmp_path)


def test_a_sweep_that_cannot_list_a_folder_stops_and_deletes_nothing_published(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(undisturbed.root, root)
    refusals = 0
    for number in range(1, MOST_LISTINGS):
        fault = Fault(number, errno.EACCES)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "scandir", fault.failing("scandir", os.scandir))
            try:
                pipeline.sweep_all(root)
            except OSError:
                refusals += 1
        assert pipeline.published(root) == undisturbed.tree

    assert refusals > MOST_LISTINGS // 2, "few listings failed, so this test proves little"
