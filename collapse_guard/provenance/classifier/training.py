"""Training a classifier on human and synthetic texts, and saying how good it is on texts that it has not seen."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from collapse_guard.kernels.classifier.linear import Problem, Scores, Weights, fit, scales_of, score_counted
from collapse_guard.provenance.classifier.calibration import calibrate
from collapse_guard.provenance.classifier.evaluation import by_length, discrimination, slices
from collapse_guard.provenance.classifier.examples import FEWEST, Examples, prepare, usable
from collapse_guard.provenance.classifier.model import Facts, Model, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    import pyarrow as pa
    from numpy.typing import NDArray

MOST_HELD_OUT = 12
"""Domains, and generators, that are left out one by one: those with most texts."""

_LABELS = (b"human", b"synthetic")


def train(human: pa.Table, synthetic: pa.Table, settings: Settings | None = None) -> Model:
    """Train a classifier; the order of the rows does not matter.

    A text that occurs twice is used once; one that is both human and synthetic is not used. Texts of one group (column
    `group`; else one domain, where there are enough domains) are held out together.

    The report of the model (`facts.report`) says: the texts that were used and removed; AUC and the share of synthetic
    texts found at 1 % false positives, on held-out texts, all and by length, with each domain left out and with each
    generator left out; and by domain, language and length, how many human texts have a p-value of at most 1 %.

    Args:
        human: Columns `id`, `text` and `domain`, and where known `language` and `group`.
        synthetic: The same, and where known `generator`.
        settings: How; by default as `Settings` says.

    Returns:
        The model.

    Raises:
        UsageError: A column is missing, or a class has too few different texts that are long enough.
    """
    settings = settings or Settings()
    examples = prepare(human, synthetic, settings)
    learner = _Learner(examples, settings)
    everything = np.arange(examples.table.num_rows)
    costs = [(discrimination(learner.held_out(cost).logits, examples.synthetic), cost) for cost in settings.costs]
    best = max(costs, key=lambda tried: (tried[0]["auc"], -tried[1]))[1]
    held_out = learner.held_out(best)
    calibration = calibrate(held_out.logits, held_out.words, examples.synthetic)
    report = {
        **_texts_used(examples),
        "costs": [{"cost": cost, "auc": found["auc"]} for found, cost in costs],
        "cost": best,
        "held_out": discrimination(held_out.logits, examples.synthetic),
        "by_length": by_length(held_out, examples.synthetic),
        "domain_left_out": learner.without_each_domain(best),
        "generator_left_out": learner.without_each_generator(best),
        "human_slices": slices(examples.table, held_out, calibration),
    }
    facts = Facts(
        least_coverage=float(np.quantile(held_out.coverage, settings.novelty)),
        languages=tuple(sorted(set(examples.table["language"].drop_null().to_pylist()))),
        trained_on=_digest_of(examples.table),
        report=report,
    )
    return Model(settings, learner.fit(everything, best), calibration, facts)


def _texts_used(examples: Examples) -> dict[str, Any]:
    synthetic = int(examples.synthetic.sum())
    used = {"human": examples.table.num_rows - synthetic, "synthetic": synthetic}
    return {"texts": used, "removed": examples.removed, "grouped_by": examples.grouped_by}


def _digest_of(table: pa.Table) -> str:
    labels = table["synthetic"].to_pylist()
    lines = (_LABELS[label] + digest for label, digest in zip(labels, table["digest"].to_pylist(), strict=True))
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


class _Learner:
    """Trains on parts of the examples."""

    def __init__(self, examples: Examples, settings: Settings) -> None:
        self._examples, self._settings = examples, settings
        self._scales = scales_of(examples.ngrams)
        self._held_out: dict[float, Scores] = {}

    def fit(self, order: NDArray[np.int64], cost: float) -> Weights:
        """Train on some examples, both classes weighted alike."""
        synthetic = self._examples.synthetic
        share = synthetic[order].mean()
        costs = np.where(synthetic, cost / (2 * share), cost / (2 * (1 - share)))
        signs = np.where(synthetic, 1.0, -1.0)
        problem = Problem(self._examples.ngrams, self._scales, signs, costs)
        return fit(problem, order, self._settings.bits, seed=self._settings.seed)

    def held_out(self, cost: float) -> Scores:
        """Score every example by a model that was trained without its fold."""
        if cost not in self._held_out:
            self._held_out[cost] = self._apart(np.ones(self._examples.folds.size, np.bool_), cost)
        return self._held_out[cost]

    def _apart(self, known: NDArray[np.bool_], cost: float) -> Scores:
        """Score every example by a model that was trained on the `known` examples of the other folds."""
        folds = self._examples.folds
        out = Scores(np.zeros(folds.size), np.zeros(folds.size), np.zeros(folds.size, np.int64))
        for fold in range(self._settings.folds):
            weights = self.fit(np.flatnonzero((folds != fold) & known), cost)
            rows = np.flatnonzero(folds == fold)
            for column, found in zip(out, score_counted(self._examples.ngrams, rows, weights), strict=True):
                column[rows] = found
        return out

    def without_each_domain(self, cost: float) -> list[dict[str, Any]]:
        """Train without a domain and test on it, domain by domain."""
        return [
            {"domain": domain, **self._transfer(rows, cost)}
            for domain, rows in _largest(self._examples.table["domain"])
            if _both(self._examples.synthetic[~rows])
        ]

    def _transfer(self, rows: NDArray[np.bool_], cost: float) -> dict[str, Any]:
        weights = self.fit(np.flatnonzero(~rows), cost)
        found = score_counted(self._examples.ngrams, np.flatnonzero(rows), weights)
        return discrimination(found.logits, self._examples.synthetic[rows])

    def without_each_generator(self, cost: float) -> list[dict[str, Any]]:
        """Train without a generator and test on it and on people, generator by generator, fold by fold."""
        human, found = ~self._examples.synthetic, []
        for generator, rows in _largest(self._examples.table["generator"]):
            if usable(self._examples.folds[~rows], self._examples.synthetic[~rows]):
                logits = self._apart(~rows, cost).logits[rows | human]
                found.append({"generator": generator, **discrimination(logits, rows[rows | human])})
        return found


def _both(labels: NDArray[np.bool_]) -> bool:
    return FEWEST <= int(labels.sum()) <= labels.size - FEWEST


def _largest(column: pa.ChunkedArray) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Give the most frequent values of a column, in their order, and the rows of each."""
    counts = Counter(column.drop_null().to_pylist())
    for value in sorted(sorted(counts, key=lambda name: (-counts[name], name))[:MOST_HELD_OUT]):
        yield value, pc.fill_null(pc.equal(column, value), fill_value=False).to_numpy()
