"""Tell composition drift, early and late collapse apart by how far families of metrics are from human text.

The bounds come from simulations: docs/decisions/0006-states.md argues for them, docs/science.md validates them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from collapse_guard.judge.evidence import log_mean, reject
from collapse_guard.metrics import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from collapse_guard.judge.findings import Finding, State

    Found = Mapping[str, Finding]
    Truth = bool | None

DRIFT_PSI = 0.1
"""Above this, a population is taken to have shifted (Siddiqi 2006); what chance gives is subtracted first."""
DRIFT_JSD = 0.02
"""Bits between the shares of common words: 0.03 to 0.11 between human domains, below 0.005 within (docs/science.md)."""
EARLY_LOSS, EARLY_GAIN, EARLY_PERPLEXITY = 0.90, 1.25, 1.10
EARLY_TAIL = 0.80
"""A tail shorter than this for certain is early collapse by itself (as Shumailov et al. 2024 define it)."""
BAND = 0.05
"""Human text stays this close to its baseline; an effect counts as early only where its interval is clear of that."""
LATE_NOVELTY, LATE_TAIL = 0.50, 0.80
"""Half of the missing mass and a fifth of the tail: reached before a simulated vocabulary has halved."""
POOREST_HUMAN = 0.60
"""No single domain of human text has so little missing mass beside a mixture of domains: the least was 0.66 of ten
(docs/science.md). What is poorer than that has collapsed, whatever its composition."""
LATE_LOSS, LATE_CORE, LATE_ENTROPY, LATE_PERPLEXITY = 0.50, 0.90, 0.85, 2.0

LOSSES = {
    "tail": ("rare_coverage", "rare_bigram_coverage"),
    "novelty": ("distinct_2", "distinct_3", "missing_mass"),
}
GAINS = {"novelty": ("repeated_4grams",), "homogeneity": ("self_bleu",)}
_LATE_METRICS = (
    "rare_coverage",
    "missing_mass",
    "distinct_2",
    "entropy_2",
    "feature_variance",
    "vendi",
    "heldout_perplexity",
)
NEEDED = ("rare_coverage", "distinct_2", "heldout_perplexity")
"""Without these a state cannot be told."""


def decide_state(found: Found) -> tuple[State, tuple[str, ...]]:
    """Tell what a corpus is, composition first, but for a loss that no composition of human text shows.

    Args:
        found: The findings by metric.

    Returns:
        The state, and the findings that led to it in plain words.
    """
    missing = [name for name in NEEDED if name not in found]
    if missing:
        return "INCONCLUSIVE", (f"could not be measured: {', '.join(missing)}",)
    drifted = drifts(found)
    if _poor(found, POOREST_HUMAN if drifted else LATE_NOVELTY):
        return "LATE", _sentences(found, _LATE_METRICS)
    if drifted:
        return "COMPOSITION_DRIFT", tuple(_drift_sentence(finding) for finding in drifted)
    return collapse_state(found)


def collapse_state(found: Found) -> tuple[State, tuple[str, ...]]:
    """Tell early from late collapse, as if the composition were that of the baseline."""
    late = _any(_poor(found, LATE_NOVELTY), _core_lost(found))
    if late:
        return "LATE", _sentences(found, _LATE_METRICS)
    if late is None:
        return "INCONCLUSIVE", ("too close to late collapse to tell", *_sentences(found, _LATE_METRICS))
    lost = lost_families(found)
    if len(lost) > 1 or "heldout" in lost or ("tail" in lost and found["rare_coverage"].below(EARLY_TAIL)):
        return "EARLY", _sentences(found, [name for names in lost.values() for name in names])
    return "OK", _sentences(found, NEEDED)


def drifts(found: Found) -> list[Finding]:
    """The findings on composition that are beyond their bound for certain."""
    bounds = {name: DRIFT_PSI if name.startswith("psi_") else DRIFT_JSD for name in DRIFTING}
    return [found[name] for name, bound in bounds.items() if name in found and found[name].above(bound)]


DRIFTING = ("psi_domain", "psi_language", "word_jsd")
"""What makes a baseline the wrong one. Lengths are matched by the baseline itself, and a source is a file's name."""


