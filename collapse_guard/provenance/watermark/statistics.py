"""Exact null distributions of watermark statistics, as natural logarithms that stay finite far below 1e-300.

Arrays in, arrays out: arguments of one shape or that broadcast to one. The relative error of every ln p is below 1e-9
up to a million tokens. A total that cannot be reached has ln p = -inf.
"""

from __future__ import annotations

import math
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from collapse_guard.errors import UsageError
from collapse_guard.kernels.watermark.tails import (
    AT_ONCE,
    LatticeWork,
    binomial_tails,
    gamma_tails,
    lattice_tails,
    lattice_tilts,
    weighted_gamma_tails,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import ArrayLike, NDArray

    from collapse_guard.provenance.watermark.keys import Key

    Floats: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]

DUAL_WEIGHTS = (0.9, 0.1)
"""Weights of the two keys of vLLM's dual scheme; most of the text is marked by the first."""

_TINY = -40.0
"""ln p from which on 1 - p is 1 in floats."""
_HALF = -math.log(2)
_NEGLIGIBLE = -30.0
_REACH = 9.0
_LOST = 37.0
"""Natural logarithm of what is left out of a sum: exp(-37) is 1e-16."""
_FEW_VALUES = 256
"""Up to so many values of a summand, a sum of waves one by one is as fast as the fast transform."""
_LARGEST_POWER = 24
_TILTS = 9
_STEEPEST = 3.0
"""Standard deviations of one summand, inverted: SynthID with a mean g of 0.75."""


def binomial_log_sf(count: ArrayLike, n: ArrayLike, p: ArrayLike) -> Floats:
    """Natural logarithm of P(X >= count) for X ~ Binomial(n, p): the green tokens of text that no key has marked.

    Args:
        count: Green tokens; one that was adjusted to a fraction is taken as the nearest whole number.
        n: Scored tokens.
        p: Green share of the vocabulary, in (0, 1).

    Returns:
        Natural logarithms, float64.
    """
    share = np.asarray(p, dtype=np.float64)
    counts, sizes, shares = np.broadcast_arrays(*_whole(count, n), share)
    out = np.where(counts > sizes, -np.inf, 0.0)
    inside = (counts > 0) & (counts <= sizes)
    _fill(out, inside, binomial_tails, counts, sizes, shares)
    return out


def gamma_log_sf(total: ArrayLike, n: ArrayLike) -> Floats:
    """Natural logarithm of P(S >= total) for S ~ Gamma(n, 1): the sum of -ln(1 - u) over unmarked tokens.

    Args:
        total: Sum over the scored tokens.
        n: Scored tokens, integer.

    Returns:
        Natural logarithms, float64.
    """
    totals, sizes = _together(total, n)
    out = np.where((sizes == 0) & (totals > 0), -np.inf, 0.0)
    _fill(out, (sizes > 0) & (totals > 0), gamma_tails, totals, sizes)
    return out


def weighted_gamma_log_sf(total: ArrayLike, n: ArrayLike, weights: tuple[float, float] = DUAL_WEIGHTS) -> Floats:
    """Natural logarithm of P(w A + v B >= total) for A, B ~ Gamma(n, 1): two keys on the same unmarked tokens.

    Exact, where vLLM matches two moments and is slightly too small.
    Source: Moschopoulos 1985, "The distribution of the sum of independent gamma random variables".

    Args:
        total: Weighted sum over the scored tokens.
        n: Scored tokens, integer.
        weights: Two different positive weights.

    Returns:
        Natural logarithms, float64.

    Raises:
        UsageError: The weights are equal or not positive.
    """
    small, large = sorted(weights)
    if not 0 < small < large:
        raise UsageError(f"the weights of two gamma sums are {weights}; give two different positive numbers")
    totals, sizes = _together(total, n)
    out = np.where((sizes == 0) & (totals > 0), -np.inf, 0.0)
    inside = (sizes > 0) & (totals > 0)
    _fill(out, inside, partial(weighted_gamma_tails, large, small), totals, sizes)
    return out


def lattice_log_sf(pmf: ArrayLike, total: ArrayLike, n: ArrayLike) -> Floats:
    """Natural logarithm of P(sum of n >= total), once; keep a `Lattice` to ask more under the same probabilities.

    Returns:
        As `Lattice.log_sf`.
    """
    return Lattice(pmf).log_sf(total, n)


