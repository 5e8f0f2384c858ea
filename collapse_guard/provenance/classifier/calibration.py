"""From the log-odds of a classifier to numbers that mean something, by texts that it was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LENGTHS = (0, 100, 200)
"""The fewest words of each class of length."""
_STEPS = 50
_RIDGE = 1e-9


class Calibration(NamedTuple):
    """What held-out texts say about log-odds.

    Attributes:
        human: The log-odds of human texts, ascending, for each class of length: short texts vary more than long ones.
        slope: Log-odds times this, plus `offset`, are those of a corpus that is half synthetic.
        offset: See `slope`.
    """

    human: tuple[NDArray[np.float64], ...]
    slope: float
    offset: float


def length_class(words: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the class of length of texts, an index of `LENGTHS`."""
    return np.searchsorted(LENGTHS, words, "right") - 1


def calibrate(logits: NDArray[np.float64], words: NDArray[np.int64], synthetic: NDArray[np.bool_]) -> Calibration:
    """Learn from texts that were held out.

    Args:
        logits: Log-odds of n texts, by models that were not trained on them.
        words: Words of each that were read.
        synthetic: Which of them are synthetic; both kinds must be there.

    Returns:
        The calibration; where higher log-odds do not mean more synthetic, its slope and offset are 0.
    """
    slope, offset = _platt(logits, synthetic)
    if slope <= 0.0:
        slope = offset = 0.0
    classes = np.where(synthetic, -1, length_class(words))
    return Calibration(tuple(np.sort(logits[classes == one]) for one in range(len(LENGTHS))), slope, offset)


def _platt(logits: NDArray[np.float64], synthetic: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit a logistic curve by Newton's method, both kinds weighted alike.

    The targets are a little less sure than the labels, so that classes which can be told apart have finite odds.
    Source: Platt 1999, "Probabilistic outputs for support vector machines".

    Returns:
        Slope and offset.
    """
    ones, zeros = int(synthetic.sum()), int((~synthetic).sum())
    targets = np.where(synthetic, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    weights = np.where(synthetic, 0.5 / ones, 0.5 / zeros)
    scale = float(np.abs(logits).mean()) or 1.0
    x, slope, offset = logits / scale, 0.0, 0.0
    for _ in range(_STEPS):
        share = _logistic(slope * x + offset)
        wrong, steep = weights * (share - targets), weights * share * (1.0 - share)
        a, b, c = float((steep * x * x).sum()) + _RIDGE, float((steep * x).sum()), float(steep.sum()) + _RIDGE
        up, right = _solve(a, b, c, float((wrong * x).sum()), float(wrong.sum()))
        most = max(1.0, abs(up), abs(right))  # a step beyond 1 may go astray
        slope, offset = slope - up / most, offset - right / most
    return slope / scale, offset


def _solve(a: float, b: float, c: float, d: float, e: float) -> tuple[float, float]:
    """Solve a x + b y = d, b x + c y = e; written out, because a library's sums depend on its threads."""
    size = a * c - b * b
    return (c * d - b * e) / size, (a * e - b * d) / size


def _logistic(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -500.0, 500.0)))


def probability(logits: NDArray[np.float64], by: Calibration, cap: float) -> NDArray[np.float64]:
    """Say how probable it is that a text is synthetic, in a corpus that is half synthetic.

    Args:
        logits: Log-odds.
        by: The calibration.
        cap: No text is more probable than this, nor less than one minus this.

    Returns:
        Probabilities.
    """
    return np.clip(_logistic(by.slope * logits + by.offset), 1.0 - cap, cap)


def conformal_p(
    logits: NDArray[np.float64], words: NDArray[np.int64], by: Calibration, *, own: int = 0
) -> NDArray[np.float64]:
    """Give the p-value of "a person wrote this": small where hardly any human text of its length looks as synthetic.

    It is (1 + human texts with at least these log-odds) / (human texts + 1), over the human texts of the same class of
    length: to reach 1 % takes 99 of them. Over all lengths together, short texts would be flagged six times too often
    (measured).
    Source: Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World", conformal prediction per class.

    Args:
        logits: Log-odds of n texts.
        words: Words of each that were read.
        by: The calibration.
        own: 1 where these are the human texts of the calibration, which then do not count against themselves.

    Returns:
        p-values above 0.
    """
    classes, p = length_class(words), np.ones(logits.size)
    for one, people in enumerate(by.human):
        rows = classes == one
        above = people.size - np.searchsorted(people, logits[rows], side="left")
        p[rows] = (1 + above - own) / (people.size + 1 - own)
    return p
