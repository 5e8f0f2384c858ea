"""Coverage, density, Fréchet distance and variance of images in a space of features, whoever made the features.

Every function takes rows of numbers, so that features of hand, of a user's embedder and of texts go the same way.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collapse_guard.errors import SignalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.float64]

NEIGHBOURS = 5
"""Naeem et al. 2020, section 5.1."""
SAMPLE = 1024
"""Images that are compared at most: the metrics depend on how many there are, and the cost on their square."""
LEAST = 50
"""Fewer images than these measure nothing."""
RIDGE = 0.01
"""Added to every eigenvalue before its logarithm, in units of the reference's variance of one feature."""
METRICS = ("image_coverage", "image_density", "image_frechet", "image_variance", "image_log_det")

_SAME = 1e-9
"""Squared distances of equal points, relative to their lengths, are rounding below this."""


class Moments(NamedTuple):
    """Number, mean (d) and covariance (d, d) of rows of features."""

    rows: int
    mean: Rows
    covariance: Rows


class Spread(NamedTuple):
    """How far features vary: the sum of their variances, and the mean logarithm of the covariance's eigenvalues."""

    trace: float
    log_det: float


def image_metrics(features: NDArray[np.float32], reference: NDArray[np.float32]) -> dict[str, float | None]:
    """Compare images with human ones by their features.

    Features are first brought to mean 0 and variance 1 in the reference. Of both sides as many are compared as the
    smaller has, at most 1024, the same whatever their order.

    Args:
        features: Shape (n, d), of the images to judge.
        reference: Shape (m, d), of human images.

    Returns:
        `image_coverage` in [0, 1], `image_density` (about 1 for the same distribution), `image_frechet` (0 for the
        same, per feature), `image_variance` (trace, relative to the reference's), `image_log_det` (mean log
        eigenvalue, less the reference's); all null where there are fewer than 50 images on either side.

    Raises:
        SignalError: Features are not rows of one length, or not finite.
    """
    ours, theirs = _checked(features, "features"), _checked(reference, "reference")
    size = min(len(ours), len(theirs), SAMPLE)
    if size < LEAST:
        return dict.fromkeys(METRICS)
    if ours.shape[1] != theirs.shape[1]:
        raise SignalError(f"features have {ours.shape[1]} numbers, the reference {theirs.shape[1]}; use one embedder")
    theirs = sample(theirs, size)
    shift, scale = theirs.mean(axis=0), _scale(theirs)
    ours, theirs = (sample(ours, size) - shift) / scale, (theirs - shift) / scale
    a, b = moments(ours), moments(theirs)
    spread, expected = variance(a), variance(b)
    inside = _inside(ours, theirs, NEIGHBOURS)
    return {
        "image_coverage": _covered(inside),
        "image_density": _dense(inside, NEIGHBOURS),
        "image_frechet": frechet(a, b) / len(shift),
        "image_variance": spread.trace / expected.trace if expected.trace > 0 else None,
        "image_log_det": spread.log_det - expected.log_det,
    }


def sample(rows: Rows, size: int) -> Rows:
    """Take rows that depend on the set of rows alone, not on their order.

    The order is that of a hash of a row and of how many equal rows came before it, so copies of one row are as likely
    to be taken as others.

    Args:
        rows: Shape (n, d).
        size: How many, at most n.

    Returns:
        Shape (size, d), always in the same order.
    """
    copies: Counter[bytes] = Counter()
    keys = []
    for row in np.ascontiguousarray(rows):
        key = hashlib.blake2b(row, digest_size=16).digest()
        keys.append(hashlib.blake2b(key + copies[key].to_bytes(8, "little"), digest_size=16).digest())
        copies[key] += 1
    found: Rows = rows[sorted(range(len(keys)), key=keys.__getitem__)[:size]]
    return found


def _checked(features: NDArray[np.float32], what: str) -> Rows:
    rows = np.asarray(features, np.float64) + 0.0  # no minus zero, which would be another row
    if rows.ndim != 2:  # noqa: PLR2004 - rows of numbers
        raise SignalError(f"{what} have the shape {rows.shape}; give one row of numbers per image")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise SignalError(f"{what} have NaN or infinity in row {bad[0]}; nothing can be judged by them")
    return rows


