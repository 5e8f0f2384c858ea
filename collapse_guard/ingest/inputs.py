"""Which files are meant, on this machine or in S3, and how a worker process gets to read each."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from collapse_guard.canonical import canonical_json, json_digest
from collapse_guard.errors import UsageError
from collapse_guard.store import S3

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collapse_guard.store import Store
    from collapse_guard.store.s3_inputs import ListedObject

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_NAME = 100


class RemoteFile:
    """An object in S3 that is fetched when it is read, and removed from this machine afterwards."""

    def __init__(self, found: ListedObject, store: Store) -> None:
        """Look at an object.

        Args:
            found: The object.
            store: Remembers digests, and gives scratch folders.
        """
        self.name = found.address
        self._found = found
        self._store = store
        facts = {"address": found.address, "bytes": str(found.bytes), "tag": found.tag, "changed": found.changed}
        self._remembered = _remembered_under(facts)
        self.sha256 = _recall(store, self._remembered)
        """Of the content; null before an object is first fetched."""

    @contextlib.contextmanager
    def local(self) -> Iterator[Path]:
        """Fetch it, and give the copy, which is named as the object so that its format can be told."""
        with self._store.scratch() as folder:
            path = folder / _UNSAFE.sub("_", self.name.rpartition("/")[2])[-_LONGEST_NAME:]
            self.sha256 = self._found.fetch(path)
            _remember(self._store, self._remembered, self.sha256)
            yield path


Input: TypeAlias = Path | RemoteFile


def input_files(patterns: Sequence[str], store: Store | None = None) -> list[Input]:
    """Expand files, folders and globs.

    Args:
        patterns: Each a file, a folder (every file below it whose name does not start with a dot) or a glob, on this
            machine or, with `s3://bucket/` before it, in S3.
        store: For what is in S3: remembers digests, and gives scratch folders.

    Returns:
        Files, sorted, each once; those of this machine first.

    Raises:
        UsageError: A pattern matches no file, or S3 refuses: bucket, access, region.
    """
    paths: set[Path] = set()
    objects: dict[str, ListedObject] = {}
    for pattern in patterns:
        if pattern.startswith(S3) and store:
            objects |= {found.address: found for found in _objects(pattern)}
        else:
            paths |= set(_files(pattern))
    return [*sorted(paths), *(RemoteFile(objects[address], store) for address in sorted(objects) if store)]


def matching(pattern: str) -> list[str]:
    """The files and folders that match a glob, or the objects in S3; none is no error."""
    if pattern.startswith(S3):
        from collapse_guard.store.s3_inputs import list_matching  # noqa: PLC0415 - boto3 is imported by those who use it

        return [found.address for found in list_matching(pattern)]
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - absolute patterns too


def _objects(pattern: str) -> list[ListedObject]:
    from collapse_guard.store.s3_inputs import list_matching  # noqa: PLC0415 - boto3 is imported by those who use it

    return list_matching(pattern) or _nothing(pattern)


def _files(pattern: str) -> list[Path]:
    path = Path(pattern)
    names = [path] if path.exists() else [Path(name) for name in matching(pattern)]
    below = [file for name in names for file in (name.rglob("*") if name.is_dir() else [name])]
    files = [file for file in below if file.is_file() and (file == path or not file.name.startswith("."))]
    return files or _nothing(pattern)


def _nothing(pattern: str) -> NoReturn:
    raise UsageError(f"input {pattern!r} matches no file; name a file, a folder or a glob that does")


def name_of(file: Input) -> str:
    """What a file is called in `source`, in the quarantine and in errors."""
    return os.fsencode(file.name).decode("utf-8", "replace") if isinstance(file, Path) else file.name


def local_copy(file: Input) -> contextlib.AbstractContextManager[Path]:
    """Where the content of a file can be read."""
    return contextlib.nullcontext(file) if isinstance(file, Path) else file.local()


def content_digest(store: Store, file: Input) -> str | None:
    """SHA-256 of a file, remembered by place, size and time of change, so that unchanged input is not read again.

    Args:
        store: Remembers it.
        file: The file.

    Returns:
        The digest; null for an object in S3 that was never fetched.
    """
    if isinstance(file, RemoteFile):
        return file.sha256
    facts = file.stat()
    seen = {"path": str(file.resolve()), "bytes": facts.st_size, "changed": str(facts.st_mtime_ns)}
    key = _remembered_under(seen)
    digest = _recall(store, key)
    if digest is None:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        _remember(store, key, digest)
    return digest


def _remembered_under(facts: dict[str, Any]) -> str:
    return f"cache/inputs/{json_digest(facts)}.json"


def _recall(store: Store, key: str) -> str | None:
    return str(json.loads(store.read(key))["sha256"]) if store.head(key) is not None else None


def _remember(store: Store, key: str, digest: str) -> None:
    store.put_if_absent(key, canonical_json({"sha256": digest}))
