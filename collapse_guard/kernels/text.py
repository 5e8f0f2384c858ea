"""The fused pass: everything that signals count in a text, from one tokenising."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.kernels.arrow import views
from collapse_guard.kernels.compiled import Int, kernel
from collapse_guard.kernels.counts import COUNTS, Family
from collapse_guard.kernels.lines import ELLIPSIS, count_characters, mark_at, measure_lines
from collapse_guard.kernels.ngrams import measure_ngrams
from collapse_guard.kernels.tables import table_size
from collapse_guard.kernels.tokens import (
    ALPHABETIC,
    NOT_PUNCTUATION,
    PLAIN,
    PUNCTUATION,
    hash_bytes,
    hash_token,
    next_token,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""The eight of Rae et al. 2021, appendix A1.1."""


class Scratch(NamedTuple):
    """Room for the longest text of a batch, used again for every text: touching new memory costs more than reading."""

    hashes: NDArray[np.uint64]
    ends: NDArray[np.int64]
    grams: NDArray[np.uint64]
    places: NDArray[np.int64]
    slots: NDArray[np.int64]
    filter: NDArray[np.uint8]
    keys: NDArray[np.uint64]
    uses: NDArray[np.int32]


_LINES, _NGRAMS = int(Family.LINES), int(Family.NGRAMS)
_HASH, _DOT, _DOTS = 0x23, 0x2E, 3
_STOP_HASHES = np.array([hash_token(word) for word in STOP_WORDS], np.uint64)
_LONGEST_STOP_WORD = max(len(word) for word in STOP_WORDS)


@kernel
def _room(longest: int) -> Scratch:
    """Reserve for a text of `longest` bytes, which has no more tokens or lines than bytes."""
    size = longest + 1
    table = table_size(size)
    return Scratch(
        np.empty(size, np.uint64),
        np.zeros(size + 1, np.int64),
        np.empty(size, np.uint64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(16 * table, np.uint8),
        np.empty(table, np.uint64),
        np.empty(table, np.int32),
    )


@kernel
def _measure_text(text: NDArray[np.uint8], row: np.record, scratch: Scratch, families: int) -> None:
    row.characters = count_characters(text)
    _measure_tokens(text, row, scratch)
    if families & _LINES:
        measure_lines(text, row, scratch)
    if families & _NGRAMS:
        measure_ngrams(row, scratch)


@kernel
def _measure_tokens(text: NDArray[np.uint8], row: np.record, scratch: Scratch) -> None:
    stop_words = 0
    i: Int = 0
    n = 0
    while i < text.size:
        start, i, seen, characters = next_token(text, i)
        if characters == 0:
            break
        scratch.hashes[n] = hash_bytes(text[start:i], PLAIN)
        scratch.ends[n + 1] = scratch.ends[n] + characters
        if seen == PUNCTUATION:
            _measure_punctuation(text[start:i], row)
        elif seen & NOT_PUNCTUATION:
            row.words += 1
            row.word_characters += characters
            row.alphabetic_words += seen & ALPHABETIC != 0
            if characters <= _LONGEST_STOP_WORD:
                stop_words |= _stop_word(scratch.hashes[n])
        n += 1
    row.tokens = n
    row.stop_words = _count_bits(stop_words)


@kernel
def _measure_punctuation(token: NDArray[np.uint8], row: np.record) -> None:
    """Count number signs and ellipses, three dots or the character, in one token."""
    row.ellipses += mark_at(token, 0, ELLIPSIS)
    dots = 0
    for byte in token:
        row.hashes += byte == _HASH
        dots = (dots + 1) * (byte == _DOT)
        row.ellipses += dots > 0 and dots % _DOTS == 0


@kernel
def _stop_word(key: np.uint64) -> int:
    """Give each stop word a bit of its own; 0 for every other word."""
    for q in range(_STOP_HASHES.size):
        if _STOP_HASHES[q] == key:
            return 1 << q
    return 0


@kernel
def _count_bits(bits: int) -> int:
    count = 0
    while bits:
        bits &= bits - 1
        count += 1
    return count


@kernel
def _measure_all(data: NDArray[np.uint8], offsets: NDArray[np.int64], families: int, out: NDArray[np.void]) -> None:
    longest = 0
    for d in range(out.size):
        longest = max(longest, offsets[d + 1] - offsets[d])
    scratch = _room(longest)
    for d in range(out.size):
        _measure_text(data[offsets[d] : offsets[d + 1]], out[d], scratch, families)


def measure(texts: pa.LargeStringArray, families: Family) -> NDArray[np.void]:
    """Count what the families need in every text, in one pass; the counts of other families stay 0.

    Args:
        texts: n strings, as `kernels.arrow.chunks` gives them; a null is an empty text.
        families: What to count; WORDS is always counted.

    Returns:
        n rows of type `COUNTS`.
    """
    out = np.zeros(len(texts), COUNTS)
    _measure_all(*views(texts), int(families), out)
    return out
