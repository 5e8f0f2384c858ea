"""How a reservoir's objects are protected: locked when they are written, pinned to their version when they are read."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from collapse_guard.errors import UsageError
from collapse_guard.store import locks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from collapse_guard.reservoir.rules import Rules
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Put, Store
    from collapse_guard.store.s3 import Mode, S3Store


class ProtectedStore:
    """A store on S3 that locks what is put and reads the versions that were locked."""

    def __init__(self, store: S3Store, versions: Mapping[str, Mapping[str, str]]) -> None:
        """Begin with the versions that are known, by key; nothing put is locked before `locking`."""
        self.inner = store
        self.versions = {key: dict(value) for key, value in versions.items()}
        self._lock: tuple[Mode, datetime] | None = None

    def locking(self, mode: Mode, until: datetime) -> ProtectedStore:
        """Lock whatever is put from now on."""
        self._lock = (mode, until)
        return self

    @property
    def root(self) -> str:
        """Where the store lies."""
        return self.inner.root

    def put_if_absent(self, key: str, data: bytes) -> Put:
        """Create an object under the lock; its version is remembered."""
        if self._lock is None:
            return self.inner.put_if_absent(key, data)
        mode, until = self._lock
        put, version = locks.put_locked(self.inner, key, data, mode, until)
        self.versions[key] = {"version_id": version, "mode": mode, "until": until.isoformat()}
        return put

    def read(self, key: str) -> bytes:
        """Return an object's bytes, of the version that is known if one is."""
        known = self.versions.get(key)
        return self.inner.read_version(key, known["version_id"]) if known else self.inner.read(key)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return part of an object's bytes, of the version that is known if one is."""
        known = key in self.versions
        return self.read(key)[start : start + length] if known else self.inner.read_range(key, start, length)

    def head(self, key: str) -> int | None:
        """Return an object's size in bytes, or null where there is none."""
        return self.inner.head(key)

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix."""
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        """Refuse: nothing of a reservoir is deleted."""
        raise UsageError(f"{self.root}: {key} belongs to a reservoir; nothing there is deleted")

    def clear_staging(self) -> None:
        """Remove all work under way."""
        self.inner.clear_staging()

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a folder on this machine for work that is thrown away."""
        return self.inner.scratch()


def plain(store: Store) -> Store:
    """The store below its protection."""
    return store.inner if isinstance(store, ProtectedStore) else store


def pinned(store: Store, state: Snapshot | None) -> Store:
    """The store with reads pinned to the versions that a state names, where it names any."""
    versions: Mapping[str, Any] = state.details.get("versions", {}) if state else {}
    inner = plain(store)
    return ProtectedStore(inner, versions) if versions and locks.can_lock(inner) else inner


def protected(store: Store, before: Snapshot | None, rules: Rules, at: datetime) -> Store:
    """The store as an entry must write to it.

    Args:
        store: The reservoir's.
        before: The newest state, if any.
        rules: What is demanded.
        at: When the entry is made.

    Returns:
        The same store, or one that locks what is put.

    Raises:
        UsageError: Object Lock is demanded of a store that has none.
    """
    if rules.object_lock is None:
        return pinned(store, before)
    inner = plain(store)
    if not locks.can_lock(inner):
        raise UsageError(
            f"{store.root}: Object Lock is demanded, and a folder has none; give s3://bucket/prefix, or leave it away: "
            "in a folder any change is detected, but nothing prevents it"
        )
    versions = before.details.get("versions", {}) if before else {}
    mode: Mode = "COMPLIANCE" if rules.object_lock == "compliance" else "GOVERNANCE"
    return ProtectedStore(inner, versions).locking(mode, locked_until(rules, at))


def locked_until(rules: Rules, at: datetime) -> datetime:
    """How long what is written at a time must be locked: whole days, so that a retry on the same day asks the same."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=rules.retention_days + 1)


def versions_of(store: Store, keys: set[str]) -> dict[str, dict[str, str]]:
    """The versions of objects that were put under a lock or known before."""
    known = store.versions if isinstance(store, ProtectedStore) else {}
    return {key: value for key, value in sorted(known.items()) if key in keys}
