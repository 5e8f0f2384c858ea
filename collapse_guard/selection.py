"""Choose documents up to a budget of tokens, in an order that only a seed and their ids decide.

The chosen are the ascending prefix by hash priority (bottom-k): order, sharding and worker count do not matter, and a
larger budget only adds documents. A pass needs the ids and tokens of one shard in memory, nothing more.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Pass: TypeAlias = Callable[[], Iterator[pa.Table]]
    """Starts one pass over tables with `id, text_sha256, tokens`."""
    Entry: TypeAlias = tuple[int, str, bytes, int]

BIN_BITS = 16


def priorities(ids: Iterable[str], seed: int, epoch: int = 0) -> np.ndarray:
    """Rank documents by a hash of seed, id and epoch (BLAKE2b, 8 bytes, big-endian); the smallest come first."""
    head, tail = b"%d\0" % seed, b"\0%d" % epoch
    hashes = (hashlib.blake2b(head + name.encode() + tail, digest_size=8).digest() for name in ids)
    return np.frombuffer(b"".join(hashes), ">u8").astype(np.uint64)


@dataclass(frozen=True)
class Cut:
    """The last place of a prefix in the order of (priority, id, digest), and the tokens up to it.

    A null place means that everything is chosen.
    """

    tokens: int
    last: tuple[int, str, bytes] | None

    def chooses(self, ranks: np.ndarray, table: pa.Table) -> np.ndarray:
        """Say for each document whether it lies within the prefix.

        Args:
            ranks: The documents' priorities.
            table: Their `id` and `text_sha256`.

        Returns:
            One boolean per document.
        """
        if self.last is None:
            return np.ones(len(ranks), bool)
        priority, name, digest = self.last
        chosen = ranks < np.uint64(priority)
        for row in np.flatnonzero(ranks == np.uint64(priority)).tolist():
            chosen[row] = (table["id"][row].as_py(), table["text_sha256"][row].as_py()) <= (name, digest)
        return chosen


NOTHING = Cut(0, (0, "", b""))
"""Before every document, for none has an empty digest."""


def find_cut(documents: Pass, budget: int, seed: int, *, epoch: int = 0, reach: bool = False) -> Cut:
    """Find the prefix that fits a budget.

    A first pass adds up tokens by the leading bits of the priority, which finds the bin of the cut; a second pass
    sorts the documents of that bin alone.

    Args:
        documents: Starts a pass.
        budget: Tokens.
        seed: Fixes the order.
        epoch: Fixes the order of one repetition.
        reach: Include the document that reaches the budget; otherwise stop before the first that exceeds it.

    Returns:
        The cut.
    """
    bins = np.zeros(1 << BIN_BITS, np.int64)
    for table in documents():
        places = _bin(priorities(table["id"].to_pylist(), seed, epoch))
        np.add.at(bins, places, table["tokens"].to_numpy())
    ends = np.cumsum(bins)
    wanted = int(np.searchsorted(ends, budget, side="left" if reach else "right"))
    if wanted == len(bins):
        return Cut(int(ends[-1]), None)
    before = int(ends[wanted] - bins[wanted])
    return _cut_in_bin(sorted(_entries(documents, wanted, seed, epoch)), before, budget, reach=reach)


def _bin(ranks: np.ndarray) -> np.ndarray:
    return (ranks >> np.uint64(64 - BIN_BITS)).astype(np.int64)


def _entries(documents: Pass, wanted: int, seed: int, epoch: int) -> Iterator[Entry]:
    for table in documents():
        ranks = priorities(table["id"].to_pylist(), seed, epoch)
        here = np.flatnonzero(_bin(ranks) == wanted)
        rows = table.select(["id", "text_sha256", "tokens"]).take(pa.array(here))
        yield from zip(ranks[here].tolist(), *(column.to_pylist() for column in rows.columns), strict=True)


def _cut_in_bin(entries: list[Entry], before: int, budget: int, *, reach: bool) -> Cut:
    total, last = before, (entries[0][0] if entries else 0, "", b"")
    for priority, name, digest, tokens in entries:
        if total >= budget if reach else total + tokens > budget:
            break
        total, last = total + tokens, (priority, name, digest)
    return Cut(total, last)
