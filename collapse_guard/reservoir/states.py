"""The states of a reservoir: a chain of signed snapshots, each made of the one before it by one entry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from collapse_guard import attestation
from collapse_guard.dedup import INDEX as COMPARED
from collapse_guard.dedup import SIGNATURE
from collapse_guard.document import DOCUMENT
from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.policy import Near
from collapse_guard.reservoir.rules import rules_of
from collapse_guard.snapshot import Ledger, Snapshot, append, log, read_snapshot, run_key
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from collapse_guard.attestation import PublicKey, SigningKey, Statement
    from collapse_guard.reservoir.rules import Pending
    from collapse_guard.snapshot import Parent, Shard
    from collapse_guard.store import Store

LOG = "reservoir"
SCHEMA = "reservoir@3"
HUMAN = "human"
EVALUATION = "evaluation"
SPLITS = (HUMAN, EVALUATION)
PENDING = "pending_"
TOMBSTONED = "tombstoned_"
"""What stands before the role of shards that are not, or no longer, offered."""
TOMBSTONES = "tombstones"
ADMISSION = "admission"
PREDICATE = "https://collapse-guard.dev/admission/v1"
ENTRY_PREDICATE = "https://collapse-guard.dev/reservoir-{kind}/v1"

ADMITTED = pa.schema(
    [
        *DOCUMENT,
        pa.field("text_sha256", pa.binary()),
        pa.field("licence", pa.string()),
        *(COMPARED.field(name) for name in SIGNATURE),
    ]
)
INDEX = ["id", "text_sha256", "tokens", "captured_at", "domain", "licence", *SIGNATURE]
NEAR = Near()
ADMITTED_WITH = (NEAR.bands, NEAR.rows, NEAR.ngram)
"""Bands, rows and length of n-grams of the signatures that are kept beside the documents."""


@dataclass(frozen=True)
class Recorded:
    """A state and the verified statement about it."""

    state: Snapshot
    statement: Statement


@dataclass(frozen=True)
class Entry:
    """What a new state says: its kind, facts for the state and for the signed statement, shards and ledger."""

    kind: str
    event: Mapping[str, Any]
    said: Mapping[str, Any]
    shards: tuple[Shard, ...]
    ledger: Ledger
    details: Mapping[str, Any]
    parents: tuple[Parent, ...] = ()


def kind_of(state: Snapshot) -> str:
    """The kind of entry that made a state."""
    return str(state.details.get("event", {}).get("kind", ADMISSION))


def predicate_type(kind: str) -> str:
    """The type of the statement that is signed about a kind of entry."""
    return PREDICATE if kind == ADMISSION else ENTRY_PREDICATE.format(kind=kind)


def read_states(store: Store) -> list[Snapshot]:
    """Every state, oldest first; DamagedDataError where one is not made from the one before it."""
    states = [read_snapshot(store, entry) for entry in log(store, LOG)]
    for earlier, later in zip([None, *states], states, strict=False):
        before = [earlier.as_parent()] if earlier else []
        if [parent for parent in later.parents if parent.name == LOG] != before:
            raise DamagedDataError(f"{store.root}: the state before {later.digest} of the reservoir is missing")
    return states


def read_statement(store: Store, state: Snapshot, keys: Sequence[PublicKey]) -> Statement:
    """Verify that a state of the reservoir was signed; DamagedDataError where it was not."""
    where = attestation_key(state.digest)
    statement = attestation.verify(store.read(where), keys, f"{store.root}: {where}")
    if statement.subjects != {LOG: state.digest} or statement.predicate_type != predicate_type(kind_of(state)):
        raise DamagedDataError(f"{store.root}: {where} is signed, but about something else than this reservoir")
    return statement


def attestation_key(digest: str) -> str:
    """Where the statement about a state lies."""
    return f"attestations/{digest}.json"


def carried(before: Snapshot | None) -> dict[str, Any]:
    """The facts that every state carries on."""
    found = before.details if before else {}
    return {
        "tokens": dict(found.get("tokens") or dict.fromkeys(SPLITS, 0)),
        "documents": found.get("documents", 0),
        "rules": rules_of(found).to_json(),
        "pending": list(found.get("pending", ())),
        "versions": dict(found.get("versions", {})),
    }


def record(store: Store, states: Sequence[Snapshot], entry: Entry, key: SigningKey, at: datetime) -> Snapshot:
    """Sign a new state and put it behind the others.

    Args:
        store: The reservoir's; under Object Lock, one that locks what is put.
        states: All states, as they were read before the entry was made.
        entry: What the new one says.
        key: Signs.
        at: When.

    Returns:
        The new state.

    Raises:
        UsageError: Somebody else recorded a state meanwhile.
    """
    before = (states[-1].as_parent(),) if states else ()
    parents = (*before, *entry.parents)
    details = {"event": {"kind": entry.kind, **entry.event}, **entry.details}
    state = Snapshot(
        name=LOG,
        kind=LOG,
        schema=SCHEMA,
        parents=parents,
        shards=entry.shards,
        ledger=entry.ledger,
        policy_digest=None,
        code_version=__version__,
        run_key=entry_key(parents, entry.kind, entry.event),
        details=details,
    )
    statement = {**entry.said, "at": at.isoformat(), "ledger": entry.ledger.to_json()}
    envelope = attestation.sign(key, {LOG: state.digest}, predicate_type(entry.kind), statement)
    store.put_if_absent(attestation_key(state.digest), envelope)
    if not append(store, state, len(states) + 1):
        raise UsageError(f"{store.root}: somebody else admitted documents meanwhile; nothing was changed, admit again")
    return state


def entry_key(parents: Sequence[Parent], kind: str, event: Mapping[str, Any]) -> str:
    """The run key of a state: what it is made of, and what it says."""
    return run_key(LOG, parents, None, {"kind": kind, **event})


def settled(shards: Sequence[Shard], ripe: Sequence[Pending]) -> tuple[Shard, ...]:
    """The shards, with those that need not wait any longer in the splits."""
    keys = {key for entry in ripe for key in entry.shards}
    return tuple(replace(s, role=s.role.removeprefix(PENDING)) if s.key in keys else s for s in shards)
