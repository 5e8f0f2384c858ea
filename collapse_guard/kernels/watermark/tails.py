"""Logarithms of tail probabilities that stay finite and exact far below the smallest float.

Every tail is a first term, whose logarithm is exact, times a sum of positive terms: nothing cancels. Which of the two
tails is the smaller is the caller's to know.
Source: Loader 2000, "Fast and accurate computation of binomial probabilities" (first terms); Abate and Whitt 1992,
"Numerical inversion of probability generating functions" (sums on a lattice).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from collapse_guard.kernels.compiled import kernel

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

_SMALL = 1e-17
"""A term that is this small beside the sum, and falling, changes nothing."""
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_FEW = 16
_NEAR = 0.1
_WIDE = 99.0
_REACH = 9.0
"""Standard deviations beyond which a bell curve is below exp(-37)."""
_CLOSE = 0.01
"""Of the variance of the sum."""
_NOTHING = 1e-300
AT_ONCE = 64
"""Angles at which a distribution is transformed side by side."""
_DIGITS = 37.0
"""Natural logarithm of what is left out of a sum on a lattice: exp(-37) is 1e-16."""


@kernel
def _log_rest(log_p: float) -> float:
    """ln(1 - p) of a p that is not close to 1."""
    return math.log1p(-math.exp(log_p))


@kernel
def _stirling_error(n: float) -> float:
    """What Stirling's formula lacks: ln n! - ln(sqrt(2 pi n) (n/e)^n)."""
    if n < _FEW:
        return math.lgamma(n + 1.0) - (n + 0.5) * math.log(n) + n - _HALF_LOG_TWO_PI
    square = n * n
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / square) / square) / square) / square) / n


@kernel
def _deviance(x: float, mean: float) -> float:
    """Compute x ln(x/mean) + mean - x, also where x is close to the mean."""
    if abs(x - mean) >= _NEAR * (x + mean):
        return x * math.log(x / mean) + mean - x
    ratio = (x - mean) / (x + mean)
    total, power, j = (x - mean) * ratio, 2 * x * ratio, 1
    while True:
        power *= ratio * ratio
        bigger = total + power / (2 * j + 1)
        if bigger == total:
            return total
        total, j = bigger, j + 1


@kernel
def _binomial_log_term(k: float, n: float, p: float) -> float:
    """Natural logarithm of P(Binomial(n, p) = k)."""
    if k == 0:
        return n * math.log1p(-p)
    if k == n:
        return n * math.log(p)
    errors = _stirling_error(n) - _stirling_error(k) - _stirling_error(n - k)
    deviances = _deviance(k, n * p) + _deviance(n - k, n * (1 - p))
    return errors - deviances - _HALF_LOG_TWO_PI - 0.5 * math.log(k * (n - k) / n)


@kernel
def _poisson_log_term(k: float, mean: float) -> float:
    """Natural logarithm of P(Poisson(mean) = k)."""
    if k == 0:
        return -mean
    return -_stirling_error(k) - _deviance(k, mean) - _HALF_LOG_TWO_PI - 0.5 * math.log(k)


@kernel
def _falling(total: float, n: float) -> float:
    """Sum of the Poisson(total) terms below n, in units of the greatest of them, for a total of at least n."""
    term, terms, j = 1.0, 1.0, n - 1
    while j > 0 and term > _SMALL * terms:
        term *= j / total
        terms += term
        j -= 1
    return terms


@kernel
def _rising(total: float, n: float) -> float:
    """Sum of the Poisson(total) terms from n on, in units of the term at n, for a total of at most n."""
    term, terms, j = 1.0, 1.0, n + 1
    while term > _SMALL * terms:
        term *= total / j
        terms += term
        j += 1
    return terms


@kernel
def _binomial_upper(count: float, n: float, p: float) -> float:
    """Natural logarithm of P(X >= count), for a count of at least the mean."""
    term, terms, j, odds = 1.0, 1.0, count, p / (1 - p)
    while j < n and term > _SMALL * terms:
        term *= (n - j) / (j + 1) * odds
        terms += term
        j += 1
    return min(_binomial_log_term(count, n, p) + math.log(terms), 0.0)


@kernel
def binomial_tails(count: NDArray[np.int64], n: NDArray[np.int64], p: NDArray[np.float64], out: Array) -> None:
    """Write ln P(Binomial(n, p) >= count), for 0 < count <= n."""
    for i in range(count.size):
        least, tokens = float(count[i]), float(n[i])
        if least >= tokens * p[i]:
            out[i] = _binomial_upper(least, tokens, p[i])
        else:
            out[i] = _log_rest(_binomial_upper(tokens - least + 1, tokens, 1 - p[i]))


