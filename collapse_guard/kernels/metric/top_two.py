"""In how many documents an n-gram occurs, and how often in the two that hold most of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.kernels.compiled import Int
    from collapse_guard.kernels.metric.numbering import Ids

    Numbers = NDArray[np.int64]

MOST, WHERE, SECOND, HERE, LAST = range(5)
"""Columns of `tops`: largest count in a document, which document, largest count in another, then what loops need."""


def top_two(ids: Ids, offsets: Numbers, size: int) -> Numbers:
    """Count each n-gram in each document and keep the two largest counts, of different documents.

    Args:
        ids: Numbers of the n-grams, those of one document behind those of the other.
        offsets: Where each document begins, and the end.
        size: How many numbers there are.

    Returns:
        Shape (size, 5): the first three columns are for the caller. Of documents that tie, the first counts as largest.
    """
    tops = np.zeros((size, 5), np.int64)
    tops[:, WHERE] = tops[:, LAST] = -1
    _top_two(ids, offsets, tops)
    return tops


@kernel
def _top_two(ids: Ids, offsets: Numbers, tops: Numbers) -> None:
    for n in range(offsets.size - 1):
        for place in range(offsets[n], offsets[n + 1]):
            i = ids[place]
            count = _count_here(tops, i, n)
            if tops[i, WHERE] == n:
                tops[i, MOST] = count
            elif count > tops[i, MOST]:
                tops[i, SECOND], tops[i, MOST], tops[i, WHERE] = tops[i, MOST], count, n
            elif count > tops[i, SECOND]:
                tops[i, SECOND] = count


@kernel
def _count_here(tops: Numbers, i: Int, n: Int) -> Int:
    """Count one more of an n-gram in document `n`."""
    if tops[i, LAST] != n:
        tops[i, LAST], tops[i, HERE] = n, 0
    tops[i, HERE] += 1
    return tops[i, HERE]


def found_elsewhere(ids: Ids, offsets: Numbers, tops: Numbers, first: int = 0) -> Numbers:
    """Count the n-grams of each document that some one other document has as often.

    Args:
        ids: As for `top_two`.
        offsets: As for `top_two`.
        tops: What `top_two` gave for these or more documents; its last two columns are written to.
        first: Number of the first of these documents in the column WHERE.

    Returns:
        One count per document: the numerators of BLEU's precision with all others as references.
    """
    found = np.zeros(offsets.size - 1, np.int64)
    tops[:, LAST] = -1
    _found_elsewhere(ids, offsets, tops, first, found)
    return found


@kernel
def _found_elsewhere(ids: Ids, offsets: Numbers, tops: Numbers, first: int, found: Numbers) -> None:
    for n in range(offsets.size - 1):
        for place in range(offsets[n], offsets[n + 1]):
            i = ids[place]
            bound = tops[i, SECOND] if tops[i, WHERE] == n + first else tops[i, MOST]
            found[n] += _count_here(tops, i, n) <= bound


def document_counts(ids: Ids, offsets: Numbers, size: int) -> Numbers:
    """Count the documents in which each n-gram occurs; arguments as for `top_two`."""
    counts = np.zeros((size, 2), np.int64)
    counts[:, 1] = -1
    _document_counts(ids, offsets, counts)
    return counts[:, 0]


@kernel
def _document_counts(ids: Ids, offsets: Numbers, counts: Numbers) -> None:
    for n in range(offsets.size - 1):
        for place in range(offsets[n], offsets[n + 1]):
            i = ids[place]
            counts[i, 0] += counts[i, 1] != n
            counts[i, 1] = n
