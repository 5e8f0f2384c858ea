"""Judge images, or texts by a user's embedder, by their features beside those of human ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse_guard.errors import SignalError
from collapse_guard.judge.evidence import Null, reject
from collapse_guard.judge.findings import OPEN, Finding, State
from collapse_guard.metrics import Metric, Reference, Sample
from collapse_guard.metrics.images import LEAST, SAMPLE, coverage, density, frechet, moments, sample, variance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Rows = NDArray[np.float64]
    Found = Mapping[str, Finding]

LATE, EARLY = 0.5, 0.9
"""Effects below which variety is lost: half of it, or a tenth."""
FURTHEST = 3.0
"""Standard deviations of human documents; what is further off counts as this far."""


def _given(sample: Sample, reference: Reference) -> None:
    """Features are no text: `judge_features` computes these metrics."""
    del sample, reference


NAEEM, HEUSEL = "Naeem et al. 2020", "Dowson & Landau 1982; Heusel et al. 2017"
METRICS = {
    metric.kind: metric
    for metric in (
        Metric("coverage", "spread", "share", NAEEM, "Share of human documents that have one near.", _given),
        Metric("density", "composition", "neighbours", NAEEM, "Human documents near one, as expected = 1.", _given),
        Metric("frechet", "composition", "variances", HEUSEL, "Distance of mean and covariance.", _given),
        Metric("variance", "spread", "variances", "Shumailov et al. 2024", "Sum of the features' variances.", _given),
        Metric("generalised_variance", "spread", "variances", "Wilks 1932", "Mean log eigenvalue, as power.", _given),
    )
}
"""What features are judged by; every effect is a ratio to human draws."""
_SAME = 1e-9
"""Differences below this, relative to the feature, are rounding."""
_LARGEST = 1e100
"""The squares of larger numbers have no sum."""
SPREAD = ("variance", "generalised_variance")
LOSSES = ("coverage", *SPREAD)
NEEDED = ("frechet", *LOSSES)
"""Without these a state cannot be told."""


@dataclass(frozen=True)
class FeatureJudgement:
    """The verdict about features: a state, why, the findings, and how many documents a side gave to each comparison."""

    state: State
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    documents: int

    @property
    def passed(self) -> bool:
        """Whether the state is OK or EARLY."""
        return self.state in OPEN

    def to_json(self) -> dict[str, Any]:
        """The verdict in the form of `judge-features --json`."""
        told = ("value", "mean", "effect", "low", "high", "z", "p_value", "log_e")
        findings = [{"name": one.metric, **{name: getattr(one, name) for name in told}} for one in self.findings]
        said = {"state": self.state, "reasons": list(self.reasons), "passed": self.passed}
        return {**said, "findings": findings, "documents": self.documents}


def judge_features(features: Rows, reference: Rows, *, draws: int = 200, seed: int = 0) -> FeatureJudgement:
    """Judge features beside human ones, by what human-only draws of the same size give.

    One half of the reference, which a permutation decides, is what all are compared with; from the other half come the
    draws. The result depends on no order.

    Args:
        features: Shape (n, d).
        reference: Shape (m, d), of human documents, m >= 200 to judge anything.
        draws: How many human-only draws, at least 2.
        seed: Of the halves and of the draws.

    Returns:
        The verdict; INCONCLUSIVE below 50 documents on a side.

    Raises:
        SignalError: Features are no finite rows of one length.
    """
    ours, theirs = _checked(features, "the corpus"), _checked(reference, "the reference")
    theirs = np.random.default_rng(seed).permutation(sample(theirs, len(theirs)))
    human, pool = theirs[: len(theirs) // 2], theirs[len(theirs) // 2 :]
    size = min(len(ours), len(pool) // 2, SAMPLE)
    if size < LEAST:
        return FeatureJudgement("INCONCLUSIVE", (_too_few(len(ours), len(theirs), size),), (), size)
    if ours.shape[1] != theirs.shape[1]:
        raise SignalError(f"features have {ours.shape[1]} numbers, the reference's {theirs.shape[1]}; use one embedder")
    ours, human, pool = _scaled(human, (ours, human, pool))
    near = sample(human, size)
    rows = [_one_draw(near, pool, seed, number) for number in range(draws)]
    found = _compare(_measure(sample(ours, size), near), rows, size / len(pool))
    state, reasons = decide_features(found)
    return FeatureJudgement(state, reasons, tuple(found.values()), size)


def _checked(features: Rows, whose: str) -> Rows:
    rows = np.asarray(features, np.float64) + 0.0  # no minus zero, which would be another row
    if rows.ndim != 2 or not (np.abs(rows) < _LARGEST).all():  # noqa: PLR2004 - rows of numbers; NaN is not less
        raise SignalError(
            f"features of {whose}, of shape {rows.shape}, are no rows of finite numbers below {_LARGEST:g}"
        )
    return rows


def _too_few(ours: int, theirs: int, size: int) -> str:
    return (
        f"too few documents: {size} could be compared ({ours} in the corpus, a quarter of {theirs} in the reference), "
        f"{LEAST} are needed"
    )


def _scaled(human: Rows, sides: Sequence[Rows]) -> list[Rows]:
    """Each side with features of mean 0 and variance 1 in human documents."""
    scale = np.maximum(human.std(axis=0), _SAME * (1 + np.abs(human).max(axis=0)))
    return [(side - human.mean(axis=0)) / scale for side in sides]


def _clipped(rows: Rows) -> Rows:
    """Else a feature that hardly ever varies would make the variance of a few documents that of all."""
    return np.clip(rows, -FURTHEST, FURTHEST)


def _measure(features: Rows, human: Rows) -> dict[str, float]:
    ours, theirs = _clipped(features), _clipped(human)
    spread = variance(moments(_clipped(features - np.median(features, axis=0))))
    return {
        "coverage": coverage(ours, theirs),
        "density": density(ours, theirs),
        "frechet": frechet(moments(ours), moments(theirs)),
        "variance": spread.trace,
        "generalised_variance": math.exp(spread.log_det),
    }


def _one_draw(human: Rows, pool: Rows, seed: int, number: int) -> dict[str, float]:
    random = np.random.default_rng([seed, number])
    return _measure(pool[random.choice(len(pool), len(human), replace=False)], human)


def _compare(values: Mapping[str, float], draws: Sequence[Mapping[str, float]], share: float) -> Found:
    """The metrics that could be measured, here and in every draw, and that vary among the draws."""
    found = {}
    for name, value in values.items():
        null = Null.of(np.array([draw[name] for draw in draws], np.float64), share)
        if null is not None and null.sd > 0:
            found[name] = Finding.of(METRICS[name], value, null)
    return {name: finding for name, finding in found.items() if finding is not None}


def decide_features(found: Found) -> tuple[State, tuple[str, ...]]:
    """Tell fewer documents from other documents, and late from early; gives the state and why, in plain words."""
    missing = [name for name in NEEDED if name not in found]
    if missing:
        return "INCONCLUSIVE", (f"could not be measured, or is the same in every human draw: {', '.join(missing)}",)
    if any(found[name].below(LATE) for name in SPREAD):
        return "LATE", _told(found, LATE)
    if _others(found):
        return "COMPOSITION_DRIFT", ("other documents than in the reference, not fewer kinds of them",)
    late = [found[name].below(LATE) for name in LOSSES]
    if True in late:
        return "LATE", _told(found, LATE)
    if None in late:
        return "INCONCLUSIVE", ("too close to late collapse to tell",)
    rejected = reject({name: finding.log_e for name, finding in found.items()})
    early = _told({name: found[name] for name in LOSSES if name in rejected}, EARLY)
    return ("EARLY", early) if early else ("OK", ())


def _told(found: Found, bound: float) -> tuple[str, ...]:
    """What is below a bound for certain."""
    return tuple(
        f"{name} is {found[name].effect:.2f} of human draws [{found[name].low:.2f}, {found[name].high:.2f}]"
        for name in LOSSES
        if name in found and found[name].below(bound)
    )


def _others(found: Found) -> bool:
    """Whether the features lie elsewhere, and vary as much."""
    moved = found["frechet"].above(1.0) and found["coverage"].below(EARLY)
    return bool(moved) and all(found[name].below(EARLY) is not True for name in SPREAD)
