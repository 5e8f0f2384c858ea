"""Judge a candidate against the reservoir: gates, state and remedy. Whatever could not be measured is closed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse_guard.canonical import canonical_json
from collapse_guard.document import HUMAN_VERIFIED, UNKNOWN
from collapse_guard.errors import UsageError
from collapse_guard.judge.applying import apply_remedy
from collapse_guard.judge.baseline import STRATIFIED, Baseline, Match, Yardstick
from collapse_guard.judge.declines import find_declines
from collapse_guard.judge.findings import Finding, GateResult, Judgement, Remedy
from collapse_guard.judge.gates import judge_gate
from collapse_guard.judge.remedies import Proposal, Reach, Supply, find_remedy, remixed, size_per_word
from collapse_guard.judge.states import NEEDED, decide_state
from collapse_guard.metrics import METRICS, Profile, Sample, compute
from collapse_guard.metrics.profile import CAPACITY, PASSAGE
from collapse_guard.mix import mixable_tokens
from collapse_guard.mix.profiled import read_profile
from collapse_guard.snapshot import latest, read_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from collapse_guard.metrics import Reference
    from collapse_guard.policy import Policy
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

__all__ = [
    "MINIMUM_DOCUMENTS",
    "MINIMUM_TOKENS",
    "Baseline",
    "Corpus",
    "Finding",
    "GateResult",
    "Judgement",
    "Match",
    "Remedy",
    "Supply",
    "Yardstick",
    "apply_remedy",
    "compare",
    "decide_state",
    "find_remedy",
    "history",
    "judge",
    "judge_profile",
    "keep_judgement",
    "origin_tokens",
]

MINIMUM_TOKENS = 5_000
"""Below this many sampled words no metric is taken."""
MINIMUM_DOCUMENTS = 50
"""Nor from fewer documents: words of one document are alike, so documents are what counts."""


def judge(store: Store, candidate: Snapshot, reservoir: Reservoir, policy: Policy) -> Judgement:
    """Judge a candidate against the state of the reservoir that it was mixed from.

    Args:
        store: Holds the candidate and its profile; receives the baseline, once.
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
    at = reservoir.at(candidate.parents[0])
    yardstick = Yardstick.of(store, at, policy.judging)
    earlier = _judged_before(store, candidate)
    corpus = Corpus(candidate.digest, read_profile(store, candidate), origin_tokens(store, candidate), earlier)
    judgement = judge_profile(store, corpus, yardstick, policy, mixable_tokens(store, at, policy))
    keep_judgement(store, candidate, judgement)
    return judgement


@dataclass(frozen=True)
class Corpus:
    """What is judged: its digest, its profile, its tokens by origin, and how earlier generations were judged."""

    digest: str
    profile: Profile
    origin_tokens: Mapping[str, int]
    earlier: Sequence[Mapping[str, Any]] = ()


def judge_profile(
    store: Store, corpus: Corpus, yardstick: Yardstick, policy: Policy, available: int | None = None
) -> Judgement:
    """Judge a corpus by its profile.

    Args:
        store: Receives the baseline.
        corpus: What is judged.
        yardstick: What it is compared with.
        policy: The gates.
        available: Tokens of the reservoir that could be mixed in, for the remedy; none where there is no mix.

    Returns:
        The judgement.
    """
    match = yardstick.match(corpus.profile)
    enough = _enough(corpus.profile, match)
    if enough is not None:
        return _unmeasured(corpus, policy, match, enough)
    at = _Bench.of(store, yardstick, match, policy)
    judgement = at.judge(corpus)
    fine = judgement.passed and judgement.state == "OK"
    measured = all(judgement.finding(name) for name in NEEDED)
    if fine or not measured or available is None:
        return judgement
    bench = cache(partial(_Bench.of, store, yardstick, policy=policy))
    return replace(judgement, remedy=_remedy(corpus, judgement, yardstick, at, available, bench=bench))


@dataclass(frozen=True)
class _Bench:
    """A match with its baseline, at which a corpus, and what it could become, are judged alike."""

    baseline: Baseline
    reference: Reference
    gone: NDArray[np.uint64]
    policy: Policy

    @classmethod
    def of(cls, store: Store, yardstick: Yardstick, match: Match, policy: Policy) -> _Bench:
        reference = yardstick.reference(match)
        return cls(yardstick.baseline(store, match, reference), reference, yardstick.gone, policy)

    def judge(self, corpus: Corpus) -> Judgement:
        match = self.baseline.match
        sample = Sample.of(corpus.profile, match.budget, match.length, corpus.origin_tokens)
        metrics = compute(sample, self.reference)
        findings = compare(metrics, self.baseline)
        declines = find_declines(corpus.earlier, findings)
        metrics["decline"] = max(declines.values(), default=0.0)
        metrics["lost_types"] = float((sample.grams[0].lookup(self.gone) == 0).sum())
        state, reasons = decide_state(findings)
        return Judgement(
            digest=corpus.digest,
            policy_digest=self.policy.digest,
            state=state,
            reasons=reasons,
            gates=tuple(_gate(name, self.policy, metrics, findings, sample.words) for name in self.policy.gates),
            remedy=None,
            metrics=metrics,
            baseline=self.baseline.means,
            sampled_tokens=sample.words,
            findings=tuple(findings.values()),
            against=_told(self.baseline, sample),
            decline=declines,
        )


