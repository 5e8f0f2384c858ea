from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import within
from scipy.stats import kstest, norm

from collapse_guard.judge.evidence import (
    ALPHA,
    CONFIDENCE_Z,
    MOST_LOG_E,
    POWER_Z,
    STEP_SPREAD,
    Null,
    log_detector,
    log_e_value,
    log_mean,
    reject,
)

QUICK = settings(max_examples=100, deadline=None)
LOGS = st.lists(st.floats(-3, 12), min_size=1, max_size=9)


def slow_rejections(log_e: dict[str, float], alpha: float) -> set[str]:
    """e-BH as Wang and Ramdas define it: by trying every k."""
    rejected: set[str] = set()
    for k in range(1, len(log_e) + 1):
        largest = sorted(log_e, key=lambda name: (-log_e[name], name))[:k]
        if all(math.exp(log_e[name]) >= len(log_e) / (alpha * k) for name in largest):
            rejected = set(largest)
    return rejected


def slow_detector(deviations: list[float]) -> float:
    """The sum over all generations at which a decline may have begun, of a weight and the bet since then."""
    total = 0.0
    for begin in range(1, len(deviations) + 1):
        since = deviations[begin - 1 :]
        grown = 1 + STEP_SPREAD * len(since)
        bet = math.exp(STEP_SPREAD * sum(since) ** 2 / (2 * grown)) / math.sqrt(grown)
        total += bet / (begin * (begin + 1))
    return math.log(total)


def test_the_quantiles_are_those_of_the_normal_distribution() -> None:
    assert pytest.approx(norm.ppf(0.995), abs=1e-12) == CONFIDENCE_Z
    assert pytest.approx(norm.ppf(0.8), abs=1e-12) == POWER_Z


def test_an_e_value_has_a_mean_of_at_most_1_under_the_null() -> None:
    # The mean of e under the null is 1 but comes from rare large values; drawing z wider and weighting back sees those.
    z = np.random.default_rng(0).normal(0, 4, 20_000)
    weights = norm.pdf(z) / norm.pdf(z, scale=4)
    weighted = np.exp([log_e_value(value) for value in z.tolist()]) * weights

    assert within(weighted.tolist(), 1.0)
    plain = np.exp([log_e_value(value) for value in np.random.default_rng(1).normal(size=20_000).tolist()])
    assert plain.mean() - 3 * plain.std() / math.sqrt(len(plain)) <= 1


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_mean_of_e_values_is_an_e_value_whatever_they_depend_on(count: int) -> None:
    z = np.random.default_rng(count).normal(0, 4, 4_000)
    weights = norm.pdf(z) / norm.pdf(z, scale=4)
    alike = [math.exp(log_mean([log_e_value(value)] * count)) for value in z.tolist()]

    assert within((np.array(alike) * weights).tolist(), 1.0)


@QUICK
@given(LOGS)
def test_the_log_of_a_mean_is_that(logs: list[float]) -> None:
    assert log_mean(logs) == pytest.approx(math.log(np.exp(logs).mean()))


@pytest.mark.parametrize("z", [1e3, -1e6, 1e154])
def test_overwhelming_evidence_stays_a_number(z: float) -> None:
    assert log_e_value(z) == MOST_LOG_E
    assert log_mean([MOST_LOG_E] * 3) == pytest.approx(MOST_LOG_E)
    assert log_detector([0.0, z]) == MOST_LOG_E


@QUICK
@given(st.dictionaries(st.text("abcdefg", min_size=1, max_size=3), st.floats(-3, 12), max_size=9))
def test_families_are_rejected_as_e_bh_defines_it(log_e: dict[str, float]) -> None:
    assert reject(log_e) == slow_rejections(log_e, ALPHA)
    assert reject(log_e, 0.2) == slow_rejections(log_e, 0.2)


def test_false_findings_are_at_most_one_in_a_hundred_for_metrics_that_depend_on_each_other() -> None:
    random = np.random.default_rng(2)
    shared, own = random.normal(size=(4_000, 1)), random.normal(size=(4_000, 5))
    z = 0.8 * shared + 0.6 * own
    found = [reject({str(i): log_e_value(one) for i, one in enumerate(row)}) for row in z.tolist()]

    assert np.mean([len(names) > 0 for names in found]) <= ALPHA


