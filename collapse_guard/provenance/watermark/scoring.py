"""What all watermark schemes share: places that count once, and the numbers of a batch of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from collapse_guard.kernels.watermark.contexts import hash_windows, mark_new, slot_bits, total_documents

if TYPE_CHECKING:
    from collapse_guard.provenance.watermark.keys import Key

Dedupe: TypeAlias = Literal["strict", "reference", "none"]
"""`strict`: every keyed draw counts once per document, for p-values. `reference`: what the reference implementation
does with its own deduplication on; one that has none is as `none`, where every token counts."""

Statistic: TypeAlias = Literal["mean", "weighted"]
"""Which mean of SynthID's g values: over all, or with weights that fall from the first layer to the last."""

Ids: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Bytes: TypeAlias = NDArray[np.uint8]

ALWAYS = 2**31
"""A reach back to the start of any document."""


class Family(Protocol):
    """A scheme under one key. Ids are within its vocabulary."""

    def values(self, ids: Ids, offsets: Ids, dedupe: Dedupe) -> Bytes | Floats:
        """Give each place what it adds to its document's total; 255 or NaN where it is not scored."""
        ...

    def score(self, totals: Floats, counts: Ids) -> Floats:
        """Turn totals over at least one scored token each into what the reference calls the score."""
        ...

    def log_p(self, totals: Floats, counts: Ids) -> Floats:
        """Give ln of the chance of such a total or a greater one without the mark."""
        ...


class Scores(NamedTuple):
    """What one key says about n documents with T token ids in all."""

    score: Floats
    """n scores: z of green lists, the sum of Gumbel and EXP, the mean g of SynthID; 0 where nothing was scored."""
    scored_tokens: Ids
    log_p: Floats
    """n natural logarithms."""
    values: Bytes | NDArray[np.float32]
    """T: green or not (1, 0), -ln(1 - u), or the sum of g, whose weights add up to the number of layers; 255 or NaN
    where a token is not scored."""
    totals: Floats
    """n sums of the values."""
    outside: NDArray[np.bool_]
    """n: whether a document has ids that the key's vocabulary has not; nothing is scored there."""


def summed(family: Family, values: Bytes | Floats, offsets: Ids, outside: NDArray[np.bool_]) -> Scores:
    """Add up the values of each document and test the totals."""
    totals, counts = np.empty(offsets.size - 1), np.empty(offsets.size - 1, np.int64)
    total_documents(values, offsets, totals, counts)
    some = counts > 0
    score, log_p = np.zeros(counts.size), np.zeros(counts.size)
    score[some], log_p[some] = family.score(totals[some], counts[some]), family.log_p(totals[some], counts[some])
    shown: NDArray[Any] = values if values.dtype == np.uint8 else values.astype(np.float32)
    return Scores(score, counts, log_p, shown, totals, outside)


def window_hashes(ids: Ids, offsets: Ids, width: int, lag: int) -> NDArray[np.uint64]:
    """Hash, for each place, the `width` ids that end `lag` before it in its document."""
    hashes = np.empty(ids.size, np.uint64)
    hash_windows(ids, offsets, width, lag, hashes)
    return hashes


def new_places(hashes: NDArray[np.uint64], offsets: Ids, first: int, reach: int) -> Bytes:
    """Mark the places whose hash is not among the `reach` ones before them in their document.

    Args:
        hashes: One for each place.
        offsets: Where the documents begin and end.
        first: Places at the start of each document that are not scored.
        reach: ALWAYS for first occurrences, 0 for all places.

    Returns:
        1 or 0 for each place.
    """
    slots = np.empty(1 << slot_bits(int(np.diff(offsets).max(initial=0))), np.int32)
    new = np.zeros(hashes.size, np.uint8)
    mark_new(hashes, offsets, first, reach, slots, new)
    return new


def paired(seeds: NDArray[np.uint32], ids: Ids) -> NDArray[np.uint64]:
    """Join 32-bit seeds and ids to one number each, the seed in the high bits."""
    pairs: NDArray[np.uint64] = (seeds.astype(np.uint64) << np.uint64(32)) | ids.astype(np.uint64)
    return pairs


def required(value: int | None, name: str, key: Key) -> int:
    """Give a number that `keys.complete` has made sure of.

    Returns:
        The number.

    Raises:
        ValueError: The key was made without it.
    """
    if value is None:
        raise ValueError(f"key {key.id!r} has no `{name}`: make keys with `keys.complete`")
    return value
