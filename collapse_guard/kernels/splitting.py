"""Tokens of a text as spaCy's blank English tokenizer finds them, which the rules of Gopher, C4 and FineWeb count.

A text falls into chunks at white space, and the tokens of a chunk depend on nothing else (see `kernels.cutting`). A
plain word is told at once. Other common chunks are looked up in a memo, which holds their bytes too and so never
changes a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.kernels.characters import (
    ASCII_END,
    EDGE,
    LETTER,
    LOWER,
    PUNCT,
    SPACE,
    STOP,
    UPPER,
    WORD,
    character_at,
    facts_of,
)
from collapse_guard.kernels.compiled import Int, allocating_kernel, inlined_kernel, kernel
from collapse_guard.kernels.cutting import cut_chunk, is_special
from collapse_guard.kernels.hashing import (
    WORD_SIZE,
    first_bytes,
    full_word,
    hash_between,
    hash_words,
    letter_bytes,
    visible_bytes,
    word_at,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DOT, _SPACE_BYTE = 0x2E, 0x20
_ANY_CHARACTER, _EVERY_CHARACTER = LETTER | WORD, PUNCT | STOP
_KINDS = _ANY_CHARACTER | _EVERY_CHARACTER


class Tokens(NamedTuple):
    """Room for the tokens of the longest text, used again for every text.

    Attributes:
        hashes: Equal for equal tokens.
        ends: Characters up to the end of each token, those of tokens alone counted; `ends[0]` is 0.
        starts: First byte in the text.
        kinds: Bits: LETTER (some character is a letter), WORD (some character is no punctuation to the peer),
            PUNCT (every character is punctuation in Unicode), STOP (one character, which ends a sentence).
    """

    hashes: NDArray[np.uint64]
    ends: NDArray[np.int64]
    starts: NDArray[np.int64]
    kinds: NDArray[np.uint8]


class Memo(NamedTuple):
    """Tokens of common chunks, in rows: the bytes in two words, packed facts, the hashes of up to four tokens."""

    rows: NDArray[np.uint64]


@kernel
def _describe(text: NDArray[np.uint8], start: Int, stop: Int) -> tuple[np.uint64, Int, Int]:
    size = stop - start
    if size == 1:
        return _describe_byte(np.int64(text[start]))
    if size > 2 * WORD_SIZE:
        characters, kind = _characters_and_kind(text, start, stop)
        return hash_between(text, start, stop), characters, kind
    low, high = word_at(text, start, stop), word_at(text, start + WORD_SIZE, stop)
    hashed = hash_words(low, high, size)
    if size > 0 and _count_letters(low, high) == size:
        return hashed, size, np.int64(LETTER | WORD)
    characters, kind = _characters_and_kind(text, start, stop)
    return hashed, characters, kind


@inlined_kernel
def _describe_byte(byte: Int) -> tuple[np.uint64, Int, Int]:
    one = np.int64(1)
    return hash_words(np.uint64(byte), np.uint64(0), one), one, facts_of(byte) & _KINDS


@inlined_kernel
def _count_letters(low: np.uint64, high: np.uint64) -> Int:
    """Count the ASCII letters at the start of two words."""
    letters = letter_bytes(low)
    return letters + letter_bytes(high) * (letters == WORD_SIZE)


@inlined_kernel
def _characters_and_kind(text: NDArray[np.uint8], start: Int, stop: Int) -> tuple[Int, Int]:
    some, every = np.int64(0), np.int64(_EVERY_CHARACTER)
    characters = np.int64(0)
    i: Int = start
    while i < stop:
        code, i = character_at(text, i, stop)
        facts = facts_of(code)
        some |= facts
        every &= facts
        characters += 1
    if characters > 1:
        every &= PUNCT
    return characters, (some & _ANY_CHARACTER) | every


@kernel
def describe_token(token: NDArray[np.uint8]) -> tuple[np.uint64, Int, Int]:
    """Give the facts about a token that somebody supplies.

    Returns:
        Hash, characters and kind, as `Tokens` has them.
    """
    return _describe(token, np.int64(0), token.size)


@inlined_kernel
def _add(  # noqa: PLR0917 - a compiled function
    tokens: Tokens, n: Int, start: Int, hashed: np.uint64, characters: Int, kind: Int
) -> Int:
    tokens.hashes[n] = hashed
    tokens.ends[n + 1] = tokens.ends[n] + characters
    tokens.starts[n], tokens.kinds[n] = start, kind
    return n + 1


@inlined_kernel
def _split(text: NDArray[np.uint8], start: Int, stop: Int, tokens: Tokens, n: Int) -> Int:
    """Add the tokens of one chunk."""
    hashes, ends, starts, kinds = tokens
    end = cut_chunk(text, start, stop, starts, kinds, n)
    for t in range(n, end):
        after = starts[t + 1] if t + 1 < end else stop
        hashes[t], characters, kinds[t] = _describe(text, starts[t], after)
        ends[t + 1] = ends[t] + characters
    return end


# The memo.

_KEPT_BYTES, _KEPT_TOKENS = 16, 4
_FIRST_HASH = 3
_ROW = 8  # bytes, facts and hashes; eight words are one line of the processor's cache
_ROWS = 1 << 13
_SLOT_1, _SLOT_2, _SLOT_SHIFT = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 64 - 13
_SIZE_BITS, _COUNT_BITS, _PLACE_BITS, _KIND_BITS = 5, 3, 4, 4
_HEAD_BITS, _FACT_BITS = _SIZE_BITS + _COUNT_BITS, _PLACE_BITS + _SIZE_BITS + _KIND_BITS


def new_memo() -> Memo:
    """Make an empty memo; one thread uses it at a time."""
    return Memo(np.zeros(_ROWS * _ROW, np.uint64))


@allocating_kernel
def room(longest: int) -> Tokens:
    """Reserve for a text of `longest` bytes, which has no more tokens than bytes."""
    size = longest + 1
    ends = np.empty(size + 1, np.int64)
    ends[0] = 0  # and no more, because pages that stay untouched cost nothing
    return Tokens(
        np.empty(size, np.uint64),
        ends,
        np.empty(size, np.int64),
        np.empty(size, np.uint8),
    )


@inlined_kernel
def _low(value: Int, bits: int) -> Int:
    return value & ((1 << bits) - 1)


@inlined_kernel
def _row_of(low: np.uint64, high: np.uint64, size: Int) -> Int:
    spread = (low ^ (high * np.uint64(_SLOT_2)) ^ np.uint64(size)) * np.uint64(_SLOT_1)
    return _ROW * np.int64(spread >> np.uint64(_SLOT_SHIFT))


@inlined_kernel
def _recall(rows: NDArray[np.uint64], row: Int, start: Int, tokens: Tokens, n: Int) -> Int:
    """Add the tokens of a chunk from its row of the memo."""
    facts = np.int64(rows[row + 2])
    count = _low(facts >> _SIZE_BITS, _COUNT_BITS)
    facts >>= _HEAD_BITS
    for t in range(count):
        place, characters = _low(facts, _PLACE_BITS), _low(facts >> _PLACE_BITS, _SIZE_BITS)
        kind = _low(facts >> (_PLACE_BITS + _SIZE_BITS), _KIND_BITS)
        n = _add(tokens, n, start + place, rows[row + _FIRST_HASH + t], characters, kind)
        facts >>= _FACT_BITS
    return n


@kernel
def _split_and_remember(  # noqa: PLR0917 - a compiled function
    text: NDArray[np.uint8], start: Int, stop: Int, tokens: Tokens, n: Int, rows: NDArray[np.uint64]
) -> Int:
    """Add the tokens of a chunk that is not in the memo, and put it there unless it is long."""
    size = stop - start
    end = _split(text, start, stop, tokens, n)
    if size > _KEPT_BYTES or end - n > _KEPT_TOKENS:
        return end
    low, high = word_at(text, start, stop), word_at(text, start + WORD_SIZE, stop)
    row = _row_of(low, high, size)
    facts: Int = np.int64(0)
    for t in range(end - 1, n - 1, -1):
        characters = tokens.ends[t + 1] - tokens.ends[t]
        fact = (tokens.starts[t] - start) | (characters << _PLACE_BITS)
        facts = (facts << _FACT_BITS) | fact | (np.int64(tokens.kinds[t]) << (_PLACE_BITS + _SIZE_BITS))
        rows[row + _FIRST_HASH + t - n] = tokens.hashes[t]
    rows[row], rows[row + 1] = low, high
    rows[row + 2] = np.uint64((facts << _HEAD_BITS) | ((end - n) << _SIZE_BITS) | size)
    return end


# Plain words.

_BYTE = np.uint64(0xFF)


@inlined_kernel
def _letters_of_word(low: np.uint64, high: np.uint64, size: Int) -> Int:
    """Count the letters of a chunk that is a plain word, of ASCII letters with or without one mark to strip.

    Takes the first 16 bytes of the chunk as two words; a number depends on nothing in memory, which is quick.

    Returns:
        0 where there is more to the chunk.
    """
    letters = _count_letters(low, high)
    if letters == 0 or size - letters > 1 or size > 2 * WORD_SIZE:
        return np.int64(0)
    if size > letters:
        if not _strips(low, high, letters) or is_special(hash_words(low, high, size)):
            return np.int64(0)
        low, high = first_bytes(low, letters), first_bytes(high, letters - WORD_SIZE)
    return np.int64(0) if is_special(hash_words(low, high, letters)) else letters


@inlined_kernel
def _byte_of(low: np.uint64, high: np.uint64, i: Int) -> Int:
    word = low if i < WORD_SIZE else high
    return np.int64((word >> np.uint64(8 * (i % WORD_SIZE))) & _BYTE)


@inlined_kernel
def _strips(low: np.uint64, high: np.uint64, letters: Int) -> Int:
    """Say whether the mark after these letters is stripped."""
    mark = _byte_of(low, high, letters)
    if mark != _DOT:
        return mark < ASCII_END and facts_of(mark) & EDGE != 0
    if facts_of(_byte_of(low, high, letters - 1)) & LOWER:
        return True
    return letters > 1 and facts_of(_byte_of(low, high, letters - 2)) & UPPER != 0


@inlined_kernel
def _add_word(  # noqa: PLR0917 - a compiled function
    low: np.uint64, high: np.uint64, size: Int, letters: Int, start: Int, tokens: Tokens, n: Int
) -> Int:
    """Add a plain word and the mark behind it, if there is one."""
    word, more = first_bytes(low, letters), first_bytes(high, letters - WORD_SIZE)
    n = _add(tokens, n, start, hash_words(word, more, letters), letters, np.int64(LETTER | WORD))
    if letters < size:
        hashed, characters, kind = _describe_byte(_byte_of(low, high, letters))
        n = _add(tokens, n, start + letters, hashed, characters, kind)
    return n


# Texts.


@kernel
def _end_of_chunk(text: NDArray[np.uint8], i: Int) -> Int:
    while i < text.size:
        if i + WORD_SIZE <= text.size:
            plain = visible_bytes(full_word(text, np.uint64(i)))
            i += plain
            if plain == WORD_SIZE:
                continue
        code, after = character_at(text, i, text.size)
        if facts_of(code) & SPACE:
            return i
        i = after
    return i


@inlined_kernel
def _start_of_chunk(text: NDArray[np.uint8], i: Int) -> Int:
    while i < text.size:
        if _SPACE_BYTE < text[i] < ASCII_END:
            return i
        code, after = character_at(text, i, text.size)
        if not facts_of(code) & SPACE:
            return i
        i = after
    return i


@inlined_kernel
def _short_chunk(text: NDArray[np.uint8], start: Int) -> tuple[Int, np.uint64, np.uint64]:
    """Find the end of a chunk of ASCII that is followed by ASCII white space, almost without a branch.

    Returns:
        Its size and its bytes in two words; size 0 where it is not so, or longer than 15 bytes.
    """
    if start + 2 * WORD_SIZE > text.size:
        return np.int64(0), np.uint64(0), np.uint64(0)
    low, high = full_word(text, np.uint64(start)), full_word(text, np.uint64(start + WORD_SIZE))
    size, more = visible_bytes(low), visible_bytes(high)
    size += more * (size == WORD_SIZE)
    if size == 2 * WORD_SIZE or text[start + size] >= ASCII_END or not facts_of(np.int64(text[start + size])) & SPACE:
        return np.int64(0), np.uint64(0), np.uint64(0)
    return size, first_bytes(low, size), first_bytes(high, size - WORD_SIZE)


@kernel
def tokenize(text: NDArray[np.uint8], tokens: Tokens, memo: Memo) -> Int:
    """Find the tokens of a text.

    Returns:
        How many there are.
    """
    rows = memo.rows
    zero = np.int64(0)  # a literal would compile everything twice
    n: Int = zero
    stop: Int = zero
    while True:
        start = _start_of_chunk(text, stop)
        if start == text.size:
            return n
        size, low, high = _short_chunk(text, start)
        if size == 0:
            size = _end_of_chunk(text, start) - start
            low, high = word_at(text, start, start + size), word_at(text, start + WORD_SIZE, start + size)
        stop = start + size
        letters = _letters_of_word(low, high, size)
        if letters:
            n = _add_word(low, high, size, letters, start, tokens, n)
            continue
        row = _row_of(low, high, size)
        known = size <= _KEPT_BYTES and rows[row] == low and rows[row + 1] == high
        if known and _low(np.int64(rows[row + 2]), _SIZE_BITS) == size:
            n = _recall(rows, row, start, tokens, n)
        else:
            n = _split_and_remember(text, start, stop, tokens, n, rows)
