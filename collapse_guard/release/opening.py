"""Open a release, and nothing else."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from collapse_guard.errors import DamagedDataError, GateClosed
from collapse_guard.release.chain import read_chain, releases_prefix, trusted_by
from collapse_guard.release.corpus import ReleasedCorpus
from collapse_guard.release.notices import notices_for
from collapse_guard.snapshot import find_digest, latest
from collapse_guard.store import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collapse_guard.attestation import PublicKey
    from collapse_guard.release.chain import Release
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

OnClosed = Literal["fail", "last_good"]
OnRecalled = Literal["fail", "warn"]


def open_release(
    root: str | Path,
    name: str,
    *,
    dump: str | None = None,
    on_closed: OnClosed = "fail",
    on_recalled: OnRecalled = "fail",
    trusted: str | Path | Sequence[str | Path] = (),
    at: datetime | None = None,
) -> ReleasedCorpus:
    """Open a released corpus; what was not released cannot be opened.

    Args:
        root: The guard's root: a folder, or `s3://bucket/prefix`.
        name: The corpus.
        dump: A dump's release; by default that of the newest dump.
        on_closed: What to do when the newest candidate was not released: `fail`, or `last_good` to get the last
            release before it, with a warning.
        on_recalled: What to do when the release was recalled: `fail`, or `warn` to get it all the same, with a warning.
        trusted: PEM files with the public keys to trust; by default the keys of the store's own log. A key of one's
            own vouches for the store's log where that log holds it.
        at: The time now, to say which overrides have lapsed.

    Returns:
        The corpus; the signature, the chain and the manifest are verified now, each shard when it is read. One that
        was refused and released by an override opens with a warning that says who overrode what, why and until when.

    Raises:
        GateClosed: Nothing was released, or the newest candidate was not, or the release was recalled.
        DamagedDataError: Something was changed, removed or forged.
    """
    store = open_store(root)
    if not any(store.list(releases_prefix(name))):
        raise GateClosed(f"{store.root}: nothing was released under {name!r}; only released corpora can be opened")
    keys = trusted_by(store, [trusted] if isinstance(trusted, str | Path) else trusted)
    chain = [entry for entry in read_chain(store, name, keys) if dump in {None, entry.dump}]
    if not chain:
        raise GateClosed(f"{store.root}: dump {dump!r} of {name!r} was not released")
    newest = latest(store, f"{name}/candidate/{dump or _newest_dump(store, name, chain)}")
    of_newest = [entry for entry in chain if newest and entry.digest == newest.digest]
    entry = max(of_newest or chain, key=lambda entry: (entry.dump, entry.number))
    closed = None if of_newest or not newest else f"{store.root}: the newest candidate {newest.name!r} was not released"
    if closed and on_closed == "fail":
        raise GateClosed(
            f"{closed}; pass on_closed='last_good' to open release {entry.number} of {entry.dump!r} instead"
        )
    if closed:
        warnings.warn(f"{closed}: opening release {entry.number} of {entry.dump!r} instead", stacklevel=2)
    recalled = _recalled(store, entry, keys)
    if recalled and on_recalled == "fail":
        raise GateClosed(f"{recalled}; release without it, or pass on_recalled='warn' to open it all the same")
    if recalled:
        warnings.warn(f"{recalled}: opening it all the same", stacklevel=2)
    for one in entry.overrides:
        warnings.warn(f"{store.root}: release {entry.number} did not pass: {one.told(at)}", stacklevel=2)
    return ReleasedCorpus(store, entry, released_snapshot(store, entry))


def _recalled(store: Store, entry: Release, keys: tuple[PublicKey, ...]) -> str:
    """Why a release is closed by recall; empty where it is not."""
    notices = "; ".join(notice.sentence for notice in notices_for(store, entry, keys))
    return f"{store.root}: release {entry.number} of {entry.dump!r} was recalled: {notices}" if notices else ""


def released_snapshot(store: Store, entry: Release) -> Snapshot:
    """The manifest that a release names.

    Args:
        store: Where it lies.
        entry: The release.

    Returns:
        The manifest.

    Raises:
        DamagedDataError: It is missing, or was mixed under another policy than it was judged.
    """
    snapshot = find_digest(store, entry.snapshot)
    if snapshot.policy_digest != entry.statement["judgement"]["policy_digest"]:
        raise DamagedDataError(
            f"{store.root}: release {entry.number} was judged under another policy than it was mixed"
        )
    return snapshot


def _newest_dump(store: Store, name: str, chain: list[Release]) -> str:
    prefix = f"snapshots/{name}/candidate/"
    mixed = (key.removeprefix(prefix).partition("/")[0] for key in store.list(prefix))
    return max([*mixed, *(entry.dump for entry in chain)])