@QUICK
@given(st.lists(st.floats(-4, 4), min_size=1, max_size=12))
def test_the_detector_is_the_weighted_sum_of_bets(deviations: list[float]) -> None:
    assert log_detector(deviations) == pytest.approx(slow_detector(deviations), abs=1e-9)


def test_the_detector_of_no_generation_says_nothing() -> None:
    assert log_detector([]) == -math.inf


def test_the_detector_raises_at_most_one_false_alarm_in_a_hundred_over_30_generations() -> None:
    random = np.random.default_rng(3)
    alarms = 0
    for _ in range(2_000):
        z = random.normal(size=30).tolist()
        alarms += any(log_detector(z[:count]) >= -math.log(ALPHA) for count in range(1, 31))

    assert alarms <= 2_000 * ALPHA


def test_the_detector_sees_a_slow_decline_that_begins_late() -> None:
    still = np.random.default_rng(4).normal(size=10).tolist()
    declining = [*still, *(-0.8 * step for step in range(1, 11))]

    assert log_detector(still) < -math.log(ALPHA) < log_detector(declining)


def conformal_p(random: np.random.Generator, draws: int) -> float:
    values = random.normal(size=draws + 1)
    null = Null.of(values[1:], 0.01)
    assert null is not None
    return null.p_value(float(values[0]))


def test_conformal_ranks_are_uniform_under_the_null() -> None:
    random = np.random.default_rng(5)
    found = np.array([conformal_p(random, 199) for _ in range(2_000)])

    assert kstest(found + random.uniform(-0.01, 0, len(found)), "uniform").pvalue > 0.01
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (found <= level).mean() <= level + 3 * math.sqrt(level * (1 - level) / len(found))


@pytest.mark.parametrize(("value", "p"), [(-9.0, 0.2), (9.0, 0.2), (4.5, 1.0), (0.0, 0.4)])
def test_a_conformal_rank_by_hand(value: float, p: float) -> None:
    null = Null.of(np.arange(9, dtype=float), 0.1)

    assert null is not None
    assert null.p_value(value) == pytest.approx(p)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_the_interval_holds_a_fresh_sample_although_the_reservoir_is_finite(share: float) -> None:
    random = np.random.default_rng(6)
    pool, taken, trials, held = 400, int(400 * share), 1_500, 0
    for _ in range(trials):
        reservoir = random.normal(size=pool)
        means = np.array([random.permutation(reservoir)[:taken].mean() for _ in range(40)])
        null = Null.of(means, share)
        assert null is not None
        held += abs(null.z(float(random.normal(size=taken).mean()))) <= CONFIDENCE_Z

    assert held / trials >= 0.97


def test_without_the_correction_too_few_fresh_samples_would_be_held() -> None:
    random = np.random.default_rng(7)
    held = 0
    for _ in range(500):
        reservoir = random.normal(size=400)
        means = np.array([random.permutation(reservoir)[:200].mean() for _ in range(40)])
        held += abs(random.normal(size=200).mean() - means.mean()) <= CONFIDENCE_Z * means.std(ddof=1)

    assert held / 500 < 0.9


@pytest.mark.parametrize("draws", [[], [1.0], [1.0, math.nan], [1.0, math.inf, 2.0]])
def test_draws_that_could_not_be_measured_give_no_null(draws: list[float]) -> None:
    assert Null.of(np.array(draws), 0.1) is None


def test_equal_draws_are_no_evidence_of_anything() -> None:
    null = Null.of(np.ones(20), 0.1)

    assert null is not None
    assert null.z(5.0) == 0
    assert log_e_value(null.z(5.0)) < 0


def test_more_evidence_never_rejects_less() -> None:
    for logs in itertools.product((0.0, 4.0, 6.5, 9.0), repeat=3):
        weak = dict(zip("abc", logs, strict=True))
        assert reject(weak) <= reject({**weak, "a": weak["a"] + 3}) | {"a"}
