"""Shards, ledgers and manifests: what a step made, published by one conditional create."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collapse_guard.canonical import canonical_json, json_digest, sha256_hex
from collapse_guard.errors import DamagedDataError
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from collapse_guard.store import Store

SHARD_TEXT_BYTES = 16 * 2**20
"""Text per shard. Compressed it stays far below the 64 MiB of one conditional put."""
ROW_OVERHEAD_BYTES = 256
LONG_COLUMNS = frozenset({"text", "data", "thumbnail"})
"""Columns of documents, of the quarantine and of images that are not small."""
LOG_DIGITS = 8


@dataclass(frozen=True)
class Shard:
    """One immutable Parquet file, named by the digest of its bytes.

    `role` tells the tables of one snapshot apart: documents, quarantine, evaluation, selection ...
    """

    key: str
    bytes: int
    sha256: str
    rows: int
    role: str


@dataclass(frozen=True)
class Ledger:
    """Where every document that came in went; it balances or it cannot be made."""

    came_in: int
    kept: int = 0
    review: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = (self.kept, self.review, *self.dropped.values(), *self.quarantined.values())
        accounted = sum(counts)
        if accounted != self.came_in or min(counts) < 0:
            raise DamagedDataError(
                f"the ledger does not balance: {self.came_in} came in, {accounted} are accounted for "
                f"({self.kept} kept, {self.review} review, {dict(self.dropped)} dropped, "
                f"{dict(self.quarantined)} quarantined); nothing was published"
            )

    def then(self, later: Ledger) -> Ledger:
        """The ledger of two steps together, where the second took what the first kept."""
        dropped = Counter(self.dropped) + Counter(later.dropped)
        return Ledger(self.came_in, later.kept, later.review, dropped, self.quarantined)

    @property
    def quarantined_share(self) -> float:
        """Quarantined records as a share of what came in; 0 where nothing did."""
        return sum(self.quarantined.values()) / self.came_in if self.came_in else 0.0

    def to_json(self) -> dict[str, Any]:
        """The ledger in the form of every command's `--json`."""
        return {
            "in": self.came_in,
            "kept": self.kept,
            "review": self.review,
            "dropped": dict(sorted(self.dropped.items())),
            "quarantined": dict(sorted(self.quarantined.items())),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Ledger:
        """Read a ledger back; DamagedDataError where it does not balance."""
        return cls(value["in"], value["kept"], value["review"], value["dropped"], value["quarantined"])


@dataclass(frozen=True)
class Parent:
    """The snapshot that another was made from: the name of its log and its digest."""

    name: str
    digest: str


@dataclass(frozen=True)
class Snapshot:
    """A manifest: immutable shards, where they came from, and the ledger of counts."""

    name: str
    kind: str
    schema: str
    parents: tuple[Parent, ...]
    shards: tuple[Shard, ...]
    ledger: Ledger
    policy_digest: str | None
    code_version: str
    run_key: str
    details: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The manifest as plain JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "schema": self.schema,
            "parents": [vars(parent) for parent in self.parents],
            "shards": [vars(shard) for shard in self.shards],
            "ledger": self.ledger.to_json(),
            "policy_digest": self.policy_digest,
            "code_version": self.code_version,
            "run_key": self.run_key,
            "details": dict(self.details),
        }

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Snapshot:
        """Read a manifest.

        Args:
            data: Its bytes.
            where: Its key, for the error.

        Returns:
            The snapshot.

        Raises:
            DamagedDataError: The bytes are no manifest in canonical form.
        """
        try:
            value = json.loads(data)
            snapshot = cls(
                **{key: value[key] for key in ("name", "kind", "schema", "policy_digest", "code_version", "run_key")},
                parents=tuple(Parent(**parent) for parent in value["parents"]),
                shards=tuple(Shard(**shard) for shard in value["shards"]),
                ledger=Ledger.from_json(value["ledger"]),
                details=value["details"],
            )
            canonical = canonical_json(snapshot.to_json())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedDataError(f"{where} is no manifest ({error}); restore it from a copy") from None
        if canonical != data:
            raise DamagedDataError(f"{where} is not in canonical form: it was changed after it was published")
        return snapshot

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: the name of exactly these bytes."""
        return json_digest(self.to_json())

    def as_parent(self) -> Parent:
        """How a snapshot made from this one cites it."""
        return Parent(self.name, self.digest)

    def sibling(self, step: str) -> str:
        """The name of the log that another step keeps about the same corpus and dump."""
        corpus, _, dump = self.name.split("/", 2)
        return f"{corpus}/{step}/{dump}"

    def with_role(self, role: str) -> tuple[Shard, ...]:
        """The shards of one of the snapshot's tables."""
        return tuple(shard for shard in self.shards if shard.role == role)


