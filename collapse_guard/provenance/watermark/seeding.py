"""How green lists are seeded from token ids: lm-watermarking's functions, and the two of transformers.

Ids and secrets are multiplied as torch does it, in 64 bits that wrap, except where the reference has left torch for
Python's integers. The seed is then taken modulo 2^64 - 1, and the generator uses its low 32 bits.
Source: Kirchenbauer et al. 2023, "On the Reliability of Watermarks for Large Language Models".
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from collapse_guard.kernels.watermark.mersenne import STATE_SIZE, shuffle, swap_places
from collapse_guard.provenance.watermark.keys import freeform
from collapse_guard.provenance.watermark.scoring import required

if TYPE_CHECKING:
    from collections.abc import Callable

    from collapse_guard.provenance.watermark.keys import Key

Seeds: TypeAlias = NDArray[np.uint32]
Int64s: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint64]

TABLE_SIZE = 1_000_003
KGW_TABLE_SEED = 2971215073
LAST = "last"
"""The function of transformers' lefthash, which looks at the last id alone, however wide the context."""
_AT_ONCE = 2**17
_LOW, _HALF, _MODULUS = 2**32 - 1, 32, 2**64 - 1


def reciprocals(vocabulary: int, count: int) -> NDArray[np.float64]:
    """1 / (n - i) for i < count: what `swap_places` divides by."""
    return 1.0 / np.arange(vocabulary, vocabulary - count, -1, dtype=np.float64)


@lru_cache(maxsize=2)
def hash_table(seed: int) -> NDArray[np.uint32]:
    """Draw torch's `randperm(1000003)`; 4 MB."""
    places, ids = np.empty(TABLE_SIZE, np.uint32), np.arange(TABLE_SIZE, dtype=np.uint32)
    swap_places(np.uint32(seed & _LOW), reciprocals(TABLE_SIZE, TABLE_SIZE), np.empty(STATE_SIZE, np.uint32), places)
    shuffle(places, ids)
    return ids


class Seeding(NamedTuple):
    """Which ids seed a token's green list, and how."""

    function: str
    width: int
    """Ids that are looked at; the token itself is the last of them if `salted`."""
    salted: bool
    table_seed: int

    @property
    def ngram(self) -> int:
        """Ids that decide whether the last of them is green."""
        return self.width + (not self.salted)

    @property
    def of_last(self) -> bool:
        """Whether the list depends on nothing but the id before."""
        return self.function == LAST or (self.width == 1 and not self.salted)


def seeding_of(key: Key) -> Seeding:
    """Say how the green lists of a key of lm-watermarking or transformers are seeded."""
    width = required(key.context_width, "context_width", key)
    form = freeform(key.scheme)
    if form is not None:
        return Seeding(form.prf, form.context_width, form.self_salt, KGW_TABLE_SEED)
    function, salted = _FUNCTIONS[key.scheme]
    return Seeding(function, width, salted, required(key.key, "key", key) if key.scheme[:2] == "hf" else KGW_TABLE_SEED)


_FUNCTIONS = {
    "kgw_simple_1": ("additive_prf", False),
    "kgw_minhash": ("minhash_prf", False),
    "kgw_selfhash": ("anchored_minhash_prf", True),
    "kgw_skipgram": ("skipgram_prf", False),
    "hf_lefthash": (LAST, False),
    "hf_selfhash": ("anchored_minhash_prf", True),
}


def seeds(seeding: Seeding, secret: int, ids: Int64s) -> Seeds:
    """Seed the green list of each place, without regard to where documents begin.

    Args:
        seeding: Which ids, and how.
        secret: The key.
        ids: n token ids.

    Returns:
        n seeds; 0 for the first places, before which there are too few ids.
    """
    found = np.zeros(ids.size, np.uint32)
    windows = sliding_window_view(ids, seeding.width) if ids.size >= seeding.ngram else ids[:0, None]
    first = seeding.ngram - 1
    for start in range(first, ids.size, _AT_ONCE):
        stop = min(start + _AT_ONCE, ids.size)
        found[start:stop] = _window_seeds(seeding, secret, windows[start - first : stop - first])
    return found


def _window_seeds(seeding: Seeding, secret: int, windows: Int64s) -> Words:
    if seeding.function in _FACTORS:
        return _times(secret, _FACTORS[seeding.function](windows))
    table = hash_table(seeding.table_seed)
    words = _HASHED[seeding.function](windows, secret, table)
    negative = words < 0
    return (words.view(np.uint64) - negative) & np.uint64(_LOW)


def _times(secret: int, factors: Int64s) -> Words:
    """Multiply without overflow, modulo 2^64 - 1, and keep the low 32 bits."""
    if factors.size and not 0 <= int(factors.min()) <= int(factors.max()) <= _LOW:
        products = (factors.astype(object) * secret) % _MODULUS & _LOW
        return np.array(products, np.uint64)
    words, half = factors.astype(np.uint64), np.uint64(_HALF)
    low, high = words * np.uint64(secret & _LOW), words * np.uint64(secret >> _HALF)
    total = low + (high << half)
    carried = (high >> half) + (total < low)
    folded: Words = total + carried
    folded += folded < total
    folded[folded == _MODULUS] = 0
    return folded & np.uint64(_LOW)


_FACTORS: dict[str, Callable[[Int64s], Int64s]] = {
    "additive_prf": lambda windows: windows.sum(axis=1),
    "multiplicative_prf": lambda windows: windows.prod(axis=1),
    "minfunc_prf": lambda windows: windows.min(axis=1),
    LAST: lambda windows: windows[:, -1],
}
"""What the secret is multiplied by, as Python's integers."""


def _hashed(words: Int64s, table: NDArray[np.uint32]) -> Int64s:
    return table[words % TABLE_SIZE].astype(np.int64) + 1


def _minskipgram(windows: Int64s, secret: int, table: NDArray[np.uint32]) -> Int64s:
    hashes = _hashed(secret * windows, table)
    least = hashes[:, 0] * hashes[:, 1]
    for left, right in combinations(range(windows.shape[1]), 2):
        np.minimum(least, hashes[:, left] * hashes[:, right], out=least)
    return least


def _noncommutative(windows: Int64s, secret: int, table: NDArray[np.uint32]) -> Int64s:
    words = np.full(len(windows), secret, np.int64)
    for column in windows.T:
        words = (words * _hashed(words * column, table)) & _LOW
    return words


_HASHED: dict[str, Callable[[Int64s, int, NDArray[np.uint32]], Int64s]] = {
    "simple_skip_prf": lambda windows, secret, table: _hashed(secret * windows[:, ::2], table).prod(axis=1),
    "skipgram_prf": lambda windows, secret, table: _hashed(secret * windows[:, 0], table),
    "anchored_skipgram_prf": lambda windows, secret, table: (
        _hashed(secret * windows[:, 0], table) * _hashed(secret * windows[:, -1], table)
    ),
    "minhash_prf": lambda windows, secret, table: _hashed(secret * windows, table).min(axis=1),
    "anchored_minhash_prf": lambda windows, secret, table: (
        secret * _hashed(windows, table) * _hashed(windows[:, -1:], table)
    ).min(axis=1),
    "minskipgram_prf": _minskipgram,
    "noncomm_prf": _noncommutative,
    "position_prf": lambda windows, secret, _: (secret * windows * np.arange(1, windows.shape[1] + 1)).sum(axis=1),
}
"""What gives the seed in 64 bits that wrap."""
