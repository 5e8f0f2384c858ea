"""SynthID-Text's hash of n-grams, and the sums of its g values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import Int, kernel
from collapse_guard.kernels.watermark.contexts import UNSCORED

if TYPE_CHECKING:
    from numpy.typing import NDArray

MULTIPLIER = 6364136223846793005
_TIMES, _ONE = np.uint64(MULTIPLIER), np.uint64(1)
_SIGNED_TIMES, _SIGNED_ONE = np.int64(MULTIPLIER), np.int64(1)
_REPEATS, _SHIFT, _BIT = 12, np.int64(5), np.int64(30)
AT_ONCE = 1024
"""N-grams that are hashed side by side."""


@kernel
def hash_contexts(
    ids: NDArray[np.int64], powers: NDArray[np.uint64], begin: np.uint64, hashes: NDArray[np.uint64]
) -> None:
    """Hash the ids before each place, without regard to where documents begin.

    Args:
        ids: n token ids.
        powers: What each id of a context is multiplied by, the first id's first.
        begin: The hash of a context of zeros.
        hashes: Receives n hashes; those of the first places are not written.
    """
    width = powers.size
    for start in range(width, ids.size, AT_ONCE):
        stop = min(start + AT_ONCE, ids.size)
        for place in range(stop - start):
            hashes[start + place] = begin
        for k in range(width):
            _add_ids(ids[start - width + k : stop - width + k], powers[k], hashes[start:stop])


@kernel
def _add_ids(ids: NDArray[np.int64], power: np.uint64, hashes: NDArray[np.uint64]) -> None:
    for k in range(hashes.size):
        hashes[k] += np.uint64(ids[k]) * power


@kernel
def sum_by_table(
    ids: NDArray[np.int64],
    contexts: NDArray[np.uint64],
    new: NDArray[np.uint8],
    sums: NDArray[np.uint8] | NDArray[np.float64],
    values: NDArray[np.uint8] | NDArray[np.float64],
) -> None:
    """Read the sum of g at new places from a table by the low bits of the n-gram's hash; its size is a power of two."""
    mask = np.uint64(sums.size - 1)
    for place in range(ids.size):
        value = np.uint8(UNSCORED)
        if new[place]:
            value = sums[((contexts[place] + np.uint64(ids[place])) * _TIMES + _ONE) & mask]
        values[place] = value


@kernel
def sum_by_remainder(  # noqa: PLR0917 - a kernel takes no keywords
    ids: NDArray[np.int64],
    contexts: NDArray[np.uint64],
    new: NDArray[np.uint8],
    keys: NDArray[np.int64],
    bits: NDArray[np.uint8],
    values: NDArray[np.uint8],
) -> None:
    """Sum g over all keys at new places, from a table of any size: the n-gram's signed hash with a key, modulo it."""
    for place in range(ids.size):
        values[place] = UNSCORED
        if new[place]:
            word = np.int64((contexts[place] + np.uint64(ids[place])) * _TIMES + _ONE)
            total = np.uint8(0)
            for layer in range(keys.size):
                total += bits[((word + keys[layer]) * _SIGNED_TIMES + _SIGNED_ONE) % bits.size]
            values[place] = total


@kernel
def sum_by_hash(
    ids: NDArray[np.int64],
    contexts: NDArray[np.uint64],
    keys: NDArray[np.int64],
    hashes: NDArray[np.int64],
    values: NDArray[np.uint8],
) -> None:
    """Sum g over all keys by hashing each n-gram twelve times more with each key.

    Args:
        ids: n token ids.
        contexts: The hashes of what stands before them.
        keys: One for each layer of the tournament, 1 to 64 of them.
        hashes: Room for AT_ONCE hashes.
        values: Receives the sums.
    """
    for start in range(0, ids.size, AT_ONCE):
        stop = min(start + AT_ONCE, ids.size)
        for k in range(stop - start):
            hashes[k] = np.int64((contexts[start + k] + np.uint64(ids[start + k])) * _TIMES + _ONE)
            values[start + k] = 0
        for layer in range(keys.size):
            _add_layer(hashes[: stop - start], keys[layer], values[start:stop])


@kernel
def _add_layer(hashes: NDArray[np.int64], key: Int, values: NDArray[np.uint8]) -> None:
    for k in range(hashes.size):
        word = (hashes[k] + key) * _SIGNED_TIMES + _SIGNED_ONE
        for _ in range(_REPEATS):
            word = ((word + _SIGNED_ONE) * _SIGNED_TIMES + _SIGNED_ONE) >> _SHIFT
        values[k] += np.uint8((word >> _BIT) & _SIGNED_ONE)
