"""Rows in buckets on disk, so that one bucket fits in memory though the corpus does not.

Rows wait in memory until they fill a run. A run is one file: its rows ordered by bucket, a record batch per bucket.
So few files are written, whatever the number of buckets, and at most one is open at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

RUN_BYTES = 16_000_000
MAX_BUCKETS = 1 << 16
"""Beyond these, buckets grow with the rows: with a million rows in a bucket, that is at 65 billion rows."""


class _Run(NamedTuple):
    """Rows ordered by bucket: bucket `present[i]` holds those from `starts[i]` to `starts[i + 1]`.

    `rows` is the table, or the file that holds it.
    """

    present: NDArray[np.uint16]
    starts: NDArray[np.int64]
    rows: pa.Table | Path


class Spill:
    """Rows, written in any order and read bucket by bucket."""

    def __init__(self, folder: Path | None, schema: pa.Schema, buckets: int) -> None:
        """Start with nothing.

        Args:
            folder: Where runs are written, and left: it is the caller's scratch; nowhere: everything stays in memory.
            schema: Of every row.
            buckets: How many are wanted.
        """
        self._folder = folder
        self.schema = schema
        self._runs: list[_Run] = []
        self._waiting: list[tuple[pa.Table, NDArray[np.uint16]]] = []
        self._bytes = 0
        self.buckets = max(1, min(buckets, MAX_BUCKETS))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()

    def write(self, table: pa.Table, buckets: NDArray[np.integer]) -> None:
        """Send every row to its bucket.

        Args:
            table: Rows of the spill's schema.
            buckets: One bucket number per row.
        """
        if not table.num_rows:
            return
        self._waiting.append((table.cast(self.schema), buckets.astype(np.uint16)))
        self._bytes += table.nbytes
        if self._folder is not None and self._bytes >= RUN_BYTES:
            self._write_run(self._folder)

    def close(self) -> None:
        """Finish writing; reading starts after it. What is less than a run stays in memory."""
        if self._waiting:
            self._runs.append(self._take_waiting())

    def read(self, bucket: int) -> pa.Table:
        """Load the rows of one bucket into memory, in the order of writing."""
        return pa.concat_tables([self.schema.empty_table(), *self._parts(bucket)])

    def pieces(self, bucket: int, rows: int) -> Iterator[pa.Table]:
        """Give one bucket a piece at a time, for buckets that one key can make large.

        Args:
            bucket: Which.
            rows: How many a piece has at least, the last excepted.

        Yields:
            The rows in the order of writing.
        """
        waiting, count = [], 0
        for part in self._parts(bucket):
            waiting.append(part)
            count += part.num_rows
            if count >= rows:
                yield pa.concat_tables(waiting)
                waiting, count = [], 0
        if waiting:
            yield pa.concat_tables(waiting)

    def _parts(self, bucket: int) -> Iterator[pa.Table]:
        for run in self._runs:
            place = int(np.searchsorted(run.present, bucket))
            if place < len(run.present) and run.present[place] == bucket:
                yield self._part(run, place)

    def _part(self, run: _Run, place: int) -> pa.Table:
        if isinstance(run.rows, pa.Table):
            return run.rows.slice(run.starts[place], run.starts[place + 1] - run.starts[place])
        with pa.OSFile(str(run.rows)) as file:
            return pa.Table.from_batches([pa.ipc.open_file(file).get_batch(place)])

    def _take_waiting(self) -> _Run:
        """Put the rows that wait in the order of their buckets."""
        buckets = np.concatenate([found for _, found in self._waiting])
        rows = pa.concat_tables([table for table, _ in self._waiting]).combine_chunks()
        self._waiting, self._bytes = [], 0
        order = np.argsort(buckets, kind="stable")  # of 16-bit numbers: no comparing
        present, starts = np.unique(buckets[order], return_index=True)
        return _Run(present, np.append(starts, len(order)), rows.take(pa.array(order)))

    def _write_run(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        run = self._take_waiting()
        path = folder / f"{len(self._runs)}.arrow"
        with pa.ipc.new_file(str(path), self.schema) as file:
            for place in range(len(run.present)):
                batches = self._part(run, place).combine_chunks().to_batches()
                file.write_batch(batches[0])
        self._runs.append(run._replace(rows=path))


class Replay:
    """Tables on disk that can be read again and again, in the same order."""

    def __init__(self, tables: Iterable[pa.Table], folder: Path) -> None:
        """Write them, one file each; the folder is the caller's scratch."""
        folder.mkdir(parents=True, exist_ok=True)
        self._paths = [self._written(table, folder / f"{index}.arrow") for index, table in enumerate(tables)]

    def __call__(self) -> Iterator[pa.Table]:
        """Read them, one after the other."""
        for path in self._paths:
            with pa.OSFile(str(path)) as file:
                yield pa.ipc.open_file(file).read_all()

    def __getitem__(self, index: int) -> pa.Table:
        """One of them, mapped into memory: only the columns that are looked at are read."""
        return pa.ipc.open_file(pa.memory_map(str(self._paths[index]))).read_all()

    @staticmethod
    def _written(table: pa.Table, path: Path) -> Path:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
        return path
