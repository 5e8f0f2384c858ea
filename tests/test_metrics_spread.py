from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy

from collapse_guard.errors import UsageError
from collapse_guard.metrics import Tokens
from collapse_guard.metrics.spread import (
    LEVEL,
    RIDGE,
    Moments,
    compression,
    entropy,
    log_det,
    projections,
    rke,
    simpson,
    trace_variance,
    unit_rows,
    vendi,
)

QUICK = settings(max_examples=50, deadline=None)
DOCUMENTS = st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=6)
COUNTS = st.lists(st.integers(0, 30), max_size=20)
MEASURES = (trace_variance, log_det, vendi, rke)


def tokens_of(documents: list[list[int]]) -> Tokens:
    offsets = np.cumsum([0, *map(len, documents)])
    return Tokens(offsets.astype(np.int64), np.array([token for one in documents for token in one], np.uint64))


def rows_of(seed: int, count: int, dimensions: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1, (count, dimensions)) * np.linspace(0.2, 1, dimensions)


def kernel_spectrum(rows: np.ndarray) -> np.ndarray:
    """The eigenvalues of the similarities of every pair of documents, divided by their number."""
    return np.linalg.eigvalsh(rows @ rows.T / len(rows)).clip(1e-300)


@QUICK
@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_projections_depend_on_what_a_document_holds_and_on_no_order(documents: list[list[int]], random) -> None:
    order = random.sample(range(len(documents)), len(documents))
    shuffled = [random.sample(documents[place], len(documents[place])) for place in order]

    assert np.array_equal(projections(tokens_of(shuffled)), projections(tokens_of(documents))[order])


def test_projections_keep_inner_products_of_documents_within_the_error_of_their_dimensions() -> None:
    random = np.random.default_rng(0)
    documents = [random.zipf(1.3, 300).clip(max=500).tolist() for _ in range(30)]
    counts = np.array([np.bincount(one, minlength=501) for one in documents])
    exact = np.log1p(counts) / np.linalg.norm(np.log1p(counts), axis=1, keepdims=True)

    rows = projections(tokens_of(documents), 4_096)

    assert np.abs(rows @ rows.T - exact @ exact.T).max() < 5 / 4_096**0.5
    assert np.array_equal(projections(tokens_of(documents), 64) * 64**0.5, rows[:, :64] * 4_096**0.5)


def test_a_document_without_tokens_is_projected_to_zero() -> None:
    assert projections(tokens_of([[], [1]]))[0].tolist() == [0.0] * 64
    assert projections(tokens_of([])).shape == (0, 64)


@QUICK
@given(st.lists(st.integers(0, 12), min_size=3, max_size=3), st.integers(0, 2**32))
def test_merging_moments_has_no_order_to_the_bit_and_equals_the_moments_of_all(sizes: list[int], seed: int) -> None:
    parts = [rows_of(seed + n, size) for n, size in enumerate(sizes)]
    whole = Moments.of(np.concatenate(parts))

    for a, b, c in itertools.permutations([Moments.of(part) for part in parts]):
        for merged in (a.merged(b).merged(c), a.merged(b.merged(c))):
            assert merged.count == whole.count
            assert np.array_equal(merged.total, whole.total)
            assert np.array_equal(merged.outer, whole.outer)
            assert [measure(merged) for measure in MEASURES] == [measure(whole) for measure in MEASURES]


@pytest.mark.parametrize("scale", [1.0, 100.0, 700.0])
def test_products_are_exact_however_large(scale: float) -> None:
    rows = rows_of(0, 50, 5) * scale
    whole = [[round(value * 2**18) for value in row] for row in rows.tolist()]

    outer = Moments.of(rows).outer.tolist()

    assert outer == [[sum(row[i] * row[j] for row in whole) for j in range(5)] for i in range(5)]


def test_variance_and_volume_are_those_of_the_covariance() -> None:
    rows = rows_of(1, 200)
    moments, covariance = Moments.of(rows), np.cov(rows.T)

    assert trace_variance(moments) == pytest.approx(np.trace(covariance), rel=1e-5)
    assert log_det(moments) == pytest.approx(np.linalg.slogdet(covariance + RIDGE * np.eye(8))[1], abs=1e-4)


