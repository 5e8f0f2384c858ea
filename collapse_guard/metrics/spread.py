"""How far the documents and words of a corpus are spread: variance of features, effective numbers, entropy, size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.errors import UsageError
from collapse_guard.metrics.richness import frequencies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.metrics import Tokens

    Numbers = NDArray[np.int64]
    Floats = NDArray[np.float64]

RIDGE = 1e-6
"""Added to every variance before its logarithm; those of projected documents are about 0.01."""
LEVEL = 3
_WEIGHT_UNIT = 2.0**16
_UNIT = 2.0**18
_LARGEST = 2**62
"""Of the sums of squares; int64 ends at twice that."""
_EXACT = 2.0**52


def projections(tokens: Tokens, dimensions: int = 64) -> Floats:
    """Project each document's word counts to a few dimensions, without a model.

    A document is the vector of ln(1 + count) over word types, divided by its length, so that long documents weigh what
    short ones do. Every type has a random sign in every dimension, drawn from its hash and the same everywhere: inner
    products are kept on average, with standard deviation about 1 / sqrt(dimensions).

    Args:
        tokens: The documents; neither their order nor that of their tokens matters.
        dimensions: How many.

    Returns:
        Shape (documents, dimensions), rows of length about 1; zeros for a document without tokens.

    Source:
        Johnson and Lindenstrauss 1984; Achlioptas 2003 (signs); Weinberger et al. 2009 (from hashes).
    """
    from collapse_guard.kernels.metric.projecting import project  # noqa: PLC0415 - reading a policy needs no compiler

    longest = int(np.diff(tokens.offsets).max(initial=0))
    weights = np.rint(np.log1p(np.arange(longest + 1)) * _WEIGHT_UNIT).astype(np.int64)
    sums, squares = project(tokens.hashes, tokens.offsets, weights, dimensions)
    return np.asarray(sums / np.sqrt(np.maximum(squares, 1) * float(dimensions))[:, None], np.float64)


def unit_rows(features: Floats, centre: Floats) -> Floats:
    """Rows relative to a centre, divided by their length, as Vendi and RKE want them.

    Args:
        features: Shape (documents, d).
        centre: Shape (d,); a frozen one of the reservoir, or values do not compare.

    Returns:
        Rows of length 1; zeros for a document that lies at the centre, which then counts for nothing.
    """
    rows = features - centre
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0), np.float64)


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums of features and of their products over documents, in multiples of 2^-18 and 2^-36: merging is exact.

    `total` has shape (d,) and `outer` shape (d, d), both int64.
    """

    count: int
    total: Numbers
    outer: Numbers

    @classmethod
    def of(cls, features: Floats) -> Moments:
        """Sum up rows, each number rounded to a multiple of 2^-18.

        Args:
            features: Shape (documents, d).

        Returns:
            Their moments; the order of rows does not matter.

        Raises:
            UsageError: A number is not finite, or so many rows are so long that sums do not fit in 64 bits; those of
                2^25 rows of length 1 always do.
        """
        rows = np.asarray(features, np.float64)
        if not np.isfinite(rows).all():
            bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise UsageError(f"Row {bad} of the features holds a number that is not finite; leave such documents out.")
        fixed = np.rint(rows * _UNIT)
        _check((fixed**2).sum(axis=0))
        whole = fixed.astype(np.int64)
        return cls(len(rows), whole.sum(axis=0), _products(fixed))

    def merged(self, other: Moments) -> Moments:
        """The moments of both.

        Args:
            other: Moments of other documents in the same dimensions.

        Returns:
            The same to the bit in whatever order and grouping moments are merged.

        Raises:
            UsageError: Their dimensions differ, or the sums do not fit in 64 bits.
        """
        if self.total.shape != other.total.shape:
            raise UsageError(
                f"Moments in {self.total.size} and in {other.total.size} dimensions cannot be merged; "
                "compute both from the same features."
            )
        _check(np.diagonal(self.outer).astype(np.float64) + np.diagonal(other.outer))
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    def covariance(self) -> Floats:
        """The covariance of the features with divisor count - 1, shape (d, d); needs two rows."""
        outer, mean = self.outer / _UNIT**2, self.total / (_UNIT * self.count)
        return np.asarray((outer - self.count * np.outer(mean, mean)) / (self.count - 1), np.float64)


def _check(squares: Floats) -> None:
    largest = float(squares.max(initial=0.0))
    if largest >= _LARGEST:
        raise UsageError(
            f"The features' squares add up to {largest / _UNIT**2:.3g} in one dimension, more than 64 bits hold "
            f"({_LARGEST / _UNIT**2:.3g}); divide the features by their typical length, or take fewer documents."
        )


