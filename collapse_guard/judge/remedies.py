"""Compute what to change so that a corpus may be released: how much human text to add, or how much else to remove."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from collapse_guard.document import HUMAN_VERIFIED
from collapse_guard.judge.findings import Remedy
from collapse_guard.metrics import Profile
from collapse_guard.metrics.profile import with_labels
from collapse_guard.metrics.sample import HUMAN_STRATUM
from collapse_guard.policy import decimal
from collapse_guard.selection import priorities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from numpy.typing import NDArray

    from collapse_guard.judge.findings import GateResult
    from collapse_guard.policy import Mix, Policy

    Judge: TypeAlias = Callable[["Proposal"], "Reach"]

STEPS = 64
"""Shares are searched in steps of 1/64; a share that the policy or a gate names is met exactly."""
ONLY_EARLY = "no share that the reservoir can carry brings the state back to OK; this one passes, as EARLY"


class Reach(IntEnum):
    """How far a mix gets."""

    CLOSED = 0
    PASSES = 1
    OK = 2


@dataclass(frozen=True)
class Supply:
    """What a remedy can use: the reservoir's profile, its tokens (each document once), documents and strata.

    `weight` is what a token of it counts in a mix by documents or bytes, beside a token of everything else.
    """

    profile: Profile
    tokens: int
    documents: int
    shares: Mapping[str, float] = field(default_factory=dict)
    weight: float = 1.0


@dataclass(frozen=True)
class Proposal:
    """A mix at another human share: tokens of the reservoir, with its repeats, and of everything else."""

    share: Fraction
    human: int
    others: int

    @property
    def realised(self) -> float:
        """The human share that these tokens make."""
        return self.human / (self.human + self.others) if self.human else 0.0


def find_remedy(
    tokens: Mapping[str, int],
    gates: tuple[GateResult, ...],
    supply: Supply,
    policy: Policy,
    *,
    reach: Judge | None = None,
    sure: Judge | None = None,
    wanted: Reach = Reach.PASSES,
) -> Remedy:
    """Find the least human share that brings a refused corpus back to OK, and what it takes in tokens.

    Where only gates on the share are closed, it is their bound: a closed form. Otherwise it is searched: within one use
    of the reservoir, the more of it is mixed in, in its fixed order, the closer every metric is to human text. Using it
    once more repeats documents, which is less like human text, so each further use is searched by itself. Where no
    share is OK, it is the least that passes.

    Args:
        tokens: The corpus' tokens by origin.
        gates: What the gates found.
        supply: The reservoir, as often as the policy lets its documents be used.
        policy: Whose target share is aimed at, and whose mix must be able to do it.
        reach: How far a mix would get; null where metrics cannot be computed from profiles.
        sure: The same beyond doubt, where `reach` saves time; what was found is held against it.
        wanted: The least that helps: `OK` where the corpus passes already.

    Returns:
        The remedy; not feasible where no share would do, or where the policy's mix cannot reach one that would.
    """
    search = _Search(_Case(tokens, gates, supply, policy), reach or _trusted, sure or reach or _trusted)
    levels = [level for level in (Reach.OK, Reach.PASSES) if level >= wanted]
    for level in levels:
        found = search.least(level, search.ends())
        if found is not None:
            return search.told(found, "" if level == Reach.OK else ONLY_EARLY, feasible=True)
    unlimited = search.without_limits()
    for level in levels:
        found = unlimited.least(level, [STEPS - 1])
        if found is not None:
            return search.told(search.propose(found.share), search.limits(found.share), feasible=False)
    return search.impossible()


def room(mix: Mix) -> Fraction:
    """The largest human share that the policy's other shares leave room for."""
    return 1 - sum((decimal(bound.low) for bound in mix.shares.values()), Fraction(0))


def _asked(gates: tuple[GateResult, ...]) -> Fraction:
    """The human share that gates ask for."""
    lows = (gate.low for gate in gates if gate.metric == "human_share" and gate.low is not None)
    return max((decimal(low) for low in lows), default=Fraction(0))


def _trusted(proposal: Proposal) -> Reach:
    """Where only the share counts, every mix that has it will do."""
    return Reach.OK if proposal.share else Reach.CLOSED


class _Case(NamedTuple):
    tokens: Mapping[str, int]
    gates: tuple[GateResult, ...]
    supply: Supply
    policy: Policy


