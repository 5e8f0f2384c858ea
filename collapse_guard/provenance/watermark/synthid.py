"""SynthID-Text in its two variants: g values from a table of bits, and from a longer hash.

Source: Dathathri et al. 2024, "Scalable watermarking for identifying large language model outputs".
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse_guard.kernels.watermark.contexts import UNSCORED
from collapse_guard.kernels.watermark.mersenne import STATE_SIZE, draw_bits
from collapse_guard.kernels.watermark.synthid import (
    AT_ONCE,
    MULTIPLIER,
    hash_contexts,
    sum_by_hash,
    sum_by_remainder,
    sum_by_table,
)
from collapse_guard.provenance.watermark.scoring import ALWAYS, Statistic, new_places, required
from collapse_guard.provenance.watermark.statistics import Lattice, binomial_log_sf

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from collapse_guard.provenance.watermark.keys import Key
    from collapse_guard.provenance.watermark.scoring import Bytes, Dedupe, Floats, Ids

_WORD = 2**64
_FIRST_WEIGHT, _LAST_WEIGHT = 10, 1


def layer_weights(layers: int, statistic: Statistic) -> Ids:
    """Give each layer of a tournament its weight: 1, or those of DeepMind's weighted mean in their common unit.

    These fall in equal steps to a tenth of the first, because the early layers choose among more tokens.

    Args:
        layers: 1 or more.
        statistic: `mean` or `weighted`.

    Returns:
        The smallest whole numbers with these proportions.
    """
    if statistic == "mean" or layers == 1:
        return np.ones(layers, np.int64)
    weights: Ids = _FIRST_WEIGHT * (layers - 1) - (_FIRST_WEIGHT - _LAST_WEIGHT) * np.arange(layers)
    weights //= np.gcd.reduce(weights)
    return weights


class Contexts:
    """The ids before each token as the scheme hashes them; equal hashes are one context to it.

    Args:
        key: A key of one of the two schemes.
        begin: Where the hash begins.
    """

    def __init__(self, key: Key, begin: int) -> None:
        self._history = required(key.context_history_size, "context_history_size", key)
        self._width = required(key.ngram_len, "ngram_len", key) - 1
        powers = [pow(MULTIPLIER, self._width - k, _WORD) for k in range(self._width)]
        self._powers = np.array(powers, np.uint64)
        self._begin = np.uint64((begin * powers[0] + sum(powers[1:]) + 1) % _WORD)

    def hashed(self, ids: Ids, offsets: Ids, dedupe: Dedupe) -> tuple[NDArray[np.uint64], Bytes]:
        """Hash the context of each place, and mark those that count."""
        hashes = np.zeros(ids.size, np.uint64)
        hash_contexts(ids, self._powers, self._begin, hashes)
        reach = {"strict": ALWAYS, "reference": self._history, "none": 0}[dedupe]
        return hashes, new_places(hashes, offsets, self._width, reach)


class SynthId:
    """What both variants share: the mean over layers and tokens, where the layers have weights.

    Args:
        key: A key of one of the two schemes.
        statistic: `mean` or `weighted`.
    """

    def __init__(self, key: Key, statistic: Statistic) -> None:
        self._secrets = np.array(key.secrets, np.int64)
        self._weights = layer_weights(self._secrets.size, statistic)
        self._equal = bool((self._weights == 1).all())
        self._unit = self._secrets.size / int(self._weights.sum())

    def score(self, totals: Floats, counts: Ids) -> Floats:
        """Give the mean g."""
        return totals / (self._secrets.size * counts)

    def _scaled(self, sums: Floats, new: Bytes) -> Floats:
        """Bring sums at new places to a scale where all weights together are the number of layers."""
        return np.where(new, sums * self._unit, np.nan)

    def _summed(self, new: Bytes, g_of: Callable[[NDArray[np.int64], Bytes], None]) -> Floats:
        """Sum g at new places, one layer after the other."""
        sums, g = np.zeros(new.size), np.empty(new.size, np.uint8)
        for secret, weight in zip(self._secrets, self._weights, strict=True):
            g_of(secret.reshape(1), g)
            sums += weight * g
        return self._scaled(sums, new)


class TableSynthId(SynthId):
    """The variant of transformers, and of DeepMind before June 2025: the hash modulo a size selects a bit of a table.

    Where the size is a power of two, the low bits of the n-gram's hash decide all g values, and their sums are a table.

    Args:
        key: A key of the scheme `synthid_table`.
        statistic: `mean` or `weighted`.
    """

    def __init__(self, key: Key, statistic: Statistic = "mean") -> None:
        super().__init__(key, statistic)
        self._contexts = Contexts(key, 1)
        self._bits = np.empty(required(key.table_size, "table_size", key), np.uint8)
        seed = np.uint32(required(key.table_seed, "table_seed", key) % 2**32)
        draw_bits(seed, np.empty(STATE_SIZE, np.uint32), self._bits)
        self._sums = _sums(self._bits, key.secrets, self._weights) if self._bits.size.bit_count() == 1 else None
        if self._sums is None:
            self._null = Lattice(sum_chances(self._bits, key.secrets, self._weights))
        else:
            self._null = Lattice(np.bincount(self._sums.astype(np.int64)) / self._sums.size)

    def values(self, ids: Ids, offsets: Ids, dedupe: Dedupe) -> Bytes | Floats:
        """Sum the g values of each token after a context that counts."""
        hashes, new = self._contexts.hashed(ids, offsets, dedupe)
        if self._sums is None and not self._equal:
            return self._summed(new, lambda secret, g: sum_by_remainder(ids, hashes, new, secret, self._bits, g))
        values: NDArray[Any] = np.empty(ids.size, np.uint8 if self._equal else np.float64)
        if self._sums is None:
            sum_by_remainder(ids, hashes, new, self._secrets, self._bits, values)
        else:
            sum_by_table(ids, hashes, new, self._sums, values)
        return values if self._equal else self._scaled(values, new)

    def log_p(self, totals: Floats, counts: Ids) -> Floats:
        """Give the tail of the sum of sums, each as often as the table has it."""
        return self._null.log_sf(totals / self._unit, counts)


def _sums(bits: Bytes, secrets: tuple[int, ...], weights: Ids) -> Bytes | Floats:
    """Sum g for each value of the low bits of an n-gram's hash; 64 keys at most keep below 256 without weights."""
    buckets = np.arange(bits.size)
    sums: NDArray[Any] = np.zeros(bits.size, np.uint8 if (weights == 1).all() else np.float64)
    for secret, weight in zip(secrets, weights.astype(sums.dtype), strict=True):
        sums += weight * bits[((buckets + secret % bits.size) * (MULTIPLIER % bits.size) + 1) % bits.size]
    return sums


