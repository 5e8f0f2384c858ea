"""Decide for every document: keep, review or drop, with the rule and the value that decided."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard import signals
from collapse_guard.canonical import canonical_json, json_digest
from collapse_guard.dedup import EVALUATION_RANK, SIGNATURE, Clusters, index_of, signed
from collapse_guard.document import text_digests
from collapse_guard.signals.batch import read_list
from collapse_guard.signals.evaluation import items
from collapse_guard.snapshot import (
    Ledger,
    Snapshot,
    find_digest,
    publish,
    read_rows,
    read_shard,
    resume,
    run_key,
    write_shard,
)
from collapse_guard.spill import Replay
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

    from collections.abc import Iterator

    from collapse_guard.policy import Bound, Dedup, EvaluationSet, Policy, Reference, Rule
    from collapse_guard.store import Store

SCHEMA = "sifted@2"
DUPLICATE = "duplicate"
MATCHES = pa.array(["exact", "url", "near"])
COPY_RULES = pa.array([DUPLICATE, "same_url", "near_duplicate"])
VERDICTS = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("verdict", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("duplicate_of", pa.string()),
        pa.field("cluster", pa.string()),
        pa.field("similarity", pa.float64()),
    ]
)
"""`duplicate_of` is the copy that is kept, `cluster` names all copies together, the kept one included, and
`similarity` is the share of word n-grams that a document has in common with the kept copy (1 for equal texts)."""


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
    kept = _not_dropped(verdicts)
    guarded = _evaluation_items(policy)
    compared = [*guarded, compared_by(measured.take(pa.array(kept)), policy.dedup)]
    found = Clusters(lambda: compared, rows=len(kept), near=policy.dedup.near)
    return Sifted(_drop_copies(verdicts, kept, found.in_shard(len(guarded), len(kept))))


def apply_rules(measured: pa.Table, policy: Policy) -> pa.Table:
    """Decide by numbers alone.

    Args:
        measured: What `measure` gave.
        policy: Whose rules apply.

    Returns:
        Rows of VERDICTS that know nothing of copies.
    """
    rules = list(policy.all_rules())
    decided = np.full(measured.num_rows, len(rules))
    values = np.full(measured.num_rows, np.nan)
    drops = np.array([*(rule.outside == "drop" for _, rule in rules), False])
    for index, (_, rule) in enumerate(rules):
        first = failing(measured, rule) & ((decided == len(rules)) | (drops[index] & ~drops[decided]))
        decided[first] = index
        values[first] = _values(measured, rule.signal)[first]
    titles = pa.array([*(title for title, _ in rules), None], pa.string())
    words = pa.array([*(rule.outside for _, rule in rules), "keep"], pa.string())
    taken = pa.array(decided)
    columns = {
        "id": measured["id"],
        "verdict": words.take(taken),
        "rule": titles.take(taken),
        "value": pa.array(values, from_pandas=True),
    }
    nothing = {field.name: pa.nulls(measured.num_rows, field.type) for field in VERDICTS if field.name not in columns}
    return pa.table({**columns, **nothing}, schema=VERDICTS)


def failing(measured: pa.Table, rule: Rule) -> Flags:
    """Say which documents a rule, applied alone, sends outside.

    Args:
        measured: What `measure` gave.
        rule: The rule; where it holds for some documents only, one that cannot be told apart is one of them.

    Returns:
        One flag per document.
    """
    outside = ~_inside(_values(measured, rule.signal), rule)
    if rule.where is None:
        return outside
    known = _values(measured, rule.where.signal)
    return outside & (_inside(known, rule.where) | ~np.isfinite(known))


def applies(rule: Rule, value: float | None) -> bool:
    """Say whether a rule applies to a document, by the value of the signal that its `where` looks at."""
    return rule.where is None or value is None or not math.isfinite(value) or rule.where.contains(value)


def signal_column(reference: Reference) -> str:
    """The column of a signal as a policy writes it."""
    return signals.column(signals.resolve(reference))


def _values(measured: pa.Table, reference: Reference) -> Floats:
    return np.asarray(measured[signal_column(reference)].to_numpy(), np.float64)


def _inside(values: Floats, bound: Bound) -> Flags:
    inside: Flags = np.isfinite(values)
    if bound.low is not None:
        inside &= values >= bound.low
    if bound.high is not None:
        inside &= values <= bound.high
    return inside


def sift_snapshot(store: Store, measured: Snapshot, policy: Policy) -> Snapshot:
    """Sift a measured snapshot and publish a verdict for every document; reads no text.

    Args:
        store: Holds the measured columns; receives the verdicts.
        measured: What to sift.
        policy: Whose rules apply.

    Returns:
        The published snapshot, its shards in the order of the measured shards.
    """
    name = measured.sibling("sifted")
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
    """Two passes: one that applies the rules and finds copies among what they leave, one that says so."""
    with store.scratch() as scratch:
        guarded = _evaluation_items(policy)
        tables = ((apply_rules(table, policy), table) for table in read_rows(store, measured.shards))
        kept_rows = (
            compared_by(table.take(pa.array(_not_dropped(verdicts))), policy.dedup) for verdicts, table in tables
        )
        compared = Replay(chain(guarded, kept_rows), scratch / "compared")
        rows = measured.ledger.came_in
        copies = Clusters(compared, rows=rows, near=policy.dedup.near, scratch=scratch)
        for index, shard in enumerate(measured.shards):
            verdicts = apply_rules(read_shard(store, shard), policy)
            kept = _not_dropped(verdicts)
            yield _drop_copies(verdicts, kept, copies.in_shard(len(guarded) + index, len(kept)))


def _evaluation_items(policy: Policy) -> list[pa.Table]:
    """What the items of the policy's evaluation sets are compared by, a table per set; every copy of one is dropped."""
    return [_compared_items(found, policy) for found in policy.decontaminate]