def _products(rows: Floats) -> Numbers:
    """Add up products of whole numbers exactly, in floats where these hold all sums, because that is much faster."""
    # no sum of products, in whatever order, is above the largest sum of squares (Cauchy and Schwarz)
    if np.square(rows).sum(axis=0).max(initial=0.0) <= _EXACT:
        return np.asarray((rows.T @ rows).astype(np.int64), np.int64)
    if len(rows) == 1:
        whole = rows[0].astype(np.int64)
        return np.outer(whole, whole)
    return _products(rows[: len(rows) // 2]) + _products(rows[len(rows) // 2 :])


def trace_variance(moments: Moments) -> float | None:
    """Sum of the features' variances: how far documents lie from their mean; null for fewer than two."""
    return max(float(np.trace(moments.covariance())), 0.0) if moments.count > 1 else None


def log_det(moments: Moments) -> float | None:
    """Sum of the natural logarithms of the variances along the principal directions, RIDGE added to each.

    It needs clearly more documents than dimensions: below, the ridge is most of what it says.

    Args:
        moments: Of features as they are, not of `unit_rows`.

    Returns:
        The logarithm; null for fewer than two documents.
    """
    if moments.count < 2:  # noqa: PLR2004 - one has no variance
        return None
    return float(np.log(np.maximum(np.linalg.eigvalsh(moments.covariance()), 0.0) + RIDGE).sum())


def _spectrum(moments: Moments) -> Floats | None:
    """Shares of the principal directions in the second moment, which are those of the kernel matrix K / n too."""
    trace = np.trace(moments.outer)
    if trace <= 0:
        return None
    return np.asarray(np.maximum(np.linalg.eigvalsh(moments.outer / float(trace)), 0.0), np.float64)


def vendi(moments: Moments, order: float = 1) -> float | None:
    """Effective number of unlike documents: the exponential of the entropy of their similarities' spectrum.

    Args:
        moments: Of `unit_rows`.
        order: Of Renyi's entropy; 1 is Shannon's, `math.inf` asks for the largest share alone.

    Returns:
        Between 1 and the number of dimensions; null where no row has a length.

    Source:
        Friedman and Dieng 2023; Pasarkar and Dieng 2024 (orders). From d x d moments: this project.
    """
    shares = _spectrum(moments)
    if shares is None:
        return None
    if order == 1:
        positive = shares[shares > 0]
        return float(np.exp(-(positive * np.log(positive)).sum()))
    if math.isinf(order):
        return float(1 / shares.max())
    return float((shares[shares > 0] ** order).sum() ** (1 / (1 - order)))


def rke(moments: Moments) -> float | None:
    """Effective number of modes: the inverse of the mean squared similarity of two documents.

    Args:
        moments: Of `unit_rows`.

    Returns:
        Between 1 and the number of dimensions, `vendi` of order 2; null where no row has a length.

    Source:
        Jalali et al. 2023.
    """
    trace = float(np.trace(moments.outer))
    return float(1 / np.square(moments.outer / trace).sum()) if trace > 0 else None


def entropy(counts: Numbers) -> float | None:
    """Entropy of a distribution in bits from counts, with (types - 1) / 2N nats added for what counts miss.

    Args:
        counts: Occurrences of each type, in any order.

    Returns:
        Bits; null without tokens.

    Source:
        Shannon 1948; Miller 1955 and Madow 1948 (the correction).
    """
    values, types = frequencies(counts)
    total = int(np.dot(values, types))
    if not total:
        return None
    pairs = zip(values.tolist(), types.tolist(), strict=True)
    nats = math.fsum(many * count / total * math.log(total / count) for count, many in pairs)
    return (nats + (int(types.sum()) - 1) / (2 * total)) / math.log(2)


def simpson(counts: Numbers) -> float | None:
    """Probability that two different tokens are of different types.

    Args:
        counts: Occurrences of each type, in any order.

    Returns:
        Between 0 and 1, without bias; null for fewer than two tokens.

    Source:
        Simpson 1949.
    """
    values, types = (found.tolist() for found in frequencies(counts))
    total = sum(count * many for count, many in zip(values, types, strict=True))
    alike = sum(count * (count - 1) * many for count, many in zip(values, types, strict=True))
    return 1 - alike / (total * (total - 1)) if total > 1 else None


def compression(tokens: Tokens) -> float | None:
    """Bits per token of the documents, one behind the other, in one zstandard frame.

    A token is written as the 32-bit number of its type in the order of first appearance, lowest byte first, so that the
    spelling of words plays no part; LEVEL is fixed. Compare at an equal number of tokens, with one version of
    zstandard, and documents in one order: this is the one measure here that depends on it.

    Args:
        tokens: The documents.

    Returns:
        Bits; null without tokens.

    Source:
        Shaib et al. 2024 (compression as diversity).
    """
    from zstandard import ZstdCompressor  # noqa: PLC0415 - with the kernel

    from collapse_guard.kernels.metric.numbering import number  # noqa: PLC0415 - reading a policy needs no compiler

    ids, _ = number(tokens.hashes)
    frame = ZstdCompressor(level=LEVEL, write_checksum=False).compress(ids.astype("<u4").tobytes())
    return 8 * len(frame) / len(ids) if len(ids) else None
