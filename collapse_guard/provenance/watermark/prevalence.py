"""How much of a corpus is marked, per source or domain, with a confidence interval.

Documents: those with a small p-value, less those that have one by chance, with an exact binomial interval. Tokens: the
mean score, between that of human text and that of marked text, with an interval over documents, because the tokens of a
document are marked together. Both come from sums, so shards add up.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from collapse_guard.provenance.watermark.statistics import binomial_log_sf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from collapse_guard.provenance.watermark.calibration import Null
    from collapse_guard.provenance.watermark.statistics import Effect

FOUND = 1e-4
"""p-value up to which a document counts as found: chance adds at most this much to an interval."""
FEWEST = 20
"""Documents below which the share of marked tokens is anything from 0 to 1."""
_LEVEL = 0.95
_STEPS = 60
_LONGEST = 100.0
"""Square root of the tokens from which on a mark is as good as certain to be found."""
_GRID = 1_001


class Share(NamedTuple):
    """A share with its confidence interval."""

    estimate: float | None
    """Null where there are too few documents to tell."""
    low: float
    high: float


@dataclass(frozen=True)
class Tally:
    """One group of documents under one key, as sums.

    Attributes:
        documents: Documents that are long enough to be tested.
        found: Of them, those with a p-value up to `FOUND`.
        power: Of them, those that would be found if all were marked: a sum of probabilities.
        tokens: Scored tokens.
        total: Sum of the scores.
        total_squares: Sum of the squares of the documents' totals.
        token_squares: Sum of the squares of their tokens.
        products: Sum of total times tokens.
    """

    documents: int = 0
    found: int = 0
    power: float = 0.0
    tokens: int = 0
    total: float = 0.0
    total_squares: float = 0.0
    token_squares: float = 0.0
    products: float = 0.0

    @classmethod
    def of(cls, totals: ArrayLike, counts: ArrayLike, log_p: ArrayLike, effect: Effect) -> Self:
        """Add up the documents of a group.

        Args:
            totals: Sum of the scores of each document.
            counts: Scored tokens of each document; only documents that are long enough to be tested.
            log_p: Natural logarithm of each p-value under the key.
            effect: What the mark does to one token's score.

        Returns:
            The sums.
        """
        total, count = np.asarray(totals, dtype=np.float64), np.asarray(counts, dtype=np.float64)
        found = int(np.sum(np.asarray(log_p) <= math.log(FOUND)))
        power = float(_powers(count, effect).sum())
        sums = (total.sum(), total @ total, count @ count, total @ count)
        return cls(count.size, found, power, int(count.sum()), *(float(one) for one in sums))

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Tally)))

    @property
    def mean(self) -> float:
        """Mean score of a token; NaN without tokens."""
        return self.total / self.tokens if self.tokens else math.nan

    def to_json(self) -> dict[str, Any]:
        """The sums."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        return cls(**value)


def tally(
    groups: Sequence[str], totals: ArrayLike, counts: ArrayLike, log_p: ArrayLike, effect: Effect
) -> dict[str, Tally]:
    """Add up documents by group: source, domain, language.

    Args:
        groups: The group of each document.
        totals: As in `Tally.of`, like all that follow.
        counts: Scored tokens.
        log_p: Logarithms of p-values.
        effect: What the mark does.

    Returns:
        The sums of each group, by its name.
    """
    numbers: dict[str, int] = {}
    of = np.array([numbers.setdefault(name, len(numbers)) for name in groups], np.int64)
    total, count, logs = (np.asarray(each, dtype=np.float64) for each in (totals, counts, log_p))
    found = (logs <= math.log(FOUND)).astype(np.float64)
    squares = (total * total, count * count, total * count)
    parts = (np.ones_like(total), found, _powers(count, effect), count, total, *squares)
    sums = [np.bincount(of, part, len(numbers)).tolist() for part in parts]
    rows = zip(numbers, *sums, strict=True)
    return {
        name: Tally(int(documents), int(hits), power, int(tokens), *rest)
        for name, documents, hits, power, tokens, *rest in rows
    }


