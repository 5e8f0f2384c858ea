"""The filter-bias audit: whom each rule drops, and what that does to the tail and the variety of the corpus.

A filter that keeps only smooth, frequent text brings collapse nearer. Each rule is applied alone here, so that its
effect does not depend on which rule came first.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.canonical import canonical_json
from collapse_guard.metrics import Counts, Tokens, rare_types
from collapse_guard.selection import priorities
from collapse_guard.sift import aligned_sources, failing
from collapse_guard.snapshot import read_shard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from collapse_guard.policy import Policy
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

    Flags = NDArray[np.bool_]

GROUPINGS = ("language", "domain", "origin")
MAX_GROUPS = 12
"""Of each grouping the largest groups are listed; the rest is summed up under `REST`."""
REST = "(all others)"
NOTHING = "(none)"
SAMPLE_SHARDS = 8
SAMPLE_TOKENS = 300_000
SEED = 0


@dataclass(frozen=True)
class Effect:
    """What a rule does to the variety of the sample, beside dropping as many tokens at random.

    `tail` is the share of the sample's rare word types that stay; `distinct_2` is distinct bigrams per bigram. Null
    where the rule drops nothing of the sample, or all of it.
    """

    tail: float | None
    tail_at_random: float | None
    distinct_2: float | None
    distinct_2_at_random: float | None


@dataclass(frozen=True)
class RuleAudit:
    """One rule on the whole corpus, applied alone."""

    rule: str
    outside: str
    documents: int
    tokens: int
    effect: Effect
    groups: dict[str, dict[str, int]]
    """By grouping and group: documents that it would send outside."""


@dataclass(frozen=True)
class Audit:
    """What every rule drops, by language, domain and origin, and its effect on tail and variety."""

    documents: int
    tokens: int
    sampled_tokens: int
    groups: dict[str, dict[str, int]]
    rules: tuple[RuleAudit, ...]

    def to_json(self) -> dict[str, Any]:
        """The audit as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Audit:
        """Read what `to_json` gave."""
        rules = tuple(RuleAudit(**{**rule, "effect": Effect(**rule["effect"])}) for rule in value["rules"])
        return cls(**{**value, "rules": rules})


def audit(store: Store, sifted: Snapshot, policy: Policy) -> Audit:
    """Audit the rules that sifted a dump; made once per sifted snapshot and kept.

    Args:
        store: Holds the dump; receives the audit.
        sifted: What was sifted.
        policy: The policy that it was sifted under.

    Returns:
        The audit. Effects are measured on a sample of at most 300,000 tokens from at most 8 shards.
    """
    key = f"audits/{sifted.digest}.json"
    if store.head(key) is not None:
        return Audit.from_json(json.loads(store.read(key)))
    measured, documents = aligned_sources(store, sifted)
    counts = _Counts(policy)
    sample = _Sample(documents, store)
    for index, shard in enumerate(measured.shards):
        table = read_shard(store, shard)
        dropped = {title: failing(table, rule) for title, rule in policy.all_rules()}
        counts.add(table, dropped)
        sample.add(index, table, dropped)
    made = counts.audit(sample.effects())
    store.put_if_absent(key, canonical_json(made.to_json()))
    return made


@dataclass
class _Counts:
    """Counts of documents by group, all and per rule."""

    policy: Policy
    documents: int = 0
    tokens: int = 0
    everything: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in GROUPINGS})
    rules: dict[str, tuple[int, int, dict[str, Counter[str]]]] = field(default_factory=dict)

    def add(self, table: pa.Table, dropped: dict[str, Flags]) -> None:
        self.documents += table.num_rows
        self.tokens += pc.sum(table["tokens"]).as_py() or 0
        for name in GROUPINGS:
            self.everything[name].update(_group_sizes(table[name]))
        for title, flags in dropped.items():
            documents, tokens, groups = self.rules.get(title, (0, 0, {name: Counter() for name in GROUPINGS}))
            rows = table.filter(pa.array(flags))
            for name in GROUPINGS:
                groups[name].update(_group_sizes(rows[name]))
            self.rules[title] = (documents + rows.num_rows, tokens + (pc.sum(rows["tokens"]).as_py() or 0), groups)

    def audit(self, effects: _Effects) -> Audit:
        listed = {
            name: [group for group, _ in counts.most_common(MAX_GROUPS)] for name, counts in self.everything.items()
        }
        rules = tuple(
            RuleAudit(title, rule.outside, documents, tokens, effects.of[title], _folded(groups, listed))
            for title, rule in self.policy.all_rules()
            for documents, tokens, groups in [self.rules.get(title, (0, 0, {}))]
        )
        return Audit(self.documents, self.tokens, effects.tokens, _folded(self.everything, listed), rules)


