"""What torch's generator on a CPU draws: MT19937 seeded by 32 bits, shuffles, uniform numbers and bits.

A shuffle of n ids swaps, for i = 0, 1, …, the entries i and i + draw mod (n - i). The ids that end before place k are
thus known after k draws, and where one of them ends needs no list of n: follow that one id through the swaps.
Source: Matsumoto and Nishimura 1998, "Mersenne Twister", initialisation of 2002; order of draws as observed in torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import inlined_kernel, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.kernels.compiled import Int

STATE_SIZE = 624
_MIDDLE = 397
_AT_ONCE = 512
_HALF, _LOW_HALF = np.uint64(32), np.uint64(0xFFFFFFFF)
_UPPER, _LOWER, _TWIST = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(0x9908B0DF)
_ONE, _INITIAL, _INITIAL_SHIFT = np.uint32(1), np.uint32(1812433253), np.uint32(30)
_TEMPER_B, _TEMPER_C = np.uint32(0x9D2C5680), np.uint32(0xEFC60000)
_UNIFORM_MASK, _UNIFORM_UNIT = np.uint32(0xFFFFFF), np.float32(2.0**-24)


@kernel
def seed_state(state: NDArray[np.uint32], seed: np.uint32) -> None:
    """Begin a stream; `next_block` makes its first draws."""
    word = seed
    state[0] = word
    for i in range(1, STATE_SIZE):
        word = np.uint32(_INITIAL * (word ^ (word >> _INITIAL_SHIFT)) + np.uint32(i))
        state[i] = word


@kernel
def next_block(state: NDArray[np.uint32]) -> None:
    """Go on by 624 draws: `tempered(state[k])` is the k-th of them."""
    for i in range(STATE_SIZE - _MIDDLE):
        state[i] = state[i + _MIDDLE] ^ _twisted(state[i], state[i + 1])
    for i in range(STATE_SIZE - _MIDDLE, STATE_SIZE - 1):
        state[i] = state[i + _MIDDLE - STATE_SIZE] ^ _twisted(state[i], state[i + 1])
    state[STATE_SIZE - 1] = state[_MIDDLE - 1] ^ _twisted(state[STATE_SIZE - 1], state[0])


@inlined_kernel
def _twisted(high: np.uint32, low: np.uint32) -> np.uint32:
    both = (high & _UPPER) | (low & _LOWER)
    return (both >> _ONE) ^ (_TWIST & (np.uint32(0) - (both & _ONE)))


@inlined_kernel
def tempered(word: np.uint32) -> np.uint32:
    """Make the draw of a word of the state."""
    word ^= word >> np.uint32(11)
    word ^= (word << np.uint32(7)) & _TEMPER_B
    word ^= (word << np.uint32(15)) & _TEMPER_C
    return word ^ (word >> np.uint32(18))


@inlined_kernel
def _remainder(draw: np.uint32, divisor: np.uint32, reciprocal: float) -> np.uint32:
    """Divide by a multiplication: rounding can make the quotient one too small, never too large."""
    left = draw - np.uint32(np.float64(draw) * reciprocal) * divisor
    return left - divisor if left >= divisor else left


@kernel
def swap_places(
    seed: np.uint32,
    reciprocals: NDArray[np.float64],
    state: NDArray[np.uint32],
    places: NDArray[np.uint32],
) -> None:
    """Find with which entry each of the first k entries of a shuffle is swapped.

    Args:
        seed: Low 32 bits of the generator's seed.
        reciprocals: 1 / (n - i) for i < k, of a shuffle of n ids.
        state: Room for 624 words.
        places: Receives k entries, each at its own place or after it.
    """
    seed_state(state, seed)
    size = np.uint32(round(1.0 / reciprocals[0]))
    for start in range(0, places.size, STATE_SIZE):
        next_block(state)
        stop = start + STATE_SIZE
        _swap_block(state, np.uint32(start), size, reciprocals[start:stop], places[start:stop])


@kernel
def _swap_block(
    state: NDArray[np.uint32],
    start: np.uint32,
    size: np.uint32,
    reciprocals: NDArray[np.float64],
    places: NDArray[np.uint32],
) -> None:
    for k in range(places.size):  # a view from the block's start on, so that the compiler takes many at a time
        i = np.uint32(start + np.uint32(k))
        places[k] = i + _remainder(tempered(state[k]), np.uint32(size - i), reciprocals[k])


@kernel
def ends_early(places: NDArray[np.uint32], token: np.uint32) -> Int:
    """Say whether an id ends among the first k of a shuffle, from `swap_places`: 1 or 0."""
    place, start = np.int64(token), np.int64(0)
    while not _contains(places, start, min(place, places.size), np.uint32(place)):
        if place >= places.size:
            return 0
        if places[place] == place:
            return 1
        start, place = place + 1, np.int64(places[place])
    return 1


@kernel
def _contains(places: NDArray[np.uint32], start: Int, stop: Int, wanted: np.uint32) -> Int:
    while start + _AT_ONCE <= stop:
        if _count(places[start : start + _AT_ONCE], wanted):
            return 1
        start += _AT_ONCE
    return np.int64(_count(places[start:stop], wanted))


@kernel
def _count(places: NDArray[np.uint32], wanted: np.uint32) -> np.uint32:
    found = np.uint32(0)
    for k in range(places.size):
        found |= np.uint32(places[k] == wanted)
    return found


@kernel
def shuffle(places: NDArray[np.uint32], ids: NDArray[np.uint32]) -> None:
    """Shuffle ids in place, as `swap_places` says."""
    for i in range(places.size):
        j = places[i]
        ids[i], ids[j] = ids[j], ids[i]


@kernel
def early_pairs(
    pairs: NDArray[np.uint64],
    reciprocals: NDArray[np.float64],
    state: NDArray[np.uint32],
    places: NDArray[np.uint32],
    early: NDArray[np.uint8],
) -> None:
    """Say of (seed, id) pairs whether the id ends among the first k of the shuffle that the seed begins.

    Args:
        pairs: Seeds in the high and ids in the low 32 bits, ascending, so that a seed is drawn from once.
        reciprocals: As for `swap_places`.
        state: Room for 624 words.
        places: Room for k places.
        early: Receives 1 or 0 for each pair.
    """
    seed = np.uint32(0)
    for n in range(pairs.size):
        this = np.uint32(pairs[n] >> _HALF)
        if n == 0 or this != seed:
            seed = this
            swap_places(seed, reciprocals, state, places)
        early[n] = ends_early(places, np.uint32(pairs[n] & _LOW_HALF))


@kernel
def exponential_pairs(pairs: NDArray[np.uint64], state: NDArray[np.uint32], values: NDArray[np.float64]) -> None:
    """Take what `rand` of a seed's generator has for an id as u in ln(1 / (1 - u)), a float32 before the logarithm.

    Args:
        pairs: As for `early_pairs`.
        state: Room for 624 words.
        values: Receives one number for each pair.
    """
    block = -1
    for n in range(pairs.size):
        token = np.int64(pairs[n] & _LOW_HALF)
        if n == 0 or pairs[n] >> _HALF != pairs[n - 1] >> _HALF:
            seed_state(state, np.uint32(pairs[n] >> _HALF))
            block = -1
        while block < token // STATE_SIZE:
            next_block(state)
            block += 1
        uniform = np.float32(tempered(state[token % STATE_SIZE]) & _UNIFORM_MASK) * _UNIFORM_UNIT
        values[n] = np.log(np.float64(np.float32(1) / (np.float32(1) - uniform)))


@kernel
def draw_bits(seed: np.uint32, state: NDArray[np.uint32], bits: NDArray[np.uint8]) -> None:
    """Draw what `randint(0, 2)` draws."""
    seed_state(state, seed)
    for start in range(0, bits.size, STATE_SIZE):
        next_block(state)
        for k in range(min(STATE_SIZE, bits.size - start)):
            bits[start + k] = np.uint8(tempered(state[k]) & _ONE)
