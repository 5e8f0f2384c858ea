"""What theory says of recursive training: how fast variance, rare types and accuracy go, and what human text restores.

Variances and squared errors are in units of the human variance; `size` counts the samples of each fit. A first fit
sees human samples only; every later fit sees what the fit before it produced, alone or beside earlier or human samples.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from collapse_guard.errors import UsageError

BEST_WEIGHT = (math.sqrt(5) - 1) / 2
"""Weight of human samples with the least variance, for as many fresh human as synthetic samples in each fit: 1 / phi.

Source: He, Xu and Cheng 2025, arXiv 2502.18049."""

REPEATS_SCALE = 15.4
"""R* of `value_of_repeats`. Source: fit of Muennighoff et al. 2023, arXiv 2305.16264."""


def replaced_variance(size: int, fits: int, divisor: int) -> float:
    """Expected variance after so many fits, each on samples of the one before it alone.

    With `divisor=size` it holds for the diversity 1 - sum(p^2) of a categorical distribution too.

    Args:
        size: Samples of each fit.
        fits: Fits so far, the first on human samples.
        divisor: What the sum of squares is divided by: `size` for maximum likelihood, `size - 1` for no bias.

    Returns:
        ((size - 1) / divisor)^fits.

    Source:
        Shumailov et al. 2024, Nature 631:755, theorem 3.1; the law of total variance.
    """
    return ((size - 1) / divisor) ** fits


def replaced_log_variance(size: int, fits: int, divisor: int) -> float:
    """Expected logarithm of the variance after so many fits: it falls even where the variance has no bias.

    Returns:
        fits * (psi((size - 1) / 2) - ln(divisor / 2)), from the chi-squared law of a Gaussian sample variance.
    """
    return fits * (_digamma_of_half(size - 1) - math.log(divisor / 2))


def replaced_mean_error(size: int, fits: int, divisor: int) -> float:
    """Expected squared error of a Gaussian's mean after so many fits: the sum of 1 / size of each variance before."""
    return sum(replaced_variance(size, fit, divisor) for fit in range(fits)) / size


def accumulated_variance(size: int, fits: int) -> float:
    """Expected variance (or categorical diversity) of a maximum-likelihood fit to all samples so far.

    Returns:
        The product of 1 - 1 / (size k^2) for k = 1 ... fits.

    Source:
        Derived as in Kazdan et al. 2025, arXiv 2410.16713: the mean of the pool moves by 1 / k of a sample's.
    """
    return math.prod(1 - 1 / (size * k * k) for k in range(1, fits + 1))


def accumulated_variance_limit(size: int) -> float:
    """Expected variance of the pool after endless fits: sin(x) / x at x = pi / sqrt(size), by Euler's product."""
    x = math.pi / math.sqrt(size)
    return math.sin(x) / x


def accumulated_mean_error(size: int, fits: int) -> float:
    """Expected squared error of the mean of all samples so far, where the variance is known.

    Returns:
        The sum of 1 / (size k^2), below pi^2 / 6 times that of human samples alone. Where the variance is fitted too,
        it is 1 - `accumulated_variance`, which is less.

    Source:
        Dey and Donoho 2024, arXiv 2410.22812.
    """
    return sum(1 / (size * k * k) for k in range(1, fits + 1))


def fresh_variance(p: float, size: int, human_share: float, fits: int) -> float:
    """Variance of a type's frequency when each sample of a fit is human by chance, synthetic otherwise.

    Args:
        p: Human frequency of the type.
        size: Samples of each fit.
        human_share: Chance that a sample is human and fresh.
        fits: Fits so far, the first on human samples.

    Returns:
        The sum of p(1-p)/size times ((1-h)^2 (1-1/size))^k over k below `fits`.
    """
    ratio = (1 - human_share) ** 2 * (1 - 1 / size)
    return p * (1 - p) / size * _powers(ratio, fits)


def counted_fresh_variance(p: float, size: int, human_share: float, fits: int) -> float:
    """Variance of a type's frequency when exactly that share of the samples of each fit is human and fresh."""
    ratio = (1 - human_share) ** 2 - (1 - human_share) / size
    return p * (1 - p) / size * _powers(ratio, fits)


def _powers(ratio: float, fits: int) -> float:
    """Sum the powers 0 ... fits - 1."""
    return fits if math.isclose(ratio, 1) else (1 - ratio**fits) / (1 - ratio)


def effective_share(human_share: float) -> float:
    """Effective samples per sample in the long run, when a share of each fit's samples is human and fresh.

    Returns:
        1 - (1 - h)^2: 19 % at h = 0.1, 51 % at 0.3, 75 % at 0.5.
    """
    return 1 - (1 - human_share) ** 2


def variance_inflation(human_share: float) -> float:
    """Long-run variance of the mean in units of that of human samples alone: 1 / `effective_share`."""
    return 1 / effective_share(human_share)


def least_human_share(effective: float) -> float:
    """Share of fresh human samples that keeps an effective share in the long run: 1 - sqrt(1 - effective)."""
    return 1 - math.sqrt(1 - effective)


