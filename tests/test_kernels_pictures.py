from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.kernels.pictures.hamming import MOST_BITS, leaders


def obvious(hashes: list[int], distance: int) -> list[int]:
    """The first of the nearest earlier leaders, or itself."""
    found: list[int] = []
    for i, value in enumerate(hashes):
        near = [((value ^ hashes[j]).bit_count(), j) for j in range(i) if found[j] == j]
        near = [pair for pair in near if pair[0] <= distance]
        found.append(min(near)[1] if near else i)
    return found


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(0, MOST_BITS))
def test_leaders_are_those_of_comparing_each_with_each(data, distance):
    centres = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.sets(st.integers(0, 63), max_size=18)
    hashes = [
        data.draw(st.sampled_from(centres)) ^ sum(1 << bit for bit in data.draw(flips))
        for _ in range(data.draw(st.integers(0, 25)))
    ]
    assert leaders(np.array(hashes, np.uint64), distance).tolist() == obvious(hashes, distance)


@pytest.mark.parametrize("distance", [0, 3, 4, MOST_BITS])
def test_a_hash_at_the_distance_is_found_and_one_bit_more_is_not(distance):
    bits = np.random.default_rng(distance).permutation(64)
    for count, expected in ((distance, 0), (distance + 1, 1)):
        other = sum(1 << int(bit) for bit in bits[:count])
        assert leaders(np.array([0, other], np.uint64), distance).tolist() == [0, expected]


def test_no_hash_gives_no_leader():
    assert leaders(np.empty(0, np.uint64), 6).size == 0
