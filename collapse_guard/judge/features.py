"""Judge images, or texts by a user's embedder, by their features beside those of human ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.embedding import embed
from collapse_guard.engine import LocalEngine
from collapse_guard.errors import SignalError
from collapse_guard.images.reading import read_features, read_images
from collapse_guard.images.schema import ORIGINALS_ROLE
from collapse_guard.judge.evidence import Null, reject
from collapse_guard.judge.findings import OPEN, Finding, State
from collapse_guard.metrics import Metric, Reference, Sample
from collapse_guard.metrics.images import LEAST, SAMPLE, image_metrics, sample
from collapse_guard.reservoir import HUMAN, LOG
from collapse_guard.selection import priorities
from collapse_guard.snapshot import read_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

    Rows = NDArray[np.float64]
    Found = Mapping[str, Finding]

MOST_IMAGES = 4 * SAMPLE
"""With more images a reference gives no larger draws, nor a corpus a larger sample."""
MOST_TEXTS = 2000
LATE, EARLY = 0.5, 0.9
"""Effects below which variety is lost: half of it, or a tenth."""
SEED = 0
"""Of the order in which documents are taken."""


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
SPREAD = ("variance", "generalised_variance")


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
        return {
            "state": self.state,
            "reasons": list(self.reasons),
            "passed": self.passed,
            "findings": findings,
            "documents": self.documents,
        }


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
        The verdict; INCONCLUSIVE where fewer than 50 documents could be compared.

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
    rows = list(LocalEngine().map(partial(_one_draw, human, pool, size, seed), range(draws)))
    found = _compare(_measure(sample(ours, size), human), rows, size / len(pool))
    state, reasons = decide_features(found)
    return FeatureJudgement(state, reasons, tuple(found.values()), size)


def _checked(features: Rows, whose: str) -> Rows:
    rows = np.asarray(features, np.float64) + 0.0  # no minus zero, which would be another row
    if rows.ndim != 2 or not np.isfinite(rows).all():  # noqa: PLR2004 - rows of numbers
        raise SignalError(f"features of {whose}, of shape {rows.shape}, are no rows of finite numbers; nothing is judged")
    return rows


def _too_few(ours: int, theirs: int, size: int) -> str:
    return (
        f"too few documents: {size} could be compared ({ours} in the corpus, a quarter of {theirs} in the reference), "
        f"{LEAST} are needed"
    )


def _measure(features: Rows, human: Rows) -> dict[str, float | None]:
    found = {name.removeprefix("image_"): value for name, value in image_metrics(features, human).items()}
    volume = found.pop("log_det")
    return {**found, "generalised_variance": None if volume is None else math.exp(volume)}


def _one_draw(human: Rows, pool: Rows, size: int, seed: int, number: int) -> dict[str, float | None]:
    random = np.random.default_rng([seed, number])
    return _measure(pool[random.choice(len(pool), size, replace=False)], human)


def _compare(values: Mapping[str, float | None], draws: Sequence[Mapping[str, float | None]], share: float) -> Found:
    """The metrics that could be measured, here and in every draw, and that vary among the draws."""
    found = {}
    for name, value in values.items():
        null = Null.of(np.array([draw[name] for draw in draws], np.float64), share)
        if value is not None and null is not None and null.sd > 0:
            found[name] = Finding.of(METRICS[name], value, null)
    return {name: finding for name, finding in found.items() if finding is not None}


def decide_features(found: Found) -> tuple[State, tuple[str, ...]]:
    """Tell fewer pictures from other pictures, and late from early.

    Args:
        found: The findings by metric.

    Returns:
        The state, and the findings that led to it in plain words.
    """
    missing = [name for name in METRICS if name not in found]
    if missing:
        return "INCONCLUSIVE", (f"could not be measured, or is the same in every human draw: {', '.join(missing)}",)
    lost = [found[name].below(LATE) for name in SPREAD]
    told = tuple(map(_sentence, found.values()))
    if True in lost:
        return "LATE", told
    if _others(found):
        return "COMPOSITION_DRIFT", ("other documents than in the reference, not fewer kinds of them", *told)
    lost.append(found["coverage"].below(LATE))
    if True in lost:
        return "LATE", told
    if None in lost:
        return "INCONCLUSIVE", ("too close to late collapse to tell", *told)
    rejected = reject({name: finding.log_e for name, finding in found.items()})
    early = any(found[name].below(EARLY) and name in rejected for name in ("coverage", *SPREAD))
    return "EARLY" if early else "OK", told


def _others(found: Found) -> bool:
    """Whether the features lie elsewhere, and vary as much."""
    moved = found["frechet"].above(1.0) and found["coverage"].below(EARLY)
    return bool(moved) and all(found[name].below(EARLY) is not True for name in SPREAD)


def _sentence(finding: Finding) -> str:
    return f"{finding.metric} is {finding.effect:.2f} of human draws [{finding.low:.2f}, {finding.high:.2f}]"


def image_features(store: Store, snapshot: Snapshot, embedder: str | None = None, most: int = MOST_IMAGES) -> Rows:
    """Read what images look like: the first ones by hash priority.

    Args:
        store: Holds them.
        snapshot: One of documents.
        embedder: `package.module:function` over the files' bytes; without it the stored features are taken.
        most: How many images at most.

    Returns:
        Shape (n, d), one row per image.

    Raises:
        SignalError: The embedder raised or gave something else than finite rows of one length; names the document.
    """
    if embedder is None:
        ids, features = read_features(store, snapshot)
        return np.asarray(features[_first(ids, most)], np.float64)
    ids = [name for table in read_images(store, snapshot, ["id"]) for name in table["id"].to_pylist()]
    chosen = pa.array(ids, pa.string()).take(pa.array(_first(ids, most)))
    parts: list[Rows] = []
    for table in read_rows(store, snapshot.with_role(ORIGINALS_ROLE), ["id", "data"]):
        wanted = table.filter(pc.is_in(table["id"], chosen))
        parts += [_embedded(wanted, embedder)] if wanted.num_rows else []
        if parts and parts[-1].shape[1] != parts[0].shape[1]:
            widths, at = (parts[-1].shape[1], parts[0].shape[1]), wanted["id"][0].as_py()
            raise SignalError(f"the embedder {embedder!r} gave {widths[0]} numbers at document {at!r}, {widths[1]} before")
    return np.concatenate(parts) if parts else np.empty((0, 0))


def _embedded(documents: pa.Table, embedder: str) -> Rows:
    return embed(documents[1].to_pylist(), embedder, ids=documents["id"].to_pylist())


def _first(ids: Sequence[str], most: int) -> NDArray[np.int64]:
    return np.argsort(priorities(ids, SEED), kind="stable")[:most]


def text_features(store: Store, snapshot: Snapshot, embedder: str, most: int = MOST_TEXTS) -> Rows:
    """Ask a user's embedder for the features of texts: of the first ones by hash priority.

    Args:
        store: Holds them.
        snapshot: One of documents, a candidate, or a state of a reservoir, of which the human split is read.
        embedder: `package.module:function` over texts.
        most: How many texts at most; documents without text do not count.

    Returns:
        Shape (n, d), one row per document.

    Raises:
        SignalError: The embedder raised or gave something else than finite rows of one length; names the document.
    """
    role = HUMAN if snapshot.kind == LOG else "documents"
    kept = pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.large_string())})
    for table in read_rows(store, snapshot.with_role(role), ["id", "text"]):
        written = table.filter(pc.greater(pc.binary_length(table["text"]), 0)).cast(kept.schema)
        both = pa.concat_tables([kept, written])
        kept = both.take(pa.array(_first(both["id"].to_pylist(), most)))
    return _embedded(kept, embedder)
