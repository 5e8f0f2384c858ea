"""Tokens of documents as hashes, and how often each n-gram of them occurs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    def __len__(self) -> int:
        """Documents."""
        return len(self.offsets) - 1

    @classmethod
    def of(cls, texts: Iterable[pa.ChunkedArray], budget: int | None = None) -> Tokens:
        """Take the first tokens of a stream of texts.

        Args:
            texts: Documents in the order in which they count.
            budget: Tokens at most; the last document is cut there. By default all.

        Returns:
            The tokens; fewer where the stream holds fewer.
        """
        from collapse_guard.kernels.tokens import token_hashes  # noqa: PLC0415 - reading a policy needs no kernel

        parts: list[Tokens] = []
        left = budget
        for column in texts:
            if left is not None and left <= 0:
                break
            found = cls(*token_hashes(column))
            parts.append(found if left is None else found.first(left))
            left = None if left is None else left - len(parts[-1].hashes)
        return cls.joined(parts)

    @classmethod
    def joined(cls, parts: Iterable[Tokens]) -> Tokens:
        """Put the documents of several parts behind each other."""
        held = list(parts)
        lengths = [np.diff(part.offsets) for part in held]
        ends = np.cumsum(np.concatenate(lengths)) if lengths else np.empty(0, np.int64)
        hashes = np.concatenate([part.hashes for part in held]) if held else np.empty(0, np.uint64)
        return cls(np.concatenate([np.zeros(1, np.int64), ends]).astype(np.int64), hashes)

    @property
    def lengths(self) -> Numbers:
        """Tokens of each document."""
        return np.diff(self.offsets)

    def first(self, budget: int) -> Tokens:
        """The first tokens; the document at the end is cut."""
        if budget >= len(self.hashes):
            return self
        whole = int(np.searchsorted(self.offsets, budget, side="left"))
        return Tokens(np.append(self.offsets[:whole], budget), self.hashes[:budget])

    def passages(self, starts: Numbers, length: int) -> Tokens:
        """Cut every document to at most so many tokens from a place on."""
        begins = self.offsets[:-1] + starts
        lengths = np.minimum(self.offsets[1:] - begins, length)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        places = np.arange(ends[-1]) + np.repeat(begins - ends[:-1], lengths)
        return Tokens(ends, self.hashes[places])

    def take(self, order: Numbers) -> Tokens:
        """Some documents, in another order."""
        lengths = self.lengths[order]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        places = np.arange(ends[-1]) + np.repeat(self.offsets[:-1][order] - ends[:-1], lengths)
        return Tokens(ends, self.hashes[places])

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
        from collapse_guard.kernels.metric.counting import count_hashes  # noqa: PLC0415 - reading a policy needs no kernel

        return cls(*count_hashes(hashes))

    def merged(self, other: Counts) -> Counts:
        """Add two counts up."""
        hashes, places = np.unique(np.concatenate([self.hashes, other.hashes]), return_inverse=True)
        counts = np.bincount(places, weights=np.concatenate([self.counts, other.counts]), minlength=len(hashes))
        return Counts(hashes, counts.astype(np.int64))

    def lookup(self, hashes: Hashes) -> Numbers:
        """The count of each hash; 0 for one that never occurred."""
        from collapse_guard.kernels.metric.looking_up import look_up  # noqa: PLC0415 - reading a policy needs no kernel

        return look_up(self.hashes, self.counts, hashes)

    def between(self, low: int, high: int) -> Hashes:
        """The n-grams that occur from `low` to `high` times."""
        return self.hashes[(self.counts >= low) & (self.counts <= high)]

    @property
    def total(self) -> int:
        """All occurrences."""
        return int(self.counts.sum())
