"""Entries of a reservoir beside admissions: its rules, countersignatures, ends of quarantine, tombstones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard import attestation
from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.reservoir.history import read_history, states_of
from collapse_guard.reservoir.protection import pinned, protected, versions_of
from collapse_guard.reservoir.rules import pending_of, rules_of
from collapse_guard.reservoir.states import (
    INDEX,
    LOG,
    PENDING,
    SPLITS,
    TOMBSTONED,
    TOMBSTONES,
    Entry,
    carried,
    read_states,
    record,
    settled,
)
from collapse_guard.snapshot import Ledger, log, read_shard, write_shard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collapse_guard.attestation import SigningKey
    from collapse_guard.reservoir.rules import Pending, Rules
    from collapse_guard.snapshot import Shard, Snapshot
    from collapse_guard.store import Store

Reason = Literal["takedown", "licence", "privacy"]
REASONS: tuple[str, ...] = get_args(Reason)
_TOMBSTONE = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("id", "split", "reason", "by", "because", "at")),
        pa.field("text_sha256", pa.binary()),
        pa.field("tokens", pa.int64()),
    ]
)


def start(store: Store, rules: Rules, key: SigningKey, at: datetime) -> Snapshot:
    """Begin a reservoir with rules that no later admission can fall short of.

    Args:
        store: Where it will lie.
        rules: What every admission has to do at least.
        key: Signs.
        at: When.

    Returns:
        The first state, which holds no document.

    Raises:
        UsageError: There is a reservoir already, or Object Lock is demanded of a store without it.
    """
    if any(log(store, LOG)):
        raise UsageError(f"{store.root}: there is a reservoir already; its rules are fixed by its first entry")
    writing = protected(store, None, rules, at)
    attestation.trust(writing, key.public, at)
    details = {**carried(None), "rules": rules.to_json()}
    said = {"rules": rules.to_json()}
    return record(writing, [], Entry("rules", said, said, (), Ledger(came_in=0), details), key, at)


def writable(store: Store, at: datetime) -> Store:
    """The store as the rules of the reservoir in it, if there is one, demand that it is written to."""
    states = read_states(store)
    before = states[-1] if states else None
    return protected(store, before, rules_of(before.details if before else {}), at)


def opened(store: Store, key: SigningKey, at: datetime) -> list[Snapshot]:
    """Every state of a reservoir in which this key may sign."""
    states = states_of(read_history(store))
    if not states:
        raise DamagedDataError(
            f"{store.root}: no document was ever admitted here; run `collapse-guard reservoir admit`"
        )
    attestation.trust(store, key.public, at)
    return states


def all_kept(state: Snapshot) -> Ledger:
    """The ledger of an entry that takes no document in or out."""
    count = state.details["documents"]
    return Ledger(came_in=count, kept=count)


def countersign(store: Store, admission: str, key: SigningKey, at: datetime) -> Snapshot:
    """Vouch for a pending admission with a second trusted key.

    Args:
        store: The reservoir's.
        admission: The digest of the state that the admission made, or the first 8 or more digits of it.
        key: Another key than the one that admitted.
        at: When; where no quarantine is left to wait for, the documents can be mixed from now on.

    Returns:
        The new state.

    Raises:
        UsageError: Nothing of this name is pending, or the same key signed it before.
    """
    states = opened(store, key, at)
    waiting = pending_of(states[-1].details)
    found = _pending_named(store, states, waiting, admission)
    if key.public.keyid in found.signed_by:
        raise UsageError(
            f"{store.root}: key {key.public.keyid[:16]} signed this admission before; a second person's key must"
        )
    now = [entry.signed(key.public.keyid) if entry == found else entry for entry in waiting]
    ripe = [entry for entry in now if entry.admission == found.admission and entry.ripe(at)]
    event = ("countersign", {"admission": found.admission})
    return _settle(store, states, now, ripe, event=event, key=key, at=at)


def _pending_named(store: Store, states: Sequence[Snapshot], waiting: Sequence[Pending], name: str) -> Pending:
    keys = {state.run_key for state in states if len(name) >= 8 and state.digest.startswith(name)}  # noqa: PLR2004
    found = [entry for entry in waiting if entry.admission in keys]
    if len(found) != 1:
        names = ", ".join(state.digest[:16] for state in states if state.run_key in {one.admission for one in waiting})
        raise UsageError(f"{store.root}: no admission {name!r} is pending here; pending: {names or 'none'}")
    return found[0]


def settle(store: Store, key: SigningKey, at: datetime) -> Snapshot:
    """End the waiting of documents whose quarantine is over and that have the signatures that were asked for.

    Args:
        store: The reservoir's.
        key: Signs the entry.
        at: Now.

    Returns:
        The new state, or the newest one where nothing was ripe.
    """
    states = opened(store, key, at)
    waiting = pending_of(states[-1].details)
    ripe = [entry for entry in waiting if entry.ripe(at)]
    if not ripe:
        return states[-1]
    event = ("settle", {"admissions": [one.admission for one in ripe]})
    return _settle(store, states, waiting, ripe, event=event, key=key, at=at)


def _settle(
    store: Store,
    states: list[Snapshot],
    waiting: Sequence[Pending],
    ripe: Sequence[Pending],
    *,
    event: tuple[str, dict[str, Any]],
    key: SigningKey,
    at: datetime,
) -> Snapshot:
    before = states[-1]
    kind, said = event
    details = {**carried(before), "pending": [entry.to_json() for entry in waiting if entry not in ripe]}
    shards = settled(before.shards, ripe)
    moved = [new for old, new in zip(before.shards, shards, strict=True) if new.role != old.role]
    for split in SPLITS:
        indexes = [shard for shard in moved if shard.role == f"{split}_index"]
        tables = [read_shard(pinned(store, before), shard, ["tokens"]) for shard in indexes]
        details["tokens"][split] += sum(pc.sum(table["tokens"]).as_py() or 0 for table in tables)
        details["documents"] += sum(table.num_rows for table in tables)
    entry = Entry(kind, said, said, shards, Ledger(details["documents"], details["documents"]), details)
    return record(protected(store, before, rules_of(before.details), at), states, entry, key, at)


class Tombstone(NamedTuple):
    """Why documents are offered no longer, and who says so."""

    reason: Reason
    by: str
    because: str


def tombstone(store: Store, ids: Sequence[str], why: Tombstone, key: SigningKey, at: datetime) -> Snapshot:
    """Offer documents no longer to mixes nor baselines; they stay, unchanged, in the shards that they came in.

    The other documents of such a shard are offered from a new one.

    Args:
        store: The reservoir's.
        ids: The documents.
        why: Takedown, licence or privacy; who asked for it; and the reason in words.
        key: Signs the entry.
        at: When.

    Returns:
        The new state; its ledger counts the documents as dropped for `tombstone:<reason>`.

    Raises:
        UsageError: A document is not offered here, or the reason is incomplete.
    """
    if why.reason not in REASONS or not why.by.strip() or not why.because.strip():
        raise UsageError(f"a tombstone must say a reason ({', '.join(REASONS)}), who asked for it, and why, in words")
    states = opened(store, key, at)
    before = states[-1]
    writing = protected(store, before, rules_of(before.details), at)
    work = _Removal(pinned(store, before), writing, before, frozenset(ids))
    shards, replaced = work.run()
    missing = frozenset(ids) - {row["id"] for row in work.gone}
    if missing:
        raise UsageError(f"{store.root}: {', '.join(sorted(missing)[:5])}: not among the documents offered here")
    rows = [{**row, **why._asdict(), "at": at.isoformat()} for row in work.gone]
    note = write_shard(writing, pa.Table.from_pylist(rows, _TOMBSTONE), TOMBSTONES)
    shards = (*shards, note)
    details = {
        **work.details(replaced),
        "versions": versions_of(writing, {shard.key for shard in shards}),
    }
    said = {**why._asdict(), "ids": sorted(ids)}
    waiting = sum(row["waiting"] for row in work.gone)
    came_in = before.details["documents"] + waiting
    ledger = Ledger(came_in, came_in - len(rows), dropped={f"tombstone:{why.reason}": len(rows)})
    event = {**said, "replaced": replaced}
    return record(writing, states, Entry("tombstone", event, said, shards, ledger, details), key, at)


class _Removal:
    """Offering documents no longer: what is replaced, and by what."""

    def __init__(self, reading: Store, writing: Store, before: Snapshot, ids: frozenset[str]) -> None:
        self._reading = reading
        self._writing = writing
        self._before = before
        self._ids = pa.array(sorted(ids), pa.string())
        self.gone: list[dict[str, Any]] = []

    def run(self) -> tuple[tuple[Shard, ...], dict[str, str | None]]:
        """Give the new shards, and which one replaces which, if any document is left of it."""
        shards: list[Shard] = []
        replaced: dict[str, str | None] = {}
        for text, index in self._pairs():
            left = self._left(index)
            if left is None:
                continue
            new = self._rewritten(text, left)
            replaced[text.key] = new[0].key if new else None
            replaced[index.key] = new[1].key if new else None
            shards += new
        kept = [_moved(shard) if shard.key in replaced else shard for shard in self._before.shards]
        return (*kept, *shards), replaced

    def _pairs(self) -> list[tuple[Shard, Shard]]:
        roles = [prefix + split for prefix in ("", PENDING) for split in SPLITS]
        state = self._before
        return [
            pair for role in roles for pair in zip(state.with_role(role), state.with_role(f"{role}_index"), strict=True)
        ]

    def _left(self, index: Shard) -> pa.Array | None:
        """Which rows of a shard stay; null where all do."""
        table = read_shard(self._reading, index, ["id", "text_sha256", "tokens"])
        named = pc.is_in(table["id"], self._ids)
        if not pc.any(named).as_py():
            return None
        waiting = index.role.startswith(PENDING)
        split = index.role.removeprefix(PENDING).removesuffix("_index")
        self.gone += [{**row, "split": split, "waiting": waiting} for row in table.filter(named).to_pylist()]
        return pc.invert(named)

    def _rewritten(self, text: Shard, left: pa.Array) -> tuple[Shard, ...]:
        table = read_shard(self._reading, text).filter(left)
        if not table.num_rows:
            return ()
        role = text.role
        return (
            write_shard(self._writing, table, role),
            write_shard(self._writing, table.select(INDEX), f"{role}_index"),
        )

    def details(self, replaced: dict[str, str | None]) -> dict[str, Any]:
        """What the new state carries on."""
        found = carried(self._before)
        for row in self.gone:
            if not row["waiting"]:
                found["tokens"][row["split"]] -= row["tokens"]
                found["documents"] -= 1
        pending = []
        for entry in pending_of(self._before.details):
            keys = (replaced.get(key, key) for key in entry.shards)
            pending.append(replace(entry, shards=tuple(key for key in keys if key is not None)))
        return {**found, "pending": [entry.to_json() for entry in pending if entry.shards]}


def _moved(shard: Shard) -> Shard:
    return replace(shard, role=TOMBSTONED + shard.role.removeprefix(PENDING))
