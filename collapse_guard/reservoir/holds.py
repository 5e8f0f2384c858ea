"""Legal holds on a reservoir: put on everything that is there, and lifted, each by a signed entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.errors import UsageError
from collapse_guard.reservoir.entries import all_kept, opened
from collapse_guard.reservoir.protection import plain, protected
from collapse_guard.reservoir.rules import rules_of
from collapse_guard.reservoir.states import LOG, Entry, attestation_key, carried, kind_of, record
from collapse_guard.snapshot import log
from collapse_guard.store import locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from collapse_guard.attestation import SigningKey
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store
    from collapse_guard.store.s3 import S3Store

HOLD, LIFT = "hold", "lift"


def hold(store: Store, by: str, because: str, key: SigningKey, at: datetime) -> Snapshot:
    """Put a legal hold on everything that the reservoir holds now.

    On S3 every version is held and the hold is read back. In a folder nothing can be held: the signed entry records
    the order, and `details["event"]["enforced"]` says so.

    Args:
        store: The reservoir's.
        by: Who ordered it.
        because: Why.
        key: Signs the entry.
        at: When.

    Returns:
        The new state.

    Raises:
        UsageError: Who or why is missing, or a hold was not kept by the service.
    """
    _check_said(by, because)
    states = opened(store, key, at)
    keys = _objects(store, states)
    enforced = _set(store, states[-1], keys, locks.hold)
    said = {"by": by, "because": because, "objects": len(keys), "enforced": enforced}
    return _recorded(store, states, (HOLD, said), key, at)


def lift(store: Store, held: str, key: SigningKey, at: datetime, *, by: str, because: str) -> Snapshot:
    """Lift a legal hold: what no other hold covers is free again, and a signed entry says who ordered that and why.

    The entry is recorded before any version is freed. Lifting the same hold again frees what an interruption left held
    and records nothing new.

    Args:
        store: The reservoir's.
        held: The digest of the state that the hold made, or the first 8 or more digits of it.
        key: Signs the entry.
        at: When.
        by: Who ordered the lifting.
        because: Why.

    Returns:
        The state that lifted it, a new one unless it was lifted before.

    Raises:
        UsageError: Who or why is missing, no hold is named so, or the service did not lift it.
    """
    _check_said(by, because)
    states = opened(store, key, at)
    places = _places(states)
    found = _named(store, states, places, held)
    still = [place for place in places if place != found and not _lifting(states, states[place])]
    covered = {name for place in still for name in _objects(store, states[:place])}
    keys = [name for name in _objects(store, states[:found]) if name not in covered]
    lifted = _lifting(states, states[found])
    if lifted is None:
        said = {"by": by, "because": because, "hold": states[found].digest, "objects": len(keys)}
        enforced = locks.can_lock(plain(store))
        lifted = _recorded(store, states, (LIFT, {**said, "enforced": enforced}), key, at)
    _set(store, lifted, keys, locks.lift)
    return lifted


def _check_said(by: str, because: str) -> None:
    if not by.strip() or not because.strip():
        raise UsageError("a hold, and its lifting, must say who ordered it, and why")


def _places(states: Sequence[Snapshot]) -> list[int]:
    return [place for place, state in enumerate(states) if kind_of(state) == HOLD]


def _named(store: Store, states: Sequence[Snapshot], places: Iterable[int], name: str) -> int:
    found = [place for place in places if len(name) >= 8 and states[place].digest.startswith(name)]  # noqa: PLR2004
    if len(found) != 1:
        names = ", ".join(states[place].digest[:16] for place in places if not _lifting(states, states[place]))
        raise UsageError(f"{store.root}: no hold is named {name!r} here; holds in force: {names or 'none'}")
    return found[0]


def _lifting(states: Sequence[Snapshot], held: Snapshot) -> Snapshot | None:
    """The state that lifted a hold; null while it is in force."""
    lifted = (state for state in states if kind_of(state) == LIFT)
    return next((state for state in lifted if state.details["event"]["hold"] == held.digest), None)


def _objects(store: Store, states: Sequence[Snapshot]) -> list[str]:
    """Everything that a hold after these states covers: every document, entry and signature up to then."""
    shards = [shard.key for shard in states[-1].shards]
    return [*shards, *log(store, LOG)[: len(states)], *(attestation_key(state.digest) for state in states)]


def _set(store: Store, state: Snapshot, keys: Iterable[str], act: Callable[[S3Store, str, str], None]) -> bool:
    """Hold or free the versions of objects; false where the store has nothing of the kind."""
    inner = plain(store)
    if not locks.can_lock(inner):
        return False
    versions = state.details.get("versions", {})
    for name in keys:
        known = versions.get(name, {}).get("version_id")
        act(inner, name, known or locks.current_version(inner, name))
    return True


def _recorded(
    store: Store, states: Sequence[Snapshot], event: tuple[str, dict[str, object]], key: SigningKey, at: datetime
) -> Snapshot:
    before, (kind, said) = states[-1], event
    entry = Entry(kind, {**said, "at": at.isoformat()}, said, before.shards, all_kept(before), carried(before))
    return record(protected(store, before, rules_of(before.details), at), states, entry, key, at)
