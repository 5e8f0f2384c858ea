"""Closed forms beside simulated populations, and beside runs that others recorded, with the standard error of each."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.simulate import closed_forms, populations
from collapse_guard.simulate.populations import Runs
from collapse_guard.simulate.recursion import Dials, Workflow, recurse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Plan = Callable[[int], Runs]

WORST_Z = 3.0
CHANCE_BEYOND = math.erfc(WORST_Z / math.sqrt(2))
ZIPF = (1 / np.arange(1, 51)) / (1 / np.arange(1, 51)).sum()
MOST_SETTINGS = 64
LEFT, MISSED = "Trace of Fit Cov / Trace of Init Cov (Numerical)", "Squared Error of Fit Mean (Numerical)"
LANGUAGE_ROUNDS = 4
RUNS_PER_SPREAD = 10
"""A mean is compared where the squared coefficient of variation that theory gives is below runs / 10: of fewer runs,
a mean misses the few large values that it consists of."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One closed form in one setting, and the mean of many replicates of it."""

    form: str
    setting: str
    formula: float
    simulated: float
    error: float
    """Standard error of `simulated`, from its replicates."""
    replicates: int

    @property
    def z(self) -> float:
        """Give the difference in standard errors."""
        return (self.simulated - self.formula) / self.error


def chance_of_a_miss(comparisons: int) -> float:
    """Give the largest chance that one of so many comparisons of true formulas is beyond 3 standard errors."""
    return min(1.0, comparisons * CHANCE_BEYOND)


