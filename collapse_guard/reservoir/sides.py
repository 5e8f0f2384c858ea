"""Which side of the split a document falls on: by its cluster of near-copies, so that none of them fall apart.

Signatures are compared in 28 bands of 4 minima here, more finely than for dropping copies: two texts that share 85 of
100 word 5-grams meet with probability 1 - 1e-9, not 0.99.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from collapse_guard.dedup import Clusters, index_of
from collapse_guard.dedup.index import matrix
from collapse_guard.document import HUMAN_VERIFIED, ORIGINS, UNKNOWN, text_digests
from collapse_guard.policy import Near
from collapse_guard.reservoir.states import EVALUATION, HUMAN
from collapse_guard.spill import Replay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

EVALUATION_SHARE = 10
"""One of so many clusters goes to the evaluation split, by its smallest text digest; it can never be mixed."""
FINE = Near(bands=28, rows=4)
SYNTHETIC = "synthetic"
"""The side of text that is known to be a model's."""
OFFERED = "offered"
COMPARED = ["id", "text_sha256", "captured_at", "sketch", "shingles"]

_WORD = np.dtype("<u4")
_MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


def with_digests(documents: pa.Table) -> pa.Table:
    """Add the column `text_sha256`."""
    return documents.append_column("text_sha256", text_digests(documents["text"]))


def is_evaluation(digests: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Say which digests give a cluster to the evaluation split: a fact of the text, whoever admits it when."""
    heads = np.array([int.from_bytes(digest[-4:], "big") for digest in digests.to_pylist()], np.int64)
    return np.equal(heads % EVALUATION_SHARE, 0)


class Place(NamedTuple):
    """The sides that near-copies of a document are on, and whether any of these was known before."""

    sides: frozenset[str]
    known: bool


@dataclass
class Met:
    """What is known of a cluster: the sides of its members that have one, and its smallest digest if it is offered."""

    sides: set[str] = field(default_factory=set)
    evaluation: bool | None = None


class Sides:
    """The clusters of near-copies among what is known and what is offered.

    Args:
        tables: Columns of COMPARED, a table per shard, with the side each is on: a split, `synthetic` or `offered`.
        rows: About how many rows there are.
        scratch: A folder for work.
    """

    def __init__(self, tables: Iterable[tuple[str, pa.Table]], rows: int, scratch: Path) -> None:
        self._sides: list[tuple[str, int]] = []
        compared = Replay(self._noted(tables), scratch / "compared")
        self._clusters = Clusters(compared, rows=rows, near=FINE, scratch=scratch)
        self._met: dict[str, Met] = defaultdict(Met)
        self._meet(compared)

    def _noted(self, tables: Iterable[tuple[str, pa.Table]]) -> Iterator[pa.Table]:
        for side, table in tables:
            self._sides.append((side, table.num_rows))
            rank = ORIGINS.index(UNKNOWN if side == OFFERED else HUMAN_VERIFIED)
            yield index_of(finely(table.select(COMPARED)), rank=rank)

    def _meet(self, tables: Replay) -> None:
        """Note, for every cluster, what lies in it."""
        for number, (side, table) in enumerate(zip([side for side, _ in self._sides], tables(), strict=True)):
            clusters = self._names(number)
            near = clusters.is_valid()
            digests = table["text_sha256"].filter(near).to_pylist()
            for name, digest in zip(clusters.filter(near).to_pylist(), digests, strict=True):
                if side != OFFERED:
                    self._met[name].sides.add(side)
                elif digest.hex().startswith(name):
                    self._met[name].evaluation = bool(is_evaluation(pa.chunked_array([[digest]]))[0])

    def _names(self, number: int) -> pa.ChunkedArray:
        return self._clusters.in_shard(number, self._sides[number][1])["cluster"]

    def of(self, number: int, digests: pa.ChunkedArray) -> list[Place]:
        """Say where the offered documents of one table may go.

        Args:
            number: The table's place.
            digests: Of its texts.

        Returns:
            Per document the sides that its near-copies are on: those of earlier admissions (both splits, where it is
            nearly the same as documents of each), `synthetic`, or, where it has none there, the one that its cluster's
            smallest digest gives.
        """
        alone = is_evaluation(digests).tolist()
        return [self._place(*pair) for pair in zip(self._names(number).to_pylist(), alone, strict=True)]

    def _place(self, cluster: str | None, evaluation: bool) -> Place:  # noqa: FBT001 - a value, no mode
        met = self._met[cluster] if cluster else Met(evaluation=evaluation)
        if met.sides:
            return Place(frozenset(met.sides), known=True)
        return Place(frozenset({EVALUATION if met.evaluation else HUMAN}), known=False)


def finely(table: pa.Table) -> pa.Table:
    """Give documents the bands of FINE, made of their sketches: the lowest byte of each minimum."""
    sketch = table["sketch"].combine_chunks()
    words = np.ascontiguousarray(matrix(sketch)).view(_WORD).reshape(len(sketch), FINE.bands).astype(np.uint64)
    keys = words | (np.arange(1, FINE.bands + 1, dtype=np.uint64) << np.uint64(32))
    for shift, factor in _MIXERS:
        keys = (keys ^ (keys >> np.uint64(shift))) * np.uint64(factor)
    bands = pa.FixedSizeListArray.from_arrays(pa.array(keys.reshape(-1)), FINE.bands, mask=sketch.is_null())
    return table.append_column("bands", bands)
