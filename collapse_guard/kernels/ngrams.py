"""Repeated n-grams of a text's tokens.

An n-gram can only repeat where its first n-1 tokens repeat, so every length looks at the places that the length
before left over, and most places leave early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import kernel
from collapse_guard.kernels.counts import TOP_NGRAMS
from collapse_guard.kernels.tables import insert, table_size
from collapse_guard.kernels.tokens import mix

if TYPE_CHECKING:
    from collapse_guard.kernels.text import Scratch

_SHORTEST, _LONGEST = min(TOP_NGRAMS), max(TOP_NGRAMS)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_FILTER_LOAD = 4
_FILTER_START = 256
_SEEN, _TWICE = np.uint8(1), np.uint8(3)


@kernel
def measure_ngrams(row: np.record, scratch: Scratch) -> None:
    """Fill in the counts of family NGRAMS from the tokens in `scratch`."""
    tokens = row.tokens
    places = scratch.places
    for i in range(tokens):
        scratch.grams[i] = scratch.hashes[i]
        places[i] = i
    left = _keep_repeated(scratch, tokens)
    for n in range(_SHORTEST, _LONGEST + 1):
        if tokens < n:
            return
        while left > 0 and places[left - 1] > tokens - n:
            left -= 1
        for q in range(left):
            i = places[q]
            scratch.grams[i] = mix((scratch.grams[i] * _SPREAD) ^ scratch.hashes[i + n - 1])
        left = _keep_repeated(scratch, left)
        place, times, left = _most_common(scratch, left)
        characters = scratch.ends[place + n] - scratch.ends[place] + n - 1
        row.top_ngram_characters[n - _SHORTEST] = characters * times


@kernel
def _keep_repeated(scratch: Scratch, count: int) -> int:
    """Drop most places whose n-gram occurs once, by small counters that several n-grams may share."""
    places, grams = scratch.places, scratch.grams
    size = _FILTER_START
    while size < _FILTER_LOAD * count:
        size *= 2
    seen = scratch.filter[:size]
    seen[:] = 0
    mask = np.uint64(size - 1)
    for q in range(count):
        slot = grams[places[q]] & mask
        seen[slot] = (seen[slot] << 1) | _SEEN
    left = 0
    for q in range(count):
        i = places[q]
        places[left] = i
        left += (seen[grams[i] & mask] & _TWICE) == _TWICE
    return left


@kernel
def _most_common(scratch: Scratch, count: int) -> tuple[int, int, int]:
    """Find the n-gram that occurs most often (the first of equals), and keep the places of those that repeat.

    Returns:
        Where it occurs first, how often, how many places are left. Nothing repeats: the first n-gram, once.
    """
    places, slots = scratch.places, scratch.slots
    size = table_size(count)
    keys, uses = scratch.keys[:size], scratch.uses[:size]
    uses[:] = 0
    for q in range(count):
        slots[q] = insert(keys, uses, scratch.grams[places[q]])
    best, times, left = 0, 1, 0
    for q in range(count):
        place, found = places[q], uses[slots[q]]
        if found > times:
            best, times = place, found
        places[left] = place
        left += found > 1
    return best, times, left
