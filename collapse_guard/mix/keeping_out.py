"""Check on the rows of a candidate that nothing of the reservoir's evaluation split is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.dedup import EVALUATION_RANK, SIGNATURE, Clusters, signed
from collapse_guard.document import ORIGINS, UNKNOWN
from collapse_guard.kernels.overlap import overlap_table, overlaps
from collapse_guard.reservoir import EVALUATION, with_digests
from collapse_guard.sift import compared_by
from collapse_guard.snapshot import read_rows
from collapse_guard.spill import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.policy import Policy
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

MAX_NAMED = 20
"""So many leaked documents are named; all are counted."""


@dataclass(frozen=True)
class Leaks:
    """Documents of a candidate that belong to the evaluation split, or are too near to it."""

    documents: int
    compared_with: int
    count: int
    first: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The finding in one line."""
        with_what = f"{self.documents:,} documents were compared with {self.compared_with:,} of the evaluation split"
        named = f" (first: {', '.join(self.first)})" if self.first else ""
        return f"{with_what}: {self.count:,} leaked{named}"


def find_leaks(store: Store, candidate: Snapshot, reservoir: Reservoir, policy: Policy) -> Leaks:
    """Compare the texts of a candidate with the evaluation split; nothing that the mix stated is trusted.

    Args:
        store: Holds the candidate.
        candidate: What to check.
        reservoir: Whose evaluation split must not be in it.
        policy: What counts as a copy, and as a quotation.

    Returns:
        What was found: equal ids with equal texts or not, equal texts, near-copies, and quotations where the policy
        refuses those.
    """
    held_out = list(reservoir.texts(EVALUATION))
    names = pa.chunked_array([chunk for table in held_out for chunk in table["id"].chunks], pa.string())
    shards = candidate.with_role("documents")
    count, found, first = 0, 0, []
    with store.scratch() as scratch:
        tables = (_compared(table, policy, rank=EVALUATION_RANK) for table in held_out)
        mixed = (_compared(table, policy, rank=ORIGINS.index(UNKNOWN)) for table in read_rows(store, shards))
        compared = Replay(_chained(tables, mixed), scratch / "compared")
        rows = len(names) + sum(shard.rows for shard in shards)
        copies = Clusters(compared, rows=rows, near=policy.dedup.near, scratch=scratch)
        for index, table in enumerate(read_rows(store, shards)):
            near = copies.in_shard(len(held_out) + index, table.num_rows)
            leaked = _leaked(table, near, names, _quoted(table, held_out, policy))
            count, found = count + table.num_rows, found + int(leaked.sum())
            first += table["id"].filter(pa.array(leaked)).to_pylist()[:MAX_NAMED]
    return Leaks(count, len(names), found, tuple(first[:MAX_NAMED]))


def _chained(*passes: Iterator[pa.Table]) -> Iterator[pa.Table]:
    for tables in passes:
        yield from tables


def _compared(table: pa.Table, policy: Policy, rank: int) -> pa.Table:
    """What a document is compared by, made from its text alone."""
    facts = with_digests(table.drop_columns(["text_sha256"]) if "text_sha256" in table.column_names else table)
    near = policy.dedup.near
    signatures = signed(facts["text"], near) if near else {}
    facts = facts.drop_columns([name for name in SIGNATURE if name in facts.column_names])
    for name, column in signatures.items():
        facts = facts.append_column(name, column)
    wanted = [name for name in ("id", "text_sha256", "captured_at", *signatures) if name in facts.column_names]
    return compared_by(facts.select(wanted), policy.dedup, rank=rank)


def _leaked(table: pa.Table, near: pa.Table, names: pa.ChunkedArray, quoted: np.ndarray) -> np.ndarray:
    same_id = pc.is_in(table["id"], names).to_numpy()
    copy = pc.fill_null(pc.equal(near["kept_rank"], EVALUATION_RANK), False).to_numpy()  # noqa: FBT003
    return np.asarray(same_id | copy | quoted)


def _quoted(table: pa.Table, held_out: list[pa.Table], policy: Policy) -> np.ndarray:
    split = policy.mix.evaluation_split
    if split is None or not held_out:
        return np.zeros(table.num_rows, bool)
    texts = pa.chunked_array([chunk for found in held_out for chunk in found["text"].chunks], pa.large_string())
    return np.asarray(overlaps(table["text"], overlap_table(texts, split.n)) > 0)
