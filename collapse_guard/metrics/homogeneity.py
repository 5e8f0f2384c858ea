"""How alike the documents of a corpus are: exact self-BLEU in time that grows with the tokens, not their pairs.

BLEU clips the count of an n-gram at its largest count in one reference. With all other documents as references that is
the largest count anywhere, or the second largest for the document that holds the largest: two counts per n-gram
replace the comparison of every document with every other.
Source: Zhu et al. 2018 (self-BLEU); Papineni et al. 2002 (BLEU); the two counts: this project.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from collapse_guard.metrics import Tokens

    Hashes = NDArray[np.uint64]
    Numbers = NDArray[np.int64]
    Floats = NDArray[np.float64]

ORDERS = 4
_FLOOR = 0.1
"""Stands for a numerator of 0 (nltk's smoothing method 1; Chen and Cherry 2014)."""
_NOWHERE = np.iinfo(np.int64).max


def self_bleu(tokens: Tokens) -> float | None:
    """Mean BLEU-4 of each document with all others as references, to the last bits what nltk computes.

    As there: smoothing method 1, equal weights, brevity penalty with the closest length, of two the shorter. A document
    that shares no token with others, or has none, scores 0; one of fewer than four tokens has precision 0.1 for the
    n-grams that it is too short for. It grows with the number of documents: compare at equal numbers only.

    Args:
        tokens: The documents; their order does not matter.

    Returns:
        Between 0 and 1; null for fewer than two documents.
    """
    from collapse_guard.kernels.metric import top_two as kernels  # noqa: PLC0415 - reading a policy needs no compiler

    if len(tokens.offsets) < 3:  # noqa: PLR2004 - two documents
        return None
    found = [
        kernels.found_elsewhere(ids, offsets, kernels.top_two(ids, offsets, len(distinct)))
        for ids, offsets, distinct in _numbered(tokens)
    ]
    lengths = np.diff(tokens.offsets)
    return math.fsum(_scores(found, lengths, np.sort(lengths)).tolist()) / len(lengths)


def _numbered(tokens: Tokens) -> Iterator[tuple[NDArray[np.signedinteger], Numbers, Hashes]]:
    """For n = 1 to 4: the number of each n-gram, where documents begin in them, the hash of each number."""
    from collapse_guard.kernels.metric.numbering import next_grams, number  # noqa: PLC0415 - as above

    grams, offsets = tokens.hashes, tokens.offsets
    for order in range(ORDERS):
        if order:
            grams, offsets = next_grams(grams, offsets)
        ids, distinct = number(grams)
        yield ids, offsets, distinct


def _scores(found: list[Numbers], lengths: Numbers, others: Numbers) -> Floats:
    """BLEU from the numerators of its precisions.

    Args:
        found: For n = 1 to 4, n-grams of each document that are found elsewhere.
        lengths: Tokens of each document.
        others: Tokens of each document of the whole corpus, ascending.

    Returns:
        One score per document.
    """
    product = np.ones(len(lengths))
    for order, numerators in enumerate(found):
        product *= np.where(numerators == 0, _FLOOR, numerators) / np.maximum(lengths - order, 1)
    short = 1 - _closest(lengths, others) / np.maximum(lengths, 1)
    penalty = np.array([math.exp(min(value, 0.0)) for value in short.tolist()])
    return np.asarray(np.where(found[0] == 0, 0.0, penalty * np.sqrt(np.sqrt(product))), np.float64)


def _closest(lengths: Numbers, others: Numbers) -> Numbers:
    """The length of another document that is closest to each, of two the shorter."""
    low, high = np.searchsorted(others, lengths, "left"), np.searchsorted(others, lengths, "right")
    below = np.where(low > 0, others[np.maximum(low - 1, 0)], -_NOWHERE // 2)
    above = np.where(high < len(others), others[np.minimum(high, len(others) - 1)], _NOWHERE // 2)
    closest = np.where(lengths - below <= above - lengths, below, above)
    return np.where(high - low > 1, lengths, closest)


@dataclass(frozen=True)
class _Tops:
    """For sorted hashes: the largest count in a document, that document, the largest count in another."""

    hashes: Hashes
    rows: Numbers

    def merged(self, other: _Tops) -> _Tops:
        hashes, places = np.unique(np.concatenate([self.hashes, other.hashes]), return_inverse=True)
        ours, theirs = (np.tile(np.array([0, _NOWHERE, 0], np.int64), (len(hashes), 1)) for _ in range(2))
        ours[places[: len(self.hashes)]] = self.rows
        theirs[places[len(self.hashes) :]] = other.rows
        behind = (ours[:, 0] < theirs[:, 0]) | ((ours[:, 0] == theirs[:, 0]) & (ours[:, 1] > theirs[:, 1]))
        first, second = np.where(behind[:, None], theirs, ours), np.where(behind[:, None], ours, theirs)
        first[:, 2] = np.maximum(first[:, 2], second[:, 0])
        return _Tops(hashes, first)

    def lookup(self, hashes: Hashes) -> Numbers:
        """Rows of hashes that are all there, with room for what the kernel notes."""
        rows = np.zeros((len(hashes), 5), np.int64)
        places = np.searchsorted(self.hashes, hashes)
        if not np.array_equal(self.hashes[places[places < len(self.hashes)]], hashes):
            raise UsageError(
                "The documents hold n-grams that the state does not; merge the documents' own state into it."
            )
        rows[:, :3] = self.rows[places]
        return rows


@dataclass(frozen=True)
class TopTwo:
    """What self-BLEU needs to know of all documents of a corpus, for n-grams of one to four tokens, and all lengths.

    States of different documents merge exactly: no order or grouping of merges changes a bit of the result.
    """

    tops: tuple[_Tops, ...]
    lengths: Numbers

    @classmethod
    def of(cls, tokens: Tokens, first_document: int = 0) -> TopTwo:
        """Count the n-grams of some documents.

        Args:
            tokens: The documents.
            first_document: Number of the first; no two documents of a corpus may have the same.

        Returns:
            The state of these documents alone.
        """
        from collapse_guard.kernels.metric.top_two import top_two  # noqa: PLC0415 - as above

        tops = []
        for ids, offsets, distinct in _numbered(tokens):
            rows = top_two(ids, offsets, len(distinct))[:, :3] + np.array([0, first_document, 0])
            order = np.argsort(distinct)
            tops.append(_Tops(distinct[order], rows[order]))
        return cls(tuple(tops), np.sort(np.diff(tokens.offsets)))

    def merged(self, other: TopTwo) -> TopTwo:
        """The state of both, which must be of different documents."""
        tops = (ours.merged(theirs) for ours, theirs in zip(self.tops, other.tops, strict=True))
        return TopTwo(tuple(tops), np.sort(np.concatenate([self.lengths, other.lengths])))

    def scores(self, tokens: Tokens, first_document: int = 0) -> Floats:
        """BLEU-4 of some documents of the corpus with all others of it as references, however it is divided.

        Args:
            tokens: Documents that are part of this state.
            first_document: As it was given for them.

        Returns:
            One score per document; the mean over all documents of the corpus is self-BLEU.

        Raises:
            UsageError: The documents hold n-grams that this state does not.
        """
        from collapse_guard.kernels.metric.top_two import found_elsewhere  # noqa: PLC0415 - as above

        found = [
            found_elsewhere(ids, offsets, tops.lookup(distinct), first_document)
            for tops, (ids, offsets, distinct) in zip(self.tops, _numbered(tokens), strict=True)
        ]
        return _scores(found, np.diff(tokens.offsets), self.lengths)
