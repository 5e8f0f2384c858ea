"""Which texts hold what residue may be: literals of rules, and characters that nobody sees.

A literal is found by a hash of its first four bytes, one look in a table for every byte of the text, and compared in
full only where the look succeeds. ASCII letters are compared in lower case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.kernels.arrow import views
from collapse_guard.kernels.compiled import Int, inlined_kernel, kernel
from collapse_guard.kernels.hashing import WORD_SIZE, full_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

MAX_GROUPS = 60
TAGS, SELECTORS, ZERO_WIDTHS, NARROW_SPACES = (1 << bit for bit in range(MAX_GROUPS, 64))
"""Bits for hidden characters: any tag, runs of selectors, runs of zero-width characters, many narrow spaces."""

SHORTEST_LITERAL = 4
SELECTORS_IN_RUN, SELECTORS_AFTER_LETTERS = 2, 4
ZERO_WIDTHS_IN_RUN, ZERO_WIDTHS_AFTER_ASCII = 8, 16
SPACES = 5

_OTHER, _TAG, _SELECTOR, _ZERO_WIDTH, _SPACE = range(5)
_FACTOR, _HASH_BITS = 0x9E3779B1, 16
_HIGH_BITS, _ASCII_END = 0x8080808080808080, 0x80


class Literals(NamedTuple):
    """Literals of groups, ready to be found.

    Attributes:
        data: Their bytes, one after the other, in lower case.
        offsets: Where each begins and the last one ends.
        bits: The bit of each one's group.
        heads: By hash of the first four bytes: 1 + the first literal; 0: none.
        following: The next literal with the same hash, as 1 + its number; 0: none.
        folded: Every byte in lower case, as the highest of four.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    bits: NDArray[np.uint64]
    heads: NDArray[np.int16]
    following: NDArray[np.int16]
    folded: NDArray[np.uint32]


def compile_literals(groups: Sequence[Sequence[str]]) -> Literals:
    """Make a table of literals; those of group `g` set bit `g`.

    Returns:
        What `find_triggers` takes.

    Raises:
        ValueError: A literal is shorter than four bytes, or there are more than 60 groups.
    """
    entries = [(literal.lower().encode(), 1 << group) for group, literals in enumerate(groups) for literal in literals]
    if len(groups) > MAX_GROUPS or any(len(literal) < SHORTEST_LITERAL for literal, _ in entries):
        raise ValueError(f"{len(groups)} groups, {MAX_GROUPS} at most; literals have {SHORTEST_LITERAL} bytes or more.")
    heads = np.zeros(1 << _HASH_BITS, np.int16)
    following = np.zeros(len(entries), np.int16)
    for index, (literal, _) in enumerate(entries):
        slot = (int.from_bytes(literal[:SHORTEST_LITERAL], "little") * _FACTOR & 0xFFFFFFFF) >> _HASH_BITS
        following[index], heads[slot] = heads[slot], index + 1
    return Literals(
        np.frombuffer(b"".join(literal for literal, _ in entries), np.uint8),
        np.cumsum([0, *(len(literal) for literal, _ in entries)], dtype=np.int64),
        np.array([bit for _, bit in entries], np.uint64),
        heads,
        following,
        np.array([ord(chr(byte).lower()) if byte < _ASCII_END else byte for byte in range(256)], np.uint32)
        << np.uint32(24),
    )


def find_triggers(texts: pa.LargeStringArray, literals: Literals) -> NDArray[np.uint64]:
    """Say for each text which groups of literals and which hidden characters it holds; 0 for most, and for null."""
    data, offsets = views(texts)
    masks = np.zeros(len(texts), np.uint64)
    _scan(data, offsets, literals, masks)
    return masks


@kernel
def _scan(data: NDArray[np.uint8], offsets: NDArray[np.int64], literals: Literals, masks: NDArray[np.uint64]) -> None:
    for d in range(masks.size):
        text = data[offsets[d] : offsets[d + 1]]
        masks[d] = _literals_in(text, literals) | _hidden_in(text)


@kernel
def _literals_in(text: NDArray[np.uint8], literals: Literals) -> np.uint64:
    found, window = np.uint64(0), np.uint64(0)
    for i in range(np.uint64(text.size)):
        window = (window >> np.uint64(8)) | np.uint64(literals.folded[text[i]])
        slot = ((window * np.uint64(_FACTOR)) & np.uint64(0xFFFFFFFF)) >> np.uint64(_HASH_BITS)
        if literals.heads[slot]:
            found |= _compared(text, np.int64(i) - SHORTEST_LITERAL + 1, literals, literals.heads[slot])
    return found