def _compared_items(found: EvaluationSet, policy: Policy) -> pa.Table:
    lines = read_list(policy.folder / found.path, found.sha256)
    texts = pa.array(items(found.path, lines, found.fields), pa.large_string())
    facts = {
        "id": pa.array([f"{found.name}:{number}" for number in range(1, len(texts) + 1)], pa.string()),
        "text_sha256": text_digests(texts),
        "captured_at": pa.nulls(len(texts), pa.timestamp("us", tz="UTC")),
        **(signed(texts, policy.dedup.near) if policy.dedup.near else {}),
    }
    return compared_by(pa.table(facts), policy.dedup, rank=EVALUATION_RANK)


def compared_by(facts: pa.Table, dedup: Dedup, *, rank: int | None = None) -> pa.Table:
    """Reduce facts about documents to those by which a policy compares them; see `dedup.index_of`."""
    ignored = [*(SIGNATURE if dedup.near is None else ()), *(() if dedup.url else ("url_key",))]
    return index_of(facts.drop_columns([name for name in ignored if name in facts.column_names]), rank=rank)


def _not_dropped(verdicts: pa.Table) -> NDArray[np.int64]:
    return np.flatnonzero(pc.not_equal(verdicts["verdict"], "drop").to_numpy())


def _drop_copies(verdicts: pa.Table, kept: NDArray[np.int64], found: pa.Table) -> pa.Table:
    places = np.full(verdicts.num_rows, -1)
    places[kept] = np.arange(len(kept))
    found = found.take(pa.array(places, mask=places < 0))
    copy = pc.is_valid(found["duplicate_of"])
    columns: dict[str, Any] = {
        "id": verdicts["id"],
        "verdict": pc.if_else(copy, "drop", verdicts["verdict"]),
        "rule": pc.if_else(copy, copy_rules(found["match"]), verdicts["rule"]),
        "value": pc.if_else(copy, pa.scalar(None, pa.float64()), verdicts["value"]),
        **{name: found[name] for name in ("duplicate_of", "cluster", "similarity")},
    }
    return pa.table(columns, schema=VERDICTS)


def copy_rules(match: pa.ChunkedArray) -> pa.ChunkedArray:
    """The reason that a copy is dropped, by what it has in common with the copy that is kept; null where nothing."""
    return COPY_RULES.take(pc.index_in(match, MATCHES))


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
