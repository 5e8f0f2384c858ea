"""Which documents belong together, by equal texts, similar words and equal URLs.

Documents are numbered in the order of the tables; what stays in memory per document is the parent in its cluster
(8 bytes) and a flag (1 byte). Everything else lies in buckets on disk, half a million rows or so at a time in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.dedup.index import digest_words, matrix, order_key
from collapse_guard.kernels.clusters import join_pairs, join_similar, repeated
from collapse_guard.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from collapse_guard.policy import Near

    Tables = Callable[[], Iterable[pa.Table]]
    Numbers = NDArray[np.int64]

ROWS_PER_BUCKET = 500_000
"""Of the narrow tables here; they have 16 to 32 bytes per row."""
SIMILAR_PER_BUCKET = 80_000
"""Of those with a sketch."""

_EQUAL = pa.schema([(name, pa.uint64()) for name in ("high", "low", "order", "number")])
_BANDS = pa.schema([("key", pa.uint64()), ("number", pa.int64())])
_SIMILAR = pa.schema([("key", pa.uint64()), ("order", pa.uint64()), ("head", pa.uint64()), ("number", pa.int64())])


class Corpus(NamedTuple):
    """Documents that can be read again and again, always in the same order."""

    tables: Tables
    rows: int
    scratch: Path | None

    def numbered(self) -> Iterator[tuple[int, pa.Table]]:
        """Every table with the number of its first document."""
        first = 0
        for table in self.tables():
            yield first, table
            first += table.num_rows

    def folder(self, name: str) -> Path | None:
        """Where to spill."""
        return self.scratch / name if self.scratch else None

    def buckets(self, per_row: int, size: int = ROWS_PER_BUCKET) -> int:
        """How many buckets keep each at about `size` rows."""
        return -(-self.rows * per_row // size)


def link(corpus: Corpus, near: Near) -> Numbers:
    """Join documents into clusters.

    Args:
        corpus: Rows of INDEX.
        near: What counts as nearly the same.

    Returns:
        The parent of every document; one in no cluster, or at the root of one, is its own.
    """
    with (
        Spill(corpus.folder("texts"), _EQUAL, corpus.buckets(1)) as texts,
        Spill(corpus.folder("urls"), _EQUAL, corpus.buckets(1)) as urls,
    ):
        parent = np.arange(_spill_keys(corpus, texts, urls))
        for copies, kept in _equal_pairs(texts):
            parent[copies] = kept  # the best copy is the root, and stands for all of them from here on
        _link_similar(corpus, parent, _candidates(corpus, parent, near), near)
        for copies, kept in _equal_pairs(urls):
            join_pairs(parent, copies, kept)
    return parent


def spread(keys: NDArray[np.uint64], buckets: int) -> Numbers:
    """Give keys, whose bits are evenly spread, a bucket each."""
    return ((keys >> np.uint64(32)) * np.uint64(buckets) >> np.uint64(32)).astype(np.int64)


def _spill_keys(corpus: Corpus, texts: Spill, urls: Spill) -> int:
    """Write the keys that must be equal; give the number of documents."""
    count = 0
    for first, table in corpus.numbered():
        count = first + table.num_rows
        for spill, rows in ((texts, _text_rows(first, table)), (urls, _url_rows(first, table))):
            spill.write(rows, spread(rows["high"].to_numpy(), spill.buckets))
    texts.close()
    urls.close()
    return count


def _text_rows(first: int, table: pa.Table) -> pa.Table:
    numbers, table = _with("text_sha256", first, table)
    words = digest_words(table["text_sha256"])
    return pa.table([words[:, 0], words[:, 1], order_key(table), numbers.astype(np.uint64)], schema=_EQUAL)


def _url_rows(first: int, table: pa.Table) -> pa.Table:
    valid = pc.and_(pc.is_valid(table["url_key"]), pc.is_valid(table["text_sha256"]))
    numbers = first + np.flatnonzero(valid)
    keys = table["url_key"].filter(valid).to_numpy()
    nothing = np.zeros_like(keys)
    return pa.table([keys, nothing, nothing, numbers.astype(np.uint64)], schema=_EQUAL)


def _with(column: str, first: int, table: pa.Table) -> tuple[Numbers, pa.Table]:
    """The rows that have a value, and their numbers."""
    valid = pc.is_valid(table[column])
    return first + np.flatnonzero(valid), table.filter(valid)


def _equal_pairs(spill: Spill) -> Iterator[tuple[Numbers, Numbers]]:
    """Give the numbers of copies, and of the first of their kind."""
    for bucket in range(spill.buckets):
        known = np.empty((0, len(_EQUAL)), np.uint64)
        for piece in spill.pieces(bucket, ROWS_PER_BUCKET):
            rows = np.column_stack([column.to_numpy() for column in piece.columns])
            known, copies, kept = _fold_equal(np.concatenate([known, rows]))
            yield copies.astype(np.int64), kept.astype(np.int64)


def _fold_equal(rows: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Keep the first row of each kind; give the numbers of the others and of the row that each is a copy of."""
    often = repeated(rows[:, 0].copy())
    alike = rows[often]
    alike = alike[np.lexsort(alike.T[::-1])]
    new = np.ones(len(alike), bool)
    new[1:] = (alike[1:, :2] != alike[:-1, :2]).any(axis=1)
    kept = alike[np.flatnonzero(new)[np.cumsum(new) - 1], -1]
    return np.concatenate([rows[~often], alike[new]]), alike[~new, -1], kept[~new]


