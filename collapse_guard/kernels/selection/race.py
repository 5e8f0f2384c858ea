"""Waiting times of a race in which heavier documents tend to come first.

The logarithm is made of additions, multiplications and divisions alone, which every processor rounds alike, so that
the order of documents is the same everywhere.
Source: Efraimidis and Spirakis 2006 (weighted sampling without replacement).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.kernels.compiled import Int

_TERMS = 25
_LN_2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476


def waiting_times(ranks: NDArray[np.uint64], weights: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Turn uniform ranks into the order of a race.

    Args:
        ranks: n hashes.
        weights: n weights above 0.

    Returns:
        n numbers in the order of -ln(1 - u) / weight, where u is the rank's 53 leading bits as a fraction. Equal
        weights leave the order of the ranks as it is.
    """
    found = np.empty(len(ranks), np.float64)
    _wait(ranks, weights, found)
    return found.view(np.uint64)  # positive numbers are ordered as their bits are


@kernel
def _log(x: float) -> float:
    fraction, exponent = math.frexp(x)
    if fraction < _SQRT_HALF:
        fraction, exponent = fraction * 2, exponent - 1
    s = (fraction - 1) / (fraction + 1)
    square, total = s * s, 0.0
    for term in range(_TERMS, 0, -2):
        total = total * square + 1.0 / term
    return 2 * s * total + exponent * _LN_2


@kernel
def _wait(ranks: NDArray[np.uint64], weights: NDArray[np.float64], found: NDArray[np.float64]) -> Int:
    for row in range(len(ranks)):
        left = np.float64(np.uint64(1 << 53) - (ranks[row] >> np.uint64(11)))  # at least 1, and exact
        found[row] = (0.0 - _log(left * (1.0 / (1 << 53)))) / weights[row]
    return 0
