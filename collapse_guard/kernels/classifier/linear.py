"""A linear model over n-grams: scores of texts, and logistic regression.

An n-gram that occurs c times in a text counts 1 + log(c), and the vector of a text has length 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.kernels.arrow import views
from collapse_guard.kernels.classifier.ngrams import COUNT_BITS, MOST_COUNTED, Ngrams, Room, count_text, room_for
from collapse_guard.kernels.compiled import Int, kernel
from collapse_guard.kernels.tokens import mix

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_LEVELS = np.concatenate([np.zeros(1), 1.0 + np.log(np.arange(1, MOST_COUNTED + 1))]).astype(np.float32)
_SHIFT, _MASK = np.uint32(COUNT_BITS), np.uint32(MOST_COUNTED)
_START = -4.0  # log-odds of every dual variable before the first visit
_NEWTON_STEPS, _SETTLED = 30, 1e-9
_STEP = np.uint64(0x9E3779B97F4A7C15)
_SMALLEST = np.float32(1e-30)


class Weights(NamedTuple):
    """A trained model: one weight per bucket, exactly 0 where no training text had an n-gram, and the intercept."""

    buckets: NDArray[np.float32]
    intercept: float


class Scores(NamedTuple):
    """What a model sees in n texts.

    Attributes:
        logits: Log-odds of the positive class; the intercept where a text has no n-grams.
        coverage: Share of the different n-grams of a text that some training text had; NaN where there are none.
        words: Words that were read.
    """

    logits: NDArray[np.float64]
    coverage: NDArray[np.float64]
    words: NDArray[np.int64]


class Problem(NamedTuple):
    """What is to be learned.

    Attributes:
        ngrams: Of all texts.
        scales: One over the length of each text's vector.
        signs: 1 for a text of the positive class, else -1.
        costs: What an error on each text costs.
    """

    ngrams: Ngrams
    scales: NDArray[np.float64]
    signs: NDArray[np.float64]
    costs: NDArray[np.float64]


@kernel
def _level(entry: np.uint32) -> Int:
    return np.float64(_LEVELS[entry & _MASK])


@kernel
def _score(entries: NDArray[np.uint32], buckets: NDArray[np.float32]) -> tuple[Int, Int]:
    """Give the score of a text without the intercept, and its coverage."""
    total, square, seen = 0.0, 0.0, np.int64(0)
    for entry in entries:
        level, weight = _level(entry), np.float64(buckets[entry >> _SHIFT])
        total += level * weight
        square += level * level
        seen += weight != 0.0
    if entries.size == 0:
        return 0.0, np.nan
    return total / np.sqrt(square), seen / np.float64(entries.size)


@kernel
def _score_texts(  # noqa: PLR0917 - a compiled function, called in one place
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    room: Room,
    window: Int,
    bits: Int,
    buckets: NDArray[np.float32],
    out: Scores,
) -> None:
    for d in range(offsets.size - 1):
        n, out.words[d] = count_text(data[offsets[d] : offsets[d + 1]], room, window, bits)
        out.logits[d], out.coverage[d] = _score(room.entries[:n], buckets)


@kernel
def _score_counted(ngrams: Ngrams, order: NDArray[np.int64], buckets: NDArray[np.float32], out: Scores) -> None:
    for d in range(order.size):
        row = order[d]
        entries = ngrams.entries[ngrams.starts[row] : ngrams.starts[row + 1]]
        out.logits[d], out.coverage[d] = _score(entries, buckets)
        out.words[d] = ngrams.words[row]


def score_texts(texts: pa.LargeStringArray, weights: Weights, window: int) -> Scores:
    """Score every text in one pass over its beginning; the same for any split into batches.

    Args:
        texts: n strings; a null is an empty text.
        weights: Of 2^bits buckets.
        window: Characters of each text that are read.

    Returns:
        Their scores.
    """
    out = _room_for_scores(len(texts))
    bits = weights.buckets.size.bit_length() - 1
    _score_texts(*views(texts), room_for(window), window, bits, weights.buckets, out)
    return out._replace(logits=out.logits + weights.intercept)


def score_counted(ngrams: Ngrams, order: NDArray[np.int64], weights: Weights) -> Scores:
    """Score some texts whose n-grams are counted already, as `score_texts` does."""
    out = _room_for_scores(order.size)
    _score_counted(ngrams, order, weights.buckets, out)
    return out._replace(logits=out.logits + weights.intercept)


def _room_for_scores(texts: int) -> Scores:
    return Scores(np.zeros(texts), np.zeros(texts), np.zeros(texts, np.int64))


@kernel
def _measure_lengths(ngrams: Ngrams, scales: NDArray[np.float64]) -> None:
    for d in range(scales.size):
        square = 0.0
        for k in range(ngrams.starts[d], ngrams.starts[d + 1]):
            square += _level(ngrams.entries[k]) ** 2
        scales[d] = 1.0 / np.sqrt(square) if square else 0.0


def scales_of(ngrams: Ngrams) -> NDArray[np.float64]:
    """Give one over the length of each text's vector; 0 where it has no n-grams."""
    scales = np.zeros(ngrams.words.size)
    _measure_lengths(ngrams, scales)
    return scales


