"""Read input files in worker processes that can be killed: good rows, quarantine, and exact counts."""

from __future__ import annotations

import queue
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collapse_guard.errors import UsageError
from collapse_guard.ingest.collect import Collector
from collapse_guard.ingest.fragments import Fragment, fragment_of, fragment_of_range
from collapse_guard.ingest.inputs import local_copy, name_of
from collapse_guard.ingest.limits import Limits
from collapse_guard.ingest.parent import Worker, WorkerLostError
from collapse_guard.ingest.rows import ALIASES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from collapse_guard.ingest.collect import Part
    from collapse_guard.ingest.inputs import Input
    from collapse_guard.ingest.pictured import Pictured

__all__ = ["Batch", "Limits", "read_files"]

MOST_DEATHS = 100
"""Records of one file that may kill a worker before the rest of the file is given up."""

_AHEAD = 2
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Batch:
    """Some consecutive records of one input file.

    Records read = `documents.num_rows` + sum of `quarantine.records` + sum of `dropped`.

    Args:
        file: The input file's name, of an object in S3 its address; `source` of its documents, unless a row names its
            own.
        documents: Schema DOCUMENT; `tokens` are 0, for the caller to count.
        quarantine: Schema QUARANTINE.
        dropped: Records that can be read and are no documents: `not_a_page`, `not_text`, `http_status`.
        pictured: What lies beside the documents that are images; None where none is.
    """

    file: str
    documents: pa.Table
    quarantine: pa.Table
    dropped: Mapping[str, int]
    pictured: Pictured | None = None


def read_files(
    paths: Sequence[Input],
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    fields: Mapping[str, str] = {},
    workers: int = 1,
) -> Iterator[Batch]:
    """Read files in the order given; what cannot be read is quarantined and nothing is raised for it.

    Args:
        paths: What `input_files` gave, or paths: WARC, WET, JSON lines, JSON, Parquet, CSV, TSV, images, tar of images;
            lines, WARC and tar also as .gz and .zst.
        limits: Caps on each file and worker.
        fields: Our column name to the input's, where they differ: `{"text": "raw_content"}`.
        workers: Processes that read different files at the same time; the documents are the same for any number.

    Returns:
        Batches of some MiB, in the order of the paths and of the records.

    Raises:
        UsageError: `workers` is below 1, or `fields` names a column that documents do not have, or an object in S3 is
            gone or was changed since it was listed.
    """
    if workers < 1:
        raise UsageError(f"workers is {workers}; it must be at least 1")
    if unknown := sorted(set(fields) - set(ALIASES)):
        raise UsageError(f"fields renames {', '.join(unknown)}; columns that can be renamed: {', '.join(ALIASES)}")
    return _read_files(paths, limits, fields, workers)


_Item = Batch | BaseException | None
_Queue = queue.Queue[_Item]


def _read_files(paths: Sequence[Input], limits: Limits, fields: Mapping[str, str], workers: int) -> Iterator[Batch]:
    pending: deque[_Queue] = deque()
    with _pool(limits, fields, min(workers, max(len(paths), 1))) as tasks:
        for path in paths:
            pending.append(queue.Queue(_AHEAD))
            tasks.put((path, pending[-1]))
            if len(pending) > workers:
                yield from _drain(pending.popleft())
        while pending:
            yield from _drain(pending.popleft())


def _drain(results: _Queue) -> Iterator[Batch]:
    while (item := results.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


class _Pool:
    """Threads that each own one worker process."""

    def __init__(self, limits: Limits, fields: Mapping[str, str]) -> None:
        self.limits = limits
        self.fields = fields
        self.stop = threading.Event()
        self.tasks: queue.SimpleQueue[tuple[Input, _Queue] | None] = queue.SimpleQueue()

    def run(self) -> None:
        with Worker(self.limits) as worker:
            while (task := self.tasks.get()) is not None and not self.stop.is_set():
                path, results = task
                self._read(worker, path, results)

    def _read(self, worker: Worker, file: Input, results: _Queue) -> None:
        try:
            with local_copy(file) as path:
                for batch in _read_file(worker, path, name_of(file), self.fields):
                    if not self._put(results, batch):
                        return
            self._put(results, None)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            worker.stop()
            self._put(results, error)

    def _put(self, results: _Queue, item: _Item) -> bool:
        while not self.stop.is_set():
            try:
                results.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False


@contextmanager
def _pool(
    limits: Limits, fields: Mapping[str, str], workers: int
) -> Iterator[queue.SimpleQueue[tuple[Input, _Queue] | None]]:
    pool = _Pool(limits, fields)
    threads = [threading.Thread(target=pool.run, name=f"ingest-{i}", daemon=True) for i in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield pool.tasks
    finally:
        pool.stop.set()
        for _ in threads:
            pool.tasks.put(None)
        for thread in threads:
            thread.join()


def _read_file(worker: Worker, path: Path, file: str, fields: Mapping[str, str]) -> Iterator[Batch]:
    """Read one file, with a new worker after each record that killed one."""
    culprits: dict[int, tuple[str, str]] = {}
    upto, until = 0, None
    while True:
        try:
            for part in worker.read(path, file, fields=fields, skip=upto, culprits=culprits, until=until):
                upto = part.upto
                yield Batch(file, part.documents, part.quarantine, part.dropped, part.pictured)
        except WorkerLostError as lost:
            at = max(lost.ordinal, upto)
            hopeless = at in culprits or len(culprits) >= MOST_DEATHS
            if not hopeless:
                culprits[at] = (lost.reason, str(lost))
                continue
            if until is None:
                # The way to this record kills as well: what lies before it is had once more without it.
                until = at
                why = (lost.reason, f"reading ended at record {at}: {lost}")
                continue
        if until is not None:
            yield _given_up(path, file, why)
        return


def _given_up(path: Path, file: str, why: tuple[str, str]) -> Batch:
    """Quarantine a file from which no further record can be had."""
    parts: list[Part] = []
    out = Collector(file, Limits(), parts.append, fields={})
    out.lost(_whole(path), *why)
    out.close()
    return Batch(file, parts[0].documents, parts[0].quarantine, {})


def _whole(path: Path) -> Fragment:
    try:
        with path.open("rb") as content:
            return fragment_of_range(content, 0, path.stat().st_size, lambda: None)
    except OSError:
        return fragment_of(0, b"")
