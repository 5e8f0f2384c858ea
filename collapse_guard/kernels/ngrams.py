"""Repeated n-grams of a text's tokens.

Most n-grams of a text occur once. Small counters that several n-grams may share rule those out, and what is left
is counted exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.kernels.compiled import Int, allocating_kernel, kernel
from collapse_guard.kernels.counts import DUPLICATE_NGRAMS, TOP_NGRAMS
from collapse_guard.kernels.hashing import WORD_SIZE, full_word
from collapse_guard.kernels.lanes import fold
from collapse_guard.kernels.tables import add, find, insert, table_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.kernels.splitting import Tokens

_SHORTEST = min(DUPLICATE_NGRAMS)
_FILTER_LOAD = 8
_FILTER_BITS = 8
_MOST = np.uint8(255)
_BITS = 64
_ONE = np.uint64(1)
_OPENING = 16  # bytes that are looked at before a place is taken for one that repeats
_MARK, _PLACE = np.uint64(31), np.uint32((1 << 31) - 1)
_BYTES, _PAIRS, _FOURS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF), np.uint64(0x00000000FFFFFFFF)
_NUMBER, _TWO_64 = 251, 1 << 64
_BASE, _BASE_2, _BASE_4 = np.uint64(_NUMBER), np.uint64(_NUMBER**2), np.uint64(_NUMBER**4)
_ODD, _SPREAD, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(32)
_SIZES = range(WORD_SIZE + 1)
_POWERS = np.array([pow(_NUMBER, k, _TWO_64) for k in _SIZES], np.uint64)
_INVERSES = np.array([pow(_NUMBER, -k, _TWO_64) for k in _SIZES], np.uint64)
_FILLED = np.array([256**k - 1 for k in _SIZES], np.uint64)
_EACH = np.array([(256**k - 1) // 255 for k in _SIZES], np.uint64)


class Joined(NamedTuple):
    """The bytes of the tokens end to end; token `i` is `stream[bounds[i]:bounds[i + 1]]`, and `bounds[0]` is 0."""

    stream: NDArray[np.uint8]
    bounds: NDArray[np.int64]


class Places(NamedTuple):
    """Tokens at which n-grams begin that may repeat: their numbers, and what belongs to each.

    Attributes:
        numbers: In order.
        grams: Hashes.
        counters: How often the hash may occur, at most 255.
        chosen: Room for as many indexes.
    """

    numbers: NDArray[np.uint32]
    grams: NDArray[np.uint64]
    counters: NDArray[np.uint8]
    chosen: NDArray[np.uint32]


class Table(NamedTuple):
    """A table of hashes, and how often each occurs."""

    keys: NDArray[np.uint64]
    uses: NDArray[np.int32]


class Sums(NamedTuple):
    """Numbers for the bytes up to each token, and for a one so many digits higher, its inverse."""

    totals: NDArray[np.uint64]
    inverses: NDArray[np.uint64]


class Room(NamedTuple):
    """Room for the n-grams of the longest text; `filter` holds small counters, by hash.

    Few arrays go to each function, because a call copies what describes them.
    """

    places: Places
    table: Table
    sums: Sums
    filter: NDArray[np.uint8]


@allocating_kernel
def room_for_ngrams(size: Int) -> Room:
    """Reserve for the n-grams of so many tokens less one, or the lines of so many bytes."""
    table = table_size(size)
    return Room(
        Places(
            np.empty(size, np.uint32), np.empty(size, np.uint64), np.empty(size, np.uint8), np.empty(size, np.uint32)
        ),
        Table(np.empty(2 * table, np.uint64), np.empty(table, np.int32)),
        Sums(np.empty(size + 1, np.uint64), np.empty(size + 1, np.uint64)),
        np.empty((1 << _FILTER_BITS) + _FILTER_LOAD * table, np.uint8),  # a table has at least twice `size` slots
    )


@kernel
def measure_top_ngrams(row: np.record, tokens: Tokens, room: Room) -> None:
    """Fill in the counts of family TOP_NGRAMS.

    An n-gram can only repeat where its first n-1 tokens repeat, so every length looks at the places that the length
    before left over.
    """
    hashes, ends, places = tokens.hashes, tokens.ends, room.places
    left: Int = row.tokens
    for i in range(np.uint64(left)):
        places.grams[i], places.numbers[i] = hashes[i], i
    for q in range(len(TOP_NGRAMS)):
        n = TOP_NGRAMS[q]
        if row.tokens < n:
            return
        left = _append_token(places, hashes, left, row.tokens, n)
        place: Int = 0
        times: Int = 1
        if left > 0:
            left, most = _keep_repeated(places, room.filter, left)
            place, times = _most_common(places, room.table, left, most)
        characters = ends[place + n] - ends[place] + n - 1
        row.top_ngram_characters[q] = characters * times


@kernel
def _append_token(places: Places, hashes: NDArray[np.uint64], count: Int, tokens: Int, n: Int) -> Int:
    """Make n-grams out of shorter ones by one, and leave out the places too near to the end."""
    grams, numbers = places.grams, places.numbers
    while count > 0 and np.int64(numbers[count - 1]) > tokens - n:
        count -= 1
    for q in range(np.uint64(count)):
        grams[q] = fold(grams[q], hashes[np.uint64(numbers[q]) + np.uint64(n - 1)])
    return count


@kernel
def _filter_bits(count: Int) -> Int:
    bits = _FILTER_BITS
    while (1 << bits) < _FILTER_LOAD * count:
        bits += 1
    return bits


@kernel
def _keep_repeated(places: Places, filter_: NDArray[np.uint8], count: Int) -> tuple[Int, Int]:
    """Drop most places whose n-gram occurs once, by counters that stop at 255.

    Returns:
        How many are left, the highest counter.
    """
    numbers, grams, counters = places.numbers, places.grams, places.counters
    bits = _filter_bits(count)
    seen, shift = filter_[: 1 << bits], np.uint64(_BITS - bits)
    seen[:] = np.uint8(0)
    for q in range(np.uint64(count)):
        slot = grams[q] >> shift
        seen[slot] += np.uint8(seen[slot] < _MOST)
    left, most = np.uint64(0), np.uint8(0)
    for q in range(np.uint64(count)):
        found = seen[grams[q] >> shift]
        numbers[left], grams[left], counters[left] = numbers[q], grams[q], found
        left += np.uint64(found > 1)
        most = max(most, found)
    return np.int64(left), np.int64(most)


@kernel
def _most_common(places: Places, table: Table, count: Int, most: Int) -> tuple[Int, Int]:
    """Find the n-gram that occurs most often, the first of equals.

    No n-gram occurs more often than its counter says, so only those with a high counter are counted, and once more
    from what was found where that was less.

    Returns:
        Where it occurs first, and how often. Nothing repeats: the first n-gram, once.
    """
    if count == 0:
        return 0, 1
    place, times = _count_above(places, table, count, most)
    if times < most:
        place, times = _count_above(places, table, count, max(times, 2))
    return (place, times) if times > 1 else (0, 1)


@kernel
def _count_above(places: Places, table: Table, count: Int, least: Int) -> tuple[Int, Int]:
    """Count the n-grams whose counter is not below `least`, and find the most common."""
    grams, counters, chosen = places.grams, places.counters, places.chosen
    many = np.uint64(0)
    for q in range(np.uint64(count)):
        chosen[many] = q
        many += np.uint64(counters[q] >= least)
    size = table_size(np.int64(many))
    keys, uses = table.keys[:size], table.uses[:size]
    keys[:] = np.uint64(0)
    for c in range(many):
        insert(keys, uses, grams[chosen[c]])
    place: Int = 0
    times: Int = 1
    for c in range(many):
        found = uses[find(keys, max(grams[chosen[c]], _ONE))]
        if found > times:
            place, times = np.int64(places.numbers[chosen[c]]), np.int64(found)
    return place, times


@kernel
def _value_of(word: np.uint64) -> np.uint64:
    """Read eight bytes as the digits of a number to the base 251, lowest first; each step joins neighbours."""
    word = (word & _BYTES) + ((word >> np.uint64(8)) & _BYTES) * _BASE
    word = (word & _PAIRS) + ((word >> np.uint64(16)) & _PAIRS) * _BASE_2
    return (word & _FOURS) + (word >> _HALF) * _BASE_4


@kernel
def _sum_tokens(stream: NDArray[np.uint8], bounds: NDArray[np.int64], sums: Sums, tokens: Int) -> None:
    """Prepare for telling joined n-grams from each other without going through their bytes.

    A string counts as a number to the base 251 modulo 2^64, its digits one higher than its bytes: no two strings of
    UTF-8 have one number but by chance, and the number of joined strings is made from those of the parts.
    """
    totals, inverses = sums.totals, sums.inverses
    total, power, inverse = np.uint64(0), _ONE, _ONE
    start = np.uint64(0)
    for i in range(np.uint64(tokens)):
        totals[i], inverses[i] = total, inverse
        stop = np.uint64(bounds[i + _ONE])
        size = stop - start
        while size > np.uint64(WORD_SIZE):
            total += power * _value_of(full_word(stream, start) + _EACH[WORD_SIZE])
            power, inverse = power * _POWERS[WORD_SIZE], inverse * _INVERSES[WORD_SIZE]
            start, size = start + np.uint64(WORD_SIZE), size - np.uint64(WORD_SIZE)
        total += power * _value_of((full_word(stream, start) & _FILLED[size]) + _EACH[size])
        power, inverse = power * _POWERS[size], inverse * _INVERSES[size]
        start = stop
    totals[np.uint64(tokens)] = total


@kernel
def measure_duplicate_ngrams(row: np.record, tokens: Tokens, joined: Joined, room: Room) -> None:
    """Fill in the counts of family DUPLICATE_NGRAMS.

    Two n-grams are the same where their tokens joined without spaces are. So places are ruled out by the bytes that
    follow them, not by their tokens; a place whose n-gram has fewer bytes stays.
    """
    count: Int = row.tokens - _SHORTEST + 1
    if count <= 0:
        return
    ends, bounds, numbers, keys = tokens.ends, joined.bounds, room.places.numbers, room.table.keys
    _sum_tokens(joined.stream, bounds, room.sums, row.tokens)
    left = _keep_openings(room.places, joined.stream, bounds, room.filter, count)
    for q in range(len(DUPLICATE_NGRAMS)):
        n = DUPLICATE_NGRAMS[q]
        left = _keep_long(numbers, bounds, left, row.tokens, n)
        if left > 1:
            row.duplicate_ngram_characters[q] = _walk_duplicates(numbers[:left], ends, room.sums, keys, n)


@kernel
def _slot_of(stream: NDArray[np.uint8], start: np.uint64, shift: np.uint64) -> np.uint64:
    low, high = full_word(stream, start), full_word(stream, start + np.uint64(WORD_SIZE))
    return ((low ^ (high * _SPREAD)) * _ODD) >> shift


@kernel
def _keep_openings(
    places: Places, stream: NDArray[np.uint8], bounds: NDArray[np.int64], filter_: NDArray[np.uint8], count: Int
) -> Int:
    """List the places of n-grams, without most of those that are longer than their first bytes, which occur once.

    Returns:
        How many are listed; the number of a place whose first bytes repeat is marked by its highest bit.
    """
    numbers, slots = places.numbers, places.chosen
    bits = _filter_bits(2 * count)  # a place that stays for nothing costs more than two counters
    seen, shift = filter_[: 1 << bits], np.uint64(_BITS - bits)
    seen[:] = np.uint8(0)
    for i in range(np.uint64(count)):
        slot = _slot_of(stream, np.uint64(bounds[i]), shift)
        slots[i] = slot
        seen[slot] = (seen[slot] << np.uint8(1)) | np.uint8(1)
    left = np.uint64(0)
    for i in range(np.uint64(count)):
        again = seen[slots[i]] > 1
        numbers[left] = i | (np.uint64(again) << _MARK)
        left += np.uint64(again | (bounds[i + np.uint64(_SHORTEST)] - bounds[i] < _OPENING))
    return np.int64(left)


@kernel
def _keep_long(numbers: NDArray[np.uint32], bounds: NDArray[np.int64], count: Int, tokens: Int, n: Int) -> Int:
    """Drop the places too near to the end, and those that stayed only because the shorter n-gram was too short."""
    left, last = np.uint64(0), np.uint64(tokens - n)
    for q in range(np.uint64(count)):
        place = np.uint64(numbers[q] & _PLACE)
        if place > last:
            break
        again = numbers[q] >> np.uint32(_MARK)
        numbers[left] = numbers[q]
        left += np.uint64(again | np.uint32(bounds[place + np.uint64(n)] - bounds[place] < _OPENING))
    return np.int64(left)


@kernel
def _walk_duplicates(
    numbers: NDArray[np.uint32], ends: NDArray[np.int64], sums: Sums, keys: NDArray[np.uint64], n: Int
) -> Int:
    """Go through the n-grams in order; after one that occurred before, go on behind it.

    Returns:
        Characters of those that occurred before.
    """
    totals, inverses = sums.totals, sums.inverses
    known = keys[: table_size(numbers.size)]
    known[:] = np.uint64(0)
    after, characters, size = np.uint64(0), 0, np.uint64(n)
    for q in range(np.uint64(numbers.size)):
        i = np.uint64(numbers[q] & _PLACE)
        if i < after:
            continue
        key = ((totals[i + size] - totals[i]) * inverses[i]) * _ODD
        if add(known, key ^ (key >> _HALF)):
            characters += ends[i + size] - ends[i]
            after = i + size
    return characters
