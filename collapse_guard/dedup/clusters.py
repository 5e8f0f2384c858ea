"""Which copy of each cluster stays, and what each other copy has in common with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.dedup.index import digest_words, matrix
from collapse_guard.dedup.linking import Corpus, link, spread
from collapse_guard.kernels.clusters import flatten, similarities
from collapse_guard.policy import Near
from collapse_guard.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from collapse_guard.dedup.linking import Tables

EXACT, URL, NEAR = "exact", "url", "near"

ROWS_PER_BUCKET = 50_000
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_ORDER = ("rank", "captured_at", "id", "text_sha256", "shard", "row")
_COLUMNS = pa.schema(
    [
        pa.field("duplicate_of", pa.string()),
        pa.field("cluster", pa.string()),
        pa.field("match", pa.string()),
        pa.field("similarity", pa.float64()),
        pa.field("kept_rank", pa.int8()),
    ]
)
_FOUND = pa.schema([pa.field("shard", pa.int64()), pa.field("row", pa.int64()), *_COLUMNS])
_PLACES = ("root", "shard", "row")


class Clusters:
    """The duplicates of a corpus.

    Of a cluster the copy with the smallest rank stays, then the earliest captured (unknown last), then the smallest
    id, then the smallest digest. Nothing depends on the order of documents or tables: only between rows that are
    equal in all four, the first stays.

    Memory: 9 bytes per document while they are joined, and some 200 MB for what is read and written.
    """

    def __init__(self, tables: Tables, *, rows: int, near: Near | None = None, scratch: Path | None = None) -> None:
        """Find them.

        Args:
            tables: Gives rows of INDEX, a table per shard; called several times, the same tables in the same order.
            rows: About how many rows there are: decides how much is in memory at a time, never the result.
            near: What counts as nearly the same, of documents that have a signature; by default as in a policy.
            scratch: A folder for buckets; without one everything is in memory.
        """
        near = near or Near()
        corpus = Corpus(tables, rows, scratch)
        parent = link(corpus, near)
        together = flatten(parent)
        shards = 0
        facts = Spill(corpus.folder("facts"), _facts_schema(near), -(-int(together.sum()) // ROWS_PER_BUCKET))
        for shards, (first, table) in enumerate(corpus.numbered(), 1):
            found = _facts(table, shards - 1, first, parent, together)
            facts.write(found, _bucket_of_root(found["root"].to_numpy(), facts.buckets))
        facts.close()
        self._shards = max(shards, 1)
        self._found = Spill(corpus.folder("found"), _FOUND, min(facts.buckets, self._shards))
        self._loaded: tuple[int, pa.Table] = (-1, _FOUND.empty_table())
        for bucket in range(facts.buckets):
            for chosen in _choose(facts, bucket):
                self._found.write(chosen, self._bucket(chosen["shard"].to_numpy()))
        self._found.close()

    def in_shard(self, index: int, rows: int) -> pa.Table:
        """Say what was found about the rows of one table.

        Args:
            index: Its place among the tables.
            rows: How many rows it has.

        Returns:
            As many rows. `duplicate_of`: id of the copy that stays, null in that copy itself and in documents that
            are alone. `cluster`: the first 16 hexadecimal digits of the smallest text digest, the same in all
            members, null where there is none. `match`: what the row has in common with the copy that stays: `exact`
            text, else `url`, else `near` (perhaps by way of other members). `similarity`: 1 for equal texts, else
            estimated from the sketches, null where a text is too short to have one. `kept_rank`: that of the copy
            that stays.
        """
        bucket = int(self._bucket(np.array([index]))[0])
        if self._loaded[0] != bucket:
            self._loaded = (bucket, self._found.read(bucket))
        found = self._loaded[1].filter(pc.equal(self._loaded[1]["shard"], index))
        places = np.full(rows, -1)
        places[found["row"].to_numpy()] = np.arange(found.num_rows)
        return found.select(_COLUMNS.names).take(pa.array(places, mask=places < 0))

    def _bucket(self, shards: NDArray[np.int64]) -> NDArray[np.int64]:
        return shards * self._found.buckets // self._shards


def _facts_schema(near: Near) -> pa.Schema:
    return pa.schema(
        [
            *(pa.field(name, pa.int64()) for name in _PLACES),
            pa.field("rank", pa.int8()),
            pa.field("captured_at", pa.timestamp("us", tz="UTC")),
            pa.field("id", pa.string()),
            pa.field("text_sha256", pa.binary()),
            pa.field("url_key", pa.uint64()),
            pa.field("sketch", pa.binary(near.bands * near.rows)),
            pa.field("head", pa.uint64()),
        ]
    )


def _facts(table: pa.Table, shard: int, first: int, parent: NDArray[np.int64], together: NDArray[np.bool_]) -> pa.Table:
    """What decides between copies, of the documents of one table that have copies."""
    rows = np.flatnonzero(together[first : first + table.num_rows])
    taken = table.take(pa.array(rows))
    places = {"root": parent[first + rows], "shard": np.full_like(rows, shard), "row": rows}
    columns = {name: taken[name] for name in ("rank", "captured_at", "id", "text_sha256", "url_key", "sketch")}
    return pa.table({**places, **columns, "head": digest_words(taken["text_sha256"])[:, 0]})


def _bucket_of_root(roots: NDArray[np.int64], buckets: int) -> NDArray[np.int64]:
    return spread(roots.astype(np.uint64) * _SPREAD, buckets)


def _choose(facts: Spill, bucket: int) -> Iterator[pa.Table]:
    """Give rows of _FOUND for a bucket, whose clusters are whole, a part at a time: one cluster may be large."""
    best = facts.schema.empty_table()
    for part in facts.pieces(bucket, ROWS_PER_BUCKET):
        best = _best(pa.concat_tables([best, part]))
    for part in facts.pieces(bucket, ROWS_PER_BUCKET):
        yield _compare(part, best)


def _best(facts: pa.Table) -> pa.Table:
    """Keep the best row of every cluster, with the smallest digest of its cluster as `head`; in order of root."""
    order = [(name, "ascending", "at_end") for name in ("root", *_ORDER)]
    facts = facts.take(pc.sort_indices(facts, sort_keys=order)).combine_chunks()
    if not facts.num_rows:
        return facts
    roots = facts["root"].to_numpy()
    starts = np.flatnonzero(np.append(True, roots[1:] != roots[:-1]))
    heads = np.minimum.reduceat(facts["head"].to_numpy(), starts)
    return facts.take(pa.array(starts)).set_column(facts.schema.get_field_index("head"), "head", pa.array(heads))


def _compare(facts: pa.Table, best: pa.Table) -> pa.Table:
    kept = best.take(pa.array(np.searchsorted(best["root"].to_numpy(), facts["root"].to_numpy())))
    copy = pc.or_(pc.not_equal(facts["shard"], kept["shard"]), pc.not_equal(facts["row"], kept["row"]))
    same_text = pc.equal(facts["text_sha256"], kept["text_sha256"])
    same_url = pc.fill_null(pc.equal(facts["url_key"], kept["url_key"]), False)  # noqa: FBT003 - null is no URL
    match = pc.if_else(same_text, EXACT, pc.if_else(same_url, URL, NEAR))
    similarity = pc.if_else(same_text, 1.0, _similarities(facts["sketch"], kept["sketch"]))
    columns = {
        "duplicate_of": _where(copy, kept["id"]),
        "cluster": pa.array([f"{head:016x}" for head in kept["head"].to_pylist()], pa.string()),
        "match": _where(copy, match),
        "similarity": _where(copy, similarity),
        "kept_rank": _where(copy, kept["rank"]),
    }
    return pa.table({"shard": facts["shard"], "row": facts["row"], **columns}, schema=_FOUND)


def _where(condition: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(condition, values, pa.scalar(None, values.type))


def _similarities(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> pa.Array:
    known = pc.and_(pc.is_valid(ours), pc.is_valid(theirs))
    found = similarities(matrix(ours.combine_chunks()), matrix(theirs.combine_chunks()))
    return pa.array(found, mask=~np.asarray(known))