@kernel
def gamma_tails(total: Array, n: NDArray[np.int64], out: Array) -> None:
    """Write ln P(Gamma(n) >= total), which is ln P(Poisson(total) < n), for positive totals and n."""
    for i in range(total.size):
        x, shape = total[i], float(n[i])
        if x > shape:
            out[i] = min(_poisson_log_term(shape - 1, x) + math.log(_falling(x, shape)), 0.0)
        else:
            out[i] = _log_rest(_poisson_log_term(shape, x) + math.log(_rising(x, shape)))


@kernel
def _mixture(total: float, n: float, large: float, small: float) -> tuple[float, float]:
    """Which terms of the mixture matter where the weighted sum is `total`.

    Under the exponential tilt that makes `total` the mean, the parts are gamma sums with other scales.

    Returns:
        Success probability and mean of the negative binomial k.
    """
    x, both, product = total / n, large + small, large * small
    root = math.sqrt((x * (large - small)) ** 2 + 4 * product * product)
    tilt = (x * both - 2 * product - root) / (2 * x * product)
    p = (1 / large - tilt) / (1 / small - tilt)
    return p, math.floor(n * (1 - p) / p)


@kernel
def _mixture_log_term(k: float, n: float, share: float, x: float) -> float:
    """Natural logarithm of the weight of Gamma(2n + k) in the mixture, times the Poisson(x) term at its shape."""
    weight = _binomial_log_term(n, n + k, share) + math.log(n / (n + k))
    return weight + _poisson_log_term(2 * n + k, x)


@kernel
def _edge(inside: float, outside: float, n: float, share: float, x: float) -> float:
    """Between a k that matters and one that does not, the last that does not."""
    least = _mixture_log_term(inside, n, share, x) - _DIGITS
    while abs(outside - inside) > 1:
        middle = math.floor(0.5 * (inside + outside))
        if _mixture_log_term(middle, n, share, x) < least:
            outside = middle
        else:
            inside = middle
    return outside


@kernel
def _weighted_upper(total: float, n: float, large: float, small: float) -> float:
    """Natural logarithm of P(large A + small B >= total), for a total of at least the mean; terms upwards."""
    x, share, mean = total / small, small / large, _mixture(total, n, large, small)[1]
    k = _edge(mean, 0.0, n, share, x)
    first, term = _mixture_log_term(k, n, share, x), (2 * n + k) / x * _falling(x, 2 * n + k)
    weight, terms = 1.0, 0.0
    while k <= mean or term > _SMALL * terms:
        terms += term
        step = (n + k) / (k + 1) * (1 - share)
        term = step * (term + weight)
        weight *= step * x / (2 * n + k + 1)
        k += 1
    return min(first + math.log(terms), 0.0)


@kernel
def _weighted_lower(total: float, n: float, large: float, small: float) -> float:
    """Natural logarithm of P(large A + small B < total), for a total of at most the mean; terms downwards."""
    x, share, (p, mean) = total / small, small / large, _mixture(total, n, large, small)
    k = _edge(mean, 2 * mean + math.ceil(_WIDE / p), n, share, x)
    first, term = _mixture_log_term(k, n, share, x), _rising(x, 2 * n + k)
    weight, terms = 1.0, term
    while k > 0 and (k >= mean or term > _SMALL * terms):
        step = k / (n + k - 1) / (1 - share)
        weight *= step * (2 * n + k) / x
        term = weight + step * term
        k -= 1
        terms += term
    return first + math.log(terms)


@kernel
def weighted_gamma_tails(large: float, small: float, total: Array, n: NDArray[np.int64], out: Array) -> None:
    """Write ln P(large A + small B >= total) for A, B ~ Gamma(n), for positive totals and n and large > small.

    In units of `small`, the sum is a mixture of Gamma(2n + k), where k is negative binomial.
    """
    for i in range(total.size):
        tokens = float(n[i])
        if total[i] > tokens * (large + small):
            out[i] = _weighted_upper(total[i], tokens, large, small)
        else:
            out[i] = _log_rest(_weighted_lower(total[i], tokens, large, small))


class LatticeWork(NamedTuple):
    """From how many summands on only the slow waves count, and up to which tilt that holds.

    Also room for one distribution and four rows of AT_ONCE numbers, and where logarithms go.
    """

    smooth_from: int
    steepest: float
    tilted: Array
    rows: NDArray[np.float64]
    out: Array


@kernel
def _tilted(pmf: Array, tilt: float) -> tuple[float, float, float]:
    """Mass, mean and variance of a distribution on 0..m under a tilt, in units of its mass at m."""
    top = pmf.size - 1
    mass, first, second = 0.0, 0.0, 0.0
    for k in range(pmf.size):
        below = float(top - k)
        part = pmf[k] * math.exp(-tilt * below)
        mass += part
        first += part * below
        second += part * below * below
    first /= mass
    return mass, top - first, second / mass - first * first