class _Search:
    """Looks for shares in the order in which a mix takes the reservoir."""

    def __init__(self, case: _Case, reach: Judge, sure: Judge, *, limited: bool = True) -> None:
        self._case, self._reach, self._sure, self._limited = case, reach, sure, limited
        self._supply, self._mix = case.supply, case.policy.mix
        self._total, self._human = sum(case.tokens.values()), case.tokens.get(HUMAN_VERIFIED, 0)
        self._others = self._total - self._human
        self._shrinks = not limited or self._mix.on_exhausted == "shrink_synthetic"
        self._uses = self._mix.max_epochs if self._mix.on_exhausted == "repeat" else 1
        own = decimal(self._mix.human_share) if self._mix.by == "tokens" else Fraction(0)
        self._bound = max(_asked(case.gates), own)
        self._known: dict[Fraction, Reach] = {}

    def without_limits(self) -> _Search:
        """The same search as if everything else could be cut down to what the reservoir carries."""
        return _Search(self._case, self._reach, self._reach, limited=False)

    def propose(self, share: Fraction) -> Proposal:
        """What the policy's mix is at a share: all else stays, as far as its size and the reservoir allow."""
        total = Fraction(self._others) / (1 - share) if share < 1 else Fraction(self._supply.tokens)
        if self._mix.budget is not None:
            total = min(total, Fraction(self._mix.budget if self._mix.by == "tokens" else self._total))
        if self._shrinks and share * total > self._supply.tokens:
            total = self._supply.tokens / share
        return Proposal(share, math.ceil(share * total), math.floor((1 - share) * total))

    def ends(self) -> list[int]:
        """The last step that each use of the reservoir can reach, in the order of uses."""
        steps = [step for step in range(1, STEPS) if self._carries(self.propose(Fraction(step, STEPS)))]
        found = (
            max((step for step in steps if self._used(step) <= uses), default=0) for uses in range(1, self._uses + 1)
        )
        return sorted(set(found))

    def _used(self, step: int) -> float:
        return self.propose(Fraction(step, STEPS)).human / self._supply.tokens

    def _carries(self, proposal: Proposal) -> bool:
        if not self._limited:
            return proposal.human > 0
        enough = 0 < proposal.human <= self._supply.tokens * self._uses
        return enough and proposal.share <= room(self._mix)

    def least(self, level: Reach, ends: list[int]) -> Proposal | None:
        """The least share that reaches a level for sure: the bound, or the first step above it by bisection."""
        found = self._least(level, ends)
        if found is None or self._sure == self._reach or self._sure(found) >= level:
            return found
        return _Search(self._case, self._sure, self._sure, limited=self._limited).least(level, ends)

    def _least(self, level: Reach, ends: list[int]) -> Proposal | None:
        realised = Fraction(self._human, self._total) if self._total else Fraction(0)
        if self._bound > realised and self._reaches(self._bound, level):
            return self.propose(self._bound)
        low = math.floor(max(self._bound, realised) * STEPS)
        for end in ends:
            if end > low and self._reaches(Fraction(end, STEPS), level):
                return self.propose(self._bisected(low, end, level))
            low = max(low, end)
        return None

    def _bisected(self, low: int, high: int, level: Reach) -> Fraction:
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._reaches(Fraction(middle, STEPS), level) else (middle, high)
        return Fraction(high, STEPS)

    def _reaches(self, share: Fraction, level: Reach) -> bool:
        if share not in self._known:
            proposal = self.propose(share)
            self._known[share] = self._reach(proposal) if self._carries(proposal) else Reach.CLOSED
        return self._known[share] >= level

    def told(self, proposal: Proposal, why: str, *, feasible: bool) -> Remedy:
        """A proposal as a remedy."""
        # The tokens to add are of the reservoir's strata as they come: a mix takes it in one order, in which strata are
        # spread evenly. Strata that must come first, as those that a drift lost, have a floor in `mix.strata`.
        share, supply = proposal.share, self._supply
        add = max(0, proposal.human - self._human)
        cut = proposal.others < self._others
        both = (
            f"both together: its mix may hold {proposal.human + proposal.others:,} tokens" if cut and feasible else ""
        )
        return Remedy(
            human_tokens_to_add=add,
            synthetic_tokens_to_remove=self._others - proposal.others if cut else self._instead(share),
            resulting_share=max(proposal.realised, self._human / self._total if not add and self._total else 0.0),
            reservoir_epochs=proposal.human / supply.tokens if supply.tokens else float(self._mix.max_epochs + 1),
            feasible=feasible,
            human_documents_to_add=math.ceil(add * supply.documents / supply.tokens) if supply.tokens else 0,
            human_tokens_by_stratum={name: round(add * part) for name, part in sorted(supply.shares.items())},
            tokens_that_may_stay=self._carried(share),
            why="; ".join(part for part in (why, both) if part),
            share=str(self._asked_of_mix(share)),
        )

    def _asked_of_mix(self, share: Fraction) -> Fraction:
        """A share of tokens in what the policy's mix counts; not by tokens, the next step above, which is safe."""
        if self._mix.by == "tokens":
            return share
        human = float(share) * self._supply.weight
        step = math.floor(human / (human + 1 - float(share)) * STEPS) + 1
        return max(decimal(self._mix.human_share), Fraction(min(step, STEPS), STEPS))

    def _instead(self, share: Fraction) -> int:
        """How much else to remove where no human text is added."""
        return min(self._others, max(0, math.ceil(self._total - self._human / share)))

    def _carried(self, share: Fraction) -> int:
        return int(self._supply.tokens * self._uses * (1 - share) / share)

    def limits(self, share: Fraction) -> str:
        """Why the policy's mix cannot reach a share."""
        proposal, uses = self.propose(share), self._uses
        if share > room(self._mix):
            return (
                f"a human share of {float(share):.2f} is needed, and the policy's other shares (`mix.shares`) leave "
                f"room for {float(room(self._mix)):.2f}"
            )
        return (
            f"a human share of {float(share):.2f} needs each reservoir document "
            f"{proposal.human / max(self._supply.tokens, 1):.1f} times; the policy allows {uses} (`mix.on_exhausted: "
            f"{self._mix.on_exhausted}`); the reservoir can carry {self._carried(share):,} other tokens: remove the "
            f"rest, or admit {math.ceil(proposal.human / uses) - self._supply.tokens:,} tokens of human text"
        )

    def impossible(self) -> Remedy:
        """What is said where no share helps."""
        epochs = self._human / self._supply.tokens if self._supply.tokens else 0.0
        why = (
            "no share of this reservoir's text brings every metric back, so what is mixed with it must be another text"
            if self._supply.tokens
            else "the reservoir holds no text that may be mixed; admit some"
        )
        return Remedy(0, self._others, 1.0, epochs, feasible=False, why=why)


