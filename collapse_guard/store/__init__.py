"""Immutable bytes under keys: the only package that writes them, and the only one that knows S3."""

from __future__ import annotations

from pathlib import Path

from collapse_guard.errors import UsageError
from collapse_guard.store.keys import DELETABLE, Put, Store, check_deletable, check_key
from collapse_guard.store.local import LocalStore

__all__ = ["DELETABLE", "LocalStore", "Put", "Store", "check_deletable", "check_key", "open_store"]
S3 = "s3://"


def open_store(root: str | Path) -> Store:
    """Open the store at a root.

    Args:
        root: A folder, created when something is written to it, or `s3://bucket/prefix`. For S3 the region, the
            profile, the credentials, an endpoint and the modes of checksums are what boto3 finds: AWS_PROFILE,
            AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, AWS_REQUEST_CHECKSUM_CALCULATION ..., `~/.aws`, or the instance.

    Returns:
        The store; nothing was asked of it yet.

    Raises:
        UsageError: The root names a kind of store that there is not.
    """
    if isinstance(root, str) and root.startswith(S3):
        from collapse_guard.store.s3 import open_s3  # noqa: PLC0415 - boto3 is imported by those who use it

        return open_s3(root)
    if isinstance(root, str) and "://" in root:
        raise UsageError(f"root {root.partition('://')[0]}://…: give a folder on this machine or s3://bucket/prefix")
    return LocalStore(_real_folder(Path(root)))


def _real_folder(root: Path) -> Path:
    """Refuse an address that became a path and lost a slash: it would quietly be a new folder named `s3:`."""
    if root.parts[:1] == (S3.rstrip("/"),):
        raise UsageError(f"root {root}: this address lost a slash, perhaps as a path; pass s3://bucket/prefix as text")
    return root
