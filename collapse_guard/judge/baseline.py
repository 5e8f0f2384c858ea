"""Human-only draws from a frozen state of the reservoir: what each metric is when nothing is wrong."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.engine import LocalEngine
from collapse_guard.judge.evidence import Null
from collapse_guard.metrics import COMPOSITION, METRICS, Profile, Reference, Sample, compute
from collapse_guard.metrics.composition import comparable, psi
from collapse_guard.metrics.profile import PASSAGE
from collapse_guard.metrics.sample import TAIL_COUNTS
from collapse_guard.profiling import profile_first, profile_reservoir, read_profiles, read_types
from collapse_guard.reservoir import EVALUATION, HUMAN
from collapse_guard.snapshot import Ledger, Snapshot, find_run, publish, read_shard, run_key, write_shard
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from collapse_guard.policy import Judging
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Parent
    from collapse_guard.store import Store

POOL_SIZE = 20
"""Human-only draws are taken from at most this many times the budget, and so much human text makes the reference."""
HELDOUT_WORDS = 50_000
HALF_BIT = np.uint64(33)
"""A bit of the priority that neither the order nor the place of a passage depends on."""
SHORTEST = 16
STEPS = 20
"""Shares of strata are matched in steps of a twentieth, so that like candidates share a baseline."""
STRATIFIED = ("domain", "language")
LEAST_PSI = 0.05
"""Strata that differ by less are not matched: one baseline then serves all candidates."""


class Match(NamedTuple):
    """How a baseline is drawn: words, words of one document at most, and shares by a label in twentieths."""

    budget: int
    length: int
    label: str | None
    shares: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Baseline:
    """The nulls of one match, and the snapshot that they are kept in."""

    digest: str
    match: Match
    nulls: Mapping[str, Null]

    @property
    def means(self) -> dict[str, float]:
        """The mean of each metric over the draws."""
        return {name: null.mean for name, null in self.nulls.items()}


@dataclass(frozen=True)
class Yardstick:
    """What a corpus is compared with: profiles of a frozen state of the reservoir.

    One half of the reservoir's documents says which types are rare and makes the model of human text, the other half
    gives the human-only draws, so that human text is compared as if it were new; the evaluation split is held out from
    both.
    """

    parent: Parent | None
    text: Profile
    pool: Profile
    heldout: Profile
    judging: Judging
    gone: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    """Rare words of the first state of the reservoir that its text does not hold any more."""

    @classmethod
    def of(cls, store: Store, reservoir: Reservoir, judging: Judging) -> Yardstick:
        """Read it from a reservoir's state, which is profiled on first use.

        Args:
            store: Receives the profile.
            reservoir: The state.
            judging: The policy's budget and number of draws.

        Returns:
            The yardstick.
        """
        snapshot = profile_reservoir(store, reservoir)
        human, heldout = (
            Profile.merged(read_profiles(store, snapshot, split), 2 * POOL_SIZE * judging.tokens)
            for split in (HUMAN, EVALUATION)
        )
        made = cls.from_profiles(human, heldout, judging, reservoir.snapshot.as_parent())
        return replace(made, gone=_gone(store, snapshot, profile_first(store, reservoir)))

    @classmethod
    def from_profiles(
        cls, human: Profile, heldout: Profile, judging: Judging, parent: Parent | None = None
    ) -> Yardstick:
        """Make it from profiles of human text and of an evaluation split.

        Args:
            human: Human text, of which one half makes the reference and the other the draws.
            heldout: Human text that no corpus contains.
            judging: Budget and number of draws.
            parent: What the profiles were made from; baselines are kept under its name.

        Returns:
            The yardstick.
        """
        half = (human.rows["priority"].to_numpy() >> HALF_BIT) & np.uint64(1)
        return cls(parent, human.where(half == 0), human.where(half == 1), heldout, judging)

    def match(self, corpus: Profile) -> Match:
        """Decide at which budget, length and strata a corpus is compared.

        Documents are cut to the power of two that half of them reach on either side, so that both samples have about
        as many documents; the budget is the policy's, or what the corpus and half of the pool give.

        Returns:
            The match.
        """
        lengths = [int(np.median(_words(profile))) for profile in (corpus, self.pool) if profile.rows.num_rows]
        length = max(SHORTEST, min(PASSAGE, 1 << max(0, int(math.log2(max(1, min(lengths, default=1)))))))
        available = [int(np.minimum(_words(profile), length).sum()) for profile in (corpus, self.pool)]
        budget = _round_down(min(self.judging.tokens, available[0], available[1] // 2))
        label, shares = self._strata(corpus, budget, length)
        return Match(budget, length, label, shares)

    def reference(self, match: Match) -> Reference:
        """The human text that metrics are computed against at a match."""
        return Reference(
            Sample.of(self.text, POOL_SIZE * self.judging.tokens, match.length),
            Sample.of(self.heldout, HELDOUT_WORDS, PASSAGE),
            Sample.of(self.pool, POOL_SIZE * self.judging.tokens, match.length),
        )

    def baseline(self, store: Store, match: Match, reference: Reference) -> Baseline:
        """Every metric over human-only draws at a match; computed once and kept as a snapshot.

        Args:
            store: Receives it.
            match: Budget, length and strata.
            reference: What metrics are computed against.

        Returns:
            The nulls; a metric that some draw could not give has none.
        """
        details = {**match._asdict(), "shares": dict(match.shares), **asdict(self.judging), "text": self._digest}
        versions = {name: metric.version for name, metric in METRICS.items()}
        parents = (self.parent,) if self.parent else ()
        key = run_key("baseline", parents, None, {**details, "metrics": versions})
        snapshot = find_run(store, "baseline", key)
        if snapshot is None:
            draws = self.draw(match, reference)
            shards = (write_shard(store, draws, "baseline"),)
            ledger = Ledger(came_in=draws.num_rows, kept=draws.num_rows)
            made = Snapshot(
                "baseline", "baseline", "baseline@2", parents, shards, ledger, None, __version__, key, details
            )
            snapshot = publish(store, made)
        return Baseline(snapshot.digest, match, self._nulls(read_shard(store, snapshot.shards[0]), match))

    @cached_property
    def _digest(self) -> str:
        """What tells the baselines of two reservoirs apart, and those of two capacities of one."""
        digest = hashlib.sha256()
        for profile in (self.text, self.pool, self.heldout):
            digest.update(profile.tokens.offsets.tobytes() + profile.tokens.hashes.tobytes())
        return digest.hexdigest()

    def _nulls(self, draws: pa.Table, match: Match) -> dict[str, Null]:
        share = self._drawn_share(match)
        found = {
            name: Null.of(np.asarray(draws[name].to_numpy(zero_copy_only=False), np.float64), share)
            for name in draws.column_names
        }
        return {name: null for name, null in found.items() if null is not None}

    def _drawn_share(self, match: Match) -> float:
        """The share of the pool that a draw takes, at most a half.

        Where strata are matched, a draw takes more of some than of others: it is then the share that widens a variance
        as much, each stratum counting as its part of the draw.

        Returns:
            The share.
        """
        words = np.minimum(_words(self.pool), match.length)
        parts = [(1.0, int(words.sum()))]
        if match.label:
            values = self.pool.rows[match.label]
            parts = [(steps / STEPS, int(words[_rows_of(values, value)].sum())) for value, steps in match.shares]
        taken = [(part, part * match.budget / max(2 * part * match.budget, held)) for part, held in parts]
        widened = math.fsum(part * (1 + share) / (1 - share) for part, share in taken)
        return (widened - 1) / (widened + 1)

    def draw(self, match: Match, reference: Reference) -> pa.Table:
        """Take the metrics of human-only draws: one row per draw, one column per metric, null where not measurable."""
        rows = list(LocalEngine().map(partial(self._one_draw, match, reference), range(self.judging.draws)))
        return pa.table({name: pa.array([row[name] for row in rows], pa.float64()) for name in rows[0]})

    def _one_draw(self, match: Match, reference: Reference, number: int) -> dict[str, float | None]:
        random = np.random.default_rng([number, match.budget, match.length])
        plain = random.permutation(self.pool.rows.num_rows)
        matched = self._matched(match, random) if match.label else plain
        others = [name for name, metric in METRICS.items() if name not in COMPOSITION and metric.family != "whole"]
        found = compute(self._sample(plain, match), reference, COMPOSITION)
        return {**found, **compute(self._sample(matched, match), reference, others)}

    def _matched(self, match: Match, random: np.random.Generator) -> NDArray[np.int64]:
        """Documents in random order, as many of each stratum as its share of the budget asks for."""
        values, words = self.pool.rows[match.label], np.minimum(_words(self.pool), match.length)
        chosen = [
            _until(random.permutation(_rows_of(values, value)), words, match.budget * steps // STEPS)
            for value, steps in match.shares
        ]
        return random.permutation(np.concatenate(chosen))

    def _sample(self, order: NDArray[np.int64], match: Match) -> Sample:
        needed = _until(order, np.minimum(_words(self.pool), match.length), match.budget)
        rows = self.pool.rows.take(pa.array(needed))
        return Sample.of(Profile(rows.combine_chunks()), match.budget, match.length)

    def _strata(self, corpus: Profile, budget: int, length: int) -> tuple[str | None, tuple[tuple[str, int], ...]]:
        """The first label by which corpus and pool compare, and the corpus' shares; none if the pool has too little."""
        sample = Sample.of(corpus, budget, length)
        plain = Sample.of(self.pool, POOL_SIZE * self.judging.tokens, length)
        reference = Reference(plain, plain, plain)
        for label in STRATIFIED:
            if not comparable(sample, reference, label):
                continue
            ours, theirs = sample.shares(label), plain.shares(label)
            if psi(ours, theirs) < LEAST_PSI:
                return None, ()
            shares = _in_steps(ours, set(theirs))
            enough = all(budget * steps / STEPS <= theirs[value] * plain.words / 2 for value, steps in shares)
            return (label, shares) if enough else (None, ())
        return None, ()