def _candidates(corpus: Corpus, parent: Numbers, near: Near) -> NDArray[np.bool_]:
    """Flag the documents that share a band with another text."""
    found = np.zeros(len(parent), bool)
    with Spill(corpus.folder("bands"), _BANDS, corpus.buckets(near.bands)) as spill:
        for first, table in corpus.numbered():
            numbers, signed = _with("bands", first, table)
            chosen = parent[numbers] == numbers
            keys = _bands(signed.filter(chosen))
            rows = pa.table([keys.reshape(-1), np.repeat(numbers[chosen], near.bands)], schema=_BANDS)
            spill.write(rows, spread(keys.reshape(-1), spill.buckets))
        spill.close()
        for bucket in range(spill.buckets):
            rows = spill.read(bucket)
            found[rows["number"].to_numpy()[repeated(rows["key"].to_numpy())]] = True
    return found


def _bands(signed: pa.Table) -> NDArray[np.uint64]:
    column = signed["bands"].combine_chunks()
    return np.asarray(column.flatten()).reshape(len(column), column.type.list_size)


def _link_similar(corpus: Corpus, parent: Numbers, candidates: NDArray[np.bool_], near: Near) -> None:
    """Join candidates that share a band and whose sketches are similar enough."""
    schema = pa.schema([*_SIMILAR, pa.field("sketch", pa.binary(near.bands * near.rows))])
    buckets = -(-int(candidates.sum()) * near.bands // SIMILAR_PER_BUCKET)
    with Spill(corpus.folder("similar"), schema, buckets) as spill:
        for first, table in corpus.numbered():
            chosen = np.flatnonzero(candidates[first : first + table.num_rows])
            rows = _similar_rows(first + chosen, table.take(chosen), schema)
            spill.write(rows, spread(rows["key"].to_numpy(), spill.buckets))
        spill.close()
        for bucket in range(spill.buckets):
            _join_bucket(parent, spill.read(bucket), near.min_similarity)


def _similar_rows(numbers: Numbers, table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give each document once per band: key, what decides the order of comparing, number and sketch."""
    keys = _bands(table)
    heads = digest_words(table["text_sha256"])[:, 0]
    facts = pa.table([order_key(table), heads, numbers, table["sketch"]], names=schema.names[1:])
    repeats = facts.take(np.repeat(np.arange(len(numbers)), keys.shape[1]))
    return pa.table([pa.array(keys.reshape(-1)), *repeats.columns], schema=schema)


def _join_bucket(parent: Numbers, rows: pa.Table, least: float) -> None:
    often = repeated(rows["key"].to_numpy())
    rows = rows.filter(often)
    columns = {name: rows[name].to_numpy() for name in _SIMILAR.names}
    order = np.lexsort((columns["head"], columns["order"], columns["key"]))
    sketches = matrix(rows["sketch"].combine_chunks())[order]
    join_similar(parent, columns["key"][order], columns["number"][order], sketches, least)
