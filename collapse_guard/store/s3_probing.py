"""What only S3 can promise: checksums, versions, Object Lock, conditions on uploads in parts."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from collapse_guard.errors import UsageError
from collapse_guard.store.calls import DAMAGED_CODES, code_of, may_pass
from collapse_guard.store.s3 import Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from collapse_guard.store.probing import Finding
    from collapse_guard.store.s3 import Mode, S3Store

LOCKED_FOR = timedelta(minutes=1)
MODE: Mode = "COMPLIANCE"
WRONG_SHA256 = base64.b64encode(bytes(32)).decode()
NO_LOCK = "the bucket has no Object Lock; a bucket gets it when it is made, and then nobody can destroy what is locked"
UNTRIED: Finding = ("not available", "no object is locked here, so that this could not be tried")


def of_s3(store: S3Store, folder: str, at: datetime) -> dict[str, Callable[[], Finding]]:
    """The questions about S3's own promises.

    Args:
        store: The bucket and the prefix.
        folder: Where the probes' objects lie.
        at: The time now.

    Returns:
        Question by name; those about Object Lock rely on their order.
    """
    lock = _Lock(store, folder, at + LOCKED_FOR)
    return {
        "checksums": lambda: _checksums(store, folder),
        "versioning": lambda: _versioning(store),
        "object_lock": lock.is_kept,
        "locked_delete": lock.refuses_deleting,
        "locked_shorten": lock.refuses_shortening,
        "multipart_condition": lambda: _multipart_condition(store, folder),
    }


def refused(store: S3Store, key: str, call: Callable[[], Any]) -> str | None:
    """Make a call that should be refused.

    Args:
        store: Where.
        key: What it is about, for errors.
        call: The call; a failure that may pass is no refusal, and it is tried again.

    Returns:
        The code of the refusal, or null where there was none.
    """
    return store.call(key, lambda: _refused(call))


def _refused(call: Callable[[], Any]) -> str | None:
    """The code of a refusal, that of damaged bytes too."""
    try:
        call()
    except ClientError as error:
        if may_pass(error) and code_of(error) not in DAMAGED_CODES:
            raise
        return code_of(error)
    return None


def _checksums(store: S3Store, folder: str) -> Finding:
    key, client = f"{folder}/checksum", store.client
    place, sums = store.place(key), {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": WRONG_SHA256}
    code = refused(store, key, lambda: client.put_object(**place, Body=b"probe", **sums))
    if code is None:
        return "not ok", "an object whose bytes do not fit its SHA-256 was accepted"
    store.put_if_absent(key, b"probe")
    kept = store.call(key, lambda: client.head_object(**place, ChecksumMode="ENABLED")).get("ChecksumSHA256")
    if not kept:
        return "not ok", f"a wrong SHA-256 is refused ({code}), but the right one is not kept for readers"
    return "ok", f"a wrong SHA-256 is refused ({code}), the right one is kept and given to readers"


def _versioning(store: S3Store) -> Finding:
    status = store.call("versions", lambda: store.client.get_bucket_versioning(Bucket=store.bucket)).get("Status")
    if status != "Enabled":
        return "not available", "the bucket keeps no versions; what is deleted or overwritten is gone"
    return "ok", "the bucket keeps versions"


class _Lock:
    """One object, locked for a minute, and what may not be done to it."""

    def __init__(self, store: S3Store, folder: str, until: datetime) -> None:
        self._store = store
        self._client = store.client
        self._folder = folder
        self._key = f"{folder}/locked"
        self._place = store.place(self._key)
        self._until = until
        self._version: str | None = None

    def is_kept(self) -> Finding:
        """Put an object under a lock, which is read back."""
        configured = lambda: self._client.get_object_lock_configuration(Bucket=self._store.bucket)  # noqa: E731 - named
        code = refused(self._store, "Object Lock", configured)
        if code is not None:
            return "not available", f"{NO_LOCK} ({code})"
        self._version = self._store.put_locked(self._key, b"locked", Retention(MODE, self._until)).version_id
        return "ok", f"an object put as {MODE} until {self._until.isoformat(timespec='seconds')} is locked so"

    def refuses_deleting(self) -> Finding:
        """Delete the locked version, and one that is not locked to see whether that is possible at all."""
        if self._version is None:
            return UNTRIED
        code = self._refused_delete(self._key, self._version)
        if code is None:
            return "not ok", "a locked version was deleted"
        free = f"{self._folder}/not-locked"
        self._store.put_if_absent(free, b"not locked")
        facts = self._store.call(free, lambda: self._client.head_object(**self._store.place(free)))
        other = self._refused_delete(free, facts.get("VersionId", "null"))
        return "ok", f"a locked version cannot be deleted ({code}{_nor_others(other)})"

    def _refused_delete(self, key: str, version: str) -> str | None:
        place = self._store.place(key)
        return refused(self._store, key, lambda: self._client.delete_object(**place, VersionId=version))

    def refuses_shortening(self) -> Finding:
        """Shorten the lock, and lengthen it to see whether it can be changed at all."""
        if self._version is None:
            return UNTRIED
        code = self._refused_retention(self._until - LOCKED_FOR / 2)
        if code is None:
            return "not ok", "a lock was shortened"
        other = self._refused_retention(self._until + timedelta(seconds=1))
        return "ok", f"a lock cannot be shortened ({code}{_nor_others(other)})"

    def _refused_retention(self, until: datetime) -> str | None:
        which = self._place | {"VersionId": self._version or ""}
        wanted = {"Mode": MODE, "RetainUntilDate": until}
        return refused(self._store, self._key, lambda: self._client.put_object_retention(**which, Retention=wanted))


def _nor_others(code: str | None) -> str:
    """Say that a refusal may be owed to few rights instead of the lock."""
    return f"; these credentials may not do so to any version: {code}" if code else ""


def _multipart_condition(store: S3Store, folder: str) -> Finding:
    key, client = f"{folder}/parts", store.client
    store.put_if_absent(key, b"first")
    place = store.place(key)
    upload = place | {"UploadId": store.call(key, lambda: client.create_multipart_upload(**place))["UploadId"]}
    tag = store.call(key, lambda: client.upload_part(**upload, PartNumber=1, Body=b"second"))["ETag"]
    whole = {"MultipartUpload": {"Parts": [{"ETag": tag, "PartNumber": 1}]}, "IfNoneMatch": "*"}
    code = refused(store, key, lambda: client.complete_multipart_upload(**upload, **whole))
    if code is None:
        return "not ok", "an upload in parts replaced an object although it was to create it; nothing here uploads so"
    refused(store, key, lambda: client.abort_multipart_upload(**upload))
    return "ok", f"an upload in parts cannot replace an object ({code})"


def clean(store: S3Store, folder: str) -> list[str]:
    """Delete the probes' objects with all their versions.

    Args:
        store: The bucket and the prefix.
        folder: Where the probes' objects lie.

    Returns:
        A sentence for each version that is left: it is locked, or may not be deleted.
    """
    deleted = ((name, version, _delete(store, name, version)) for name, version in _versions(store, folder))
    return [f"s3://{store.bucket}/{name} version {version} ({code})" for name, version, code in deleted if code]


def _delete(store: S3Store, name: str, version: str | None) -> str | None:
    place = {"Bucket": store.bucket, "Key": name} | ({"VersionId": version} if version else {})
    return refused(store, name, lambda: store.client.delete_object(**place))


def _versions(store: S3Store, folder: str) -> Iterator[tuple[str, str | None]]:
    place = store.place(f"{folder}/x")
    names = {"Bucket": place["Bucket"], "Prefix": place["Key"].removesuffix("x")}
    try:
        page = store.call(folder, lambda: store.client.list_object_versions(**names))
    except UsageError:  # a service without versions, or credentials that may not list them
        yield from ((store.place(key)["Key"], None) for key in store.list(f"{folder}/"))
        return
    for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
        yield entry["Key"], None if entry["VersionId"] == "null" else entry["VersionId"]
