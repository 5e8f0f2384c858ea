"""Small human text, profiles and findings for tests of the judge."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from collapse_guard.judge import Corpus, Finding, Judgement, Yardstick, judge_profile
from collapse_guard.judge.evidence import Null
from collapse_guard.metrics import METRICS, Profile, Reference, Sample
from collapse_guard.policy import Gate, Judging, Policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from collapse_guard.store import Store

WORDS, COMMON_SHARE = 120, 0.35
EVERYTHING = 10**9
JUDGING = Judging(tokens=8_000, draws=20)
GATES = {
    "rare_coverage": Gate(low=0.5, relative=True, outside="block"),
    "distinct_2": Gate(low=0.5, relative=True, outside="block"),
    "heldout_perplexity": Gate(high=2.0, relative=True, outside="block"),
}


def pages(count: int, seed: int, words: int = WORDS, *, kind: str = "") -> list[str]:
    """Pages of made-up words with frequencies of 1 / (rank + 2), where a word often brings the one that follows it."""
    random = np.random.default_rng([seed, len(kind)])
    weights = 1 / (np.arange(6_000) + 2)
    drawn = random.choice(6_000, (count, words), p=weights / weights.sum())
    follows = random.random((count, words - 1)) < COMMON_SHARE
    drawn[:, 1:] = np.where(follows, drawn[:, :-1] * 7 % 6_000, drawn[:, 1:])
    return [" ".join(f"{kind}w{word}" for word in page) for page in drawn.tolist()]


def table(texts: Sequence[str | None], prefix: str = "d", **labels: str | Sequence[str | None]) -> pa.Table:
    """Documents with ids made of a prefix and a number; a label is one value for all or one for each."""
    count = len(texts)
    columns = {
        name: pa.array([value] * count if isinstance(value, str) else list(value), pa.string())
        for name, value in labels.items()
    }
    ids = pa.array([f"{prefix}{i}" for i in range(count)], pa.string())
    return pa.table({"id": ids, "text": pa.array(texts, pa.large_string()), **columns})


def profile(texts: Sequence[str | None], prefix: str = "d", **labels: str | Sequence[str | None]) -> Profile:
    """The profile of such documents."""
    return Profile.of(table(texts, prefix, **labels), EVERYTHING)


def sample(texts: Sequence[str | None], budget: int = EVERYTHING, **labels: str | Sequence[str | None]) -> Sample:
    """All of such documents, each cut to 256 words."""
    return Sample.of(profile(texts, **labels), budget, 256)


def reference(texts: Sequence[str], heldout: Sequence[str], plain: Sequence[str] = (), **labels: str) -> Reference:
    """Human text to compare with; `plain` is the text itself where it is not given."""
    return Reference(sample(texts), sample(heldout), sample(plain or texts, **labels))


@cache
def human_yardstick(**labels: str) -> Yardstick:
    """A yardstick of 600 made-up pages, and 60 held out."""
    return yardstick(pages(600, 1), pages(60, 2), **labels)


def yardstick(
    human: Sequence[str], heldout: Sequence[str], judging: Judging = JUDGING, **labels: str | Sequence[str]
) -> Yardstick:
    """A yardstick of texts."""
    return Yardstick.from_profiles(profile(human, "human", **labels), profile(heldout, "held"), judging)


def rules(gates: Mapping[str, Gate] | None = None, judging: Judging = JUDGING) -> Policy:
    """A policy with three gates, or others."""
    return Policy(name="p", judging=judging, gates=dict(gates or GATES))


def judged(
    store: Store,
    texts: Sequence[str | None],
    against: Yardstick,
    prefix: str = "d",
    *,
    earlier: Sequence[Mapping[str, Any]] = (),
    gates: Mapping[str, Gate] | None = None,
    **labels: str | Sequence[str | None],
) -> Judgement:
    """The judgement on texts."""
    corpus = Corpus("d" * 64, profile(texts, prefix, **labels), {}, earlier)
    return judge_profile(store, corpus, against, rules(gates, against.judging))


def finding(metric: str, effect: float, sd: float = 0.01, mean: float = 1.0) -> Finding:
    """A finding of an effect, the null having this standard deviation as a share of its mean."""
    ratio = METRICS[metric].scale == "ratio"
    value = effect * mean if ratio else mean + effect
    found = Finding.of(METRICS[metric], value, Null(mean, sd * mean if ratio else sd, (mean,) * 20))
    assert found is not None
    return found


def findings(sd: float = 0.01, **effects: float) -> dict[str, Finding]:
    """Findings of every metric of human text, but for some."""
    human = {
        name: 1.0 if metric.scale == "ratio" else 0.0 for name, metric in METRICS.items() if metric.family != "whole"
    }
    return {name: finding(name, effect, sd) for name, effect in {**human, **effects}.items()}


def said(**effects: float) -> dict[str, Any]:
    """An earlier judgement as JSON, as far as the detector reads it."""
    return {"findings": [vars(finding(name, effect)) for name, effect in effects.items()]}


def within(numbers: Sequence[float], expected: float, errors: float = 3.0) -> bool:
    """Whether the mean of numbers is within so many standard errors of what is expected."""
    return abs(float(np.mean(numbers)) - expected) <= errors * float(np.std(numbers, ddof=1)) / math.sqrt(len(numbers))


def shared_data(here: Path) -> Path:
    """Where the real data is kept, from a test's file in `tests/` or in a folder of it."""
    root = next(parent for parent in here.parents if (parent / "pyproject.toml").exists())
    return root.parent / "shared" / "data"