def _remedy(
    corpus: Corpus,
    judgement: Judgement,
    yardstick: Yardstick,
    at: _Bench,
    available: int,
    *,
    bench: Callable[[Match], _Bench],
) -> Remedy:
    supply = _supply(corpus.profile, yardstick, at.policy.mix.by, available)
    others = sum(corpus.origin_tokens.values()) - corpus.origin_tokens.get(HUMAN_VERIFIED, 0)

    def opens(proposal: Proposal, *, sure: bool) -> Reach:
        profile = remixed(corpus.profile, supply, proposal, others, at.policy.mix.seed)
        match = yardstick.match(profile)
        # While a share is searched, mixes are held against the baseline that is there, if they have the words for it.
        known = not sure and match.budget >= at.baseline.match.budget
        origins = {HUMAN_VERIFIED: proposal.human, UNKNOWN: proposal.others}
        mixed = replace(corpus, profile=profile, origin_tokens=origins)
        if _enough(profile, match) is not None:
            return Reach.CLOSED
        found = (at if known else bench(match)).judge(mixed)
        return Reach.CLOSED if not found.passed else Reach.OK if found.state == "OK" else Reach.PASSES

    return find_remedy(
        corpus.origin_tokens,
        judgement.gates,
        supply,
        at.policy,
        reach=partial(opens, sure=False),
        sure=partial(opens, sure=True),
        wanted=Reach.OK if judgement.passed else Reach.PASSES,
    )


def _supply(corpus: Profile, yardstick: Yardstick, by: str, available: int) -> Supply:
    """What the reservoir can give to a mix."""
    human = Profile.merged([yardstick.text, yardstick.pool])
    sample = Sample.of(human, CAPACITY, PASSAGE)
    label = next((name for name in STRATIFIED if sample.labelled(name)), "language")
    words = int(np.asarray(human.rows["words"].to_numpy(), np.int64).sum())
    documents = round(available * human.rows.num_rows / max(words, 1))
    ours, theirs = size_per_word(human, by), size_per_word(corpus, by)
    return Supply(human, available, documents, sample.shares(label), ours / theirs if theirs else 1.0)


def compare(metrics: Mapping[str, float | None], baseline: Baseline) -> dict[str, Finding]:
    """Every metric that was measured beside what human text gives."""
    pairs = ((name, value, baseline.nulls.get(name)) for name, value in metrics.items())
    found = (
        Finding.of(METRICS[name], value, null) for name, value, null in pairs if value is not None and null is not None
    )
    return {finding.metric: finding for finding in found if finding is not None}


def _gate(
    name: str, policy: Policy, metrics: Mapping[str, float | None], found: Mapping[str, Finding], words: int
) -> GateResult:
    kind = policy.gate_metric(name)
    sampled = METRICS[kind].family != "whole"
    return judge_gate(name, policy.gates[name], kind, metrics.get(kind), found.get(kind), sampled=sampled, words=words)


def _told(baseline: Baseline, sample: Sample) -> dict[str, Any]:
    match = baseline.match
    strata = {"by": match.label, "twentieths": dict(match.shares)} if match.label else None
    return {
        "baseline": baseline.digest,
        "documents": len(sample.tokens),
        "words": match.budget,
        "words_per_document": match.length,
        "strata": strata,
    }


def _enough(profile: Profile, match: Match) -> str | None:
    """Why a corpus cannot be judged; null where it can."""
    documents = int((profile.tokens.lengths > 0).sum())
    if documents < MINIMUM_DOCUMENTS:
        return f"too few documents: {documents:,} could be compared, {MINIMUM_DOCUMENTS} are needed to certify anything"
    if match.budget < MINIMUM_TOKENS:
        return (
            f"corpus or reservoir is too small: {match.budget:,} words could be compared, {MINIMUM_TOKENS:,} are "
            "needed to certify anything"
        )
    return None


def _unmeasured(corpus: Corpus, policy: Policy, match: Match, why: str) -> Judgement:
    metrics: dict[str, float | None] = dict.fromkeys(METRICS)
    total = sum(corpus.origin_tokens.values())
    if total:
        metrics["human_share"] = corpus.origin_tokens.get(HUMAN_VERIFIED, 0) / total
    gates = tuple(_gate(name, policy, metrics, {}, 0) for name in policy.gates)
    return Judgement(
        corpus.digest, policy.digest, "INCONCLUSIVE", (why,), gates, None, metrics, {}, match.budget, (), {}, {}
    )


def keep_judgement(store: Store, judged: Snapshot, judgement: Judgement) -> None:
    """Keep a judgement, passed or not, for plots, for people and for the next generation's detector."""
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


def _judged_before(store: Store, candidate: Snapshot) -> list[dict[str, Any]]:
    """The judgements of the generations that a candidate was mixed after, oldest first."""
    corpus, dump = str(candidate.details["corpus"]), str(candidate.details["dump"])
    return [judged for judged in history(store, corpus) if judged["dump"] < dump]


def origin_tokens(store: Store, candidate: Snapshot) -> dict[str, int]:
    """Add up the tokens of a candidate by origin, from its rows and not from what its manifest states."""
    totals: Counter[str] = Counter()
    for shard in candidate.with_role("documents_index"):
        grouped = read_shard(store, shard, ["origin", "tokens"]).group_by("origin").aggregate([("tokens", "sum")])
        totals.update(dict(zip(grouped["origin"].to_pylist(), grouped["tokens_sum"].to_pylist(), strict=True)))
    return dict(totals)
