"""What is found in a text eight bytes at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import Int, kernel
from collapse_guard.kernels.hashing import count_ones, full_word

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ONE, _TWO, _EIGHT = np.uint64(1), np.uint64(2), np.uint64(8)
_ONES, _TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_NEWLINE, _NEWLINES = 0x0A, np.uint64(0x0A0A0A0A0A0A0A0A)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_BYTE_BITS = np.uint64(3)


@kernel
def store_word(data: NDArray[np.uint8], i: np.uint64, word: np.uint64) -> None:
    """Write eight bytes from byte `i`, lowest first; the compiler makes one store of it."""
    for k in range(_EIGHT):
        data[i + k] = np.uint8(word >> (_EIGHT * k))


@kernel
def count_byte(data: NDArray[np.uint8], byte: int) -> Int:
    """Count how often an ASCII byte occurs."""
    i, size, found = np.uint64(0), np.uint64(data.size), np.uint64(0)
    wanted = np.uint64(byte) * _ONES
    while i + _EIGHT <= size:
        found += count_ones(_equal(full_word(data, i), wanted))
        i += _EIGHT
    for k in range(i, size):
        found += np.uint64(data[k] == byte)
    return np.int64(found)


@kernel
def count_three(data: NDArray[np.uint8], mark: tuple[int, int, int]) -> Int:
    """Count the places where three bytes follow each other; places may overlap."""
    i, size, found = np.uint64(0), np.uint64(data.size), np.uint64(0)
    first, second, third = np.uint64(mark[0]) * _ONES, np.uint64(mark[1]) * _ONES, np.uint64(mark[2]) * _ONES
    while i + _EIGHT + _TWO <= size:
        both = _equal(full_word(data, i), first) & _equal(full_word(data, i + _ONE), second)
        found += count_ones(both & _equal(full_word(data, i + _TWO), third))
        i += _EIGHT
    while i + _TWO < size:
        found += np.uint64((data[i] == mark[0]) & (data[i + _ONE] == mark[1]) & (data[i + _TWO] == mark[2]))
        i += _ONE
    return np.int64(found)


@kernel
def _equal(word: np.uint64, wanted: np.uint64) -> np.uint64:
    """Mark the bytes that are the same in both words, by their highest bit."""
    word ^= wanted
    return ~(((word & ~_TOPS) + ~_TOPS) | word) & _TOPS


@kernel
def count_characters(data: NDArray[np.uint8], start: Int, stop: Int) -> Int:
    """Count the code points of valid UTF-8 in a span: the bytes that continue none."""
    i, end, continued = np.uint64(start), np.uint64(stop), np.uint64(0)
    while i + _EIGHT <= end:
        word = full_word(data, i)
        continued += count_ones(word & ~(word << _ONE) & _TOPS)
        i += _EIGHT
    for k in range(i, end):
        continued += np.uint64(data[k] & 0xC0 == 0x80)  # noqa: PLR2004 - 10xxxxxx
    return stop - start - np.int64(continued)


@kernel
def end_of_line(text: NDArray[np.uint8], start: Int) -> Int:
    """Find the first newline at or after byte `start`; the size where there is none."""
    i, size = np.uint64(start), np.uint64(text.size)
    while i + _EIGHT <= size:
        word = full_word(text, i) ^ _NEWLINES
        found = (word - _ONES) & ~word & _TOPS  # the lowest of these bits is exact
        if found:
            return np.int64(i + (count_ones(~found & (found - _ONE)) >> _BYTE_BITS))
        i += _EIGHT
    while i < size and text[i] != _NEWLINE:
        i += _ONE
    return np.int64(i)


@kernel
def fold(value: np.uint64, word: np.uint64) -> np.uint64:
    """Take one more word into a running hash; the high bits are the good ones."""
    value = (value ^ (value >> _HALF) ^ word) * _ODD
    return value ^ (value >> _HALF)
