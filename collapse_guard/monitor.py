"""Watch a model by what it writes: each generation beside human text, and beside the generations before it."""

from __future__ import annotations

import glob
import math
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from collapse_guard.engine import LocalEngine
from collapse_guard.errors import UsageError
from collapse_guard.ingest import ingest
from collapse_guard.judge import Corpus, Judgement, Yardstick, judge_profile
from collapse_guard.judge.evidence import ALPHA, CONFIDENCE_Z
from collapse_guard.metrics import METRICS, Counts, Profile, Tokens
from collapse_guard.metrics.sample import TAIL_COUNTS
from collapse_guard.profiling import profile_documents, profile_reservoir, read_profiles, read_types
from collapse_guard.snapshot import (
    Ledger,
    Snapshot,
    find_run,
    publish,
    read_rows,
    read_shard,
    resume,
    run_key,
    write_shard,
)
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from collapse_guard.policy import Policy
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Shard
    from collapse_guard.store import Store

    Hashes = NDArray[np.uint64]

SCHEMA = "monitored@1"
WORDS = "words"
NOT_APPLICABLE = "human_share"
"""A model's output holds no human text: a gate on its share would always be closed."""
DECLINED = -math.log(ALPHA)
"""The log of the e-detector from which on a decline is taken as found."""
MOST_UNCERTAIN = 1.0
"""A ratio whose standard deviation is larger than itself has no logarithm to speak of."""
PLACE = "{generation}"


class Change(NamedTuple):
    """How many times as large something is, and its interval at 99 % confidence."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Watched:
    """What was found about one generation of a model, and the snapshot that keeps it."""

    snapshot: Snapshot

    @property
    def generation(self) -> int:
        """Its number."""
        return int(self.snapshot.details["generation"])

    @cached_property
    def judgement(self) -> Judgement:
        """Its samples beside human text, under every gate that applies to a model's output."""
        return Judgement.from_json(self.snapshot.details["judgement"])

    @property
    def skipped(self) -> tuple[str, ...]:
        """Gates on the human share, which say nothing about a model's output."""
        return tuple(self.snapshot.details["skipped"])

    @property
    def since_first(self) -> Mapping[str, Change]:
        """By metric: this generation divided by the first, each taken as a ratio to human text."""
        return {name: Change(**change) for name, change in self.snapshot.details["since_first"].items()}

    @property
    def per_generation(self) -> Mapping[str, Change]:
        """By metric: the factor by which a generation changes it, fitted to all generations so far."""
        return {name: Change(**change) for name, change in self.snapshot.details["per_generation"].items()}

    @property
    def lost(self) -> Mapping[str, Mapping[str, Any]]:
        """How many rare words of the `first` generation and of the `reservoir` are gone, counted over every token.

        Of `types` words, `since` has for each generation so far, oldest first, how many no generation has written from
        it on; its last entry is how many this generation does not write. `new` is the other direction: rare words of
        this generation that the first did not write. Samples of one size from an unchanged source have about as many
        of these as of those.
        """
        return dict(self.snapshot.details["lost"])

    @property
    def declined(self) -> tuple[str, ...]:
        """The metrics that have been declining for certain."""
        return tuple(name for name, log_e in self.judgement.decline.items() if log_e >= DECLINED)

    @property
    def passed(self) -> bool:
        """Whether the state is open, every blocking gate that applies is, and nothing has been declining."""
        return self.judgement.passed and not self.declined

    def to_json(self) -> dict[str, Any]:
        """Everything that was found, as plain JSON."""
        facts = {name: said for name, said in self.snapshot.details.items() if name != "judgement"}
        judged = {**self.judgement.to_json(), "digest": self.snapshot.digest, "passed": self.passed}
        return {**facts, **judged, "ledger": self.snapshot.ledger.to_json(), "declined": list(self.declined)}


def find_samples(patterns: Sequence[str]) -> dict[int, list[str]]:
    """Find the files of every generation.

    Args:
        patterns: Globs with `{generation}` where its number stands; or files and folders with one number in their name.

    Returns:
        By generation: its files and folders, sorted.

    Raises:
        UsageError: A pattern matches nothing, or a name tells no generation.
    """
    found: defaultdict[int, set[str]] = defaultdict(set)
    for pattern in patterns:
        for number, path in _matches(pattern) if PLACE in pattern else [_named(pattern)]:
            found[number].add(path)
    return {number: sorted(found[number]) for number in sorted(found)}


def _matches(pattern: str) -> list[tuple[int, str]]:
    named = re.escape(pattern).replace(re.escape(PLACE), r"(?<!\d)(?P<number>\d+)(?!\d)", 1)
    named = named.replace(re.escape(PLACE), r"(?P=number)").replace(r"\*", ".*").replace(r"\?", ".")
    paths = glob.glob(pattern.replace(PLACE, "*"), recursive=True)  # noqa: PTH207 - absolute patterns too
    found = [(int(match["number"]), path) for path in paths if (match := re.fullmatch(named, path))]
    if not found:
        raise UsageError(f"samples {pattern!r} match no file; {PLACE} stands for the generation's number, such as 0")
    return found


