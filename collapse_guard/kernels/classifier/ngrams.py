"""N-grams of the beginning of a text, counted by bucket.

Every run of white space is read as one blank, and a blank stands before and after the text. The n-grams are those of
3, 4 and 5 characters with no blank in their middle, every word, and every two words in a row; each is hashed to one of
2^bits buckets. A word is a run of letters, digits and symbols, or one ideograph; the classes of characters are those of
`kernels.tokens`. Case counts: it tells generators from people better than without (measured).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.kernels.arrow import views
from collapse_guard.kernels.characters import character_at
from collapse_guard.kernels.compiled import Int, inlined_kernel, kernel
from collapse_guard.kernels.tokens import (
    ASCII_CLASSES,
    ASCII_END,
    IDEOGRAPH,
    JOINER,
    LETTER,
    SPACE,
    SYMBOL,
    class_of,
    mix,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

VERSION = 1
"""Of the buckets: weights from another version mean nothing here."""
COUNT_BITS = 11
"""The low bits of an entry are how often its bucket occurs; more is not told apart."""
MOST_COUNTED = (1 << COUNT_BITS) - 1
MOST_BITS = 32 - COUNT_BITS
PER_CHARACTER, BEYOND = 5, 8
"""A text of n characters has at most 5 n + 8 n-grams: three begin at a character, and a word and a pair end there."""

_BLANK = np.uint32(0x20)
_INSIDE = JOINER | SYMBOL | LETTER
_START, _FACTOR = np.uint64(0xCBF29CE484222325), np.uint64(0x9E3779B97F4A7C15)
_CODE_BITS, _HALF, _ALL = np.uint64(21), np.uint64(32), np.uint64(64)
_WORD, _PAIR = np.uint64(0xA24BAED4963EE407), np.uint64(0x9FB21C651E98DF25)
_NONE, _ONE, _TWO, _THREE, _FOUR = (np.uint64(number) for number in range(5))
_COUNTED, _MASK = np.uint32(COUNT_BITS), np.uint32(MOST_COUNTED)


class Room(NamedTuple):
    """Room for one text, used again for the next: `slots` are zeros between texts.

    Attributes:
        codes: Its characters, as they count.
        slots: A hash table of entries: a bucket, and in the low bits how often it occurs.
        entries: First the slots that hold an entry, in the order of their first n-gram, then the entries themselves.
    """

    codes: NDArray[np.uint32]
    slots: NDArray[np.uint32]
    entries: NDArray[np.uint32]


class Ngrams(NamedTuple):
    """The n-grams of n texts: the entries of text `d` lie from `starts[d]` to before `starts[d + 1]`.

    An entry is `bucket << COUNT_BITS | count`. `words` says how many words of each text were read.
    """

    entries: NDArray[np.uint32]
    starts: NDArray[np.int64]
    words: NDArray[np.int64]


def room_for(window: int) -> Room:
    """Reserve for texts of which `window` characters are read."""
    most = PER_CHARACTER * window + BEYOND
    slots = 1 << (2 * most - 1).bit_length()  # at most half of them are used
    return Room(np.zeros(window + BEYOND, np.uint32), np.zeros(slots, np.uint32), np.zeros(most, np.uint32))


@kernel
def count_text(text: NDArray[np.uint8], room: Room, window: Int, bits: Int) -> tuple[Int, Int]:
    """Count the n-grams of the first `window` characters.

    Returns:
        How many entries there are now in `room`, and how many words were read.
    """
    shift = _ALL - np.uint64(bits)
    size, n, words = _read(text, room, window, shift)
    n = _count_characters(room, size, n, shift)
    for k in range(n):
        slot = np.uint64(room.entries[k])
        room.entries[k] = room.slots[slot]
        room.slots[slot] = 0
    return np.int64(n), words


@kernel
def _read(text: NDArray[np.uint8], room: Room, window: Int, shift: np.uint64) -> tuple[np.uint64, np.uint64, Int]:
    """Write the characters down, and count words and pairs."""
    codes = room.codes
    codes[0] = _BLANK
    size, n, words = _ONE, _NONE, np.int64(0)
    value, before = _START, _NONE  # _START: no word is open; _NONE: there was no word yet
    i: Int = np.int64(0)
    left: Int = window
    while i < text.size and left > 0:
        code, i = character_at(text, i, text.size)
        left -= 1
        kind = ASCII_CLASSES[code] if code < ASCII_END else class_of(code)
        if value != _START and kind & _INSIDE == 0:
            n, before, value, words = _close(value, before, room, n, shift, words)
        if kind & (_INSIDE | IDEOGRAPH):
            value = (value ^ np.uint64(code)) * _FACTOR
        if kind == IDEOGRAPH:
            n, before, value, words = _close(value, before, room, n, shift, words)
        codes[size] = _BLANK if kind == SPACE else np.uint32(code)
        size += np.uint64((kind != SPACE) | (codes[size - _ONE] != _BLANK))
    if value != _START:
        n, before, value, words = _close(value, before, room, n, shift, words)
    codes[size] = _BLANK
    return size + np.uint64(codes[size - _ONE] != _BLANK), n, words


@kernel
def _close(  # noqa: PLR0917 - the state of a loop
    value: np.uint64, before: np.uint64, room: Room, n: np.uint64, shift: np.uint64, words: Int
) -> tuple[np.uint64, np.uint64, np.uint64, Int]:
    """Count a word, and the pair that it makes with the word before."""
    word = mix(value)
    n = _add(word ^ _WORD, room, n, shift)
    if before != _NONE:
        n = _add((before * _FACTOR + word) ^ _PAIR, room, n, shift)
    return n, word, _START, words + 1


@kernel
def _count_characters(room: Room, size: np.uint64, n: np.uint64, shift: np.uint64) -> np.uint64:
    """Count what begins at each character but the last two, until after the next blank."""
    codes = room.codes
    for i in range(max(size, _TWO) - _TWO):
        if codes[i + _ONE] == _BLANK:
            continue
        value = (np.uint64(codes[i]) << (_CODE_BITS + _CODE_BITS)) | (np.uint64(codes[i + _ONE]) << _CODE_BITS)
        value = (value | np.uint64(codes[i + _TWO])) * _FACTOR
        n = _add(value, room, n, shift)
        if codes[i + _TWO] == _BLANK or i + _THREE >= size:
            continue
        value = _longer(value, codes[i + _THREE])
        n = _add(value, room, n, shift)
        if codes[i + _THREE] == _BLANK or i + _FOUR >= size:
            continue
        n = _add(_longer(value, codes[i + _FOUR]), room, n, shift)
    return n


@inlined_kernel
def _longer(value: np.uint64, code: np.uint32) -> np.uint64:
    """Take one more character into a hash."""
    return ((value ^ (value >> _HALF)) + np.uint64(code) + _ONE) * _FACTOR


@inlined_kernel
def _add(value: np.uint64, room: Room, n: np.uint64, shift: np.uint64) -> np.uint64:
    """Count one n-gram.

    Returns:
        How many different buckets there are.
    """
    bucket = np.uint32(((value ^ (value >> _HALF)) * _FACTOR) >> shift)
    last = np.uint64(room.slots.size) - _ONE
    slot = np.uint64(bucket) & last
    while room.slots[slot] != 0 and room.slots[slot] >> _COUNTED != bucket:
        slot = (slot + _ONE) & last
    held = room.slots[slot]
    if held == 0:
        room.slots[slot] = (bucket << _COUNTED) | np.uint32(1)
        room.entries[n] = np.uint32(slot)
        return n + _ONE
    room.slots[slot] = held + np.uint32(held & _MASK != _MASK)
    return n


@kernel
def _count_all(  # noqa: PLR0917 - a compiled function, called in one place
    data: NDArray[np.uint8], offsets: NDArray[np.int64], room: Room, window: Int, bits: Int, out: Ngrams
) -> None:
    for d in range(offsets.size - 1):
        n, out.words[d] = count_text(data[offsets[d] : offsets[d + 1]], room, window, bits)
        start = out.starts[d]
        for k in range(n):
            out.entries[start + k] = room.entries[k]
        out.starts[d + 1] = start + n


def count_ngrams(texts: pa.LargeStringArray, window: int, bits: int) -> Ngrams:
    """Count the n-grams of every text.

    Args:
        texts: n strings; a null is an empty text.
        window: Characters of each that are read.
        bits: There are 2^bits buckets, at most 2^21.

    Returns:
        Their entries, in the order of the texts.
    """
    data, offsets = views(texts)
    most = int(np.minimum(np.diff(offsets), window).sum()) * PER_CHARACTER + len(texts) * BEYOND
    out = Ngrams(np.empty(most, np.uint32), np.zeros(len(texts) + 1, np.int64), np.zeros(len(texts), np.int64))
    _count_all(data, offsets, room_for(window), window, bits, out)
    return out._replace(entries=out.entries[: out.starts[-1]].copy())
