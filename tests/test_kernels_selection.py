from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.kernels.selection.blake2b import digests
from collapse_guard.kernels.selection.race import waiting_times

RANKS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30)


def expected(text, head=b"", tail=b""):
    return int.from_bytes(hashlib.blake2b(head + text.encode() + tail, digest_size=8).digest(), "big")


@pytest.mark.parametrize("length", [0, 1, 7, 8, 127, 128, 129, 255, 256, 257, 1000])
def test_a_digest_is_that_of_the_standard_library_at_every_edge_of_a_block(length):
    text = "x" * length

    assert digests(pa.array([text], pa.large_string()), b"", b"").tolist() == [expected(text)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=300), max_size=5), st.binary(max_size=140), st.binary(max_size=140))
def test_head_text_and_tail_are_one_message(texts, head, tail):
    found = digests(pa.array(texts, pa.large_string()), head, tail)

    assert found.tolist() == [expected(text, head, tail) for text in texts]


def test_a_slice_is_hashed_as_itself():
    texts = pa.array(["a", "bc", "def", "g"], pa.large_string())

    assert digests(texts[1:3], b"", b"").tolist() == [expected("bc"), expected("def")]


@settings(max_examples=100, deadline=None)
@given(RANKS, st.floats(1e-6, 1e6))
def test_equal_weights_leave_the_order_as_it_is(ranks, weight):
    times = waiting_times(np.array(ranks, np.uint64), np.full(len(ranks), weight))

    assert [times[place] for place in np.argsort(ranks, kind="stable")] == sorted(times.tolist())


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64 - 1), st.floats(1e-6, 1e6))
def test_a_waiting_time_is_the_logarithm_of_the_rank_over_the_weight(rank, weight):
    found = waiting_times(np.array([rank], np.uint64), np.array([weight])).view(np.float64)[0]

    assert found == pytest.approx(-np.log1p(-(rank >> 11) / 2**53) / weight, rel=1e-14)


def test_a_waiting_time_has_the_same_bits_everywhere():
    found = waiting_times(np.array([1, 2**63, 2**64 - 1], np.uint64), np.array([1.0, 2.0, 0.5]))

    assert found.tolist() == [0, 4599914934686071279, 4634870661979256826]
