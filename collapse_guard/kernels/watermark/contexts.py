"""What a document has said before: hashes of windows of token ids, and where each is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import inlined_kernel, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.kernels.compiled import Int

UNSCORED = 255
"""The value of a place that is not scored; NaN, too, is not below it."""
_ROOM = 3
_STEP, _HALF, _WORD = np.uint64(0x9E3779B97F4A7C15), np.uint64(32), np.uint64(64)


@kernel
def hash_windows(
    ids: NDArray[np.int64], offsets: NDArray[np.int64], width: int, lag: int, hashes: NDArray[np.uint64]
) -> None:
    """Hash the `width` ids that end `lag` before each place; -1 stands for what lies before the document."""
    for n in range(offsets.size - 1):
        start, stop = offsets[n], offsets[n + 1]
        for place in range(start, stop):
            value = np.uint64(width)
            for i in range(place - lag - width + 1, place - lag + 1):
                value = _absorb(value, np.uint64(ids[i]) if i >= start else ~np.uint64(0))
            hashes[place] = value


@inlined_kernel
def _absorb(value: np.uint64, word: np.uint64) -> np.uint64:
    value = (value ^ word) * _STEP
    return value ^ (value >> _HALF)


@kernel
def mark_new(  # noqa: PLR0917 - a kernel takes no keywords
    hashes: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    first: int,
    reach: int,
    slots: NDArray[np.int32],
    new: NDArray[np.uint8],
) -> None:
    """Mark the places whose hash none of the `reach` places before them in the document has.

    Args:
        hashes: One per place; equal hashes are equal windows.
        offsets: Where the documents begin and end.
        first: How many places at the start of a document are not looked at.
        reach: How far back a place counts; 0 marks every place.
        slots: Room for 2 ** `slot_bits` of the longest document.
        new: Receives 1 or 0.
    """
    for n in range(offsets.size - 1):
        start, stop = offsets[n], offsets[n + 1]
        bits = slot_bits(stop - start)
        for k in range(1 << bits):
            slots[k] = 0
        for place in range(start, stop):
            new[place] = 0
            if place - start >= first:
                slot = _find(hashes, start, place, slots, bits)
                new[place] = slots[slot] == 0 or place - start + 1 - slots[slot] > reach
                slots[slot] = place - start + 1


@kernel
def slot_bits(size: Int) -> Int:
    """Give the number of bits of a slot, so that most slots stay empty."""
    bits = 1
    while (1 << bits) < _ROOM * size:
        bits += 1
    return bits


@kernel
def _find(hashes: NDArray[np.uint64], start: Int, place: Int, slots: NDArray[np.int32], bits: Int) -> Int:
    """Find the slot of a hash, or the empty one where it belongs."""
    value = hashes[place]
    slot = np.int64((value * _STEP) >> (_WORD - np.uint64(bits)))
    while slots[slot] != 0 and hashes[start + slots[slot] - 1] != value:
        slot = (slot + 1) & ((1 << bits) - 1)
    return slot


@kernel
def total_documents(
    values: NDArray[np.uint8] | NDArray[np.float64],
    offsets: NDArray[np.int64],
    totals: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> None:
    """Add up the values of each document, in the order of its places, and count the places that are scored."""
    for n in range(offsets.size - 1):
        total, count = 0.0, 0
        for place in range(offsets[n], offsets[n + 1]):
            if values[place] < UNSCORED:
                total += values[place]
                count += 1
        totals[n], counts[n] = total, count