class Lattice:
    """Sums of integers with known probabilities: SynthID's g values.

    Exponential tilting, then the Fourier series of the tilted tail: exact to about 1e-12 for any n, with a work that
    does not grow with n.

    Args:
        pmf: Probabilities of the values 0..m of one token; they are scaled to sum to 1.
    """

    def __init__(self, pmf: ArrayLike) -> None:
        one = np.trim_zeros(np.asarray(pmf, dtype=np.float64), "b")
        self._least = int(np.flatnonzero(one)[0])
        one = one[self._least :] / one.sum()
        self._mean = float(one @ np.arange(one.size))
        self._one, self._mirrored = _Side(one), _Side(one[::-1].copy())

    def log_sf(self, total: ArrayLike, n: ArrayLike) -> Floats:
        """Natural logarithm of P(sum of n >= total).

        Args:
            total: Sum over the scored tokens; a fraction is taken as the nearest whole number.
            n: Scored tokens.

        Returns:
            Natural logarithms, float64.
        """
        totals, sizes = _whole(total, n)
        totals = totals - self._least * sizes
        greatest = sizes * (self._one.pmf.size - 1)
        out = np.where(totals > greatest, -np.inf, 0.0)
        inside = (totals > 0) & (totals <= greatest)
        upper = inside & (totals > sizes * self._mean)
        lower = inside & ~upper
        out[upper] = self._one.upper(totals[upper], sizes[upper])
        others = self._mirrored.upper((greatest - totals + 1)[lower], sizes[lower])
        out[lower] = np.log1p(-np.exp(others))
        return out


def sidak(log_p_min: ArrayLike, tests: ArrayLike) -> Floats:
    """ln(1 - (1 - p)^tests): the least of several independent p-values as one p-value.

    Source: Šidák 1967, "Rectangular confidence regions for the means of multivariate normal distributions".

    Args:
        log_p_min: ln of the least p-value of each document.
        tests: How many keys could be tested on it, at least 1.

    Returns:
        Natural logarithms, float64; never below `log_p_min`.
    """
    log_p, count = (np.asarray(values, dtype=np.float64) for values in (log_p_min, tests))
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.minimum(count * np.exp(log_p), 1.0)
        tiny = log_p + np.log(count) + np.where(expected > 0, np.log(-np.expm1(-expected) / expected), 0.0)
        return np.where(log_p > _TINY, _log_rest(count * _log_rest(log_p)), tiny)


class Effect(NamedTuple):
    """Mean and standard deviation of one token's score, in unmarked and in marked text.

    The score is green or not (1, 0), -ln(1 - u), or the sum of g over SynthID's layers.
    """

    null_mean: float
    null_sd: float
    marked_mean: float
    marked_sd: float


def minimum_tokens(effect: Effect, alpha: float, power: float = 0.9) -> int:
    """Scored tokens from which on a mark is found with a given power.

    Args:
        effect: What the mark does to one token's score.
        alpha: p-value at which a mark counts as found.
        power: Chance to find a mark that is there.

    Returns:
        The least number of tokens, by the normal approximation.
    """
    normal = NormalDist()
    needed = -normal.inv_cdf(alpha) * effect.null_sd + normal.inv_cdf(power) * effect.marked_sd
    return math.ceil((needed / (effect.marked_mean - effect.null_mean)) ** 2)


def minimum_tokens_of(key: Key, alpha: float = 1e-5) -> int:
    """Scored tokens below which a document says nothing about a key: it is inconclusive.

    Args:
        key: An entry of the key ring.
        alpha: p-value at which a mark counts as found.

    Returns:
        The least number of tokens for a power of 90 % under the mark that `effect_of` assumes.
    """
    return minimum_tokens(effect_of(key), alpha)


def effect_of(key: Key) -> Effect:
    """Say what a typical mark does to one token's score; a weaker mark needs more tokens.

    Green lists: the odds of green are tripled, which is half of the tokens at gamma = 1/4. Gumbel: half of the tokens
    are certain and carry nothing, the others are drawn with probability 1/4, where the score is the sum of the first
    four terms of 1 + 1/2 + 1/3 + ... on average. SynthID: a mean g of 0.55.

    Returns:
        The scores of unmarked and marked tokens.

    Raises:
        UsageError: No score is known for the key's scheme.
    """
    family = family_of(key)
    if family == "gumbel":
        return _GUMBEL_DUAL if key.scheme.endswith("_dual") else _GUMBEL_ONE
    if family == "synthid":
        return _synthid_effect(len(key.keys or ()) or _USUAL_LAYERS)
    return _green_effect(_green_share(key))


