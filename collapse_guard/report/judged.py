"""What a judgement says as words, rows and numbers for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from collapse_guard.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collapse_guard.judge import Finding, GateResult, Judgement

    Row = tuple[str, ...]
    Interval = Sequence[float] | None

BAND_Z = 1.959963984540054
"""Between these deviations from the mean lie 95 % of human-only draws."""
MOST_GENERATIONS = 10
"""Generations in the table of a trend; the plot shows more."""
CERTAIN = 1_000_000
OUTCOMES = {
    "inside": "inside the bound",
    "outside": "OUTSIDE the bound",
    "undecided": "too close to tell",
    "unmeasured": "could not be measured",
}
FINDING_NAMES = ("family", "metric", "value", "human text", "effect", "interval (99 %)", "evidence")
GATE_NAMES = ("gate", "found", "interval (99 %)", "wanted", "outcome")
STATE_NAMES = ("generation", "state", "because")
TREND_NAMES = ("generation", "observed", "interval (99 %)", "human text", "outcome")


def number(value: float | None) -> str:
    """A number for people: four digits, thousands apart; a dash for null."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - four digits


def interval(found: Interval) -> str:
    """An interval for people; a dash where there is none, or where nothing is uncertain."""
    return "-" if found is None or found[0] == found[1] else f"{number(found[0])} to {number(found[1])}"


def bound(gate: GateResult) -> str:
    """What a gate wants, in words."""
    sides = (("at least", gate.low), ("at most", gate.high))
    said = " and ".join(f"{side} {number(value)}" for side, value in sides if value is not None)
    beside = {"ratio": "x human text", "difference": "above human text"}[METRICS[gate.metric].scale]
    return f"{said} {beside}" if gate.relative else said


def outcome(gate: GateResult) -> str:
    """What a gate found, in words; where it was too close to tell, how many words would."""
    would = f"; {gate.words_to_decide:,} words would tell" if gate.words_to_decide else ""
    return f"{OUTCOMES[gate.outcome]}{would}"


def human_band(mean: float, sd: float) -> tuple[float, float]:
    """Between which values a metric of human text lies in 95 of 100 draws."""
    return mean - BAND_Z * sd, mean + BAND_Z * sd


def evidence(log_e: float) -> str:
    """An e-value as odds against human text."""
    if log_e <= 0:
        return "none"
    return f"> {CERTAIN:,} to 1" if log_e > math.log(CERTAIN) else f"{math.exp(log_e):,.0f} to 1"


def finding_rows(judgement: Judgement) -> list[Row]:
    """A row per metric that was compared with human text, under `FINDING_NAMES`."""
    return [_finding_row(finding) for finding in judgement.findings]


def _finding_row(finding: Finding) -> Row:
    ratio = METRICS[finding.metric].scale == "ratio"
    effect = f"{number(finding.effect)} x" if ratio else f"{finding.effect:+.4g}"
    facts = (number(finding.value), number(finding.mean), effect, interval((finding.low, finding.high)))
    return (finding.family, finding.metric, *facts, evidence(finding.log_e))


def gate_rows(judgement: Judgement) -> list[Row]:
    """A row per gate, under `GATE_NAMES`."""
    return [
        (gate.name, number(gate.value), interval(gate.interval), bound(gate), f"{outcome(gate)}{_then(gate)}")
        for gate in judgement.gates
    ]


def _then(gate: GateResult) -> str:
    return "" if gate.passed else {"block": " (blocks)", "warn": " (warns)"}[gate.outside]


def gate_numbers(judgement: Judgement, gate: GateResult) -> dict[str, float | int | str]:
    """Everything that a gate found, under stable names.

    Args:
        judgement: Of which the gate is one.
        gate: What it found.

    Returns:
        `observed` (what the bound applies to) with `interval_low` and `interval_high`; the bound, `low` and `high`;
        `measured` (the metric itself) beside human text, `baseline` with `baseline_low` and `baseline_high`;
        `outcome` in words and `words_to_decide`; what is not known is left out.
    """
    finding = judgement.finding(gate.metric)
    band = human_band(finding.mean, finding.sd) if finding else (None, None)
    around = gate.interval or (None, None)
    facts = {
        "observed": gate.value,
        "interval_low": around[0],
        "interval_high": around[1],
        "low": gate.low,
        "high": gate.high,
        "measured": gate.measured,
        "baseline": gate.baseline,
        "baseline_low": band[0],
        "baseline_high": band[1],
        "outcome": OUTCOMES[gate.outcome],
        "words_to_decide": gate.words_to_decide,
    }
    return {name: value for name, value in facts.items() if value is not None}


def gate_trend(history: Sequence[Mapping[str, Any]], name: str) -> list[Row]:
    """What a gate found in the newest generations, oldest first, under `TREND_NAMES`.

    Args:
        history: Judgements as JSON with `dump`, oldest first.
        name: Of the gate.

    Returns:
        A row per generation that had the gate.
    """
    named = [(entry["dump"], gate) for entry in history for gate in entry["gates"] if gate["name"] == name]
    return [
        (
            str(dump),
            number(gate["value"]),
            interval(gate.get("interval")),
            number(gate["baseline"]),
            OUTCOMES[gate.get("outcome", "unmeasured")],
        )
        for dump, gate in named[-MOST_GENERATIONS:]
    ]


def state_trend(history: Sequence[Mapping[str, Any]]) -> list[Row]:
    """State and reasons of the newest generations, oldest first."""
    return [(str(entry["dump"]), entry["state"], "; ".join(entry["reasons"])) for entry in history[-MOST_GENERATIONS:]]


def compared_with(judgement: Judgement) -> str:
    """Which human text a corpus was compared with, in one sentence; empty where it was with none."""
    told = judgement.against
    if not told:
        return ""
    strata = f", {told['strata']['by']}s as in the corpus" if told["strata"] else ""
    return (
        f"compared with human text at {told['words']:,} words of {told['documents']:,} documents, at most "
        f"{told['words_per_document']} words of each{strata}"
    )
