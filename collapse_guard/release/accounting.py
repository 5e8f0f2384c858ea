"""Count a candidate, and the dumps it was mixed from, again from their rows, and put every document into one tree.

Nothing that a manifest says about its rows is believed here: bytes are hashed, rows counted, tokens added up.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collapse_guard.document import text_digests
from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.merkle import Tree, includes
from collapse_guard.reservoir import HUMAN
from collapse_guard.snapshot import Ledger, find_digest, read_verified

if TYPE_CHECKING:
    from _hashlib import HASH
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from collapse_guard.snapshot import Parent, Shard, Snapshot
    from collapse_guard.store import Store

    Progress = Callable[[int, int], None]
    """Told how many bytes were verified and how many there are."""

DISPOSITIONS = ("kept", "review", "dropped", "quarantined")
LEAF = pa.schema(
    [
        pa.field(name, pa.int64() if name == "tokens" else pa.string())
        for name in ("disposition", "id", "origin", "reason", "sha256", "source", "tokens")
    ]
)
"""A document in the tree: its columns in the order of canonical JSON.

`disposition` is where the document ended: `kept` is in the release. `sha256` is that of its text, or of the bytes that
could not be read; of those `id` names file and offset. `source` is the file that it came from.
"""
_MUST_ESCAPE = r'["\\\x00-\x1f]'
_OFFERED = ["id", "source", "tokens", "origin", "text_sha256"]
_KEPT = [*_OFFERED, "text"]


@dataclass(frozen=True)
class Proof:
    """That a document is in the tree, where, and what became of it."""

    index: int
    leaf: bytes
    path: tuple[bytes, ...]

    def holds(self, size: int, root: bytes) -> bool:
        """Whether it proves that for a tree."""
        return includes(self.leaf, self.index, size, self.path, root)

    def to_json(self) -> dict[str, Any]:
        """The proof as JSON: the place, the leaf, and the hashes beside the way to the root."""
        return {
            "index": self.index,
            "document": json.loads(self.leaf),
            "leaf": self.leaf.decode(),
            "path": [step.hex() for step in self.path],
        }


@dataclass(frozen=True)
class Account:
    """What the rows say.

    Attributes:
        root: The root over all documents.
        size: How many there are.
        shares: Tokens of the kept documents by origin.
        steps: Every step's ledger, counted again: `name, kind, digest, ledger`.
        shards: How many shards were verified.
        bytes: How many bytes they have.
        proofs: One for every place at which the wanted document is.
    """

    root: bytes
    size: int
    shares: Mapping[str, int]
    steps: tuple[Mapping[str, Any], ...]
    shards: int
    bytes: int
    proofs: tuple[Proof, ...] = ()


def take_account(
    store: Store,
    candidate: Snapshot,
    *,
    document: str | None = None,
    each: Callable[[Sequence[bytes]], object] | None = None,
    progress: Progress | None = None,
) -> Account:
    """Read everything behind a candidate, verified, and count it.

    Args:
        store: Holds the candidate and the dumps it was mixed from.
        candidate: What to count.
        document: An id to prove the place of.
        each: Takes the leaves, canonical JSON, in their order.
        progress: Told how far this is.

    Returns:
        What the rows say.

    Raises:
        DamagedDataError: Bytes were changed, or the rows are not those that a ledger or a share tells of.
        UsageError: The mix that made the candidate is older than this way of counting.
    """
    chain = _Chain.of(store, candidate)
    reader = _Reader(store, sum(shard.bytes for shard in {*chain.shards()}), progress)
    counts = _Counts(candidate, chain)
    tree, found = Tree(), []
    for table in _leaf_tables(reader, candidate, chain, counts):
        leaves = leaf_lines(table)
        counts.follow(leaves)
        for row in _rows_of(table, document):
            tree.want(tree.size + row)
            found.append((tree.size + row, leaves[row]))
        tree.extend(leaves)
        if each:
            each(leaves)
    for shard in chain.shards():
        reader.verify(shard)
    steps = counts.checked()
    proofs = tuple(Proof(index, leaf, tuple(tree.path(index))) for index, leaf in found)
    return Account(tree.root(), tree.size, dict(counts.shares), steps, len(reader.seen), reader.bytes, proofs)


def leaf_lines(table: pa.Table) -> list[bytes]:
    """The leaves of rows of LEAF: each the canonical JSON (RFC 8785) of one document."""
    if not table.num_rows:
        return []
    parts: list[Any] = []
    for name in LEAF.names:
        parts += [f'{"," if parts else "{"}"{name}":', _json_texts(table[name])]
    joined = pc.binary_join_element_wise(*parts, "}", "")
    lines: list[bytes] = joined.cast(pa.large_binary()).to_pylist()
    return lines


def _json_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Each value as JSON; value by value only where one has a character that must be escaped."""
    if column.type != pa.string():
        texts = column.cast(pa.string())
    elif pc.any(pc.match_substring_regex(column, _MUST_ESCAPE)).as_py():
        texts = pa.chunked_array(
            [pa.array([orjson.dumps(value).decode() for value in column.to_pylist()], pa.string())]
        )
    else:
        texts = pc.binary_join_element_wise('"', column, '"', "")
    return pc.fill_null(texts, "null")


