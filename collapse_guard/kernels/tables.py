"""An open-addressing table of 64-bit hashes with a counter each, in arrays that the caller reuses.

Two different things with one hash count as one; at 64 bits that happens to one pair in 10^19.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import Int, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALLEST = 16
_ONE = np.uint64(1)


@kernel
def table_size(entries: Int) -> Int:
    """Give the power of two that keeps the table at most half full."""
    size = _SMALLEST
    while size < 2 * entries:
        size *= 2
    return size


@kernel
def insert(keys: NDArray[np.uint64], uses: NDArray[np.int32], key: np.uint64) -> Int:
    """Count `key` once more and say in which slot; a slot is free where `uses` is 0."""
    mask = np.uint64(keys.size - 1)
    slot = key & mask
    while uses[slot] > 0 and keys[slot] != key:
        slot = (slot + _ONE) & mask
    keys[slot] = key
    uses[slot] += 1
    return np.int64(slot)
