"""How often each hash occurs, without sorting all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import kernel
from collapse_guard.kernels.metric.numbering import number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.kernels.compiled import Int
    from collapse_guard.kernels.metric.numbering import Hashes

    Numbers = NDArray[np.int64]

_BUCKET_BITS, _MOST = 3, 64
"""Hashes in a bucket: 2 ** 3 on average, and how many an insertion sort is good for."""
_WORD = np.uint64(64)


def count_hashes(hashes: Hashes) -> tuple[Hashes, Numbers]:
    """Count hashes; the same as numpy's `unique` with counts.

    Returns:
        The distinct hashes, ascending; how often each occurs.
    """
    ids, distinct = number(hashes)
    counts = np.bincount(ids, minlength=distinct.size).astype(np.int64, copy=False)
    bits = max(1, distinct.size.bit_length() - _BUCKET_BITS)
    starts = np.zeros((1 << bits) + 1, np.int64)
    sorted_hashes, sorted_counts = np.empty_like(distinct), np.empty_like(counts)
    if _sort_buckets(distinct, counts, bits, starts, sorted_hashes, sorted_counts):
        return sorted_hashes, sorted_counts
    order = np.argsort(distinct)
    return distinct[order], counts[order]


@kernel
def _sort_buckets(  # noqa: PLR0917 - a kernel takes no keywords
    hashes: Hashes, counts: Numbers, bits: int, starts: Numbers, sorted_hashes: Hashes, sorted_counts: Numbers
) -> Int:
    """Sort by the first bits, then within each bucket; says 0 where hashes are so alike that this would take long."""
    shift = _WORD - np.uint64(bits)
    for k in range(hashes.size):
        starts[np.int64(hashes[k] >> shift) + 1] += 1
    if not _turn_into_starts(starts):
        return 0
    for k in range(hashes.size):
        bucket = np.int64(hashes[k] >> shift)
        sorted_hashes[starts[bucket]], sorted_counts[starts[bucket]] = hashes[k], counts[k]
        starts[bucket] += 1
    for n in range(starts.size - 1):  # by now each start is where its bucket ends
        _sort_between(sorted_hashes, sorted_counts, starts[n - 1] if n else 0, starts[n])
    return 1


@kernel
def _turn_into_starts(sizes: Numbers) -> Int:
    most = 0
    for bucket in range(1, sizes.size):
        most = max(most, sizes[bucket])
        sizes[bucket] += sizes[bucket - 1]
    return most <= _MOST


@kernel
def _sort_between(hashes: Hashes, counts: Numbers, start: Int, stop: Int) -> None:
    for k in range(start + 1, stop):
        value, count, place = hashes[k], counts[k], k
        while place > start and hashes[place - 1] > value:
            hashes[place], counts[place] = hashes[place - 1], counts[place - 1]
            place -= 1
        hashes[place], counts[place] = value, count
