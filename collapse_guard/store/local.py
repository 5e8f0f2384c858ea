"""A store in a folder of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from collapse_guard.store.keys import Put, check_deletable, check_key, missing

if TYPE_CHECKING:
    from collections.abc import Iterator


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
            raise missing(self.root, key) from None

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
