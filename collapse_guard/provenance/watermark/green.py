"""Green lists: lm-watermarking (KGW), transformers, Unigram and DiPmark."""

from __future__ import annotations

import hashlib
import random
import threading
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.kernels.watermark.contexts import UNSCORED
from collapse_guard.kernels.watermark.mersenne import STATE_SIZE, early_pairs
from collapse_guard.kernels.watermark.rows import UNKNOWN, count_contexts, fill_rows, look_up, pair_with_seeds
from collapse_guard.provenance.watermark.scoring import ALWAYS, new_places, paired, required, window_hashes
from collapse_guard.provenance.watermark.seeding import reciprocals, seeding_of, seeds
from collapse_guard.provenance.watermark.statistics import binomial_log_sf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.provenance.watermark.keys import Key
    from collapse_guard.provenance.watermark.scoring import Bytes, Dedupe, Floats, Ids

_ROW_WORTH = 16
"""Tokens after one id, over all batches, from which on its whole green list costs less than asking for each."""

_SHUFFLE_WORTH = 12
"""So many tokens cost as much as the shuffle that they are looked for in, which every batch does anew."""


class Lists:
    """The green lists of one key: the first `count` of every seed's shuffle of the vocabulary.

    Args:
        vocabulary: Ids that are shuffled.
        count: How many are green.
    """

    def __init__(self, vocabulary: int, count: int) -> None:
        self.vocabulary, self.count = vocabulary, count
        self._reciprocals = reciprocals(vocabulary, count)

    def has(self, pairs: NDArray[np.uint64]) -> Bytes:
        """Say of each (seed, id) pair whether the id is green: 1 or 0."""
        unique, inverse = np.unique(pairs, return_inverse=True)
        early = np.empty(unique.size, np.uint8)
        places = np.empty(self.count, np.uint32)
        early_pairs(unique, self._reciprocals, np.empty(STATE_SIZE, np.uint32), places, early)
        return early[inverse]

    def fill(self, seeds: NDArray[np.uint32], rows: Bytes) -> None:
        """Set the bits of the green ids of each seed in rows of zeros."""
        ids, places = np.empty(self.vocabulary, np.uint32), np.empty(self.count, np.uint32)
        fill_rows(seeds, self._reciprocals, np.empty(STATE_SIZE, np.uint32), places, ids, rows)


