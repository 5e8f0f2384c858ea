"""The whole history of a reservoir, replayed: every entry signed, and no more than its kind of entry may change."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from collapse_guard import attestation
from collapse_guard.errors import DamagedDataError
from collapse_guard.reservoir.opened import Reservoir
from collapse_guard.reservoir.protection import pinned
from collapse_guard.reservoir.rules import mixable_from, pending_of, rules_of
from collapse_guard.reservoir.states import (
    ADMISSION,
    LOG,
    PENDING,
    SPLITS,
    TOMBSTONED,
    TOMBSTONES,
    Recorded,
    kind_of,
    read_statement,
    read_states,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.attestation import PublicKey
    from collapse_guard.reservoir.rules import Pending
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

_OFFERED = {f"{split}{index}" for split in SPLITS for index in ("", "_index")}
_WAITING = {f"{PENDING}{role}" for role in _OFFERED}
_NEW = {ADMISSION: _OFFERED | _WAITING, "tombstone": {*_OFFERED, *_WAITING, TOMBSTONES}}
"""The roles that shards may have that an entry adds; other kinds of entries add none."""
_CHANGES_PENDING = {ADMISSION, "countersign", "settle", "tombstone"}


def open_reservoir(store: Store, trusted: PublicKey | None = None) -> Reservoir:
    """Open the newest state of a reservoir.

    Args:
        store: Where it lies.
        trusted: The key that must have signed, or must be in the log of trusted keys; by default any that the store
            trusts.

    Returns:
        The reservoir.

    Raises:
        DamagedDataError: There is none, a state is not signed by a trusted key, does what its kind of entry may not
            do, or is gone.
    """
    history = read_history(store, trusted)
    if not history:
        raise DamagedDataError(
            f"{store.root}: no document was ever admitted here; run `collapse-guard reservoir admit`"
        )
    head = history[-1].state
    return Reservoir(pinned(store, head), head, attestation.trusted_keys(store, trusted))


def read_history(store: Store, trusted: PublicKey | None = None) -> list[Recorded]:
    """Read every state with its statement, oldest first, and replay what each may change; none where there is none."""
    states = read_states(store)
    if not states:
        return []
    keys = attestation.trusted_keys(store, trusted)
    recorded = [Recorded(state, read_statement(store, state, keys)) for state in reversed(states)][::-1]
    for earlier, later in zip([None, *states], recorded, strict=False):
        _Step(store.root, earlier, later).check()
    return recorded


class _Step:
    """One entry: the state before it, and the one that it made."""

    def __init__(self, root: str, before: Snapshot | None, after: Recorded) -> None:
        self._root = root
        self._before = before
        self._after = after.state
        self._statement = after.statement
        self._kind = kind_of(after.state)

    def check(self) -> None:
        self._check_shards()
        self._check_rules()
        self._check_pending()

    def _refuse(self, why: str) -> DamagedDataError:
        return DamagedDataError(f"{self._root}: state {self._after.digest} of the {LOG} {why}")

    def _check_shards(self) -> None:
        earlier = {shard.key: shard for shard in (self._before.shards if self._before else ())}
        later = {shard.key: shard for shard in self._after.shards}
        if not earlier.keys() <= later.keys():
            raise self._refuse("dropped earlier documents")
        for key, old in earlier.items():
            new = later[key]
            same = (old.bytes, old.sha256, old.rows) == (new.bytes, new.sha256, new.rows)
            if not same or (new.role != old.role and not self._may_become(old.role, new.role)):
                raise self._refuse(f"changed {key} from {old.role} to {new.role}, which no entry of its kind may do")
        added = {later[key].role for key in later.keys() - earlier.keys()}
        if not added <= _NEW.get(self._kind, set()):
            raise self._refuse(f"is a {self._kind} entry that adds {', '.join(sorted(added))}")

    def _may_become(self, old: str, new: str) -> bool:
        if self._kind == "tombstone":
            return old in _OFFERED | _WAITING and new == TOMBSTONED + old.removeprefix(PENDING)
        return self._kind in {"countersign", "settle"} and old in _WAITING and new == old.removeprefix(PENDING)

    def _check_rules(self) -> None:
        before = rules_of(self._before.details) if self._before else None
        fixed = rules_of(self._after.details)
        if before is not None and fixed != before:
            raise self._refuse("changed the rules of the reservoir")
        added = {shard.key: shard.role for shard in self._after.shards} if not self._before else self._added()
        if fixed.pending and self._kind == ADMISSION and not set(added.values()) <= _WAITING:
            raise self._refuse("admitted documents without waiting, against the rules of the reservoir")
        if fixed.object_lock and not added.keys() <= self._after.details["versions"].keys():
            raise self._refuse("holds objects without a locked version, against the rules of the reservoir")

    def _added(self) -> dict[str, str]:
        earlier = {shard.key for shard in (self._before.shards if self._before else ())}
        return {shard.key: shard.role for shard in self._after.shards if shard.key not in earlier}

    def _check_pending(self) -> None:
        before = {entry.admission: entry for entry in (pending_of(self._before.details) if self._before else ())}
        after = {entry.admission: entry for entry in pending_of(self._after.details)}
        waiting = {shard.key for shard in self._after.shards if shard.role in _WAITING}
        if waiting != {key for entry in after.values() for key in entry.shards}:
            raise self._refuse("does not say which of its shards wait, or for what")
        if before != after and self._kind not in _CHANGES_PENDING:
            raise self._refuse("changed what waits")
        for name, entry in after.items():
            self._check_entry(before.get(name), entry)
        for name in before.keys() - after.keys():
            self._check_ripe(before[name])

    def _check_entry(self, before: Pending | None, after: Pending) -> None:
        if before is None:
            right = self._is_new(after)
        elif self._kind == "countersign" and after.signed_by != before.signed_by:
            right = self._is_countersigned(before, after)
        else:
            right = _facts(before) == _facts(after)
        if not right:
            raise self._refuse("says another thing about what waits than its signatures do")

    def _is_new(self, entry: Pending) -> bool:
        rules, at = rules_of(self._after.details), self._statement.at
        least = mixable_from(rules, at) if at else None
        until = entry.mixable_from and datetime.fromisoformat(entry.mixable_from)
        long_enough = least is None or bool(until and until >= datetime.fromisoformat(least))
        signed = entry.signed_by == self._statement.signers[:1] and entry.two_signatures >= rules.two_signatures
        return self._kind == ADMISSION and entry.admission == self._after.run_key and long_enough and signed

    def _is_countersigned(self, before: Pending, after: Pending) -> bool:
        signer = self._statement.signers[0]
        return signer not in before.signed_by and _facts(after) == _facts(before.signed(signer))

    def _check_ripe(self, entry: Pending) -> None:
        """A pending entry may leave when all that it waited for is there, this entry's own signature included."""
        if self._kind == "tombstone" and not set(entry.shards) & {
            s.key for s in self._after.shards if s.role in _OFFERED
        }:
            return
        if self._kind == "countersign" and self._after.details["event"]["admission"] == entry.admission:
            entry = entry.signed(self._statement.signers[0])
        at = self._statement.at
        if at is None or not entry.ripe(at):
            raise self._refuse("offers documents that have to wait for a second signature or the end of a quarantine")


def _facts(entry: Pending) -> tuple[object, ...]:
    return (entry.admission, entry.signed_by, entry.two_signatures, entry.mixable_from)


def states_of(recorded: Sequence[Recorded]) -> list[Snapshot]:
    """The states alone."""
    return [one.state for one in recorded]
