"""Objects in S3 that somebody else writes and that are input here: found by a glob, fetched as they were found."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from collapse_guard.errors import UsageError
from collapse_guard.store.calls import MissingObjectError, Patience, WrongBytesError, insist
from collapse_guard.store.s3 import kept_sha256, open_s3, whole_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from collapse_guard.store.s3 import S3Store

_ADDRESS = re.compile(r"s3://(?P<bucket>[^/?#]+)/(?P<key>.+)", re.DOTALL)
_GLOB = re.compile(r"[*?\[]")
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class ListedObject:
    """An object as a listing named it; `tag` and `changed` are those of its content at that time."""

    bucket: str
    key: str
    bytes: int
    tag: str
    changed: str

    @property
    def address(self) -> str:
        """Where it lies."""
        return f"s3://{self.bucket}/{self.key}"

    def fetch(self, path: Path) -> str:
        """Copy the object to a file of this machine.

        Args:
            path: The file, written anew.

        Returns:
            The SHA-256 of what was written, in hexadecimal: of the size and ETag that were listed, and of the checksum
            that S3 keeps, where it keeps one of the whole object.

        Raises:
            UsageError: The object is gone or was changed since it was listed, or access is denied.
            DamagedDataError: It arrived cut or changed each time.
            UnreachableStoreError: S3 gave no proper answer.
        """
        client = _bucket(self.bucket).client
        try:
            return insist(lambda: self._fetch(client, path), self.address, Patience())
        except MissingObjectError:
            raise UsageError(f"{self.address}: it was listed and is gone since; {_AGAIN}") from None

    def _fetch(self, client: Any, path: Path) -> str:  # noqa: ANN401 - boto3 makes its clients' classes at run time
        answer = client.get_object(Bucket=self.bucket, Key=self.key, ChecksumMode="ENABLED")
        found, size = hashlib.sha256(), 0
        with contextlib.closing(answer["Body"]) as body, path.open("wb") as file:
            if answer["ETag"] != self.tag:
                raise UsageError(f"{self.address}: it was changed since it was listed; {_AGAIN}")
            for chunk in body.iter_chunks(_CHUNK_BYTES):
                size += file.write(chunk)
                found.update(chunk)
        if size != self.bytes:
            raise WrongBytesError(f"arrived with {size:,} of {self.bytes:,} bytes")
        kept = kept_sha256(answer)
        if kept and base64.b64encode(found.digest()).decode() != kept:
            raise WrongBytesError(f"arrived with another SHA-256 than {kept} (base64)")
        return found.hexdigest()


_AGAIN = "nothing was published, run the step again when nothing is written there any more"


def list_matching(pattern: str) -> list[ListedObject]:
    """Find objects as a shell finds files.

    Args:
        pattern: `s3://bucket/` and a key, the beginning of keys up to a slash, or a glob: `*` and `?` stay within one
            part between slashes, `**` stands for any number of parts. Names that start with a dot are not found.

    Returns:
        The objects, sorted by key; none where nothing matches.

    Raises:
        UsageError: The pattern names no bucket and key, there is no such bucket, or access is denied.
    """
    said = _ADDRESS.fullmatch(pattern)
    if said is None:
        raise UsageError("input s3://…: give s3://bucket/key, or a glob such as s3://bucket/crawl/*.warc.gz")
    bucket, key = said["bucket"], said["key"]
    prefix = key[: found.start()] if (found := _GLOB.search(key)) else key.rstrip("/")
    listed = (_listed(bucket, entry) for entry in _entries(_bucket(bucket), prefix))
    return sorted((item for item in listed if _is_meant(item.key, key)), key=lambda item: item.key)


def _bucket(name: str) -> S3Store:
    return open_s3(f"s3://{name}")


def _listed(bucket: str, entry: dict[str, Any]) -> ListedObject:
    return ListedObject(bucket, entry["Key"], entry["Size"], entry["ETag"], entry["LastModified"].isoformat())


def _entries(store: S3Store, prefix: str) -> Iterator[dict[str, Any]]:
    names: dict[str, Any] = {"Bucket": store.bucket, "Prefix": prefix}
    while True:
        page = insist(
            lambda: whole_page(store.client.list_objects_v2(**names)), f"s3://{store.bucket}/{prefix}", Patience()
        )
        yield from page.get("Contents", ())
        if page.get("NextContinuationToken") is None:
            return
        names["ContinuationToken"] = page["NextContinuationToken"]


def _is_meant(key: str, pattern: str) -> bool:
    """Say whether a key is the one that was written, or matches the pattern, or lies below what matches it."""
    parts, wanted = key.split("/"), pattern.rstrip("/").split("/")
    if key.endswith("/"):  # stands for an empty folder
        return False
    below = not parts[-1].startswith(".") and any(_match(parts[:end], wanted) for end in range(1, len(parts)))
    return below or key == pattern or _match(parts, wanted)


def _match(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        deeper = bool(parts) and not parts[0].startswith(".") and _match(parts[1:], wanted)
        return deeper or _match(parts, wanted[1:])
    return bool(parts) and _is_named(parts[0], wanted[0]) and _match(parts[1:], wanted[1:])


def _is_named(part: str, wanted: str) -> bool:
    shown = wanted.startswith(".") or not part.startswith(".")
    return part == wanted or (shown and fnmatchcase(part, wanted))
