"""The pool from one generation to the next: it only grows, or what left is named with the reason.

Source: accumulating keeps models from collapse where replacing does not (Gerstgrasser et al. 2024).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import GateClosed
from collapse_guard.mix.offers import TOMBSTONE
from collapse_guard.mix.plan import POOL
from collapse_guard.sift import aligned_sources
from collapse_guard.snapshot import latest, read_shard
from collapse_guard.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

DOCUMENTS_PER_BUCKET = 500_000
MAX_NAMED = 5
_KEY = ["dump", "id", "text_sha256"]
_LISTED = pa.schema(
    [
        *(pa.field(name, kind) for name, kind in zip(_KEY, (pa.string(), pa.string(), pa.binary()), strict=True)),
        pa.field("verdict", pa.string()),
        pa.field("rule", pa.string()),
    ]
)
LEFT = pa.schema([*(_LISTED.field(name) for name in _KEY), pa.field("reason", pa.string())])
"""Documents that were in the pool of the generation before and are not in this one."""


@dataclass(frozen=True)
class Accumulated:
    """What became of the pool of the generation before."""

    before: int
    now: int
    left: pa.Table

    def details(self) -> dict[str, Any]:
        """The counts; what left by reason."""
        reasons = dict(sorted(Counter(self.left["reason"].to_pylist()).items()))
        new = self.now - (self.before - self.left.num_rows)
        return {"before": self.before, "now": self.now, "new": new, "left": reasons}


def generation_before(store: Store, corpus: str, pool: Sequence[Snapshot]) -> Snapshot | None:
    """The newest candidate of the last dump before the newest of a pool that has one; null where none has."""
    prefix = f"snapshots/{corpus}/candidate/"
    dumps = {key.removeprefix(prefix).partition("/")[0] for key in store.list(prefix)}
    earlier = max((dump for dump in dumps if dump < pool[-1].details["dump"]), default=None)
    return latest(store, f"{corpus}/candidate/{earlier}") if earlier is not None else None


def accumulate(
    store: Store, before: Snapshot, pool: Sequence[Snapshot], tombstones: Mapping[str, str], scratch: Path
) -> Accumulated:
    """Compare the pool with that of the generation before.

    A document left if its dump no longer gives it: because of a rule, which is named, or because it is not among the
    documents any more, which only a tombstone may explain.

    Args:
        store: Holds both.
        before: The candidate of the generation before.
        pool: The sifted snapshots of this one.
        tombstones: Reasons by id.
        scratch: A folder for what does not fit in memory.

    Returns:
        The counts, and every document that left with its reason.

    Raises:
        GateClosed: Documents left and no tombstone names them.
    """
    rows = sum(snapshot.ledger.came_in for snapshot in (*pool, before))
    buckets = -(-rows // DOCUMENTS_PER_BUCKET)
    with (
        Spill(scratch / "before", _LISTED, buckets) as old,
        Spill(scratch / "now", _LISTED, buckets) as new,
    ):
        had = _spill(old, _offered(store, before))
        _spill(new, _judged(store, pool))
        left = pa.concat_tables([LEFT.empty_table(), *(_left(old.read(n), new.read(n)) for n in range(old.buckets))])
    named = _named(left, tombstones)
    _refuse_nameless(named, had)
    return Accumulated(had, sum(snapshot.ledger.kept for snapshot in pool), named)


def _offered(store: Store, candidate: Snapshot) -> Iterator[pa.Table]:
    for shard in candidate.with_role("selection"):
        rows = read_shard(store, shard, [*_KEY, "stratum", "rule"])
        rows = rows.filter(pc.equal(rows["stratum"], POOL))
        yield _listed(rows.select(_KEY), pa.scalar("keep"), pa.scalar(None, pa.string()))


def _judged(store: Store, pool: Sequence[Snapshot]) -> Iterator[pa.Table]:
    for snapshot in pool:
        measured, _ = aligned_sources(store, snapshot)
        for facts, verdicts in zip(measured.shards, snapshot.shards, strict=True):
            rows = read_shard(store, facts, ["id", "text_sha256"])
            said = read_shard(store, verdicts, ["verdict", "rule"])
            dump = pa.repeat(pa.scalar(str(snapshot.details["dump"])), rows.num_rows)
            yield _listed(rows.append_column("dump", dump), said["verdict"], said["rule"])


def _listed(rows: pa.Table, verdict: Any, rule: Any) -> pa.Table:  # noqa: ANN401 - a column, or a scalar for all
    said = {"verdict": verdict, "rule": rule}
    columns = {name: pa.repeat(v, rows.num_rows) if isinstance(v, pa.Scalar) else v for name, v in said.items()}
    return pa.table({**{name: rows[name] for name in _KEY}, **columns}, schema=_LISTED)


def _spill(spill: Spill, tables: Iterable[pa.Table]) -> int:
    count = 0
    for table in tables:
        heads = np.array([int.from_bytes(digest[:2], "big") for digest in table["text_sha256"].to_pylist()], np.int64)
        spill.write(table, heads % spill.buckets)
        count += table.num_rows
    spill.close()
    return count


def _left(old: pa.Table, new: pa.Table) -> pa.Table:
    kept = new.filter(pc.equal(new["verdict"], "keep")).select(_KEY)
    gone = old.select(_KEY).join(kept, keys=_KEY, join_type="left anti", use_threads=False)
    ruled = new.filter(pc.not_equal(new["verdict"], "keep")).group_by(_KEY).aggregate([("rule", "min")])
    found = gone.join(ruled, keys=_KEY, join_type="left outer", use_threads=False)
    found = found.sort_by([(name, "ascending") for name in _KEY])
    return pa.table({**{name: found[name] for name in _KEY}, "reason": found["rule_min"]}, schema=LEFT)


def _named(left: pa.Table, tombstones: Mapping[str, str]) -> pa.Table:
    if not left.num_rows:
        return left
    found = [tombstones.get(name) for name in left["id"].to_pylist()]
    buried = pa.array([reason and TOMBSTONE + reason for reason in found], pa.string())
    ruled = pc.binary_join_element_wise(pa.scalar("rule:"), left["reason"], "")
    return left.set_column(3, LEFT.field("reason"), pc.coalesce(buried, ruled))


def _refuse_nameless(left: pa.Table, had: int) -> None:
    nameless = left.filter(pc.is_null(left["reason"]))
    if nameless.num_rows:
        first = ", ".join(nameless["id"].slice(0, MAX_NAMED).to_pylist())
        raise GateClosed(
            f"{nameless.num_rows:,} of {had:,} documents that the pool of the generation before held are gone, and no "
            f"tombstone says why (first: {first}). Put them back, or list them with the reason in the file that "
            "`mix.tombstones` names; nothing was mixed"
        )
