"""Admission: signed, checked for evidence of a model, for copies, and cut into what may be mixed and what never is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard import attestation
from collapse_guard.dedup import Clusters, index_of, signed
from collapse_guard.document import HUMAN_VERIFIED, ORIGINS, UNKNOWN
from collapse_guard.errors import UsageError
from collapse_guard.reservoir.checking import REFUSED, Checks, Examined
from collapse_guard.reservoir.history import read_history, states_of
from collapse_guard.reservoir.protection import pinned, protected, versions_of
from collapse_guard.reservoir.rules import Pending, demanded, mixable_from, rules_of
from collapse_guard.reservoir.sides import COMPARED, OFFERED, SYNTHETIC, Sides, with_digests
from collapse_guard.reservoir.states import (
    ADMISSION,
    ADMITTED,
    EVALUATION,
    HUMAN,
    INDEX,
    NEAR,
    PENDING,
    SPLITS,
    TOMBSTONES,
    Entry,
    carried,
    entry_key,
    record,
)
from collapse_guard.snapshot import Ledger, ShardWriter, read_shard
from collapse_guard.spill import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from collapse_guard.attestation import SigningKey
    from collapse_guard.provenance.finder import Finder
    from collapse_guard.reservoir.rules import Rules
    from collapse_guard.reservoir.sides import Place
    from collapse_guard.snapshot import Shard, Snapshot
    from collapse_guard.store import Store

DUPLICATE, NEAR_DUPLICATE, BETWEEN, TOMBSTONED = "duplicate", "near_duplicate", "near_both_splits", "tombstoned"
NEAR_SYNTHETIC = f"{REFUSED}near_synthetic"


@dataclass(frozen=True)
class Admission:
    """Who vouches for documents, why, and under which licence they may be used."""

    by: str
    licence: str
    evidence: str

    def __post_init__(self) -> None:
        empty = [name for name, value in vars(self).items() if not value.strip()]
        if empty:
            raise UsageError(f"an admission must say {', '.join(empty)}: who vouches, the licence, and the evidence")


def admit(
    store: Store,
    documents: Snapshot,
    admission: Admission,
    key: SigningKey,
    at: datetime,
    *,
    checks: Checks | None = None,
    asked: Rules | None = None,
    environment: Mapping[str, str] | None = None,
) -> Snapshot:
    """Admit a snapshot of documents as verified human text.

    Dropped, by reason: documents with evidence of a model (`refused:watermark`, `refused:declared`, `refused:residue`,
    `refused:near_synthetic`), exact copies of what was admitted before (`duplicate`) or tombstoned (`tombstoned`), and
    documents that are nearly the same as others on both sides of the split (`near_both_splits`). One tenth of the
    clusters of near-copies becomes the evaluation split, which no mix can use; an existing cluster keeps its side.

    Args:
        store: The reservoir's store; holds the documents' snapshot.
        documents: What to admit, from an ingest into the same store.
        admission: Who vouches, why, and the licence.
        key: Signs the admission.
        at: When, for the signed statement, and for what has to wait or to be locked.
        checks: What else documents are compared with.
        asked: What this admission must do beyond the reservoir's rules, such as a quarantine.
        environment: Where secrets of watermark keys are taken from.

    Returns:
        The new state of the reservoir: everything admitted before, and these.

    Raises:
        UsageError: The store trusts other keys, less was asked for than the reservoir demands, or somebody else
            admitted documents meanwhile.
    """
    if not store.head(attestation.TRUST_KEY):
        store = protected(store, None, demanded(rules_of({}), asked), at)
    attestation.trust(store, key.public, at)
    states = states_of(read_history(store))  # listed once: whoever admits after it takes the place wanted here
    before = states[-1] if states else None
    rules = demanded(rules_of(before.details if before else {}), asked)
    wanted = _Wanted(documents, admission, checks or Checks(), rules)
    finder = wanted.checks.finder(environment)
    event = wanted.event(finder)
    earlier = _admitted_before(states, event)
    if earlier is not None:
        return earlier
    writing = protected(store, before, rules, at)
    work = _Work(pinned(store, before), writing, before, wanted)
    with writing.scratch() as scratch:
        work.write(finder, scratch)
    return record(writing, states, work.entry(event, key.public.keyid, at), key, at)


def _admitted_before(states: list[Snapshot], event: Mapping[str, Any]) -> Snapshot | None:
    """The state that the same admission made, with the same checks."""
    same = {"kind": ADMISSION, **event}
    for state in states:
        older = {**same, "admission": state.details.get("admission")}
        if state.details.get("event", older) == same:
            return state
    return None


class _Wanted(NamedTuple):
    """What is to be admitted, and how."""

    documents: Snapshot
    admission: Admission
    checks: Checks
    rules: Rules

    @property
    def said(self) -> dict[str, str]:
        return {"documents": self.documents.digest, **vars(self.admission)}

    def event(self, finder: Finder) -> dict[str, Any]:
        """All that decides the result."""
        return {"admission": self.said, "checks": self.checks.to_json(finder), "rules": self.rules.to_json()}


class _Work:
    """One admission under way: where each document goes, and the counts."""

    def __init__(self, reading: Store, writing: Store, before: Snapshot | None, wanted: _Wanted) -> None:
        self._reading = reading
        self._writing = writing
        self._before = before
        self._wanted = wanted
        self._shards_before = before.shards if before else ()
        prefix = PENDING if wanted.rules.pending else ""
        self._writers = {split: ShardWriter(writing, prefix + split, index=INDEX) for split in SPLITS}
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def write(self, finder: Finder, scratch: Path) -> None:
        """Decide about every document and write those that are admitted."""
        offered = self._wanted.documents.with_role("documents")
        texts = (read_shard(self._reading, shard) for shard in offered)
        examined = Examined(texts, finder, scratch / "examined")
        known = [*self._known(), *self._synthetic()]
        rows = sum(rows for _, rows, _ in known) + sum(shard.rows for shard in offered)
        copies = Clusters(
            Replay(self._exactly(known, examined), scratch / "all"), rows=rows, scratch=scratch / "copies"
        )
        sides = Sides(self._facts(known, examined), rows, scratch / "near")
        gone = self._tombstoned()
        for number, shard in enumerate(offered):
            table = with_digests(read_shard(self._reading, shard))
            place = len(known) + number
            copy = pc.is_valid(copies.in_shard(place, shard.rows)["duplicate_of"]).to_pylist()
            refused = examined.reasons(number, table["text_sha256"])
            near = sides.of(place, table["text_sha256"])
            digests = table["text_sha256"].to_pylist()
            facts = zip(refused, [digest in gone for digest in digests], copy, near, strict=True)
            self._write(table, [self._decide(*each) for each in facts])
        for writer in self._writers.values():
            writer.close()

    def _decide(self, refused: str | None, gone: bool, copy: bool, near: Place) -> str:  # noqa: FBT001
        """The split of a document, or the reason why it is not admitted."""
        splits = near.sides & {*SPLITS}
        reasons = {
            refused: bool(refused),
            NEAR_SYNTHETIC: SYNTHETIC in near.sides,
            TOMBSTONED: gone,
            DUPLICATE: copy,
            NEAR_DUPLICATE: near.known and self._wanted.checks.near_copies == "drop",
            BETWEEN: len(splits) > 1,
        }
        return next((str(reason) for reason, applies in reasons.items() if applies), next(iter(splits), ""))

    def _write(self, table: pa.Table, found: list[str]) -> None:
        self._reasons.update(reason for reason in found if reason not in SPLITS)
        chosen = np.array(found)
        for split, writer in self._writers.items():
            rows = self._completed(table.filter(pa.array(chosen == split)))
            self._counts.update({split: rows.num_rows, f"{split} tokens": pc.sum(rows["tokens"]).as_py() or 0})
            writer.write(rows)

    def _completed(self, table: pa.Table) -> pa.Table:
        licences = pa.repeat(pa.scalar(self._wanted.admission.licence), table.num_rows)
        for name, column in {"licence": licences, **signed(table["text"], NEAR)}.items():
            table = table.append_column(name, column)
        return table.select(ADMITTED.names).cast(ADMITTED)

    def _known(self) -> list[tuple[str, int, Shard]]:
        """The index shards of everything that was ever admitted, with the side of each."""
        shards = [shard for shard in self._shards_before if shard.role.endswith("_index")]
        return [(EVALUATION if EVALUATION in shard.role else HUMAN, shard.rows, shard) for shard in shards]

    def _synthetic(self) -> list[tuple[str, int, Shard]]:
        if self._wanted.checks.synthetic is None:
            return []
        return [(SYNTHETIC, shard.rows, shard) for shard in self._wanted.checks.synthetic.with_role("documents")]

    def _facts(self, known: list[tuple[str, int, Shard]], examined: Examined) -> Iterator[tuple[str, pa.Table]]:
        for side, _, shard in known:
            yield side, _comparable(read_shard(self._reading, shard))
        for table in examined.facts():
            yield OFFERED, table

    def _exactly(self, known: list[tuple[str, int, Shard]], examined: Examined) -> Iterator[pa.Table]:
        """What decides between exact copies; what was admitted before stays."""
        for side, table in self._facts(known, examined):
            if side == SYNTHETIC:  # of these, equal texts are refused as near ones are
                table = table.slice(0, 0)  # noqa: PLW2901 - the place in the order is kept
            rank = ORIGINS.index(UNKNOWN if side == OFFERED else HUMAN_VERIFIED)
            yield index_of(table.select(["id", "text_sha256", "captured_at"]), rank=rank)

    def _tombstoned(self) -> set[bytes]:
        shards = [shard for shard in self._shards_before if shard.role == TOMBSTONES]
        return {digest for shard in shards for digest in read_shard(self._reading, shard)["text_sha256"].to_pylist()}

    def entry(self, event: Mapping[str, Any], keyid: str, at: datetime) -> Entry:
        """What the new state says."""
        documents = self._wanted.documents
        new = [shard for writer in self._writers.values() for shard in writer.shards]
        shards = (*self._shards_before, *new)
        kept = self._counts[HUMAN] + self._counts[EVALUATION]
        ledger = Ledger(came_in=documents.ledger.kept, kept=kept, dropped=dict(self._reasons))
        parents = (*((self._before.as_parent(),) if self._before else ()), documents.as_parent())
        details = {
            **self._carried(),
            "admission": self._wanted.said,
            "versions": versions_of(self._writing, {shard.key for shard in shards}),
        }
        if self._wanted.rules.pending and new:
            name = entry_key(parents, ADMISSION, event)
            details["pending"] = [*details["pending"], self._waiting(name, new, keyid, at).to_json()]
        return Entry(ADMISSION, event, self._wanted.said, shards, ledger, details, (documents.as_parent(),))

    def _waiting(self, name: str, new: list[Shard], keyid: str, at: datetime) -> Pending:
        rules = self._wanted.rules
        keys = tuple(shard.key for shard in new)
        return Pending(name, keys, (keyid,), rules.two_signatures, mixable_from(rules, at))

    def _carried(self) -> dict[str, Any]:
        found = carried(self._before)
        if not self._wanted.rules.pending:
            found["tokens"] = {split: found["tokens"][split] + self._counts[f"{split} tokens"] for split in SPLITS}
            found["documents"] += self._counts[HUMAN] + self._counts[EVALUATION]
        return found


def _comparable(table: pa.Table) -> pa.Table:
    """The columns that documents are compared by, signed first where they have no signature."""
    if "text" in table.column_names:
        table = with_digests(table)
        for name, column in signed(table["text"], NEAR).items():
            table = table.append_column(name, column)
    return table.select(COMPARED)