def _gone(store: Store, profile: Snapshot, first: Snapshot) -> NDArray[np.uint64]:
    if first.digest == profile.digest:
        return np.empty(0, np.uint64)
    rare = read_types(store, first).between(*TAIL_COUNTS)
    return np.asarray(rare[read_types(store, profile).lookup(rare) == 0], np.uint64)


def _words(profile: Profile) -> NDArray[np.int64]:
    return np.asarray(pc.list_value_length(profile.rows["passage"]).to_numpy(), np.int64)


def _round_down(words: int) -> int:
    """Two leading digits, so that candidates of nearly one size share a baseline."""
    unit: int = 10 ** max(0, len(str(words)) - 2)
    return words // unit * unit


def _in_steps(shares: Mapping[str, float], known: set[str]) -> tuple[tuple[str, int], ...]:
    """Shares of the known values in twentieths, by largest remainder."""
    kept = {value: share for value, share in shares.items() if value in known}
    total = math.fsum(kept.values())
    if not total:
        return ()
    exact = {value: STEPS * share / total for value, share in kept.items()}
    steps = {value: int(count) for value, count in exact.items()}
    rest = sorted(exact, key=lambda value: (steps[value] - exact[value], value))[: STEPS - sum(steps.values())]
    return tuple(sorted((value, steps[value] + (value in rest)) for value in steps if steps[value] + (value in rest)))


def _rows_of(values: pa.ChunkedArray, value: str) -> NDArray[np.int64]:
    return np.flatnonzero(pc.fill_null(pc.equal(values, value), fill_value=False).to_numpy())


def _until(order: NDArray[np.int64], words: NDArray[np.int64], budget: int) -> NDArray[np.int64]:
    """The first documents that reach a budget."""
    return order[: int(np.searchsorted(np.cumsum(words[order]), budget, side="left")) + 1]
