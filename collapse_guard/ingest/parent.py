"""One worker process as its parent sees it: started, watched, killed and replaced."""

from __future__ import annotations

import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from collapse_guard.errors import GuardError
from collapse_guard.ingest.collect import Part
from collapse_guard.ingest.messages import PROGRESS, pack, unpack
from collapse_guard.ingest.pictured import Pictured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collapse_guard.ingest.limits import Limits

START_SECONDS = 120.0
"""How long a new worker may take to import what it needs on a busy machine."""

_POLLS = 8
_PACKAGE_ROOT = Path(__file__).parents[2]


class WorkerLostError(Exception):
    """The worker was killed or died; `ordinal` is the record it was at."""

    def __init__(self, ordinal: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.ordinal = ordinal
        self.reason = reason


class Worker:
    """A worker process that is started when it is needed, and killed at the latest when the context ends."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.process: subprocess.Popen[bytes] | None = None
        self.heard = ""

    def __enter__(self) -> Self:
        self.stack = ExitStack()
        file = self.stack.enter_context(tempfile.TemporaryFile())
        file.truncate(PROGRESS.size)
        self.descriptor = file.fileno()
        self.progress = self.stack.enter_context(mmap.mmap(self.descriptor, PROGRESS.size))
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.stack.close()

    def read(
        self,
        path: Path,
        file: str,
        *,
        fields: Mapping[str, str],
        skip: int,
        culprits: Mapping[int, tuple[str, str]],
        until: int | None = None,
    ) -> Iterator[Part]:
        """Have the worker read a file from record `skip` on.

        Args:
            path: The file.
            file: Its name in the results.
            fields: Our column name to the input's.
            skip: Records that were delivered already.
            culprits: Records not to parse, with reason and detail.
            until: The first record that is not wanted; None for all.

        Yields:
            Its batches.

        Raises:
            WorkerLostError: The worker stalled or died, and is gone.
        """
        task = {
            "path": str(path.absolute()),
            "file": file,
            "limits": asdict(self.limits),
            "fields": dict(fields),
            "skip": skip,
            "until": until,
            "culprits": {str(at): why for at, why in culprits.items()},
        }
        self._start(skip)
        self._tell(task)
        with ExitStack() as unfinished:
            # What an abandoned worker still has to say about this file must not be taken for the next one.
            unfinished.callback(self.stop)
            yield from self._parts()
            unfinished.pop_all()

    def _parts(self) -> Iterator[Part]:
        while True:
            header, tables = unpack(lambda size: self._receive(size, self.limits.stall_seconds))
            if "done" in header:
                return
            if "died" in header:
                self.heard = header["died"]
                raise self._lost()
            documents, quarantine, *beside = tables
            yield Part(documents, quarantine, header["dropped"], header["upto"], Pictured(*beside) if beside else None)

    def stop(self) -> None:
        """Kill the process, if there is one, and wait until it is gone."""
        if self.process is None:
            return
        with self.process as process:
            process.kill()
            if process.stdin:
                process.stdin.close()
        self.process = None
        self.heard = ""

    def _start(self, ordinal: int) -> None:
        self.progress[:] = PROGRESS.pack(0, ordinal)
        if self.process is not None:
            return
        arguments = [str(self.descriptor), str(self.limits.memory_bytes), str(os.getpid())]
        self.process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-P", "-W", "ignore", "-m", "collapse_guard.ingest.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(self.descriptor,),
            env={"PYTHONPATH": str(_PACKAGE_ROOT)},
            bufsize=0,
        )
        try:
            unpack(lambda size: self._receive(size, START_SECONDS))
        except WorkerLostError as lost:
            raise GuardError(f"no worker process could be started to read input files: {lost}") from lost

    def _tell(self, task: dict[str, Any]) -> None:
        if self.process is None or self.process.stdin is None:
            raise self._lost()
        try:
            self.process.stdin.write(b"".join(pack(task)))
        except BrokenPipeError as error:
            raise self._lost() from error

    def _receive(self, size: int, patience: float) -> bytearray:
        if self.process is None or self.process.stdout is None:
            raise self._lost()
        stdout = self.process.stdout
        data = bytearray(size)
        left = memoryview(data)
        while left:
            self._wait(stdout.fileno(), patience)
            count = os.readv(stdout.fileno(), [left])
            if not count:
                raise self._lost()
            left = left[count:]
        return data

    def _wait(self, descriptor: int, patience: float) -> None:
        """Wait for bytes; without them, and without progress for `patience` seconds, the worker is lost."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        beat, silent = self._beat(), 0
        while not poll.poll(patience * 1000 / _POLLS):
            before, beat = beat, self._beat()
            silent = silent + 1 if beat == before else 0
            if silent >= _POLLS:
                raise self._lost(stalled_after=patience)

    def _beat(self) -> int:
        beat: int = PROGRESS.unpack(self.progress[:])[0]
        return beat

    def _lost(self, stalled_after: float = 0) -> WorkerLostError:
        """Bury the worker, and say at which record and why."""
        ordinal: int = PROGRESS.unpack(self.progress[:])[1]
        if stalled_after:
            reason, detail = "stalled", f"reading this record made no progress for {stalled_after:g} seconds"
        else:
            reason, detail = "worker_died", f"the worker process died at this record: {self._cause()}"
        self.stop()
        return WorkerLostError(ordinal, reason, detail)

    def _cause(self) -> str:
        if self.heard:
            return self.heard
        code = self.process.wait() if self.process else 0
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