def remixed(corpus: Profile, supply: Supply, proposal: Proposal, others: int, seed: int) -> Profile:
    """Take the profile that a mix at another human share would have, from that of the corpus and of the reservoir.

    Documents are taken in the order of the mix. Where neither profile leaves documents out, the result is the profile
    of the mix itself but for floors, weights, and documents that the mix refuses to take.

    Args:
        corpus: The profile of the candidate.
        supply: The reservoir; where the mix needs more than it has, its documents repeat.
        proposal: The tokens of the mix.
        others: Tokens of the candidate from outside the reservoir.
        seed: The mix's.

    Returns:
        The profile.
    """
    strata = corpus.rows["stratum"].to_pylist()
    outside = corpus.where(np.array([stratum != HUMAN_STRATUM for stratum in strata], bool))
    if proposal.others < others:
        outside = _first(outside, seed, 0, proposal.others / others)
    uses, rest = divmod(proposal.human, supply.tokens)
    human = _labelled(supply.profile)
    return Profile.merged([outside, *[human] * uses, _first(human, seed, uses, rest / supply.tokens)])


def _labelled(profile: Profile) -> Profile:
    count = profile.rows.num_rows
    said = {"stratum": HUMAN_STRATUM, "origin": HUMAN_VERIFIED}
    labels = pa.table({name: pa.repeat(pa.scalar(value), count) for name, value in said.items()})
    return Profile(with_labels(profile.rows, labels), profile.cut)


def _first(profile: Profile, seed: int, epoch: int, share: float) -> Profile:
    """The documents that come first in the order of a mix, up to the one that reaches a share of the words."""
    order = np.argsort(priorities(profile.rows["id"], seed, epoch), kind="stable")
    ends = np.cumsum(np.asarray(profile.rows["words"].to_numpy(), np.int64)[order])
    count = int(np.searchsorted(ends, share * ends[-1], side="left")) + 1 if share > 0 and len(ends) else 0
    chosen: NDArray[np.bool_] = np.zeros(len(order), bool)
    chosen[order[:count]] = True
    return profile.where(chosen)


def size_per_word(profile: Profile, by: str) -> float:
    """How much a word is in what a mix counts; 0 for no words."""
    words = float(profile.rows["words"].to_numpy().sum())
    sizes = {"tokens": words, "bytes": float(profile.rows["bytes"].to_numpy().sum())}
    return sizes.get(by, float(profile.rows.num_rows)) / words if words else 0.0
