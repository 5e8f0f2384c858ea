"""The fused pass: everything that signals count in a text, from one tokenising."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.kernels.arrow import views
from collapse_guard.kernels.characters import LETTER, WORD
from collapse_guard.kernels.compiled import Int, allocating_kernel, kernel
from collapse_guard.kernels.counts import COUNTS, Family
from collapse_guard.kernels.hashing import WORD_SIZE, count_ones, full_word, hash_token
from collapse_guard.kernels.lanes import store_word
from collapse_guard.kernels.lines import measure_lines
from collapse_guard.kernels.marks import count_marks
from collapse_guard.kernels.ngrams import Joined, Room, measure_duplicate_ngrams, measure_top_ngrams, room_for_ngrams
from collapse_guard.kernels.splitting import Memo, Tokens, describe_token, new_memo, room, tokenize

if TYPE_CHECKING:
    from numpy.typing import NDArray

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""The eight of Rae et al. 2021, appendix A1.1."""


class Scratch(NamedTuple):
    """Room for the longest text of a batch, used again for every text: touching new memory costs more than reading.

    Attributes:
        tokens: What the tokenizer found.
        joined: The same as bytes, where n-grams ask for them.
        ngrams: For all that is looked for more than once.
    """

    tokens: Tokens
    joined: Joined
    ngrams: Room