def share_of_documents(group: Tally) -> Share:
    """Estimate how many documents are marked.

    The interval covers the truth with at least 95 %, where p-values hold and marks are at least as strong as assumed.
    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits"; Storey 2002 for the estimate.

    Returns:
        The share of the documents that are long enough to be tested.
    """
    if not group.documents:
        return Share(None, 0.0, 1.0)
    power = max(group.power / group.documents, FOUND)
    low, high = _binomial_interval(group.found, group.documents)
    excess = (group.found / group.documents - FOUND) / (power - FOUND) if power > FOUND else 0.0
    return Share(_clipped(excess), _clipped((low - FOUND) / (1 - FOUND)), _clipped(high / power))


def share_of_tokens(group: Tally, effect: Effect, null: Null | None = None) -> Share:
    """Estimate how many scored tokens are in marked text.

    Args:
        group: Sums over the documents of a group.
        effect: What a mark does to one token's score; a stronger mark than this is counted as more tokens.
        null: The key's scores in human text; its exact null without one.

    Returns:
        The share; null, and anything from 0 to 1, with fewer than `FEWEST` documents.
    """
    if group.documents < FEWEST or not group.tokens:
        return Share(None, 0.0, 1.0)
    base = null.mean if null and null.tokens else effect.null_mean
    error = null.dispersion(effect.null_sd**2) * effect.null_sd**2 / null.tokens if null and null.tokens else 0.0
    added = group + _imagined(group.tokens / group.documents, base, effect.marked_mean)
    bounds = [bound for each in (group, added) for bound in _mean_interval(each, error)]
    low, high, estimate = (
        (mean - base) / (effect.marked_mean - base) for mean in (min(bounds), max(bounds), group.mean)
    )
    return Share(_clipped(estimate), _clipped(low), _clipped(high))


def _mean_interval(group: Tally, error: float) -> tuple[float, float]:
    """The mean score of a token, with documents as clusters; `error` is the variance of what it is compared with."""
    mean = group.mean
    spread = group.total_squares - 2 * mean * group.products + mean**2 * group.token_squares
    variance = max(spread, 0.0) * group.documents / (group.documents - 1) / group.tokens**2 + error
    reach = NormalDist().inv_cdf(0.5 + _LEVEL / 2) * math.sqrt(variance)
    return mean - reach, mean + reach


def _imagined(tokens: float, unmarked: float, marked: float) -> Tally:
    """Two marked and two unmarked documents of average length.

    With them an interval holds where a handful of documents is marked.
    Source: Agresti and Coull 1998, "Approximate is better than exact for interval estimation".

    Returns:
        Their sums.
    """
    both, square = unmarked + marked, tokens * tokens
    squares = 2 * (unmarked**2 + marked**2) * square
    return Tally(4, 0, 0.0, round(4 * tokens), 2 * both * tokens, squares, 4 * square, 2 * both * square)


def _clipped(share: float) -> float:
    return float(min(max(share, 0.0), 1.0))


def _powers(counts: NDArray[np.float64], effect: Effect) -> NDArray[np.float64]:
    """The chance to find a mark of this effect in documents of these lengths, from a table over square roots.

    The table is the same for all shards, so that their sums are those of the whole.

    Returns:
        One chance per document.
    """
    roots, table = _power_table(effect)
    return np.interp(np.sqrt(counts), roots, table)


@lru_cache(maxsize=64)
def _power_table(effect: Effect) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    normal, roots = NormalDist(), np.linspace(0, _LONGEST, _GRID)
    gap, needed = effect.marked_mean - effect.null_mean, -normal.inv_cdf(FOUND) * effect.null_sd
    table = [normal.cdf((root * gap - needed) / effect.marked_sd) for root in roots.tolist()]
    return roots, np.array(table)


def _binomial_interval(found: int, documents: int) -> tuple[float, float]:
    """The shares that leave half of the error on either side of what was found."""
    half = (1 - _LEVEL) / 2
    low = _share_where(found, documents, half) if found else 0.0
    high = _share_where(found + 1, documents, 1 - half) if found < documents else 1.0
    return low, high


def _share_where(count: int, documents: int, chance: float) -> float:
    """The share at which so many or more are found with a chance."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        if float(binomial_log_sf(count, documents, middle)) < math.log(chance):
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
