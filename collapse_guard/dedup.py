"""Exact duplicates: which copy of a text is kept never depends on the order of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.provenance import ORIGINS
from collapse_guard.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ORIGIN_RANK = {origin: rank for rank, origin in enumerate(ORIGINS)}
"""Of equal texts the best verified copy is kept, then the earliest captured, then the smallest id."""

KEYS = pa.schema(
    [
        pa.field("text_sha256", pa.binary()),
        pa.field("rank", pa.int8()),
        pa.field("captured_at", pa.timestamp("us", tz="UTC")),
        pa.field("id", pa.string()),
        pa.field("shard", pa.int32()),
        pa.field("row", pa.int32()),
    ]
)
FOUND = pa.schema([pa.field("shard", pa.int32()), pa.field("row", pa.int32()), pa.field("duplicate_of", pa.string())])

ROWS_PER_BUCKET = 50_000
SHARDS_PER_BUCKET = 64
_ORDER = [(name, "ascending", "at_end") for name in ("text_sha256", "rank", "captured_at", "id", "shard", "row")]


def keys_of(measured: pa.Table, shard: int) -> pa.Table:
    """Reduce measured documents to what decides between copies.

    Args:
        measured: Columns `text_sha256, origin, captured_at, id`.
        shard: The place of these documents' shard in the corpus.

    Returns:
        Rows of KEYS.
    """
    ranks = np.array([ORIGIN_RANK[origin] for origin in measured["origin"].to_pylist()], np.int8)
    rows = np.arange(measured.num_rows, dtype=np.int32)
    columns = [measured["text_sha256"], ranks, measured["captured_at"], measured["id"], np.full_like(rows, shard), rows]
    return pa.table(dict(zip(KEYS.names, columns, strict=True)), schema=KEYS)


class Duplicates:
    """The exact duplicates of a corpus, found in buckets of equal digests on disk."""

    def __init__(self, keys: Iterable[pa.Table], *, rows: int, shards: int, scratch: Path) -> None:
        """Find them.

        Args:
            keys: Rows of KEYS, in any order.
            rows: About how many there are: decides the number of buckets, never the result.
            shards: How many shards the rows name.
            scratch: A folder for the buckets.
        """
        self._found = Spill(scratch / "found", FOUND, -(-shards // SHARDS_PER_BUCKET))
        self._loaded: tuple[int, pa.Table] = (-1, FOUND.empty_table())
        with Spill(scratch / "keys", KEYS, -(-rows // ROWS_PER_BUCKET)) as spill, self._found:
            for table in keys:
                spill.write(table, _first_bytes(table["text_sha256"]) % spill.buckets)
            spill.close()
            for bucket in range(spill.buckets):
                found = later_copies(spill.read(bucket))
                self._found.write(found, self._bucket(found["shard"].to_numpy()))

    def in_shard(self, shard: int, rows: int) -> pa.Array:
        """Say for each row of a shard which document it is a copy of; null for the copy that is kept."""
        bucket = int(self._bucket(np.array([shard]))[0])
        if self._loaded[0] != bucket:
            self._loaded = (bucket, self._found.read(bucket))
        found = self._loaded[1].filter(pc.equal(self._loaded[1]["shard"], shard))
        return place_copies(found, rows)

    def _bucket(self, shards: np.ndarray) -> np.ndarray:
        return shards // SHARDS_PER_BUCKET % self._found.buckets


def place_copies(found: pa.Table, rows: int) -> pa.Array:
    """Turn the copies found in one shard into a column: the document that each row copies, or null."""
    copies = np.full(rows, None, dtype=object)
    copies[found["row"].to_numpy()] = found["duplicate_of"].to_pylist()
    return pa.array(copies, pa.string())


def _first_bytes(digests: pa.ChunkedArray) -> np.ndarray:
    return np.array([int.from_bytes(digest[:4], "big") for digest in digests.to_pylist()], np.int64)


def later_copies(keys: pa.Table) -> pa.Table:
    """Find, among documents in memory, every copy but the one that is kept.

    Args:
        keys: Rows of KEYS, in any order.

    Returns:
        Rows of FOUND.
    """
    if not keys.num_rows:
        return FOUND.empty_table()
    keys = keys.take(pc.sort_indices(keys, sort_keys=_ORDER)).combine_chunks()
    digests = keys["text_sha256"]
    first = np.ones(keys.num_rows, bool)
    changes = pc.not_equal(digests.slice(1), digests.slice(0, keys.num_rows - 1))
    first[1:] = pc.fill_null(changes, True).to_numpy()  # noqa: FBT003 - documents without a text are copies of nothing
    chosen = np.maximum.accumulate(np.where(first, np.arange(keys.num_rows), 0))
    copies = np.flatnonzero(~first)
    kept = keys["id"].take(pa.array(chosen[copies]))
    taken = keys.take(pa.array(copies))
    return pa.table({"shard": taken["shard"], "row": taken["row"], "duplicate_of": kept}, schema=FOUND)
