"""Where a text has what the rules for lines look for: one byte of facts beside each byte of the text.

They are found without a branch, many bytes at a time, and read eight at a time; what they point at is then looked at
closely. A candidate that turns out to be nothing costs time, never changes a result.
"""

# ruff: noqa: PLR2004 - bytes are written as they are

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import Int, kernel
from collapse_guard.kernels.hashing import count_ones, full_word

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEWLINE, BREAK, STOP, MARK, GAP, WIDE = 1, 2, 4, 8, 16, 32
"""A newline; another line end of Python; what may end a sentence; `[`, `{`, or what may be in a phrase of C4; ASCII
white space; not ASCII."""

PADDING = 8
"""Bytes of facts behind the text, each a newline, so that a search for a line end needs no other end."""

_ONES = 0x0101010101010101
_LANE, _BYTE_BITS, _GAP_BIT = np.uint64(8), np.uint64(3), np.uint64(4)
_OPEN, _CURLY, _NEWLINE, _RETURN = 0x5B, 0x7B, 0x0A, 0x0D
_REACH = 3
"""How many bytes behind a byte its facts depend on."""


@kernel
def _kind(first: np.uint8, second: np.uint8, third: np.uint8, fourth: np.uint8) -> Int:
    """Give the facts about a byte and the three behind it."""
    low = (first >= 0x0B) & (first <= 0x0D)
    separator = (first >= 0x1C) & (first <= 0x1E)
    general = (first == 0xE2) & (second == 0x80)
    wide = ((first == 0xC2) & (second == 0x85)) | (general & ((third == 0xA8) | (third == 0xA9)))
    inner = ((second >= 0x30) & (second <= 0x39)) | ((second >= 0x61) & (second <= 0x7A))
    stop = ((first == 0x2E) & ~inner) | (first == 0x21) | (first == 0x3F)
    gap = ((first >= 0x09) & (first <= 0x0D)) | ((first >= 0x1C) & (first <= 0x20))
    wide_stop = (first >= 0xD6) & ~(general & (third < 0xBC))
    a, b, c, d = first | 0x20, second | 0x20, third | 0x20, fourth | 0x20
    mark = (first == _OPEN) | (first == _CURLY)
    mark |= (a == 0x6B) & (b == 0x69) & (c == 0x65)
    mark |= (a == 0x76) & (b == 0x61) & ((c == 0x73) | (c == 0x63))
    mark |= (a == 0x70) & (b == 0x73) & (c == 0x75)
    mark |= (a == 0x6D) & (b == 0x73) & (c == 0x20) & (d == 0x6F)
    return (
        (first == 0x0A) * NEWLINE
        | (low | separator | wide) * BREAK
        | (stop | wide_stop) * STOP
        | mark * MARK
        | gap * GAP
        | (first >= 0x80) * WIDE
    )


@kernel
def find_landmarks(text: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Write the facts about each byte of a text, and the padding behind them."""
    size = np.uint64(text.size)
    plain = size - np.uint64(min(text.size, _REACH))
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for i in range(plain):
        out[i] = np.uint8(_kind(text[i], text[i + one], text[i + two], text[i + three]))
    for i in range(plain, size):
        second = text[i + one] if i + one < size else np.uint8(0)
        third = text[i + two] if i + two < size else np.uint8(0)
        out[i] = np.uint8(_kind(text[i], second, third, np.uint8(0)))
    for i in range(size, size + _LANE):
        out[i] = np.uint8(NEWLINE | GAP)


@kernel
def line_from(landmarks: NDArray[np.uint8], start: Int, ends: int) -> tuple[Int, np.uint64]:
    """Find the end of the line that begins at byte `start`, and what is in it.

    Args:
        landmarks: What `find_landmarks` wrote.
        start: A byte of the text.
        ends: What ends a line: `NEWLINE`, or that and `BREAK`.

    Returns:
        The first byte behind the line, and its facts, for `has`.
    """
    i, wanted, seen = np.uint64(start), np.uint64(ends * _ONES), np.uint64(0)
    while True:
        word = full_word(landmarks, i)
        found = word & wanted
        if found:
            before = ~found & (found - np.uint64(1))
            return np.int64(i + (count_ones(before) >> _BYTE_BITS)), seen | (word & before)
        seen |= word
        i += _LANE


@kernel
def has(seen: np.uint64, kind: int) -> bool:
    """Say whether some byte of a line is of a kind."""
    return bool(seen & np.uint64(kind * _ONES) != np.uint64(0))


@kernel
def count_ascii_words(landmarks: NDArray[np.uint8], stop: Int, enough: int) -> Int:
    """Count the words of a line that does not begin with white space, until there are enough of them.

    Returns:
        How many there are up to some byte at which there are enough; -1 where a byte that is not ASCII leaves it open.
    """
    i, end, words, before = np.uint64(0), np.uint64(stop), np.int64(0), np.uint64(1)
    while i < end and words < enough:
        word = full_word(landmarks, i)
        if has(word, WIDE):
            return np.int64(-1)
        gaps = (word >> _GAP_BIT) & np.uint64(_ONES)
        if end - i < _LANE:
            gaps |= np.uint64(_ONES) << ((end - i) << _BYTE_BITS)
        words += np.int64(count_ones(~gaps & ((gaps << _LANE) | before) & np.uint64(_ONES)))
        before = gaps >> np.uint64(56)
        i += _LANE
    return words


@kernel
def next_stop(landmarks: NDArray[np.uint8], i: Int, stop: Int) -> Int:
    """Find the first byte from byte `i` on that may end a sentence; `stop` where there is none before it."""
    at, wanted = np.uint64(i), np.uint64(STOP * _ONES)
    while np.int64(at) < stop:
        found = full_word(landmarks, at) & wanted
        if found:
            before = ~found & (found - np.uint64(1))
            return min(np.int64(at + (count_ones(before) >> _BYTE_BITS)), stop)
        at += _LANE
    return stop


@kernel
def after_break(text: NDArray[np.uint8], i: Int) -> Int:
    """Find where the next line begins when one ends at byte `i`; the size where the text ends."""
    if i >= text.size:
        return text.size
    lead = text[i]
    if lead == _RETURN and i + 1 < text.size and text[i + 1] == _NEWLINE:
        return i + 2
    return min(i + 1 + (lead >= 0x80) + (lead >= 0xE0), text.size)