def run_key(kind: str, parents: Sequence[Parent], policy_digest: str | None, parameters: Mapping[str, Any]) -> str:
    """Name a run by all that decides its result, so that a retry finds its own work.

    Args:
        kind: The step.
        parents: The snapshots that it reads.
        policy_digest: The policy that it follows, if any.
        parameters: Whatever else decides the result.

    Returns:
        A digest.
    """
    return json_digest(
        {
            "kind": kind,
            "parents": [vars(parent) for parent in parents],
            "policy_digest": policy_digest,
            "code_version": __version__,
            "parameters": dict(parameters),
        }
    )


def log(store: Store, name: str) -> list[str]:
    """The keys of a snapshot log, oldest first."""
    prefix = f"snapshots/{name}/"
    return [key for key in store.list(prefix) if key.removeprefix(prefix).removesuffix(".json").isdigit()]


def read_snapshot(store: Store, key: str) -> Snapshot:
    """Read the manifest under a key of a log; DamagedDataError where it was changed or swapped for another."""
    snapshot = Snapshot.from_bytes(store.read(key), key)
    if not key.startswith(f"snapshots/{snapshot.name}/"):
        raise DamagedDataError(f"{key} holds a manifest of {snapshot.name!r}; it was moved there")
    return snapshot


def latest(store: Store, name: str) -> Snapshot | None:
    """The newest snapshot of a log, or null where none was published."""
    keys = log(store, name)
    return read_snapshot(store, keys[-1]) if keys else None


def find_run(store: Store, name: str, key: str) -> Snapshot | None:
    """The snapshot that a run with this key published before, if any."""
    return _run_in(store, log(store, name), key)


def resume(store: Store, name: str, key: str) -> Snapshot | None:
    """Find what a run with this key published before, and make it the newest of its log again.

    Going back to an earlier input or policy thus goes back to its result, and publishes nothing where it is the newest.

    Args:
        store: Where the log lies.
        name: The log.
        key: The run's key.

    Returns:
        The snapshot, or null where the run never finished.
    """
    while True:
        entries = log(store, name)
        earlier = _run_in(store, entries, key)
        if earlier is None or read_snapshot(store, entries[-1]).run_key == key:
            return earlier
        if append(store, earlier, _last_number(entries) + 1):
            return earlier


def _run_in(store: Store, entries: Sequence[str], key: str) -> Snapshot | None:
    found = (read_snapshot(store, entry) for entry in reversed(entries))
    return next((snapshot for snapshot in found if snapshot.run_key == key), None)


def find_digest(store: Store, parent: Parent) -> Snapshot:
    """The snapshot that a parent names.

    Args:
        store: Where its log lies.
        parent: Its name and digest.

    Returns:
        The snapshot.

    Raises:
        DamagedDataError: The log does not hold it.
    """
    found = (read_snapshot(store, entry) for entry in reversed(log(store, parent.name)))
    snapshot = next((snapshot for snapshot in found if snapshot.digest == parent.digest), None)
    if snapshot is None:
        raise DamagedDataError(f"{store.root}: snapshot {parent.digest} of {parent.name!r} is missing or was changed")
    return snapshot


def publish(store: Store, snapshot: Snapshot) -> Snapshot:
    """Append a snapshot to its log; whoever loses a race against the same run reads the winner.

    Args:
        store: Where the shards already lie.
        snapshot: The manifest to publish.

    Returns:
        What the log now holds for this run.
    """
    while True:
        entries = log(store, snapshot.name)  # listed once: whatever is published after it takes the place wanted here
        earlier = _run_in(store, entries, snapshot.run_key)
        if earlier is not None:
            return earlier
        if append(store, snapshot, _last_number(entries) + 1):
            return snapshot


def append(store: Store, snapshot: Snapshot, number: int) -> bool:
    """Put a snapshot at one place of its log; false where the place is taken."""
    key = f"snapshots/{snapshot.name}/{number:0{LOG_DIGITS}d}.json"
    return store.put_if_absent(key, canonical_json(snapshot.to_json())) == "created"


def _last_number(entries: Sequence[str]) -> int:
    return int(entries[-1].removesuffix(".json")[-LOG_DIGITS:]) if entries else 0