def _rows_of(table: pa.Table, document: str | None) -> list[int]:
    if document is None:
        return []
    places: list[int] = pc.indices_nonzero(pc.fill_null(pc.equal(table["id"], document), False)).to_pylist()  # noqa: FBT003
    return places


@dataclass(frozen=True)
class _Chain:
    """The manifests behind a candidate: for each dump of the pool, sifted, measured and documents."""

    candidate: Snapshot
    dumps: tuple[tuple[Snapshot, Snapshot, Snapshot], ...]

    @classmethod
    def of(cls, store: Store, candidate: Snapshot) -> _Chain:
        """Find them in a store; the reservoir, which lies elsewhere, is not among them."""
        parents = [parent for parent in candidate.parents if parent.name.split("/")[1:2] == ["sifted"]]
        return cls(candidate, tuple(_dump(store, parent) for parent in parents))

    def shards(self) -> Iterator[Shard]:
        """Every shard of every step."""
        yield from self.candidate.shards
        for dump in self.dumps:
            for snapshot in dump:
                yield from snapshot.shards


def _dump(store: Store, parent: Parent) -> tuple[Snapshot, Snapshot, Snapshot]:
    sifted = find_digest(store, parent)
    measured = find_digest(store, sifted.parents[0])
    return sifted, measured, find_digest(store, measured.parents[0])


class _Reader:
    """Reads shards verified, and knows which."""

    def __init__(self, store: Store, total: int, progress: Progress | None) -> None:
        self._store = store
        self._total = total
        self._progress = progress
        self.seen: set[str] = set()
        self.bytes = 0

    def table(self, shard: Shard, columns: Sequence[str]) -> pa.Table:
        """Read columns of a shard."""
        file = pq.ParquetFile(pa.BufferReader(self._read(shard)))  # twice as fast as read_table
        return file.read(columns=list(columns), use_threads=False)

    def verify(self, shard: Shard) -> None:
        """Hash a shard that was not read yet."""
        if shard.key not in self.seen:
            self._read(shard)

    def _read(self, shard: Shard) -> bytes:
        data = read_verified(self._store, shard)
        if shard.key not in self.seen:
            self.seen.add(shard.key)
            self.bytes += shard.bytes
        if self._progress:
            self._progress(self.bytes, self._total)
        return data


