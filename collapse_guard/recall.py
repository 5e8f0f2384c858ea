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
    texts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON: `recalled` names the notices that close it, `texts` those under the wanted id."""
        return {**asdict(self), "recalled": list(self.recalled), "texts": list(self.texts)}


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
    found: dict[str, tuple[int, tuple[str, ...]]] = {}
    for entry in read_chain(store, corpus, keys):
        if entry.digest not in found:
            found[entry.digest] = _matches(store, released_snapshot(store, entry), wanted)
        count, texts = found[entry.digest]
        if count:
            closing = tuple(notice.key for notice in notices if entry.digest in notice.digests)
            place = (entry.number, entry.snapshot.name, entry.dump, entry.digest)
            yield Contained(corpus, *place, count, closing, texts)


def _matches(store: Store, snapshot: Snapshot, wanted: str) -> tuple[int, tuple[str, ...]]:
    """How many documents a release contains, and the digests of the texts of those that are named by their id."""
    count, texts = 0, set[str]()
    for shard in snapshot.with_role("documents"):
        rows = read_shard(store, shard, ["id", "source", "text_sha256"])
        named = pc.equal(rows["id"], wanted)
        count += pc.sum(pc.or_(named, pc.equal(rows["source"], wanted))).as_py() or 0
        texts |= {digest.hex() for digest in rows.filter(named)["text_sha256"].to_pylist()}
    return count, tuple(sorted(texts))


def recall(
    store: Store, wanted: str, *, reason: str, by: str, key: SigningKey, at: datetime, corpus: str | None = None
) -> list[Notice]:
    """Close every release that contains a document, or anything of a source, by a signed notice.

    No later release may contain it either: neither the id, nor a text that it had under another id, nor the source.

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
        texts = sorted({text for one in found if one.corpus == name for text in one.texts})
        notices += [write_notice(store, name, key, new, {**said, "texts": texts})] if new else []
    return notices


def _named(found: Contained) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("number", "name", "dump", "digest", "documents")}
