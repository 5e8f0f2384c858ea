"""Counts over white-space words and newline-ended lines, for the forms of the Gopher rules in Dolma and DCLM.

Words are what `str.split` gives. Sources: Soldaini et al. 2024 (`dolma` 1.2.1, `taggers/gopher.py`), Li et al. 2024
(DCLM, `baselines/mappers`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from collapse_guard.kernels.arrow import views
from collapse_guard.kernels.codepoints import (
    ALNUM,
    ALPHA,
    BLANK,
    DECIMAL,
    EXTEND,
    KATAKANA,
    LONE,
    bits_at,
    codepoints,
)
from collapse_guard.kernels.compiled import Int, allocating_kernel, kernel
from collapse_guard.kernels.hashing import (
    WORD_SIZE,
    bytes_before,
    count_ones,
    first_bytes,
    has_byte,
    lower_letters,
    visible_bytes,
    word_at,
)
from collapse_guard.kernels.lanes import count_byte, end_of_line
from collapse_guard.kernels.repeats import REPEATS, measure_repeats, room_for
from collapse_guard.kernels.tables import insert, table_size
from collapse_guard.kernels.tokens import mix

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from collapse_guard.kernels.repeats import Repeats

SPACED_COUNTS = np.dtype(
    [
        ("words", np.int64),
        ("word_characters", np.int64),
        ("median_length", np.float64),
        ("alphanumeric_words", np.int64),
        ("alphabetic_words", np.int64),
        ("symbol_words", np.int64),
        ("symbols", np.int64),
        ("stop_words", np.int64),
        ("folded_stop_words", np.int64),
        ("lines", np.int64, (2,)),
        ("line_characters", np.int64, (2,)),
        ("bullet_lines", np.int64, (2,)),
        ("ellipsis_lines", np.int64, (2,)),
        ("repeated_lines", np.int64, (2,)),
        ("repeated_line_characters", np.int64, (2,)),
        ("paragraphs", np.int64),
        ("paragraph_characters", np.int64),
        ("repeated_paragraphs", np.int64),
        ("repeated_paragraph_characters", np.int64),
    ],
    align=True,
)
"""Raw counts of one text, in code points.

