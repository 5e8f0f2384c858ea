"""Find hashes in a sorted array of hashes: their leading bits say where to look, because hashes are evenly spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Numbers = NDArray[np.int64]

_WORD = np.uint64(64)


def look_up(hashes: Hashes, values: Numbers, wanted: Hashes) -> Numbers:
    """Give the value of each wanted hash.

    Args:
        hashes: n hashes in ascending order, without repeats.
        values: Their n values.
        wanted: m hashes.

    Returns:
        m values; 0 for a hash that is not among them.
    """
    bits = max(1, hashes.size.bit_length())
    starts, found = np.zeros((1 << bits) + 1, np.int64), np.empty(wanted.size, np.int64)
    _look_up(hashes, values, wanted, bits, starts, found)
    return found


@kernel
def _look_up(  # noqa: PLR0917 - a kernel takes no keywords
    hashes: Hashes, values: Numbers, wanted: Hashes, bits: int, starts: Numbers, found: Numbers
) -> None:
    shift = _WORD - np.uint64(bits)
    for i in range(hashes.size):
        starts[np.int64(hashes[i] >> shift) + 1] += 1
    for start in range(1, starts.size):
        starts[start] += starts[start - 1]
    for i in range(wanted.size):
        bucket = np.int64(wanted[i] >> shift)
        found[i] = 0
        for place in range(starts[bucket], starts[bucket + 1]):
            if hashes[place] == wanted[i]:
                found[i] = values[place]