def _named(path: str) -> tuple[int, str]:
    numbers = re.findall(r"\d+", Path(path).name.partition(".")[0])
    if len(numbers) != 1:
        raise UsageError(
            f"{path!r} does not tell which generation wrote it; name one number, as in gen0.jsonl, or write {PLACE} "
            f"where it stands, as in 'run7/gen{PLACE}/*.jsonl'"
        )
    return int(numbers[0]), path


def monitor(
    store: Store,
    model: str,
    samples: Mapping[int, Sequence[str]],
    reservoir: Reservoir,
    policy: Policy,
    *,
    fields: Mapping[str, str] | None = None,
    workers: int = 2,
) -> list[Watched]:
    """Watch the generations of a model.

    Args:
        store: Receives documents, profiles and what was found.
        model: The model's name.
        samples: By generation: files of what it writes, in any format that can be ingested.
        reservoir: The human text that it is compared with.
        policy: Gates and judging; gates on the human share are skipped.
        fields: Column of the input for a column of a document, such as `{"text": "completion"}`.
        workers: Processes that parse.

    Returns:
        What was found about every generation, oldest first; the same input gives the same digests.

    Raises:
        UsageError: There is no sample, or no gate applies to a model's output.
    """
    if not samples:
        raise UsageError(f"model {model!r} has no samples; name the files of at least one generation")
    watcher = _Watcher(store, reservoir, policy)
    watched: list[Watched] = []
    for number in sorted(samples):
        documents = ingest(store, model, str(number), samples[number], fields=fields, workers=workers)
        watched.append(watcher.watch(documents, number, watched))
    return watched


def applicable_gates(policy: Policy) -> list[str]:
    """The names of the gates that say something about a model's output; UsageError where there are none."""
    names = [name for name in policy.gates if policy.gate_metric(name) != NOT_APPLICABLE]
    if not names:
        raise UsageError(
            f"policy {policy.name!r} has gates on {NOT_APPLICABLE} alone, which hold nothing of a model's output back; "
            "add one such as `rare_coverage: {relative: true, low: 0.5, outside: block}`"
        )
    return names


class _Watcher:
    """Compares generations with one state of the reservoir under one policy."""

    def __init__(self, store: Store, reservoir: Reservoir, policy: Policy) -> None:
        self.store = store
        self.reservoir = reservoir
        self.policy = policy
        self.gates = applicable_gates(policy)

    @cached_property
    def yardstick(self) -> Yardstick:
        return Yardstick.of(self.store, self.reservoir, self.policy.judging)

    @cached_property
    def tail(self) -> Hashes:
        """The words that occur two to five times in all human text that may be mixed."""
        return read_types(self.store, profile_reservoir(self.store, self.reservoir)).between(*TAIL_COUNTS)

    def watch(self, documents: Snapshot, number: int, before: Sequence[Watched]) -> Watched:
        """Find or make what is known about a generation."""
        profile, words = profile_documents(self.store, documents), _counted_words(self.store, documents)
        made_from = (profile, words, self.reservoir.snapshot, *(watched.snapshot for watched in before))
        parents = tuple(snapshot.as_parent() for snapshot in made_from)
        versions = {name: metric.version for name, metric in METRICS.items()}
        key = run_key("monitored", parents, self.policy.digest, {"schema": SCHEMA, "metrics": versions})
        name = documents.sibling("monitored")
        known = resume(self.store, name, key)
        if known is not None:
            return Watched(known)
        details = {
            "model": documents.details["corpus"],
            "generation": number,
            "tokens": words.details["tokens"],
            "skipped": [name for name in self.policy.gates if name not in self.gates],
            **self._found(number, profile, before),
            "lost": self._lost([*(shard for watched in before for shard in watched.snapshot.shards), *words.shards]),
        }
        ledger, digest = documents.ledger, self.policy.digest
        made = Snapshot(name, "monitored", SCHEMA, parents, words.shards, ledger, digest, __version__, key, details)
        return Watched(publish(self.store, made))

    def _found(self, number: int, profile: Snapshot, before: Sequence[Watched]) -> dict[str, Any]:
        """The judgement, and how it stands to those before."""
        earlier = [watched.snapshot.details["judgement"] for watched in before]
        corpus = Corpus(profile.digest, Profile.merged(read_profiles(self.store, profile)), {}, earlier)
        judgement = judge_profile(self.store, corpus, self.yardstick, self.policy)
        judgement = replace(judgement, gates=tuple(gate for gate in judgement.gates if gate.name in self.gates))
        generations = [*(watched.generation for watched in before), number]
        judgements = [*(watched.judgement for watched in before), judgement]
        return {
            "generations": generations,
            "judgement": judgement.to_json(),
            **_trends(generations, judgements),
        }

    def _lost(self, words: Sequence[Shard]) -> dict[str, Any]:
        """Count the rare words that are gone, over every token of every generation."""
        written = [_read_words(self.store, shard) for shard in words]
        first, newest = (counts.between(*TAIL_COUNTS) for counts in (written[0], written[-1]))
        new = int((written[0].lookup(newest) == 0).sum())
        return {
            "first": {"types": len(first), "since": gone_since(first, written), "new": new},
            "reservoir": {"types": len(self.tail), "since": gone_since(self.tail, written)},
        }


