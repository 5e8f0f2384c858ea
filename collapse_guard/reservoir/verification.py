"""Proof that a reservoir is what was admitted: every signature, every byte, every lock, and what tombstones took."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard import attestation
from collapse_guard.canonical import sha256_hex
from collapse_guard.errors import DamagedDataError
from collapse_guard.reservoir.history import open_reservoir, read_history
from collapse_guard.reservoir.protection import locked_until, plain
from collapse_guard.reservoir.rules import rules_of
from collapse_guard.reservoir.states import LOG, SPLITS, TOMBSTONES, attestation_key, kind_of
from collapse_guard.snapshot import log, read_shard, read_verified
from collapse_guard.store import locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from collapse_guard.attestation import PublicKey, SigningKey
    from collapse_guard.reservoir.opened import Reservoir
    from collapse_guard.reservoir.states import Recorded
    from collapse_guard.snapshot import Shard, Snapshot
    from collapse_guard.store import Store
    from collapse_guard.store.s3 import S3Store

MANIFEST_PREDICATE = "https://collapse-guard.dev/reservoir-manifest/v1"
_NO_WATCH: Callable[[int, int], None] = lambda _done, _all: None  # noqa: E731


class Sample(NamedTuple):
    """Which shards are re-hashed: a share of them, another one for each seed, such as the date."""

    share: float
    seed: str

    def of(self, shards: Sequence[Shard]) -> list[Shard]:
        """The chosen shards; at least one where there is any."""
        ranked = sorted(shards, key=lambda shard: hashlib.sha256(f"{self.seed}/{shard.key}".encode()).digest())
        return ranked[: max(1, round(self.share * len(ranked)))]


def verify(
    store: Store,
    trusted: PublicKey | None = None,
    *,
    sample: Sample | None = None,
    watch: Callable[[int, int], None] = _NO_WATCH,
) -> dict[str, int]:
    """Check everything: every entry signed and allowed, nothing ever removed, every shard's bytes, every lock.

    Args:
        store: Where the reservoir lies.
        trusted: The key that must have signed; by default any that the store trusts.
        sample: Re-hash only some shards; signatures, entries and locks are all checked nevertheless.
        watch: Is told how many shards of how many were re-hashed.

    Returns:
        Counts of states, shards, documents and bytes that were verified; `documents` are those in the splits.

    Raises:
        DamagedDataError: Something was changed, removed or swapped, or a lock is weaker than it was.
    """
    head = open_reservoir(store, trusted)
    history = read_history(store, trusted)
    inner = plain(store)
    if locks.can_lock(inner):
        _check_locks(inner, history)
    chosen = sample.of(head.snapshot.shards) if sample else list(head.snapshot.shards)
    total = 0
    for done, shard in enumerate(chosen, start=1):
        total += len(read_verified(head.store, shard))
        watch(done, len(chosen))
    _check_counts(head)
    for recorded in history:
        _check_tombstones(head, recorded.state)
    documents = head.snapshot.details["documents"]
    return {"states": len(history), "shards": len(chosen), "documents": documents, "bytes": total}


def _check_counts(head: Reservoir) -> None:
    """The documents of the splits must be as many as the head says."""
    rows = sum(shard.rows for split in SPLITS for shard in head.snapshot.with_role(split))
    if rows != head.snapshot.details["documents"]:
        said = head.snapshot.details["documents"]
        raise DamagedDataError(f"{head.store.root}: the reservoir says {said:,} documents and its shards hold {rows:,}")


def _check_tombstones(head: Reservoir, state: Snapshot) -> None:
    """A tombstone must have taken exactly the documents that it names out of the shards that it replaced."""
    if kind_of(state) != "tombstone":
        return
    event = state.details["event"]
    shards = {shard.key: shard for shard in head.snapshot.shards}
    old, new = pa.array([], pa.string()), pa.array([], pa.string())
    for before, after in event["replaced"].items():
        if not shards[before].role.endswith("_index"):
            continue
        old = pa.concat_arrays([old, _ids(head, shards[before])])
        new = pa.concat_arrays([new, _ids(head, shards[after])]) if after else new
    named = pa.array(event["ids"], pa.string())
    left = old.filter(pc.invert(pc.is_in(old, named)))
    if left.sort() != new.sort() or len(old) - len(left) < len(named):
        raise DamagedDataError(
            f"{head.store.root}: state {state.digest} took other documents away than its tombstones name"
        )


def _ids(head: Reservoir, shard: Shard) -> pa.Array:
    return read_shard(head.store, shard, ["id"])["id"].combine_chunks()


def _check_locks(store: S3Store, history: Sequence[Recorded]) -> None:
    """Every object must be locked as it was when it was written, and no entry may be hidden by a delete marker."""
    head = history[-1].state.details
    if rules_of(head).object_lock:
        entries = (f"snapshots/{LOG}", "attestations", "trust")
        hidden = [key for prefix in entries for key in locks.delete_markers(store, prefix)]
        if hidden:
            raise DamagedDataError(
                f"{store.root}: {hidden[0]} was deleted; its version is still there: remove the marker"
            )
    for key, known in head.get("versions", {}).items():
        _check_lock(store, key, known["version_id"], known["mode"], datetime.fromisoformat(known["until"]))
    for key, at in _entries(store, history):
        rules = rules_of(head)
        if rules.object_lock and at:
            version = locks.current_version(store, key)
            _check_lock(store, key, version, rules.object_lock.upper(), locked_until(rules, at))


def _entries(store: Store, history: Sequence[Recorded]) -> Iterator[tuple[str, datetime | None]]:
    """Every entry, with the time when it was written at the earliest."""
    for name, recorded in zip(log(store, LOG), history, strict=True):
        yield name, recorded.statement.at
        yield attestation_key(recorded.state.digest), recorded.statement.at
    for name, entry in zip(store.list("trust/"), attestation.trust_log(store), strict=True):
        yield name, entry.at or history[0].statement.at


def _check_lock(store: S3Store, key: str, version: str, mode: str, until: datetime) -> None:
    found = locks.lock_of(store, key, version)
    if found is None or found.until < until or (mode, found.mode) == _WEAKENED:
        raise DamagedDataError(
            f"{store.root}: version {version} of {key} is not locked as {mode} until {until.isoformat()} any more; the "
            "bucket does not keep its locks"
        )


_WEAKENED = ("COMPLIANCE", "GOVERNANCE")


def export_manifest(store: Store, key: SigningKey, at: datetime, trusted: PublicKey | None = None) -> bytes:
    """List every object of the reservoir, signed: what to keep elsewhere, and compare with later.

    Args:
        store: Where the reservoir lies.
        key: Signs.
        at: When.
        trusted: The key that must have signed; by default any that the store trusts.

    Returns:
        A DSSE envelope. Its statement lists, per object, `key, version_id, bytes, sha256, retention`; the subject is
        the newest state, so that a copy of it kept elsewhere also shows a reservoir that lost its newest states.

    Raises:
        DamagedDataError: A state is not signed by a trusted key, or an object is missing.
    """
    head = open_reservoir(store, trusted)
    states = [recorded.state for recorded in read_history(store, trusted)]
    attestation.trust(store, key.public, at)
    entries = [*log(store, LOG), *(attestation_key(state.digest) for state in states), *store.list("trust/")]
    listed = [(name, *_measured(store, name)) for name in entries]
    listed += [(shard.key, shard.bytes, shard.sha256) for shard in head.snapshot.shards]
    objects = [{"key": name, "bytes": size, "sha256": digest, **_lock(head, name)} for name, size, digest in listed]
    said = {
        "root": store.root,
        "objects": objects,
        "rules": rules_of(head.snapshot.details).to_json(),
        "tombstones": sum(shard.rows for shard in head.snapshot.with_role(TOMBSTONES)),
        "at": at.isoformat(),
    }
    return attestation.sign(key, {LOG: head.snapshot.digest}, MANIFEST_PREDICATE, said)


def check_manifest(store: Store, envelope: bytes, where: str, trusted: PublicKey | None = None) -> int:
    """Compare a reservoir with a manifest that was exported before and kept elsewhere.

    Args:
        store: Where the reservoir lies.
        envelope: What `export_manifest` gave.
        where: The envelope's place, for the error.
        trusted: The key that must have signed; by default any that the store trusts.

    Returns:
        The number of objects that the manifest lists, all of which are there with the same digests.

    Raises:
        DamagedDataError: An object is gone or changed, such as the newest states of a reservoir that was rolled back.
    """
    statement = attestation.verify(envelope, attestation.trusted_keys(store, trusted), where)
    if statement.predicate_type != MANIFEST_PREDICATE:
        raise DamagedDataError(f"{where} is signed, but is no manifest of a reservoir")
    head = open_reservoir(store, trusted)
    for listed in statement.predicate["objects"]:
        if head.store.head(listed["key"]) is None or sha256_hex(head.store.read(listed["key"])) != listed["sha256"]:
            raise DamagedDataError(
                f"{store.root}: {listed['key']} is gone or not what {where} lists: the reservoir was rolled back or "
                "changed; restore it from a copy"
            )
    return len(statement.predicate["objects"])


def _measured(store: Store, key: str) -> tuple[int, str]:
    data = store.read(key)
    return len(data), sha256_hex(data)


def _lock(head: Reservoir, key: str) -> dict[str, Any]:
    store = plain(head.store)
    if not locks.can_lock(store):
        return {"version_id": None, "retention": None}
    known = head.snapshot.details.get("versions", {}).get(key, {})
    version = known.get("version_id") or locks.current_version(store, key)
    found = locks.lock_of(store, key, version)
    retention = {"mode": found.mode, "until": found.until.isoformat()} if found else None
    return {"version_id": version, "retention": retention}
