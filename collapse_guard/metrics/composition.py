"""How far the make-up of a corpus is from that of another: population stability index and Jensen-Shannon divergence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from collapse_guard.metrics.sample import Reference, Sample

FLOOR = 1e-4
"""A share of nothing counts as this in the PSI, which has no other limit."""
RARE = 0.02
LEAST_KNOWN = 0.5
"""Of a side's words, at least this share needs a label that the other side has too: else labels do not compare."""


def psi(shares: Mapping[str, float], expected: Mapping[str, float]) -> float:
    """Population stability index: the sum of (p - q) ln(p / q), with rare values as one.

    Values of which less than 2 % was expected are counted together: that a handful of them is missing from a sample is
    a lost tail, or chance, and no shift of the population. Shares below 0.0001 count as that.

    Args:
        shares: Of each value, here.
        expected: Of each value, in the population to compare with.

    Returns:
        The index; 0 for equal shares.
    """
    common = {value for value, share in expected.items() if share >= RARE}
    ours, theirs = (_pooled(side, common) for side in (shares, expected))
    pairs = [(max(ours.get(value, 0.0), FLOOR), max(theirs.get(value, 0.0), FLOOR)) for value in {*ours, *theirs}]
    return math.fsum((p - q) * math.log(p / q) for p, q in pairs)


def _pooled(shares: Mapping[str, float], common: set[str]) -> dict[str | None, float]:
    kept: dict[str | None, float] = {value: share for value, share in shares.items() if value in common}
    rest = math.fsum(share for value, share in shares.items() if value not in common)
    return {**kept, None: rest} if rest > 0 else kept


def jensen_shannon(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Jensen-Shannon divergence of two distributions over the same outcomes, in bits, from 0 to 1 (Lin 1991)."""
    middle = (p + q) / 2
    sums = (float(np.sum(side[side > 0] * np.log2(side[side > 0] / middle[side > 0]))) for side in (p, q))
    return math.fsum(sums) / 2


def comparable(sample: Sample, reference: Reference, label: str) -> bool:
    """Whether both sides say what their documents are in the same words; the reservoir's own documents do not count."""
    theirs = reference.plain.shares(label)
    if label == "length":  # everybody counts it in the same way
        return bool(theirs and sample.words)
    return sample.known(label, set(theirs)) >= LEAST_KNOWN and reference.plain.labelled(label) >= LEAST_KNOWN


def label_psi(sample: Sample, reference: Reference, label: str) -> float | None:
    """PSI over the values of a label; null where the labels of the two do not compare."""
    if not comparable(sample, reference, label):
        return None
    return psi(sample.shares(label), reference.plain.shares(label))


def label_divergence(sample: Sample, reference: Reference, label: str) -> float | None:
    """Jensen-Shannon divergence over the values of a label; null where the labels of the two do not compare."""
    if not comparable(sample, reference, label):
        return None
    ours, theirs = sample.shares(label), reference.plain.shares(label)
    values = sorted({*ours, *theirs})
    sides = (np.array([side.get(value, 0.0) for value in values]) for side in (ours, theirs))
    return jensen_shannon(*sides)


def word_divergence(sample: Sample, reference: Reference) -> float | None:
    """Jensen-Shannon divergence between the shares of the most frequent human words, all other words being one."""
    hashes, expected = reference.common_words
    if not sample.words or not len(hashes):
        return None
    shares = sample.grams[0].lookup(hashes) / sample.words
    sides = (np.append(side, max(0.0, 1 - float(side.sum()))) for side in (shares, expected))
    return jensen_shannon(*sides)
