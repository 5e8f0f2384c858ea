"""Lines of a text: bullets, ellipses, duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import Int, kernel
from collapse_guard.kernels.tables import insert, table_size
from collapse_guard.kernels.tokens import ASCII_CLASSES, ASCII_END, PLAIN, SPACE, hash_bytes, wide_class_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.kernels.text import Scratch

_NEWLINE = 0x0A
_DOT = 0x2E
_DASH = 0x2D
_CONTINUATION_MASK, _CONTINUATION = 0xC0, 0x80
_BULLET = (0xE2, 0x80, 0xA2)
ELLIPSIS = (0xE2, 0x80, 0xA6)
_MARK_SIZE = 3


@kernel
def measure_lines(text: NDArray[np.uint8], row: np.record, scratch: Scratch) -> None:
    """Fill in the counts of family LINES."""
    if text.size == 0:
        return
    newlines = _count_newlines(text)
    opens, closes = text[0] == _NEWLINE, text[-1] == _NEWLINE
    row.lines = newlines + (not closes)
    # What a split at runs of newlines gives: an empty piece at each end that has a newline, equal to each other.
    row.collapsed_lines = np.int64(opens) + np.int64(closes)
    row.duplicate_lines = np.int64(opens and closes)
    size = table_size(newlines + 1)
    keys, uses = scratch.keys[:size], scratch.uses[:size]
    uses[:] = 0
    start = 0
    while start < text.size:
        stop = _end_of_line(text, start)
        if stop > start:
            _measure_line(text[start:stop], row, keys, uses)
        start = stop + 1


@kernel
def _measure_line(line: NDArray[np.uint8], row: np.record, keys: NDArray[np.uint64], uses: NDArray[np.int32]) -> None:
    row.collapsed_lines += 1
    slot = insert(keys, uses, hash_bytes(line, PLAIN))
    if uses[slot] > 1:
        row.duplicate_lines += 1
        row.duplicate_line_characters += count_characters(line)
    first = _first_character(line)
    last = _end_of_characters(line)
    if first < last:
        row.bullet_lines += line[first] == _DASH or mark_at(line, first, _BULLET)
        dots = last >= _MARK_SIZE and line[last - 1] == _DOT and line[last - 2] == _DOT and line[last - 3] == _DOT
        row.ellipsis_lines += dots or (last >= _MARK_SIZE and mark_at(line, last - _MARK_SIZE, ELLIPSIS))


@kernel
def mark_at(text: NDArray[np.uint8], i: Int, mark: tuple[int, int, int]) -> Int:
    """Say whether the three bytes of a mark stand at byte `i`."""
    return i + _MARK_SIZE <= text.size and text[i] == mark[0] and text[i + 1] == mark[1] and text[i + 2] == mark[2]


@kernel
def _first_character(line: NDArray[np.uint8]) -> Int:
    """Find the first byte that is not white space; the size where there is none."""
    i: Int = 0
    while i < line.size:
        kind, after = _class_at(line, i)
        if kind != SPACE:
            return i
        i = after
    return i


@kernel
def _end_of_characters(line: NDArray[np.uint8]) -> Int:
    """Find the byte after the last that is not white space; 0 where there is none."""
    end = line.size
    while end > 0:
        before = end - 1
        while before > 0 and line[before] & _CONTINUATION_MASK == _CONTINUATION:
            before -= 1
        if _class_at(line, before)[0] != SPACE:
            return end
        end = before
    return 0


@kernel
def _class_at(text: NDArray[np.uint8], i: Int) -> tuple[Int, Int]:
    if text[i] < ASCII_END:
        return np.int64(ASCII_CLASSES[text[i]]), i + 1
    return wide_class_at(text, i)


@kernel
def _end_of_line(text: NDArray[np.uint8], i: int) -> int:
    while i < text.size and text[i] != _NEWLINE:
        i += 1
    return i


@kernel
def _count_newlines(text: NDArray[np.uint8]) -> int:
    newlines = 0
    for byte in text:
        newlines += byte == _NEWLINE
    return newlines


@kernel
def count_characters(text: NDArray[np.uint8]) -> int:
    """Count the code points of valid UTF-8."""
    characters = 0
    for byte in text:
        characters += byte & _CONTINUATION_MASK != _CONTINUATION
    return characters
