"""Recall notices: signed, appended, and honoured by whatever opens a release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collapse_guard import attestation
from collapse_guard.canonical import sha256_hex
from collapse_guard.errors import DamagedDataError
from collapse_guard.release.chain import entry_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collapse_guard.attestation import PublicKey, SigningKey
    from collapse_guard.release.chain import Release
    from collapse_guard.store import Store

PREDICATE = "https://collapse-guard.dev/recall/v1"


@dataclass(frozen=True)
class Notice:
    """One recall, its signature and its place in the log verified.

    Attributes:
        key: Where it lies.
        number: Its place in the corpus' log, from 1.
        wanted: The document's id or the source that was recalled.
        reason: Why, as given.
        by: Who recalled it.
        at: When, as signed.
        digests: The released snapshots that it closes.
        envelope: SHA-256 of the signed bytes, which the next notice and the next release name.
    """

    key: str
    number: int
    wanted: str
    reason: str
    by: str
    at: str
    digests: frozenset[str]
    envelope: str

    @property
    def sentence(self) -> str:
        """The notice in one line."""
        return f"recall notice {self.key}: {self.wanted!r} was recalled by {self.by} ({self.reason})"


def recalls_prefix(corpus: str) -> str:
    """Where a corpus' recall notices lie."""
    return f"recalls/{corpus}/"


def read_notices(store: Store, corpus: str, keys: PublicKey | Sequence[PublicKey]) -> list[Notice]:
    """Read a corpus' recall notices, oldest first, each verified.

    Args:
        store: Where they lie.
        corpus: The corpus' name.
        keys: The only keys whose signatures count.

    Returns:
        The notices; none where nothing was recalled.

    Raises:
        DamagedDataError: A notice is missing, unsigned, changed, or does not follow the one before it.
    """
    notices: list[Notice] = []
    for number, name in enumerate(store.list(recalls_prefix(corpus)), start=1):
        envelope = store.read(name)
        statement = attestation.verify(envelope, keys, f"{store.root}: {name}")
        said = statement.predicate
        expected = {"corpus": corpus, "number": number, "previous": head(notices)["head"]}
        right = statement.predicate_type == PREDICATE and all(said.get(key) == value for key, value in expected.items())
        if not right or statement.subjects != _subjects(said["releases"]):
            raise DamagedDataError(f"{name} does not follow the recall notice before it: one was removed or moved")
        told = {field: str(said[field]) for field in ("wanted", "reason", "by", "at")}
        digests = frozenset(entry["digest"] for entry in said["releases"])
        notices.append(Notice(key=name, number=number, digests=digests, envelope=sha256_hex(envelope), **told))
    return notices


def _subjects(releases: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {f"{entry['number']}: {entry['name']}": entry["digest"] for entry in releases}


def head(notices: Sequence[Notice]) -> dict[str, Any]:
    """What a release says about the recalls before it, so that none of them can be removed unnoticed."""
    return {"count": len(notices), "head": notices[-1].envelope if notices else None}


def notices_for(store: Store, entry: Release, keys: PublicKey | Sequence[PublicKey]) -> list[Notice]:
    """The notices that close a release.

    Args:
        store: Where they lie.
        entry: The release.
        keys: The only keys whose signatures count.

    Returns:
        The notices, oldest first.

    Raises:
        DamagedDataError: A notice was changed, or one that the release names is gone.
    """
    notices = read_notices(store, entry.corpus, keys)
    said = entry.statement["recalls"]
    if head(notices[: said["count"]]) != said:
        raise DamagedDataError(
            f"{store.root}: release {entry.number} of {entry.corpus!r} was made after {said['count']} recall "
            "notice(s), which are not all there now; restore them"
        )
    return [notice for notice in notices if entry.digest in notice.digests]


def write_notice(
    store: Store, corpus: str, key: SigningKey, releases: Sequence[Mapping[str, Any]], said: Mapping[str, str]
) -> Notice:
    """Sign and append a notice.

    Args:
        store: Receives it.
        corpus: Whose releases are closed.
        key: Who signs.
        releases: The releases it closes: `number, name, dump, digest, documents`.
        said: `wanted, reason, by, at`.

    Returns:
        The notice, read back.
    """
    keys = attestation.trusted_keys(store)
    while True:
        notices = read_notices(store, corpus, keys)
        predicate = {
            **said,
            "corpus": corpus,
            "number": len(notices) + 1,
            "previous": head(notices)["head"],
            "releases": [dict(entry) for entry in releases],
        }
        envelope = attestation.sign(key, _subjects(releases), PREDICATE, predicate)
        if store.put_if_absent(entry_key(recalls_prefix(corpus), len(notices) + 1), envelope) == "created":
            return read_notices(store, corpus, keys)[len(notices)]
