"""Decide for every document: keep, review or drop, with the rule and the value that decided."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard import signals
from collapse_guard.canonical import canonical_json, json_digest
from collapse_guard.dedup import Duplicates, keys_of, later_copies, place_copies
from collapse_guard.snapshot import Ledger, Snapshot, find_digest, publish, read_shard, resume, run_key, write_shard
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

    from collections.abc import Iterator

    from collapse_guard.policy import Policy, Rule
    from collapse_guard.store import Store

SCHEMA = "sifted@1"
DUPLICATE = "duplicate"
VERDICTS = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("verdict", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("duplicate_of", pa.string()),
    ]
)


@dataclass(frozen=True)
class Sifted:
    """A verdict for every document, in order."""

    verdicts: pa.Table

    @property
    def kept(self) -> pa.Table:
        """The documents that every rule keeps."""
        return self._with("keep")

    @property
    def review(self) -> pa.Table:
        """The documents for people to decide, with rule and value."""
        return self._with("review")

    @property
    def dropped(self) -> pa.Table:
        """The documents that are dropped, with rule and value."""
        return self._with("drop")

    @property
    def ledger(self) -> Ledger:
        """The count of every verdict, drops by reason."""
        return _ledger(self.verdicts.num_rows, count_reasons(self.verdicts))

    def _with(self, verdict: str) -> pa.Table:
        return self.verdicts.filter(pc.equal(self.verdicts["verdict"], verdict))


def sift(measured: pa.Table, policy: Policy) -> Sifted:
    """Apply a policy's rules, then its deduplication, to measured documents in memory.

    Args:
        measured: What `measure` gave.
        policy: Rules in order; the first that drops decides, else the first that sends to review.

    Returns:
        The verdicts.
    """
    verdicts = apply_rules(measured, policy)
    found = later_copies(_keys_of_kept(measured, verdicts, 0))
    return Sifted(_drop_copies(verdicts, place_copies(found, measured.num_rows)))


def apply_rules(measured: pa.Table, policy: Policy) -> pa.Table:
    """Decide by numbers alone.

    Args:
        measured: What `measure` gave.
        policy: Whose rules apply.

    Returns:
        Rows of VERDICTS, `duplicate_of` null.
    """
    rules = list(policy.all_rules())
    decided = np.full(measured.num_rows, len(rules))
    values = np.full(measured.num_rows, np.nan)
    drops = np.array([*(rule.outside == "drop" for _, rule in rules), False])
    for index, (_, rule) in enumerate(rules):
        column = _values(measured, rule)
        first = _outside(column, rule) & ((decided == len(rules)) | (drops[index] & ~drops[decided]))
        decided[first] = index
        values[first] = column[first]
    titles = pa.array([*(title for title, _ in rules), None], pa.string())
    words = pa.array([*(rule.outside for _, rule in rules), "keep"], pa.string())
    taken = pa.array(decided)
    return pa.table(
        {
            "id": measured["id"],
            "verdict": words.take(taken),
            "rule": titles.take(taken),
            "value": pa.array(values, from_pandas=True),
            "duplicate_of": pa.nulls(measured.num_rows, pa.string()),
        },
        schema=VERDICTS,
    )


def _values(measured: pa.Table, rule: Rule) -> Floats:
    column = measured[signals.column(signals.resolve(rule.signal))]
    return np.asarray(column.to_numpy(), np.float64)


def _outside(values: Floats, rule: Rule) -> Flags:
    inside: Flags = np.isfinite(values)
    if rule.low is not None:
        inside &= values >= rule.low
    if rule.high is not None:
        inside &= values <= rule.high
    return ~inside


def sift_snapshot(store: Store, measured: Snapshot, policy: Policy) -> Snapshot:
    """Sift a measured snapshot and publish a verdict for every document; reads no text.

    Args:
        store: Holds the measured columns; receives the verdicts.
        measured: What to sift.
        policy: Whose rules apply.

    Returns:
        The published snapshot, its shards in the order of the measured shards.
    """
    name = measured.name.replace("/measured/", "/sifted/")
    parents = (measured.as_parent(),)
    rules = json_digest(policy.sifting)
    key = run_key("sifted", parents, rules, {})
    earlier = resume(store, name, key)
    if earlier is not None:
        return earlier
    store.put_if_absent(rules_key(rules), canonical_json(policy.sifting))
    shards, reasons = [], Counter[tuple[str, str]]()
    for verdicts in _decide(store, measured, policy):
        reasons.update(count_reasons(verdicts))
        shards.append(write_shard(store, verdicts, "sifted"))
    ledger = _ledger(sum(shard.rows for shard in shards), reasons)
    return publish(
        store,
        Snapshot(name, "sifted", SCHEMA, parents, tuple(shards), ledger, rules, __version__, key, measured.details),
    )


def rules_key(digest: str) -> str:
    """Where the rules behind a digest are kept, so that every verdict can be explained later."""
    return f"rules/{digest}.json"


def _decide(store: Store, measured: Snapshot, policy: Policy) -> Iterator[pa.Table]:
    rows = measured.ledger.came_in
    with store.scratch() as scratch:
        tables = (read_shard(store, shard) for shard in measured.shards)
        keys = (_keys_of_kept(table, apply_rules(table, policy), index) for index, table in enumerate(tables))
        copies = Duplicates(keys, rows=rows, shards=len(measured.shards), scratch=scratch)
        for index, shard in enumerate(measured.shards):
            verdicts = apply_rules(read_shard(store, shard), policy)
            yield _drop_copies(verdicts, copies.in_shard(index, shard.rows))


def _keys_of_kept(measured: pa.Table, verdicts: pa.Table, shard: int) -> pa.Table:
    return keys_of(measured, shard).filter(pc.not_equal(verdicts["verdict"], "drop"))


def _drop_copies(verdicts: pa.Table, duplicate_of: pa.Array) -> pa.Table:
    copy = pc.is_valid(duplicate_of)
    columns: dict[str, Any] = {
        "id": verdicts["id"],
        "verdict": pc.if_else(copy, "drop", verdicts["verdict"]),
        "rule": pc.if_else(copy, DUPLICATE, verdicts["rule"]),
        "value": pc.if_else(copy, pa.scalar(None, pa.float64()), verdicts["value"]),
        "duplicate_of": duplicate_of,
    }
    return pa.table(columns, schema=VERDICTS)


def count_reasons(verdicts: pa.Table) -> Counter[tuple[str, str]]:
    """Count documents by verdict and reason.

    Args:
        verdicts: Rows with `verdict` and `rule`.

    Returns:
        How many of each pair.
    """
    pairs = zip(verdicts["verdict"].to_pylist(), verdicts["rule"].to_pylist(), strict=True)
    return Counter((verdict, rule or "") for verdict, rule in pairs)


def _ledger(rows: int, reasons: Counter[tuple[str, str]]) -> Ledger:
    dropped = {rule: count for (verdict, rule), count in reasons.items() if verdict == "drop"}
    kept, review = (
        sum(count for (word, _), count in reasons.items() if word == verdict) for verdict in ("keep", "review")
    )
    return Ledger(came_in=rows, kept=kept, review=review, dropped=dropped)


def aligned_sources(store: Store, sifted: Snapshot) -> tuple[Snapshot, Snapshot]:
    """The measured columns and the documents behind a sifted snapshot."""
    measured = find_digest(store, sifted.parents[0])
    return measured, find_digest(store, measured.parents[0])
