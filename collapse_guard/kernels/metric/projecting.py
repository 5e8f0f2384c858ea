"""Documents as points in few dimensions: each word type pushes a document up or down each of them, by its hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.compiled import inlined_kernel, kernel
from collapse_guard.kernels.metric.numbering import mixed, number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.kernels.compiled import Int
    from collapse_guard.kernels.metric.numbering import Hashes, Ids

    Numbers = NDArray[np.int64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_ONE, _WORD = np.uint64(1), 64


def project(hashes: Hashes, offsets: Numbers, weights: Numbers, dimensions: int) -> tuple[Numbers, Numbers]:
    """Add up the weights of each document's types, with the signs that the types' hashes give in each dimension.

    Args:
        hashes: Types, those of one document behind those of the other.
        offsets: Where each document begins, and the end.
        weights: Of a type that a document has 0, 1, 2, … times; as many as the longest document needs.
        dimensions: How many; the signs of the first do not depend on it.

    Returns:
        Sums, shape (documents, dimensions); each document's sum of squared weights. Integers: no order matters.
    """
    ids, distinct = number(hashes)
    words = -(-dimensions // _WORD)
    signs = np.empty((distinct.size, words), np.uint64)
    _draw_signs(distinct, signs)
    sums, squares = np.zeros((offsets.size - 1, words * _WORD), np.int64), np.zeros(offsets.size - 1, np.int64)
    here = np.full((distinct.size, 2), -1, np.int64)
    _project(ids, offsets, np.diff(weights), np.diff(weights**2), signs, here, sums, squares)
    return sums[:, :dimensions], squares


@kernel
def _draw_signs(hashes: Hashes, signs: Hashes) -> None:
    for i in range(hashes.size):
        for word in range(signs.shape[1]):
            signs[i, word] = mixed(hashes[i] + _STEP * np.uint64(word + 1))


@kernel
def _project(  # noqa: PLR0917 - a kernel takes no keywords
    ids: Ids,
    offsets: Numbers,
    steps: Numbers,
    square_steps: Numbers,
    signs: Hashes,
    here: Numbers,
    sums: Numbers,
    squares: Numbers,
) -> None:
    for n in range(offsets.size - 1):
        for place in range(offsets[n], offsets[n + 1]):
            i = ids[place]
            if here[i, 0] != n:
                here[i, 0], here[i, 1] = n, 0
            squares[n] += square_steps[here[i, 1]]
            _push(sums[n], signs[i], steps[here[i, 1]])
            here[i, 1] += 1


@kernel
def _push(sums: Numbers, signs: Hashes, step: Int) -> None:
    for word in range(signs.size):
        _push_word(sums[word * _WORD : (word + 1) * _WORD], signs[word], step)


@inlined_kernel
def _push_word(sums: Numbers, signs: np.uint64, step: Int) -> None:
    for k in range(_WORD):
        negative = -np.int64((signs >> np.uint64(k)) & _ONE)
        sums[k] += (step ^ negative) - negative
