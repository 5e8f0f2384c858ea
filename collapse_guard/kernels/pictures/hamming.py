"""The nearest of earlier 64-bit hashes by Hamming distance, without comparing each with each.

Two hashes that differ in at most d bits differ in at most d // 4 of one of their four 16-bit words: those hashes are
looked up by every word that is so near.

Source: Norouzi, Punjani & Fleet 2012, "Fast search in Hamming space with multi-index hashing".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import Int, allocating_kernel, inlined_kernel, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BITS = 15
_WORDS, _WORD_BITS = 4, 16
_VALUES = 1 << _WORD_BITS
_MASK = np.uint64(_VALUES - 1)
_C1, _C2, _C4 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
_C8 = np.uint64(0x0101010101010101)


def _near_words(bits: int) -> NDArray[np.uint64]:
    """All 16-bit words with at most so many bits."""
    words = np.arange(_VALUES, dtype=np.uint64)
    return words[np.bitwise_count(words) <= bits]


@inlined_kernel
def _bits(word: np.uint64) -> Int:
    word -= (word >> np.uint64(1)) & _C1
    word = (word & _C2) + ((word >> np.uint64(2)) & _C2)
    word = (word + (word >> np.uint64(4))) & _C4
    return np.int64((word * _C8) >> np.uint64(56))


@inlined_kernel
def _word(value: np.uint64, place: Int) -> np.uint64:
    return (value >> np.uint64(_WORD_BITS * place)) & _MASK


@kernel
def _nearest(  # noqa: PLR0917 - a kernel takes no keywords
    value: np.uint64,
    hashes: NDArray[np.uint64],
    distance: Int,
    near: NDArray[np.uint64],
    heads: NDArray[np.int64],
    after: NDArray[np.int64],
) -> Int:
    """Give the nearest hash that is in the lists, of equally near ones the first; -1 where none is near enough."""
    best, least = -1, distance + 1
    for place in range(_WORDS):
        word = _word(value, place)
        for mask in near:
            j = heads[place, np.int64(word ^ mask)]
            while j >= 0:
                found = _bits(value ^ hashes[j])
                if found < least or (found == least and best > j):
                    best, least = j, found
                j = after[place, j]
    return best


@allocating_kernel
def _leaders(hashes: NDArray[np.uint64], distance: Int, near: NDArray[np.uint64]) -> NDArray[np.int64]:
    heads = np.full((_WORDS, _VALUES), -1, np.int64)
    after = np.full((_WORDS, hashes.size), -1, np.int64)
    out = np.empty(hashes.size, np.int64)
    for i in range(hashes.size):
        found = _nearest(hashes[i], hashes, distance, near, heads, after)
        out[i] = i if found < 0 else found
        if found < 0:
            for place in range(_WORDS):
                word = np.int64(_word(hashes[i], place))
                after[place, i] = heads[place, word]
                heads[place, word] = i
    return out


def leaders(hashes: NDArray[np.uint64], distance: int) -> NDArray[np.int64]:
    """Give every hash the nearest earlier leader, or make it one.

    Args:
        hashes: Shape (n,), the best first.
        distance: Bits in which a hash may differ from its leader, from 0 to 15.

    Returns:
        Shape (n,): the place of the leader, its own for a leader; no two leaders are as near as `distance`.
    """
    return _leaders(hashes, distance, _near_words(distance // _WORDS))