def family_of(key: Key) -> str:
    """Name what a token's score is: `green` or not, -ln(1 - u) of `gumbel`, or the sum of g of `synthid`.

    Raises:
        UsageError: It is not known for the key's scheme.

    Returns:
        The family.
    """
    family = _FAMILIES.get(key.scheme.split("_")[0].split("-")[0])
    if family is None:
        raise UsageError(f"how a mark of the scheme {key.scheme} shows is not known; this key cannot be tested")
    return family


_FAMILIES = {
    **dict.fromkeys(("kgw", "ff", "hf", "unigram", "dipmark"), "green"),
    **dict.fromkeys(("exp", "gumbel"), "gumbel"),
    "synthid": "synthid",
}
_USUAL_GAMMA = 0.25
_USUAL_LAYERS = 30
_ODDS = 3.0
_SYNTHID_MEAN = 0.55
_SYNTHID_SPREAD = 1.2
"""Standard deviation of a marked token's sum of g, over that of an unmarked token."""
_DRAWN = 4
_HARMONIC = sum(1 / k for k in range(1, _DRAWN + 1))
_SQUARES = sum(1 / k**2 for k in range(1, _DRAWN + 1))
_MARKED_MEAN = (1 + _HARMONIC) / 2
_MARKED_VARIANCE = (1 + _SQUARES) / 2 + ((_HARMONIC - 1) / 2) ** 2
_GUMBEL_ONE = Effect(1.0, 1.0, _MARKED_MEAN, math.sqrt(_MARKED_VARIANCE))
_GUMBEL_DUAL = Effect(
    1.0,
    math.hypot(DUAL_WEIGHTS[0], DUAL_WEIGHTS[1]),
    DUAL_WEIGHTS[0] * _MARKED_MEAN + DUAL_WEIGHTS[1],
    math.sqrt(DUAL_WEIGHTS[0] ** 2 * _MARKED_VARIANCE + DUAL_WEIGHTS[1] ** 2),
)


def _green_share(key: Key) -> float:
    """The share of the vocabulary that a key favours, in whole ids."""
    share = key.gamma or _USUAL_GAMMA
    if key.scheme == "dipmark":
        return 1 - share
    return int(share * key.vocab_size) / key.vocab_size if key.vocab_size else share


def _green_effect(share: float) -> Effect:
    marked = _ODDS * share / (1 - share + _ODDS * share)
    return Effect(share, math.sqrt(share * (1 - share)), marked, math.sqrt(marked * (1 - marked)))


def _synthid_effect(layers: int) -> Effect:
    deviation = math.sqrt(0.25 * layers)
    return Effect(0.5 * layers, deviation, _SYNTHID_MEAN * layers, _SYNTHID_SPREAD * deviation)


class _Side:
    """Tails above the mean, of a distribution on 0..m that has both ends."""

    def __init__(self, pmf: Floats) -> None:
        self.pmf = pmf
        self._smooth_from, self._steepest = _smooth_from(pmf) if pmf.size > 1 else (1, 0.0)

    def upper(self, totals: Ints, sizes: Ints) -> Floats:
        """Natural logarithms for totals above the mean; the greatest total is a single power."""
        top = self.pmf.size - 1
        out: Floats = np.multiply(sizes, math.log(self.pmf[top]), dtype=np.float64)
        rest = np.flatnonzero(totals < sizes * top)
        if rest.size:
            tilts = np.empty(rest.size)
            lattice_tilts(self.pmf, totals[rest], sizes[rest], tilts)
            rough = (sizes[rest] < self._smooth_from) | (tilts > self._steepest)
            rough &= top > _FEW_VALUES
            for at in np.flatnonzero(rough).tolist():
                out[rest[at]] = _rough_tail(self.pmf, int(totals[rest[at]]), int(sizes[rest[at]]), float(tilts[at]))
            self._smooth(totals, sizes, tilts[~rough], rest[~rough], out)
        return out

    def _smooth(self, totals: Ints, sizes: Ints, tilts: Floats, at: Ints, out: Floats) -> None:
        filled, room = np.empty(at.size), (np.empty_like(self.pmf), np.empty((4, AT_ONCE)))
        work = LatticeWork(self._smooth_from, self._steepest, *room, filled)
        lattice_tails(self.pmf, totals[at], sizes[at], tilts, work)
        out[at] = filled