`alphanumeric_words` begin with a letter or number and lie between ASCII white space; `symbol_words` hold `#` or `…`;
`symbols` are `#`, `...`, `. . .` and `…`; stop words count every time, `folded` in any case. Of the pairs, the first is
of all lines as Dolma has them (bullets `*` and `-`, ellipsis `…`), the second of stripped lines that are not empty as
DCLM has them (bullets `●`, `•`, `*`, `-`; ellipses `...`, `. . .`, `…`). Paragraphs lie between double newlines and are
stripped and not empty. Of what repeats, every copy counts.
"""

_ALL, _FULL = 0, 1
_NEWLINE, _SPACE, _DOT, _HASH, _STAR, _DASH = 0x0A, 0x20, 0x2E, 0x23, 0x2A, 0x2D
_CONTINUATION_MASK, _CONTINUATION = 0xC0, 0x80
_ELLIPSIS, _BULLET, _DISC = (0xE2, 0x80, 0xA6), (0xE2, 0x80, 0xA2), (0xE2, 0x97, 0x8F)
_ODD, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)
_ONE, _ONES, _TOPS = np.uint64(1), np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_FROM_A, _ABOVE_Z = _ONES * np.uint64(0x80 - 0x61), _ONES * np.uint64(0x80 - 0x7B)
_DOTS_WORD, _HASHES_WORD, _LEADS_WORD = (_ONES * np.uint64(byte) for byte in (_DOT, _HASH, _ELLIPSIS[0]))
_LOWER_BITS = _ONES * np.uint64(0x20)
_STOP_WORDS = np.array(
    [int.from_bytes(word, "little") for word in (b"the", b"be", b"to", b"of", b"and", b"that", b"have", b"with")],
    np.uint64,
)
_LONGEST_STOP_WORD = 4
_UNDERSCORE, _APOSTROPHE, _COLON, _COMMA, _SEMICOLON = 0x5F, 0x27, 0x3A, 0x2C, 0x3B
_RIGHT_QUOTE, _LEFT_QUOTE, _MIDDLE_DOT = (0xE2, 0x80, 0x99), (0xE2, 0x80, 0x98), (0xC2, 0xB7)
_DOTS, _DOT_SPACE_DOT = (_DOT, _DOT, _DOT), (_DOT, _SPACE, _DOT)
_NO_SEGMENT, _LETTERS, _NUMBERS, _KANA, _UNDER, _ALONE = 0, 1, 2, 3, 4, 5
_LENGTHS = 256  # longer words share the last place of the histogram
_SEPARATES = np.isin(np.arange(256), list(b" \n\r\t\v\f\0"))
_GAPS = np.isin(np.arange(256), list(b" \n\r\t\v\f"))
"""ASCII that separates words by every definition."""

_WORD, _LETTER, _DIGIT, _IN_LETTERS, _IN_DIGITS, _WIDE = (np.uint8(1 << bit) for bit in range(6))


def _byte_kinds() -> NDArray[np.uint8]:
    """Class bytes as Annex 29 does: what words consist of, what joins letters, what joins digits."""
    kinds = np.zeros(256, np.uint8)
    for kind, members in (
        (_WORD, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"),
        (_LETTER, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
        (_DIGIT, b"0123456789"),
        (_IN_LETTERS, b".':"),
        (_IN_DIGITS, b".',;"),
        (_WIDE, bytes(range(0x80, 0x100))),
    ):
        kinds[np.frombuffer(members, np.uint8)] |= kind
    return kinds


_KINDS = _byte_kinds()

# --- Words ---


@kernel
def _measure_words(
    text: NDArray[np.uint8], row: np.record, lengths: NDArray[np.int64], facts: NDArray[np.uint16]
) -> None:
    """Count words; `lengths` gets how many there are of each length, the last place the longest."""
    for length in range(_LENGTHS):
        lengths[length] = 0
    after_gap = True
    i: Int = 0
    while i < text.size:
        if _GAPS[text[i]]:
            after_gap = True
            i += 1
            continue
        start = i
        i = _end_of_plain_word(text, start)
        if i > start:
            letters, symbol = _look_into(text, start, i)
            row.alphanumeric_words += after_gap and _KINDS[text[start]] & (_LETTER | _DIGIT) != 0
            _count_word(row, lengths, i - start, letters, symbol)
        else:
            i, after_gap = _measure_wide_word(text, start, row, lengths, facts, after_gap)
        if 0 < i - start <= _LONGEST_STOP_WORD:
            _count_stop_word(text, start, i, row)


@kernel
def _end_of_plain_word(text: NDArray[np.uint8], i: Int) -> Int:
    """Find the end of a word of visible ASCII; `i` where other bytes have a say."""
    stop: Int = i
    n: Int = WORD_SIZE
    while n == WORD_SIZE:
        n = visible_bytes(word_at(text, stop, text.size))
        stop += n
    return stop if stop == text.size or _GAPS[text[stop]] else i


@kernel
def _look_into(text: NDArray[np.uint8], start: Int, stop: Int) -> tuple[Int, Int]:
    """Say whether a word of visible ASCII holds a letter, and a `#`."""
    letters, symbol = np.uint64(0), False
    i: Int = start
    while i < stop:
        word = word_at(text, i, stop)
        small = lower_letters(word)
        letters |= (small + _FROM_A) & ~(small + _ABOVE_Z) & _TOPS
        symbol |= has_byte(word, _HASH)
        i += WORD_SIZE
    return letters != 0, symbol


@kernel
def _measure_wide_word(  # noqa: PLR0917 - a compiled function
    text: NDArray[np.uint8],
    i: Int,
    row: np.record,
    lengths: NDArray[np.int64],
    facts: NDArray[np.uint16],
    after_gap: Int,
) -> tuple[Int, Int]:
    """Count the word at byte `i` and go behind it; where white space stands there, go behind one."""
    characters, seen, symbol = 0, 0, False
    bits: Int = 0
    while i < text.size:
        bits, after = bits_at(text, i, facts)
        gap = _SEPARATES[text[i]]
        row.alphanumeric_words += after_gap and not gap and bits & ALNUM != 0
        after_gap = gap
        if bits & BLANK:
            i = i if characters else after
            break
        seen |= bits
        characters += 1
        symbol |= text[i] == _HASH or (text[i] == _ELLIPSIS[0] and _mark_at(text, i, _ELLIPSIS))
        i = after
    if characters:
        _count_word(row, lengths, characters, seen & ALPHA != 0, symbol)
    return i, after_gap


@kernel
def _count_word(row: np.record, lengths: NDArray[np.int64], characters: Int, letters: Int, symbol: Int) -> None:
    row.words += 1
    row.word_characters += characters
    row.alphabetic_words += letters
    row.symbol_words += symbol
    lengths[np.uint64(min(characters, _LENGTHS - 1))] += 1


@kernel
def _count_stop_word(text: NDArray[np.uint8], start: Int, stop: Int, row: np.record) -> None:
    word = word_at(text, start, stop)
    folded = word | first_bytes(_LOWER_BITS, stop - start)
    found = 0
    for q in range(np.uint64(_STOP_WORDS.size)):
        found += folded == _STOP_WORDS[q]
    row.folded_stop_words += found
    row.stop_words += found * (word == folded)


@allocating_kernel
def _median(text: NDArray[np.uint8], lengths: NDArray[np.int64], words: Int, facts: NDArray[np.uint16]) -> Int:
    if words == 0:
        return 0.0
    low, high = _rank(lengths, (words - 1) // 2), _rank(lengths, words // 2)
    if high == _LENGTHS - 1:
        low = high = np.median(_all_lengths(text, words, facts))
    return (low + high) / 2


@kernel
def _rank(lengths: NDArray[np.int64], rank: Int) -> Int:
    length = 0
    while rank >= lengths[length]:
        rank -= lengths[length]
        length += 1
    return length


@allocating_kernel
def _all_lengths(text: NDArray[np.uint8], words: Int, facts: NDArray[np.uint16]) -> NDArray[np.int64]:
    """List the length of every word; only for texts whose median word is longer than the histogram."""
    out = np.zeros(words, np.int64)
    n: Int = 0
    i: Int = 0
    while i < text.size:
        bits, i = bits_at(text, i, facts)
        if not bits & BLANK:
            out[n] += 1
        elif out[min(n, words - 1)] > 0:
            n += 1
    return out


@kernel
def _mark_at(text: NDArray[np.uint8], i: Int, mark: tuple[int, int, int]) -> bool:
    return bool(i + 2 < text.size and text[i] == mark[0] and text[i + 1] == mark[1] and text[i + 2] == mark[2])


@kernel
def _next_symbol(text: NDArray[np.uint8], i: Int) -> Int:
    """Find the first byte from `i` that is a dot or `#` or may begin an ellipsis."""
    n: Int = WORD_SIZE
    while n == WORD_SIZE and i < text.size:
        word = word_at(text, i, text.size)
        dots, hashes, leads = word ^ _DOTS_WORD, word ^ _HASHES_WORD, word ^ _LEADS_WORD
        marks = ((dots - _ONES) & ~dots) | ((hashes - _ONES) & ~hashes) | ((leads - _ONES) & ~leads)
        n = bytes_before(marks & _TOPS)  # the lowest mark is exact
        i += n
    return i


@kernel
def _count_symbols(text: NDArray[np.uint8]) -> Int:
    """Count `#`, `…`, and three dots in a row or with blanks between, none of them twice."""
    symbols, close, spread = 0, 0, 0
    dot: Int = -3
    i = _next_symbol(text, 0)
    while i < text.size:
        if text[i] == _DOT:
            close = close + 1 if dot == i - 1 else 1
            spread = spread + 1 if dot == i - 2 and text[i - 1] == _SPACE else 1
            symbols += (close == 3) + (spread == 3)  # noqa: PLR2004 - three dots
            close %= 3
            spread %= 3
            dot = i
        else:
            symbols += text[i] == _HASH or _mark_at(text, i, _ELLIPSIS)
        i = _next_symbol(text, i + 1)
    return symbols


# --- Lines and paragraphs ---


class Tables(NamedTuple):
    """Room to count the lines of the longest text, of all of them and of those that are not empty."""

    keys: NDArray[np.uint64]
    uses: NDArray[np.int32]


@kernel
def _clear(tables: Tables, part: Int, size: Int) -> None:
    for slot in range(size):
        tables.keys[part, slot] = 0


@kernel
def _measure_lines(
    text: NDArray[np.uint8], row: np.record, tables: Tables, size: Int, facts: NDArray[np.uint16]
) -> None:
    _clear(tables, _ALL, size)
    _clear(tables, _FULL, size)
    start: Int = 0
    while start <= text.size:
        stop = end_of_line(text, start)
        key, characters = _describe(text, start, stop)
        times = _times(tables, _ALL, size, key)
        _count_line(row, _ALL, characters, times)
        row.bullet_lines[_ALL] += stop > start and (text[start] == _STAR or text[start] == _DASH)
        row.ellipsis_lines[_ALL] += stop - start > 2 and _mark_at(text, stop - 3, _ELLIPSIS)  # noqa: PLR2004 - its bytes
        first, last = _stripped(text, start, stop, facts)
        if last > first:
            if last - first < stop - start:
                key, characters = _describe(text, first, last)
            _count_line(row, _FULL, characters, _times(tables, _FULL, size, key))
            row.bullet_lines[_FULL] += _is_bullet(text, first)
            row.ellipsis_lines[_FULL] += _is_cut_off(text, first, last)
        start = stop + 1


@kernel
def _times(tables: Tables, part: Int, size: Int, key: np.uint64) -> Int:
    """Count a line once more, and say how often it has occurred."""
    uses = tables.uses[part, :size]
    return np.int64(uses[insert(tables.keys[part, :size], uses, key)])


@kernel
def _count_line(row: np.record, part: Int, characters: Int, times: Int) -> None:
    copies = (times > 1) + (times == 2)  # noqa: PLR2004 - the second makes the first a copy too
    row.lines[part] += 1
    row.line_characters[part] += characters
    row.repeated_lines[part] += copies
    row.repeated_line_characters[part] += copies * characters


@kernel
def _measure_paragraphs(
    text: NDArray[np.uint8], row: np.record, tables: Tables, size: Int, facts: NDArray[np.uint16]
) -> None:
    _clear(tables, _ALL, size)
    start: Int = 0
    while start < text.size:
        stop = end_of_line(text, start)
        while stop < text.size and not (stop + 1 < text.size and text[stop + 1] == _NEWLINE):
            stop = end_of_line(text, stop + 1)
        first, last = _stripped(text, start, stop, facts)
        if last > first:
            key, characters = _describe(text, first, last)
            times = _times(tables, _ALL, size, key)
            copies = (times > 1) + (times == 2)  # noqa: PLR2004 - the second makes the first a copy too
            row.paragraphs += 1
            row.paragraph_characters += characters
            row.repeated_paragraphs += copies
            row.repeated_paragraph_characters += copies * characters
        start = stop + 2


@kernel
def _is_bullet(text: NDArray[np.uint8], i: Int) -> bool:
    return bool(text[i] == _STAR or text[i] == _DASH or _mark_at(text, i, _BULLET) or _mark_at(text, i, _DISC))


@kernel
def _is_cut_off(text: NDArray[np.uint8], first: Int, last: Int) -> bool:
    """Say whether a line ends with an ellipsis of any kind."""
    size = last - first
    if size > 2 and (_mark_at(text, last - 3, _ELLIPSIS) or _mark_at(text, last - 3, _DOTS)):  # noqa: PLR2004 - three
        return True
    return size > 4 and _mark_at(text, last - 3, _DOT_SPACE_DOT) and _mark_at(text, last - 5, _DOT_SPACE_DOT)  # noqa: PLR2004


@kernel
def _describe(text: NDArray[np.uint8], start: Int, stop: Int) -> tuple[np.uint64, Int]:
    """Hash some bytes, and count their code points."""
    value, continued = np.uint64(0), np.uint64(0)
    i: Int = start
    while i < stop:
        word = word_at(text, i, stop)
        value = (value ^ word) * _ODD
        value ^= value >> _HALF  # or the highest bits of one word could make up for those of another
        continued += count_ones(word & ~(word << _ONE) & _TOPS)
        i += WORD_SIZE
    return mix(value ^ np.uint64(stop - start)), stop - start - np.int64(continued)


@kernel
def _stripped(text: NDArray[np.uint8], start: Int, stop: Int, facts: NDArray[np.uint16]) -> tuple[Int, Int]:
    """Leave white space out at both ends; where there is nothing else, both places are the same."""
    while start < stop:
        bits, after = bits_at(text, start, facts)
        if not bits & BLANK:
            break
        start = after
    while stop > start:
        before = stop - 1
        while before > start and text[before] & _CONTINUATION_MASK == _CONTINUATION:
            before -= 1
        if not bits_at(text, before, facts)[0] & BLANK:
            break
        stop = before
    return start, max(start, stop)


@allocating_kernel
def _measure_all(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    facts: NDArray[np.uint16],
    tables: Tables,
    out: NDArray[np.void],
) -> None:
    lengths = np.empty(_LENGTHS, np.int64)
    for d in range(out.size):
        text, row = data[offsets[d] : offsets[d + 1]], out[d]
        _measure_words(text, row, lengths, facts)
        row.median_length = _median(text, lengths, row.words, facts)
        row.symbols = _count_symbols(text)
        size = table_size(count_byte(text, _NEWLINE) + 1)
        _measure_lines(text, row, tables, size, facts)
        _measure_paragraphs(text, row, tables, size, facts)


def measure_spaced(texts: pa.LargeStringArray) -> NDArray[np.void]:
    """Count words, lines and paragraphs in every text.

    Args:
        texts: n strings, as `kernels.arrow.chunks` gives them; a null is an empty text.

    Returns:
        n rows of type `SPACED_COUNTS`.
    """
    out, (data, offsets) = np.zeros(len(texts), SPACED_COUNTS), views(texts)
    size = table_size(int(np.diff(offsets).max(initial=0)) + 1)
    _measure_all(
        data, offsets, codepoints(), Tables(np.empty((2, size), np.uint64), np.empty((2, size), np.int32)), out
    )
    return out


# --- N-grams ---


@kernel
def _next_word(text: NDArray[np.uint8], i: Int, facts: NDArray[np.uint16]) -> tuple[Int, Int]:
    """Find the next white-space word: its first byte and the byte after it; none is left where they are the same."""
    while i < text.size:
        start = i
        if _GAPS[text[i]]:
            i += 1
            continue
        i = _end_of_plain_word(text, start)
        if i == start:
            i = _end_of_wide_word(text, start, facts)
        if i > start:
            return start, i
        i = bits_at(text, start, facts)[1]
    return i, i


@kernel
def _end_of_wide_word(text: NDArray[np.uint8], i: Int, facts: NDArray[np.uint16]) -> Int:
    while i < text.size:
        bits, after = bits_at(text, i, facts)
        if bits & BLANK:
            break
        i = after
    return i


@kernel
def _next_segment(text: NDArray[np.uint8], i: Int, facts: NDArray[np.uint16]) -> tuple[Int, Int]:
    """Find the next segment of Annex 29 that begins with a letter or number, as `_next_word` does."""
    while i < text.size:
        start = i
        kind = _KINDS[text[i]]
        if kind & _WIDE:
            bits, i = bits_at(text, i, facts)
            if bits & ALNUM:
                return start, _end_of_segment(text, start, facts)
        elif kind & _WORD:
            i = _end_of_plain_segment(text, start)
            if i == start:
                i = _end_of_segment(text, start, facts)
            if text[start] != _UNDERSCORE:
                return start, i
        else:
            i += 1
    return i, i


@kernel
def _end_of_plain_segment(text: NDArray[np.uint8], start: Int) -> Int:
    """Find the end of a segment that begins in ASCII; `start` where other characters have a say."""
    i: Int = start
    while i < text.size:
        kind = _KINDS[text[i]]
        if kind & _WORD:
            i += 1
            continue
        after = _KINDS[text[i + 1]] if kind and i + 1 < text.size else np.uint8(0)
        if (kind | after) & _WIDE:
            return start
        both = _KINDS[text[i - 1]] & after
        if not ((both & _LETTER and kind & _IN_LETTERS) or (both & _DIGIT and kind & _IN_DIGITS)):
            break
        i += 2
    return i


@kernel
def _end_of_segment(text: NDArray[np.uint8], i: Int, facts: NDArray[np.uint16]) -> Int:
    kind = _NO_SEGMENT
    while i < text.size:
        bits, after = bits_at(text, i, facts)
        found = _segment_kind(text, i, bits)
        if found == _NO_SEGMENT and kind != _NO_SEGMENT and kind in (_LETTERS, _NUMBERS):
            after_mark = _after_mark(text, i, kind)
            if after_mark < text.size:
                bits, end = bits_at(text, after_mark, facts)
                if after_mark > i and _segment_kind(text, after_mark, bits) == kind:
                    found, after = kind, end
        if kind == _NO_SEGMENT or _joins(kind, found):
            kind = found or _ALONE
        elif not bits & EXTEND:
            return i
        i = after
    return i


@kernel
def _segment_kind(text: NDArray[np.uint8], i: Int, bits: Int) -> Int:
    if text[i] == _UNDERSCORE:
        return _UNDER
    if bits & LONE:
        return _NO_SEGMENT
    if bits & KATAKANA:
        return _KANA
    return _NUMBERS if bits & DECIMAL else _LETTERS if bits & ALPHA else _NO_SEGMENT


@kernel
def _joins(kind: Int, found: Int) -> bool:
    if kind == _ALONE or found == _NO_SEGMENT:
        return False
    return kind == found or _UNDER in (kind, found) or _KANA not in (kind, found)


@kernel
def _after_mark(text: NDArray[np.uint8], i: Int, kind: Int) -> Int:
    """Give the byte after a mark that does not end a word between two letters, or two digits; else `i`."""
    byte = text[i]
    if byte in (_DOT, _APOSTROPHE) or byte == (_COLON if kind == _LETTERS else _COMMA):
        return i + 1
    if kind == _NUMBERS and byte == _SEMICOLON:
        return i + 1
    if _mark_at(text, i, _RIGHT_QUOTE) or _mark_at(text, i, _LEFT_QUOTE):
        return i + 3
    middle = kind == _LETTERS and byte == _MIDDLE_DOT[0] and i + 1 < text.size and text[i + 1] == _MIDDLE_DOT[1]
    return i + 2 if middle else i


@kernel
def _repeats_all(  # noqa: PLR0917 - a compiled function, called in one place
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    segmented: Int,
    facts: NDArray[np.uint16],
    scratch: Repeats,
    out: NDArray[np.void],
) -> None:
    for d in range(out.size):
        text = data[offsets[d] : offsets[d + 1]]
        n: Int = 0
        i: Int = 0
        while i < text.size:
            start, i = _next_segment(text, i, facts) if segmented else _next_word(text, i, facts)
            if i > start:
                scratch.hashes[n], characters = _describe(text, start, i)
                scratch.ends[n + 1] = scratch.ends[n] + characters
                n += 1
        measure_repeats(out[d], n, scratch)


def measure_spaced_repeats(texts: pa.LargeStringArray, words: Literal["spaced", "segmented"]) -> NDArray[np.void]:
    """Find the repeated n-grams of every text.

    Args:
        texts: n strings, as `kernels.arrow.chunks` gives them; a null is an empty text.
        words: What n-grams are made of: white-space words, or the words of Unicode Annex 29 that begin with a letter or
            number.

    Returns:
        n rows of type `kernels.repeats.REPEATS`.
    """
    out, (data, offsets) = np.zeros(len(texts), REPEATS), views(texts)
    scratch = room_for(int(np.diff(offsets).max(initial=0)) + 1)
    _repeats_all(data, offsets, int(words == "segmented"), codepoints(), scratch, out)
    return out
