"""Cut a window of bytes out of each text, between words where there are spaces, never within a character."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from collapse_guard.kernels.arrow import chunks, views
from collapse_guard.kernels.compiled import inlined_kernel, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.kernels.compiled import Int

    Bytes = NDArray[np.uint8]
    Numbers = NDArray[np.int64]

REACH = 64
"""So many bytes are looked through for a space."""
_SPACE, _CONTINUES, _LEADING = 0x20, 0x80, 0xC0
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


def windows(texts: pa.Array | pa.ChunkedArray, hashes: NDArray[np.uint64], size: int) -> pa.LargeStringArray:
    """Cut a window out of each text, at a place that its hash decides.

    Args:
        texts: n strings; a null is an empty text.
        hashes: n hashes, of which the lower half decides.
        size: Bytes of a window at most; shorter texts are whole.

    Returns:
        n strings.
    """
    parts, done = [pa.array([], pa.large_string())], 0
    for chunk in chunks(texts):
        data, offsets = views(chunk)
        starts, ends = np.empty(len(chunk), np.int64), np.zeros(len(chunk) + 1, np.int64)
        _place(data, offsets, hashes[done : done + len(chunk)], size, starts, ends)
        cut = np.empty(ends[-1], np.uint8)
        _copy(data, starts, ends, cut)
        parts.append(pa.LargeStringArray.from_buffers(len(chunk), pa.py_buffer(ends), pa.py_buffer(cut)))
        done += len(chunk)
    return pa.concat_arrays(parts)


@kernel
def _place(  # noqa: PLR0917 - a kernel takes no keywords
    data: Bytes, offsets: Numbers, hashes: NDArray[np.uint64], size: int, starts: Numbers, ends: Numbers
) -> None:
    for text in range(starts.size):
        first, last = offsets[text], offsets[text + 1]
        start, end = first, last
        if last - first > size:
            room = np.uint64(last - first - size)
            start = first + np.int64(((hashes[text] & _LOW) * room) >> _HALF)
            end = _back(data, start + size, start)
            if start > first:
                start = _forth(data, start, end)
        starts[text] = start
        ends[text + 1] = ends[text] + end - start


@inlined_kernel
def _forth(data: Bytes, place: Int, end: Int) -> Int:
    """The place behind the next space, or else of the next character."""
    for i in range(place, min(place + REACH, end)):
        if data[i] <= _SPACE:
            return i + 1
    while place < end and data[place] & _LEADING == _CONTINUES:
        place += 1
    return place


@inlined_kernel
def _back(data: Bytes, place: Int, start: Int) -> Int:
    """The place of the last space before, or else of the last character."""
    for i in range(place, max(place - REACH, start), -1):
        if data[i - 1] <= _SPACE:
            return i - 1
    while place > start and data[place] & _LEADING == _CONTINUES:
        place -= 1
    return place


@kernel
def _copy(data: Bytes, starts: Numbers, ends: Numbers, cut: Bytes) -> None:
    for text in range(starts.size):
        shift = starts[text] - ends[text]
        for place in range(ends[text], ends[text + 1]):
            cut[place] = data[place + shift]
