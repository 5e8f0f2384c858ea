"""Which documents quote the evaluation split, by word n-grams that hardly any document of the reservoir shares.

An n-gram that several documents of the reservoir hold is common: a licence, a template, a saying. It says nothing
about copying, and counts neither as quoted nor as part of the text that could be.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.kernels.quotation.shares import Holders, Slice, count_grams
from collapse_guard.policy import decimal
from collapse_guard.reservoir import EVALUATION, HUMAN
from collapse_guard.reservoir.states import PENDING
from collapse_guard.snapshot import read_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from collapse_guard.policy import EvaluationSplit
    from collapse_guard.reservoir import Reservoir

HELD_OUT = (EVALUATION, PENDING + EVALUATION)
"""Splits of the reservoir that no mix may hold, what was admitted and is not in force yet included."""
TOKENS_PER_PART = 4_000_000
"""About two million n-grams and 60 MB; a larger evaluation split is looked for in several passes over the texts."""
MOST_PARTS = 4
"""Of an evaluation split of more parts, a sample of the n-grams is looked for, which is the same in every text."""


class Texts(NamedTuple):
    """Texts to look at, and which of them are the reservoir's, so that they count among the holders of an n-gram."""

    column: pa.ChunkedArray
    guarded: NDArray[np.bool_]


def find_quotations(
    reservoir: Reservoir, split: EvaluationSplit, texts: Callable[[], Iterable[Texts]]
) -> list[NDArray[np.bool_]]:
    """Find the documents that quote the evaluation split.

    Args:
        reservoir: Its evaluation split is looked for; with its other documents, it tells which n-grams are common.
        split: What is a quotation.
        texts: Starts a pass; always the same texts.

    Returns:
        For every column of the pass, whether each of its texts quotes. 8 bytes per document are in memory.
    """
    parts = max(1, -(-_tokens(reservoir) // TOKENS_PER_PART))
    totals: list[NDArray[np.int32]] = []
    for part in range(min(parts, MOST_PARTS)):
        holders = _holders(reservoir, Slice(split.n, part, parts))
        for index, found in enumerate(texts()):
            counts = holders.counts(found.column, 1 + found.guarded)
            if part == 0:
                totals.append(counts)
            else:
                totals[index] += counts
    return [_quotes(counts, split) for counts in totals]


def _tokens(reservoir: Reservoir) -> int:
    """How large the evaluation split is, as the reservoir counts."""
    return sum(
        pc.sum(read_shard(reservoir.store, index, ["tokens"])["tokens"]).as_py() or 0
        for split in HELD_OUT
        for _, index in reservoir.shards(split)
    )


def _holders(reservoir: Reservoir, cut: Slice) -> Holders:
    holders = Holders(sum(count_grams(texts, cut) for texts in _held_out(reservoir)), cut)
    for texts in _held_out(reservoir):
        holders.enter(texts)
    for texts in chain(_held_out(reservoir), _texts(reservoir, HUMAN)):
        holders.add(texts)
    return holders


def _held_out(reservoir: Reservoir) -> Iterator[pa.ChunkedArray]:
    return chain.from_iterable(_texts(reservoir, split) for split in HELD_OUT)


def _texts(reservoir: Reservoir, split: str) -> Iterator[pa.ChunkedArray]:
    for shard, _ in reservoir.shards(split):
        yield read_shard(reservoir.store, shard, ["text"])["text"]
        pa.default_memory_pool().release_unused()  # else it grows with every shard, up to several times the largest


def _quotes(counts: NDArray[np.int32], split: EvaluationSplit) -> NDArray[np.bool_]:
    share = decimal(split.share)
    known, counted = counts.astype(np.int64).T
    found: NDArray[np.bool_] = (known > 0) & (known * share.denominator >= counted * share.numerator)
    return found
