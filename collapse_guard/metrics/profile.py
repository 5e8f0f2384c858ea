"""A mergeable summary of a corpus: n-gram counts of a sample at a fixed budget, and tokens by origin."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Numbers = NDArray[np.int64]

ORDERS = (1, 2, 3)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIXER = np.uint64(0xD6E8FEB86659FD93)


@dataclass(frozen=True)
class Tokens:
    """The tokens of some documents as hashes, one document after the other; `offsets` has one more entry."""

    offsets: Numbers
    hashes: Hashes

    @classmethod
    def of(cls, texts: Iterable[pa.ChunkedArray], budget: int) -> Tokens:
        """Take the first tokens of a stream of texts.

        Args:
            texts: Documents in the order in which they count.
            budget: Tokens at most; the last document is cut there.

        Returns:
            The tokens; fewer where the stream holds fewer.
        """
        from collapse_guard.kernels.tokens import token_hashes  # noqa: PLC0415 - reading a policy needs no kernel

        parts: list[Tokens] = []
        left = budget
        for column in texts:
            if left <= 0:
                break
            parts.append(cls(*token_hashes(column)).first(left))
            left -= len(parts[-1].hashes)
        return cls.joined(parts)

    @classmethod
    def joined(cls, parts: Iterable[Tokens]) -> Tokens:
        """Put the documents of several parts behind each other."""
        held = list(parts)
        lengths = [np.diff(part.offsets) for part in held]
        ends = np.cumsum(np.concatenate(lengths)) if lengths else np.empty(0, np.int64)
        hashes = np.concatenate([part.hashes for part in held]) if held else np.empty(0, np.uint64)
        return cls(np.concatenate([np.zeros(1, np.int64), ends]).astype(np.int64), hashes)

    def first(self, budget: int) -> Tokens:
        """The first tokens; the document at the end is cut."""
        if budget >= len(self.hashes):
            return self
        whole = int(np.searchsorted(self.offsets, budget, side="left"))
        return Tokens(np.append(self.offsets[:whole], budget), self.hashes[:budget])

    def drawn(self, order: Numbers, budget: int) -> Tokens:
        """The documents in another order, up to a budget."""
        lengths = np.diff(self.offsets)[order]
        count = int(np.searchsorted(np.cumsum(lengths), budget, side="left")) + 1
        pieces = [self.hashes[self.offsets[index] : self.offsets[index + 1]] for index in order[:count].tolist()]
        ends = np.cumsum(lengths[:count])
        drawn = np.concatenate(pieces) if pieces else np.empty(0, np.uint64)
        return Tokens(np.concatenate([np.zeros(1, np.int64), ends]), drawn).first(budget)

    def grams(self) -> list[tuple[Hashes, NDArray[np.bool_]]]:
        """Hash the n-gram that ends at every token.

        Returns:
            For n = 1, 2, 3: one hash per token, and whether the n-gram lies within one document.
        """
        ages = np.arange(len(self.hashes)) - np.repeat(self.offsets[:-1], np.diff(self.offsets))
        found = [(self.hashes, np.ones(len(self.hashes), bool))]
        for order in ORDERS[1:]:
            before = np.concatenate([np.zeros(1, np.uint64), found[-1][0][:-1]])
            found.append((_combine(before, self.hashes), ages >= order - 1))
        return found


def _combine(before: Hashes, last: Hashes) -> Hashes:
    with np.errstate(over="ignore"):
        mixed = (before * _MULTIPLIER) ^ last
        mixed ^= mixed >> np.uint64(32)
        mixed *= _MIXER
        return np.asarray(mixed ^ (mixed >> np.uint64(29)), np.uint64)


@dataclass(frozen=True)
class Counts:
    """How often each n-gram occurs: sorted hashes and their counts."""

    hashes: Hashes
    counts: Numbers

    @classmethod
    def of(cls, hashes: Hashes) -> Counts:
        """Count hashes."""
        return cls(*np.unique(hashes, return_counts=True))

    def merged(self, other: Counts) -> Counts:
        """Add two counts up."""
        hashes, places = np.unique(np.concatenate([self.hashes, other.hashes]), return_inverse=True)
        counts = np.bincount(places, weights=np.concatenate([self.counts, other.counts]), minlength=len(hashes))
        return Counts(hashes, counts.astype(np.int64))

    def lookup(self, hashes: Hashes) -> Numbers:
        """The count of each hash; 0 for one that never occurred."""
        if not len(self.hashes):
            return np.zeros(len(hashes), np.int64)
        places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.where(self.hashes[places] == hashes, self.counts[places], 0)

    @property
    def total(self) -> int:
        """All occurrences."""
        return int(self.counts.sum())


@dataclass(frozen=True)
class Profile:
    """What metrics are computed from.

    `grams` holds the counts for n = 1, 2, 3 of the sampled tokens; `origin_tokens` covers the whole corpus.
    """

    grams: tuple[Counts, Counts, Counts]
    origin_tokens: Mapping[str, int]

    @classmethod
    def of(cls, tokens: Tokens, origin_tokens: Mapping[str, int]) -> Profile:
        """Summarise sampled tokens."""
        unigrams, bigrams, trigrams = (Counts.of(hashes[within]) for hashes, within in tokens.grams())
        return cls((unigrams, bigrams, trigrams), origin_tokens)

    @property
    def sampled(self) -> int:
        """Tokens in the sample."""
        return self.grams[0].total

    def merged(self, other: Profile) -> Profile:
        """The profile of both samples together; the order of merging does not matter."""
        unigrams, bigrams, trigrams = (a.merged(b) for a, b in zip(self.grams, other.grams, strict=True))
        tokens = Counter(self.origin_tokens) + Counter(other.origin_tokens)
        return Profile((unigrams, bigrams, trigrams), tokens)
