"""Object Lock on the versions of objects, for those who protect them: what is locked, until when, and legal holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from collapse_guard.errors import DamagedDataError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from collapse_guard.store.keys import Put, Store
    from collapse_guard.store.s3 import Mode, S3Store


@dataclass(frozen=True)
class Lock:
    """What S3 says about a version of an object: the mode and end of its retention, and whether it is held."""

    mode: str
    until: datetime


def can_lock(store: Store) -> TypeGuard[S3Store]:
    """Whether a store has Object Lock at all; whether its bucket does shows with the first put."""
    return hasattr(store, "put_locked")


def put_locked(store: S3Store, key: str, data: bytes, mode: Mode, until: datetime) -> tuple[Put, str]:
    """Create an object under Object Lock, or lock an equal one, or prolong its lock.

    Args:
        store: On S3.
        key: The object's name.
        data: Its bytes.
        mode: COMPLIANCE or GOVERNANCE.
        until: How long it must be locked at least.

    Returns:
        Whether it was created, and its version; the lock was read back from it.

    Raises:
        UsageError: The bucket does not protect it.
    """
    from collapse_guard.store.s3 import Retention  # noqa: PLC0415 - boto3 is imported by those who use it

    if store.head(key) is not None:
        version = current_version(store, key)
        found = lock_of(store, key, version)
        weak = found is None or found.until < until
        if weak and store.read_version(key, version) == data:
            longer = {"Mode": found.mode if found else mode, "RetainUntilDate": until}
            call = store.client.put_object_retention
            store.call(key, lambda: call(**store.place(key), VersionId=version, Retention=longer))
    stored = store.put_locked(key, data, Retention(mode, until))
    return stored.put, stored.version_id


def current_version(store: S3Store, key: str) -> str:
    """The newest version of an object; DamagedDataError where there is none, or a marker hides it."""
    if store.head(key) is None:
        raise DamagedDataError(f"{store.root}: {key} is missing or hidden by a delete marker; restore its version")
    return str(store.call(key, lambda: store.client.head_object(**store.place(key))).get("VersionId"))


def lock_of(store: S3Store, key: str, version: str) -> Lock | None:
    """The retention of a version, from its own facts; null where it has none, or who asks may not see it."""
    found = _head(store, key, version)
    mode, until = found.get("ObjectLockMode"), found.get("ObjectLockRetainUntilDate")
    return Lock(mode, until) if mode and until else None


def hold(store: S3Store, key: str, version: str) -> None:
    """Put a legal hold on a version and read it back; UsageError where it does not hold."""
    if _set_hold(store, key, version, "ON") != "ON":
        raise UsageError(f"{store.root}: version {version} of {key} is not held, although that was asked")


def lift(store: S3Store, key: str, version: str) -> None:
    """Take the legal hold off a version and read that back; UsageError where it is held still."""
    if _set_hold(store, key, version, "OFF") == "ON":
        raise UsageError(f"{store.root}: version {version} of {key} is held still; who asks may not lift holds")


def _set_hold(store: S3Store, key: str, version: str, status: str) -> str | None:
    call = store.client.put_object_legal_hold
    store.call(key, lambda: call(**store.place(key), VersionId=version, LegalHold={"Status": status}))
    found: str | None = _head(store, key, version).get("ObjectLockLegalHoldStatus")
    return found


def delete_markers(store: S3Store, prefix: str) -> list[str]:
    """The keys below a prefix whose newest version says that they were deleted."""
    place = store.place(prefix.rstrip("/"))
    below = {"Bucket": place["Bucket"], "Prefix": f"{place['Key']}/"}
    pages = store.client.get_paginator("list_object_versions").paginate(**below)
    found = store.call(
        prefix, lambda: [one for page in pages for one in page.get("DeleteMarkers", ()) if one["IsLatest"]]
    )
    return [str(one["Key"]).removeprefix(place["Key"].removesuffix(prefix.rstrip("/"))) for one in found]


def _head(store: S3Store, key: str, version: str) -> dict[str, Any]:
    from collapse_guard.store.calls import MissingObjectError  # noqa: PLC0415 - imports botocore

    try:
        found: dict[str, Any] = store.call(key, lambda: store.client.head_object(**store.place(key), VersionId=version))
    except MissingObjectError:
        raise DamagedDataError(f"{store.root}: version {version} of {key} is missing") from None
    return found