@dataclass
class _Counts:
    """What was counted, to be compared with what the manifests say."""

    candidate: Snapshot
    chain: _Chain
    shares: Counter[str] = field(default_factory=Counter)
    rows: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)
    offered: Counter[str] = field(default_factory=Counter)
    kept: HASH = field(default_factory=hashlib.sha256)
    taken: HASH = field(default_factory=hashlib.sha256)

    def add(self, snapshot: Snapshot, counts: Counter[tuple[str, str]]) -> None:
        """Count documents of a step by disposition and reason."""
        self.rows.setdefault(snapshot.name, Counter()).update(counts)

    def follow(self, leaves: Sequence[bytes]) -> None:
        """Take in which documents are kept; leaves come by disposition, so the first of some tells of all."""
        if leaves and leaves[0].startswith(b'{"disposition":"kept"'):
            self.kept.update(b"\n".join([*leaves, b""]))

    def take(self, offers: pa.Table) -> None:
        """Take in which documents the mix says that it took."""
        self.taken.update(b"\n".join([*leaf_lines(_kept_leaves(offers)), b""]))

    def checked(self) -> tuple[Mapping[str, Any], ...]:
        """Every step with the ledger that its rows give; DamagedDataError where its manifest says another."""
        self._check_shares()
        self._check_offers()
        snapshots = [self.candidate, *(step for dump in self.chain.dumps for step in dump)]
        return tuple(self._step(snapshot) for snapshot in snapshots)

    def _step(self, snapshot: Snapshot) -> Mapping[str, Any]:
        found = self.rows.get(snapshot.name, Counter())
        by_reason: dict[str, dict[str, int]] = {disposition: {} for disposition in DISPOSITIONS}
        for (disposition, reason), count in found.items():
            by_reason[disposition][reason] = count
        # What was no document when it was read, such as a request in a WARC, has no row: the count is the manifest's.
        dropped = snapshot.ledger.dropped if snapshot.kind == "documents" else by_reason["dropped"]
        kept, review = (sum(by_reason[name].values()) for name in ("kept", "review"))
        came_in = kept + review + sum(dropped.values()) + sum(by_reason["quarantined"].values())
        ledger = Ledger(came_in, kept, review, dropped, by_reason["quarantined"]).to_json()
        if ledger != snapshot.ledger.to_json():
            raise DamagedDataError(
                f"{snapshot.name}: the ledger says {snapshot.ledger.to_json()}, but the rows are {ledger}; "
                "it tells of other documents than there are"
            )
        return {**vars(snapshot.as_parent()), "kind": snapshot.kind, "ledger": ledger}

    def _check_shares(self) -> None:
        said = self.candidate.details["tokens_by_origin"]
        if dict(self.shares) != said:
            raise DamagedDataError(
                f"{self.candidate.name}: the manifest says {said} tokens by origin, its rows have {dict(self.shares)}"
            )

    def _check_offers(self) -> None:
        if self.candidate.with_role("selection") and self.taken.digest() != self.kept.digest():
            raise DamagedDataError(f"{self.candidate.name}: the mix took other documents than the candidate holds")
        for sifted, _, _ in self.chain.dumps:
            offered = self.offered[str(sifted.details["dump"])]
            if offered != sifted.ledger.kept:
                raise DamagedDataError(
                    f"{self.candidate.name}: {sifted.name} kept {sifted.ledger.kept:,} documents, the mix names "
                    f"{offered:,} of that dump; each must be taken or left out by name"
                )


def _leaf_tables(reader: _Reader, candidate: Snapshot, chain: _Chain, counts: _Counts) -> Iterator[pa.Table]:
    """All leaves: what is released in its order, what the mix left out, then each dump's rest in its order."""
    for shard in candidate.with_role("documents"):
        yield _kept(reader, shard, candidate, counts)
    for shard in candidate.with_role("selection"):
        yield _left_out(reader, shard, candidate, counts)
    for sifted, measured, documents in chain.dumps:
        texts = documents.with_role("documents")
        for verdicts, facts, text in zip(sifted.shards, measured.shards, texts, strict=True):
            yield _not_kept(reader, (verdicts, facts, text), sifted, counts)
            for step, shard in ((measured, facts), (documents, text)):
                counts.add(step, Counter({("kept", ""): shard.rows}))
        for shard in documents.with_role("quarantine"):
            yield _quarantined(reader, shard, documents, counts)


