from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.kernels.metric.counting import count_hashes
from collapse_guard.kernels.metric.numbering import next_grams, number
from collapse_guard.kernels.metric.projecting import project
from collapse_guard.kernels.metric.top_two import document_counts, found_elsewhere, top_two

QUICK = settings(max_examples=60, deadline=None)
HASHES = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1)), max_size=200)
DOCUMENTS = st.lists(st.lists(st.integers(0, 4), max_size=12), max_size=6)


def flat(documents):
    offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    return np.array([token for one in documents for token in one], np.uint64), offsets


@QUICK
@given(HASHES)
def test_numbers_are_given_by_first_appearance(values):
    ids, distinct = number(np.array(values, np.uint64))

    assert distinct.tolist() == list(dict.fromkeys(values))
    assert distinct[ids].tolist() == values


@QUICK
@given(HASHES)
def test_counting_is_numpy_s_unique(values):
    found, expected = (
        count(np.array(values, np.uint64)) for count in (count_hashes, lambda one: np.unique(one, return_counts=True))
    )

    assert [each.tolist() for each in found] == [each.tolist() for each in expected]
    assert [each.dtype for each in found] == [np.uint64, np.int64]


def test_counting_many_hashes_and_many_alike_ones_is_numpy_s_unique():
    random = np.random.default_rng(0)
    spread = random.integers(0, 2**64, 20_000, np.uint64)
    for values in (spread, spread[random.integers(0, 3_000, 20_000)], spread >> np.uint64(40), spread[:1]):
        found, expected = count_hashes(values), np.unique(values, return_counts=True)
        assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


@QUICK
@given(DOCUMENTS)
def test_ngrams_have_equal_hashes_exactly_where_they_are_equal_and_end_with_their_document(documents):
    grams, offsets = flat(documents)
    hashes_of = {}
    for order in range(2, 6):
        grams, offsets = next_grams(grams, offsets)
        expected = [[tuple(one[i : i + order]) for i in range(len(one) - order + 1)] for one in documents]
        assert np.diff(offsets).tolist() == [len(one) for one in expected]
        for gram, value in zip((gram for one in expected for gram in one), grams.tolist(), strict=True):
            assert hashes_of.setdefault(gram, value) == value
    assert len(set(hashes_of.values())) == len(hashes_of)


@QUICK
@given(DOCUMENTS)
def test_the_two_largest_counts_are_of_different_documents(documents):
    hashes, offsets = flat(documents)
    ids, distinct = number(hashes)
    counts = [Counter(one) for one in documents]

    for token, row in zip(distinct.tolist(), top_two(ids, offsets, len(distinct)).tolist(), strict=True):
        ranked = sorted(((one[token], -place) for place, one in enumerate(counts)), reverse=True)
        assert row[:2] == [ranked[0][0], -ranked[0][1]]
        assert row[2] == (ranked[1][0] if len(ranked) > 1 else 0)


@QUICK
@given(DOCUMENTS)
def test_what_is_found_elsewhere_is_clipped_at_one_other_document(documents):
    hashes, offsets = flat(documents)
    ids, distinct = number(hashes)
    counts = [Counter(one) for one in documents]

    found = found_elsewhere(ids, offsets, top_two(ids, offsets, len(distinct)))

    expected = [
        sum(
            min(count, max((other[token] for other in counts if other is not one), default=0))
            for token, count in one.items()
        )
        for one in counts
    ]
    assert found.tolist() == expected


@QUICK
@given(DOCUMENTS)
def test_a_document_counts_once_however_often_it_repeats_an_ngram(documents):
    hashes, offsets = flat(documents)
    ids, distinct = number(hashes)

    found = document_counts(ids, offsets, len(distinct))

    assert found.tolist() == [sum(token in one for one in documents) for token in distinct.tolist()]


@QUICK
@given(DOCUMENTS, st.sampled_from([1, 5, 64, 65, 130]))
def test_projected_sums_are_those_of_signs_and_weights_of_types(documents, dimensions):
    weights = np.array([0, 7, 11, 13, 14, *range(15, 25)], np.int64)
    signs = {
        token: project(np.array([token], np.uint64), np.array([0, 1]), weights, dimensions)[0][0] // 7
        for token in range(5)
    }
    hashes, offsets = flat(documents)

    sums, squares = project(hashes, offsets, weights, dimensions)

    for one, row, square in zip(documents, sums, squares.tolist(), strict=True):
        counts = Counter(one)
        expected = sum((weights[count] * signs[token] for token, count in counts.items()), np.zeros(dimensions))
        assert row.tolist() == expected.tolist()
        assert square == sum(int(weights[count]) ** 2 for count in counts.values())


def test_signs_are_balanced_unlike_between_dimensions_and_stay_what_they_are():
    tokens = np.arange(4_000, dtype=np.uint64)
    signs, _ = project(tokens, np.arange(4_001), np.array([0, 1]), 128)

    assert set(np.unique(signs)) == {-1, 1}
    assert np.abs(signs.T @ signs - 4_000 * np.eye(128)).max() < 6 * 4_000**0.5
    assert np.abs(signs.sum(axis=0)).max() < 5 * 4_000**0.5
    assert np.packbits(signs[1] > 0).tobytes().hex() == "548883785bfc4058a18e073298ebf5e8"
