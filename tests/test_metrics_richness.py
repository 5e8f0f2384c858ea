from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln
from scipy.stats import hypergeom

from collapse_guard.errors import UsageError
from collapse_guard.metrics.richness import chao1, frequencies, missing_mass, rarefied

QUICK = settings(max_examples=80, deadline=None)
COUNTS = st.lists(st.integers(0, 30), max_size=20)


def array(counts: list[int]) -> np.ndarray:
    return np.array(counts, np.int64)


@QUICK
@given(COUNTS)
def test_frequencies_say_how_many_types_occur_how_often(counts: list[int]) -> None:
    values, types = frequencies(array(counts))

    present = [count for count in counts if count]
    assert dict(zip(values.tolist(), types.tolist(), strict=True)) == {count: present.count(count) for count in present}
    assert values.tolist() == sorted(values.tolist())


def test_rarefied_types_are_the_mean_over_all_draws() -> None:
    counts = [3, 1, 2, 1]
    tokens = [kind for kind, count in enumerate(counts) for _ in range(count)]
    for m in range(len(tokens) + 1):
        draws = [len(set(drawn)) for drawn in itertools.combinations(tokens, m)]
        assert rarefied(array(counts), m) == pytest.approx(sum(draws) / len(draws), rel=1e-14)


@QUICK
@given(COUNTS, st.data())
def test_rarefied_types_are_hypergeometric(counts: list[int], data: st.DataObject) -> None:
    total = sum(counts)
    m = data.draw(st.integers(0, total))

    present = 1 - hypergeom.pmf(0, total, array(counts), m) if total else np.zeros(0)

    assert rarefied(array(counts), m) == pytest.approx(present.sum(), rel=1e-10, abs=1e-10)


def test_rarefied_types_of_zipf_counts_are_those_of_log_gammas_and_lose_nothing_at_a_billion_tokens() -> None:
    counts = np.random.default_rng(0).zipf(1.5, 20_000)
    counts = counts[counts < 10**4]
    total, m = int(counts.sum()), 50_000
    c, n = counts.astype(float), float(total)
    absent = gammaln(n - c + 1) - gammaln(n - c - m + 1) - gammaln(n + 1) + gammaln(n - m + 1)
    assert rarefied(counts, m) == pytest.approx(-np.expm1(absent).sum(), rel=1e-6)  # which lose digits themselves

    once = np.concatenate([np.ones(1_000, np.int64), [10**9]])
    assert rarefied(once, 10**6) == pytest.approx(1 + 1_000 * 10**6 / (10**9 + 1_000), rel=1e-13)


@QUICK
@given(COUNTS, st.randoms(use_true_random=False))
def test_the_order_of_types_changes_no_bit(counts: list[int], random) -> None:
    shuffled, m = random.sample(counts, len(counts)), sum(counts) // 2

    assert rarefied(array(shuffled), m) == rarefied(array(counts), m)


def test_more_tokens_than_there_are_cannot_be_drawn() -> None:
    assert rarefied(array([]), 0) == 0.0
    with pytest.raises(UsageError, match="7 tokens cannot be drawn from 6"):
        rarefied(array([3, 3]), 7)


def test_the_missing_mass_is_the_share_of_tokens_whose_type_occurs_once() -> None:
    assert missing_mass(array([1, 1, 2, 6])) == 0.2
    assert missing_mass(array([0])) is None


def test_the_missing_mass_is_right_on_average() -> None:
    random, shares = np.random.default_rng(1), 1 / np.arange(1, 2_001)
    shares /= shares.sum()
    draws = random.multinomial(1_000, shares, 300)

    errors = [(missing_mass(draw) or 0.0) - shares[draw == 0].sum() for draw in draws]

    assert abs(np.mean(errors)) < 3 * np.std(errors) / 300**0.5 + 1e-3  # biased by 1 / N at most


def test_chao_adds_unseen_types() -> None:
    assert chao1(array([1, 1, 1, 2, 2, 5])) == 6 + 9 / 4
    assert chao1(array([1, 1, 1, 5])) == 4 + 3
    assert chao1(array([2, 3, 0])) == 2
    assert chao1(array([])) is None
