"""A vendor that marks what its model writes: its key ring, and the choice of words that carries the mark."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from collapse_guard.canonical import sha256_hex
from collapse_guard.provenance.watermark.key_ring import read_keys
from collapse_guard.provenance.watermark.schemes import Scorer
from collapse_guard.provenance.watermark.scoring import required
from collapse_guard.provenance.watermark.tokenizing import UNKNOWN_WORD, tokenizer_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from collapse_guard.provenance.watermark.scoring import Ids

KEYS_NAME, SECRET_NAME, VOCABULARY_NAME = "keys.yaml", "key.txt", "vocabulary.txt"
RING = """\
# The key of a vendor that marks what its model writes. Its secret stands in a file that only you can read.
version: 1
keys:
  - id: vendor
    scheme: gumbel_philox
    key: {{file: {secret}}}
    context_width: 4
    vocab_size: {size}
    tokenizer: {vocabulary}
    tokenizer_sha256: {digest}
"""
DRAWS = 8
"""Candidates for every word, of which the key chooses one."""


def write_ring(folder: Path, texts: Iterable[str], seed: int) -> Path:
    """Write a key ring of one key, its secret (mode 0600), and the vocabulary that gives words their ids.

    Args:
        folder: Where the files go; made if it is not there.
        texts: The vocabulary is their words, as white space separates them.
        seed: The secret follows from it: good for a simulation, and for nothing else.

    Returns:
        The ring.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = sorted({word for text in texts for word in text.split()} - {UNKNOWN_WORD})
    content = "\n".join([UNKNOWN_WORD, *words, ""]).encode()
    (folder / VOCABULARY_NAME).write_bytes(content)
    secret = folder / SECRET_NAME
    secret.touch(mode=0o600)
    digest = hashlib.sha256(f"collapse_guard simulated vendor {seed}".encode()).digest()
    secret.write_text(f"{int.from_bytes(digest[:8], 'big')}\n", encoding="utf-8")
    ring = folder / KEYS_NAME
    said = RING.format(secret=SECRET_NAME, size=len(words) + 1, vocabulary=VOCABULARY_NAME, digest=sha256_hex(content))
    ring.write_text(said, encoding="utf-8")
    return ring


class Mark:
    """The mark of a vendor, for models that write words.

    Args:
        ring: A ring that `write_ring` wrote.
    """

    def __init__(self, ring: Path) -> None:
        key = read_keys(ring, {}).keys[0]
        self._scorer, self._tokenizer = Scorer(key), tokenizer_of(key)

    def pen(self, words: Sequence[str], pages: int) -> Pen:
        """Begin so many pages with a model that writes such words."""
        encoded = self._tokenizer.encode(pa.array(words, pa.large_string()))
        return Pen(self._scorer, encoded.ids[encoded.offsets[:-1]], pages)


class Pen:
    """Pages that are written side by side: of several candidates for each next word, the key chooses one.

    A candidate that was drawn k times of n is chosen with probability k / n over all keys, so that the mark changes no
    frequency. Source: Aaronson 2022, with a few draws in the place of the model's probabilities.

    Args:
        scorer: The key's; it scores a word by -ln(1 - u).
        ids: The id of each word that the model can write.
        pages: How many.
    """

    def __init__(self, scorer: Scorer, ids: Ids, pages: int) -> None:
        self._scorer, self._ids = scorer, ids
        width = required(scorer.key.context_width, "context_width", scorer.key)
        self._before = np.full((pages, width), -1)

    def choose(self, words: Ids) -> Ids:
        """Take one candidate for each page, and remember it.

        Args:
            words: Numbers of words, shape (draws, pages); negative for what is no word, such as the end of a
                paragraph, which is taken where it is the first candidate and never else.

        Returns:
            One of them for each page, shape (pages,).
        """
        chosen: Ids = words[0].copy()
        contested = np.flatnonzero((chosen >= 0) & (words != chosen).any(axis=0))
        offered = words[:, contested]
        first = self._races(offered, self._before[contested]).argmin(axis=0)
        chosen[contested] = np.take_along_axis(offered, first[None], axis=0)[0]
        moved = np.flatnonzero(chosen >= 0)
        self._before[moved] = np.column_stack([self._before[moved, 1:], self._ids[chosen[moved]]])
        return chosen

    def _races(self, words: Ids, before: Ids) -> NDArray[np.float64]:
        """Give -ln(u) / k of each candidate, the least of which wins; infinite for what is no word."""
        contexts = np.broadcast_to(before, (*words.shape, before.shape[1]))
        offered = self._ids[np.maximum(words, 0)][..., None]
        rows = np.concatenate([contexts, offered], axis=2).reshape(-1, before.shape[1] + 1)
        known = rows >= 0  # a page has fewer words before its first ones
        offsets = np.concatenate([[0], np.cumsum(known.sum(axis=1))])
        values = self._scorer.score(rows[known], offsets, "none").values[offsets[1:] - 1].astype(np.float64)
        times = (words[:, None] == words).sum(axis=0)
        return np.where(words < 0, np.inf, -np.log1p(-np.exp(-values.reshape(words.shape))) / times)
