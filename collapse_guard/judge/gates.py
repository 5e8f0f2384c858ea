"""Hold a metric against the bound of a gate: inside only where all of its interval is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from collapse_guard.judge.evidence import CONFIDENCE_Z, POWER_Z
from collapse_guard.judge.findings import GateResult

if TYPE_CHECKING:
    from collapse_guard.judge.findings import Finding, Outcome
    from collapse_guard.policy import Gate


def judge_gate(
    name: str, gate: Gate, metric: str, value: float | None, finding: Finding | None, *, sampled: bool, words: int
) -> GateResult:
    """Hold what was measured against a gate.

    Args:
        name: The gate's name.
        gate: Its bound, and whether it is relative to human text.
        metric: What it judges.
        value: The metric; null where it could not be measured.
        finding: The metric beside human text; none where there is nothing to compare with.
        sampled: Whether the metric is that of a sample, and so uncertain.
        words: Words in the sample.

    Returns:
        What the gate found; a gate whose metric or baseline is missing is closed.
    """
    held, interval = _held(gate, value, finding, sampled=sampled)
    outcome = _outcome(gate, interval)
    return GateResult(
        name=name,
        metric=metric,
        value=held,
        low=gate.low,
        high=gate.high,
        passed=outcome == "inside",
        outside=gate.outside,
        relative=gate.relative,
        measured=value,
        baseline=finding.mean if finding else None,
        outcome=outcome,
        interval=interval,
        words_to_decide=_words_to_decide(gate, interval, words) if interval and outcome == "undecided" else None,
    )


def _held(
    gate: Gate, value: float | None, finding: Finding | None, *, sampled: bool
) -> tuple[float | None, tuple[float, float] | None]:
    """What the bound applies to, and its interval."""
    if value is None or not math.isfinite(value):
        return None, None
    if not sampled:
        return (None, None) if gate.relative else (value, (value, value))
    if finding is None or not math.isfinite(finding.low + finding.high):
        return None, None
    if gate.relative:
        return finding.effect, (finding.low, finding.high)
    half = CONFIDENCE_Z * finding.sd
    return value, (value - half, value + half)


def _outcome(gate: Gate, interval: tuple[float, float] | None) -> Outcome:
    if interval is None:
        return "unmeasured"
    low, high = (-math.inf if gate.low is None else gate.low), (math.inf if gate.high is None else gate.high)
    if low <= interval[0] and interval[1] <= high:
        return "inside"
    return "outside" if interval[1] < low or interval[0] > high else "undecided"


MOST_TIMES = 1e12
"""A sample this many times as large would not be taken."""


def _words_to_decide(gate: Gate, interval: tuple[float, float], words: int) -> int | None:
    """How many words would tell a value from the nearest bound, at 99 % confidence and 80 % power.

    The standard deviation shrinks with the square root of the sample: n = ((z + z') sd / d)^2.

    Returns:
        Words; null where no sample would do, because the value is on the bound.
    """
    middle, half = (interval[0] + interval[1]) / 2, (interval[1] - interval[0]) / 2
    gap = min(abs(middle - bound) for bound in (gate.low, gate.high) if bound is not None)
    wanted = (1 + POWER_Z / CONFIDENCE_Z) * half
    return round(words * (wanted / gap) ** 2) if gap**2 * MOST_TIMES > wanted**2 else None
