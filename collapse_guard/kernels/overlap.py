"""Word n-grams that texts have in common with an evaluation set.

Words are those of `kernels.folding`: case, digits, punctuation and layout make no difference.
Source: overlap of 13 words as in Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.kernels.arrow import chunks, views
from collapse_guard.kernels.compiled import Int, allocating_kernel, kernel
from collapse_guard.kernels.folding import fold_words, room_for_words
from collapse_guard.kernels.minhash import hash_ngram, hash_ngrams
from collapse_guard.kernels.tables import table_size

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

SHORTEST = 5
"""Words of the shortest item that can be found: fewer are in many texts by chance."""

_FREE = np.uint64(0)
_ONE = np.uint64(1)
_HEAD = np.uint64(0x9E3779B97F4A7C15)
_THREE, _SEVEN = np.uint64(3), np.uint64(7)


class OverlapTable(NamedTuple):
    """The n-grams of an evaluation set.

    `keys` is an open-addressing table of hashes, 0 where free. `marks` has a bit per hash, by its last bits: it is
    small enough for the processor's cache and answers for most n-grams that are not in the table. `lengths` are the
    words per n-gram: first n, then, growing, the lengths of items that are shorter, which are in the table as a whole
    and by their first words.
    """

    keys: NDArray[np.uint64]
    marks: NDArray[np.uint8]
    lengths: NDArray[np.int64]


@kernel
def _head(words: NDArray[np.uint64], i: Int) -> np.uint64:
    """Hash the first words of what may be a short item; no n-gram has this hash."""
    return hash_ngram(words, i, SHORTEST) ^ _HEAD


@kernel
def _mark(marks: NDArray[np.uint8], key: np.uint64) -> tuple[np.uint64, np.uint8]:
    """Find the byte and the bit that stand for a hash."""
    return (key >> _THREE) & np.uint64(marks.size - 1), np.uint8(_ONE << (key & _SEVEN))


@kernel
def _holds(table: OverlapTable, key: np.uint64) -> bool:
    place, bit = _mark(table.marks, key)
    if table.marks[place] & bit == 0:
        return False
    keys = table.keys
    mask = np.uint64(keys.size - 1)
    slot = key & mask
    while keys[slot] != _FREE:
        if keys[slot] == key:
            return True
        slot = (slot + _ONE) & mask
    return False


@allocating_kernel
def _grams_of_item(words: NDArray[np.uint64], n: Int, out: NDArray[np.uint64]) -> Int:
    """Write what is kept of one item, at most one hash per word; its words are overwritten."""
    if words.size < SHORTEST:
        return 0
    if words.size < n:
        out[0] = hash_ngram(words, 0, words.size)
        out[1] = _head(words, 0)
        return 2
    count = hash_ngrams(words, n)
    out[:count] = words[:count]
    return count


@allocating_kernel
def _collect(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], n: Int, lengths: NDArray[np.bool_]
) -> NDArray[np.uint64]:
    words = room_for_words(offsets)
    out = np.empty((offsets[-1] - offsets[0] + offsets.size) // 2, np.uint64)
    size: Int = 0
    for d in range(offsets.size - 1):
        count = fold_words(data[offsets[d] : offsets[d + 1]], words)
        lengths[min(count, n)] = True
        size += _grams_of_item(words[:count], n, out[size:])
    return out[:size]


@kernel
def _fill(table: OverlapTable, grams: NDArray[np.uint64]) -> None:
    keys, marks = table.keys, table.marks
    mask = np.uint64(keys.size - 1)
    for gram in grams:
        place, bit = _mark(marks, gram)
        marks[place] |= bit
        slot = gram & mask
        while keys[slot] != _FREE:
            slot = (slot + _ONE) & mask
        keys[slot] = gram


@kernel
def _count_text(words: NDArray[np.uint64], table: OverlapTable) -> Int:
    """Count what a text has in common with the table; its words are overwritten."""
    n = table.lengths[0]
    found = 0
    if table.lengths.size > 1:
        for i in range(words.size - SHORTEST + 1):
            if _holds(table, _head(words, i)):
                found += _count_short(words, i, table)
    count = hash_ngrams(words, n)
    for gram in words[: _keep_marked(words[:count], table.marks)]:
        found += _holds(table, gram)
    return found


@kernel
def _keep_marked(grams: NDArray[np.uint64], marks: NDArray[np.uint8]) -> Int:
    """Move the hashes that have their mark to the front, without a branch, so that many are looked up at a time."""
    left: Int = 0
    for gram in grams:
        place, bit = _mark(marks, gram)
        grams[left] = gram
        left += marks[place] & bit != 0
    return left


@kernel
def _count_short(words: NDArray[np.uint64], i: Int, table: OverlapTable) -> Int:
    found = 0
    for length in table.lengths[1:]:
        if i + length <= words.size:
            found += _holds(table, hash_ngram(words, i, length))
    return found


@kernel
def _count_all(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    words: NDArray[np.uint64],
    table: OverlapTable,
    out: NDArray[np.int64],
) -> None:
    for d in range(out.size):
        count = fold_words(data[offsets[d] : offsets[d + 1]], words)
        out[d] = _count_text(words[:count], table)


def overlap_table(texts: pa.Array | pa.ChunkedArray, n: int) -> OverlapTable:
    """Collect what texts can be recognised by: all n-grams of words, of shorter texts the text as a whole.

    Args:
        texts: Items; those of fewer than `SHORTEST` words are never found.
        n: Words per n-gram, at least `SHORTEST`.

    Returns:
        The table that `overlaps` asks.

    Raises:
        TypeError: The column holds something else than strings.
    """
    seen = np.zeros(n + 1, bool)
    found = [_collect(*views(chunk), n, seen) for chunk in chunks(texts)]
    grams = np.unique(np.concatenate([np.empty(0, np.uint64), *found]))
    shorter = [length for length in range(SHORTEST, n) if seen[length]]
    size = table_size(len(grams))
    table = OverlapTable(np.zeros(size, np.uint64), np.zeros(size, np.uint8), np.array([n, *shorter], np.int64))
    _fill(table, grams[grams != _FREE])
    return table


def overlaps(texts: pa.Array | pa.ChunkedArray, table: OverlapTable) -> NDArray[np.int64]:
    """Count the places of each text at which words stand that the table knows.

    Args:
        texts: n strings; a null counts 0.
        table: Of an evaluation set. To find the items of a set that a document holds, make the table of the document
            and ask for the items.

    Returns:
        int64 of shape (n,): n-grams that are in the table, with repetitions, and whole shorter items.

    Raises:
        TypeError: The column holds something else than strings.
    """
    counts = [np.empty(0, np.int64)]
    for chunk in chunks(texts):
        counts.append(np.empty(len(chunk), np.int64))
        data, offsets = views(chunk)
        _count_all(data, offsets, room_for_words(offsets), table, counts[-1])
    return np.concatenate(counts)
