"""A store in an S3 bucket: conditional creates, SHA-256 with every write and read, retries that lose nothing."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from collapse_guard.errors import UsageError
from collapse_guard.store.calls import (
    NOT_DONE_CODES,
    MissingObjectError,
    Patience,
    TakenNameError,
    WrongBytesError,
    code_of,
    explained,
    insist,
)
from collapse_guard.store.keys import Put, check_deletable, check_key, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

T = TypeVar("T")
Mode = Literal["GOVERNANCE", "COMPLIANCE"]
LARGEST_PUT = 64 * 2**20
"""Bytes of the largest object: one put carries condition, checksum and lock together; several parts cannot."""
_SHA256_BASE64 = 44
_ROOT = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>[^?#]*))?")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True)
class Retention:
    """Until when a locked version can be neither removed nor changed, and whether a privileged user may lift that."""

    mode: Mode
    until: datetime


@dataclass(frozen=True)
class Stored:
    """What a put under a lock gave: whether it created the object, and the version that is locked."""

    put: Put
    version_id: str


def open_s3(root: str) -> S3Store:
    """Open a store on S3 with what boto3 finds in the environment, in `~/.aws` or on the instance.

    Args:
        root: `s3://bucket/prefix`.

    Returns:
        The store; nothing was asked of it yet.

    Raises:
        UsageError: The root names no bucket, or boto3 is not configured for one.
    """
    found = _ROOT.fullmatch(root)
    if not found:  # the root is not repeated: somebody may have written a secret into it
        raise UsageError(
            "root s3://…: give s3://bucket/prefix, with a bucket of 3 to 63 lower-case letters, digits, '.' and '-', "
            "and no credentials: those belong into the environment or ~/.aws"
        )
    try:
        client = boto3.session.Session().client("s3", config=client_config())
    except BotoCoreError as error:
        raise UsageError(f"s3://{found['bucket']}: {explained(error)}") from None
    return S3Store(found["bucket"], (found["prefix"] or "").strip("/"), client)


def client_config() -> Config:
    """How boto3 must call: each try once, since the store decides itself what is tried again."""
    return Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60, max_pool_connections=16)


class S3Store:
    """Objects below a prefix of a bucket that are created whole, once, and never change.

    A put is conditional and carries the SHA-256 of the whole object, so that S3 refuses what arrives damaged; a read is
    compared with the SHA-256 that S3 kept, where it kept one. Reads of a part are checked for place and length only.
    """

    def __init__(self, bucket: str, prefix: str, client: Any, patience: Patience | None = None) -> None:  # noqa: ANN401 - boto3 makes its clients' classes at run time
        """Use a client.

        Args:
            bucket: The bucket's name.
            prefix: What stands before every key, without slashes around it; may be empty.
            client: A boto3 S3 client, made with `client_config`.
            patience: How often a call is tried.
        """
        self.bucket = bucket
        self.client = client
        self._patience = patience or Patience()
        self._prefix = f"{check_key(prefix)}/" if prefix else ""

    @property
    def root(self) -> str:
        """The bucket and the prefix as an address."""
        return f"s3://{self.bucket}/{self._prefix}".rstrip("/")

    def place(self, key: str) -> dict[str, str]:
        """The parameters by which S3 knows an object."""
        return {"Bucket": self.bucket, "Key": self._prefix + check_key(key)}

    def call(self, key: str, call: Callable[[], T]) -> T:
        """Make a call to S3 about an object, and again as long as its failure may pass; see `calls.insist`."""
        return insist(call, f"{self.root}: {key}", self._patience)

    def put_if_absent(self, key: str, data: bytes) -> Put:
        """Create an object, durably and at once, unless the key exists.

        A try whose reply was lost may have created it. If a later try of the same call then finds the name taken, the
        object's SHA-256 decides: with the same bytes it counts as this call's own. Hence two writers of the same bytes
        may both be told `created`, if one of them lost a reply; two writers of different bytes never are.

        Args:
            key: Its name.
            data: At most 64 MiB.

        Returns:
            `created` or `exists`.

        Raises:
            UsageError: The object is too large, or S3 refused: access, bucket, region, clock.
            UnreachableStoreError: S3 gave no proper answer.
        """
        return self._put(key, data, {})[0]

    def put_locked(self, key: str, data: bytes, retention: Retention) -> Stored:
        """Create an object under Object Lock, and read the lock back from the version that was made.

        Args:
            key: Its name.
            data: At most 64 MiB.
            retention: The least that must hold.

        Returns:
            Whether it was created, and the locked version; of an object that existed, its current version.

        Raises:
            UsageError: No version, or a version with a weaker lock, is there: the bucket does not protect it.
        """
        lock = {"ObjectLockMode": retention.mode, "ObjectLockRetainUntilDate": retention.until}
        put, version = self._put(key, data, lock)
        version = version or self._head(key).get("VersionId")
        if not version or version == "null":
            raise UsageError(f"{self.root}: {key} has no version, so nothing protects it; the bucket needs Object Lock")
        if not self._is_locked(key, version, retention):
            raise UsageError(
                f"{self.root}: version {version} of {key} is not locked as {retention.mode} until "
                f"{retention.until.isoformat()}, although that was asked; the bucket does not keep Object Lock"
            )
        return Stored(put, version)

    def _is_locked(self, key: str, version: str, wanted: Retention) -> bool:
        """Read the lock from the version's own facts; who may not read it (s3:GetObjectRetention) sees none."""
        found = self._head(key, VersionId=version)
        strong = found.get("ObjectLockMode") in {wanted.mode, "COMPLIANCE"}
        return strong and found["ObjectLockRetainUntilDate"].timestamp() >= int(wanted.until.timestamp())

    def _put(self, key: str, data: bytes, lock: dict[str, Any]) -> tuple[Put, str | None]:
        if len(data) > LARGEST_PUT:
            raise UsageError(f"{self.root}: {key} has {len(data):,} bytes; one put takes at most {LARGEST_PUT:,}")
        digest = _sha256(data)
        whole = {"Body": data, "IfNoneMatch": "*", "ChecksumAlgorithm": "SHA256", "ChecksumSHA256": digest}
        try:
            answer = self.call(key, lambda: self.client.put_object(**self.place(key), **whole, **lock))
        except TakenNameError as taken:
            own = not taken.failures <= NOT_DONE_CODES and self._digest(key) == digest
            return ("created" if own else "exists"), None
        return "created", answer.get("VersionId")

    def _digest(self, key: str) -> str:
        """The SHA-256 that S3 keeps, or else that of the bytes."""
        return kept_sha256(self._head(key)) or _sha256(self.read(key))

    def _head(self, key: str, **version: str) -> dict[str, Any]:
        return self._ask(key, lambda: self.client.head_object(**self.place(key), **version, ChecksumMode="ENABLED"))

    def read(self, key: str) -> bytes:
        """Return an object's bytes.

        Args:
            key: Its name.

        Returns:
            The bytes, equal to the SHA-256 that S3 keeps for them.

        Raises:
            DamagedDataError: There is no such object, or its bytes arrived cut or changed each time.
        """
        return self._ask(key, lambda: self._get(self.place(key)))

    def read_version(self, key: str, version_id: str) -> bytes:
        """Return the bytes of one version of an object; DamagedDataError where there is none."""
        return self._ask(key, lambda: self._get(self.place(key) | {"VersionId": version_id}))

    def _get(self, place: dict[str, str]) -> bytes:
        answer = self.client.get_object(**place, ChecksumMode="ENABLED")
        data: bytes = answer["Body"].read()
        _check_length(data, answer["ContentLength"])
        kept = kept_sha256(answer)
        if kept and _sha256(data) != kept:
            raise WrongBytesError(f"arrived with SHA-256 {_sha256(data)} (base64) instead of {kept}")
        return data

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return part of an object's bytes; DamagedDataError where there is none."""
        if length == 0:
            self._head(key)
            return b""
        return self._ask(key, lambda: self._get_range(key, start, length))

    def _get_range(self, key: str, start: int, length: int) -> bytes:
        last = start + length - 1
        try:
            answer = self.client.get_object(**self.place(key), Range=f"bytes={start}-{last}")
        except ClientError as error:
            if code_of(error) in {"InvalidRange", "416"}:
                return b""
            raise
        data: bytes = answer["Body"].read()
        _check_length(data, answer["ContentLength"])
        said = _CONTENT_RANGE.fullmatch(answer.get("ContentRange") or "")
        if not said:  # the whole object: some services know no ranges
            return data[start : last + 1]
        first, final, size = map(int, said.groups())
        if (first, final) != (start, min(last, size - 1)) or len(data) != final - first + 1:
            raise WrongBytesError(f"arrived as bytes {first}-{final} instead of {start}-{min(last, size - 1)}")
        return data

    def head(self, key: str) -> int | None:
        """Return an object's size in bytes, or null where there is none."""
        try:
            answer = self.call(key, lambda: self.client.head_object(**self.place(key)))
        except MissingObjectError:
            self._page(self.place(key)["Key"], None, size=1)  # raises where the bucket is missing: HEAD does not say
            return None
        except UsageError:
            self._page(self.place(key)["Key"], None, size=1)  # has a body that says what is wrong, unlike HEAD
            raise
        return int(answer["ContentLength"])

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix that ends in a slash, sorted."""
        found: list[str] = []
        token = None
        while True:
            page = self._page(f"{self._prefix}{check_key(prefix.rstrip('/'))}/", token)
            found += [entry["Key"].removeprefix(self._prefix) for entry in page.get("Contents", ())]
            token = page.get("NextContinuationToken")
            if token is None:
                break
        yield from sorted(found)

    def _page(self, prefix: str, token: str | None, size: int = 1000) -> dict[str, Any]:
        names = {"Bucket": self.bucket, "Prefix": prefix, "MaxKeys": size}
        more = {"ContinuationToken": token} if token else {}
        where = prefix.removeprefix(self._prefix)
        return self.call(where, lambda: whole_page(self.client.list_objects_v2(**names, **more)))

    def delete(self, key: str) -> None:
        """Remove what was never published; any other key is refused."""
        place = self.place(check_deletable(key))
        with contextlib.suppress(MissingObjectError):  # S3 does not mind, some services do
            self.call(key, lambda: self.client.delete_object(**place))

    def clear_staging(self) -> None:
        """Remove all work under way; only for a time at which nothing runs."""
        for key in self.list("staging/"):
            self.delete(key)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder among this machine's temporary files, removed afterwards."""
        with tempfile.TemporaryDirectory(prefix="collapse-guard-") as folder:
            yield Path(folder)

    def _ask(self, key: str, call: Callable[[], T]) -> T:
        """Make a call about an object that must be there."""
        try:
            return self.call(key, call)
        except MissingObjectError:
            raise missing(self.root, key) from None


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def kept_sha256(answer: dict[str, Any]) -> str | None:
    """The SHA-256 of the whole object that S3 keeps, in base64; not that of an upload in parts, a hash of hashes."""
    kept = answer.get("ChecksumSHA256") or ""
    return kept if len(kept) == _SHA256_BASE64 and answer.get("ChecksumType") != "COMPOSITE" else None


def _check_length(data: bytes, said: int) -> None:
    if len(data) != said:
        raise WrongBytesError(f"arrived with {len(data):,} of {said:,} bytes")


def whole_page(page: dict[str, Any]) -> dict[str, Any]:
    """Refuse a page that has a next one but does not say which: what is not listed would count as never published."""
    if page.get("IsTruncated") and not page.get("NextContinuationToken"):
        raise WrongBytesError("arrived as a list without its end")
    return page
