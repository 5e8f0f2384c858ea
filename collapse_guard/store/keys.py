"""What every store promises, and which keys it takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, Protocol

from collapse_guard.errors import DamagedDataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

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


def missing(root: str, key: str) -> DamagedDataError:
    """The error of every store for an object that is not there."""
    return DamagedDataError(f"{root}: {key} is missing; restore it or run the step again")
