"""N-grams that occur more than once among the tokens of a text, every copy counted.

An n-gram can only repeat where its first n-1 tokens repeat, so every length looks at the places that the length
before left over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.kernels.compiled import Int, allocating_kernel, kernel
from collapse_guard.kernels.tables import insert, table_size
from collapse_guard.kernels.tokens import mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPEATS = np.dtype(
    [
        ("tokens", np.int64),
        ("characters", np.int64),
        ("top", np.int64, (3,)),
        ("longest_top", np.int64, (3,)),
        ("copies", np.int64, (6,)),
        ("whole", np.int64, (6,)),
        ("covered", np.int64, (6,)),
    ],
    align=True,
)
"""Characters of tokens, white space not counted, in the n-grams of one text.

For n from 2 to 4: `top` of the most common n-gram, the first of equals, times its occurrences; `longest_top` the same
of the longest of equals, and 0 where nothing repeats. For n from 5 to 10: `copies` of all occurrences of n-grams that
repeat, `whole` of all occurrences of all n-grams, `covered` of the tokens that are part of a repeated n-gram.
"""

_SHORTEST, _LONGEST_TOP, _LONGEST = 2, 4, 10
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_FILTER_LOAD, _FILTER_START = 4, 256
_SEEN, _TWICE = np.uint8(1), np.uint8(3)


class Repeats(NamedTuple):
    """Room for the tokens of the longest text, used again for every text."""

    hashes: NDArray[np.uint64]
    ends: NDArray[np.int64]
    grams: NDArray[np.uint64]
    places: NDArray[np.int64]
    slots: NDArray[np.int64]
    filter: NDArray[np.uint8]
    keys: NDArray[np.uint64]
    uses: NDArray[np.int32]


@allocating_kernel
def room_for(tokens: Int) -> Repeats:
    """Reserve for texts of so many tokens; `ends` are cumulative characters and begin with 0."""
    size = table_size(tokens)
    ends = np.empty(tokens + 1, np.int64)
    ends[0] = 0
    return Repeats(
        np.empty(tokens, np.uint64),
        ends,
        np.empty(tokens, np.uint64),
        np.empty(tokens, np.int64),
        np.empty(tokens, np.int64),
        np.empty(max(_FILTER_LOAD * size, _FILTER_START), np.uint8),
        np.empty(size, np.uint64),
        np.empty(size, np.int32),
    )


@kernel
def measure_repeats(row: np.record, tokens: Int, scratch: Repeats) -> None:
    """Fill in what `REPEATS` names from the first `tokens` tokens in `scratch`."""
    row.tokens = tokens
    row.characters = scratch.ends[tokens]
    for i in range(tokens):
        scratch.grams[i] = scratch.hashes[i]
        scratch.places[i] = i
    left: Int = tokens
    for n in range(_SHORTEST, min(_LONGEST, tokens) + 1):
        left = _lengthen(scratch, left, tokens - n, n - 1)
        left = _keep_repeated(scratch, left)
        if n <= _LONGEST_TOP:
            row.top[n - _SHORTEST], row.longest_top[n - _SHORTEST] = _top(scratch, left, n)
        else:
            q = n - _LONGEST_TOP - 1
            row.copies[q], row.covered[q] = _spread(scratch, left, n)
            row.whole[q] = _whole(scratch.ends, tokens, n)


@allocating_kernel
def _lengthen(scratch: Repeats, count: Int, last: Int, more: Int) -> Int:
    """Drop the places after `last`, add the next token to the others, and drop most that occur once."""
    places, grams = scratch.places, scratch.grams
    while count > 0 and places[count - 1] > last:
        count -= 1
    size = _FILTER_START
    while size < _FILTER_LOAD * count:
        size *= 2
    seen, mask = scratch.filter[:size], np.uint64(size - 1)
    seen[:] = np.uint8(0)
    for q in range(count):
        grams[q] = mix((grams[q] * _SPREAD) ^ scratch.hashes[places[q] + more])
        slot = grams[q] & mask
        seen[slot] = (seen[slot] << 1) | _SEEN
    left = 0
    for q in range(count):
        places[left], grams[left] = places[q], grams[q]
        left += (seen[grams[q] & mask] & _TWICE) == _TWICE
    return left


@kernel
def _keep_repeated(scratch: Repeats, count: Int) -> Int:
    """Count exactly, and drop the places of n-grams that occur once; `uses[slots[q]]` is how often the others do."""
    places, grams, slots = scratch.places, scratch.grams, scratch.slots
    size = table_size(count)
    keys, uses = scratch.keys[:size], scratch.uses[:size]
    keys[:] = np.uint64(0)
    for q in range(count):
        slots[q] = insert(keys, uses, grams[q])
    left = 0
    for q in range(count):
        places[left], grams[left], slots[left] = places[q], grams[q], slots[q]
        left += uses[slots[q]] > 1
    return left


@kernel
def _top(scratch: Repeats, count: Int, n: Int) -> tuple[Int, Int]:
    ends = scratch.ends
    first: Int = ends[n]
    times: Int = 1
    longest: Int = 0
    for q in range(count):
        found = np.int64(scratch.uses[scratch.slots[q]])
        characters = ends[scratch.places[q] + n] - ends[scratch.places[q]]
        if found > times:
            times, first, longest = found, characters, characters
        elif found == times:
            longest = max(longest, characters)
    return first * times, longest * times


@kernel
def _spread(scratch: Repeats, count: Int, n: Int) -> tuple[Int, Int]:
    ends = scratch.ends
    copies, covered, after = 0, 0, 0
    for q in range(count):
        i = scratch.places[q]
        copies += ends[i + n] - ends[i]
        covered += ends[i + n] - ends[max(i, after)]
        after = i + n
    return copies, covered


@kernel
def _whole(ends: NDArray[np.int64], tokens: Int, n: Int) -> Int:
    total = 0
    for i in range(tokens - n + 1):
        total += ends[i + n] - ends[i]
    return total
