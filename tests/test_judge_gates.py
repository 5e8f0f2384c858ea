from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from judging import finding

from collapse_guard.judge.gates import judge_gate
from collapse_guard.policy import Gate

if TYPE_CHECKING:
    from collapse_guard.judge.findings import Finding

QUICK = settings(max_examples=200, deadline=None)
BOUNDS = st.one_of(st.none(), st.floats(0.1, 3))
EFFECTS = st.floats(0.05, 3)
DEVIATIONS = st.floats(0.001, 0.3)


def gate_of(low: float | None, high: float | None, *, relative: bool = True) -> Gate:
    assume(low is not None or high is not None)
    if low is not None and high is not None:
        low, high = sorted((low, high))
        assume(low < high)
    return Gate(low=low, high=high, relative=relative, outside="block")


def judged(gate: Gate, found: Finding | None, words: int = 10_000):
    value = found.value if found else None
    return judge_gate("g", gate, "distinct_2", value, found, sampled=True, words=words)


@QUICK
@given(BOUNDS, BOUNDS, EFFECTS, DEVIATIONS, st.floats(0.1, 10))
def test_a_relative_gate_is_open_where_the_whole_interval_is_inside(
    low: float | None, high: float | None, effect: float, sd: float, mean: float
) -> None:
    gate, found = gate_of(low, high), finding("distinct_2", effect, sd, mean)
    least, most = gate.low or -math.inf, gate.high or math.inf

    result = judged(gate, found)

    assert result.passed is (least <= found.low and found.high <= most)
    assert result.passed is (result.outcome == "inside")
    assert (result.outcome == "outside") is (found.high < least or found.low > most)
    assert result.interval == (found.low, found.high)
    assert result.value == found.effect
    assert result.measured == found.value


@QUICK
@given(BOUNDS, BOUNDS, EFFECTS, DEVIATIONS, st.floats(0.1, 10))
def test_a_bound_on_the_metric_itself_is_held_against_its_own_interval(
    low: float | None, high: float | None, effect: float, sd: float, mean: float
) -> None:
    gate, found = gate_of(low, high, relative=False), finding("distinct_2", effect, sd, mean)

    result = judged(gate, found)

    assert result.interval is not None
    assert result.interval == pytest.approx((found.low * mean, found.high * mean))
    least, most = gate.low or -math.inf, gate.high or math.inf
    assert result.passed is (least <= result.interval[0] and result.interval[1] <= most)
    assert result.value == found.value


@QUICK
@given(st.floats(0.2, 2), st.floats(-2, 2), DEVIATIONS, st.sampled_from(["low", "high", "both"]), st.booleans())
def test_what_is_undecided_says_how_many_words_decide_and_they_do(
    bound: float, deviations: float, sd: float, sides: str, relative: bool
) -> None:
    assume(abs(deviations) > 0.01)
    low, high = (None if sides == "high" else bound), (None if sides == "low" else bound + sd * (sides == "both"))
    gate, words = Gate(low=low, high=high, relative=relative, outside="block"), 10_000
    effect = bound + deviations * sd
    result = judged(gate, finding("distinct_2", effect, sd), words)
    assume(min(abs(effect - one) for one in (low, high) if one is not None) > 0.01 * sd)

    assert result.outcome == "undecided"
    needed = result.words_to_decide
    assert needed is not None
    assert needed > words
    shrunk = finding("distinct_2", effect, sd * math.sqrt(words / needed))
    assert judged(gate, shrunk, needed).outcome in {"inside", "outside"}


@QUICK
@given(BOUNDS, BOUNDS, EFFECTS, DEVIATIONS, st.booleans())
def test_words_are_named_where_a_gate_is_undecided_and_nowhere_else(
    low: float | None, high: float | None, effect: float, sd: float, relative: bool
) -> None:
    gate, found = gate_of(low, high, relative=relative), finding("distinct_2", effect, sd)
    result = judged(gate, found)
    gap = min(abs(found.effect - bound) for bound in (gate.low, gate.high) if bound is not None)

    assume(gap > 1e-4)
    assert (result.words_to_decide is not None) is (result.outcome == "undecided")


def test_on_the_bound_no_sample_decides() -> None:
    result = judged(Gate(low=0.5, relative=True, outside="block"), finding("distinct_2", 0.5, 0.01))

    assert result.outcome == "undecided"
    assert result.words_to_decide is None
    assert not result.passed
    assert "too close to tell" in result.sentence


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("found", [None, finding("distinct_2", 1.0)])
def test_what_is_missing_or_no_number_never_passes(
    value: float | None, found: Finding | None, *, relative: bool, sampled: bool
) -> None:
    gate = Gate(low=-1e9, high=1e9, relative=relative, outside="block")

    result = judge_gate("g", gate, "distinct_2", value, found, sampled=sampled, words=1)

    assert not result.passed
    assert result.outcome == "unmeasured"
    assert result.interval is result.words_to_decide is None
    assert "could not be measured" in result.sentence


@pytest.mark.parametrize("relative", [True, False])
def test_a_sampled_metric_without_a_baseline_never_passes(*, relative: bool) -> None:
    gate = Gate(low=0.0, relative=relative, outside="block")

    assert not judge_gate("g", gate, "distinct_2", 0.7, None, sampled=True, words=1).passed


@pytest.mark.parametrize("side", ["low", "high"])
def test_an_interval_that_is_no_number_never_passes(side: str) -> None:
    odd = dataclasses.replace(finding("distinct_2", 1.0), **{side: math.nan})

    assert not judged(Gate(low=0.5, high=2.0, relative=True, outside="block"), odd).passed


@pytest.mark.parametrize(
    ("value", "passed"), [(0.1, True), (0.3, True), (0.0999999, False), (0.300001, False), (0.2, True)]
)
def test_a_metric_of_the_whole_is_exact_and_a_bound_is_inside(value: float, passed: bool) -> None:
    gate = Gate(low=0.1, high=0.3, outside="block")

    result = judge_gate("human_share", gate, "human_share", value, None, sampled=False, words=0)

    assert result.passed is passed
    assert result.interval == (value, value)
    assert result.words_to_decide is None


def test_a_bound_on_the_whole_relative_to_human_text_means_nothing_and_is_closed() -> None:
    gate = Gate(low=0.1, relative=True, outside="block")

    assert not judge_gate("human_share", gate, "human_share", 1.0, None, sampled=False, words=0).passed


def test_a_metric_compared_by_difference_is_held_by_its_distance_beyond_chance() -> None:
    gate = Gate(high=0.1, relative=True, outside="block")

    near, far = (
        judge_gate("g", gate, "psi_domain", one.value, one, sampled=True, words=1)
        for one in (finding("psi_domain", 0.05, 0.01, 0.02), finding("psi_domain", 0.3, 0.01, 0.02))
    )

    assert near.passed
    assert far.outcome == "outside"


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        (0.9, "distinct_2 is 0.900 of the human baseline [0.874, 0.926], inside (at least 0.5 and at most 2 wanted)"),
        (0.3, "distinct_2 is 0.300 of the human baseline [0.274, 0.326], outside (at least 0.5 and at most 2 wanted)"),
        (0.51, "words would decide)"),
    ],
)
def test_the_sentence_of_a_gate_says_value_interval_bound_and_outcome(effect: float, said: str) -> None:
    gate, found = Gate(low=0.5, high=2.0, relative=True, outside="block"), finding("distinct_2", effect)

    sentence = judge_gate("distinct_2", gate, "distinct_2", found.value, found, sampled=True, words=100).sentence

    assert sentence.endswith(said)
