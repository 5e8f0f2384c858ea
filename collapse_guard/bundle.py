"""Copy what proves a release into a folder that needs none of this library to be verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization

from collapse_guard.errors import UsageError
from collapse_guard.release.chain import entry_key, releases_prefix
from collapse_guard.release.notices import recalls_prefix
from collapse_guard.release.opening import released_snapshot
from collapse_guard.snapshot import log, read_snapshot, read_verified
from collapse_guard.verify import verify_release

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from collapse_guard.attestation import PublicKey
    from collapse_guard.release.accounting import Progress
    from collapse_guard.release.chain import Release
    from collapse_guard.store import Store
    from collapse_guard.verify import Verified

LEAVES = "leaves.jsonl"


def export_bundle(
    store: Store,
    entry: Release,
    keys: Sequence[PublicKey],
    folder: Path,
    *,
    document: str | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Verify a release, and copy what it was verified by: statements, manifests, the released shards, all leaves.

    The text of documents that are not in the release is not copied; their leaves are.

    Args:
        store: Where the release lies.
        entry: The release.
        keys: The only keys whose signatures count.
        folder: A folder that does not exist or is empty. It gets the layout of a store, and `leaves.jsonl`.
        document: An id whose place to prove.
        progress: Told how far this is.

    Returns:
        What was verified.

    Raises:
        UsageError: The folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} is not empty; name a new folder, so that nothing old is taken for part of the proof"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LEAVES).open("wb") as file:
        result = verify_release(
            store,
            entry,
            keys,
            document=document,
            each=lambda leaves: file.writelines(leaf + b"\n" for leaf in leaves),
            progress=progress,
        )
    for key in _small_files(store, entry):
        _put(folder / key, store.read(key))
    for shard in released_snapshot(store, entry).shards:
        _put(folder / shard.key, read_verified(store, shard))
    for public in keys:
        _put(folder / "keys" / f"{public.keyid}.pem", _pem(public))
    return result


def _small_files(store: Store, entry: Release) -> Iterator[str]:
    """Every statement up to the release, every recall, the keys, and the manifest of every step."""
    yield from (entry_key(releases_prefix(entry.corpus), number) for number in range(1, entry.number + 1))
    yield from store.list(recalls_prefix(entry.corpus))
    yield from store.list("trust/")
    for step in entry.statement["steps"]:
        yield next(key for key in log(store, step["name"]) if read_snapshot(store, key).digest == step["digest"])


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _pem(key: PublicKey) -> bytes:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.key.public_bytes(serialization.Encoding.PEM, kind)