def sum_chances(bits: Bytes, secrets: tuple[int, ...], weights: Ids) -> Floats:
    """Count how often each sum of weighted g is met over all 2^64 hashes.

    The hash with the first key walks once around; that with another key is a fixed distance ahead and starts over at
    its own point, where its place in the table jumps unless the size divides 2^64. Between two such points the sums
    repeat with the table.

    Args:
        bits: The table.
        secrets: m keys.
        weights: m whole numbers.

    Returns:
        Probabilities of 0 up to the sum of the weights.
    """
    ahead = [(secret - secrets[0]) * MULTIPLIER % _WORD for secret in secrets]
    weighted = [
        weight * np.roll(bits.astype(np.int64), -((distance - _WORD // 2) % bits.size))
        for weight, distance in zip(weights.tolist(), ahead, strict=True)
    ]
    sums, chances, last = np.sum(weighted, axis=0), np.zeros(int(weights.sum()) + 1), 0
    for n in sorted(range(len(secrets)), key=ahead.__getitem__, reverse=True):
        point = _WORD - ahead[n]
        chances += np.bincount(sums, minlength=chances.size) * ((point - last) / _WORD / bits.size)
        sums += np.roll(weighted[n], _WORD % bits.size) - weighted[n]
        last = point
    return chances


class HashedSynthId(SynthId):
    """The variant of DeepMind since June 2025: the hash begins at a digest of the keys and goes on for each g value.

    Args:
        key: A key of the scheme `synthid_iv`.
        statistic: `mean` or `weighted`.
    """

    def __init__(self, key: Key, statistic: Statistic = "mean") -> None:
        super().__init__(key, statistic)
        digest = hashlib.sha256(self._secrets.astype("<i8").tobytes()).digest()
        self._contexts = Contexts(key, int.from_bytes(digest, "big") % (2**63 - 1))
        self._null = None if self._equal else Lattice(fair_chances(self._weights))

    def values(self, ids: Ids, offsets: Ids, dedupe: Dedupe) -> Bytes | Floats:
        """Sum the g values of each token after a context that counts."""
        hashes, new = self._contexts.hashed(ids, offsets, dedupe)
        room = np.empty(AT_ONCE, np.int64)
        if not self._equal:
            return self._summed(new, lambda secret, g: sum_by_hash(ids, hashes, secret, room, g))
        values = np.empty(ids.size, np.uint8)
        sum_by_hash(ids, hashes, self._secrets, room, values)
        values[new == 0] = UNSCORED
        return values

    def log_p(self, totals: Floats, counts: Ids) -> Floats:
        """Give the tail of fair bits."""
        if self._null is not None:
            return self._null.log_sf(totals / self._unit, counts)
        return binomial_log_sf(totals, self._secrets.size * counts, 0.5)


def fair_chances(weights: Ids) -> Floats:
    """Probabilities of 0 up to the sum of the weights, of a sum of fair bits with weights."""
    chances = np.zeros(int(weights.sum()) + 1)
    chances[0] = 1.0
    for weight in weights.tolist():
        chances[weight:] = (chances[weight:] + chances[:-weight]) / 2
        chances[:weight] /= 2
    return chances
