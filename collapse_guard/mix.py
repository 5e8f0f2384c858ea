"""Combine reservoir and candidates at an exact share of tokens, accumulating over dumps."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.canonical import json_digest
from collapse_guard.dedup import EVALUATION_RANK, SIGNATURE, Clusters, signed
from collapse_guard.document import DOCUMENT, HUMAN_VERIFIED, ORIGINS
from collapse_guard.errors import GateClosed, UsageError
from collapse_guard.kernels.overlap import overlap_table, overlaps
from collapse_guard.reservoir import ADMITTED_WITH, EVALUATION, HUMAN
from collapse_guard.selection import NOTHING, Cut, find_cut, priorities
from collapse_guard.sift import aligned_sources, compared_by, copy_rules
from collapse_guard.snapshot import Ledger, ShardWriter, Snapshot, latest, publish, read_shard, resume, run_key
from collapse_guard.spill import Replay, Spill
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from collapse_guard.policy import Dedup, Mix, Near, Policy
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Shard
    from collapse_guard.store import Store

SCHEMA = "candidate@2"
POOL = "pool"
VERIFIED_RANK = ORIGINS.index(HUMAN_VERIFIED)
OVER_BUDGET = "over_budget"
OVERLAP = "evaluation_overlap"
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
_SPILLED = pa.schema(
    [
        *(field.with_nullable(nullable=True) for field in DOCUMENT),
        *_FACTS,
        *_DECISION,
        pa.field("priority", pa.uint64()),
    ]
)
INDEX = ["id", "tokens", *(field.name for field in _FACTS)]
_OFFERED = ["id", "text_sha256", "tokens", "captured_at", "origin"]


def pool_of(store: Store, corpus: str, dump: str) -> list[Snapshot]:
    """The sifted snapshots of a dump and all before it, oldest first: the pool only grows.

    Args:
        store: Where the corpus lies.
        corpus: Its name.
        dump: The newest dump to include; dumps are ordered by name.

    Returns:
        The newest snapshot of each.

    Raises:
        UsageError: The dump itself was not sifted.
    """
    prefix = f"snapshots/{corpus}/sifted/"
    dumps = sorted({key.removeprefix(prefix).partition("/")[0] for key in store.list(prefix)})
    if dump not in dumps:
        raise UsageError(f"dump {dump!r} of {corpus!r} was not sifted; sift it first (known: {', '.join(dumps)})")
    found = (latest(store, f"{corpus}/sifted/{name}") for name in dumps if name <= dump)
    return [snapshot for snapshot in found if snapshot]


def mix(store: Store, reservoir: Reservoir, corpus: str, dump: str, policy: Policy) -> Snapshot:
    """Mix the pool of a dump with the reservoir and publish the candidate; nothing is released by this.

    Args:
        store: Holds the sifted dumps; receives the candidate.
        reservoir: Verified human documents.
        corpus: The corpus' name.
        dump: The newest dump to include.
        policy: Share, budget, and what happens when the reservoir runs out.

    Returns:
        The published candidate, in order of priority: its documents, an index of them, and the selection, which says
        for every offered document whether it was taken and why not.

    Raises:
        UsageError: A dump of the pool was sifted by other rules.
        GateClosed: The share cannot be met as the policy asks; says what is missing.
    """
    pool = pool_of(store, corpus, dump)
    rules = json_digest(policy.sifting)
    other = [snapshot.name for snapshot in pool if snapshot.policy_digest != rules]
    if other:
        raise UsageError(f"{', '.join(other)}: sifted by other rules; sift again under policy {policy.name!r} first")
    parents = (reservoir.snapshot.as_parent(), *(snapshot.as_parent() for snapshot in pool))
    name = f"{corpus}/candidate/{dump}"
    key = run_key("candidate", parents, policy.digest, {})
    earlier = resume(store, name, key)
    if earlier is not None:
        return earlier
    with store.scratch() as scratch:
        offers = Offers(store, reservoir, pool, policy, scratch)
        plan = make_plan(offers, policy.mix)
        shards, taken = _write(store, offers, plan, policy.mix.seed, scratch)
    details = {
        "corpus": corpus,
        "dump": dump,
        "generation": len(pool) - 1,
        **plan.details(policy.mix),
        **taken.details(),
    }
    snapshot = Snapshot(
        name, "candidate", SCHEMA, parents, shards, taken.ledger(), policy.digest, __version__, key, details
    )
    return publish(store, snapshot)


@dataclass(frozen=True)
class Source:
    """One shard of documents that may be mixed, and the shards that hold the facts about them."""

    store: Store
    stratum: str
    dump: str
    text: Shard
    facts: Shard
    verdicts: Shard | None = None

    def offers(self) -> pa.Table:
        """Read the facts of the documents that sifting kept, with the row of each in the text shard."""
        facts = read_shard(self.store, self.facts)
        rows = np.arange(facts.num_rows, dtype=np.int64)
        if self.verdicts is None:
            facts = facts.append_column("origin", pa.repeat(pa.scalar(HUMAN_VERIFIED), facts.num_rows))
            return facts.select(_OFFERED).append_column("row", pa.array(rows))
        keep = pc.equal(read_shard(self.store, self.verdicts)["verdict"], "keep")
        return facts.select(_OFFERED).append_column("row", pa.array(rows)).filter(keep)

    def compared(self, dedup: Dedup) -> pa.Table:
        """Read what the same documents are compared by."""
        facts = read_shard(self.store, self.facts)
        if self.verdicts is not None:
            keep = pc.equal(read_shard(self.store, self.verdicts)["verdict"], "keep")
            return compared_by(facts.filter(keep), dedup)
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


class Offers:
    """Every document that may be mixed, shard by shard; a copy of another is offered but never eligible."""

    def __init__(
        self, store: Store, reservoir: Reservoir, pool: Sequence[Snapshot], policy: Policy, scratch: Path
    ) -> None:
        """Look at the sources.

        Args:
            store: Holds the pool.
            reservoir: Its evaluation split takes part in finding copies, so that no copy of it is mixed.
            pool: Sifted snapshots.
            policy: What counts as a copy, and what is too near to the evaluation split.
            scratch: A folder for finding copies.
        """
        guarded = [
            Source(reservoir.store, split, "", text, index)
            for split in (HUMAN, EVALUATION)
            for text, index in reservoir.shards(split)
        ]
        self.sources = [*guarded, *(source for snapshot in pool for source in _pool_sources(store, snapshot))]
        dedup, split = policy.dedup, policy.mix.evaluation_split
        compared = Replay((source.compared(dedup) for source in self.sources), scratch / "compared")
        rows = sum(source.facts.rows for source in self.sources)
        self._copies = Clusters(compared, rows=rows, near=dedup.near, scratch=scratch)
        self._overlapping = list(_overlapping(self.sources, reservoir, split.n)) if split else []

    def table(self, index: int) -> pa.Table:
        """The offers of one source: facts, `row`, and why a document may not be taken, with the copy that is kept."""
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
            "refused": self._refusals(
                index, pc.if_else(copy, copy_rules(found["match"]), pa.scalar(None, pa.string()))
            ),
        }
        for name, column in columns.items():
            offers = offers.append_column(name, column)
        return offers

    def _refusals(self, index: int, copies: pa.ChunkedArray) -> pa.ChunkedArray:
        """Why each document may not be taken; null where it may."""
        if not self._overlapping:
            return copies
        overlap = pc.if_else(pa.array(self._overlapping[index]), pa.scalar(OVERLAP), pa.scalar(None, pa.string()))
        return pc.coalesce(copies, overlap)

    def eligible(self, stratum: str) -> Iterator[pa.Table]:
        """One pass over the offers of a stratum that may be taken."""
        tables = (self.table(index) for index, source in enumerate(self.sources) if source.stratum == stratum)
        return (table.filter(pc.is_null(table["refused"])) for table in tables)

    @cached_property
    def pool_tokens(self) -> int:
        """Tokens of all eligible candidates."""
        return self._tokens(POOL)

    @cached_property
    def human_tokens(self) -> int:
        """Tokens of the reservoir that may be mixed, each document once."""
        return self._tokens(HUMAN)

    def _tokens(self, stratum: str) -> int:
        return sum(pc.sum(table["tokens"]).as_py() or 0 for table in self.eligible(stratum))


def _overlapping(sources: Sequence[Source], reservoir: Reservoir, n: int) -> Iterator[NDArray[np.bool_]]:
    """Flag the offers of each source that share a run of n words with the evaluation split; reads their text."""
    texts = [table["text"] for table in reservoir.texts(EVALUATION)]
    table = overlap_table(pa.chunked_array([chunk for text in texts for chunk in text.chunks], pa.large_string()), n)
    for source in sources:
        rows = source.offers()["row"]
        text = read_shard(source.store, source.text, ["text"])["text"].take(rows)
        yield overlaps(text, table) > 0


def _pool_sources(store: Store, sifted: Snapshot) -> Iterator[Source]:
    measured, documents = aligned_sources(store, sifted)
    dump = str(sifted.details["dump"])
    texts = documents.with_role("documents")
    for text, facts, verdicts in zip(texts, measured.shards, sifted.shards, strict=True):
        yield Source(store, POOL, dump, text, facts, verdicts)


@dataclass(frozen=True)
class Plan:
    """Which prefix of the pool, and of each repetition of the reservoir, is taken."""

    pool: Cut
    reservoir: tuple[Cut, ...]

    def details(self, wanted: Mix) -> dict[str, Any]:
        """What was asked and what the reservoir gave."""
        return {
            "target_human_share": wanted.human_share,
            "reservoir_epochs": len(self.reservoir),
            "seed": wanted.seed,
        }


def make_plan(offers: Offers, wanted: Mix) -> Plan:
    """Decide how many tokens of each stratum are taken.

    The pool is cut first; the reservoir then gives as many tokens as the share needs, and the document that reaches
    it, so that the realised share is the target or up to one document above.

    Args:
        offers: What there is.
        wanted: The policy's mix.

    Returns:
        The plan.

    Raises:
        GateClosed: The reservoir cannot meet the share as the policy asks.
    """
    share = Fraction(str(wanted.human_share))
    pool = _pool_cut(offers, _pool_budget(offers, share, wanted), wanted.seed)
    needed = _human_needed(pool.tokens, share, wanted, offers)
    if needed > offers.human_tokens and wanted.on_exhausted == "shrink_synthetic":
        pool = _pool_cut(offers, math.floor(offers.human_tokens * (1 - share) / share), wanted.seed)
        needed = _human_needed(pool.tokens, share, wanted, offers)
    allowed = wanted.max_epochs if wanted.on_exhausted == "repeat" else 1
    if needed > offers.human_tokens * allowed:
        raise GateClosed(_shortage(needed, offers, wanted, allowed))
    return Plan(pool, tuple(_reservoir_cuts(offers, needed, wanted.seed)))


def _pool_budget(offers: Offers, share: Fraction, wanted: Mix) -> int:
    if share == 1:
        return 0
    return offers.pool_tokens if wanted.tokens is None else math.floor((1 - share) * wanted.tokens)


def _pool_cut(offers: Offers, budget: int, seed: int) -> Cut:
    return find_cut(partial(offers.eligible, POOL), budget, seed) if budget else NOTHING


def _human_needed(pool_tokens: int, share: Fraction, wanted: Mix, offers: Offers) -> int:
    if share == 1:
        return wanted.tokens or offers.human_tokens
    return math.ceil(pool_tokens * share / (1 - share))


def _reservoir_cuts(offers: Offers, needed: int, seed: int) -> Iterator[Cut]:
    epoch = 0
    while needed > 0:
        cut = find_cut(partial(offers.eligible, HUMAN), needed, seed, epoch=epoch, reach=True)
        yield cut
        needed -= cut.tokens
        epoch += 1


def _shortage(needed: int, offers: Offers, wanted: Mix, allowed: int) -> str:
    have = offers.human_tokens
    return (
        f"the reservoir holds {have:,} tokens that may be mixed and each may be used {allowed} time(s), but a human "
        f"share of {wanted.human_share:g} needs {needed:,}: {needed - have * allowed:,} are missing. Admit more human "
        "documents, lower `mix.tokens`, or set `mix.on_exhausted` to `shrink_synthetic` or `repeat`; nothing was mixed"
    )


class _Taken:
    """Counts of what went into the candidate, recomputed from the rows that were written."""

    def __init__(self) -> None:
        self._rules: Counter[str | None] = Counter()
        self._tokens: Counter[tuple[str, str]] = Counter()

    def add(self, selection: pa.Table) -> None:
        self._rules.update(selection["rule"].to_pylist())
        taken = selection.filter(pc.is_null(selection["rule"]))
        columns = (taken[name].to_pylist() for name in ("stratum", "origin", "tokens"))
        for stratum, origin, tokens in zip(*columns, strict=True):
            self._tokens[stratum, origin] += tokens

    def ledger(self) -> Ledger:
        dropped = {rule: count for rule, count in self._rules.items() if rule}
        return Ledger(came_in=self._rules.total(), kept=self._rules[None], dropped=dropped)

    def details(self) -> dict[str, Any]:
        strata: Counter[str] = Counter()
        origins: Counter[str] = Counter()
        for (stratum, origin), tokens in self._tokens.items():
            strata[stratum] += tokens
            origins[origin] += tokens
        return {"tokens": sum(origins.values()), "tokens_by_stratum": dict(strata), "tokens_by_origin": dict(origins)}


def _write(store: Store, offers: Offers, plan: Plan, seed: int, scratch: Path) -> tuple[tuple[Shard, ...], _Taken]:
    total = plan.pool.tokens + sum(cut.tokens for cut in plan.reservoir)
    documents, selection, taken = (
        ShardWriter(store, "documents", index=INDEX),
        ShardWriter(store, "selection"),
        _Taken(),
    )
    with Spill(scratch / "mix", _SPILLED, -(-total // TOKENS_PER_BUCKET)) as spill:
        for rows in _decided_rows(offers, plan, seed):
            leading = rows["priority"].to_numpy() >> np.uint64(32)
            spill.write(rows, (leading * np.uint64(spill.buckets) >> np.uint64(32)).astype(np.int64))
        spill.close()
        for bucket in range(spill.buckets):
            rows = _sorted(spill.read(bucket))
            taken.add(rows)
            selection.write(rows.select(SELECTION.names).cast(SELECTION))
            documents.write(rows.filter(pc.is_null(rows["rule"])).select(CANDIDATE.names).cast(CANDIDATE))
    return (*documents.close(), *selection.close()), taken


def _sorted(rows: pa.Table) -> pa.Table:
    order = [(name, "ascending") for name in ("priority", "id", "text_sha256", "epoch", "dump", "source")]
    return rows.take(pc.sort_indices(rows, sort_keys=order))


def _decided_rows(offers: Offers, plan: Plan, seed: int) -> Iterator[pa.Table]:
    for index, source in enumerate(offers.sources):
        if source.stratum == POOL:
            yield _decide(source, offers.table(index), plan.pool, seed, 0)
        if source.stratum == HUMAN:
            for epoch, cut in enumerate(plan.reservoir or (NOTHING,)):
                yield _decide(source, offers.table(index), cut, seed, epoch)


def _decide(source: Source, offers: pa.Table, cut: Cut, seed: int, epoch: int) -> pa.Table:
    ranks = priorities(offers["id"].to_pylist(), seed, epoch)
    allowed = pc.is_null(offers["refused"]).to_numpy()
    chosen = cut.chooses(ranks, offers) & allowed
    rule = pc.coalesce(offers["refused"], pa.scalar(OVER_BUDGET))
    documents = read_shard(source.store, source.text).take(offers["row"]).select(DOCUMENT.names)
    taken = pa.array(chosen)
    columns = dict(zip(documents.column_names, documents.columns, strict=True))
    columns["text"] = pc.if_else(taken, documents["text"], pa.scalar(None, pa.large_string()))
    repeated = {"stratum": source.stratum, "dump": source.dump, "epoch": epoch}
    facts = {
        name: pa.repeat(pa.scalar(value, _SPILLED.field(name).type), len(ranks)) for name, value in repeated.items()
    }
    facts["text_sha256"], facts["origin"] = offers["text_sha256"], offers["origin"]
    decision = {field.name: offers[field.name] for field in _COPY}
    decision["rule"] = pc.if_else(taken, pa.scalar(None, pa.string()), rule)
    everything = {**columns, **facts, **decision, "priority": pa.array(ranks)}
    return pa.table({name: everything[name] for name in _SPILLED.names}, schema=_SPILLED)