@kernel
def _compared(text: NDArray[np.uint8], start: Int, literals: Literals, number: Int) -> np.uint64:
    found = np.uint64(0)
    while start >= 0 and number:
        first, end = literals.offsets[number - 1], literals.offsets[number]
        at = first
        while at < end and start + at - first < text.size and _same(text[start + at - first], literals, at):
            at += 1
        if at == end:
            found |= literals.bits[number - 1]
        number = literals.following[number - 1]
    return found


@inlined_kernel
def _same(byte: np.uint8, literals: Literals, at: Int) -> Int:
    return (literals.folded[byte] >> np.uint32(24)) == literals.data[at]


@kernel
def _hidden_in(text: NDArray[np.uint8]) -> np.uint64:
    found = np.uint64(0)
    selectors: Int = 0
    zero_widths: Int = 0
    spaces: Int = 0
    last, run = _OTHER, 0
    i = _after_ascii(text, 0)
    while i < text.size:
        kind, size = _kind_at(text, i)
        before = text[i - 1] if i else np.uint8(0)
        run = run + 1 if kind == last and before >= _ASCII_END else 1
        selectors += kind == _SELECTOR and _is_letter(before)
        zero_widths += kind == _ZERO_WIDTH and before < _ASCII_END
        spaces += kind == _SPACE
        found |= _reached(kind, run, selectors, zero_widths, spaces)
        last = kind
        i = _after_ascii(text, i + size)
    return found


@inlined_kernel
def _reached(kind: Int, run: Int, selectors: Int, zero_widths: Int, spaces: Int) -> np.uint64:
    if kind == _TAG:
        return np.uint64(TAGS)
    if kind == _SELECTOR and (run >= SELECTORS_IN_RUN or selectors >= SELECTORS_AFTER_LETTERS):
        return np.uint64(SELECTORS)
    if kind == _ZERO_WIDTH and (run >= ZERO_WIDTHS_IN_RUN or zero_widths >= ZERO_WIDTHS_AFTER_ASCII):
        return np.uint64(ZERO_WIDTHS)
    return np.uint64(NARROW_SPACES if kind == _SPACE and spaces >= SPACES else 0)


@inlined_kernel
def _is_letter(byte: np.uint8) -> Int:
    return 0x61 <= (byte | 0x20) <= 0x7A  # noqa: PLR2004 - a to z


@kernel
def _after_ascii(text: NDArray[np.uint8], i: Int) -> Int:
    """Find the next byte that is not ASCII, eight at a time."""
    while i + WORD_SIZE <= text.size and not full_word(text, np.uint64(i)) & np.uint64(_HIGH_BITS):
        i += WORD_SIZE
    while i < text.size and text[i] < _ASCII_END:
        i += 1
    return i


@kernel
def _kind_at(text: NDArray[np.uint8], i: Int) -> tuple[Int, Int]:
    """Classify the character whose first byte is not ASCII: what it is, and its bytes."""
    lead = text[i]
    size = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4  # noqa: PLR2004 - lead bytes of UTF-8
    if i + size > text.size:
        return _OTHER, size
    if lead == 0xE2:  # noqa: PLR2004
        return _general_punctuation(text[i + 1], text[i + 2]), size
    if lead == 0xEF:  # noqa: PLR2004
        return _compatibility(text[i + 1], text[i + 2]), size
    if lead == 0xF3 and text[i + 1] == 0xA0:  # noqa: PLR2004
        return (_TAG if text[i + 2] < 0x82 else _SELECTOR if 0x84 <= text[i + 2] < 0x88 else _OTHER), size  # noqa: PLR2004
    return _OTHER, size


@inlined_kernel
def _general_punctuation(second: np.uint8, third: np.uint8) -> Int:
    """U+200B to U+200D and U+2060 are zero-width; U+2009 and U+202F are narrow spaces."""
    if second == 0x81 and third == 0xA0:  # noqa: PLR2004
        return _ZERO_WIDTH
    if second != 0x80:  # noqa: PLR2004
        return _OTHER
    if 0x8B <= third <= 0x8D:  # noqa: PLR2004
        return _ZERO_WIDTH
    return _SPACE if third in (0x89, 0xAF) else _OTHER


@inlined_kernel
def _compatibility(second: np.uint8, third: np.uint8) -> Int:
    """U+FE00 to U+FE0F select variants; U+FEFF is the byte-order mark, zero-width inside a text."""
    if second == 0xB8 and third < 0x90:  # noqa: PLR2004
        return _SELECTOR
    return _ZERO_WIDTH if second == 0xBB and third == 0xBF else _OTHER  # noqa: PLR2004