def replayed_inflation(human_share: float, size: int, unique: int) -> float:
    """Long-run variance of the mean when the human samples of each fit are drawn from the same reservoir.

    Args:
        human_share: Share of human samples in each fit.
        size: Samples of each fit.
        unique: Samples in the reservoir.

    Returns:
        size / unique + (1 - h / unique) `variance_inflation`: the first part never averages out.
    """
    return size / unique + (1 - human_share / unique) * variance_inflation(human_share)


class HumanShare(NamedTuple):
    """What a share of fresh human samples is worth in the long run."""

    human_share: float
    effective_share: float
    variance_inflation: float


def human_share_table() -> list[HumanShare]:
    """Shares of fresh human samples that people ask about; 2/3 is what Bertrand et al. 2024 (2310.00429) call safe."""
    shares = (0.01, 0.05, 0.1, 0.2, 1 - math.sqrt(0.5), 1 - BEST_WEIGHT, 0.5, 2 / 3)
    return [HumanShare(share, effective_share(share), variance_inflation(share)) for share in shares]


def lost_at_once(p: float, size: int) -> float:
    """Chance that a type of frequency p is in no sample of one fit: (1 - p)^size."""
    return (1 - p) ** size


def lost_by_replacing(count: int, fits: int) -> float:
    """Chance that a type with so many samples in the first corpus is gone after so many fits, each replacing.

    Each sample begets a Poisson number of one in the mean; an accumulated pool loses no type, ever.

    Returns:
        e(fits)^count, where e(0) = 0 and e(t + 1) = exp(e(t) - 1): .368 .531 .626 .688 for count 1.
    """
    lost = 0.0
    for _ in range(fits):
        lost = math.exp(lost - 1)
    return lost**count


def replaced_regression_error(features: int, size: int, fits: int) -> float:
    """Excess risk of linear regression on targets that the fit before wrote, in units of the noise variance.

    Args:
        features: Dimension d of independent standard normal features.
        size: Samples of each fit, at least d + 2.
        fits: Fits so far, the first on true targets.

    Returns:
        fits * d / (size - d - 1).

    Raises:
        UsageError: So few samples have no finite risk.

    Source:
        Gerstgrasser et al. 2024, arXiv 2404.01413.
    """
    return fits * _regression_error(features, size)


def accumulated_regression_error(features: int, size: int, fits: int) -> float:
    """Excess risk of linear regression on all targets so far, with features drawn afresh for each fit.

    Returns:
        The sum of d / (k (k size - d - 1)) for k = 1 ... fits, by exchange of the k designs.

    Raises:
        UsageError: So few samples have no finite risk.
    """
    return sum(_regression_error(features, k * size) / k for k in range(1, fits + 1))


def accumulated_regression_bound(features: int, size: int) -> float:
    """Bound on `accumulated_regression_error` for any number of fits: pi^2 / 6 times the risk of the first.

    Returns:
        d / (size - d - 1) * pi^2 / 6.

    Raises:
        UsageError: So few samples have no finite risk.

    Source:
        Gerstgrasser et al. 2024, arXiv 2404.01413.
    """
    return _regression_error(features, size) * math.pi**2 / 6


def _regression_error(features: int, size: int) -> float:
    if size < features + 2:
        raise UsageError(
            f"{size} samples for {features} features have no finite expected risk: give at least {features + 2}"
        )
    return features / (size - features - 1)


def weighted_variance(weight: float, human: int, synthetic: int) -> float:
    """Long-run variance of a mean that weighs fresh human samples against synthetic ones.

    Args:
        weight: Weight of the human mean, in (0, 1].
        human: Fresh human samples of each fit.
        synthetic: Synthetic samples of each fit.

    Returns:
        (w^2 / human + (1 - w)^2 / synthetic) / (1 - (1 - w)^2), least at `BEST_WEIGHT` for equal numbers.

    Source:
        He, Xu and Cheng 2025, arXiv 2502.18049.
    """
    return (weight**2 / human + (1 - weight) ** 2 / synthetic) / effective_share(weight)


def value_of_repeats(unique: float, epochs: float) -> float:
    """Fresh tokens that are worth as much as unique tokens read in so many epochs: a fit to runs, not a theorem.

    Args:
        unique: Unique tokens.
        epochs: How often they are read, 1 or more.

    Returns:
        U + U R* (1 - exp(-(epochs - 1) / R*)).

    Source:
        Muennighoff et al. 2023, arXiv 2305.16264.
    """
    repeats = 1 - math.exp(-(epochs - 1) / REPEATS_SCALE)
    return unique * (1 + REPEATS_SCALE * repeats)


def _digamma_of_half(k: int) -> float:
    """Give psi(k / 2) by its recurrence from psi(1) or psi(1/2)."""
    start, value = (1.0, 0.0) if k % 2 == 0 else (0.5, -2 * math.log(2))
    return value - np.euler_gamma + sum(1 / (start + step) for step in range(math.ceil(k / 2) - 1))
