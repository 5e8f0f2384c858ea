"""An interpolated trigram model of a text, and how well it predicts another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.metrics.counts import Counts, Tokens

VOCABULARY = 30_000
WEIGHTS = (0.2, 0.3, 0.5)
"""Weights of unigram, bigram and trigram; an unseen context passes its weight on to the next shorter one."""


def cross_entropy(model: tuple[Counts, Counts, Counts], text: Tokens) -> float | None:
    """The mean of -ln p of each token of a text under a trigram model (Jelinek and Mercer 1980: interpolation).

    Args:
        model: Counts of the words, bigrams and trigrams that the model was trained on.
        text: What to score.

    Returns:
        Nats per token; null where there is no token on one side.
    """
    if not model[0].total or not len(text.hashes):
        return None
    return -float(np.log(_probabilities(model, text)).mean())


def _probabilities(model: tuple[Counts, Counts, Counts], text: Tokens) -> NDArray[np.float64]:
    counts = [
        np.where(within, gram.lookup(hashes), 0) for gram, (hashes, within) in zip(model, text.grams(), strict=True)
    ]
    firsts = text.offsets[:-1][np.diff(text.offsets) > 0]
    contexts = [_shifted(counts[0], firsts), _shifted(counts[1], firsts)]
    unigram = (counts[0] + 0.5) / (model[0].total + 0.5 * VOCABULARY)
    bigram = np.where(contexts[0] > 0, counts[1] / np.maximum(contexts[0], 1), unigram)
    trigram = np.where(contexts[1] > 0, counts[2] / np.maximum(contexts[1], 1), bigram)
    return np.asarray(WEIGHTS[0] * unigram + WEIGHTS[1] * bigram + WEIGHTS[2] * trigram, np.float64)


def _shifted(counts: NDArray[np.int64], firsts: NDArray[np.int64]) -> NDArray[np.int64]:
    shifted = np.concatenate([np.zeros(1, np.int64), counts[:-1]])
    shifted[firsts] = 0
    return shifted