def _scale(rows: Rows) -> Rows:
    """Standard deviations; 1 for a feature that does not vary, so that any change of it is seen and none explodes."""
    found = rows.std(axis=0)
    return np.where(found > _SAME * (1 + np.abs(rows).max(axis=0)), found, 1.0)


def _squared(a: Rows, b: Rows) -> Rows:
    """Squared distances of each with each, shape (n, m); exactly 0 for equal points."""
    lengths = np.add.outer((a**2).sum(axis=1), (b**2).sum(axis=1))
    found: Rows = -2 * a @ b.T
    found += lengths
    lengths *= _SAME
    found[found <= lengths] = 0
    return found


def _inside(features: Rows, reference: Rows, k: int) -> NDArray[np.bool_]:
    """Say of each reference point and each of ours, shape (m, n), whether ours is as near as the k-th neighbour."""
    _check_enough(features, reference, k)
    radii = np.partition(_squared(reference, reference), k, axis=1)[:, k]
    return _squared(reference, features) <= radii[:, None] * (1 + _SAME)


def _covered(inside: NDArray[np.bool_]) -> float:
    return float(inside.any(axis=1).mean())


def _dense(inside: NDArray[np.bool_], k: int) -> float:
    return float(np.count_nonzero(inside) / inside.shape[1] / k)


def _check_enough(features: Rows, reference: Rows, k: int) -> None:
    if len(reference) <= k or not len(features):
        raise SignalError(f"{len(features)} rows against {len(reference)}: give more than k = {k} of the reference")


def coverage(features: Rows, reference: Rows, k: int = NEIGHBOURS) -> float:
    """Share of reference points near which at least one of ours lies.

    Args:
        features: Shape (n, d).
        reference: Shape (m, d), m > k.
        k: Which neighbour of a reference point says what is near.

    Returns:
        From 0 to 1; for n = m draws of one distribution about 1 - 2^-k.

    Raises:
        SignalError: There are too few points.

    Source:
        Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", equation 8.
    """
    return _covered(_inside(features, reference, k))


def density(features: Rows, reference: Rows, k: int = NEIGHBOURS) -> float:
    """Mean number of reference points near each of ours, relative to what is expected of the same distribution.

    Args:
        features: Shape (n, d).
        reference: Shape (m, d), m > k.
        k: Which neighbour of a reference point says what is near.

    Returns:
        At least 0; 1 in expectation for one distribution, more where ours lie in the middle.

    Raises:
        SignalError: There are too few points.

    Source:
        Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", equation 7.
    """
    return _dense(_inside(features, reference, k), k)


def moments(features: Rows) -> Moments:
    """Summarise rows of features, shape (n, d), n >= 1; the covariance divides by n."""
    centred = features - features.mean(axis=0)
    return Moments(len(features), features.mean(axis=0), centred.T @ centred / len(features))


def frechet(a: Moments, b: Moments) -> float:
    """Squared Fréchet (2-Wasserstein) distance between two normal distributions.

    Args:
        a: Moments of one side.
        b: Of the other, of as many features.

    Returns:
        At least 0; 0 for equal moments.

    Source:
        Dowson & Landau 1982, "The Fréchet distance between multivariate normal distributions"; for features of images
        Heusel et al. 2017, "GANs trained by a two time-scale update rule".
    """
    root = _root(a.covariance)
    values = np.linalg.eigvalsh(root @ b.covariance @ root)
    joint = 2 * np.sqrt(np.maximum(values, 0)).sum()
    shift = ((a.mean - b.mean) ** 2).sum()
    return max(0.0, float(shift + np.trace(a.covariance) + np.trace(b.covariance) - joint))


def _root(covariance: Rows) -> Rows:
    """The symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)


def variance(found: Moments) -> Spread:
    """Say how far features vary.

    Args:
        found: Moments of features.

    Returns:
        The trace of the covariance, and the mean over its d eigenvalues of log(eigenvalue + RIDGE): the log-determinant
        per feature, which a mode that disappears lowers even where the trace stays.
    """
    values = np.maximum(np.linalg.eigvalsh(found.covariance), 0)
    return Spread(float(np.trace(found.covariance)), float(np.log(values + RIDGE).mean()))
