"""What an image looks like, in 64 bits and in 128 numbers, by hand-made features: no weights, no learning.

The features are, in order: 48 shares of colours, 28 frequencies, 32 shares of edges, 10 shares of textures, 9 mean
lights and 1 sharpness. Everything is computed from 128 by 128 pixels, so the size of an image does not count.

Sources: Dalal & Triggs 2005, "Histograms of oriented gradients for human detection"; Ojala, Pietikäinen & Mäenpää 2002,
"Multiresolution gray-scale and rotation invariant texture classification with local binary patterns".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from collapse_guard.images.pixels import SIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Light = NDArray[np.int64]
    Numbers = NDArray[np.float64]

HASH_BITS = 64
FLAT = 2.0
"""Standard deviation of the light, in levels of 255, below which an image has no hash: it would be one of noise."""

_HASH_SIDE = 32
_BLOCK = 8
_DIAGONALS = 2 * _BLOCK - 1
_HUES, _SATURATIONS, _VALUES = 8, 2, 3
_DIRECTIONS, _CELLS, _GRID = 8, 2, 3
_UNIFORM, _NEIGHBOURS = 2, 8
_COLOURED = 64
_AROUND = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))


def _cosines(size: int, bits: int) -> NDArray[np.int64]:
    """The discrete cosine transform (DCT-II) in integers, which every machine multiplies alike."""
    places = np.arange(size)
    angles = np.pi / size * np.outer(places, places + 0.5)
    scale = np.full(size, np.sqrt(2 / size))
    scale[0] = np.sqrt(1 / size)
    found: Light = np.rint(np.cos(angles) * scale.reshape(-1, 1) * 2**bits).astype(np.int64)
    return found


def _lowest(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The 64 lowest frequencies behind the mean: by diagonals, in each from top to bottom."""
    places = sorted((row + column, row, column) for row in range(size) for column in range(size))[1 : HASH_BITS + 1]
    return np.array([row for _, row, _ in places]), np.array([column for _, _, column in places])


_HASH_BITS_OF_COSINES = 12
_HASH_COSINES = _cosines(_HASH_SIDE, _HASH_BITS_OF_COSINES)
_LOWEST = _lowest(_HASH_SIDE)
_BLOCK_BITS = 10
_BLOCK_COSINES = _cosines(_BLOCK, _BLOCK_BITS)
_DIAGONAL = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)).ravel()


def light_of(pixels: Pixels) -> Light:
    """The light of every pixel, from 0 to 255 (Rec. 601), shape (128, 128)."""
    found: Light = (pixels.astype(np.int64) @ np.array([299, 587, 114]) + 500) // 1000
    return found


def perceptual_hash(pixels: Pixels) -> int | None:
    """Hash what an image shows, so that copies of other sizes and qualities differ in few bits.

    The light in 32 by 32 squares, its discrete cosine transform, and of the 64 lowest frequencies behind the mean
    whether each is above their median; all in integers, so that every machine finds the same.

    Args:
        pixels: uint8 of shape (128, 128, 3).

    Returns:
        64 bits, the lowest frequency in the highest; None for an image without contrast.

    Source:
        Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.1 (pHash).
    """
    step = SIDE // _HASH_SIDE
    squares = light_of(pixels).reshape(_HASH_SIDE, step, _HASH_SIDE, step).sum(axis=(1, 3))
    if np.std(squares) < FLAT * step**2:
        return None
    found = (_HASH_COSINES @ squares @ _HASH_COSINES.T)[_LOWEST]
    return int.from_bytes(np.packbits(found > np.median(found)).tobytes(), "big")


def features_of(pixels: Pixels) -> NDArray[np.float32]:
    """Describe an image in 128 numbers.

    Args:
        pixels: uint8 of shape (128, 128, 3).

    Returns:
        float32 of shape (128,), all finite.
    """
    light = light_of(pixels)
    parts = (_colours(pixels), _frequencies(light), _edges(light), _textures(light), _lights(light), _sharpness(light))
    return np.concatenate(parts).astype(np.float32)


def _shares(bins: NDArray[np.integer[Any]], count: int) -> Numbers:
    """Square roots of the shares, whose differences are the Hellinger distance."""
    return np.sqrt(np.bincount(bins.ravel(), minlength=count) / bins.size)


def _colours(pixels: Pixels) -> Numbers:
    """Joint histogram of hue, saturation and value."""
    hue, saturation, value = (
        np.asarray(Image.fromarray(pixels).convert("HSV")).astype(np.int64)[..., i] for i in range(3)
    )
    bins = (hue * _HUES >> 8) * _SATURATIONS + (saturation >= _COLOURED)
    return _shares(bins * _VALUES + (value * _VALUES >> 8), _HUES * _SATURATIONS * _VALUES)


def _frequencies(light: Light) -> Numbers:
    """Energy by frequency of the transform of 8 by 8 squares, as in JPEG: mean, and spread over the squares."""
    count = SIDE // _BLOCK
    blocks = light.reshape(count, _BLOCK, count, _BLOCK).swapaxes(1, 2)
    found = (_BLOCK_COSINES @ blocks @ _BLOCK_COSINES.T).reshape(count * count, _BLOCK * _BLOCK)
    energy = (found / 4**_BLOCK_BITS) ** 2
    bands = np.stack([energy[:, band == _DIAGONAL].mean(axis=1) for band in range(1, _DIAGONALS)])
    return np.concatenate([np.log2(1 + bands.mean(axis=1)), np.log2(1 + bands).std(axis=1)])


def _edges(light: Light) -> Numbers:
    """Histogram of the directions of gradients in each quarter, weighted by their strength (Dalal & Triggs 2005)."""
    down, right = light[2:, 1:-1] - light[:-2, 1:-1], light[1:-1, 2:] - light[1:-1, :-2]
    bins = (np.arctan2(down, right) / np.pi * _DIRECTIONS).astype(np.int64) % _DIRECTIONS
    half = np.arange(SIDE - 2) * _CELLS // (SIDE - 2)
    cells = (half[:, None] * _CELLS + half) * _DIRECTIONS + bins
    found = np.bincount(cells.ravel(), np.hypot(down, right).ravel(), minlength=_CELLS**2 * _DIRECTIONS)
    return np.asarray(found / max(found.sum(), 1.0))


def _textures(light: Light) -> Numbers:
    """Shares of local binary patterns, the same for any rotation; the last of those that are not uniform."""
    size = SIDE - 2
    around = np.stack([light[row : row + size, column : column + size] >= light[1:-1, 1:-1] for row, column in _AROUND])
    changes = (around != np.roll(around, 1, axis=0)).sum(axis=0)
    return _shares(np.where(changes <= _UNIFORM, around.sum(axis=0), _NEIGHBOURS + 1), _NEIGHBOURS + 2)


def _lights(light: Light) -> Numbers:
    """Mean light in a grid of three by three, from 0 to 1."""
    starts = np.arange(_GRID) * SIDE // _GRID
    sums = np.add.reduceat(np.add.reduceat(light, starts), starts, axis=1)
    sides = np.diff(np.append(starts, SIDE))
    return np.ravel(sums / np.outer(sides, sides) / 255)


def _sharpness(light: Light) -> Numbers:
    """Variance of the Laplacian, which blur lowers."""
    inner = light[1:-1, 1:-1]
    laplacian = light[:-2, 1:-1] + light[2:, 1:-1] + light[1:-1, :-2] + light[1:-1, 2:] - 4 * inner
    return np.array([np.log2(1 + laplacian.var())])
