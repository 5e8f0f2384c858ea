"""Stretches of a sequence that score high in sum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from collapse_guard.kernels.compiled import kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def segments(scores: NDArray[np.float64], least: float, bounds: NDArray[np.int64], sums: NDArray[np.float64]) -> int:
    """Find the segments whose sum reaches a least one, each from its first gain to its greatest sum.

    A segment ends for good where the sum has fallen by `least` from its greatest or to nothing; the search goes on
    after its greatest. No place is looked at again except between such an end and the greatest before it.

    Args:
        scores: One per token; NaN counts as nothing.
        least: Sum of the least segment.
        bounds: Receives first place and place after the last of each segment, one after the other.
        sums: Receives their sums.

    Returns:
        How many there are, at most as many as tokens.
    """
    found, place, start, end, total, best = 0, 0, 0, 0, 0.0, 0.0
    while place < scores.size:
        if not math.isnan(scores[place]):
            total += scores[place]
            if total > best:
                best, end = total, place + 1
        place += 1
        if place < scores.size and total > 0 and best - total < least:
            continue
        if best >= least:
            bounds[2 * found], bounds[2 * found + 1], sums[found] = start, end, best
            found += 1
            place = end
        start, total, best = place, 0.0, 0.0
    return found


@kernel
def best_sums(
    values: NDArray[np.generic], offsets: NDArray[np.int64], tilt: float, cost: float, best: NDArray[np.float64]
) -> None:
    """Find the greatest sum of a segment of each document, where a token scores `tilt * value - cost`.

    Args:
        values: What each token contributes; 255 or NaN where it is not scored.
        offsets: n + 1 places where the documents begin and end.
        tilt: Score of one unit.
        cost: Score that every token loses.
        best: Receives n sums, 0 where no segment is above nothing.
    """
    for d in range(best.size):
        total, greatest = 0.0, 0.0
        for place in range(offsets[d], offsets[d + 1]):
            value = float(values[place])
            if value != 255.0 and not math.isnan(value):  # noqa: PLR2004 - as scorers write it
                total = max(0.0, total + tilt * value - cost)
                greatest = max(greatest, total)
        best[d] = greatest