@kernel
def _solve_tilt(pmf: Array, wanted: float, n: float) -> float:
    """The tilt at which a distribution has about a mean above its own and below m: any tilt nearby is as exact."""
    low, high, tilt = 0.0, math.inf, 0.0
    while True:
        _, mean, variance = _tilted(pmf, tilt)
        if n * (wanted - mean) ** 2 < _CLOSE * variance:
            return tilt
        if mean < wanted:
            low = tilt
        else:
            high = tilt
        tilt += (wanted - mean) / variance
        if not low < tilt < min(high, 2 * low + 1):
            tilt = min(0.5 * (low + high), 2 * low + 1)


@kernel
def lattice_tilts(pmf: Array, total: NDArray[np.int64], n: NDArray[np.int64], out: Array) -> None:
    """Write the tilt at which to sum each tail: that of the total, or one deviation of the sum off where that is 0."""
    deviation = math.sqrt(_tilted(pmf, 0.0)[2])
    for i in range(total.size):
        least = 1 / (deviation * math.sqrt(n[i]))
        out[i] = max(_solve_tilt(pmf, total[i] / n[i], float(n[i])), least)


@kernel
def _transform(pmf: Array, rows: NDArray[np.float64]) -> None:
    """Write the sums of pmf[k] exp(i angle k), from the cosines and sines of many angles side by side."""
    cosines, sines, reals, imaginaries = rows[0], rows[1], rows[2], rows[3]
    for j in range(cosines.size):
        reals[j] = imaginaries[j] = 0.0
    for k in range(pmf.size - 1, -1, -1):
        _add_power(pmf[k], cosines, sines, reals, imaginaries)


@kernel
def _add_power(one: float, cosines: Array, sines: Array, reals: Array, imaginaries: Array) -> None:
    for j in range(cosines.size):
        real = reals[j] * cosines[j] - imaginaries[j] * sines[j] + one
        imaginaries[j] = reals[j] * sines[j] + imaginaries[j] * cosines[j]
        reals[j] = real


@kernel
def _lattice_sum(
    tilted: Array, tilt: float, sums: tuple[float, float], waves: tuple[int, int], rows: NDArray[np.float64]
) -> float:
    """Sum of exp(-tilt j) P(tilted sum = total + j) over j >= 0, by its Fourier series."""
    (total, n), (used, points) = sums, waves
    shrink, terms = math.exp(-tilt), 1 / (1 - math.exp(-tilt))
    for start in range(1, used + 1, AT_ONCE):
        size = min(AT_ONCE, used + 1 - start)
        for j in range(size):
            angle = 2 * math.pi * (start + j) / points
            rows[0, j], rows[1, j] = math.cos(angle), math.sin(angle)
        _transform(tilted, rows[:, :size])
        for j in range(size):
            cosine, sine, real, imaginary = rows[0, j], rows[1, j], rows[2, j], rows[3, j]
            power = 0.5 * math.log(real * real + imaginary * imaginary + _NOTHING)
            phase = n * math.atan2(imaginary, real) - 2 * math.pi * (start + j) / points * total
            # over 1 - exp(-tilt - i angle)
            real, imaginary = 1 - shrink * cosine, shrink * sine
            along = math.cos(phase) * real + math.sin(phase) * imaginary
            terms += 2 * math.exp(n * power) * along / (real * real + imaginary * imaginary)
    return terms / points


@kernel
def lattice_tails(pmf: Array, total: NDArray[np.int64], n: NDArray[np.int64], tilt: Array, work: LatticeWork) -> None:
    """Write ln P(sum of n >= total), for totals above the mean and below the greatest, with the tilts for them."""
    top = pmf.size - 1
    smooth_from, steepest, tilted, rows, out = work
    for i in range(total.size):
        mass, _, variance = _tilted(pmf, tilt[i])
        for k in range(pmf.size):
            tilted[k] = pmf[k] * math.exp(-tilt[i] * (top - k)) / mass
        deviation = math.sqrt(n[i] * variance)
        half = int(0.5 * (_DIGITS / tilt[i] + _REACH * deviation)) + 1
        used = half
        if n[i] >= smooth_from and tilt[i] <= steepest:
            used = min(half, int(_REACH * (2 * half + 1) / (2 * math.pi * deviation)) + 1)
        terms = _lattice_sum(tilted, tilt[i], (float(total[i]), float(n[i])), (used, 2 * half + 1), rows)
        out[i] = min(n[i] * math.log(mass) + tilt[i] * (n[i] * top - total[i]) + math.log(terms), 0.0)
