"""Every document that may be mixed, with the facts that decide."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.canonical import sha256_hex
from collapse_guard.dedup import EVALUATION_RANK, SIGNATURE, Clusters, signed
from collapse_guard.document import EDITED, HUMAN_PRESUMED, HUMAN_VERIFIED, ORIGINS, SYNTHETIC, UNKNOWN
from collapse_guard.errors import PolicyError
from collapse_guard.mix.counting import reservoir_counts
from collapse_guard.mix.plan import POOL
from collapse_guard.mix.quoting import HELD_OUT, Texts, find_quotations
from collapse_guard.policy import POOL_KINDS
from collapse_guard.reservoir import ADMITTED_WITH, EVALUATION, HUMAN
from collapse_guard.selection import priorities, weighted
from collapse_guard.sift import aligned_sources, compared_by, copy_rules
from collapse_guard.snapshot import read_shard
from collapse_guard.spill import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from collapse_guard.policy import Dedup, Mix, Near, Policy
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Shard, Snapshot
    from collapse_guard.store import Store

VERIFIED_RANK = ORIGINS.index(HUMAN_VERIFIED)
OVERLAP = "evaluation_overlap"
TOMBSTONE = "tombstone:"
_KIND_OF = {HUMAN_VERIFIED: HUMAN_PRESUMED, EDITED: SYNTHETIC}
_FACTS = ["id", "text_sha256", "tokens", "captured_at", "origin", "domain", "language", "licence"]
_TYPES = {"origin": pa.string(), "domain": pa.string(), "language": pa.string(), "licence": pa.string()}
_CHOICE = ["priority", "id", "text_sha256", "size", "kind", "floor"]


@dataclass(frozen=True)
class Source:
    """One shard of documents that may be mixed, and the shards that hold the facts about them."""

    store: Store
    stratum: str
    dump: str
    text: Shard
    facts: Shard
    verdicts: Shard | None = None
    counts: Shard | None = None
    counts_store: Store | None = None

    def offers(self) -> pa.Table:
        """Read the facts of the documents that sifting kept, with the row of each in the text shard."""
        facts = read_shard(self.store, self.facts)
        if self.verdicts is None:
            facts = facts.append_column("origin", pa.repeat(pa.scalar(HUMAN_VERIFIED), facts.num_rows))
        if self.counts is not None and self.counts_store is not None:
            facts = _replaced(facts, read_shard(self.counts_store, self.counts))
        table = pa.table({name: _column(facts, name) for name in _FACTS})
        table = table.append_column("row", pa.array(np.arange(facts.num_rows, dtype=np.int64)))
        return table if self.verdicts is None else table.filter(self._kept(self.verdicts))

    def _kept(self, verdicts: Shard) -> pa.ChunkedArray:
        return pc.equal(read_shard(self.store, verdicts, ["verdict"])["verdict"], "keep")

    def compared(self, dedup: Dedup) -> pa.Table:
        """Read what the same documents are compared by."""
        facts = read_shard(self.store, self.facts)
        if self.verdicts is not None:
            return compared_by(facts.filter(self._kept(self.verdicts)), dedup)
        rank = EVALUATION_RANK if self.stratum == EVALUATION else VERIFIED_RANK
        return compared_by(self._signed(facts, dedup.near), dedup, rank=rank)

    def _signed(self, facts: pa.Table, near: Near | None) -> pa.Table:
        """Documents of the reservoir with the signatures of this policy; kept ones where they fit."""
        if near is None or (near.bands, near.rows, near.ngram) == ADMITTED_WITH:
            return facts
        facts = facts.drop_columns([*SIGNATURE])
        for name, column in signed(read_shard(self.store, self.text, ["text"])["text"], near).items():
            facts = facts.append_column(name, column)
        return facts

    def texts(self, rows: pa.ChunkedArray) -> pa.ChunkedArray:
        """Read the texts of some rows."""
        return read_shard(self.store, self.text, ["text"])["text"].take(rows)

    def offered_texts(self) -> pa.ChunkedArray:
        """Read the texts of the documents that sifting kept."""
        texts = read_shard(self.store, self.text, ["text"])["text"]
        return texts if self.verdicts is None else texts.filter(self._kept(self.verdicts))


def _column(facts: pa.Table, name: str) -> pa.ChunkedArray:
    if name in facts.column_names:
        return facts[name]
    return pa.chunked_array([pa.nulls(facts.num_rows, _TYPES.get(name, pa.null()))])


def _replaced(facts: pa.Table, counted: pa.Table) -> pa.Table:
    kept = facts.drop_columns([name for name in counted.column_names if name in facts.column_names])
    for name in counted.column_names:
        kept = kept.append_column(name, counted[name])
    return kept


class Offers:
    """Every document that may be mixed, shard by shard; a copy of another is offered but never eligible."""

    def __init__(
        self, store: Store, reservoir: Reservoir, pool: Sequence[Snapshot], policy: Policy, scratch: Path
    ) -> None:
        """Look at the sources, and put what decides about each document into the scratch folder.

        Args:
            store: Holds the pool; receives the counts of the reservoir's tokens, where the policy names a tokenizer.
            reservoir: Its evaluation split takes part in finding copies, so that no copy of it is mixed.
            pool: Sifted snapshots.
            policy: What counts as a copy, what is too near to the evaluation split, and the mix.
            scratch: A folder for finding copies, and for the facts.
        """
        self._wanted = policy.mix
        self.by, self.seed = policy.mix.by, policy.mix.seed
        self.sources = [
            *_guarded(store, reservoir, policy),
            *(source for snapshot in pool for source in _pool_sources(store, snapshot)),
        ]
        self._tombstones = read_tombstones(policy)
        dedup, split = policy.dedup, policy.mix.evaluation_split
        quotes = find_quotations(reservoir, split, self._texts) if split else []
        self._quotes = dict(zip(self._asked(), quotes, strict=False))
        compared = Replay((source.compared(dedup) for source in self.sources), scratch / "compared")
        rows = sum(source.facts.rows for source in self.sources)
        self._copies = Clusters(compared, rows=rows, near=dedup.near, scratch=scratch)
        pa.default_memory_pool().release_unused()  # else it keeps for good what comparing documents needed
        self._tables = Replay(map(self._decided, range(len(self.sources))), scratch / "offers")

    def table(self, index: int) -> pa.Table:
        """The offers of one source: facts, `row`, `size`, `kind`, `floor`, `priority`, and in `refused` why not."""
        return self._tables[index]

    def _decided(self, index: int) -> pa.Table:
        source = self.sources[index]
        offers = source.offers()
        found = self._copies.in_shard(index, offers.num_rows)
        copy = pc.is_valid(found["duplicate_of"])
        if source.stratum == HUMAN:  # the reservoir is protected: a document gives way to the evaluation split alone
            copy = pc.and_(copy, pc.fill_null(pc.equal(found["kept_rank"], EVALUATION_RANK), False))  # noqa: FBT003
        columns = {
            "duplicate_of": pc.if_else(copy, found["duplicate_of"], pa.scalar(None, pa.string())),
            "cluster": found["cluster"],
            "similarity": pc.if_else(copy, found["similarity"], pa.scalar(None, pa.float64())),
            "refused": pc.coalesce(
                self._buried(source, offers),
                pc.if_else(copy, copy_rules(found["match"]), pa.scalar(None, pa.string())),
                self._quoting(index, offers.num_rows),
            ),
            "size": _sizes(source, offers, self._wanted),
            "kind": pa.array(_kinds(offers["origin"])),
            "floor": pa.array(_floors(offers, self._wanted)),
            "priority": pa.array(_ranks(source, offers, self._wanted, 0)),
        }
        for name, column in columns.items():
            offers = offers.append_column(name, column)
        return offers.combine_chunks()

    def _buried(self, source: Source, offers: pa.Table) -> pa.ChunkedArray:
        """Why a document of the pool lies under a tombstone; the reservoir offers none that does."""
        if source.stratum != POOL or not self._tombstones:
            return pa.chunked_array([pa.nulls(offers.num_rows, pa.string())])
        reasons = pa.array([TOMBSTONE + reason for reason in self._tombstones.values()])
        return reasons.take(pc.index_in(offers["id"], pa.array(list(self._tombstones))))

    def _asked(self) -> list[int]:
        """The places of the sources that may be mixed."""
        return [index for index, source in enumerate(self.sources) if source.stratum in {HUMAN, POOL}]

    def _texts(self) -> Iterator[Texts]:
        sources = (self.sources[index] for index in self._asked())
        for source in sources:
            texts = source.offered_texts()
            yield Texts(texts, np.full(len(texts), source.stratum == HUMAN))
            pa.default_memory_pool().release_unused()

    def _quoting(self, index: int, rows: int) -> pa.ChunkedArray:
        found = pa.array(self._quotes.get(index, np.zeros(rows, bool)))
        return pa.chunked_array([pc.if_else(found, pa.scalar(OVERLAP), pa.scalar(None, pa.string()))])

    def rows(self, stratum: str, epoch: int = 0) -> Iterator[pa.Table]:
        """One pass over what may be taken of a stratum; see `plan.Choices`."""
        for index, source in enumerate(self.sources):
            if source.stratum == stratum:
                table = self.with_priorities(index, epoch)
                yield table.filter(pc.is_null(table["refused"])).select(_CHOICE)

    def with_priorities(self, index: int, epoch: int) -> pa.Table:
        """The offers of one source with their priorities in one use of the reservoir."""
        table = self.table(index)
        if epoch == 0:
            return table
        ranks = pa.array(_ranks(self.sources[index], table, self._wanted, epoch))
        return table.set_column(table.column_names.index("priority"), "priority", ranks)

    def supply(self, stratum: str) -> NDArray[np.int64]:
        """How much may be taken, by kind and floor."""
        found = np.zeros((len(POOL_KINDS), len(self._wanted.floors) + 1), np.int64)
        for rows in self.rows(stratum):
            np.add.at(found, (rows["kind"].to_numpy(), rows["floor"].to_numpy()), rows["size"].to_numpy())
        return found


def _guarded(store: Store, reservoir: Reservoir, policy: Policy) -> Iterator[Source]:
    counted = reservoir_counts(store, reservoir, policy)
    shards = reservoir.shards(HUMAN)
    counts = counted.shards if counted else [None] * len(shards)
    for (text, index), count in zip(shards, counts, strict=True):
        yield Source(reservoir.store, HUMAN, "", text, index, counts=count, counts_store=store)
    for split in HELD_OUT:
        yield from (Source(reservoir.store, EVALUATION, "", text, index) for text, index in reservoir.shards(split))


def _pool_sources(store: Store, sifted: Snapshot) -> Iterator[Source]:
    measured, documents = aligned_sources(store, sifted)
    dump = str(sifted.details["dump"])
    texts = documents.with_role("documents")
    for text, facts, verdicts in zip(texts, measured.shards, sifted.shards, strict=True):
        yield Source(store, POOL, dump, text, facts, verdicts)


def read_tombstones(policy: Policy) -> Mapping[str, str]:
    """The documents of the pool that may never be mixed again, and why.

    Args:
        policy: Its `mix.tombstones` names a CSV file with the columns `id` and `reason`.

    Returns:
        A reason for each id.

    Raises:
        PolicyError: The file is missing, was changed since the policy was read, or a line of it says no id or reason.
    """
    said = policy.mix.tombstones
    if said is None:
        return {}
    path = policy.folder / said
    try:
        content = path.read_bytes()
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise PolicyError(f"{path}: the tombstones cannot be read ({error})") from None
    if policy.mix.tombstones_sha256 not in {None, sha256_hex(content)}:
        raise PolicyError(f"{path}: it changed since the policy was read; load the policy again")
    for number, row in enumerate(rows, 2):
        if not row.get("id") or not row.get("reason"):
            raise PolicyError(f"{path}, line {number}: a tombstone needs `id` and `reason`, in a file that starts so")
    return {row["id"]: row["reason"] for row in rows}


def _sizes(source: Source, offers: pa.Table, wanted: Mix) -> pa.ChunkedArray:
    if wanted.by == "tokens":
        return offers["tokens"].cast(pa.int64())
    if wanted.by == "documents":
        return pa.chunked_array([pa.repeat(pa.scalar(1, pa.int64()), offers.num_rows)])
    return pc.binary_length(source.texts(offers["row"])).cast(pa.int64())


def _kinds(origins: pa.ChunkedArray) -> NDArray[np.int8]:
    """The kind of each document; what is not known to be anything is unknown."""
    known = [*POOL_KINDS, *_KIND_OF]
    kinds = np.array([POOL_KINDS.index(_KIND_OF.get(origin, origin)) for origin in known], np.int8)
    places = pc.fill_null(pc.index_in(origins, pa.array(known)), known.index(UNKNOWN))
    found: NDArray[np.int8] = kinds[places.to_numpy()]
    return found


def _floors(offers: pa.Table, wanted: Mix) -> NDArray[np.int32]:
    """The first floor that each document belongs to; their number where it belongs to none."""
    floors = wanted.floors
    found = np.full(offers.num_rows, len(floors), np.int32)
    for place, (name, value, _) in reversed(list(enumerate(floors))):
        found[pc.fill_null(pc.equal(offers[name], value), False).to_numpy()] = place  # noqa: FBT003 - a null is not it
    return found


def _ranks(source: Source, offers: pa.Table, wanted: Mix, epoch: int) -> NDArray[np.uint64]:
    ranks = priorities(offers["id"], wanted.seed, epoch)
    if source.stratum != POOL or not wanted.weights:
        return ranks
    weights = np.array([wanted.weights.get(origin, 1.0) for origin in ORIGINS])  # type: ignore[call-overload]
    places = pc.fill_null(pc.index_in(offers["origin"], pa.array(ORIGINS)), ORIGINS.index(UNKNOWN))
    return weighted(ranks, weights[places.to_numpy()])
