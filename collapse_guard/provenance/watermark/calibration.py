"""Nulls that hold on real text: decoy keys, common n-grams left out, and the rate of a key in human text.

The exact nulls take every n-gram of a document as a fresh draw. In human text some n-grams are in so many documents
that their draws, which are fixed for a key, shift all documents the same way, and each key by another amount. Measured
on human prose (`python -m benchmarks watermark_statistics`): leaving out the n-grams that are in more than 5 % of the
documents of a reservoir brings every scheme with a context to its nominal error for every key, and costs little power,
because common n-grams are predictable and predictable tokens carry no mark. Unigram, whose draws are single tokens,
needs the rate of the key in the reservoir too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from collapse_guard.errors import UsageError
from collapse_guard.provenance.watermark.keys import Key, scheme_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

COMMON_SHARE = 0.05
"""Share of a reservoir's documents from which on an n-gram is common."""
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_WORD64 = 2**64 - 1
_INT64 = 2**63 - 1


def decoys(key: Key, count: int, seed: int) -> list[Key]:
    """Draw keys that mark nothing: the same scheme and parameters with random secrets.

    Args:
        key: The key that they stand beside.
        count: How many.
        seed: Fixes the secrets.

    Returns:
        Keys with ids of their own.

    Raises:
        UsageError: The key's scheme cannot be tested.
    """
    scheme = scheme_of(key.scheme)
    if scheme is None:
        raise UsageError(f"key {key.id!r}: the scheme {key.scheme} cannot be tested, so it has no decoys")
    high = min(scheme.high, _INT64)
    if key.scheme == "exp_markllm":
        high = min(high, _WORD64 // max((key.vocab_size or 1) - 1, 1))
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        secrets = random.integers(max(scheme.low, 1), high, max(len(key.keys or ()), 1), endpoint=True).tolist()
        fields: dict[str, Any] = {"keys": tuple(secrets)} if "keys" in scheme.fields else {"key": secrets[0]}
        made.append(dataclasses.replace(key, id=f"{key.id}-decoy-{number + 1}", unavailable=None, **fields))
    return made


def decoy_p(real: ArrayLike, decoy_scores: ArrayLike) -> NDArray[np.float64]:
    """The chance of a score under a key that marks nothing, whatever the text repeats.

    Valid if the real secret was drawn like the decoys'. Never below 1/(M + 1): it is for sources and corpora, not for
    false discovery rates over many documents.
    Source: Phipson and Smyth 2010, "Permutation p-values should never be zero".

    Args:
        real: n scores under the key.
        decoy_scores: M rows of n scores under the decoys, on the same documents.

    Returns:
        n p-values.
    """
    others = np.asarray(decoy_scores, dtype=np.float64)
    reached = np.count_nonzero(others >= np.asarray(real), axis=0)
    return np.asarray((1.0 + reached) / (len(others) + 1.0), dtype=np.float64)


def decoy_z(real: ArrayLike, decoy_scores: ArrayLike) -> NDArray[np.float64]:
    """Scores in standard deviations from the mean of the decoys on the same document; NaN where these all agree."""
    others = np.asarray(decoy_scores, dtype=np.float64)
    spread = others.std(axis=0, ddof=1)
    off: NDArray[np.float64] = np.asarray(real, dtype=np.float64) - others.mean(axis=0)
    return np.asarray(np.divide(off, spread, out=np.full_like(off, np.nan), where=spread > 0), dtype=np.float64)


@dataclass(frozen=True)
class Null:
    """How documents that nobody marked score under one key: sums over documents, so that shards add up.

    Attributes:
        documents: Documents with scored tokens.
        tokens: Scored tokens.
        total: Sum of the scores.
        squares: Sum of total² / tokens over documents.
    """

    documents: int = 0
    tokens: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, totals: ArrayLike, counts: ArrayLike) -> Self:
        """Add up documents of human text: total score and scored tokens of each."""
        scored = np.asarray(counts) > 0
        total, count = np.asarray(totals, dtype=np.float64)[scored], np.asarray(counts)[scored]
        return cls(int(scored.sum()), int(count.sum()), float(total.sum()), float(np.sum(total**2 / count)))

    def __add__(self, other: Null) -> Null:
        return Null(
            self.documents + other.documents,
            self.tokens + other.tokens,
            self.total + other.total,
            self.squares + other.squares,
        )

    @property
    def mean(self) -> float:
        """Mean score of a token; NaN without tokens."""
        return self.total / self.tokens if self.tokens else float("nan")

    def dispersion(self, variance: float) -> float:
        """How much more documents differ than independent tokens with this variance would make them; at least 1."""
        if self.documents <= 1:
            return 1.0
        deviations = self.squares - 2 * self.mean * self.total + self.mean**2 * self.tokens
        return max(1.0, deviations / (self.documents - 1) / variance)

    def adjust(
        self, totals: ArrayLike, counts: ArrayLike, mean: float, variance: float
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Turn scores into ones that the exact null holds for.

        Args:
            totals: Sum of the scores of each document.
            counts: Scored tokens of each document.
            mean: Of one token under the exact null.
            variance: Of one token under the exact null.

        Returns:
            Totals less what this key adds to human text, and the number of independent tokens that they are worth.

        Raises:
            UsageError: No human text was scored.
        """
        if not self.tokens:
            raise UsageError("a key cannot be calibrated on human text of which no token was scored; give more of it")
        count = np.asarray(counts, dtype=np.int64)
        worth = np.floor(count / self.dispersion(variance)).astype(np.int64)
        each = np.divide(totals, count, out=np.full(count.shape, mean), where=count > 0) - (self.mean - mean)
        return np.maximum(each * worth, 0.0), worth

    def to_json(self) -> dict[str, Any]:
        """The sums."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what `to_json` gave."""
        return cls(**value)


class CommonNgrams:
    """N-grams of token ids that are in many human documents: one list per tokenizer and width, good for all its keys.

    Args:
        width: Ids of an n-gram: the context and the token.
        hashes: Ascending 64-bit hashes.
    """

    def __init__(self, width: int, hashes: NDArray[np.uint64]) -> None:
        self.width, self.hashes = width, hashes

    @classmethod
    def of(
        cls, flat_ids: NDArray[np.int64], offsets: NDArray[np.int64], width: int, share: float = COMMON_SHARE
    ) -> Self:
        """List the n-grams that more than a share of the documents have.

        A sample of some 5,000 documents is enough.

        Args:
            flat_ids: Token ids of all documents, one after the other.
            offsets: n + 1 places where the documents begin and end.
            width: Ids of an n-gram.
            share: Of the documents, in (0, 1].

        Returns:
            The list.
        """
        documents = offsets.size - 1
        seen = [_hashes(flat_ids[offsets[n] : offsets[n + 1]], width) for n in range(documents)]
        once = np.concatenate([np.zeros(0, np.uint64), *(np.unique(one) for one in seen)])
        hashes, found = np.unique(once, return_counts=True)
        return cls(width, hashes[found > share * documents])

    def places(self, flat_ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of each of T tokens whether the n-gram that it ends is common; never across documents.

        Args:
            flat_ids: T token ids.
            offsets: n + 1 places where the documents begin and end.

        Returns:
            T booleans.
        """
        common = np.zeros(flat_ids.size, np.bool_)
        if self.hashes.size and flat_ids.size >= self.width:
            at = np.searchsorted(self.hashes, found := _hashes(flat_ids, self.width))
            common[self.width - 1 :] = self.hashes[np.minimum(at, self.hashes.size - 1)] == found
        for before in range(self.width - 1):
            starts = offsets[:-1] + before
            common[starts[starts < offsets[1:]]] = False
        return common

    def __len__(self) -> int:
        return self.hashes.size


def _hashes(ids: NDArray[np.int64], width: int) -> NDArray[np.uint64]:
    """Hash each run of `width` ids."""
    size = max(ids.size - width + 1, 0)
    value = np.full(size, width, np.uint64)
    for k in range(width):
        value = (value ^ ids[k : k + size].astype(np.uint64)) * _GOLDEN
        value = (value ^ (value >> np.uint64(30))) * _FIRST
        value = (value ^ (value >> np.uint64(27))) * _SECOND
        value ^= value >> np.uint64(31)
    return value