def row_bytes(vocabulary: int) -> int:
    """Bytes of one green list as bits."""
    return -(-vocabulary // 8)


class KeptRows:
    """Green lists that the id before a token seeds: whole ones are kept after frequent ids while there is room.

    Several threads may ask at once: a row is written before its slot is shown, and neither changes afterwards.

    Args:
        lists: The lists.
        seeds: One for each id of the vocabulary.
        memory: Bytes that all rows together may take.
    """

    def __init__(self, lists: Lists, seeds: NDArray[np.uint32], memory: int) -> None:
        self._lists, self._seeds = lists, seeds
        capacity = min(lists.vocabulary, memory // row_bytes(lists.vocabulary))
        self._rows = np.zeros((capacity, row_bytes(lists.vocabulary)), np.uint8)  # pages come when they are written
        self._slots = np.full(lists.vocabulary, -1, np.int32)
        self._seen = np.zeros(lists.vocabulary, np.int64)
        self._lock, self._used = threading.Lock(), 0

    def pairs(self, ids: Ids) -> NDArray[np.uint64]:
        """Join each id and the seed of its green list."""
        pairs = np.zeros(ids.size, np.uint64)
        pair_with_seeds(ids, self._seeds, pairs)
        return pairs

    def values(self, ids: Ids, new: Bytes) -> Bytes:
        """Say of each place that counts whether it is green."""
        with self._lock:
            count_contexts(ids, new, self._seen)
            self._keep()
        values = np.empty(ids.size, np.uint8)
        look_up(ids, new, self._rows, self._slots, values)
        at = np.flatnonzero(values == UNKNOWN)
        before = ids[at - 1]
        values[at] = self._lists.has(paired(self._seeds[before], ids[at]))
        with self._lock:
            self._seen[np.unique(before)] += _SHUFFLE_WORTH
        return values

    def _keep(self) -> None:
        worth = np.flatnonzero((self._seen >= _ROW_WORTH) & (self._slots < 0))
        most = np.argsort(-self._seen[worth], kind="stable")[: len(self._rows) - self._used]
        worth, stop = worth[most], self._used + most.size
        self._lists.fill(self._seeds[worth], self._rows[self._used : stop])
        self._slots[worth] = np.arange(self._used, stop)
        self._used = stop


class GreenLists:
    """lm-watermarking and transformers: the ids before a token seed its green list.

    Args:
        key: A key of one of their schemes.
        memory: Bytes for green lists that are kept between calls.
    """

    def __init__(self, key: Key, memory: int) -> None:
        vocabulary, self._gamma = required(key.vocab_size, "vocab_size", key), key.gamma or 0.0
        self._secret, self._seeding = required(key.key, "key", key), seeding_of(key)
        self._lists = Lists(vocabulary, int(vocabulary * self._gamma))
        self._kept = KeptRows(self._lists, self._single_seeds(), memory) if self._seeding.of_last else None

    def _single_seeds(self) -> NDArray[np.uint32]:
        return seeds(self._seeding._replace(width=1), self._secret, np.arange(self._lists.vocabulary + 1))[1:]

    def values(self, ids: Ids, offsets: Ids, dedupe: Dedupe) -> Bytes:
        """Say of each scored token whether it is green."""
        pairs = self._kept.pairs(ids) if self._kept else paired(seeds(self._seeding, self._secret, ids), ids)
        known = window_hashes(ids, offsets, self._seeding.ngram, 0) if dedupe == "reference" else pairs
        new = new_places(known, offsets, self._seeding.ngram - 1, 0 if dedupe == "none" else ALWAYS)
        if self._kept:
            return self._kept.values(ids, new)
        values, at = np.full(ids.size, UNSCORED, np.uint8), np.flatnonzero(new)
        values[at] = self._lists.has(pairs[at])
        return values

    def score(self, totals: Floats, counts: Ids) -> Floats:
        """Give the z-score."""
        gamma = self._gamma
        z: Floats = (totals - gamma * counts) / np.sqrt(counts * gamma * (1 - gamma))
        return z

    def log_p(self, totals: Floats, counts: Ids) -> Floats:
        """Give the binomial tail, with the share of ids that are green."""
        return binomial_log_sf(totals, counts, self._lists.count / self._lists.vocabulary)


class Unigram:
    """One green list for all contexts.

    Source: Zhao et al. 2023, "Provable Robust Watermarking for AI-Generated Text".

    Args:
        key: A key of the scheme `unigram`.
    """

    def __init__(self, key: Key) -> None:
        vocabulary, self._gamma = required(key.vocab_size, "vocab_size", key), key.gamma or 0.0
        digest = hashlib.sha256(np.int64(required(key.key, "key", key)).tobytes()).digest()
        self._green = (np.arange(vocabulary) < int(self._gamma * vocabulary)).astype(np.uint8)
        self._share = float(self._green.mean())
        np.random.default_rng(int.from_bytes(digest[:4], "little")).shuffle(self._green)

    def values(self, ids: Ids, offsets: Ids, dedupe: Dedupe) -> Bytes:
        """Say of each token that counts, the first of its kind, whether it is green."""
        new = new_places(ids.view(np.uint64), offsets, 0, 0 if dedupe == "none" else ALWAYS)
        return np.where(new, self._green[ids], np.uint8(UNSCORED))

    def score(self, totals: Floats, counts: Ids) -> Floats:
        """Give the z-score."""
        gamma = self._gamma
        z: Floats = (totals - gamma * counts) / np.sqrt(gamma * (1 - gamma) * counts)
        return z

    def log_p(self, totals: Floats, counts: Ids) -> Floats:
        """Give the binomial tail; different ids leave each other fewer green ones, so the true one is smaller."""
        return binomial_log_sf(totals, counts, self._share)


class DiPmark:
    """A shuffle after each context, whose later part is favoured.

    Source: Wu et al. 2024, "A Resilient and Accessible Distribution-Preserving Watermark for Large Language Models",
    with the statistic and the key of MarkLLM.

    Args:
        key: A key of the scheme `dipmark`.
    """

    def __init__(self, key: Key) -> None:
        vocabulary, self._gamma = required(key.vocab_size, "vocab_size", key), key.gamma or 0.0
        self._width = required(key.context_width, "context_width", key)
        generator = random.Random(required(key.key, "key", key))  # noqa: S311 - the reference draws its key so
        self._secret = generator.getrandbits(1024).to_bytes(128, "big")
        self._lists = Lists(vocabulary, red_places(vocabulary, self._gamma))

    def values(self, ids: Ids, offsets: Ids, dedupe: Dedupe) -> Bytes:
        """Say of each scored token whether its place in the shuffle is in the favoured part."""
        contexts = window_hashes(ids, offsets, self._width, 1)
        at = np.flatnonzero(new_places(contexts, offsets, 1, 0 if dedupe == "none" else ALWAYS))
        values = np.full(ids.size, UNSCORED, np.uint8)
        values[at] = 1 - self._lists.has(paired(self._seeds(ids, offsets, at, contexts[at]), ids[at]))
        if dedupe != "strict":  # the first token has no context; the reference counts it as not favoured
            values[offsets[:-1][np.diff(offsets) > 0]] = 0
        return values

    def _seeds(self, ids: Ids, offsets: Ids, at: Ids, contexts: NDArray[np.uint64]) -> NDArray[np.uint32]:
        begins = offsets[np.searchsorted(offsets, at, side="right") - 1]
        _, first, inverse = np.unique(contexts, return_index=True, return_inverse=True)
        starts = np.maximum(at - self._width, begins)[first]
        spans = zip(starts.tolist(), at[first].tolist(), strict=True)
        return np.array([self._seed(ids[start:stop]) for start, stop in spans], np.uint32)[inverse]

    def _seed(self, context: Ids) -> int:
        return int.from_bytes(hashlib.sha256(context.tobytes() + self._secret).digest(), "big") % (2**32 - 1)

    def score(self, totals: Floats, counts: Ids) -> Floats:
        """Give MarkLLM's statistic, in its float32."""
        expected = ((1 - self._gamma) * counts).astype(np.float32)
        return ((totals.astype(np.float32) - expected) / np.sqrt(counts).astype(np.float32)).astype(np.float64)

    def log_p(self, totals: Floats, counts: Ids) -> Floats:
        """Give the binomial tail, with the share of places that are favoured."""
        return binomial_log_sf(totals, counts, 1 - self._lists.count / self._lists.vocabulary)


def red_places(vocabulary: int, gamma: float) -> int:
    """Count DiPmark's places before the favoured part; the reference compares in float32."""
    quantiles = np.arange(1, vocabulary + 1, dtype=np.float32) / np.float32(vocabulary)
    return int(np.count_nonzero(quantiles < np.float32(gamma)))