def _group_sizes(column: pa.ChunkedArray) -> dict[str, int]:
    found = pc.value_counts(pc.fill_null(column, NOTHING))
    return {entry["values"]: entry["counts"] for entry in found.to_pylist()}


def _folded(groups: dict[str, Counter[str]], listed: dict[str, list[str]]) -> dict[str, dict[str, int]]:
    """Keep the listed groups of each grouping, the rest summed up."""
    out = {}
    for name, counts in groups.items():
        rest = counts.total() - sum(counts[group] for group in listed[name])
        out[name] = {group: counts[group] for group in listed[name]} | ({REST: rest} if rest else {})
    return out


@dataclass(frozen=True)
class _Effects:
    tokens: int
    of: dict[str, Effect]


class _Sample:
    """Documents of some shards, in an order that their ids decide, and which rules drop each."""

    def __init__(self, documents: Snapshot, store: Store) -> None:
        shards = documents.with_role("documents")
        step = -(-len(shards) // SAMPLE_SHARDS) or 1
        self._chosen = dict(list(enumerate(shards))[::step])
        self._budget = SAMPLE_TOKENS // max(1, len(self._chosen))
        self._store = store
        self._tokens: list[Tokens] = []
        self._dropped: list[dict[str, Flags]] = []

    def add(self, index: int, table: pa.Table, dropped: dict[str, Flags]) -> None:
        if index not in self._chosen or not table.num_rows:
            return
        order = np.argsort(priorities(table["id"].to_pylist(), SEED, 0), kind="stable")
        sizes = np.cumsum(table["tokens"].to_numpy()[order])
        rows = np.sort(order[: int(np.searchsorted(sizes, self._budget)) + 1])
        texts = read_shard(self._store, self._chosen[index], ["text"])["text"].take(pa.array(rows))
        self._tokens.append(Tokens.of([texts], self._budget * 4))
        count = len(self._tokens[-1].offsets) - 1
        self._dropped.append({title: flags[rows][:count] for title, flags in dropped.items()})

    def effects(self) -> _Effects:
        tokens = Tokens.joined(self._tokens)
        tail = rare_types(tokens)
        titles = self._dropped[0] if self._dropped else {}
        of = {
            title: _effect(tokens, tail, np.concatenate([flags[title] for flags in self._dropped])) for title in titles
        }
        return _Effects(len(tokens.hashes), of)


def _effect(tokens: Tokens, tail: NDArray[np.uint64], dropped: Flags) -> Effect:
    order = np.random.default_rng(SEED).permutation(len(dropped))
    kept = order[~dropped[order]]
    budget = int(np.diff(tokens.offsets)[kept].sum())
    if not budget or not dropped.any():
        return Effect(None, None, None, None)
    ours, random = (tokens.take(chosen).first(budget) for chosen in (kept, order))
    return Effect(_coverage(ours, tail), _coverage(random, tail), _distinct(ours), _distinct(random))


def _coverage(tokens: Tokens, tail: NDArray[np.uint64]) -> float | None:
    return float((Counts.of(tokens.hashes).lookup(tail) > 0).mean()) if len(tail) else None


def _distinct(tokens: Tokens) -> float | None:
    hashes, within = tokens.grams()[1]
    bigrams = hashes[within]
    return len(np.unique(bigrams)) / len(bigrams) if len(bigrams) else None


def worst(audit: Audit, limit: int = 20) -> Iterator[tuple[str, str, str, int, int, float]]:
    """The groups that a rule hits harder than the corpus, beyond what chance would do.

    Args:
        audit: Of which.
        limit: At most so many.

    Yields:
        Rule, grouping, group, documents dropped, documents in the group, and how many times the rule's share of the
        whole corpus that is; hardest first. Beyond chance: the lower end of the group's Wilson interval
        (Wilson 1927) lies above the share of the corpus.
    """
    found = [entry for rule in audit.rules for entry in _lifts(audit, rule)]
    yield from sorted(found, key=lambda entry: (-entry[-1], entry))[:limit]


Z = 2.576
"""Of the Wilson interval: 99 %, because many groups are looked at."""


def _lifts(audit: Audit, rule: RuleAudit) -> Sequence[tuple[str, str, str, int, int, float]]:
    overall = rule.documents / audit.documents if audit.documents else 0.0
    return [
        (rule.rule, name, group, dropped, audit.groups[name][group], dropped / audit.groups[name][group] / overall)
        for name, groups in rule.groups.items()
        for group, dropped in groups.items()
        if dropped and _at_least(dropped, audit.groups[name][group]) > overall
    ]


def _at_least(hits: int, trials: int) -> float:
    """The lower end of the Wilson interval of a share."""
    share, spread = hits / trials, Z * Z / trials
    return (share + spread / 2 - math.sqrt(spread * (share * (1 - share) + spread / 4))) / (1 + spread)
