"""Immutable bytes under keys: the only module that writes them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

from collapse_guard.errors import DamagedDataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

Put = Literal["created", "exists"]
DELETABLE = ("staging/", "shards/")
_STEP = r"[A-Za-z0-9][A-Za-z0-9._=@-]{0,254}"  # no file system takes a longer name
_KEY = re.compile(f"{_STEP}(/{_STEP})*")


class Store(Protocol):
    """Immutable objects under keys; the only mutable fact is whether a key exists."""

    @property
    def root(self) -> str:
        """Where the store lies, as a user wrote it."""

    def put_if_absent(self, key: str, data: bytes) -> Put:
        """Create an object, durably and at once, unless the key exists."""

    def read(self, key: str) -> bytes:
        """Return an object's bytes; DamagedDataError where there is none."""

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return part of an object's bytes; DamagedDataError where there is none."""

    def head(self, key: str) -> int | None:
        """Return an object's size in bytes, or null where there is none."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix that ends in a slash, sorted."""

    def delete(self, key: str) -> None:
        """Remove what was never published; any other key is refused."""

    def clear_staging(self) -> None:
        """Remove all work under way, with its folders; only for a time at which nothing runs."""

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a folder on this machine for work that is thrown away."""


def open_store(root: str | Path) -> Store:
    """Open the store at a path.

    Args:
        root: A folder, created when something is written to it.

    Returns:
        The store.

    Raises:
        UsageError: The root names a kind of store that this version does not have.
    """
    if "://" in str(root):
        raise UsageError(f"root {root!s}: only folders on this machine are supported in this version; give a path")
    return LocalStore(Path(root))


def check_key(key: str) -> str:
    """Refuse a key that could leave the store or clash on some file system."""
    if not _KEY.fullmatch(key) or len(key) > 512:  # noqa: PLR2004 - well below every file system's and S3's limit
        raise UsageError(
            f"key {key!r} must be made of letters, digits, '.', '_', '=', '@' and '-' in short parts split by '/'"
        )
    return key


def check_deletable(key: str) -> str:
    """Refuse to delete anything that may have been published or admitted."""
    if not check_key(key).startswith(DELETABLE):
        raise UsageError(f"key {key!r} is never deleted; only unpublished work under {', '.join(DELETABLE)} is")
    return key


class LocalStore:
    """A folder whose files are created whole, once, and never change.

    Accidental change is prevented (files are read-only) and any change is detected on read by digest; whoever owns
    the folder can still destroy it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def root(self) -> str:
        """The folder."""
        return str(self._folder)

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)

    def put_if_absent(self, key: str, data: bytes) -> Put:
        """Write beside, flush, then link under the final name: `os.link` is the local create-if-absent."""
        final = self._path(key)
        if final.exists():
            _flush_folder(final.parent)  # whoever made it may have been killed before this
            return "exists"
        _make_durable_folder(final.parent)
        staging = self._folder / "staging"
        staging.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="put-", dir=staging)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            os.link(name, final)
        except FileExistsError:
            return "exists"
        finally:
            Path(name).unlink(missing_ok=True)
        _flush_folder(final.parent)
        return "created"

    def read(self, key: str) -> bytes:
        """Return an object's bytes.

        Raises:
            DamagedDataError: There is no such object.
        """
        with self._open(key) as file:
            return file.read()

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return part of an object's bytes; DamagedDataError where there is none."""
        with self._open(key) as file:
            file.seek(start)
            return file.read(length)

    def _open(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise DamagedDataError(f"{self.root}: {key} is missing; restore it or run the step again") from None

    def head(self, key: str) -> int | None:
        """Return an object's size in bytes, or null where there is none."""
        path = self._path(key)
        return path.stat().st_size if path.is_file() else None

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix that ends in a slash, sorted; a folder that cannot be read is an error."""
        top = self._path(prefix.rstrip("/"))
        files = (Path(folder) / name for folder, _, names in os.walk(top, onerror=_unless_gone) for name in names)
        yield from sorted(file.relative_to(self._folder).as_posix() for file in files)

    def delete(self, key: str) -> None:
        """Remove what was never published; any other key is refused."""
        (self._folder / check_deletable(key)).unlink(missing_ok=True)

    def clear_staging(self) -> None:
        """Remove all work under way, with its folders; only for a time at which nothing runs."""
        staging = self._folder / "staging"
        if staging.is_dir():
            shutil.rmtree(staging)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder below staging, removed afterwards; a crash leaves it to the sweep."""
        staging = self._folder / "staging"
        staging.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=staging))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _unless_gone(error: OSError) -> None:
    """Raise an error of listing: an empty list would say that nothing was released, refused or named by a snapshot."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _make_durable_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_durable_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
