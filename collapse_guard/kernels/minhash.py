"""MinHash signatures: texts that share most of their word n-grams get equal bands and similar sketches.

Sources: Broder 1997, "On the resemblance and containment of documents"; banding as in Leskovec, Rajaraman & Ullman,
"Mining of Massive Datasets", chapter 3; few bits per minimum as in Li & König 2010, "b-Bit Minwise Hashing".
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from collapse_guard.kernels.arrow import chunks, views
from collapse_guard.kernels.compiled import Int, allocating_kernel, kernel
from collapse_guard.kernels.folding import fold_words, room_for_words
from collapse_guard.kernels.tokens import mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

BANDS, ROWS, NGRAM = 14, 8, 5
"""Two texts of similarity s share a band with probability 1 - (1 - s^8)^14, one half at s = 0.69."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.uint64(1)
_TOP_HALF = np.uint64(32)
_LOW_BYTE = np.uint32(0xFF)
_HIGHEST = np.uint32(0xFFFFFFFF)
_UNROLLED = 8


class Permutations(NamedTuple):
    """One map x → multiplier · x + addend modulo 2^32 per minimum; the multipliers are odd."""

    multipliers: NDArray[np.uint32]
    addends: NDArray[np.uint32]


class Signatures(NamedTuple):
    """What is kept of n texts; a row counts only where `shingles` is not 0.

    `bands` has shape (n, bands): a hash of each band's minima and the band's number. `sketch` has shape
    (n, bands · rows): the lowest byte of every minimum. `shingles` counts the n-grams, with repetitions.
    """

    bands: NDArray[np.uint64]
    sketch: NDArray[np.uint8]
    shingles: NDArray[np.int32]


@cache
def permutations(count: int) -> Permutations:
    """Give the first `count` permutations, the same on every machine."""
    drawn = np.frombuffer(hashlib.shake_256(b"minhash").digest(8 * count), "<u4").astype(np.uint32).reshape(count, 2)
    return Permutations(drawn[:, 0] | np.uint32(1), drawn[:, 1].copy())


@kernel
def hash_ngram(words: NDArray[np.uint64], i: Int, n: Int) -> np.uint64:
    """Hash the n words from place `i` on, in order."""
    value = np.uint64(n)
    for k in range(i, i + n):
        value = value * _SPREAD + words[k]
    return mix(value)


@kernel
def hash_ngrams(words: NDArray[np.uint64], n: Int) -> Int:
    """Put the hash of every n-gram in the place of its first word, each from the one before.

    Returns:
        How many there are.
    """
    count: Int = max(0, words.size - n + 1)
    if count == 0:
        return count
    power, value = _ONE, np.uint64(n)
    for k in range(n):
        power *= _SPREAD
        value = value * _SPREAD + words[k]
    size = np.uint64(n) * power * (_ONE - _SPREAD)  # moves the length from one hash to the next
    for i in range(count - 1):
        first = words[i]
        words[i] = mix(value)
        value = value * _SPREAD + words[i + n] - first * power + size
    words[count - 1] = mix(value)
    return count


@kernel
def _half(gram: np.uint64) -> Int:
    return np.uint32(gram >> _TOP_HALF)


@kernel
def _least(a: Int, b: Int, c: Int, d: Int) -> Int:
    return min(min(a, b), min(c, d))  # noqa: PLW3301 - in pairs, so that the two can run side by side


@kernel
def _update(minima: NDArray[np.uint32], grams: NDArray[np.uint64], maps: Permutations) -> None:
    """Lower every minimum by the upper halves of hashes, eight at a time, so that the inner loop is vector code."""
    multipliers, addends = maps.multipliers, maps.addends
    whole = grams.size - grams.size % _UNROLLED
    for j in range(0, whole, _UNROLLED):
        x0, x1, x2, x3 = _half(grams[j]), _half(grams[j + 1]), _half(grams[j + 2]), _half(grams[j + 3])
        x4, x5, x6, x7 = _half(grams[j + 4]), _half(grams[j + 5]), _half(grams[j + 6]), _half(grams[j + 7])
        for k in range(minima.size):
            a, b = multipliers[k], addends[k]
            low = _least(np.uint32(a * x0 + b), np.uint32(a * x1 + b), np.uint32(a * x2 + b), np.uint32(a * x3 + b))
            high = _least(np.uint32(a * x4 + b), np.uint32(a * x5 + b), np.uint32(a * x6 + b), np.uint32(a * x7 + b))
            minima[k] = min(minima[k], low, high)
    for j in range(whole, grams.size):
        x0 = _half(grams[j])
        for k in range(minima.size):
            minima[k] = min(minima[k], np.uint32(multipliers[k] * x0 + addends[k]))


