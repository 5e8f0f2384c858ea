"""False discoveries over all documents of a corpus, from histograms that shards add up.

Source: Benjamini and Hochberg 1995, "Controlling the false discovery rate"; Benjamini and Yekutieli 2001 for
documents that depend on each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from collapse_guard.errors import DamagedDataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

WIDTH = 0.01
"""Decimal orders of magnitude of one bin: a p-value counts as up to 2.3 % larger than it is."""
BINS = 10_000
"""p-values below 1e-100 share the last bin."""
_LN10 = math.log(10)
_EULER = 0.5772156649015329


def _no_counts() -> NDArray[np.int64]:
    return np.zeros(BINS + 1, np.int64)


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many documents have which p-value: all that is needed to correct for how many were tested.

    Bin b counts p-values from 10^(-0.01 (b + 1)), excluded, to 10^(-0.01 b); the last bin has no lower edge.
    """

    counts: NDArray[np.int64] = field(default_factory=_no_counts)

    @classmethod
    def of(cls, log_p: ArrayLike) -> Self:
        """Count natural logarithms of p-values; NaN, a document that could not be tested, is not counted."""
        values = np.asarray(log_p, dtype=np.float64).ravel()
        return cls(np.bincount(_bins(values[~np.isnan(values)]), minlength=BINS + 1).astype(np.int64))

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]  # arrays are compared, not hashed

    @property
    def documents(self) -> int:
        """Documents that were tested."""
        return int(self.counts.sum())

    def q_by_bin(self, *, dependent: bool = False) -> NDArray[np.float64]:
        """The q-value of each bin, by its upper edge: never too small.

        Args:
            dependent: Whether documents may depend on each other in any way, as near-duplicates do.

        Returns:
            BINS + 1 numbers in [0, 1], falling; NaN before the first document.
        """
        reached = np.cumsum(self.counts[::-1])[::-1]
        tests = self.documents * (_harmonic(self.documents) if dependent else 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = np.log(tests) - np.arange(BINS + 1) * (WIDTH * _LN10) - np.log(reached)
        # a bin that nothing reaches has no q-value; the others take the best of the bins of larger p-values
        q = np.minimum.accumulate(np.where(reached > 0, np.exp(np.minimum(expected, 0.0)), np.inf))
        return np.where(reached > 0, q, np.nan)

    def threshold(self, q: float, *, dependent: bool = False) -> float:
        """The greatest p-value that is a discovery at a false discovery rate.

        Args:
            q: The rate, in (0, 1).
            dependent: As in `q_by_bin`.

        Returns:
            Its natural logarithm; -inf where nothing is a discovery.
        """
        passed = np.flatnonzero(self.q_by_bin(dependent=dependent) <= q)
        return float(-passed[0] * WIDTH * _LN10) if passed.size else -math.inf

    def to_json(self) -> dict[str, Any]:
        """The bins that are not empty."""
        filled = np.flatnonzero(self.counts)
        return {"width": WIDTH, "counts": {str(at): int(self.counts[at]) for at in filled}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave.

        Raises:
            DamagedDataError: These are no bins of this width.

        Returns:
            The same histogram.
        """
        try:
            filled = {int(at): int(count) for at, count in value["counts"].items()}
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise DamagedDataError("a histogram of p-values has no readable `counts`; scan again") from error
        sound = all(0 <= at <= BINS and count > 0 for at, count in filled.items())
        if value.get("width") != WIDTH or not sound:
            raise DamagedDataError(f"a histogram of p-values does not have counts of bins {WIDTH} wide; scan again")
        counts = _no_counts()
        counts[list(filled)] = list(filled.values())
        return cls(counts)


def q_values(log_p: ArrayLike, histogram: Histogram, *, dependent: bool = False) -> NDArray[np.float64]:
    """The false discovery rate at which each document is a discovery, among all that the histogram counts.

    Args:
        log_p: Natural logarithms of p-values, one per document; NaN where it could not be tested.
        histogram: Of all documents, these among them.
        dependent: As in `Histogram.q_by_bin`.

    Returns:
        q-values, never too small by the width of a bin; NaN for NaN.

    Raises:
        UsageError: The histogram does not count these documents.
    """
    values = np.asarray(log_p, dtype=np.float64)
    tested = ~np.isnan(values)
    q = np.full(values.shape, np.nan)
    q[tested] = histogram.q_by_bin(dependent=dependent)[_bins(values[tested])]
    if np.isnan(q[tested]).any():
        raise UsageError("the histogram does not count these p-values; add up the histograms of all shards first")
    return q


def _bins(log_p: NDArray[np.float64]) -> NDArray[np.int64]:
    if np.any(log_p > 0):
        raise UsageError(f"a p-value has the logarithm {log_p.max()}, above 0; give natural logarithms of p-values")
    return np.minimum(-log_p / (WIDTH * _LN10), BINS).astype(np.int64)


def _harmonic(count: int) -> float:
    """Sum of 1/k up to a count, to 1e-4 for 10 and more."""
    if count < 1:
        return 1.0
    return math.log(count) + _EULER + 1 / (2 * count)
