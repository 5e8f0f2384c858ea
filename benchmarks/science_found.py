"""What the parts of benchmarks/science.py find, and how they tell it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import mean
from typing import TYPE_CHECKING, Any

from collapse_guard.judge.evidence import log_mean, reject
from collapse_guard.metrics import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks.rows import Row
    from collapse_guard.judge import Judgement
    from collapse_guard.judge.findings import Finding

    Table = list[list[str]]

NAME = "science"
SHOWN = (
    "rare_coverage",
    "distinct_2",
    "missing_mass",
    "repeated_4grams",
    "self_bleu",
    "entropy_2",
    "feature_variance",
    "vendi",
    "heldout_perplexity",
    "reverse_perplexity",
    "word_jsd",
)


@dataclass(frozen=True)
class Size:
    """How much is drawn."""

    splits: int = 10
    draws: int = 50
    domain_draws: int = 5
    replace_seeds: int = 50
    accumulate_seeds: int = 20
    seeds: int = 10
    rounds: int = 8
    power_draws: int = 20
    large_draws: int = 5
    dial_seeds: int = 5


SHORT = Size(1, 4, 1, 2, 1, 1, 2, 1, 0, 1)


@dataclass(frozen=True)
class Found:
    """Tables by name, the first row of each being its head, and numbers that something was asked of."""

    tables: dict[str, Table] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def percent(share: float) -> str:
    return f"{share:.1%}" if 0 < share < 0.1 or 0.9 < share < 1 else f"{share:.0%}"  # noqa: PLR2004 - two digits


def share_of(judgements: Sequence[Judgement], holds: Callable[[Judgement], bool]) -> float:
    return mean(map(holds, judgements))


def findings(judgement: Judgement) -> dict[str, Finding]:
    return {finding.metric: finding for finding in judgement.findings}


def evident(found: Mapping[str, Finding]) -> set[str]:
    """Families that e-BH rejects, however small the effect."""
    log_e = {
        family: [one.log_e for one in found.values() if one.family == family]
        for family in FAMILIES
        if any(one.family == family for one in found.values())
    }
    return reject({family: log_mean(logs) for family, logs in log_e.items()})


def told_range(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if values else ""


def told_states(states: Iterable[str]) -> str:
    counts = Counter(states).most_common()
    return ", ".join(f"{state} {count}" for state, count in counts) if len(counts) > 1 else counts[0][0]
