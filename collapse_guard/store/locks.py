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
    """Create an object under Object Lock, or prolong the lock of an equal one that a crash left.

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
        if found and found.until < until and store.read_version(key, version) == data:
            retention = {"Mode": found.mode, "RetainUntilDate": until}
            _ask(store, key, "put_object_retention", version, Retention=retention)
    stored = store.put_locked(key, data, Retention(mode, until))
    return stored.put, stored.version_id


def current_version(store: S3Store, key: str) -> str:
    """The newest version of an object; DamagedDataError where there is none, or a marker hides it."""
    if store.head(key) is None:
        raise DamagedDataError(f"{store.root}: {key} is missing or hidden by a delete marker; restore its version")
    return str(store.call(key, lambda: store.client.head_object(**store.place(key))).get("VersionId"))


def lock_of(store: S3Store, key: str, version: str) -> Lock | None:
    """The retention of a version; null where it has none."""
    try:
        found = _ask(store, key, "get_object_retention", version).get("Retention") or {}
    except UsageError:  # services answer "no such configuration" in several ways; no lock is no lock
        return None
    return Lock(found["Mode"], found["RetainUntilDate"]) if {"Mode", "RetainUntilDate"} <= found.keys() else None


def hold(store: S3Store, key: str, version: str) -> None:
    """Put a legal hold on a version and read it back; UsageError where it does not hold."""
    _ask(store, key, "put_object_legal_hold", version, LegalHold={"Status": "ON"})
    if _ask(store, key, "get_object_legal_hold", version).get("LegalHold", {}).get("Status") != "ON":
        raise UsageError(f"{store.root}: version {version} of {key} is not held, although that was asked")


def delete_markers(store: S3Store, prefix: str) -> list[str]:
    """The keys below a prefix whose newest version says that they were deleted."""
    place = store.place(prefix.rstrip("/"))
    below = {"Bucket": place["Bucket"], "Prefix": f"{place['Key']}/"}
    pages = store.client.get_paginator("list_object_versions").paginate(**below)
    found = store.call(prefix, lambda: [one for page in pages for one in page.get("DeleteMarkers", ())])
    return [str(one["Key"]).removeprefix(place["Key"].removesuffix(prefix.rstrip("/"))) for one in found]


def _ask(store: S3Store, key: str, method: str, version: str, **said: Any) -> dict[str, Any]:  # noqa: ANN401 - S3's
    call = getattr(store.client, method)
    answer: dict[str, Any] = store.call(key, lambda: call(**store.place(key), VersionId=version, **said))
    return answer
