"""Recursive fits of the simplest models, many replicates side by side: what the closed forms are compared with.

Every function draws from one seeded generator and gives one row per fit, the first on human samples only, and one
column per replicate. Human samples are standard normal, or have the frequencies that are passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Runs:
    """How many simulations of how many fits; the same numbers give the same runs."""

    fits: int
    replicates: int
    seed: int

    def random(self) -> np.random.Generator:
        """Start the generator of all draws."""
        return np.random.default_rng(self.seed)


class GaussianFits(NamedTuple):
    """Fitted means and variances, shape (fits, replicates) each."""

    means: Floats
    variances: Floats


def replaced_gaussians(size: int, runs: Runs, *, divisor: int) -> GaussianFits:
    """Fit Gaussians, each to samples of the one before it alone.

    Args:
        size: Samples of each fit.
        runs: How many, how long.
        divisor: What the sum of squares is divided by: `size` for maximum likelihood, `size - 1` for no bias.

    Returns:
        All fits.
    """
    random = runs.random()
    means, variances = np.zeros((runs.fits + 1, runs.replicates)), np.ones((runs.fits + 1, runs.replicates))
    for fit in range(1, runs.fits + 1):
        samples = random.normal(means[fit - 1], np.sqrt(variances[fit - 1]), (size, runs.replicates))
        means[fit], variances[fit] = samples.mean(axis=0), samples.var(axis=0) * size / divisor
    return GaussianFits(means[1:], variances[1:])


def accumulated_gaussians(size: int, runs: Runs) -> GaussianFits:
    """Fit Gaussians by maximum likelihood, each to all samples so far: those of people and of every fit before.

    Args:
        size: New samples for each fit.
        runs: How many, how long.

    Returns:
        All fits.
    """
    random = runs.random()
    means, variances = np.zeros((runs.fits + 1, runs.replicates)), np.ones((runs.fits + 1, runs.replicates))
    sums, squares = np.zeros(runs.replicates), np.zeros(runs.replicates)
    for fit in range(1, runs.fits + 1):
        samples = random.normal(means[fit - 1], np.sqrt(variances[fit - 1]), (size, runs.replicates))
        sums += samples.sum(axis=0)
        squares += (samples**2).sum(axis=0)
        means[fit] = sums / (fit * size)
        variances[fit] = squares / (fit * size) - means[fit] ** 2
    return GaussianFits(means[1:], variances[1:])


def accumulated_means(size: int, runs: Runs) -> Floats:
    """Means of all samples so far, where the variance is known to be 1; shape (fits, replicates)."""
    random = runs.random()
    means = np.zeros((runs.fits + 1, runs.replicates))
    for fit in range(1, runs.fits + 1):
        new = random.normal(means[fit - 1], 1, (size, runs.replicates)).mean(axis=0)
        means[fit] = means[fit - 1] + (new - means[fit - 1]) / fit
    return means[1:]


def replaced_categories(frequencies: Floats, size: int, runs: Runs) -> Floats:
    """Diversity 1 - sum(p^2) of categorical fits, each to samples of the one before; shape (fits, replicates)."""
    return _categories(frequencies, size, runs, lambda _, new: new)


def accumulated_categories(frequencies: Floats, size: int, runs: Runs) -> Floats:
    """Diversity 1 - sum(p^2) of categorical fits, each to all samples so far; shape (fits, replicates)."""
    return _categories(frequencies, size, runs, lambda pool, new: pool + new)


def _categories(frequencies: Floats, size: int, runs: Runs, keep: Callable[[Ints, Ints], Ints]) -> Floats:
    random = runs.random()
    fitted = np.broadcast_to(frequencies, (runs.replicates, frequencies.size))
    pool = np.zeros(fitted.shape, dtype=np.int64)
    diversity = np.empty((runs.fits, runs.replicates))
    for fit in range(runs.fits):
        pool = keep(pool, random.multinomial(size, fitted))
        fitted = pool / pool.sum(axis=1, keepdims=True)
        diversity[fit] = 1 - (fitted**2).sum(axis=1)
    return diversity


def fresh_frequencies(p: float, size: int, human_share: float, runs: Runs) -> Floats:
    """Frequencies of a type when each sample of a later fit is human by chance; shape (fits, replicates)."""
    random = runs.random()
    fitted = np.full((runs.fits + 1, runs.replicates), p)
    for fit in range(1, runs.fits + 1):
        fitted[fit] = random.binomial(size, human_share * p + (1 - human_share) * fitted[fit - 1]) / size
    return fitted[1:]


def counted_fresh_frequencies(p: float, size: int, human: int, runs: Runs) -> Floats:
    """Frequencies of a type when exactly so many samples of a later fit are human; shape (fits, replicates)."""
    random = runs.random()
    fitted = np.full((runs.fits + 1, runs.replicates), p)
    for fit in range(1, runs.fits + 1):
        written = random.binomial(size - human, fitted[fit - 1])
        fitted[fit] = (random.binomial(human, p, runs.replicates) + written) / size
    return fitted[1:]


def fresh_means(human: int, synthetic: int, weight: float, runs: Runs) -> Floats:
    """Means that weigh fresh human samples against those of the fit before, of variance 1; shape (fits, replicates).

    Args:
        human: Human samples of each later fit.
        synthetic: Synthetic samples of each later fit.
        weight: Weight of the human mean; human / (human + synthetic) is the plain mean of all.
        runs: How many, how long.

    Returns:
        The means. That of k samples is drawn at once, since it is normal with variance 1 / k.
    """
    random = runs.random()
    means = np.empty((runs.fits, runs.replicates))
    means[0] = random.normal(0, (human + synthetic) ** -0.5, runs.replicates)
    for fit in range(1, runs.fits):
        written = random.normal(means[fit - 1], synthetic**-0.5)
        means[fit] = weight * random.normal(0, human**-0.5, runs.replicates) + (1 - weight) * written
    return means


def replayed_means(size: int, human: int, unique: int, runs: Runs) -> Floats:
    """Means of samples of which some are drawn, with repeats, from the same few human ones; (fits, replicates).

    Args:
        size: Samples of each fit.
        human: Those of them that come from the reservoir.
        unique: Samples in the reservoir.
        runs: How many, how long; each run has a reservoir of its own.

    Returns:
        The means, of samples with variance 1.
    """
    random = runs.random()
    reservoir = random.normal(size=(unique, runs.replicates))
    means = np.empty((runs.fits, runs.replicates))
    means[0] = random.normal(0, size**-0.5, runs.replicates)
    for fit in range(1, runs.fits):
        drawn = np.take_along_axis(reservoir, random.integers(unique, size=(human, runs.replicates)), axis=0)
        written = random.normal(means[fit - 1], (size - human) ** -0.5)
        means[fit] = (drawn.sum(axis=0) + (size - human) * written) / size
    return means


def lineages(count: int, size: int, runs: Runs) -> Ints:
    """Samples of a type that had so many in the first corpus, fit by fit; shape (fits, replicates)."""
    random = runs.random()
    counts = np.full((runs.fits + 1, runs.replicates), count)
    for fit in range(1, runs.fits + 1):
        counts[fit] = random.binomial(size, counts[fit - 1] / size)
    return counts[1:]


def replaced_regressions(features: int, size: int, runs: Runs) -> Floats:
    """Excess risks of linear regressions, each on targets that the one before wrote; shape (fits, replicates).

    Args:
        features: Independent standard normal features, drawn afresh for each fit.
        size: Samples of each fit.
        runs: How many, how long.

    Returns:
        Squared distances from the true coefficients; the noise has variance 1.
    """
    return _regressions(features, size, runs, lambda _, new: new)


def accumulated_regressions(features: int, size: int, runs: Runs) -> Floats:
    """Excess risks of linear regressions, each on all targets so far; arguments as of `replaced_regressions`."""
    return _regressions(features, size, runs, lambda pool, new: pool + new)


def _regressions(features: int, size: int, runs: Runs, keep: Callable[[Floats, Floats], Floats]) -> Floats:
    """Keep the normal equations: X'X with X'y as its last column."""
    random = runs.random()
    fitted = np.zeros((runs.replicates, features, 1))  # the truth, without loss of generality
    equations = np.zeros((runs.replicates, features, features + 1))
    risks = np.empty((runs.fits, runs.replicates))
    for fit in range(runs.fits):
        design = random.normal(size=(runs.replicates, size, features))
        targets = design @ fitted + random.normal(size=(runs.replicates, size, 1))
        new = design.transpose(0, 2, 1) @ np.concatenate([design, targets], axis=2)
        equations = keep(equations, new)
        fitted[:] = np.linalg.solve(equations[..., :-1], equations[..., -1:])
        risks[fit] = (fitted**2).sum(axis=(1, 2))
    return risks