def _kept(reader: _Reader, shard: Shard, candidate: Snapshot, counts: _Counts) -> pa.Table:
    table = reader.table(shard, _KEPT)
    if not text_digests(table["text"]).equals(table["text_sha256"].combine_chunks()):
        raise DamagedDataError(f"{candidate.name}: {shard.key} names a document by the digest of another text")
    counts.add(candidate, Counter({("kept", ""): table.num_rows}))
    tokens = table.group_by("origin").aggregate([("tokens", "sum")])
    counts.shares.update(dict(zip(tokens["origin"].to_pylist(), tokens["tokens_sum"].to_pylist(), strict=True)))
    return _kept_leaves(table)


def _left_out(reader: _Reader, shard: Shard, candidate: Snapshot, counts: _Counts) -> pa.Table:
    table = reader.table(shard, [*_OFFERED, "rule", "stratum", "dump"])
    if "source" not in table.column_names:
        raise UsageError(
            f"{candidate.name}: it was mixed as {candidate.schema}, which does not say where the documents that were "
            "left out came from; mix it again"
        )
    pool = table.filter(pc.not_equal(table["stratum"], HUMAN))
    counts.offered.update(pool["dump"].to_pylist())
    counts.take(table.filter(pc.is_null(table["rule"])))
    table = table.filter(pc.is_valid(table["rule"]))
    counts.add(candidate, Counter(("dropped", rule) for rule in table["rule"].to_pylist()))
    digests = _hexadecimal(table["text_sha256"])
    return _leaves(table, disposition="dropped", reason=table["rule"], sha256=digests)


def _not_kept(reader: _Reader, shards: tuple[Shard, Shard, Shard], sifted: Snapshot, counts: _Counts) -> pa.Table:
    """What sifting kept is a leaf of the mix, taken or left out; the rest ends here."""
    verdicts = reader.table(shards[0], ["id", "verdict", "rule"])
    words = {"keep": "kept", "drop": "dropped", "review": "review"}
    pairs = zip(verdicts["verdict"].to_pylist(), verdicts["rule"].to_pylist(), strict=True)
    counts.add(sifted, Counter((words[verdict], rule or "") for verdict, rule in pairs))
    rest = pc.not_equal(verdicts["verdict"], "keep")
    facts = reader.table(shards[1], ["tokens", "origin", "text_sha256"]).filter(rest)
    source = reader.table(shards[2], ["source"]).filter(rest)["source"]
    verdicts = verdicts.filter(rest)
    word = pc.replace_substring_regex(verdicts["verdict"], "^drop$", "dropped")
    digests = _hexadecimal(facts["text_sha256"])
    named = facts.append_column("id", verdicts["id"])
    return _leaves(named, disposition=word, reason=verdicts["rule"], sha256=digests, source=source)


def _quarantined(reader: _Reader, shard: Shard, documents: Snapshot, counts: _Counts) -> pa.Table:
    table = reader.table(shard, ["file", "offset", "records", "reason", "sha256"])
    for reason, records in zip(table["reason"].to_pylist(), table["records"].to_pylist(), strict=True):
        counts.add(documents, Counter({("quarantined", reason): records}))
    place = pc.binary_join_element_wise(table["file"], table["offset"].cast(pa.string()), ":")
    table = table.append_column("id", place)
    return _leaves(table, disposition="quarantined", source=table["file"], origin=None, tokens=None)


def _kept_leaves(table: pa.Table) -> pa.Table:
    return _leaves(table, disposition="kept", reason=None, sha256=_hexadecimal(table["text_sha256"]))


def _leaves(table: pa.Table, **columns: Any) -> pa.Table:  # noqa: ANN401 - a column, a word for all rows, or null
    """Rows of LEAF: columns of a table, or what is said instead of them."""
    found = {name: columns[name] if name in columns else table[name] for name in LEAF.names}
    arrays = [
        pa.repeat(pa.scalar(value, kind.type), table.num_rows) if value is None or isinstance(value, str) else value
        for kind, value in zip(LEAF, found.values(), strict=True)
    ]
    return pa.table(arrays, names=LEAF.names).cast(LEAF)


def _hexadecimal(digests: pa.ChunkedArray) -> pa.Array:
    return pa.array([None if digest is None else digest.hex() for digest in digests.to_pylist()], pa.string())