def gone_since(types: Hashes, written: Sequence[Counts]) -> list[int]:
    """Count, for each generation, the types that neither it nor any later generation has written.

    Args:
        types: Hashes of types.
        written: What each generation wrote, oldest first.

    Returns:
        One count per generation; it never falls.
    """
    last = np.full(len(types), -1)
    for number, counts in enumerate(written):
        last[counts.lookup(types) > 0] = number
    return [int((last < number).sum()) for number in range(len(written))]


def _trends(generations: Sequence[int], judgements: Sequence[Judgement]) -> dict[str, Any]:
    """How every metric of the newest generation stands to the first, and the change per generation."""
    since, per = {}, {}
    for name in (finding.metric for finding in judgements[-1].findings):
        points = [
            (number, *logged)
            for number, judgement in zip(generations, judgements, strict=True)
            if (logged := _log_effect(judgement, name))
        ]
        if len(points) > 1 and points[0][0] == generations[0] and points[-1][0] == generations[-1]:
            since[name] = _between(points[0], points[-1])._asdict()
            per[name] = fitted_change(*zip(*points, strict=True))._asdict()
    return {"since_first": since, "per_generation": per}


def _log_effect(judgement: Judgement, name: str) -> tuple[float, float] | None:
    """The log of a metric's ratio to human text and its standard deviation; none where either cannot be told."""
    finding = judgement.finding(name)
    if finding is None or METRICS[name].scale != "ratio" or finding.effect <= 0:
        return None
    sd = (finding.high - finding.low) / (2 * CONFIDENCE_Z * finding.effect)
    return (math.log(finding.effect), sd) if 0 < sd <= MOST_UNCERTAIN else None


def _between(first: tuple[int, float, float], last: tuple[int, float, float]) -> Change:
    return _change(last[1] - first[1], math.hypot(first[2], last[2]))


def fitted_change(generations: Sequence[int], logs: Sequence[float], sds: Sequence[float]) -> Change:
    """Fit the factor by which each generation changes a metric: a line through its logs, by weighted least squares.

    Where the points lie further from the line than their deviations explain, the interval is wider by as much (Birge
    1932), so that a change which is no line is not told too surely.

    Args:
        generations: At least two numbers that differ.
        logs: The log of the metric at each.
        sds: The standard deviation of each log, above 0.

    Returns:
        The factor per generation.
    """
    x, y = np.asarray(generations, np.float64), np.asarray(logs, np.float64)
    weights = 1 / np.square(np.asarray(sds, np.float64))
    around = x - np.average(x, weights=weights)
    spread = float(np.sum(weights * around**2))
    slope = float(np.sum(weights * around * y)) / spread
    rest = y - np.average(y, weights=weights) - slope * around
    misfit = float(np.sum(weights * rest**2)) / max(1, len(x) - 2)
    return _change(slope, math.sqrt(max(1.0, misfit) / spread))


def _change(log: float, sd: float) -> Change:
    half = CONFIDENCE_Z * sd
    return Change(math.exp(log), math.exp(log - half), math.exp(log + half))


def _counted_words(store: Store, documents: Snapshot) -> Snapshot:
    """Every word of a generation's samples and how often it occurs, once per set of samples."""
    parents = (documents.as_parent(),)
    name, key = documents.sibling(WORDS), run_key(WORDS, parents, None, {})
    known = find_run(store, name, key)
    if known is not None:
        return known
    tables = read_rows(store, documents.with_role("documents"), ["text"])
    words = reduce(Counts.merged, LocalEngine().map(_counted, tables), Counts.of(np.empty(0, np.uint64)))
    shard = write_shard(store, pa.table({"hash": words.hashes, "count": words.counts}), WORDS)
    ledger, details = Ledger(shard.rows, shard.rows), {"tokens": words.total}
    made = Snapshot(name, WORDS, f"{WORDS}@1", parents, (shard,), ledger, None, __version__, key, details)
    return publish(store, made)


def _counted(documents: pa.Table) -> Counts:
    return Counts.of(Tokens.of([documents["text"]]).hashes)


def _read_words(store: Store, shard: Shard) -> Counts:
    rows = read_shard(store, shard)
    return Counts(rows["hash"].to_numpy(), rows["count"].to_numpy())
