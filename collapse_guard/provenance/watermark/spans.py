"""Where in a document a mark is: passages whose tokens are more likely marked than not.

Each token contributes the logarithm of a likelihood ratio. Under the null the ratio of a passage that begins at a given
token exceeds e^x anywhere with a chance of at most e^-x (Ville's inequality), so among n scored tokens a passage of
score x has p <= n e^-x: no simulation, and valid for any length.
Source: Karlin and Altschul 1990, "Methods for assessing the statistical significance of molecular sequence features".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.kernels.watermark.segments import best_sums, segments
from collapse_guard.provenance.watermark.statistics import DUAL_WEIGHTS, effect_of, family_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.provenance.watermark.keys import Key

ALPHA = 0.01
"""Chance that an unmarked document shows any span."""
_UNSCORED = 255


class Span(NamedTuple):
    """A passage that carries a mark."""

    start: int
    """First token."""
    stop: int
    """Token after the last."""
    tokens: int
    """How many of its tokens are scored."""
    score: float
    """Logarithm of its likelihood ratio."""
    log_p: float
    """Natural logarithm of the chance that an unmarked document of this length shows such a passage anywhere."""


def locate(values: NDArray[np.generic], key: Key, alpha: float = ALPHA) -> list[Span]:
    """Find the marked passages of one document; time is linear in its length.

    Two passages are one where what lies between them costs less than it takes to be significant.

    Args:
        values: What each token contributes under the key, as a scorer gives it: uint8 with 255, or floats with NaN,
            where a token is not scored.
        key: The key.
        alpha: Chance that an unmarked document shows any span.

    Returns:
        Spans in order, none overlapping.
    """
    ratios = log_ratios(values, key)
    scored = ~np.isnan(ratios)
    many = int(scored.sum())
    if not many:
        return []
    bounds, sums = np.empty(2 * ratios.size, np.int64), np.empty(ratios.size)
    found = segments(ratios, math.log(many / alpha), bounds, sums)
    passed = np.concatenate([[0], np.cumsum(scored)])
    return [
        Span(start, stop, int(passed[stop] - passed[start]), score, math.log(many) - score)
        for (start, stop), score in zip(bounds[: 2 * found].reshape(-1, 2).tolist(), sums[:found].tolist(), strict=True)
    ]


def passage_log_p(
    values: NDArray[np.generic], offsets: NDArray[np.int64], counts: NDArray[np.int64], key: Key
) -> NDArray[np.float64]:
    """Test the clearest passage of each document, wherever it is.

    A long document with a short marked passage looks unmarked as a whole.

    Args:
        values: What each of T tokens contributes, as in `locate`.
        offsets: n + 1 places where the documents begin and end.
        counts: Scored tokens of each document.
        key: The key.

    Returns:
        n natural logarithms: at most the chance that an unmarked document of this length shows such a passage.
    """
    best = np.empty(counts.size)
    best_sums(values, offsets, *_tilt_of(key), best)
    return np.minimum(np.log(np.maximum(counts, 1)) - best, 0.0)


def log_ratios(values: NDArray[np.generic], key: Key) -> NDArray[np.float64]:
    """How much more likely each token is under a typical mark than without one, as a natural logarithm.

    The mark tilts the null distribution of a token's value exponentially, so that its mean is that of `effect_of`: for
    green lists and SynthID this is the exact ratio of independent tokens.

    Args:
        values: As in `locate`.
        key: The key.

    Returns:
        One number per token; NaN where it is not scored.
    """
    numbers = values.astype(np.float64)
    numbers[values == _UNSCORED if values.dtype == np.uint8 else np.isnan(numbers)] = np.nan
    tilt, cost = _tilt_of(key)
    return tilt * numbers - cost


def _tilt_of(key: Key) -> tuple[float, float]:
    """The tilt t of a scheme's typical mark, and ln E[exp(t value)] of an unmarked token."""
    effect, family = effect_of(key), family_of(key)
    if family == "gumbel":
        tilt = 1 - 1 / effect.marked_mean
        weights = DUAL_WEIGHTS if key.scheme.endswith("_dual") else (1.0,)
        return tilt, -sum(math.log1p(-tilt * weight) for weight in weights)
    draws = round(2 * effect.null_mean) if family == "synthid" else 1
    null, marked = effect.null_mean / draws, effect.marked_mean / draws
    tilt = math.log(marked / (1 - marked) * (1 - null) / null)
    return tilt, draws * math.log1p(null * math.expm1(tilt))
