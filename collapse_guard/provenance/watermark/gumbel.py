"""Gumbel-max sampling: vLLM's Philox with one key or two, and MarkLLM's EXP."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.watermark.mersenne import STATE_SIZE, exponential_pairs
from collapse_guard.kernels.watermark.philox import AT_ONCE, exponentials, keyed_words
from collapse_guard.provenance.watermark.scoring import ALWAYS, new_places, paired, required, window_hashes
from collapse_guard.provenance.watermark.statistics import gamma_log_sf, weighted_gamma_log_sf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.provenance.watermark.keys import Key
    from collapse_guard.provenance.watermark.scoring import Bytes, Dedupe, Floats, Ids

DUAL_WEIGHTS = (0.9, 0.1)
"""What vLLM weighs the draft model's key and the target model's key with."""


class Philox:
    """vLLM's Gumbel watermark, `philox4x32-10-v1`; the first tokens have -1 in their contexts.

    Args:
        key: A key of the scheme `gumbel_philox`.
    """

    def __init__(self, key: Key) -> None:
        self._secret = required(key.key, "key", key)
        self._width = required(key.context_width, "context_width", key)

    def values(self, ids: Ids, offsets: Ids, dedupe: Dedupe) -> Floats:
        """Give -ln(1 - u) of each token after a context that counts."""
        contexts = window_hashes(ids, offsets, self._width, 1)
        new = new_places(contexts, offsets, 0, 0 if dedupe == "none" else ALWAYS)
        return self._drawn(ids, offsets, new)

    def _drawn(self, ids: Ids, offsets: Ids, new: Bytes) -> Floats:
        return self._exponentials(self._secret, ids, offsets, new)

    def _exponentials(self, secret: int, ids: Ids, offsets: Ids, new: Bytes) -> Floats:
        words, values = np.empty(ids.size, np.uint32), np.empty(ids.size)
        keyed_words(ids, offsets, self._width, np.uint64(secret), np.empty((8, AT_ONCE), np.uint64), words)
        exponentials(words, new, values)
        return values

    def score(self, totals: Floats, counts: Ids) -> Floats:  # noqa: ARG002 - a family's signature
        """Give the sum."""
        return totals

    def log_p(self, totals: Floats, counts: Ids) -> Floats:
        """Give the tail of the Gamma distribution."""
        return gamma_log_sf(totals, counts)


class DualPhilox(Philox):
    """vLLM's Gumbel watermark for speculative decoding: tokens come from one of two keys.

    Args:
        key: A key of the scheme `gumbel_philox_dual`.
    """

    def __init__(self, key: Key) -> None:
        super().__init__(key)
        self._secrets = [derived_key(self._secret, name) for name in (b"key_a", b"key_b")]

    def _drawn(self, ids: Ids, offsets: Ids, new: Bytes) -> Floats:
        draft, target = (self._exponentials(secret, ids, offsets, new) for secret in self._secrets)
        return draft * DUAL_WEIGHTS[0] + target * DUAL_WEIGHTS[1]

    def log_p(self, totals: Floats, counts: Ids) -> Floats:
        """Give the tail of the sum of the two Gamma distributions."""
        return weighted_gamma_log_sf(totals, counts, DUAL_WEIGHTS)


def derived_key(secret: int, name: bytes) -> int:
    """Derive one of vLLM's two keys."""
    return int.from_bytes(hashlib.sha256(name + secret.to_bytes(8, "big")).digest()[:8], "big")


class MarkLlmExp:
    """MarkLLM's EXP: `rand` of a torch generator that the product of the ids before seeds.

    Contexts with the same product are one context to it; an id 0 makes any product 0.
    Source: Aaronson 2022, as MarkLLM implements it.

    Args:
        key: A key of the scheme `exp_markllm`.
    """

    def __init__(self, key: Key) -> None:
        self._secret, self._vocabulary = required(key.key, "key", key), required(key.vocab_size, "vocab_size", key)
        self._width = required(key.context_width, "context_width", key)

    def values(self, ids: Ids, offsets: Ids, dedupe: Dedupe) -> Floats:
        """Give ln(1 / (1 - u)) of each token after a context that counts."""
        seed = self._seeds(ids)
        at = np.flatnonzero(
            new_places(seed.astype(np.uint64), offsets, self._width, ALWAYS if dedupe == "strict" else 0)
        )
        unique, inverse = np.unique(paired(seed[at], ids[at]), return_inverse=True)
        drawn = np.empty(unique.size)
        exponential_pairs(unique, np.empty(STATE_SIZE, np.uint32), drawn)
        values = np.full(ids.size, np.nan)
        values[at] = drawn[inverse]
        return values

    def _seeds(self, ids: Ids) -> NDArray[np.uint32]:
        products = np.ones(ids.size, np.int64)
        for lag in range(1, self._width + 1):
            products[lag:] = products[lag:] * ids[:-lag] % self._vocabulary
        return ((products.astype(np.uint64) * np.uint64(self._secret)) & np.uint64(2**32 - 1)).astype(np.uint32)

    def score(self, totals: Floats, counts: Ids) -> Floats:  # noqa: ARG002 - a family's signature
        """Give the sum."""
        return totals

    def log_p(self, totals: Floats, counts: Ids) -> Floats:
        """Give the tail of the Gamma distribution."""
        return gamma_log_sf(totals, counts)
