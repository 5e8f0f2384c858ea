"""Write a candidate: its documents in order of priority, what became of every offer, and how often each was used."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.document import DOCUMENT, EDITED, HUMAN_PRESUMED, SYNTHETIC
from collapse_guard.mix.plan import POOL, TAKE_NOTHING
from collapse_guard.reservoir import HUMAN
from collapse_guard.selection import priorities
from collapse_guard.snapshot import Ledger, ShardWriter, read_shard
from collapse_guard.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from collapse_guard.mix.offers import Offers, Source
    from collapse_guard.mix.plan import Choice, Plan
    from collapse_guard.snapshot import Shard
    from collapse_guard.store import Store

OVER_BUDGET = "over_budget"
OVER_SHARE = "over_share"
TOKENS_PER_BUCKET = 4_000_000
"""About 25 MB of text: one bucket of the sorted mix is in memory at a time."""

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
SELECTION = pa.schema([DOCUMENT.field("id"), DOCUMENT.field("tokens"), *_FACTS, *_DECISION])
"""Every offered document; `rule` is null where it was taken, else says why not."""
USAGE = pa.schema([DOCUMENT.field("id"), _FACTS[0], DOCUMENT.field("tokens"), pa.field("uses", pa.int16())])
"""Every document of the reservoir that was offered, and how often it is in the mix."""
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


def write(store: Store, offers: Offers, plan: Plan, newest: str, scratch: Path) -> Written:
    """Write the candidate that a plan chooses.

    Args:
        store: Receives the shards.
        offers: What the plan was made from.
        plan: What is taken.
        newest: The newest dump of the pool, whose documents are this generation's.
        scratch: A folder for rows that wait to be sorted.

    Returns:
        The shards, the ledger, and sums recomputed from the rows that were written.
    """
    documents, selection, usage = (
        ShardWriter(store, "documents", index=INDEX),
        ShardWriter(store, "selection"),
        ShardWriter(store, "usage"),
    )
    taken = _Taken(newest)
    with Spill(scratch / "mix", _SPILLED, -(-_expected_tokens(offers, plan) // TOKENS_PER_BUCKET)) as spill:
        for index, source in enumerate(offers.sources):
            uses = np.zeros(offers.table(index).num_rows, np.int16)
            for rows in _decided_rows(offers, plan, index):
                uses += pc.is_null(rows["rule"]).to_numpy()
                spill.write(rows, _buckets(rows, spill.buckets))
            if source.stratum == HUMAN:
                used = _usage(offers.table(index), uses)
                taken.count_uses(used)
                usage.write(used)
        spill.close()
        for bucket in range(spill.buckets):
            rows = spill.read(bucket)
            rows = rows.take(pc.sort_indices(rows, sort_keys=_ORDER))
            taken.add(rows)
            selection.write(rows.select(SELECTION.names).cast(SELECTION))
            documents.write(rows.filter(pc.is_null(rows["rule"])).select(CANDIDATE.names).cast(CANDIDATE))
    shards = (*documents.close(), *selection.close(), *usage.close())
    return Written(shards, taken.ledger(), taken.details())


def _expected_tokens(offers: Offers, plan: Plan) -> int:
    """About how many tokens are taken, whatever the mix counts."""
    if offers.by == "tokens":
        return plan.size
    return sum(pc.sum(offers.table(index)["tokens"]).as_py() or 0 for index in range(len(offers.sources)))


def _buckets(rows: pa.Table, buckets: int) -> NDArray[np.int64]:
    """Cut the order of priorities into as many parts."""
    leading = rows["priority"].to_numpy() >> np.uint64(32)
    found: NDArray[np.int64] = (leading * np.uint64(buckets) >> np.uint64(32)).astype(np.int64)
    return found


def _decided_rows(offers: Offers, plan: Plan, index: int) -> Iterator[pa.Table]:
    """The rows of one source, for each use of the reservoir."""
    source = offers.sources[index]
    if source.stratum == POOL:
        yield _decide(source, offers.table(index), plan.pool, 0, offers.seed)
    if source.stratum == HUMAN:
        for epoch, choice in enumerate(plan.reservoir or (TAKE_NOTHING,)):
            yield _decide(source, offers.with_priorities(index, epoch), choice, epoch, offers.seed)


def _usage(offers: pa.Table, uses: NDArray[np.int16]) -> pa.Table:
    columns = {name: offers[name] for name in ("id", "text_sha256", "tokens")}
    return pa.table({**columns, "uses": pa.array(uses, pa.int16())}, schema=USAGE)


def _decide(source: Source, offers: pa.Table, choice: Choice, epoch: int, seed: int) -> pa.Table:
    allowed = pc.is_null(offers["refused"]).to_numpy()
    taken = pa.array(choice.chooses(offers) & allowed)
    beyond = pc.if_else(pa.array(choice.allowed(offers)), pa.scalar(OVER_BUDGET), pa.scalar(OVER_SHARE))
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
        self._uses: Counter[int] = Counter()

    def add(self, selection: pa.Table) -> None:
        self._rules.update(selection["rule"].to_pylist())
        taken = selection.filter(pc.is_null(selection["rule"]))
        keys = ["stratum", "origin", "dump"]
        sums = taken.group_by(keys).aggregate([("tokens", "sum"), ("size", "sum")])
        for row in sums.to_pylist():
            key = (row["stratum"], row["origin"], row["dump"])
            self._tokens[key] += row["tokens_sum"]
            self._sizes[key] += row["size_sum"]

    def count_uses(self, usage: pa.Table) -> None:
        self._uses.update(usage["uses"].to_pylist())

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
            "reservoir_uses": {str(uses): count for uses, count in sorted(self._uses.items())},
        }

    def _role(self, stratum: str, origin: str, dump: str) -> str:
        """What tokens are to this generation: fresh human text, the last model's output, the pool so far, unknown."""
        if stratum == HUMAN:
            return "fresh_human"
        return _ROLES.get(origin, "unknown") if dump == self._newest else "pool"
