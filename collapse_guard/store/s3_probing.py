"""What only S3 can promise: checksums, versions, Object Lock, conditions on uploads in parts."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from collapse_guard.errors import UsageError
from collapse_guard.store.calls import code_of
from collapse_guard.store.s3 import Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from collapse_guard.store.probing import Finding
    from collapse_guard.store.s3 import S3Store

LOCKED_FOR = timedelta(minutes=1)
WRONG_SHA256 = base64.b64encode(bytes(32)).decode()
NO_LOCK: Finding = (
    "not available",
    "the bucket has no Object Lock; a bucket gets it when it is made, and then nobody can destroy what is locked",
)


def of_s3(store: S3Store, folder: str, at: datetime) -> dict[str, Callable[[], Finding]]:
    """The questions about S3's own promises.

    Args:
        store: The bucket and the prefix.
        folder: Where the probes' objects lie.
        at: The time now.

    Returns:
        Question by name; those about Object Lock rely on their order.
    """
    lock = _Lock(store, f"{folder}/locked", at + LOCKED_FOR)
    return {
        "checksums": lambda: _checksums(store, folder),
        "versioning": lambda: _versioning(store),
        "object_lock": lock.is_kept,
        "locked_delete": lock.refuses_deleting,
        "locked_shorten": lock.refuses_shortening,
        "multipart_condition": lambda: _multipart_condition(store, folder),
    }


def refused(call: Callable[[], Any]) -> str | None:
    """Make a call that should be refused: the code of the refusal, or null where it was not."""
    try:
        call()
    except (ClientError, BotoCoreError) as error:
        return code_of(error)
    return None


def _checksums(store: S3Store, folder: str) -> Finding:
    place = store.place(f"{folder}/checksum")
    sums = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": WRONG_SHA256}
    code = refused(lambda: store.client.put_object(**place, Body=b"probe", **sums))
    if code is None:
        return "not ok", "an object whose bytes do not fit its SHA-256 was accepted"
    store.put_if_absent(f"{folder}/checksum", b"probe")
    kept = store.client.head_object(**place, ChecksumMode="ENABLED").get("ChecksumSHA256")
    if not kept:
        return "not ok", f"a wrong SHA-256 is refused ({code}), but the right one is not kept for readers"
    return "ok", f"a wrong SHA-256 is refused ({code}), the right one is kept and given to readers"


def _versioning(store: S3Store) -> Finding:
    try:
        status = store.client.get_bucket_versioning(Bucket=store.bucket).get("Status")
    except ClientError as error:
        return "not available", f"these credentials may not ask whether versions are kept ({code_of(error)})"
    if status != "Enabled":
        return "not available", "the bucket keeps no versions; what is deleted or overwritten is gone"
    return "ok", "the bucket keeps versions"


class _Lock:
    """One object, locked for a minute, and what may not be done to it."""

    def __init__(self, store: S3Store, key: str, until: datetime) -> None:
        self._store = store
        self._key = key
        self._retention = Retention("COMPLIANCE", until)
        self._version: str | None = None

    def is_kept(self) -> Finding:
        code = refused(lambda: self._store.client.get_object_lock_configuration(Bucket=self._store.bucket))
        if code is not None:
            return NO_LOCK[0], f"{NO_LOCK[1]} ({code})"
        self._version = self._store.put_locked(self._key, b"locked", self._retention).version_id
        return "ok", f"an object put as COMPLIANCE until {self._retention.until.isoformat()} is locked so"

    def refuses_deleting(self) -> Finding:
        client, place = self._store.client, self._store.place(self._key)
        return self._refuses(lambda: client.delete_object(**place, VersionId=self._version), "deleted")

    def refuses_shortening(self) -> Finding:
        client, place = self._store.client, self._store.place(self._key)
        sooner = {"Mode": "COMPLIANCE", "RetainUntilDate": self._retention.until - LOCKED_FOR / 2}
        shorten = lambda: client.put_object_retention(**place, VersionId=self._version, Retention=sooner)  # noqa: E731 - named for the reader
        return self._refuses(shorten, "locked for a shorter time")

    def _refuses(self, call: Callable[[], Any], what: str) -> Finding:
        if self._version is None:
            return NO_LOCK
        code = refused(call)
        if code is None:
            return "not ok", f"a locked version was {what}"
        return "ok", f"a locked version cannot be {what} ({code})"


def _multipart_condition(store: S3Store, folder: str) -> Finding:
    store.put_if_absent(f"{folder}/parts", b"first")
    place = store.place(f"{folder}/parts")
    upload = place | {"UploadId": store.client.create_multipart_upload(**place)["UploadId"]}
    tag = store.client.upload_part(**upload, PartNumber=1, Body=b"second")["ETag"]
    parts = {"Parts": [{"ETag": tag, "PartNumber": 1}]}
    code = refused(lambda: store.client.complete_multipart_upload(**upload, MultipartUpload=parts, IfNoneMatch="*"))
    if code is None:
        return "not ok", "an upload in parts replaced an object although it was to create it; nothing here uploads so"
    refused(lambda: store.client.abort_multipart_upload(**upload))
    return "ok", f"an upload in parts cannot replace an object ({code})"


def clean(store: S3Store, folder: str) -> list[str]:
    """Delete the probes' objects with all their versions; gives what is locked, or could not be deleted.

    Args:
        store: The bucket and the prefix.
        folder: Where the probes' objects lie.

    Returns:
        A sentence for each version that is left.
    """
    left = []
    for name, version in _versions(store, folder):
        place = {"Bucket": store.bucket, "Key": name} | ({"VersionId": version} if version else {})
        code = refused(lambda place=place: store.client.delete_object(**place))  # type: ignore[misc] - bound at once
        if code is not None:
            left.append(f"s3://{store.bucket}/{name} version {version} ({code})")
    return left


def _versions(store: S3Store, folder: str) -> Iterator[tuple[str, str | None]]:
    place = store.place(f"{folder}/x")
    names = {"Bucket": place["Bucket"], "Prefix": place["Key"].removesuffix("x")}
    try:
        page = store.client.list_object_versions(**names)
    except ClientError:  # a service without versions, or credentials that may not list them
        yield from ((store.place(key)["Key"], None) for key in store.list(f"{folder}/"))
        return
    for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
        yield entry["Key"], None if entry["VersionId"] == "null" else entry["VersionId"]
