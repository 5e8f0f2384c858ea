"""What each line of a text has, as the line rules of RefinedWeb ask: counts of kinds of bytes, eight at a time.

First one byte of bits is written beside each byte of the text, without a branch, then the bits of a line are counted.
"""

# ruff: noqa: PLR2004 - bytes are written as they are

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.kernels.compiled import Int, kernel
from collapse_guard.kernels.hashing import count_ones, full_word

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ONES = 0x0101010101010101
_LANE, _BYTE_BITS = np.uint64(8), np.uint64(3)
_REACH = 3
"""How many bytes behind a byte its kind depends on."""
_END, START, WIDE_START, _WORD, _CAPITAL, _DIGIT, WIDE, PHRASE = (1 << bit for bit in range(8))
"""A newline; begins a run between separators, with an ASCII letter or number, or with no ASCII; begins a word if all
is ASCII; ASCII capital; ASCII digit; no ASCII; what may be in a phrase."""


class LineFacts(NamedTuple):
    """What is known about a line: how many bytes of each kind it has, and where it ends."""

    stop: Int
    seen: np.uint64
    starts: Int
    words: Int
    capitals: Int
    digits: Int
    wide: Int


@kernel
def _kind(before: np.uint8, first: np.uint8, second: np.uint8, third: np.uint8, fourth: np.uint8) -> Int:
    """Say what a byte is, by the byte before it and three behind it."""
    small = first | 0x20
    letter, digit = (small >= 0x61) & (small <= 0x7A), (first >= 0x30) & (first <= 0x39)
    control = (before >= 0x09) & (before <= 0x0D)
    starts = control | (before == 0x20) | (before == 0x00)
    was_blank = control | ((before >= 0x1C) & (before <= 0x20))
    blank = ((first >= 0x09) & (first <= 0x0D)) | ((first >= 0x1C) & (first <= 0x20))
    b, c, d = second | 0x20, third | 0x20, fourth | 0x20
    phrase = (small == 0x6E) & (((b == 0x20) & (c == 0x63) & (d == 0x61)) | ((b == 0x2D) & (c == 0x69) & (d == 0x6E)))
    phrase |= (small == 0x64) & (b == 0x20) & (c == 0x6D) & (d == 0x6F)
    return (
        (first == 0x0A) * _END
        | (starts & (letter | digit)) * START
        | (starts & (first >= 0x80)) * WIDE_START
        | (was_blank & ~blank) * _WORD
        | (letter & (first <= 0x5A)) * _CAPITAL
        | digit * _DIGIT
        | (first >= 0x80) * WIDE
        | phrase * PHRASE
    )


@kernel
def find_kinds(text: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Write the kind of each byte of a text, and eight newlines behind them."""
    size = np.uint64(text.size)
    one, two, three, blank = np.uint64(1), np.uint64(2), np.uint64(3), np.uint8(0x20)
    plain = size - np.uint64(min(text.size, _REACH))
    for i in range(one, plain):
        out[i] = np.uint8(_kind(text[i - one], text[i], text[i + one], text[i + two], text[i + three]))
    for i in range(plain, size):
        before = text[i - one] if i else blank
        second = text[i + one] if i + one < size else blank
        third = text[i + two] if i + two < size else blank
        out[i] = np.uint8(_kind(before, text[i], second, third, blank))
    if plain:
        out[0] = np.uint8(_kind(blank, text[0], text[1], text[2], text[3]))
    for i in range(size, size + _LANE):
        out[i] = np.uint8(_END)


@kernel
def _count(word: np.uint64, kind: int) -> Int:
    return np.int64(count_ones(word & np.uint64(kind * _ONES)))


@kernel
def look_at_line(kinds: NDArray[np.uint8], start: Int) -> LineFacts:
    """Find the end of the line that begins at byte `start`, and count what is in it."""
    i, seen, found = np.uint64(start), np.uint64(0), np.uint64(0)
    starts, words, capitals, digits, wide = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    while True:
        word = full_word(kinds, i)
        found = word & np.uint64(_END * _ONES)
        before = ~found & (found - np.uint64(1))
        if found:
            word &= before
        seen |= word
        starts += _count(word, START)
        words += _count(word, _WORD)
        capitals += _count(word, _CAPITAL)
        digits += _count(word, _DIGIT)
        wide += _count(word, WIDE)
        if found:
            return LineFacts(
                np.int64(i + (count_ones(before) >> _BYTE_BITS)), seen, starts, words, capitals, digits, wide
            )
        i += _LANE