def compare_simulated(replicates: int, seed: int) -> Iterator[Comparison]:
    """Compare every closed form with its simulation.

    Args:
        replicates: Independent runs of each setting.
        seed: Same replicates and seed: same numbers.

    Yields:
        Form by form, in the order of `closed_forms`.
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(MOST_SETTINGS).tolist())

    def runs(fits: int) -> Runs:
        return Runs(fits, replicates, next(seeds))

    for compare in (_replaced, _accumulated, _categories, _fresh, _shares, _replayed, _lost, _regressions, _weighted):
        yield from compare(runs)


def compare_language(runs: int, seed: int) -> Iterator[Comparison]:
    """Compare the loss of words that were written once with what becomes of them in `recurse`, by unigram models.

    Args:
        runs: Simulations of the same human pages.
        seed: Same runs and seed: same numbers.

    Yields:
        The share that is lost, generation by generation, when each corpus replaces the one before.
    """
    random = np.random.default_rng(seed)
    human = [" ".join(f"w{word}" for word in row) for row in random.zipf(1.3, (100, 100))]
    once = {word for word, count in Counter(" ".join(human).split()).items() if count == 1}
    dials = Dials(pages=len(human), order=1, weights=(1.0,))
    lost = np.empty((runs, LANGUAGE_ROUNDS))
    for run in range(runs):
        way = recurse(
            human,
            dials,
            workflow=Workflow.REPLACE,
            human_share=0,
            rounds=LANGUAGE_ROUNDS,
            seed=int(random.integers(2**63)),
        )
        for generation in islice(way, 1, None):
            lost[run, generation.number - 1] = 1 - len(once.intersection(" ".join(generation.texts).split())) / len(
                once
            )
    for fits in range(1, LANGUAGE_ROUNDS + 1):
        formula = closed_forms.lost_by_replacing(1, fits)
        yield _comparison("5 words lost by unigram models", f"written once, {fits} fits", formula, lost[:, fits - 1])


def compare_recorded(runs: pa.Table) -> Iterator[Comparison]:
    """Compare the closed forms of Gaussians with the runs of Kazdan et al. 2025 (arXiv 2410.16713), dimension 1.

    Args:
        runs: `sweeps=k3mipjqi_runs_histories.parquet` of RylanSchaeffer/KoyejoLab-Collapse-or-Thrive; rows that are
            in it twice count once.

    Yields:
        Variance left and squared error of the mean after 1, 10 and 100 fits, for each workflow and size. Where the
        variance is spread so widely that a mean of so few runs says nothing, only its logarithm is compared.
    """
    frame = runs.to_pandas().drop_duplicates(["run_id", "Model-Fitting Iteration"])
    keys = ["Setting", "Num. Samples per Iteration", "Model-Fitting Iteration"]
    for (workflow, size, fits), group in frame[frame[keys[-1]].isin((1, 10, 100))].groupby(keys):
        setting, left, squared = f"n={size}, {fits} fits", group[LEFT].to_numpy(), group[MISSED].to_numpy()
        if workflow == "Accumulate":
            yield from _accumulating("recorded accumulate", setting, (size, fits), left, squared)
        else:
            yield from _replacing("recorded replace", setting, (size, fits, size), left, squared)


def _replacing(
    name: str, setting: str, key: tuple[int, int, int], left: Floats, squared: Floats
) -> Iterator[Comparison]:
    """Compare variances and squared errors of means; the key is size, fits and divisor."""
    size, fits, _ = key
    if math.expm1(fits * math.log1p(2 / (size - 1))) < left.size / RUNS_PER_SPREAD:  # as of chi-squared factors
        yield _comparison(f"{name}: variance", setting, closed_forms.replaced_variance(*key), left)
    yield _comparison(f"{name}: log variance", setting, closed_forms.replaced_log_variance(*key), np.log(left))
    yield _comparison(f"{name}: squared error of the mean", setting, closed_forms.replaced_mean_error(*key), squared)


def _accumulating(name: str, setting: str, key: tuple[int, int], left: Floats, squared: Floats) -> Iterator[Comparison]:
    formula = closed_forms.accumulated_variance(*key)
    yield _comparison(f"{name}: variance", setting, formula, left)
    yield _comparison(f"{name}: squared error of the mean", setting, 1 - formula, squared)


def _comparison(form: str, setting: str, formula: float, values: Floats) -> Comparison:
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return Comparison(form, setting, formula, float(values.mean()), error, values.size)


def _replaced(runs: Plan) -> Iterator[Comparison]:
    for size, fits, divisor in ((20, 10, 20), (20, 50, 20), (100, 50, 100), (20, 20, 19)):
        means, variances = populations.replaced_gaussians(size, runs(fits), divisor=divisor)
        setting = f"n={size}, {fits} fits, {'maximum likelihood' if divisor == size else 'unbiased'}"
        yield from _replacing("1 replace", setting, (size, fits, divisor), variances[-1], means[-1] ** 2)


def _accumulated(runs: Plan) -> Iterator[Comparison]:
    for size, fits in ((10, 5), (10, 100), (100, 20)):
        means, variances = populations.accumulated_gaussians(size, runs(fits))
        setting = f"n={size}, {fits} fits"
        yield from _accumulating("2 accumulate", setting, (size, fits), variances[-1], means[-1] ** 2)
        squared = populations.accumulated_means(size, runs(fits))[-1] ** 2
        formula = closed_forms.accumulated_mean_error(size, fits)
        yield _comparison("2 accumulate: squared error of the mean", f"{setting}, known variance", formula, squared)


def _categories(runs: Plan) -> Iterator[Comparison]:
    human = 1 - float((ZIPF**2).sum())
    for size, fits in ((10, 10), (50, 20)):
        setting = f"n={size}, {fits} fits, {ZIPF.size} types"
        values = populations.accumulated_categories(ZIPF, size, runs(fits))[-1] / human
        yield _comparison("2 accumulate: diversity", setting, closed_forms.accumulated_variance(size, fits), values)
        values = populations.replaced_categories(ZIPF, size, runs(fits))[-1] / human
        yield _comparison("3 replace: diversity", setting, closed_forms.replaced_variance(size, fits, size), values)


def _fresh(runs: Plan) -> Iterator[Comparison]:
    p, size, fits = 0.3, 50, 60
    for human in (5, 15, 25):
        share = human / size
        setting = f"h={share}, n={size}, {fits} fits"
        values = (populations.fresh_frequencies(p, size, share, runs(fits))[-1] - p) ** 2
        formula = closed_forms.fresh_variance(p, size, share, fits)
        yield _comparison("4 fresh by chance: variance of a frequency", setting, formula, values)
        values = (populations.counted_fresh_frequencies(p, size, human, runs(fits))[-1] - p) ** 2
        formula = closed_forms.counted_fresh_variance(p, size, share, fits)
        yield _comparison("4 fresh by count: variance of a frequency", setting, formula, values)


def _shares(runs: Plan) -> Iterator[Comparison]:
    size = 1000
    for row in closed_forms.human_share_table():
        human = round(row.human_share * size)
        share = human / size
        fits = round(6 / share)  # by then (1 - h)^2 to that power is below 1e-5
        values = populations.fresh_means(human, size - human, share, runs(fits))[-1] ** 2 * size
        formula = closed_forms.variance_inflation(share)
        yield _comparison("fresh share: variance inflation", f"h={share:g}", formula, values)


def _replayed(runs: Plan) -> Iterator[Comparison]:
    size, human, unique, fits = 100, 20, 40, 40
    values = populations.replayed_means(size, human, unique, runs(fits))[-1] ** 2 * size
    formula = closed_forms.replayed_inflation(human / size, size, unique)
    yield _comparison("replayed share: variance inflation", f"h=0.2, n={size}, {unique} unique", formula, values)


def _lost(runs: Plan) -> Iterator[Comparison]:
    p, size = 0.01, 100
    lost = (populations.lineages(1, size, runs(1))[-1] == 0).astype(np.float64)
    yield _comparison("5 lost at once", f"p={p}, n={size}", closed_forms.lost_at_once(p, size), lost)
    for count in (1, 3):
        counts = populations.lineages(count, 10**6, runs(8))
        for fits in (1, 2, 4, 8):
            lost = (counts[fits - 1] == 0).astype(np.float64)
            formula = closed_forms.lost_by_replacing(count, fits)
            yield _comparison("5 lost by replacing", f"first count {count}, {fits} fits", formula, lost)


def _regressions(runs: Plan) -> Iterator[Comparison]:
    key = features, size, fits = 5, 60, 6
    setting = f"d={features}, n={size}, {fits} fits"
    risks = populations.replaced_regressions(features, size, runs(fits))[-1]
    yield _comparison("6 replace: regression risk", setting, closed_forms.replaced_regression_error(*key), risks)
    risks = populations.accumulated_regressions(features, size, runs(fits))[-1]
    yield _comparison("6 accumulate: regression risk", setting, closed_forms.accumulated_regression_error(*key), risks)


def _weighted(runs: Plan) -> Iterator[Comparison]:
    size = 50
    for name, weight in (("1/phi", closed_forms.BEST_WEIGHT), ("0.3", 0.3), ("0.9", 0.9)):
        values = populations.fresh_means(size, size, weight, runs(40))[-1] ** 2 * size
        formula = closed_forms.weighted_variance(weight, size, size) * size
        yield _comparison("7 weighted mean: variance", f"weight {name}, as many human as synthetic", formula, values)
