"""Small numbers for hashes, in the order of their first appearance, so that loops can look things up in arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from collapse_guard.kernels.compiled import inlined_kernel, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.kernels.compiled import Int

    Hashes = NDArray[np.uint64]
    Ids = NDArray[np.signedinteger[Any]]

_STEP, _MIX_1, _MIX_2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xFF51AFD7ED558CCD),
    np.uint64(0xC4CEB9FE1A85EC53),
)
_ONE, _SHIFT, _WORD = np.uint64(1), np.uint64(33), np.uint64(64)
_SMALL_IDS = 2**31


def number(hashes: Hashes) -> tuple[Ids, Hashes]:
    """Number hashes by their first appearance.

    Args:
        hashes: Equal hashes get equal numbers.

    Returns:
        The number of each hash, from 0; the hash of each number.
    """
    bits = max(4, (2 * hashes.size).bit_length())
    kind: type[np.signedinteger[Any]] = np.int32 if hashes.size < _SMALL_IDS else np.int64
    slots, ids, distinct = np.zeros(1 << bits, kind), np.empty(hashes.size, kind), np.empty(hashes.size, np.uint64)
    count = _number(hashes, slots, bits, ids, distinct)
    return ids, distinct[:count]


@kernel
def _number(hashes: Hashes, slots: Ids, bits: int, ids: Ids, distinct: Hashes) -> Int:
    shift, last = _WORD - np.uint64(bits), (1 << bits) - 1
    count = 0
    for place in range(hashes.size):
        value = hashes[place]
        slot = np.int64((value * _STEP) >> shift)
        while slots[slot] != 0 and distinct[slots[slot] - 1] != value:
            slot = (slot + 1) & last
        if slots[slot] == 0:
            distinct[count] = value
            count += 1
            slots[slot] = count
        ids[place] = slots[slot] - 1
    return count


@inlined_kernel
def mixed(value: np.uint64) -> np.uint64:
    """Spread what a hash says over all of its bits: the finaliser of MurmurHash3."""
    value = (value ^ (value >> _SHIFT)) * _MIX_1
    value = (value ^ (value >> _SHIFT)) * _MIX_2
    return value ^ (value >> _SHIFT)


@kernel
def _next(grams: Hashes, offsets: NDArray[np.int64], longer: Hashes, ends: NDArray[np.int64]) -> None:
    for n in range(offsets.size - 1):
        start, to = offsets[n], ends[n]
        for k in range(ends[n + 1] - to):
            longer[to + k] = mixed((grams[start + k] + _ONE) * _STEP ^ grams[start + k + 1])


def next_grams(grams: Hashes, offsets: NDArray[np.int64]) -> tuple[Hashes, NDArray[np.int64]]:
    """Hash the n-grams of documents from their (n-1)-grams: two that overlap say all.

    Args:
        grams: Those of one document behind those of the other.
        offsets: Where each document begins, and the end.

    Returns:
        One hash less per document that has any; where each document begins in them, and the end.
    """
    lengths = np.maximum(np.diff(offsets) - 1, 0)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    longer = np.empty(int(ends[-1]), np.uint64)
    _next(grams, offsets, longer, ends)
    return longer, ends