@allocating_kernel
def sign_words(words: NDArray[np.uint64], ngram: Int, maps: Permutations, out: Signatures, d: Int) -> None:
    """Write the signature of one text into row `d` of `out`.

    Args:
        words: The hash of every word of the text, in order; they are overwritten.
        ngram: Words per n-gram; a text with fewer has no signature.
        maps: As many as minima.
        out: Rows of zeros.
        d: Which row.
    """
    count = hash_ngrams(words, ngram)
    if count == 0:
        return
    out.shingles[d] = count
    minima = np.full(maps.addends.size, _HIGHEST)
    _update(minima, words[:count], maps)
    _keep(minima, out.bands[d], out.sketch[d])


@kernel
def _keep(minima: NDArray[np.uint32], bands: NDArray[np.uint64], sketch: NDArray[np.uint8]) -> None:
    """Hash every band, all of them row by row, so that the inner loop is vector code."""
    count = np.uint64(bands.size)
    rows = np.uint64(minima.size // bands.size)
    for band in range(count):
        bands[band] = band
    for row in range(rows):
        for band in range(count):
            bands[band] = mix((bands[band] * _SPREAD) ^ np.uint64(minima[band * rows + row]))
    for k in range(np.uint64(minima.size)):
        sketch[k] = minima[k] & _LOW_BYTE


@kernel
def _sign_all(  # noqa: PLR0917 - a compiled function, called in one place
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    words: NDArray[np.uint64],
    ngram: Int,
    maps: Permutations,
    out: Signatures,
) -> None:
    for d in range(offsets.size - 1):
        count = fold_words(data[offsets[d] : offsets[d + 1]], words)
        sign_words(words[:count], ngram, maps, out, d)


def room_for_signatures(texts: int, bands: int = BANDS, rows: int = ROWS) -> Signatures:
    """Reserve the signatures of some texts, as zeros."""
    return Signatures(
        np.zeros((texts, bands), np.uint64), np.zeros((texts, bands * rows), np.uint8), np.zeros(texts, np.int32)
    )


def sign(texts: pa.Array | pa.ChunkedArray, *, bands: int = BANDS, rows: int = ROWS, ngram: int = NGRAM) -> pa.Table:
    """Sign texts that nobody else tokenises.

    Args:
        texts: n strings; a null is an empty text.
        bands: Texts that share one of these are candidates for being near-duplicates.
        rows: Minima per band.
        ngram: Words per n-gram.

    Returns:
        n rows, as `signature_columns` gives them.

    Raises:
        TypeError: The column holds something else than strings.
    """
    maps = permutations(bands * rows)
    parts = [signature_columns(room_for_signatures(0, bands, rows))]
    for chunk in chunks(texts):
        out = room_for_signatures(len(chunk), bands, rows)
        data, offsets = views(chunk)
        _sign_all(data, offsets, room_for_words(offsets), ngram, maps, out)
        parts.append(signature_columns(out))
    return pa.concat_tables(parts)


def signature_columns(signatures: Signatures) -> pa.Table:
    """Turn signatures into columns.

    Returns:
        `bands` (list of uint64, of fixed size) and `sketch` (bytes, of fixed size), both null where a text has fewer
        words than an n-gram, and `shingles` (int32).
    """
    bands, sketch, shingles = signatures
    too_short = shingles == 0
    valid = pa.array(~too_short).buffers()[1]
    columns = {
        "bands": pa.FixedSizeListArray.from_arrays(
            pa.array(bands.reshape(-1)), bands.shape[1], mask=pa.array(too_short)
        ),
        "sketch": pa.Array.from_buffers(pa.binary(sketch.shape[1]), len(shingles), [valid, pa.py_buffer(sketch)]),
        "shingles": pa.array(shingles),
    }
    return pa.table(columns)
