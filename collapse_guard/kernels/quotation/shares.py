"""How many word n-grams of a text stand in a set of other texts, of which one part at a time is in memory.

Words are those of `kernels.folding`: case, digits, punctuation and layout make no difference. N-grams are their hashes;
a part of them is a range of hashes.
Source: overlap of word n-grams as in Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.kernels.arrow import chunks, views
from collapse_guard.kernels.compiled import Int, allocating_kernel, inlined_kernel, kernel
from collapse_guard.kernels.folding import fold_words, room_for_words
from collapse_guard.kernels.minhash import hash_ngrams
from collapse_guard.kernels.tables import add, find, table_size

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

MOST_HOLDERS = 255
_HALF, _ONE, _THREE, _SEVEN = np.uint64(32), np.uint64(1), np.uint64(3), np.uint64(7)
_NOBODY = np.int32(-1)


class Slice(NamedTuple):
    """Which n-grams are meant: of `n` words, in part `part` of `parts`."""

    n: int
    part: int
    parts: int


class Grams(NamedTuple):
    """N-grams, and how many documents hold each.

    `keys` is a table of `kernels.tables`. `marks` has a bit per hash, by its last bits: it is small enough for the
    processor's cache and answers for most n-grams that are not in the table. `holders` counts documents per slot, up
    to `MOST_HOLDERS`.
    """

    keys: NDArray[np.uint64]
    marks: NDArray[np.uint8]
    holders: NDArray[np.uint8]


@kernel
def _grams(text: NDArray[np.uint8], words: NDArray[np.uint64], cut: Slice) -> Int:
    """Put the n-grams of a text that lie in a part to the front of `words`; give their number."""
    count = hash_ngrams(words[: fold_words(text, words)], cut.n)
    part, parts, left = np.uint64(cut.part), np.uint64(cut.parts), np.uint64(0)
    for i in range(count):
        gram = max(words[i], _ONE)  # a free slot of a table has a 0
        words[left] = gram
        left += np.uint64(((gram >> _HALF) * parts) >> _HALF == part)
    return np.int64(left)


@allocating_kernel
def _collect(data: NDArray[np.uint8], offsets: NDArray[np.int64], cut: Slice) -> NDArray[np.uint64]:
    words = room_for_words(offsets)
    out = np.empty((offsets[-1] - offsets[0] + offsets.size) // 2, np.uint64)
    size: Int = 0
    for d in range(offsets.size - 1):
        count = _grams(data[offsets[d] : offsets[d + 1]], words, cut)
        out[size : size + count] = words[:count]
        size += count
    return out[:size]


@inlined_kernel
def _marked(marks: NDArray[np.uint8], gram: np.uint64) -> Int:
    bit = np.uint8(_ONE << (gram & _SEVEN))
    return marks[(gram >> _THREE) & np.uint64(marks.size - 1)] & bit != 0


@kernel
def _keep_marked(marks: NDArray[np.uint8], grams: NDArray[np.uint64]) -> Int:
    """Move the n-grams that have their mark to the front, without a branch, so that many are looked up at a time."""
    left: Int = 0
    for gram in grams:
        grams[left] = gram
        left += _marked(marks, gram)
    return left


@kernel
def _fill(table: Grams, grams: NDArray[np.uint64]) -> None:
    for gram in grams:
        table.marks[(gram >> _THREE) & np.uint64(table.marks.size - 1)] |= np.uint8(_ONE << (gram & _SEVEN))
        add(table.keys, gram)


@kernel
def _hold_all(  # noqa: PLR0917 - a compiled function, called in one place
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    words: NDArray[np.uint64],
    cut: Slice,
    table: Grams,
    last: NDArray[np.int32],
    first: Int,
) -> None:
    """Count every document once for each of its n-grams; `last` has the last that was counted, per slot."""
    for d in range(offsets.size - 1):
        count = _grams(data[offsets[d] : offsets[d + 1]], words, cut)
        for gram in words[: _keep_marked(table.marks, words[:count])]:
            slot = find(table.keys, gram)
            if table.keys[slot] == gram and last[slot] != first + d:
                last[slot] = first + d
                table.holders[slot] += np.uint8(table.holders[slot] < MOST_HOLDERS)


@kernel
def _count_all(  # noqa: PLR0917 - a compiled function, called in one place
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    words: NDArray[np.uint64],
    cut: Slice,
    table: Grams,
    most: NDArray[np.int64],
    out: NDArray[np.int32],
) -> None:
    for d in range(offsets.size - 1):
        count = _grams(data[offsets[d] : offsets[d + 1]], words, cut)
        known, common = 0, 0
        for gram in words[: _keep_marked(table.marks, words[:count])]:
            slot = find(table.keys, gram)
            if table.keys[slot] == gram:
                rare = table.holders[slot] <= most[d]
                known += rare
                common += not rare
        out[d, 0], out[d, 1] = known, count - common


def count_grams(texts: pa.Array | pa.ChunkedArray, cut: Slice) -> int:
    """Count the word n-grams of texts, with repetitions; TypeError where the column holds something else."""
    return sum(len(_collect(*views(chunk), cut)) for chunk in chunks(texts))


class Holders:
    """Counts the documents that hold each of some n-grams; 14 bytes per slot, at most three quarters of them taken.

    Args:
        most: How many n-grams will be entered at most.
        cut: Which n-grams these are.
    """

    def __init__(self, most: int, cut: Slice) -> None:
        size = int(table_size(2 * most // 3 + 1))
        self.cut = cut
        self.table = Grams(np.zeros(size, np.uint64), np.zeros(size, np.uint8), np.zeros(size, np.uint8))
        self._last = np.full(size, _NOBODY)
        self._documents = 0

    def enter(self, texts: pa.Array | pa.ChunkedArray) -> None:
        """Enter the n-grams of texts; all that are meant, before the first document is counted."""
        for chunk in chunks(texts):
            _fill(self.table, _collect(*views(chunk), self.cut))

    def add(self, texts: pa.Array | pa.ChunkedArray) -> None:
        """Count more documents."""
        for chunk in chunks(texts):
            data, offsets = views(chunk)
            words = room_for_words(offsets)
            _hold_all(data, offsets, words, self.cut, self.table, self._last, self._documents)
            self._documents += len(chunk)

    def counts(self, texts: pa.Array | pa.ChunkedArray, most: NDArray[np.int64]) -> NDArray[np.int32]:
        """Count what texts have in common with n-grams that few documents hold.

        Args:
            texts: n strings; a null has no n-gram.
            most: int64 of shape (n,): of each text, how many documents are few.

        Returns:
            int32 of shape (n, 2): n-grams that few documents hold, and all n-grams of the text but those that more
            documents hold; with repetitions.

        Raises:
            TypeError: The column holds something else than strings.
        """
        found = np.empty((len(texts), 2), np.int32)
        done = 0
        for chunk in chunks(texts):
            here = slice(done, done + len(chunk))
            data, offsets = views(chunk)
            _count_all(data, offsets, room_for_words(offsets), self.cut, self.table, most[here], found[here])
            done += len(chunk)
        return found
