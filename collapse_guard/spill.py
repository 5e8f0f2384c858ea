"""Rows on disk in buckets, so that one bucket fits in memory though the corpus does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

MAX_BUCKETS = 512
"""Files open at once; a process may commonly open 1,024."""


class Spill:
    """A folder of Arrow files, one per bucket, written in any order and read bucket by bucket."""

    def __init__(self, folder: Path, schema: pa.Schema, buckets: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._schema = schema
        self._writers: dict[int, pa.RecordBatchFileWriter] = {}
        self.buckets = max(1, min(buckets, MAX_BUCKETS))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, table: pa.Table, buckets: np.ndarray) -> None:
        """Send every row to its bucket.

        Args:
            table: Rows of the spill's schema.
            buckets: One bucket number per row.
        """
        if not table.num_rows:
            return
        order = np.argsort(buckets, kind="stable")
        present, starts = np.unique(buckets[order], return_index=True)
        ends = np.append(starts[1:], len(order))
        ordered = table.take(pa.array(order)).cast(self._schema)
        for bucket, start, end in zip(present.tolist(), starts.tolist(), ends.tolist(), strict=True):
            self._writer(bucket).write_table(ordered.slice(start, end - start))

    def close(self) -> None:
        """Finish writing; reading starts after it."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def read(self, bucket: int) -> pa.Table:
        """Load the rows of one bucket into memory."""
        path = self._path(bucket)
        if not path.exists():
            return self._schema.empty_table()
        with pa.OSFile(str(path)) as file:
            return pa.ipc.open_file(file).read_all()

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket}.arrow"

    def _writer(self, bucket: int) -> pa.RecordBatchFileWriter:
        if bucket not in self._writers:
            self._writers[bucket] = pa.ipc.new_file(str(self._path(bucket)), self._schema)
        return self._writers[bucket]
