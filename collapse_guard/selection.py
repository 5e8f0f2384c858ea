"""Choose documents up to a budget, in an order that only a seed, their ids and their weights decide.

The chosen are the ascending prefix by hash priority (bottom-k): order, sharding and worker count do not matter, and a
larger budget only adds documents. A pass needs one table in memory, nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

from collapse_guard.kernels.arrow import chunks
from collapse_guard.kernels.selection.blake2b import digests
from collapse_guard.kernels.selection.race import waiting_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    Pass: TypeAlias = Callable[[], Iterable[pa.Table]]
    """Starts one pass over tables with `priority, id, text_sha256, size`."""
    Entry: TypeAlias = tuple[int, str, bytes, int]

BIN_BITS = 16
PRIORITY_BITS = 64
MAX_ENTRIES = 1 << 16
"""So many documents of one bin are sorted; a larger bin is divided first."""


def priorities(ids: Sequence[str] | pa.Array | pa.ChunkedArray, seed: int, epoch: int = 0) -> NDArray[np.uint64]:
    """Rank documents by a hash of seed, id and epoch (BLAKE2b, 8 bytes, big-endian); the smallest come first."""
    names = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids, pa.large_string())
    head, tail = b"%d\0" % seed, b"\0%d" % epoch
    return np.concatenate([np.empty(0, np.uint64), *(digests(chunk, head, tail) for chunk in chunks(names))])


def weighted(ranks: NDArray[np.uint64], weights: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Turn ranks into an exponential race, in which a document comes earlier the heavier it is.

    The first k of a race are a weighted sample without replacement (Efraimidis and Spirakis 2006).

    Args:
        ranks: What `priorities` gave.
        weights: One weight above 0 per document; equal weights leave the order as it is.

    Returns:
        The new priorities.
    """
    return waiting_times(ranks, weights)


@dataclass(frozen=True)
class Cut:
    """The last place of a prefix in the order of (priority, id, digest), and the size up to it.

    A null place means that everything is chosen.
    """

    size: int
    last: tuple[int, str, bytes] | None

    def chooses(self, table: pa.Table) -> NDArray[np.bool_]:
        """Say for each document whether it lies within the prefix.

        Args:
            table: Documents with `priority, id, text_sha256`.

        Returns:
            One boolean per document.
        """
        if self.last is None:
            return np.ones(table.num_rows, bool)
        priority, name, digest = self.last
        ranks = table["priority"].to_numpy()
        chosen: NDArray[np.bool_] = ranks < np.uint64(priority)
        for row in np.flatnonzero(ranks == np.uint64(priority)).tolist():
            chosen[row] = (table["id"][row].as_py(), table["text_sha256"][row].as_py()) <= (name, digest)
        return chosen


NOTHING = Cut(0, (0, "", b""))
"""Before every document, for none has an empty digest."""


def find_cut(documents: Pass, budget: int, *, reach: bool = False) -> Cut:
    """Find the prefix that fits a budget.

    A first pass adds up sizes by the leading bits of the priority, which finds the bin of the cut; where that bin holds
    many documents, another pass divides it; a last one sorts the documents of the bin alone.

    Args:
        documents: Starts a pass.
        budget: How much may be chosen.
        reach: Include the document that reaches the budget; otherwise stop before the first that exceeds it.

    Returns:
        The cut.
    """
    before, bits, place = 0, 0, 0
    while True:
        sizes, counts = _bins(documents(), place, bits)
        ends = before + np.cumsum(sizes)
        wanted = int(np.searchsorted(ends, budget, side="left" if reach else "right"))
        if wanted == len(ends):
            return Cut(int(ends[-1]), None)
        before, place, bits = int(ends[wanted] - sizes[wanted]), (place << BIN_BITS) | wanted, bits + BIN_BITS
        if counts[wanted] <= MAX_ENTRIES or bits + BIN_BITS >= PRIORITY_BITS:
            return _cut_in_bin(sorted(_entries(documents(), place, bits)), before, budget, reach=reach)


def _bins(tables: Iterable[pa.Table], place: int, bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sizes and counts by the bits behind the leading ones, of documents that have those of `place`."""
    sizes, counts = np.zeros(1 << BIN_BITS, np.int64), np.zeros(1 << BIN_BITS, np.int64)
    for table in tables:
        ranks, amounts = table["priority"].to_numpy(), table["size"].to_numpy()
        here = slice(None) if bits == 0 else _leading(ranks, bits) == place
        bins = _leading(ranks[here], bits + BIN_BITS) & ((1 << BIN_BITS) - 1)
        np.add.at(sizes, bins, amounts[here])
        counts += np.bincount(bins, minlength=len(counts))
    return sizes, counts


def _leading(ranks: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    return (ranks >> np.uint64(PRIORITY_BITS - bits)).astype(np.int64)


def _entries(tables: Iterable[pa.Table], place: int, bits: int) -> Iterator[Entry]:
    for table in tables:
        here = np.flatnonzero(table["priority"].to_numpy() >> np.uint64(PRIORITY_BITS - bits) == np.uint64(place))
        rows = table.select(["priority", "id", "text_sha256", "size"]).take(pa.array(here))
        yield from zip(*(column.to_pylist() for column in rows.columns), strict=True)


def _cut_in_bin(entries: list[Entry], before: int, budget: int, *, reach: bool) -> Cut:
    total, last = before, (entries[0][0] if entries else 0, "", b"")
    for priority, name, digest, size in entries:
        if total >= budget if reach else total + size > budget:
            break
        total, last = total + size, (priority, name, digest)
    return Cut(total, last)
