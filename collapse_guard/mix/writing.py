"""Write a candidate: its documents in order of priority, and what became of every offer."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.document import DOCUMENT, EDITED, HUMAN_PRESUMED, SYNTHETIC
from collapse_guard.mix.plan import POOL, TAKE_NOTHING
from collapse_guard.mix.profiled import CandidateProfile
from collapse_guard.mix.usage import Usage
from collapse_guard.reservoir import HUMAN
from collapse_guard.selection import priorities
from collapse_guard.snapshot import Ledger, ShardWriter, read_shard
from collapse_guard.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from collapse_guard.mix.offers import Offers, Source
    from collapse_guard.mix.plan import Plan
    from collapse_guard.snapshot import Shard, Snapshot
    from collapse_guard.store import Store

OVER_BUDGET = "over_budget"
OVER_SHARE = "over_share"
BUCKET_BYTES = 24_000_000
"""One bucket of the sorted mix is in memory at a time."""
TOKEN_BYTES, ROW_BYTES = 6, 400
"""About what a token of a document takes that is mixed, and the rest of any offer."""
PLACE_BITS = 16

_FACTS = [
    pa.field("text_sha256", pa.binary()),
    pa.field("origin", pa.string()),
    pa.field("stratum", pa.string()),
    pa.field("dump", pa.string()),
    pa.field("epoch", pa.int16()),
]
_COPY = [pa.field("duplicate_of", pa.string()), pa.field("cluster", pa.string()), pa.field("similarity", pa.float64())]
_DECISION = [pa.field("rule", pa.string()), *_COPY]
CANDIDATE = pa.schema([*DOCUMENT, *_FACTS])
SELECTION = pa.schema([*(DOCUMENT.field(name) for name in ("id", "source", "tokens")), *_FACTS, *_DECISION])
"""Every offered document; `rule` is null where it was taken, else says why not."""
INDEX = ["id", "tokens", *(field.name for field in _FACTS)]
_SPILLED = pa.schema(
    [
        *(field.with_nullable(nullable=True) for field in DOCUMENT),
        *_FACTS,
        *_DECISION,
        pa.field("size", pa.int64()),
        pa.field("priority", pa.uint64()),
    ]
)
_ORDER = [(name, "ascending") for name in ("priority", "id", "text_sha256", "epoch", "dump", "source")]
_ROLES = {SYNTHETIC: "previous_model", EDITED: "previous_model", HUMAN_PRESUMED: "fresh_human"}


class Written(NamedTuple):
    """The shards of a candidate, and what its rows add up to."""

    shards: tuple[Shard, ...]
    ledger: Ledger
    details: dict[str, Any]


def write(store: Store, offers: Offers, plan: Plan, *, newest: str, before: Snapshot | None, scratch: Path) -> Written:
    """Write the candidate that a plan chooses.

    Args:
        store: Receives the shards.
        offers: What the plan was made from.
        plan: What is taken.
        newest: The newest dump of the pool, whose documents are this generation's.
        before: The candidate of the generation before, whose uses of the reservoir are added to this one's.
        scratch: A folder for rows that wait to be sorted.

    Returns:
        The shards, the ledger, and sums recomputed from the rows that were written.
    """
    documents, selection = ShardWriter(store, "documents", index=INDEX), ShardWriter(store, "selection")
    human = [index for index, source in enumerate(offers.sources) if source.stratum == HUMAN]
    usage = Usage(store, before, sum(offers.sources[index].facts.rows for index in human), scratch / "usage")
    taken, profile = _Taken(newest), CandidateProfile()
    places = _buckets(offers, plan)
    with Spill(scratch / "mix", _SPILLED, int(places[-1]) + 1) as spill:
        for index in range(len(offers.sources)):
            uses = np.zeros(offers.table(index).num_rows, np.int16)
            for part in _parts(offers, plan, index):
                rows = _decide(offers.sources[index], part, offers.seed)
                uses += part.taken
                spill.write(rows, places[_place(rows["priority"].to_numpy())])
            if index in human:
                usage.add(offers.table(index), uses)
            pa.default_memory_pool().release_unused()  # else it grows with every shard, up to several times the largest
        spill.close()
        for bucket in range(spill.buckets):
            rows = spill.read(bucket)
            rows = rows.take(pc.sort_indices(rows, sort_keys=_ORDER))
            taken.add(rows)
            selection.write(rows.select(SELECTION.names).cast(SELECTION))
            mixed = rows.filter(pc.is_null(rows["rule"])).select(CANDIDATE.names).cast(CANDIDATE)
            profile.add(mixed)
            documents.write(mixed)
            del rows  # else two buckets are in memory at a time
            pa.default_memory_pool().release_unused()
    profiled, cut = profile.write(store)
    shards = (*documents.close(), *selection.close(), *usage.close(), profiled)
    return Written(shards, taken.ledger(), {**taken.details(), **usage.details(), **cut})


class _Part(NamedTuple):
    """The offers of one source in one use of the reservoir, and what the plan says about them."""

    offers: pa.Table
    epoch: int
    taken: NDArray[np.bool_]
    allowed: NDArray[np.bool_]


def _parts(offers: Offers, plan: Plan, index: int) -> Iterator[_Part]:
    stratum = offers.sources[index].stratum
    uses = {POOL: (plan.pool,), HUMAN: plan.reservoir or (TAKE_NOTHING,)}.get(stratum, ())
    for epoch, choice in enumerate(uses):
        table = offers.with_priorities(index, epoch)
        allowed = choice.allowed(table)
        yield _Part(table, epoch, choice.chooses(table) & pc.is_null(table["refused"]).to_numpy(), allowed)


def _buckets(offers: Offers, plan: Plan) -> NDArray[np.int64]:
    """Cut the order of priorities into parts of about the same bytes: a bucket for each place."""
    # Not parts of the same length: what is mixed, and so has a text, mostly comes before what is not.
    sizes = np.zeros(1 << PLACE_BITS, np.int64)
    for index in range(len(offers.sources)):
        for part in _parts(offers, plan, index):
            places = _place(priorities(part.offers["id"], offers.seed, part.epoch))
            text = np.where(part.taken, part.offers["tokens"].to_numpy(), 0)
            np.add.at(sizes, places, TOKEN_BYTES * text + ROW_BYTES)
    ends = np.cumsum(sizes)
    return np.asarray((ends - sizes) // BUCKET_BYTES)


def _place(ranks: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (ranks >> np.uint64(64 - PLACE_BITS)).astype(np.int64)


def _decide(source: Source, part: _Part, seed: int) -> pa.Table:
    offers, epoch, taken = part.offers, part.epoch, pa.array(part.taken)
    beyond = pc.if_else(pa.array(part.allowed), pa.scalar(OVER_BUDGET), pa.scalar(OVER_SHARE))
    rule = pc.coalesce(offers["refused"], beyond)
    documents = read_shard(source.store, source.text).take(offers["row"]).select(DOCUMENT.names)
    columns = dict(zip(documents.column_names, documents.columns, strict=True))
    columns["text"] = pc.if_else(taken, documents["text"], pa.scalar(None, pa.large_string()))
    columns["tokens"] = offers["tokens"]
    repeated = {"stratum": source.stratum, "dump": source.dump, "epoch": epoch}
    facts = {
        name: pa.repeat(pa.scalar(value, _SPILLED.field(name).type), offers.num_rows)
        for name, value in repeated.items()
    }
    facts |= {name: offers[name] for name in ("text_sha256", "origin", "size")}
    facts["priority"] = pa.array(priorities(offers["id"], seed, epoch))  # weights decide what is taken, not its place
    decision = {field.name: offers[field.name] for field in _COPY}
    decision["rule"] = pc.if_else(taken, pa.scalar(None, pa.string()), rule)
    everything = {**columns, **facts, **decision}
    return pa.table({name: everything[name] for name in _SPILLED.names}, schema=_SPILLED)


class _Taken:
    """Counts of what went into the candidate, recomputed from the rows that were written."""

    def __init__(self, newest: str) -> None:
        self._newest = newest
        self._rules: Counter[str | None] = Counter()
        self._tokens: Counter[tuple[str, str, str]] = Counter()
        self._sizes: Counter[tuple[str, str, str]] = Counter()

    def add(self, selection: pa.Table) -> None:
        self._rules.update(selection["rule"].to_pylist())
        taken = selection.filter(pc.is_null(selection["rule"]))
        keys = ["stratum", "origin", "dump"]
        sums = taken.group_by(keys).aggregate([("tokens", "sum"), ("size", "sum")])
        for row in sums.to_pylist():
            key = (row["stratum"], row["origin"], row["dump"])
            self._tokens[key] += row["tokens_sum"]
            self._sizes[key] += row["size_sum"]

    def ledger(self) -> Ledger:
        dropped = {rule: count for rule, count in self._rules.items() if rule}
        return Ledger(came_in=self._rules.total(), kept=self._rules[None], dropped=dropped)

    def details(self) -> dict[str, Any]:
        strata, origins, roles = (Counter[str]() for _ in range(3))
        for (stratum, origin, dump), tokens in self._tokens.items():
            strata[stratum] += tokens
            origins[origin] += tokens
            roles[self._role(stratum, origin, dump)] += tokens
        sizes: Counter[str] = Counter()
        for (stratum, origin, _), size in self._sizes.items():
            sizes[HUMAN if stratum == HUMAN else origin] += size
        return {
            "tokens": sum(origins.values()),
            "tokens_by_stratum": dict(strata),
            "tokens_by_origin": dict(origins),
            "tokens_by_role": dict(roles),
            "shares": {name: size / sizes.total() for name, size in sizes.items()} if sizes.total() else {},
        }

    def _role(self, stratum: str, origin: str, dump: str) -> str:
        """What tokens are to this generation: fresh human text, the last model's output, the pool so far, unknown."""
        if stratum == HUMAN:
            return "fresh_human"
        return _ROLES.get(origin, "unknown") if dump == self._newest else "pool"