class _Supplied(NamedTuple):
    """Tokens that somebody else found: those of text `d` are `lists[d]` to `lists[d + 1]`; no lists: none are given."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    lists: NDArray[np.int64]


_LINES, _TOP, _DUPLICATE = int(Family.LINES), int(Family.TOP_NGRAMS), int(Family.DUPLICATE_NGRAMS)
_LONGEST_STOP_WORD = max(len(word) for word in STOP_WORDS)
_STOP_MASK = 63  # so that the set of the words that were seen fits one machine word
_STOP_HASHES = [hash_token(word) for word in STOP_WORDS]
_STOP_SHIFT = next(
    shift for shift in range(64) if len({(key >> shift) & _STOP_MASK for key in _STOP_HASHES}) == len(STOP_WORDS)
)
_BEYOND = 64  # bytes after the stream that may be read or overwritten
_COPIED = 2 * WORD_SIZE
_ONE, _WIDE = np.uint64(1), np.uint64(0x8080808080808080)
_CONTINUATION_MASK, _CONTINUATION = 0xC0, 0x80


def _stop_table() -> NDArray[np.uint64]:
    table = np.zeros(_STOP_MASK + 1, np.uint64)
    for key in _STOP_HASHES:
        table[(key >> _STOP_SHIFT) & _STOP_MASK] = key
    return table


_STOP_TABLE = _stop_table()


@allocating_kernel
def _room(longest: int) -> Scratch:
    """Reserve for a text of `longest` bytes, which has no more tokens or lines than bytes."""
    size = longest + 1
    joined = Joined(np.empty(size + _BEYOND, np.uint8), np.empty(size + 1, np.int64))
    joined.bounds[0] = 0
    return Scratch(room(longest), joined, room_for_ngrams(size))


@kernel
def _measure_all(  # noqa: PLR0917 - a compiled function, called in one place
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    supplied: _Supplied,
    families: int,
    memo: Memo,
    scratch: Scratch,
    out: NDArray[np.void],
) -> None:
    for d in range(out.size):
        text, row = data[offsets[d] : offsets[d + 1]], out[d]
        odd = count_marks(text, row)
        if not supplied.lists.size:
            row.tokens = tokenize(text, scratch.tokens, memo)
            if families & _DUPLICATE:
                _join_tokens(text, row, scratch.tokens, scratch.joined)
        else:
            row.tokens = _take_tokens(supplied, supplied.lists[d], supplied.lists[d + 1], scratch)
        _measure_tokens(row, scratch.tokens)
        if families & _LINES:
            measure_lines(text, row, scratch.ngrams.table.keys, odd)
        if families & _TOP:
            measure_top_ngrams(row, scratch.tokens, scratch.ngrams)
        if families & _DUPLICATE:
            measure_duplicate_ngrams(row, scratch.tokens, scratch.joined, scratch.ngrams)


@kernel
def _longest(offsets: NDArray[np.int64], supplied: _Supplied) -> Int:
    """Give the bytes of the longest text, or of its tokens, each counted one byte longer."""
    longest = 0
    for d in range(offsets.size - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    for d in range(supplied.lists.size - 1):
        first, last = supplied.lists[d], supplied.lists[d + 1]
        longest = max(longest, supplied.offsets[last] - supplied.offsets[first] + last - first)
    return longest


@kernel
def _take_tokens(supplied: _Supplied, first: Int, last: Int, scratch: Scratch) -> Int:
    tokens, (stream, bounds) = scratch.tokens, scratch.joined
    for i in range(last - first):
        token = supplied.data[supplied.offsets[first + i] : supplied.offsets[first + i + 1]]
        tokens.hashes[i], characters, tokens.kinds[i] = describe_token(token)
        tokens.ends[i + 1] = tokens.ends[i] + characters
        bounds[i + 1] = bounds[i] + token.size
        for k in range(token.size):
            stream[bounds[i] + k] = token[k]
    return last - first


@kernel
def _join_tokens(text: NDArray[np.uint8], row: np.record, tokens: Tokens, joined: Joined) -> None:
    """Copy the tokens of a text end to end: the text without its white space."""
    starts, ends, (stream, bounds) = tokens.starts, tokens.ends, joined
    plain = row.characters == text.size
    for i in range(np.uint64(row.tokens)):
        start, end = np.uint64(starts[i]), np.uint64(bounds[i])
        size = np.uint64(ends[i + _ONE] - ends[i])
        if not plain:
            size = np.uint64(_end_of_token(text, start, size)) - start
        if size <= np.uint64(_COPIED) and start + np.uint64(_COPIED) <= np.uint64(text.size):
            low, high = full_word(text, start), full_word(text, start + np.uint64(WORD_SIZE))
            store_word(stream, end, low)
            store_word(stream, end + np.uint64(WORD_SIZE), high)
        else:
            for k in range(size):
                stream[end + k] = text[start + k]
        bounds[i + _ONE] = np.int64(end + size)


@kernel
def _end_of_token(text: NDArray[np.uint8], start: np.uint64, characters: np.uint64) -> Int:
    """Find the byte after some characters."""
    word, size = np.uint64(WORD_SIZE), np.uint64(text.size)
    if characters <= word and start + word <= size and not full_word(text, start) & _WIDE:
        return start + characters
    for _ in range(characters):
        start += _ONE
        while start < size and text[start] & _CONTINUATION_MASK == _CONTINUATION:
            start += _ONE
    return start


@kernel
def _measure_tokens(row: np.record, tokens: Tokens) -> None:
    """Fill in the counts of family WORDS."""
    words, characters, alphabetic, stop_words = 0, 0, 0, np.uint64(0)
    for i in range(np.uint64(row.tokens)):
        size = tokens.ends[i + _ONE] - tokens.ends[i]
        word = tokens.kinds[i] & WORD != 0
        words += word
        characters += word * size
        alphabetic += tokens.kinds[i] & LETTER != 0
        if 0 < size <= _LONGEST_STOP_WORD:
            key = tokens.hashes[i]
            slot = (key >> np.uint64(_STOP_SHIFT)) & np.uint64(_STOP_MASK)
            stop_words |= np.uint64(_STOP_TABLE[slot] == key) << slot
    row.words = words
    row.word_characters = characters
    row.alphabetic_words = alphabetic
    row.stop_words = count_ones(stop_words)


def measure(texts: pa.LargeStringArray, families: Family, tokens: pa.Array | None = None) -> NDArray[np.void]:
    """Count what the families need in every text, in one pass; the counts of other families stay 0.

    Args:
        texts: n strings, as `kernels.arrow.chunks` gives them; a null is an empty text.
        families: What to count; WORDS is always counted.
        tokens: n lists of strings, the tokens of each text; by default they are found as spaCy would.

    Returns:
        n rows of type `COUNTS`.

    Raises:
        TypeError: The tokens are no lists of strings.
        ValueError: There are not as many lists as texts.
    """
    out = np.zeros(len(texts), COUNTS)
    (data, offsets), supplied = views(texts), _supply(tokens, len(texts))
    scratch = _room(_longest(offsets, supplied))  # here, because a kernel would never give it back
    _measure_all(data, offsets, supplied, int(families), new_memo(), scratch, out)
    return out


def _supply(tokens: pa.Array | None, count: int) -> _Supplied:
    if tokens is None:
        return _Supplied(*views(pa.array([], pa.large_string())), np.empty(0, np.int64))
    if not (pa.types.is_list(tokens.type) or pa.types.is_large_list(tokens.type)):
        raise TypeError(f"Tokens of type {tokens.type} cannot be read; give one list of strings per text.")
    if len(tokens) != count:
        raise ValueError(f"There are {len(tokens)} lists of tokens for {count} texts; give one list per text.")
    lists = np.zeros(count + 1, np.int64)
    np.cumsum(pc.fill_null(pc.list_value_length(tokens), 0), out=lists[1:])
    return _Supplied(*views(tokens.flatten().cast(pa.large_string())), lists)
