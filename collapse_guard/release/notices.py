"""Recall notices: signed, appended, and honoured by whatever opens a release."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard import attestation
from collapse_guard.canonical import sha256_hex
from collapse_guard.errors import DamagedDataError
from collapse_guard.release.chain import entry_key
from collapse_guard.snapshot import find_digest, read_shard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from collapse_guard.attestation import PublicKey, SigningKey
    from collapse_guard.release.chain import Release
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

PREDICATE = "https://collapse-guard.dev/recall/v1"
MAX_NAMED = 5
_NAMES = ["id", "source", "text_sha256"]


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
        digests: The released snapshots that it closes by name; every later one that holds what was recalled, too.
        texts: SHA-256 of the texts that the recalled document had; none where a source was recalled.
        envelope: SHA-256 of the signed bytes, which the next notice and the next release name.
    """

    key: str
    number: int
    wanted: str
    reason: str
    by: str
    at: str
    digests: frozenset[str]
    texts: frozenset[str]
    envelope: str

    @property
    def sentence(self) -> str:
        """The notice in one line."""
        return f"recall notice {self.key}: {self.wanted!r} was recalled by {self.by} ({self.reason})"

    def names(self, rows: pa.Table) -> pa.ChunkedArray:
        """Which rows hold what was recalled: the document under its id or its text under another, or the source."""
        named = pc.or_kleene(pc.equal(rows["id"], self.wanted), pc.equal(rows["source"], self.wanted))
        texts = pa.array([bytes.fromhex(text) for text in sorted(self.texts)], pa.binary())
        return pc.or_(pc.fill_null(named, False), pc.is_in(rows["text_sha256"], texts))  # noqa: FBT003 - null is not it


@dataclass(frozen=True)
class Held:
    """What of a candidate a notice recalls: how many documents, and the first of their ids."""

    notice: Notice
    documents: int
    first: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The finding in one line."""
        return f"{self.documents:,} document(s) (first: {', '.join(self.first)}) of {self.notice.sentence}"


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
        told: dict[str, Any] = {field: str(said[field]) for field in ("wanted", "reason", "by", "at")}
        told["digests"] = frozenset(entry["digest"] for entry in said["releases"])
        told["texts"] = frozenset(said.get("texts", ()))
        notices.append(Notice(key=name, number=number, envelope=sha256_hex(envelope), **told))
    return notices


def _subjects(releases: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {f"{entry['number']}: {entry['name']}": entry["digest"] for entry in releases}


def head(notices: Sequence[Notice]) -> dict[str, Any]:
    """What a release says about the recalls before it, so that none of them can be removed unnoticed."""
    return {"count": len(notices), "head": notices[-1].envelope if notices else None}


def notices_for(store: Store, entry: Release, keys: PublicKey | Sequence[PublicKey]) -> list[Notice]:
    """The notices that close a release: those that name it, and those about something that it holds.

    Its rows are read only where there is a notice that does not name it.

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
    others = [notice for notice in notices if entry.digest not in notice.digests]
    holds = find_held(store, find_digest(store, entry.snapshot), others) if others else []
    spared = {notice.number for notice in others} - {one.notice.number for one in holds}
    return [notice for notice in notices if notice.number not in spared]


def find_held(store: Store, candidate: Snapshot, notices: Sequence[Notice]) -> list[Held]:
    """Find what of a candidate was recalled.

    Args:
        store: Where it lies.
        candidate: Its manifest.
        notices: The notices to look for; without any, nothing is read.

    Returns:
        One finding per notice about something that the candidate holds.
    """
    counts: Counter[int] = Counter()
    first: dict[int, list[str]] = {notice.number: [] for notice in notices}
    for rows in _recalled_rows(store, candidate, notices) if notices else ():
        for notice in notices if rows.num_rows else ():
            ids = rows.filter(notice.names(rows))["id"]
            counts[notice.number] += len(ids)
            first[notice.number] += ids[: MAX_NAMED - len(first[notice.number])].to_pylist()
    return [
        Held(notice, counts[notice.number], tuple(first[notice.number])) for notice in notices if counts[notice.number]
    ]


def _recalled_rows(store: Store, candidate: Snapshot, notices: Sequence[Notice]) -> Iterator[pa.Table]:
    """The few rows of each shard that any of the notices is about."""
    wanted = pa.array(sorted({notice.wanted for notice in notices}), pa.string())
    texts = pa.array(sorted({bytes.fromhex(text) for notice in notices for text in notice.texts}), pa.binary())
    for rows in _rows(store, candidate):
        named = pc.or_(pc.is_in(rows["id"], wanted), pc.is_in(rows["source"], wanted))
        yield rows.filter(pc.or_(named, pc.is_in(rows["text_sha256"], texts)))


def _rows(store: Store, candidate: Snapshot) -> Iterator[pa.Table]:
    """The names of the documents of a candidate, from what the mix took, which is small beside the texts."""
    # The selection of candidate@3 names no sources; a release checks that the others name exactly its documents.
    offered = () if candidate.schema == "candidate@3" else candidate.with_role("selection")
    for shard in offered:
        rows = read_shard(store, shard, [*_NAMES, "rule"])
        yield rows.filter(pc.is_null(rows["rule"])).select(_NAMES)
    for shard in () if offered else candidate.with_role("documents"):
        yield read_shard(store, shard, _NAMES)


def write_notice(
    store: Store, corpus: str, key: SigningKey, releases: Sequence[Mapping[str, Any]], said: Mapping[str, Any]
) -> Notice:
    """Sign and append a notice.

    Args:
        store: Receives it.
        corpus: Whose releases are closed.
        key: Who signs.
        releases: The releases it closes: `number, name, dump, digest, documents`.
        said: `wanted, reason, by, at, texts`.

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
