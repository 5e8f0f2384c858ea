"""Find every release that contains a document, or anything of a source, and close them by a signed notice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from collapse_guard import attestation
from collapse_guard.errors import UsageError
from collapse_guard.release.chain import read_chain
from collapse_guard.release.notices import read_notices, write_notice
from collapse_guard.release.opening import released_snapshot
from collapse_guard.snapshot import read_shard
from collapse_guard.verify import corpora

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from collapse_guard.attestation import PublicKey, SigningKey
    from collapse_guard.release.notices import Notice
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store


@dataclass(frozen=True)
class Contained:
    """A release that contains what was looked for, and in how many rows."""

    corpus: str
    number: int
    name: str
    dump: str
    digest: str
    documents: int
    recalled: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON; `recalled` are the notices that close the release already."""
        return {**asdict(self), "recalled": list(self.recalled)}


def find(store: Store, wanted: str, keys: Sequence[PublicKey], *, corpus: str | None = None) -> list[Contained]:
    """Find the releases that contain a document or anything of a source.

    Args:
        store: The guard's store.
        wanted: A document's id, or a source as the documents name it.
        keys: The only keys whose signatures count.
        corpus: Look in this corpus only.

    Returns:
        One finding per release, by corpus, oldest first; each was read whole and verified.
    """
    names = [corpus] if corpus else corpora(store)
    return [found for name in names for found in _in_corpus(store, name, wanted, keys)]


def _in_corpus(store: Store, corpus: str, wanted: str, keys: Sequence[PublicKey]) -> Iterator[Contained]:
    notices = read_notices(store, corpus, keys)
    counted: dict[str, int] = {}
    for entry in read_chain(store, corpus, keys):
        if entry.digest not in counted:
            counted[entry.digest] = _count(store, released_snapshot(store, entry), wanted)
        if counted[entry.digest]:
            closing = tuple(notice.key for notice in notices if entry.digest in notice.digests)
            place = (entry.number, entry.snapshot.name, entry.dump, entry.digest)
            yield Contained(corpus, *place, counted[entry.digest], closing)


def _count(store: Store, snapshot: Snapshot, wanted: str) -> int:
    tables = (read_shard(store, shard, ["id", "source"]) for shard in snapshot.with_role("documents"))
    matches = (pc.or_(pc.equal(table["id"], wanted), pc.equal(table["source"], wanted)) for table in tables)
    return sum(pc.sum(match).as_py() or 0 for match in matches)


def recall(
    store: Store, wanted: str, *, reason: str, by: str, key: SigningKey, at: datetime, corpus: str | None = None
) -> list[Notice]:
    """Close every release that contains a document, or anything of a source, by a signed notice.

    Args:
        store: The guard's store.
        wanted: A document's id or a source.
        reason: Why.
        by: Who says so.
        key: Signs; the store must trust it.
        at: When.
        corpus: Close releases of this corpus only.

    Returns:
        One notice per corpus; none where every such release was recalled for it before.

    Raises:
        UsageError: No release contains it, reason or name is empty, or the key is not trusted.
    """
    if not reason.strip() or not by.strip():
        raise UsageError("a recall must say a reason and who recalls: nobody can judge it otherwise")
    attestation.trust(store, key.public, at)
    trusted = attestation.trusted_keys(store)
    found = find(store, wanted, trusted, corpus=corpus)
    if not found:
        raise UsageError(
            f"{store.root}: no release contains a document with id or source {wanted!r}; nothing is recalled"
        )
    said = {"wanted": wanted, "reason": reason, "by": by, "at": at.isoformat()}
    notices = []
    for name in dict.fromkeys(one.corpus for one in found):
        before = [notice for notice in read_notices(store, name, trusted) if notice.wanted == wanted]
        done = frozenset[str]().union(*(notice.digests for notice in before))
        new = [_named(one) for one in found if one.corpus == name and one.digest not in done]
        notices += [write_notice(store, name, key, new, said)] if new else []
    return notices


def _named(found: Contained) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("number", "name", "dump", "digest", "documents")}