@kernel
def _margin(problem: Problem, row: Int, weights: NDArray[np.float64]) -> Int:
    """Say how far on its own side of the boundary a text lies."""
    ngrams, total = problem.ngrams, 0.0
    for k in range(np.uint64(ngrams.starts[row]), np.uint64(ngrams.starts[row + 1])):
        entry = ngrams.entries[k]
        total += _level(entry) * weights[entry >> _SHIFT]
    return problem.signs[row] * (total * problem.scales[row] + weights[weights.size - 1])


@kernel
def _move(problem: Problem, row: Int, step: Int, weights: NDArray[np.float64]) -> None:
    """Move the weights along the vector of a text, towards its own side."""
    ngrams, step = problem.ngrams, step * problem.signs[row]
    weights[weights.size - 1] += step
    step *= problem.scales[row]
    for k in range(np.uint64(ngrams.starts[row]), np.uint64(ngrams.starts[row + 1])):
        entry = ngrams.entries[k]
        weights[entry >> _SHIFT] += _level(entry) * step


@kernel
def _share(logit: Int) -> Int:
    return 1.0 / (1.0 + np.exp(-logit))


@kernel
def _solve(start: Int, margin: Int, curvature: Int) -> Int:
    """Solve t + margin + curvature · (share(t) - share(start)) = 0 by Newton's method inside a bracket."""
    held = _share(start)
    low, high = -margin - curvature * (1.0 - held), -margin + curvature * held
    t: Int = min(max(start, low), high)
    for _ in range(_NEWTON_STEPS):
        share = _share(t)
        value = t + margin + curvature * (share - held)
        if abs(value) < _SETTLED:
            break
        low, high = (t, high) if value < 0.0 else (low, t)
        t -= value / (1.0 + curvature * share * (1.0 - share))
        if not low <= t <= high:
            t = 0.5 * (low + high)
    return t


@kernel
def _shuffle(order: NDArray[np.int64], state: np.uint64) -> np.uint64:
    for i in range(order.size - 1, 0, -1):
        state += _STEP
        j = np.int64(mix(state) % np.uint64(i + 1))
        order[i], order[j] = order[j], order[i]
    return state


@kernel
def _descend(  # noqa: PLR0917 - a compiled function, called in one place
    problem: Problem,
    order: NDArray[np.int64],
    logits: NDArray[np.float64],
    weights: NDArray[np.float64],
    tolerance: Int,
    epochs: Int,
    state: np.uint64,
) -> Int:
    for row in order:
        _move(problem, row, problem.costs[row] * _share(logits[row]), weights)
    for epoch in range(epochs):
        state = _shuffle(order, state)
        worst = 0.0
        for row in order:
            margin, cost, before = _margin(problem, row, weights), problem.costs[row], logits[row]
            worst = max(worst, abs(before + margin))
            curvature = cost * (1.0 + np.float64(problem.scales[row] != 0.0))
            logits[row] = _solve(before, margin, curvature)
            _move(problem, row, cost * (_share(logits[row]) - _share(before)), weights)
        if worst < tolerance:
            return epoch + 1
    return epochs


def fit(
    problem: Problem, order: NDArray[np.int64], bits: int, *, seed: int, tolerance: float = 0.05, epochs: int = 60
) -> Weights:
    """Train a logistic regression with an L2 penalty by coordinate descent in the dual, one text at a time.

    The dual variable of a text is its cost times the logistic function of t; at the optimum t is minus the margin.
    Source: Yu, Huang & Lin 2011, "Dual coordinate descent methods for logistic regression and maximum entropy models".

    Args:
        problem: All texts.
        order: Which of them are trained on; their order matters as little as the tolerance, but it matters.
        bits: There are 2^bits buckets.
        seed: Fixes the order of visits.
        tolerance: Stop when no text was further than this from its optimum, in log-odds.
        epochs: Stop after so many visits to each text.

    Returns:
        The weights.
    """
    weights = np.zeros((1 << bits) + 1)
    logits = np.full(problem.scales.size, _START)
    _descend(problem, order.copy(), logits, weights, tolerance, epochs, np.uint64(seed))
    buckets = weights[:-1].astype(np.float32)
    buckets[_seen(problem.ngrams, order, bits) & (buckets == 0)] = _SMALLEST
    return Weights(buckets, float(weights[-1]))


def _seen(ngrams: Ngrams, order: NDArray[np.int64], bits: int) -> NDArray[np.bool_]:
    """Mark the buckets that some text in `order` has."""
    seen = np.zeros(1 << bits, np.bool_)
    for row in order.tolist():
        seen[ngrams.entries[ngrams.starts[row] : ngrams.starts[row + 1]] >> _SHIFT] = True
    return seen
