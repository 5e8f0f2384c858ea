"""Watermark schemes under their keys: documents of token ids in, scores and p-values out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.errors import UsageError
from collapse_guard.kernels.watermark.contexts import UNSCORED
from collapse_guard.provenance.watermark.green import DiPmark, GreenLists, Unigram, red_places
from collapse_guard.provenance.watermark.gumbel import DualPhilox, MarkLlmExp, Philox
from collapse_guard.provenance.watermark.keys import Key, complete, untestable
from collapse_guard.provenance.watermark.scoring import Scores, summed
from collapse_guard.provenance.watermark.statistics import minimum_tokens_of
from collapse_guard.provenance.watermark.synthid import HashedSynthId, TableSynthId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from collapse_guard.provenance.watermark.scoring import Dedupe, Family, Floats, Ids, Statistic

MEMORY = 256 * 2**20
"""Bytes of green lists that a scorer keeps by default."""
EVIDENCE = 1e-5
"""The p-value of one document under one key at and below which it is evidence."""
_MANY_IDS = 2**32
_SCORERS = 8

OUTCOMES = ("evidence", "none_under_keys", "inconclusive", "unsupported")


class Scanned(NamedTuple):
    """What one key says about one document."""

    score: float
    """z of green lists, the sum of Gumbel and EXP, a mean g of SynthID; 0 where nothing was scored."""
    scored_tokens: int
    log_p: float
    """Natural logarithm of the p-value."""
    outcome: str
    """One of `OUTCOMES`."""


class Scorer:
    """One key, ready for many batches; several threads may use it at once.

    Args:
        key: A key that `unsupported_reason` has nothing against.
        memory: Bytes of green lists that may be kept between batches, where each is seeded by one id.
        statistic: `weighted` for the weighted mean of SynthID's g values.

    Raises:
        UsageError: The key cannot be tested, or has no such statistic; says why.
    """

    def __init__(self, key: Key, memory: int = MEMORY, *, statistic: Statistic = "mean") -> None:
        _check(statistic, key)
        reason = unsupported_reason(key)
        if reason is not None:
            raise UsageError(f"key {key.id!r} is unsupported: {reason}")
        self.key = key
        self.minimum = minimum_tokens_of(key, EVIDENCE)
        self._family = _family(key, memory, statistic)

    def score(
        self, flat_ids: Ids, offsets: Ids, dedupe: Dedupe = "strict", skip: NDArray[np.bool_] | None = None
    ) -> Scores:
        """Score documents.

        Args:
            flat_ids: T token ids of all documents, one after the other.
            offsets: n + 1 places where the documents begin and end, from 0 to T.
            dedupe: Which tokens count.
            skip: T tokens that are not scored whatever they are, such as those of common n-grams.

        Returns:
            The scores of n documents; nothing is scored in one that has ids outside the vocabulary.

        Raises:
            UsageError: There is no such way to count tokens.
        """
        if dedupe not in {"strict", "reference", "none"}:
            raise UsageError(f"`dedupe` is {dedupe!r}; it must be 'strict', 'reference' or 'none'")
        out = outside(flat_ids, offsets, self.key)
        lost = np.repeat(out, np.diff(offsets)) if out.any() else None
        values = self._family.values(flat_ids if lost is None else np.where(lost, 0, flat_ids), offsets, dedupe)
        for unscored in (lost, skip):
            if unscored is not None:
                values[unscored] = UNSCORED if values.dtype == np.uint8 else np.nan
        return summed(self._family, values, offsets, out)

    def log_p(self, totals: Floats, counts: Ids) -> Floats:
        """Give ln of the chance of n totals, or greater ones, over so many scored tokens; 0 without any."""
        some = counts > 0
        found = np.zeros(counts.size)
        found[some] = self._family.log_p(totals[some], counts[some])
        return found

    def outcomes(self, scores: Scores) -> NDArray[np.str_]:
        """Give n outcomes, each one of `OUTCOMES`."""
        conditions = [scores.outside, scores.scored_tokens < self.minimum, scores.log_p <= math.log(EVIDENCE)]
        return np.select(conditions, ["unsupported", "inconclusive", "evidence"], "none_under_keys")


def unsupported_reason(key: Key) -> str | None:
    """Say why a key cannot be tested here, whatever the text; null where it can."""
    return untestable(key) or _impossible(key)


def _impossible(key: Key) -> str | None:
    if key.scheme == "dipmark" and red_places(key.vocab_size or 1, key.gamma or 0.0) == 0:
        return "every place of the shuffle is favoured under its gamma"
    return None


def outside(flat_ids: Ids, offsets: Ids, key: Key) -> NDArray[np.bool_]:
    """Say which of n documents have ids that are negative or beyond the key's vocabulary."""
    wrong = (flat_ids < 0) | (flat_ids >= (key.vocab_size or _MANY_IDS))
    out = np.zeros(offsets.size - 1, np.bool_)
    if wrong.any():
        out[np.searchsorted(offsets, np.flatnonzero(wrong), side="right") - 1] = True
    return out


