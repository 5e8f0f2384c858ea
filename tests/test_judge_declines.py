from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from judging import finding, said

from collapse_guard.judge.declines import FLOOR, WATCHED, find_declines
from collapse_guard.judge.evidence import ALPHA
from collapse_guard.metrics import METRICS

if TYPE_CHECKING:
    from collapse_guard.judge.findings import Finding

BLOCKED = -math.log(ALPHA)
"""4.6: 100 to 1."""
SD = 0.01
LARGEST_STEP = 0.05
"""What a comparison with the previous run would take for a loss."""


def run(metric: str, effects: list[float], sd: float = SD) -> list[float]:
    """The detector after each generation."""
    found = [finding(metric, effect, sd) for effect in effects]
    return [after(found[: count + 1]) for count in range(len(found))]


def after(found: list[Finding]) -> float:
    earlier = [{"findings": [vars(one)]} for one in found[:-1]]
    return find_declines(earlier, {found[-1].metric: found[-1]})[found[-1].metric]


def declining(loss: float, generations: int) -> list[float]:
    return [(1 - loss) ** number for number in range(generations + 1)]


@pytest.mark.parametrize("metric", list(WATCHED))
def test_2_percent_lost_per_generation_blocks_within_ten_although_no_step_would(metric: str) -> None:
    effects = declining(0.02, 10)
    collapsing = effects if WATCHED[metric] < 0 else [1 / effect for effect in effects]

    logs = run(metric, collapsing)

    steps = [abs(now / before - 1) for before, now in itertools.pairwise(collapsing)]
    assert max(steps) < LARGEST_STEP, "a comparison with the previous run never fires"
    assert logs[-1] > BLOCKED


def test_2_percent_lost_per_generation_blocks_through_noise_that_hides_every_step() -> None:
    blocked, stepped = 0, 0
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(0, SD, 11)
        effects = (np.array(declining(0.02, 10)) + noise).tolist()
        blocked += max(run("rare_coverage", effects)) > BLOCKED
        interval = 2.576 * math.sqrt(2) * SD  # of the difference of two runs
        stepped += any(now < before * (1 - LARGEST_STEP) - interval for before, now in itertools.pairwise(effects))

    assert blocked >= 95
    assert stepped <= 1


@pytest.mark.parametrize("step", [0.97, 0.9, 0.7, 0.5])
def test_a_step_to_the_first_mix_and_a_plateau_is_no_decline(step: float) -> None:
    random = np.random.default_rng(1)

    for _ in range(50):
        effects = [1.0, *(step + random.normal(0, SD, 20)).tolist()]
        assert max(run("distinct_3", effects)) < BLOCKED


@pytest.mark.parametrize("metric", list(WATCHED))
def test_a_healthy_corpus_with_noise_is_silent_for_30_generations(metric: str) -> None:
    for seed in range(40):  # times 5 metrics: 200 runs
        noise = np.random.default_rng([seed, WATCHED[metric] + 1]).normal(1, SD, 30)
        assert max(run(metric, noise.tolist())) < BLOCKED


def test_a_healthy_corpus_with_a_blunt_metric_is_silent_too() -> None:
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(1, 0.06, 30)
        assert max(run("missing_mass", noise.tolist(), 0.06)) < BLOCKED


@pytest.mark.parametrize("metric", list(WATCHED))
def test_growing_is_no_decline(metric: str) -> None:
    effects = [1.03**number for number in range(11)]
    growing = effects if WATCHED[metric] < 0 else [1 / effect for effect in effects]

    assert max(run(metric, growing)) == 0


def test_a_loss_of_less_than_a_tenth_is_no_effect_however_certain_it_is() -> None:
    effects = [1.0, 1.0, *([1 - FLOOR * 0.8] * 20)]

    assert max(run("entropy_2", effects, 0.0001)) == 0


def test_the_first_two_generations_have_no_decline_yet() -> None:
    assert run("rare_coverage", [1.0, 0.3]) == [0, 0]
    assert find_declines([], {"rare_coverage": finding("rare_coverage", 0.3)}) == {"rare_coverage": 0}


def test_only_what_was_measured_is_watched() -> None:
    assert find_declines([], {}) == {}
    earlier = [{}, {"findings": []}, said(distinct_3=0.9), said(rare_coverage=0.9)]

    assert set(find_declines(earlier, {"distinct_3": finding("distinct_3", 0.5)})) == {"distinct_3"}


def test_a_metric_of_nothing_neither_raises_nor_alarms_by_its_logarithm() -> None:
    found = [finding("rare_coverage", effect) for effect in (1.0, 0.0, 0.0)]

    assert after(found) == 0  # the level of such a corpus is LATE; its logarithm says nothing


def test_watched_metrics_are_those_of_a_sample() -> None:
    assert all(METRICS[name].scale == "ratio" for name in WATCHED)
