"""Exact nulls against exact arithmetic: whole numbers, fractions and long decimals."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from collapse_guard.errors import UsageError
from collapse_guard.provenance.watermark.keys import complete
from collapse_guard.provenance.watermark.statistics import (
    Effect,
    binomial_log_sf,
    effect_of,
    gamma_log_sf,
    lattice_log_sf,
    minimum_tokens,
    minimum_tokens_of,
    sidak,
    weighted_gamma_log_sf,
)

CLOSE = {"rel": 1e-9, "abs": 1e-300}
SYNTHID_WEIGHTS = [290 - 9 * layer for layer in range(30)]
"""linspace(10, 1, 30) in whole numbers."""


def log_of(tail: Fraction) -> float:
    if tail == 0:
        return -math.inf
    if tail > Fraction(1, 2):
        return math.log1p(-float(1 - tail))
    return math.log(tail.numerator) - math.log(tail.denominator)


def powers_of(counts: list[int], n: int) -> list[int]:
    """How many ways lead to each sum of n."""
    ways = [1]
    for _ in range(n):
        longer = [0] * (len(ways) + len(counts) - 1)
        for i, way in enumerate(ways):
            for j, count in enumerate(counts):
                longer[i + j] += way * count
        ways = longer
    return ways


def poisson_below(n: int, mean: Decimal) -> Decimal:
    term, total = Decimal(1), Decimal(0)
    for k in range(n):
        total += term
        term *= mean / (k + 1)
    return total * (-mean).exp()


def two_gammas_above(total: str, n: int, large: str = "0.9", small: str = "0.1") -> float:
    """ln P(large A + small B >= total), by partial fractions in 400 digits."""
    with localcontext() as context:
        context.prec = 400
        tail = Decimal(0)
        for one, other in ((Decimal(large), Decimal(small)), (Decimal(small), Decimal(large))):
            rate, rival = 1 / one, 1 / other
            for shape in range(1, n + 1):
                rest = n - shape
                weight = math.comb(n + rest - 1, rest) * (-1) ** rest
                factor = (rival / (rival - rate)) ** n * (rate / (rival - rate)) ** rest
                tail += weight * factor * poisson_below(shape, rate * Decimal(total))
        return float(tail.ln())


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 300), data=st.data(), p=st.sampled_from(["1/4", "1/2", "1/10", "999/1000", "1/50000"]))
def test_the_binomial_tail_is_exact(n, data, p):
    count, share = data.draw(st.integers(0, n + 1)), Fraction(p)

    tail = sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(count, n + 1))

    assert float(binomial_log_sf(count, n, float(share))) == pytest.approx(log_of(Fraction(tail)), **CLOSE)


def test_the_binomial_tail_of_a_million_tokens_is_that_of_scipy():
    counts = np.array([250_000, 251_000, 252_000, 255_000])

    assert binomial_log_sf(counts, 10**6, 0.25) == pytest.approx(stats.binom.logsf(counts - 1, 10**6, 0.25), rel=1e-9)


def test_tails_far_below_the_smallest_float_are_finite():
    assert float(binomial_log_sf(3_000, 3_000, 0.25)) == pytest.approx(3_000 * math.log(0.25), rel=1e-12)
    assert -6_000 < float(gamma_log_sf(9_000.0, 1_000)) < -4_000
    assert -33_333 < float(weighted_gamma_log_sf(30_000.0, 100)) < -32_000
    assert float(lattice_log_sf([0.5, 0.5], 5_000, 5_000)) == pytest.approx(-5_000 * math.log(2), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 200), part=st.integers(1, 500))
def test_the_gamma_tail_is_exact(n, part):
    total = Decimal(n * part) / 100
    with localcontext() as context:
        context.prec = 700
        above = poisson_below(n, total)
        expected = math.log1p(-float(1 - above)) if above > Decimal("0.5") else float(above.ln())

    assert float(gamma_log_sf(float(total), n)) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("n", [1, 2, 10, 40])
@pytest.mark.parametrize("each", ["0.2", "0.9", "0.999", "1.001", "1.5", "4", "60"])
def test_the_tail_of_two_weighted_gammas_is_exact(n, each):
    total = str(Decimal(each) * n)

    assert float(weighted_gamma_log_sf(float(total), n)) == pytest.approx(two_gammas_above(total, n), rel=1e-9)


def test_equal_weights_are_refused():
    with pytest.raises(UsageError, match="two different positive numbers"):
        weighted_gamma_log_sf(1.0, 1, (0.5, 0.5))


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(0, 9), min_size=2, max_size=7).filter(lambda each: sum(map(bool, each)) > 1),
    n=st.integers(1, 12),
    data=st.data(),
)
def test_the_tail_of_a_sum_on_a_lattice_is_exact(counts, n, data):
    total = data.draw(st.integers(-1, n * (len(counts) - 1) + 1))

    ways = powers_of(counts, n)
    expected = log_of(Fraction(sum(ways[max(total, 0) :]), sum(ways)))

    assert float(lattice_log_sf(counts, total, n)) == pytest.approx(expected, **CLOSE)


def test_a_sum_of_fair_bits_on_a_lattice_is_binomial():
    bits = stats.binom.pmf(np.arange(31), 30, 0.5)
    n = np.array([1, 7, 50, 400, 3_000, 100_000])
    totals = np.array([[n * 14, n * 15, n * 31 // 2, n * 17, n * 29]]).reshape(5, -1)

    assert lattice_log_sf(bits, totals, n) == pytest.approx(binomial_log_sf(totals, 30 * n, 0.5), **CLOSE)


def test_a_tail_does_not_depend_on_what_else_is_asked():
    bits = stats.binom.pmf(np.arange(31), 30, 0.5)
    totals, n = np.array([1_600, 3_100, 160_000, 290]), np.array([100, 200, 10_000, 10])

    alone = [float(lattice_log_sf(bits, *one)) for one in zip(totals, n, strict=True)]

    assert lattice_log_sf(bits, totals, n).tolist() == alone


def test_weights_that_leave_gaps_on_the_lattice_are_exact():
    pmf = np.ones(1)
    for weight in SYNTHID_WEIGHTS:
        pmf = np.convolve(pmf, np.bincount([0, weight]) / 2)
    five = pmf
    for _ in range(4):
        five = np.convolve(five, pmf)

    for total in (9_000, 12_500, 14_000):
        assert float(lattice_log_sf(pmf, total, 5)) == pytest.approx(math.log(five[total:].sum()), rel=1e-9)


@pytest.mark.parametrize("n", [1, 3, 16, 500])
def test_sums_of_many_values_are_those_of_few_that_are_spread_out(n):
    """So spread, they are no lattice any more, and all waves of the sum's distribution matter."""
    few, spread = np.array([0.3, 0.2, 0.4, 0.1]), 400
    many = np.zeros(3 * spread + 1)
    many[::spread] = few
    totals = np.unique(np.linspace(0, 3 * n + 1, 9).astype(int))

    expected = lattice_log_sf(few, totals, n)

    assert lattice_log_sf(many, totals * spread, n) == pytest.approx(expected, **CLOSE)
    assert lattice_log_sf(many, totals * spread - spread // 2, n) == pytest.approx(expected, **CLOSE)


@given(n=st.integers(1, 400), low=st.integers(0, 400), more=st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_more_green_tokens_are_never_more_likely(n, low, more):
    assert binomial_log_sf(low + more, n, 0.25) <= binomial_log_sf(low, n, 0.25)


def test_nothing_scored_says_nothing():
    assert float(binomial_log_sf(0, 0, 0.25)) == 0
    assert float(gamma_log_sf(0.0, 0)) == 0
    assert float(weighted_gamma_log_sf(0.0, 0)) == 0
    assert float(lattice_log_sf([0.5, 0.5], 0, 0)) == 0


def test_what_cannot_be_reached_has_no_chance():
    assert float(binomial_log_sf(3, 2, 0.25)) == -math.inf
    assert float(gamma_log_sf(1.0, 0)) == -math.inf
    assert float(lattice_log_sf([0.5, 0.5], 6, 5)) == -math.inf


def test_arguments_broadcast():
    assert binomial_log_sf([[1], [2]], [10, 20, 30], 0.25).shape == (2, 3)
    assert lattice_log_sf([0.5, 0.5], [[1], [2]], [10, 20, 30]).shape == (2, 3)


@pytest.mark.parametrize("tests", [1, 20, 10**6])
@pytest.mark.parametrize("log_p", [-1e-12, -0.5, -5.0, -39.9, -40.1, -700.0, -1e5])
def test_sidak_is_exact_for_any_p_value(log_p, tests):
    with localcontext() as context:
        context.prec = 700
        p = Decimal(log_p).exp()
        corrected = 1 - (tests * (1 - p).ln()).exp() if log_p > -100 else tests * p
        expected = math.log1p(-float(1 - corrected)) if corrected > Decimal("0.5") else float(corrected.ln())

    assert float(sidak(log_p, tests)) == pytest.approx(expected, **CLOSE)


def test_sidak_of_one_is_one():
    assert float(sidak(0.0, 20)) == 0


def test_minimum_tokens_are_those_of_the_formula():
    strong, weak = Effect(0.25, 0.4330127, 0.5, 0.5), Effect(0.25, 0.4330127, 0.4, 0.4898979)

    assert minimum_tokens(strong, 1e-7) == 134
    assert minimum_tokens(weak, 1e-7) == 369


@pytest.mark.parametrize(
    "entry",
    [
        {"scheme": "kgw_simple_1", "key": 1, "vocab_size": 1_000},
        {"scheme": "unigram", "key": 1, "vocab_size": 1_000},
        {"scheme": "dipmark", "key": 1, "vocab_size": 1_000},
        {"scheme": "ff-additive_prf-2-False-1", "vocab_size": 1_000},
        {"scheme": "gumbel_philox", "key": 1},
        {"scheme": "gumbel_philox_dual", "key": 1},
        {"scheme": "exp_markllm", "key": 1, "vocab_size": 1_000},
        {"scheme": "synthid_iv", "keys": list(range(1, 31))},
        {"scheme": "synthid_table", "keys": list(range(1, 31))},
    ],
    ids=lambda entry: entry["scheme"],
)
def test_every_scheme_has_a_minimum_length(entry):
    assert 50 < minimum_tokens_of(complete(entry)) < 200


def test_a_scheme_that_cannot_be_tested_has_no_effect():
    with pytest.raises(UsageError, match="cannot be tested"):
        effect_of(complete({"scheme": "sweet"}))
