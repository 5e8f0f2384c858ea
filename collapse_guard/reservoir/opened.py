"""A reservoir that was opened: what mixes, baselines and classifiers read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from collapse_guard.reservoir.protection import pinned
from collapse_guard.reservoir.rules import pending_of
from collapse_guard.reservoir.states import ADMITTED, EVALUATION, HUMAN, TOMBSTONES, read_statement, read_states
from collapse_guard.snapshot import find_digest, read_shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.attestation import PublicKey
    from collapse_guard.reservoir.rules import Pending
    from collapse_guard.snapshot import Parent, Shard, Snapshot
    from collapse_guard.store import Store


@dataclass(frozen=True)
class Reservoir:
    """An opened reservoir: its states are signed by trusted keys, and every read is verified by digest."""

    store: Store
    snapshot: Snapshot
    trusted: tuple[PublicKey, ...]

    def at(self, parent: Parent) -> Reservoir:
        """The state of the reservoir that a snapshot was made from, its signature verified again."""
        snapshot = find_digest(self.store, parent)
        read_statement(self.store, snapshot, self.trusted)
        return Reservoir(pinned(self.store, snapshot), snapshot, self.trusted)

    @property
    def tokens(self) -> int:
        """Tokens that can be mixed, each document once."""
        return int(self.snapshot.details["tokens"][HUMAN])

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What was admitted and is in no split yet."""
        return pending_of(self.snapshot.details)

    def states(self) -> list[Snapshot]:
        """Every state up to this one, oldest first; each is named by the digest that the signed one after it holds."""
        states = read_states(self.store)
        return states[: states.index(self.snapshot) + 1]

    def shards(self, split: str) -> list[tuple[Shard, Shard]]:
        """The text shards of a split, each with its index shard."""
        texts, indexes = self.snapshot.with_role(split), self.snapshot.with_role(f"{split}_index")
        return list(zip(texts, indexes, strict=True))

    def index(self, split: str) -> Iterator[pa.Table]:
        """Read the index of a split: `id, text_sha256, tokens, captured_at, domain, licence`."""
        return (read_shard(self.store, index) for _, index in self.shards(split))

    def texts(self, split: str) -> Iterator[pa.Table]:
        """Read the documents of a split."""
        return (read_shard(self.store, shard) for shard, _ in self.shards(split))

    def evaluation(self) -> pa.Table:
        """Columns `id` and `text_sha256` of every document that no mix may hold, those still pending included."""
        shards = [*self.snapshot.with_role(f"{EVALUATION}_index")]
        shards += self.snapshot.with_role(f"pending_{EVALUATION}_index")
        schema = pa.schema([ADMITTED.field("id"), ADMITTED.field("text_sha256")])
        tables = (read_shard(self.store, shard, schema.names).cast(schema) for shard in shards)
        return pa.concat_tables([schema.empty_table(), *tables])

    def tombstones(self) -> Iterator[pa.Table]:
        """Read which documents are offered no longer: `id, text_sha256, tokens, split, reason, by, because, at`."""
        return (read_shard(self.store, shard) for shard in self.snapshot.with_role(TOMBSTONES))
