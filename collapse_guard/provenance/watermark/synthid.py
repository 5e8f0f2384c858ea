"""SynthID-Text in its two variants: g values from a table of bits, and from a longer hash.

Source: Dathathri et al. 2024, "Scalable watermarking for identifying large language model outputs".
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

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
from collapse_guard.provenance.watermark.scoring import ALWAYS, new_places, required
from collapse_guard.provenance.watermark.statistics import binomial_log_sf, lattice_log_sf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.provenance.watermark.keys import Key
    from collapse_guard.provenance.watermark.scoring import Bytes, Dedupe, Floats, Ids

_WORD = 2**64


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


class TableSynthId:
    """The variant of transformers, and of DeepMind before June 2025: the hash modulo a size selects a bit of a table.

    Where the size is a power of two, the low bits of the n-gram's hash decide all g values, and their sums are a table.

    Args:
        key: A key of the scheme `synthid_table`.
    """

    def __init__(self, key: Key) -> None:
        self._contexts, self._secrets = Contexts(key, 1), np.array(key.secrets, np.int64)
        self._bits = np.empty(required(key.table_size, "table_size", key), np.uint8)
        seed = np.uint32(required(key.table_seed, "table_seed", key) % 2**32)
        draw_bits(seed, np.empty(STATE_SIZE, np.uint32), self._bits)
        self._sums = _sums(self._bits, key.secrets) if self._bits.size.bit_count() == 1 else None
        self._pmf = sum_chances(self._bits, key.secrets)

    def values(self, ids: Ids, offsets: Ids, dedupe: Dedupe) -> Bytes:
        """Sum the g values of each token after a context that counts."""
        hashes, new = self._contexts.hashed(ids, offsets, dedupe)
        values = np.empty(ids.size, np.uint8)
        if self._sums is None:
            sum_by_remainder(ids, hashes, new, self._secrets, self._bits, values)
        else:
            sum_by_table(ids, hashes, new, self._sums, values)
        return values

    def score(self, totals: Floats, counts: Ids) -> Floats:
        """Give the mean g."""
        return totals / (self._secrets.size * counts)

    def log_p(self, totals: Floats, counts: Ids) -> Floats:
        """Give the tail of the sum of sums, each as often as the table has it."""
        return lattice_log_sf(self._pmf, totals, counts)


def _sums(bits: Bytes, secrets: tuple[int, ...]) -> Bytes:
    """Sum g for each value of the low bits of an n-gram's hash; 64 keys at most keep below 256."""
    buckets, sums = np.arange(bits.size), np.zeros(bits.size, np.uint8)
    for secret in secrets:
        sums += bits[((buckets + secret % bits.size) * (MULTIPLIER % bits.size) + 1) % bits.size]
    return sums


def sum_chances(bits: Bytes, secrets: tuple[int, ...]) -> Floats:
    """Count how often each sum of g is met over all 2^64 hashes.

    The hash with the first key walks once around; that with another key is a fixed distance ahead and starts over at
    its own point, where its place in the table jumps unless the size divides 2^64. Between two such points the sums
    repeat with the table.

    Args:
        bits: The table.
        secrets: m keys.

    Returns:
        m + 1 probabilities.
    """
    ahead = [(secret - secrets[0]) * MULTIPLIER % _WORD for secret in secrets]
    places = [np.roll(bits, -((distance - _WORD // 2) % bits.size)) for distance in ahead]
    sums, chances, last = np.sum(places, axis=0, dtype=np.int64), np.zeros(len(secrets) + 1), 0
    for n in sorted(range(len(secrets)), key=ahead.__getitem__, reverse=True):
        point = _WORD - ahead[n]
        chances += np.bincount(sums, minlength=chances.size) * ((point - last) / _WORD / bits.size)
        sums += np.roll(places[n], _WORD % bits.size).astype(np.int64) - places[n]
        last = point
    return chances


class HashedSynthId:
    """The variant of DeepMind since June 2025: the hash begins at a digest of the keys and goes on for each g value.

    Args:
        key: A key of the scheme `synthid_iv`.
    """

    def __init__(self, key: Key) -> None:
        self._secrets = np.array(key.secrets, np.int64)
        digest = hashlib.sha256(self._secrets.astype("<i8").tobytes()).digest()
        self._contexts = Contexts(key, int.from_bytes(digest, "big") % (2**63 - 1))

    def values(self, ids: Ids, offsets: Ids, dedupe: Dedupe) -> Bytes:
        """Sum the g values of each token after a context that counts."""
        hashes, new = self._contexts.hashed(ids, offsets, dedupe)
        values = np.empty(ids.size, np.uint8)
        sum_by_hash(ids, hashes, self._secrets, np.empty(AT_ONCE, np.int64), values)
        values[new == 0] = UNSCORED
        return values

    def score(self, totals: Floats, counts: Ids) -> Floats:
        """Give the mean g."""
        return totals / (self._secrets.size * counts)

    def log_p(self, totals: Floats, counts: Ids) -> Floats:
        """Give the binomial tail of fair bits."""
        return binomial_log_sf(totals, self._secrets.size * counts, 0.5)