def _poor(found: Found, novelty: float) -> Truth:
    """Much of what used to be new is gone, and a fifth of the tail."""
    return _all(_is(found, "missing_mass", "below", novelty), _is(found, "rare_coverage", "below", LATE_TAIL))


def _core_lost(found: Found) -> Truth:
    """The variance or the entropy of the whole has shrunk with the tail, or people have become hard to predict."""
    core = _any(
        _is(found, "vendi", "below", LATE_CORE),
        _is(found, "feature_variance", "below", LATE_CORE),
        _is(found, "entropy_2", "below", LATE_ENTROPY),
        _is(found, "distinct_2", "below", LATE_LOSS),
    )
    tail = _is(found, "rare_coverage", "below", LATE_LOSS)
    return _any(_is(found, "heldout_perplexity", "above", LATE_PERPLEXITY), _all(tail, core))


def lost_families(found: Found) -> dict[str, list[str]]:
    """Families with evidence against human text and an effect beyond the early bound, and the metrics that show it."""
    log_e: dict[str, float] = {
        family: log_mean([finding.log_e for finding in found.values() if finding.family == family])
        for family in FAMILIES
        if any(finding.family == family for finding in found.values())
    }
    rejected = reject(log_e)
    shown = {family: [name for name in _moved(found) if found[name].family == family] for family in FAMILIES}
    return {family: names for family, names in shown.items() if names and family in rejected}


def _moved(found: Found) -> list[str]:
    """Metrics whose effect is beyond the early bound, and whose interval is clear of what human text does."""
    losses = [name for names in LOSSES.values() for name in names if name in found]
    gains = [name for names in GAINS.values() for name in names if name in found]
    moved = [name for name in losses if found[name].effect < EARLY_LOSS and found[name].below(1 - BAND)]
    moved += [name for name in gains if found[name].effect > EARLY_GAIN and found[name].above(1 + BAND)]
    perplexity = found["heldout_perplexity"]
    return [
        *moved,
        *(["heldout_perplexity"] if perplexity.effect > EARLY_PERPLEXITY and perplexity.above(1 + BAND) else []),
    ]


LEAST_EFFECT = 1e-3
"""Less is counted as this, which has a logarithm."""


def severity(found: Found) -> float:
    """How far a corpus is from human text: the largest log effect of each family, averaged over the families."""
    effects = {
        family: [abs(math.log(max(one.effect, LEAST_EFFECT))) for one in found.values() if one.family == family]
        for family in FAMILIES
    }
    largest = [max(values) for values in effects.values() if values]
    return math.fsum(largest) / len(largest) if largest else 0.0


def _is(found: Found, name: str, side: str, bound: float) -> Truth:
    if name not in found:
        return False
    compare: Callable[[float], Truth] = getattr(found[name], side)
    return compare(bound)


def _any(*truths: Truth) -> Truth:
    return True if True in truths else None if None in truths else False


def _all(*truths: Truth) -> Truth:
    return False if False in truths else None if None in truths else True


def _sentences(found: Found, names: Iterable[str]) -> tuple[str, ...]:
    told = (found[name] for name in names if name in found)
    return tuple(
        f"{finding.metric} is {finding.effect:.2f} of the human baseline [{finding.low:.2f}, {finding.high:.2f}]"
        for finding in told
    )


def _drift_sentence(finding: Finding) -> str:
    what = {
        "psi_domain": "the shares of domains differ from the reservoir's",
        "psi_language": "the shares of languages differ from the reservoir's",
        "word_jsd": "the common words differ from the reservoir's, as in another kind of text",
    }
    return f"{what[finding.metric]}: {finding.metric} is {finding.effect:.3f} beyond chance"