def _rough_tail(pmf: Floats, total: int, n: int, tilt: float) -> float:
    """What `lattice_tails` computes, with all waves by one fast transform: for few summands of many values.

    Returns:
        ln P(sum of n >= total).
    """
    below = np.arange(pmf.size)[::-1]
    tilted = pmf * np.exp(-tilt * below)
    mass = float(tilted.sum())
    variance = float(tilted @ below**2) / mass - (float(tilted @ below) / mass) ** 2
    needed = _LOST / tilt + _REACH * math.sqrt(n * max(variance, 0.0))
    points = 2 ** math.ceil(math.log2(max(needed, pmf.size)))
    waves = np.fft.rfft(tilted / mass, points)
    turns = (np.arange(waves.size) * (total % points) % points) * (2 * math.pi / points)
    phase = turns + n * np.angle(waves)
    sizes = np.exp(n * np.log(np.abs(waves) + np.finfo(np.float64).tiny))
    terms = sizes * np.exp(1j * phase) / (1 - np.exp(-tilt + 2j * math.pi / points * np.arange(waves.size)))
    series = 2 * terms.real.sum() - terms[0].real - terms[-1].real
    return min(n * math.log(mass) + tilt * (n * (pmf.size - 1) - total) + math.log(series / points), 0.0)


def _smooth_from(pmf: Floats) -> tuple[int, float]:
    """For how many summands the fast waves of the sum's distribution vanish, and up to which tilt that is so.

    Returns:
        A power of two, greater for a distribution with gaps, whose sums keep to a sublattice for a while; and a tilt.
        Both depend on the distribution alone, so that no p-value depends on what else is in its batch.
    """
    below = np.arange(pmf.size)[::-1]
    steepest = _STEEPEST / math.sqrt(pmf @ below**2 - (pmf @ below) ** 2)
    steps = 4 * 2 ** math.ceil(math.log2(pmf.size + 1))
    angles = np.arange(steps // 2 + 1) * (2 * math.pi / steps)
    tilts = np.linspace(0.0, steepest, _TILTS)
    return max(_smooth_at(pmf * np.exp(-tilt * below), below, angles, steps) for tilt in tilts), steepest


def _smooth_at(tilted: Floats, below: Ints, angles: Floats, steps: int) -> int:
    one = tilted / tilted.sum()
    deviation = math.sqrt(max(one @ below**2 - (one @ below) ** 2, 0.0))
    sizes = np.log(np.abs(np.fft.rfft(one, steps)) + np.finfo(np.float64).tiny)
    rough = [
        power
        for power in range(_LARGEST_POWER)
        if np.any(2**power * sizes[angles * deviation * 2 ** (power / 2) > _REACH] > _NEGLIGIBLE)
    ]
    return int(2 ** (rough[-1] + 1)) if rough else 1


def _together(total: ArrayLike, n: ArrayLike) -> tuple[Floats, Ints]:
    """Broadcast totals and sizes to arrays of one shape."""
    totals, sizes = np.broadcast_arrays(np.asarray(total, dtype=np.float64), np.asarray(n, dtype=np.int64))
    return totals, sizes


def _whole(total: ArrayLike, n: ArrayLike) -> tuple[Ints, Ints]:
    """Broadcast totals to the nearest whole number and sizes to arrays of one shape."""
    totals, sizes = _together(total, n)
    return np.rint(totals).astype(np.int64), sizes


def _log_rest(log_p: Floats) -> Floats:
    """Natural logarithm of 1 - p."""
    return np.where(log_p > _HALF, np.log(-np.expm1(log_p)), np.log1p(-np.exp(log_p)))


def _fill(out: Floats, inside: NDArray[np.bool_], tails: Callable[..., None], *arguments: NDArray[Any]) -> None:
    """Let a kernel compute the places that are inside."""
    filled = np.empty(int(inside.sum()))
    tails(*(values[inside] for values in arguments), filled)
    out[inside] = filled
