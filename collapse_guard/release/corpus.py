"""A released corpus and the ways to read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from collapse_guard.errors import UsageError
from collapse_guard.snapshot import read_shard, read_verified

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from collapse_guard.release.chain import Release
    from collapse_guard.release.overrides import Override
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store


class ReleasedCorpus:
    """A released corpus: every byte is verified before anything of it is handed out."""

    def __init__(self, store: Store, entry: Release, snapshot: Snapshot) -> None:
        self._store = store
        self.release = entry
        self.snapshot = snapshot

    def __repr__(self) -> str:
        return f"ReleasedCorpus({self.release.corpus!r}, dump={self.release.dump!r}, digest={self.digest[:12]!r})"

    @property
    def digest(self) -> str:
        """SHA-256 of the released snapshot."""
        return self.release.digest

    @property
    def overrides(self) -> tuple[Override, ...]:
        """Who let it pass although it was refused, why and until when; none where every gate was open."""
        return self.release.overrides

    @property
    def ledger(self) -> dict[str, Any]:
        """What was mixed and what was not, by reason."""
        return self.snapshot.ledger.to_json()

    def tables(self, columns: Sequence[str] | None = None, *, worker: int = 0, workers: int = 1) -> Iterator[pa.Table]:
        """Stream the documents, shard by shard, each verified before it is handed out.

        Args:
            columns: Which columns; by default all.
            worker: Which of several readers this is, from 0; each shard goes to exactly one of them.
            workers: How many readers there are.

        Returns:
            One table per shard.

        Raises:
            UsageError: There is no such reader.
        """
        if not 0 <= worker < workers:
            raise UsageError(f"worker {worker} of {workers}: workers are counted from 0")
        shards = self.snapshot.with_role("documents")[worker::workers]
        return (read_shard(self._store, shard, columns) for shard in shards)

    def batches(
        self, size: int, columns: Sequence[str] | None = None, *, worker: int = 0, workers: int = 1
    ) -> Iterator[pa.RecordBatch]:
        """Stream the documents in batches of at most `size` rows; the other arguments are those of `tables`."""
        for table in self.tables(columns, worker=worker, workers=workers):
            yield from table.combine_chunks().to_batches(max_chunksize=size)

    def rows(
        self, columns: Sequence[str] | None = None, *, worker: int = 0, workers: int = 1
    ) -> Iterator[dict[str, Any]]:
        """Stream the documents as one dictionary each, for torch or `datasets`; see `tables` for the arguments."""
        for batch in self.batches(1_000, columns, worker=worker, workers=workers):
            yield from batch.to_pylist()

    def examples(self, columns: Sequence[str] | None = None, *, worker: int = 0, workers: int = 1) -> Examples:
        """The documents as something that can be iterated again and again; see `tables` for the arguments."""
        return Examples(self, columns, worker, workers)

    def to_arrow(self) -> pa.Table:
        """The whole corpus as one table, in memory."""
        return pa.concat_tables(self.tables())

    def to_pandas(self) -> pd.DataFrame:
        """The whole corpus as an Arrow-backed data frame, in memory."""
        import pandas as pd  # noqa: PLC0415 - takes over a second to import

        frame: pd.DataFrame = self.to_arrow().to_pandas(types_mapper=pd.ArrowDtype)
        return frame

    def files(self) -> list[str]:
        """Places of the documents' Parquet files, verified now; who reads them later reads what lies there then."""
        shards = self.snapshot.with_role("documents")
        for shard in shards:
            read_verified(self._store, shard)
        return [f"{self._store.root}/{shard.key}" for shard in shards]


class Examples:
    """The documents of a release, one dictionary each; every pass verifies them anew.

    It has what an iterable dataset of torch has, and imports no torch: `docs/proof.md` shows the three lines.
    """

    def __init__(self, corpus: ReleasedCorpus, columns: Sequence[str] | None, worker: int, workers: int) -> None:
        self._corpus = corpus
        self._columns = columns
        self._worker = worker
        self._workers = workers

    def shard(self, worker: int, workers: int) -> Examples:
        """What one of several readers gets of these: its place among the shards of all."""
        return Examples(self._corpus, self._columns, self._worker + worker * self._workers, workers * self._workers)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._corpus.rows(self._columns, worker=self._worker, workers=self._workers)