def write_shard(store: Store, table: pa.Table, role: str) -> Shard:
    """Store a table as one Parquet shard under the digest of its bytes."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", compression_level=1, use_dictionary=False, write_statistics=False)
    data = buffer.getvalue().to_pybytes()
    digest = sha256_hex(data)
    key = f"shards/{digest[:2]}/{digest}.parquet"
    store.put_if_absent(key, data)
    return Shard(key=key, bytes=len(data), sha256=digest, rows=table.num_rows, role=role)


def read_verified(store: Store, shard: Shard) -> bytes:
    """Read a shard's bytes.

    Args:
        store: Where it lies.
        shard: Its key, size and digest.

    Returns:
        Exactly the bytes that were published.

    Raises:
        DamagedDataError: They are missing or are not the bytes that were published.
    """
    data = store.read(shard.key)
    if len(data) != shard.bytes or hashlib.sha256(data).hexdigest() != shard.sha256:
        raise DamagedDataError(
            f"{store.root}: {shard.key} was changed after it was published ({len(data):,} bytes found, "
            f"{shard.bytes:,} expected, digest differs); restore it from a copy or run the step again"
        )
    return data


def read_shard(store: Store, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a shard as a table, after its digest was verified."""
    return pq.read_table(pa.BufferReader(read_verified(store, shard)), columns=columns, use_threads=False)


class ShardWriter:
    """Cuts a stream of tables into shards at places that depend on the rows alone, not on how they arrived."""

    def __init__(self, store: Store, role: str, *, index: Sequence[str] = ()) -> None:
        """Start writing.

        Args:
            store: Where shards go.
            role: The table that the shards belong to.
            index: Columns to store once more beside each shard, under the role `<role>_index`, so that a reader of
                them need not read text.
        """
        self._store = store
        self._role = role
        self._index = list(index)
        self._waiting: list[pa.Table] = []
        self._bytes = 0
        self.shards: list[Shard] = []

    def write(self, table: pa.Table) -> None:
        """Add rows; every shard that becomes full is stored."""
        while table.num_rows:
            sizes = np.cumsum(self._row_sizes(table))
            room = SHARD_TEXT_BYTES - self._bytes
            count = int(np.searchsorted(sizes, room, side="left")) + 1
            self._waiting.append(table.slice(0, count))
            self._bytes += int(sizes[min(count, len(sizes)) - 1])
            table = table.slice(count)
            if self._bytes >= SHARD_TEXT_BYTES:
                self._store_waiting()

    def close(self) -> list[Shard]:
        """Store what is left and return all shards."""
        if self._waiting:
            self._store_waiting()
        return self.shards

    def _store_waiting(self) -> None:
        table = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting, self._bytes = [], 0
        self.shards.append(write_shard(self._store, table, self._role))
        if self._index:
            self.shards.append(write_shard(self._store, table.select(self._index), f"{self._role}_index"))
        pa.default_memory_pool().release_unused()  # else the pool keeps the most that any shard needed, for good

    def _row_sizes(self, table: pa.Table) -> np.ndarray:
        sizes = np.full(table.num_rows, ROW_OVERHEAD_BYTES, np.int64)
        for name in LONG_COLUMNS & set(table.column_names):
            lengths = pc.fill_null(pc.binary_length(table[name]), 0)
            sizes += lengths.to_numpy().astype(np.int64)
        return sizes


def rows_agree(snapshot: Snapshot, role: str, expected: int) -> bool:
    """Say whether the shards of a role hold as many rows as a ledger says."""
    return sum(shard.rows for shard in snapshot.with_role(role)) == expected


def unreferenced(store: Store) -> Iterator[str]:
    """Yield what a crash left behind: staged files and shards that no published snapshot names."""
    yield from store.list("staging/")
    referenced = {shard.key for key in store.list("snapshots/") for shard in read_snapshot(store, key).shards}
    yield from (key for key in store.list("shards/") if key not in referenced)


def sweep(store: Store) -> list[str]:
    """Delete what crashes left behind; run it only while no step is writing to the store.

    Args:
        store: Where to clean up.

    Returns:
        The keys that were removed.
    """
    removed = list(unreferenced(store))
    for key in removed:
        store.delete(key)
    store.clear_staging()
    return removed


def read_rows(store: Store, shards: Iterable[Shard], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read shards one after the other."""
    return (read_shard(store, shard, columns) for shard in shards)
