"""64-bit hashes of tokens, and other work on eight bytes at a time.

The bytes are read as little-endian words of 64 bits, the last one filled up with zeros. Each word is joined by
exclusive or and multiplied, and the upper half folded into the lower. The size and the finaliser of MurmurHash3 end it,
so that all bits can be used. There is no seed: the hash of a token is the same everywhere.
Source: Appleby, MurmurHash3 (the finaliser).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import inlined_kernel, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.kernels.compiled import Int

WORD_SIZE = 8
_STEP, _HALF = 0x9E3779B97F4A7C15, 32
_MIX_1, _MIX_2, _MIX_SHIFT = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53, 33
_TWO_64 = 1 << 64
_SMALL = 0x20
_ONES, _LOW_BITS, _HIGH_BITS = (
    0x0101010101010101,
    0x7F7F7F7F7F7F7F7F,
    0x8080808080808080,
)
_FROM_VISIBLE, _FROM_A, _ABOVE_Z = (_ONES * (0x80 - byte) for byte in (0x21, 0x61, 0x7B))


@kernel
def _absorb(value: np.uint64, word: np.uint64) -> np.uint64:
    value = (value ^ word) * np.uint64(_STEP)
    return value ^ (value >> np.uint64(_HALF))


@kernel
def _finish(value: np.uint64, size: Int) -> np.uint64:
    value ^= np.uint64(size)
    value = (value ^ (value >> np.uint64(_MIX_SHIFT))) * np.uint64(_MIX_1)
    value = (value ^ (value >> np.uint64(_MIX_SHIFT))) * np.uint64(_MIX_2)
    return value ^ (value >> np.uint64(_MIX_SHIFT))


@inlined_kernel
def full_word(text: NDArray[np.uint8], i: np.uint64) -> np.uint64:
    """Read the eight bytes from byte `i`, which must be there, lowest first; the compiler makes one load of it."""
    return (
        np.uint64(text[i])
        | (np.uint64(text[i + np.uint64(1)]) << np.uint64(8))
        | (np.uint64(text[i + np.uint64(2)]) << np.uint64(16))
        | (np.uint64(text[i + np.uint64(3)]) << np.uint64(24))
        | (np.uint64(text[i + np.uint64(4)]) << np.uint64(32))
        | (np.uint64(text[i + np.uint64(5)]) << np.uint64(40))
        | (np.uint64(text[i + np.uint64(6)]) << np.uint64(48))
        | (np.uint64(text[i + np.uint64(7)]) << np.uint64(56))
    )


@inlined_kernel
def first_bytes(word: np.uint64, size: Int) -> np.uint64:
    """Keep the first bytes of a word, at most all eight and at least none."""
    if size >= WORD_SIZE:
        return word
    return word & ((np.uint64(1) << np.uint64(8 * max(size, 0))) - np.uint64(1))


@inlined_kernel
def word_at(text: NDArray[np.uint8], i: Int, stop: Int) -> np.uint64:
    """Read up to eight bytes from byte `i`, none at `stop` or after it; zeros stand for those that are missing."""
    size = stop - i
    if size <= 0:
        return np.uint64(0)
    if i + WORD_SIZE <= text.size:
        return first_bytes(full_word(text, np.uint64(i)), size)
    return _last_word_at(text, i, size)


@kernel
def _last_word_at(text: NDArray[np.uint8], i: Int, size: Int) -> np.uint64:
    """Read up to eight bytes near the end of a text."""
    word = np.uint64(0)
    for k in range(min(size, WORD_SIZE)):
        word |= np.uint64(text[i + k]) << np.uint64(8 * k)
    return word


@kernel
def hash_between(text: NDArray[np.uint8], start: Int, stop: Int) -> np.uint64:
    """Hash the bytes from `start` to before `stop`."""
    value = np.uint64(0)
    i: Int = start
    while i < stop:  # a range with a step would divide
        value = _absorb(value, word_at(text, i, stop))
        i += WORD_SIZE
    return _finish(value, stop - start)


@inlined_kernel
def hash_words(low: np.uint64, high: np.uint64, size: Int) -> np.uint64:
    """Hash 1 to 16 bytes that are in two words, with zeros behind them."""
    value = _absorb(np.uint64(0), low)
    both = _absorb(value, high)
    return _finish(both if size > WORD_SIZE else value, size)


@kernel
def count_ones(word: np.uint64) -> np.uint64:
    """Count the bits that are set; the compiler knows this way of writing it and makes one instruction of it."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(_ONES)) >> np.uint64(56)


# In the marks below the highest bit of a byte says that the byte is meant; all other bits are 0.


@kernel
def bytes_before(marks: np.uint64) -> Int:
    """Count the bytes before the first of eight that is marked."""
    return np.int64(count_ones(~marks & (marks - np.uint64(1))) >> np.uint64(3))


@kernel
def visible_bytes(word: np.uint64) -> Int:
    """Count the bytes before the first of eight that is not between `!` and DEL."""
    low = word & np.uint64(_LOW_BITS)
    return bytes_before((~(low + np.uint64(_FROM_VISIBLE)) | word) & np.uint64(_HIGH_BITS))


@kernel
def letter_bytes(word: np.uint64) -> Int:
    """Count the bytes before the first of eight that is no ASCII letter."""
    small = lower_letters(word) & np.uint64(_LOW_BITS)
    return bytes_before((~(small + np.uint64(_FROM_A)) | (small + np.uint64(_ABOVE_Z)) | word) & np.uint64(_HIGH_BITS))


@inlined_kernel
def has_byte(word: np.uint64, byte: int) -> Int:
    """Say whether one of eight bytes is this one."""
    others = word ^ np.uint64(_ONES * byte)
    return ~(((others & np.uint64(_LOW_BITS)) + np.uint64(_LOW_BITS)) | others) & np.uint64(_HIGH_BITS) != np.uint64(0)


@kernel
def lower_letters(word: np.uint64) -> np.uint64:
    """Lower-case eight ASCII letters; other bytes change too."""
    return word | np.uint64(_ONES * _SMALL)


def hash_token(token: str) -> int:
    """Hash one token as the kernels do, slowly: this is the definition, and works for constants.

    Returns:
        64 bits.
    """
    data, value = token.encode(), 0
    for i in range(0, len(data), WORD_SIZE):
        value = ((value ^ int.from_bytes(data[i : i + WORD_SIZE], "little")) * _STEP) % _TWO_64
        value ^= value >> _HALF
    value ^= len(data)
    for factor in (_MIX_1, _MIX_2):
        value = ((value ^ (value >> _MIX_SHIFT)) * factor) % _TWO_64
    return value ^ (value >> _MIX_SHIFT)
