"""Check on the rows of a candidate that nothing of the reservoir's evaluation split is in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.dedup import EVALUATION_RANK, SIGNATURE, Clusters, signed
from collapse_guard.document import ORIGINS, UNKNOWN
from collapse_guard.mix.quoting import HELD_OUT, Texts, find_quotations
from collapse_guard.reservoir import HUMAN, with_digests
from collapse_guard.sift import compared_by
from collapse_guard.snapshot import read_rows, read_shard
from collapse_guard.spill import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from collapse_guard.policy import Policy
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Shard, Snapshot
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
    names, split = reservoir.evaluation()["id"], policy.mix.evaluation_split
    shards = candidate.with_role("documents")
    quotes = find_quotations(reservoir, split, partial(_texts, store, shards)) if split else []
    guarded = [shard for part in HELD_OUT for shard, _ in reservoir.shards(part)]
    found, first = 0, []
    with store.scratch() as scratch:
        held = (_compared(table, policy, rank=EVALUATION_RANK) for table in read_rows(reservoir.store, guarded))
        mixed = (_compared(table, policy, rank=ORIGINS.index(UNKNOWN)) for table in read_rows(store, shards))
        rows = len(names) + sum(shard.rows for shard in shards)
        compared = Replay(chain(held, mixed), scratch / "compared")
        copies = Clusters(compared, rows=rows, near=policy.dedup.near, scratch=scratch)
        for index, table in enumerate(read_rows(store, shards, ["id"])):
            leaked = _leaked(table, copies.in_shard(len(guarded) + index, table.num_rows), names)
            if split:
                leaked |= quotes[index]
            found += int(leaked.sum())
            first += table["id"].filter(pa.array(leaked)).to_pylist()[:MAX_NAMED]
    return Leaks(rows - len(names), len(names), found, tuple(first[:MAX_NAMED]))


def _texts(store: Store, shards: Sequence[Shard]) -> Iterator[Texts]:
    """A pass over the texts; which are the reservoir's is the manifest's claim, and a false one finds only more."""
    for shard in shards:
        table = read_shard(store, shard)
        own = (
            pc.equal(table["stratum"], HUMAN).to_numpy()
            if "stratum" in table.column_names
            else np.zeros(len(table), bool)
        )
        yield Texts(table["text"], own)


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


def _leaked(table: pa.Table, near: pa.Table, names: pa.ChunkedArray) -> NDArray[np.bool_]:
    same_id = pc.is_in(table["id"], names).to_numpy()
    copy = pc.fill_null(pc.equal(near["kept_rank"], EVALUATION_RANK), False).to_numpy()  # noqa: FBT003
    return np.asarray(same_id | copy)
