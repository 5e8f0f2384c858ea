"""Watch metrics over generations against the one frozen baseline, so that a slow decline is seen before a step is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from collapse_guard.judge.evidence import log_detector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collapse_guard.judge.findings import Finding

WATCHED = {"rare_coverage": -1, "distinct_3": -1, "missing_mass": -1, "entropy_2": -1, "heldout_perplexity": 1}
"""One or two metrics of each family that moves early, and the direction in which collapse moves it."""
FLOOR = 0.10
"""A decline of less is evidence without an effect."""


def find_declines(earlier: Sequence[Mapping[str, Any]], found: Mapping[str, Finding]) -> dict[str, float]:
    """Take the log of the e-detector of every watched metric over a corpus' generations.

    The evidence is against the frozen human baseline in all generations. The effect is what was lost since the best
    generation after the first: the step from human text to the first mix is judged by its level, what follows must not
    go on downwards, however small each step is.

    Args:
        earlier: The judgements of the generations before, as JSON, oldest first.
        found: The findings of this one.

    Returns:
        By metric: the log of its detector, 0 where the loss is not certain to be more than `FLOOR`.
    """
    return {
        name: _decline(_findings(name, earlier), _findings(name, earlier[1:]), found[name], sign)
        for name, sign in _watched(found)
    }


def _watched(found: Mapping[str, Finding]) -> list[tuple[str, int]]:
    return [(name, sign) for name, sign in WATCHED.items() if name in found]


def _findings(name: str, earlier: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [one for judged in earlier for one in judged.get("findings", ()) if one["metric"] == name]


def _decline(
    before: Sequence[Mapping[str, Any]], after_first: Sequence[Mapping[str, Any]], finding: Finding, sign: int
) -> float:
    kept = [sign * math.log(one["effect"]) for one in after_first if one["effect"] > 0]
    if not kept or finding.effect <= 0:
        return 0.0
    loss = sign * math.log(finding.effect) - min(kept)
    uncertain = math.sqrt(2) * (finding.high - finding.low) / (2 * finding.effect)
    if loss - uncertain <= math.log1p(FLOOR):
        return 0.0
    return max(0.0, log_detector([*(one["z"] for one in before), finding.z]))
