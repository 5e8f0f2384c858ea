"""How many types a corpus has, and how much lies beyond them: from how often each type occurs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]

_CERTAIN = 40
"""exp(-40) is lost beside 1: a type that is absent with less probability is present."""


def frequencies(counts: Numbers) -> tuple[Numbers, Numbers]:
    """Say how many types occur once, twice, and so on.

    Args:
        counts: Occurrences of each type, in any order; a 0 is no type.

    Returns:
        The counts that occur, ascending; how many types have each.
    """
    from collapse_guard.kernels.metric.counting import count_hashes  # noqa: PLC0415 - reading a policy needs no compiler

    values, types = count_hashes(counts[counts > 0].astype(np.uint64))
    return values.astype(np.int64), types


def rarefied(counts: Numbers, m: int) -> float:
    """Distinct types expected among `m` tokens that are drawn without replacement.

    A type of count c is absent with probability C(N - c, m) / C(N, m), the product of 1 - m / (N - i) for i < c; the
    logarithms are added up, so nothing is lost to cancellation.

    Args:
        counts: Occurrences of each type, in any order.
        m: Tokens drawn.

    Returns:
        At most the number of types.

    Raises:
        UsageError: There are fewer than `m` tokens.

    Source:
        Hurlbert 1971; Heck et al. 1975 (rarefaction).
    """
    values, types = frequencies(counts)
    total = int(np.dot(values, types))
    if not 0 <= m <= total:
        raise UsageError(f"{m:,} tokens cannot be drawn from {total:,}; draw at most as many as there are.")
    if m == 0:
        return 0.0
    steps = min(int(values[-1]), math.ceil(_CERTAIN * total / m), total - m)
    absent = np.cumsum(np.log1p(-m / (total - np.arange(steps, dtype=np.float64))))
    rare = int(np.searchsorted(values, steps, "right"))
    present = -np.expm1(absent[values[:rare] - 1]) * types[:rare]
    return math.fsum(present.tolist()) + int(types[rare:].sum())


def missing_mass(counts: Numbers) -> float | None:
    """Probability that the next token is of a type that has not occurred: the share of tokens whose type occurs once.

    Args:
        counts: Occurrences of each type, in any order.

    Returns:
        Between 0 and 1; null without tokens.

    Source:
        Good 1953.
    """
    total = int(counts.sum())
    return int((counts == 1).sum()) / total if total else None


def chao1(counts: Numbers) -> float | None:
    """Lower bound of the number of types in the population: those seen, and f1^2 / (2 f2) unseen ones.

    Args:
        counts: Occurrences of each type, in any order.

    Returns:
        At least the number of types seen; null without tokens. Where no type occurs twice, f1 (f1 - 1) / 2 are unseen.

    Source:
        Chao 1984.
    """
    seen, once, twice = (int(found.sum()) for found in (counts > 0, counts == 1, counts == 2))  # noqa: PLR2004
    if not seen:
        return None
    return seen + (once**2 / (2 * twice) if twice else once * (once - 1) / 2)
