"""Judge a candidate against the reservoir: gates, state and remedy. Whatever could not be measured is closed."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.canonical import canonical_json
from collapse_guard.document import HUMAN_VERIFIED
from collapse_guard.engine import LocalEngine
from collapse_guard.errors import UsageError
from collapse_guard.metrics import METRICS, Profile, Reference, Tokens, compute, rare_types
from collapse_guard.mix import mixable_tokens
from collapse_guard.reservoir import EVALUATION, HUMAN
from collapse_guard.snapshot import (
    Ledger,
    Snapshot,
    find_run,
    latest,
    publish,
    read_rows,
    read_shard,
    run_key,
    write_shard,
)
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collapse_guard.policy import Gate, Policy
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.store import Store

State = Literal["OK", "EARLY", "LATE", "INCONCLUSIVE"]
MINIMUM_TOKENS = 5_000
"""Below this many sampled tokens no metric is taken."""
HELDOUT_TOKENS = 50_000
POOL_SIZE = 20
"""Human-only draws are taken from at most this many times the budget."""

EARLY_LOSS = 0.10
EARLY_PERPLEXITY = 1.10
LATE_PERPLEXITY = 2.0
LATE_LOSS = 0.50
"""Bounds of the states on the ratio to the human-only baseline (docs/decisions/0006-states.md gives the source)."""


@dataclass(frozen=True)
class GateResult:
    """What one gate found. `value` is what the bound applies to: the metric, or its ratio to the baseline."""

    name: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    passed: bool
    outside: Literal["warn", "block"]
    relative: bool
    measured: float | None
    baseline: float | None

    @property
    def sentence(self) -> str:
        """The finding in one line."""
        if self.value is None:
            return f"{self.name}: could not be measured, which counts as outside"
        bound = " and ".join(
            text
            for text in (
                f"at least {self.low:g}" if self.low is not None else "",
                f"at most {self.high:g}" if self.high is not None else "",
            )
            if text
        )
        unit = " of the human baseline" if self.relative else ""
        verdict = "inside" if self.passed else "outside"
        return f"{self.name} is {self.value:.3f}{unit}, {verdict} ({bound} wanted)"


@dataclass(frozen=True)
class Remedy:
    """What to change so that the human share is met, in tokens."""

    human_tokens_to_add: int
    synthetic_tokens_to_remove: int
    resulting_share: float
    reservoir_epochs: float
    feasible: bool

    @property
    def sentence(self) -> str:
        """The remedy in one line."""
        how = f"each reservoir document used {self.reservoir_epochs:.2f} times" if self.feasible else "NOT feasible"
        return (
            f"add {self.human_tokens_to_add:,} tokens of verified human text ({how}), or remove "
            f"{self.synthetic_tokens_to_remove:,} other tokens, for a human share of {self.resulting_share:.2f}"
        )


@dataclass(frozen=True)
class Judgement:
    """The verdict about exactly one candidate under exactly one policy."""

    digest: str
    policy_digest: str
    state: State
    reasons: tuple[str, ...]
    gates: tuple[GateResult, ...]
    remedy: Remedy | None
    metrics: Mapping[str, float | None]
    baseline: Mapping[str, float]
    sampled_tokens: int

    @property
    def passed(self) -> bool:
        """Whether the candidate may be released."""
        return self.state in {"OK", "EARLY"} and all(gate.passed for gate in self.gates if gate.outside == "block")

    def to_json(self) -> dict[str, Any]:
        """The judgement in the form of `judge --json` and of the attestation."""
        return {
            "digest": self.digest,
            "policy_digest": self.policy_digest,
            "state": self.state,
            "reasons": list(self.reasons),
            "passed": self.passed,
            "gates": [vars(gate) for gate in self.gates],
            "remedy": vars(self.remedy) if self.remedy else None,
            "metrics": dict(self.metrics),
            "baseline": dict(self.baseline),
            "sampled_tokens": self.sampled_tokens,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Judgement:
        """Read a judgement back from the attestation that it was signed in."""
        told = {name: value[name] for name in value.keys() - {"passed"}}
        told["reasons"] = tuple(value["reasons"])
        told["gates"] = tuple(GateResult(**gate) for gate in value["gates"])
        told["remedy"] = Remedy(**value["remedy"]) if value["remedy"] else None
        return cls(**told)

    def refusal(self) -> str:
        """Why the gate is closed, and the remedy."""
        closed = [gate.sentence for gate in self.gates if gate.outside == "block" and not gate.passed]
        if self.state in {"LATE", "INCONCLUSIVE"}:
            closed.append(f"state {self.state}: {'; '.join(self.reasons)}")
        remedy = f" Remedy: {self.remedy.sentence}." if self.remedy else ""
        return f"candidate {self.digest[:12]} is refused: {'; '.join(closed)}.{remedy}"


@dataclass(frozen=True)
class Yardstick:
    """What a corpus is compared with: a frozen state of the reservoir, and the budget at which metrics are taken.

    One half of the reservoir says which types are rare, the other half gives the human-only draws, so that human text
    is compared as if it were new; the evaluation split is held out from both.
    """

    reservoir: Reservoir
    reference: Reference
    pool: Tokens
    budget: int
    draws: int

    @classmethod
    def of(cls, reservoir: Reservoir, policy: Policy) -> Yardstick:
        """Read it from a reservoir; the budget is the policy's, or half of what can be drawn where that is less."""
        most = POOL_SIZE * policy.judging.tokens
        heldout = Tokens.of((table["text"] for table in reservoir.texts(EVALUATION)), HELDOUT_TOKENS)
        tail = rare_types(Tokens.of(_half(reservoir, 0), most))
        pool = Tokens.of(_half(reservoir, 1), most)
        budget = min(policy.judging.tokens, len(pool.hashes) // 2)
        return cls(reservoir, Reference(heldout, tail), pool, budget, policy.judging.draws)

    def baseline(self, store: Store, budget: int) -> dict[str, float]:
        """The mean of each metric over human-only draws of some size; computed once and kept as a snapshot."""
        parents = (self.reservoir.snapshot.as_parent(),)
        details = {"budget": budget, "draws": self.draws, "pool": len(self.pool.hashes)}
        versions = {name: metric.version for name, metric in METRICS.items()}
        key = run_key("baseline", parents, None, {**details, "metrics": versions})
        snapshot = find_run(store, "baseline", key)
        if snapshot is None:
            shards = (write_shard(store, self._draw(budget), "baseline"),)
            ledger = Ledger(came_in=self.draws, kept=self.draws)
            made = Snapshot(
                "baseline", "baseline", "baseline@1", parents, shards, ledger, None, __version__, key, details
            )
            snapshot = publish(store, made)
        table = read_shard(store, snapshot.shards[0])
        return {name: pc.mean(table[name]).as_py() for name in table.column_names}

    def _draw(self, budget: int) -> pa.Table:
        def draw(number: int) -> dict[str, float | None]:
            order = np.random.default_rng([number, budget]).permutation(len(self.pool.offsets) - 1)
            return compute(Profile.of(self.pool.drawn(order, budget), {HUMAN_VERIFIED: 1}), self.reference)

        return pa.Table.from_pylist(list(LocalEngine().map(draw, range(self.draws))))


def _half(reservoir: Reservoir, half: int) -> Iterator[pa.ChunkedArray]:
    for table in reservoir.texts(HUMAN):
        bits = np.array([digest[-5] & 1 for digest in table["text_sha256"].to_pylist()], np.int8)
        yield table["text"].filter(pa.array(bits == half))


@dataclass(frozen=True)
class Sample:
    """Tokens of a uniform sample of a corpus' documents, and the whole corpus' tokens by origin."""

    tokens: Tokens
    origin_tokens: Mapping[str, int]


def judge(store: Store, candidate: Snapshot, reservoir: Reservoir, policy: Policy) -> Judgement:
    """Judge a candidate against the state of the reservoir that it was mixed from.

    Args:
        store: Holds the candidate; receives its profile and the baseline, each once.
        candidate: What to judge.
        reservoir: The reservoir that it was mixed from, or a later state.
        policy: The policy that it was mixed under.

    Returns:
        The judgement; the same for the same arguments, wherever and however often it is made.

    Raises:
        UsageError: The candidate was mixed under another policy.
    """
    if candidate.policy_digest != policy.digest:
        raise UsageError(f"{candidate.name}: mixed under another policy; mix again under {policy.name!r} first")
    yardstick = Yardstick.of(reservoir.at(candidate.parents[0]), policy)
    texts = (table["text"] for table in read_rows(store, candidate.with_role("documents")))
    sample = Sample(Tokens.of(texts, yardstick.budget), origin_tokens(store, candidate))
    judgement = judge_sample(store, candidate.digest, sample, yardstick, policy)
    keep_judgement(store, candidate, judgement)
    return judgement


def keep_judgement(store: Store, judged: Snapshot, judgement: Judgement) -> None:
    """Keep a judgement, passed or not, for plots and for people; a release never relies on it."""
    entry = {**judgement.to_json(), "corpus": judged.details["corpus"], "dump": judged.details["dump"]}
    store.put_if_absent(_judgement_key(judged), canonical_json(entry))


def _judgement_key(judged: Snapshot) -> str:
    return f"judgements/{judged.name}/{judged.digest}.json"


def history(store: Store, corpus: str, step: str = "candidate") -> list[dict[str, Any]]:
    """The judgement of each dump's newest candidate as JSON, oldest dump first, released or not."""
    prefix = f"snapshots/{corpus}/{step}/"
    dumps = sorted({key.removeprefix(prefix).partition("/")[0] for key in store.list(prefix)})
    newest = [snapshot for dump in dumps if (snapshot := latest(store, f"{corpus}/{step}/{dump}"))]
    keys = [_judgement_key(snapshot) for snapshot in newest]
    return [json.loads(store.read(key)) for key in keys if store.head(key) is not None]


def judge_sample(store: Store, digest: str, corpus: Sample, yardstick: Yardstick, policy: Policy) -> Judgement:
    """Judge a corpus by a sample of its tokens.

    Args:
        store: Receives the baseline.
        digest: What is judged.
        corpus: A sample of it, and its tokens by origin.
        yardstick: What it is compared with.
        policy: The gates.

    Returns:
        The judgement.
    """
    sampled = len(corpus.tokens.hashes)
    enough = sampled >= MINIMUM_TOKENS
    profile = Profile.of(corpus.tokens, corpus.origin_tokens)
    metrics = compute(profile, yardstick.reference) if enough else dict.fromkeys(METRICS)
    baseline = yardstick.baseline(store, sampled) if enough else {}
    gates = tuple(
        _result(name, gate, policy.gate_metric(name), metrics, baseline) for name, gate in policy.gates.items()
    )
    state, reasons = decide_state(metrics, baseline)
    if not enough:
        reasons = (_too_few(sampled, yardstick.budget),)
    available = mixable_tokens(store, yardstick.reservoir, policy)
    remedy = find_remedy(corpus.origin_tokens, gates, available, policy)
    return Judgement(digest, policy.digest, state, reasons, gates, remedy, metrics, baseline, sampled)


def _too_few(sampled: int, budget: int) -> str:
    short = "the reservoir is too small to compare with" if budget < MINIMUM_TOKENS else "the corpus is too small"
    return f"{short}: {sampled:,} words could be compared, {MINIMUM_TOKENS:,} are needed to certify anything"


def origin_tokens(store: Store, candidate: Snapshot) -> dict[str, int]:
    """Add up the tokens of a candidate by origin, from its rows and not from what its manifest states."""
    totals: Counter[str] = Counter()
    for shard in candidate.with_role("documents_index"):
        grouped = read_shard(store, shard, ["origin", "tokens"]).group_by("origin").aggregate([("tokens", "sum")])
        totals.update(dict(zip(grouped["origin"].to_pylist(), grouped["tokens_sum"].to_pylist(), strict=True)))
    return dict(totals)


def _result(
    name: str, gate: Gate, metric: str, metrics: Mapping[str, float | None], baseline: Mapping[str, float]
) -> GateResult:
    measured, mean = metrics[metric], baseline.get(metric)
    value = _ratio(measured, mean) if gate.relative else measured
    return GateResult(
        name=name,
        metric=metric,
        value=value,
        low=gate.low,
        high=gate.high,
        passed=gate.contains(value),
        outside=gate.outside,
        relative=gate.relative,
        measured=measured,
        baseline=mean,
    )


def _ratio(value: float | None, mean: float | None) -> float | None:
    return value / mean if value is not None and mean else None


def decide_state(metrics: Mapping[str, float | None], baseline: Mapping[str, float]) -> tuple[State, tuple[str, ...]]:
    """Tell early from late collapse by how far metrics are from human text at the same budget.

    Args:
        metrics: What was measured.
        baseline: The mean of each metric over human-only draws.

    Returns:
        The state and the findings behind it.
    """
    names = ("rare_coverage", "distinct_2", "heldout_perplexity")
    ratios = {name: _ratio(metrics.get(name), baseline.get(name)) for name in names}
    rare, distinct, perplexity = (ratios[name] for name in names)
    if rare is None or distinct is None or perplexity is None:
        missing = [name for name, ratio in ratios.items() if ratio is None]
        return "INCONCLUSIVE", (f"could not be measured: {', '.join(missing)}",)
    lost = [name for name in names[:2] if (ratios[name] or 0) < 1 - EARLY_LOSS]
    reasons = tuple(f"{name} is {ratios[name]:.2f} of the human baseline" for name in names)
    if perplexity > LATE_PERPLEXITY or max(rare, distinct) < 1 - LATE_LOSS:
        return "LATE", reasons
    if len(lost) == len(names[:2]) or perplexity > EARLY_PERPLEXITY:
        return "EARLY", reasons
    return "OK", reasons


def find_remedy(
    tokens: Mapping[str, int], gates: tuple[GateResult, ...], available: int, policy: Policy
) -> Remedy | None:
    """Say how many tokens to add or remove so that every bound on the human share holds.

    Args:
        tokens: The corpus' tokens by origin.
        gates: What the gates found.
        available: Tokens of the reservoir, each of which can be used at most `max_epochs` times.
        policy: Whose target share is aimed at.

    Returns:
        The remedy; null where the share is inside its bounds.
    """
    failed = [gate for gate in gates if gate.metric == "human_share" and not gate.passed]
    total, human = sum(tokens.values()), tokens.get(HUMAN_VERIFIED, 0)
    share = Fraction(str(max([policy.mix.human_share, *(gate.low or 0.0 for gate in failed)])))
    if not failed or not total or share >= 1:
        return None
    add = max(0, math.ceil((share * total - human) / (1 - share)))
    remove = max(0, math.ceil(total - human / share))
    epochs = (human + add) / available if available else math.inf
    return Remedy(add, remove, (human + add) / (total + add), epochs, epochs <= policy.mix.max_epochs)
