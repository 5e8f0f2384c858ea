"""The log of a corpus' releases: each entry is signed and names the digest of the one before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapse_guard import attestation
from collapse_guard.canonical import sha256_hex
from collapse_guard.errors import DamagedDataError
from collapse_guard.release.overrides import Override, read_passed
from collapse_guard.snapshot import LOG_DIGITS, Parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collapse_guard.attestation import PublicKey, Statement
    from collapse_guard.store import Store

PREDICATE = "https://collapse-guard.dev/release/v2"
TREE = "documents: root of an RFC 6962 Merkle tree"
"""The name of the second subject of a statement; the first is the candidate's manifest."""


@dataclass(frozen=True)
class Release:
    """One entry of a release log, its signature, its place in the chain and its overrides verified."""

    number: int
    corpus: str
    dump: str
    snapshot: Parent
    statement: Mapping[str, Any]
    overrides: tuple[Override, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of the released snapshot."""
        return self.snapshot.digest


def releases_prefix(corpus: str) -> str:
    """Where a corpus' releases lie."""
    return f"releases/{corpus}/"


def entry_key(prefix: str, number: int) -> str:
    """The key of one entry of a log of statements."""
    return f"{prefix}{number:0{LOG_DIGITS}d}.json"


def trusted_by(store: Store, pinned: Sequence[str | Path] = ()) -> tuple[PublicKey, ...]:
    """The keys whose signatures count.

    Args:
        store: Whose log of keys to read.
        pinned: PEM files with the keys that a reader trusts of his own; the store's log counts only where it holds one.

    Returns:
        The keys; those of the store's log where none is pinned.
    """
    if not pinned:
        return attestation.trusted_keys(store)
    loaded = [attestation.load_public_key(Path(path)) for path in pinned]
    found = {key.keyid: key for one in loaded for key in attestation.trusted_keys(store, one)}
    return tuple(found.values())


def subjects_of(said: Mapping[str, Any]) -> dict[str, str]:
    """What a release's statement is about: the candidate's manifest and all documents."""
    return {said["snapshot"]["name"]: said["snapshot"]["digest"], TREE: said["documents"]["merkle_root"]}


def read_chain(store: Store, corpus: str, keys: PublicKey | Sequence[PublicKey]) -> list[Release]:
    """Read a corpus' releases, oldest first, each verified.

    Args:
        store: Where they lie.
        corpus: The corpus' name.
        keys: The only keys whose signatures count.

    Returns:
        The releases; none where nothing was released.

    Raises:
        DamagedDataError: An entry is missing, unsigned, changed, or does not follow the one before it.
    """
    chain: list[Release] = []
    previous = None
    for number, name in enumerate(store.list(releases_prefix(corpus)), start=1):
        envelope = store.read(name)
        statement = attestation.verify(envelope, keys, f"{store.root}: {name}")
        entry = _checked(statement, corpus, number, previous, name)
        chain.append(replace(entry, overrides=read_passed(entry.statement, keys, name)))
        previous = sha256_hex(envelope)
    return chain


def _checked(statement: Statement, corpus: str, number: int, previous: str | None, name: str) -> Release:
    said = statement.predicate
    expected = {"corpus": corpus, "number": number, "previous": previous}
    if statement.predicate_type != PREDICATE or any(said.get(key) != value for key, value in expected.items()):
        raise DamagedDataError(f"{name} does not follow the release before it: an entry was removed or moved")
    snapshot = Parent(**said["snapshot"])
    if statement.subjects != subjects_of(said):
        raise DamagedDataError(f"{name} is signed, but not as a release of {snapshot.name}")
    return Release(number, corpus, str(said["dump"]), snapshot, said)