@pytest.mark.parametrize(("documents", "dimensions"), [(5, 8), (40, 8), (300, 64)])
def test_vendi_and_rke_are_those_of_the_similarities_of_all_pairs(documents: int, dimensions: int) -> None:
    rows = unit_rows(rows_of(2, documents, dimensions), np.zeros(dimensions))
    moments, shares = Moments.of(rows), kernel_spectrum(rows)

    assert vendi(moments) == pytest.approx(math.exp(scipy_entropy(shares)), rel=1e-6)
    assert vendi(moments, 2) == pytest.approx(1 / np.square(shares).sum(), rel=1e-6)
    assert vendi(moments, 0.5) == pytest.approx(np.sqrt(shares).sum() ** 2, rel=1e-4)
    assert vendi(moments, math.inf) == pytest.approx(1 / shares.max(), rel=1e-6)
    assert rke(moments) == pytest.approx(1 / np.square(rows @ rows.T / documents).sum(), rel=1e-6)


def test_identical_documents_are_one_and_orthogonal_ones_are_many() -> None:
    same, unlike = Moments.of(np.tile(np.eye(4)[:1], (9, 1))), Moments.of(np.eye(4))

    assert (vendi(same), rke(same), trace_variance(same)) == (1.0, 1.0, 0.0)
    assert (vendi(unlike), rke(unlike)) == pytest.approx((4.0, 4.0))


def test_a_document_at_the_centre_has_no_direction_and_counts_for_nothing() -> None:
    rows = np.array([[1.0, 1.0], [2.0, 1.0], [1.0, 3.0]])
    centred = unit_rows(rows, np.ones(2))

    assert centred.tolist() == [[0, 0], [1, 0], [0, 1]]
    assert vendi(Moments.of(centred)) == pytest.approx(2.0)


def test_too_few_documents_have_no_spread() -> None:
    none, one = Moments.of(np.empty((0, 3))), Moments.of(np.ones((1, 3)))

    assert [measure(none) for measure in MEASURES] == [None] * 4
    assert [measure(one) for measure in MEASURES[:2]] == [None] * 2
    assert vendi(Moments.of(np.zeros((5, 3)))) is None
    assert rke(Moments.of(np.zeros((5, 3)))) is None


def test_moments_refuse_what_they_could_not_add_up() -> None:
    with pytest.raises(UsageError, match="Row 1 of the features"):
        Moments.of(np.array([[0.0], [np.nan]]))
    with pytest.raises(UsageError, match="more than 64 bits hold"):
        Moments.of(np.full((2, 1), 8e3))
    large = Moments.of(np.full((1, 1), 7e3))
    with pytest.raises(UsageError, match="more than 64 bits hold"):
        large.merged(large)
    with pytest.raises(UsageError, match="in 1 and in 2 dimensions"):
        large.merged(Moments.of(np.ones((1, 2))))


@QUICK
@given(COUNTS)
def test_entropy_is_shannon_s_with_the_correction_of_miller_and_madow(counts: list[int]) -> None:
    present = [count for count in counts if count]
    if not present:
        assert entropy(np.array(counts, np.int64)) is None
        return
    corrected = scipy_entropy(present) + (len(present) - 1) / (2 * sum(present))
    assert entropy(np.array(counts, np.int64)) == pytest.approx(corrected / math.log(2), abs=1e-12)


@QUICK
@given(COUNTS)
def test_simpson_is_the_share_of_pairs_of_tokens_that_differ(counts: list[int]) -> None:
    tokens = [kind for kind, count in enumerate(counts[:6]) for _ in range(count)]
    pairs = [a != b for a, b in itertools.combinations(tokens, 2)]

    expected = sum(pairs) / len(pairs) if pairs else None
    assert simpson(np.array(counts[:6], np.int64)) == pytest.approx(expected)


def test_counts_of_a_billion_tokens_overflow_nothing() -> None:
    counts = np.full(10, 10**12, np.int64)

    assert simpson(counts) == pytest.approx(0.9)
    assert entropy(counts) == pytest.approx(math.log2(10))


def test_compression_is_the_size_of_numbered_tokens_and_blind_to_spelling() -> None:
    documents = [[7, 8, 7], [9, 7]]
    frame = zstandard.ZstdCompressor(level=LEVEL).compress(np.array([0, 1, 0, 2, 0], "<u4").tobytes())

    assert compression(tokens_of(documents)) == 8 * len(frame) / 5
    assert compression(tokens_of([[5, 3, 5], [1, 5]])) == compression(tokens_of(documents))


def test_repeated_documents_need_fewer_bits() -> None:
    random = np.random.default_rng(0)
    documents = random.integers(0, 1_000, (20, 100)).tolist()

    assert compression(tokens_of(documents[:2] * 10)) < compression(tokens_of(documents)) / 5
    assert compression(tokens_of([[]])) is None