def score_batch(flat_ids: Ids, offsets: Ids, key: Key, dedupe: Dedupe = "strict", memory: int = MEMORY) -> Scores:
    """Score documents once; keep a `Scorer` to score more of them under the same key.

    Returns:
        As `Scorer.score`.
    """
    return Scorer(key, memory).score(flat_ids, offsets, dedupe)


def scan_tokens(
    ids: Sequence[int] | NDArray[np.integer],
    key: Mapping[str, object] | Key,
    dedupe: Dedupe = "strict",
    *,
    statistic: Statistic = "mean",
) -> Scanned:
    """Test one sequence of token ids under one key.

    Args:
        ids: Whole numbers, as the tokenizer of the key gives them; no beginning-of-text token is taken off.
        key: An entry of a key ring, with secrets as numbers.
        dedupe: Which tokens count: `strict` for p-values, `reference` as the reference implementation has it, `none`.
        statistic: `mean`, or `weighted` for DeepMind's weighted mean of SynthID's g values.

    Returns:
        The score of the reference, how many tokens are in it, the exact p-value, and the outcome.

    Raises:
        UsageError: The key is incomplete or has no such statistic, or the ids are no whole numbers.
    """
    known = complete(key) if isinstance(key, Mapping) else key
    _check(statistic, known)
    flat = _whole(ids)
    if flat is None or unsupported_reason(known) is not None:
        return Scanned(0.0, 0, 0.0, "unsupported")
    scorer = _scorer(known, statistic)
    scores = scorer.score(flat, np.array([0, flat.size]), dedupe)
    outcome = str(scorer.outcomes(scores)[0])
    return Scanned(float(scores.score[0]), int(scores.scored_tokens[0]), float(scores.log_p[0]), outcome)


def _whole(ids: Sequence[int] | NDArray[np.integer]) -> Ids | None:
    """Make an array of ids; null where one of them is beyond 64 bits, and so outside any vocabulary."""
    array = np.asarray(ids)
    if array.ndim != 1:
        raise UsageError(f"token ids must be one sequence of whole numbers, not {array.ndim} dimensions of them")
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.dtype.kind in "fO" and all(type(each) is int for each in ids):
        return _huge(ids)
    if array.dtype.kind not in "iu":
        raise UsageError(f"token ids must be whole numbers, not {array.dtype.name}")
    return None if array.dtype.kind == "u" and int(array.max()) >= 2**63 else array.astype(np.int64)


def _huge(ids: Sequence[int] | NDArray[np.integer]) -> Ids | None:
    """Make an array of Python's integers that numpy would rather have as something else."""
    try:
        return np.array(ids, np.int64)
    except OverflowError:
        return None


@lru_cache(maxsize=_SCORERS)
def _scorer(key: Key, statistic: Statistic) -> Scorer:
    return Scorer(key, memory=0, statistic=statistic)


_FAMILIES: dict[str, Callable[[Key], Family]] = {
    "unigram": Unigram,
    "dipmark": DiPmark,
    "gumbel_philox": Philox,
    "gumbel_philox_dual": DualPhilox,
    "exp_markllm": MarkLlmExp,
}
_SYNTHID: dict[str, Callable[[Key, Statistic], Family]] = {"synthid_table": TableSynthId, "synthid_iv": HashedSynthId}


def _family(key: Key, memory: int, statistic: Statistic) -> Family:
    if key.scheme in _SYNTHID:
        return _SYNTHID[key.scheme](key, statistic)
    return _FAMILIES[key.scheme](key) if key.scheme in _FAMILIES else GreenLists(key, memory)


def _check(statistic: Statistic, key: Key) -> None:
    if statistic not in {"mean", "weighted"}:
        raise UsageError(f"`statistic` is {statistic!r}; it must be 'mean' or 'weighted'")
    if statistic == "weighted" and key.scheme not in _SYNTHID:
        raise UsageError(f"`statistic` is 'weighted', which the scheme {key.scheme} has not; only SynthID's have it")
