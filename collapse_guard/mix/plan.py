"""How much of the reservoir and of the pool goes into a mix, and which documents these are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from collapse_guard.errors import GateClosed
from collapse_guard.policy import POOL_KINDS, decimal
from collapse_guard.reservoir import HUMAN
from collapse_guard.selection import NOTHING, Cut, find_cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from collapse_guard.policy import Mix

    Wanted: TypeAlias = Callable[[pa.Table], NDArray[np.bool_]]

POOL = "pool"


class Choices(Protocol):
    """What a plan is made from: the documents that may be taken, as numbers."""

    def rows(self, stratum: str, epoch: int = 0) -> Iterator[pa.Table]:
        """One pass over tables with `priority, id, text_sha256, size, kind, floor`."""

    def supply(self, stratum: str) -> NDArray[np.int64]:
        """How much there is by kind and floor, each document once; the last column belongs to no floor."""


@dataclass(frozen=True)
class Choice:
    """Which documents of one side are taken.

    Of each kind, those within its highest share are allowed. Of these, a document is taken if it lies within the cut
    of its stratum's floor, of its kind's lowest share, or of all.
    """

    size: int
    race: Cut
    floors: Mapping[int, Cut] = field(default_factory=dict)
    lows: Mapping[int, Cut] = field(default_factory=dict)
    highs: Mapping[int, Cut] = field(default_factory=dict)

    def chooses(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Say for each document whether it is taken; columns as in `Choices.rows`."""
        return (self.race.chooses(rows) | self._first(rows)) & self.allowed(rows)

    def first(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Say which documents a floor or a lowest share takes."""
        return self._first(rows) & self.allowed(rows)

    def _first(self, rows: pa.Table) -> NDArray[np.bool_]:
        found = np.zeros(rows.num_rows, bool)
        for name, cuts in (("floor", self.floors), ("kind", self.lows)):
            for place, cut in cuts.items():
                found |= (rows[name].to_numpy() == place) & cut.chooses(rows)
        return found

    def allowed(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Say which documents do not lie beyond the highest share of their kind."""
        found = np.ones(rows.num_rows, bool)
        for kind, cut in self.highs.items():
            found &= (rows["kind"].to_numpy() != kind) | cut.chooses(rows)
        return found


TAKE_NOTHING = Choice(0, NOTHING)


@dataclass(frozen=True)
class Plan:
    """What is taken of the pool, and of each repetition of the reservoir."""

    pool: Choice
    reservoir: tuple[Choice, ...]
    planned: int
    missing: int = 0

    @property
    def size(self) -> int:
        """How much the mix holds."""
        return self.pool.size + sum(choice.size for choice in self.reservoir)

    def details(self, wanted: Mix) -> dict[str, Any]:
        """What was asked, what the reservoir gave, and what it lacked."""
        action = wanted.on_exhausted if self.missing else None
        return {
            "target_human_share": wanted.human_share,
            "by": wanted.by,
            "planned_size": self.planned,
            "reservoir_epochs": len(self.reservoir),
            "exhausted": {"action": action, "missing": self.missing} if action else None,
            "seed": wanted.seed,
        }


def make_plan(choices: Choices, wanted: Mix) -> Plan:
    """Decide which documents of pool and reservoir are taken.

    Every share is of a planned size: the policy's, or the largest that the pool allows. The pool is chosen first; the
    reservoir then gives as much as the share needs, and the document that reaches it, so that the realised share is
    the target or up to one document above (one more for every floor that the reservoir meets).

    Args:
        choices: What there is.
        wanted: The policy's mix.

    Returns:
        The plan.

    Raises:
        GateClosed: A share or floor cannot be met as the policy asks; says what is missing.
    """
    return _Planner(choices, wanted).plan()


class _Planner:
    """Works out one plan; `total` is always the planned size of the whole mix."""

    def __init__(self, choices: Choices, wanted: Mix) -> None:
        self._choices = choices
        self._wanted = wanted
        self._share = decimal(wanted.human_share)
        self._floors = wanted.floors
        human, pool = (choices.supply(stratum) for stratum in (HUMAN, POOL))
        pool = pool * (self._share < 1)
        self._human, self._pool = int(human.sum()), int(pool.sum())
        self._human_by_floor = human.sum(axis=0).tolist()
        self._pool_by_floor = pool.sum(axis=0).tolist()
        self._by_kind = [int(pool[kind].sum()) for kind in range(len(POOL_KINDS))]
        self._epochs = wanted.max_epochs if wanted.on_exhausted == "repeat" else 1

    def plan(self) -> Plan:
        total, missing = self._total(), 0
        self._refuse_strangers()
        if self._wanted.on_exhausted == "shrink_synthetic":
            total, missing = self._shrunk(total)
        pool = self._choose_pool(total)
        needed = self._needed(pool.size, total)
        if needed > self._human and self._wanted.on_exhausted == "shrink_synthetic":
            missing = max(missing, needed - self._human)
            total = self._human / self._share
            pool = self._choose_pool(total)
            needed = self._needed(pool.size, total)
        if needed > self._human * self._epochs:
            raise GateClosed(self._human_shortage(needed))
        missing = max(missing, needed - self._human)
        return Plan(pool, tuple(self._choose_human(pool.size, needed)), math.floor(total), missing)

    def _total(self) -> Fraction:
        """The policy's size, or the largest at which every kind of the pool stays within its share."""
        if self._share == 1:
            return Fraction(self._wanted.budget or self._human)
        if not self._pool:
            return Fraction(0)
        highs = {kind: decimal(bound.high) for kind, bound in self._bounds().items()}
        full: set[int] = set()
        while True:
            open_share = 1 - self._share - sum(highs[kind] for kind in full)
            rest = sum(size for kind, size in enumerate(self._by_kind) if kind not in full)
            total = rest / open_share
            above = {kind for kind in highs.keys() - full if self._by_kind[kind] > highs[kind] * total}
            if not above:
                break
            full |= above
        if not total:
            raise GateClosed(self._nothing_else(highs))
        return total if self._wanted.budget is None else min(total, Fraction(self._wanted.budget))

    def _bounds(self) -> dict[int, Any]:
        return {POOL_KINDS.index(kind): bound for kind, bound in self._wanted.shares.items()}

    def _nothing_else(self, highs: Mapping[int, Fraction]) -> str:
        there = [kind for kind, size in enumerate(self._by_kind) if size]
        most = self._share + sum(highs.get(kind, Fraction(1)) for kind in there)
        said = ", ".join(f"{self._by_kind[kind]:,} of {POOL_KINDS[kind]}" for kind in there)
        return (
            f"the pool holds only {said} ({self._wanted.by}), which with `mix.human_share` may be {float(most):g} of "
            "the mix: the rest has nothing to come from. Raise `mix.human_share` or a `high` of `mix.shares`; nothing "
            "was mixed"
        )

    def _lows(self, total: Fraction) -> dict[int, int]:
        return {kind: math.ceil(decimal(bound.low) * total) for kind, bound in self._bounds().items() if bound.low}

    def _shrunk(self, total: Fraction) -> tuple[Fraction, int]:
        """The largest size at which every lowest share and floor can be met, and what is missing for more."""
        there = [(decimal(bound.low), self._by_kind[kind]) for kind, bound in self._bounds().items() if bound.low]
        both = zip(self._human_by_floor, self._pool_by_floor, strict=True)
        there += [(floor, sum(have)) for (_, _, floor), have in zip(self._floors, both, strict=False)]
        limits = [have / share for share, have in there]
        missing = max((math.ceil(share * total) - have for share, have in there), default=0)
        return min([total, *limits]), max(0, missing)

    def _refuse_strangers(self) -> None:
        for place, (name, value, floor) in enumerate(self._floors):
            if not self._human_by_floor[place] + self._pool_by_floor[place] and self._human + self._pool:
                raise GateClosed(
                    f"mix.strata.{name}.{value} has a floor of {float(floor):g}, but no document that may be mixed has "
                    f"the {name} {value!r}; admit some, or take the stratum out. Nothing was mixed"
                )

    def _refuse_shortage(self, total: Fraction) -> None:
        for kind, low in self._lows(total).items():
            if low > self._by_kind[kind]:
                share = self._wanted.shares[POOL_KINDS[kind]].low  # type: ignore[index]
                raise self._short(f"mix.shares.{POOL_KINDS[kind]}", "a `low`", share, low, self._by_kind[kind])
        for place, (name, value, floor) in enumerate(self._floors):
            have = self._human_by_floor[place] + self._pool_by_floor[place]
            if math.ceil(floor * total) > have:
                raise self._short(f"mix.strata.{name}.{value}", "a floor", float(floor), math.ceil(floor * total), have)

    def _short(self, place: str, word: str, share: float, needed: int, have: int) -> GateClosed:
        by = self._wanted.by
        return GateClosed(
            f"{place} has {word} of {share:g}, which needs {needed:,} {by}, and {have:,} may be mixed: "
            f"{needed - have:,} are missing. Add such documents, lower it or `mix.{self._size_key}`, or set "
            "`mix.on_exhausted` to `shrink_synthetic`; nothing was mixed"
        )

    @property
    def _size_key(self) -> str:
        return "tokens" if self._wanted.size is None and self._wanted.by == "tokens" else "size"

    def _from_reservoir(self, total: Fraction) -> list[Fraction]:
        """What of each floor the reservoir meets: all that it can, in proportion where that is more than its share."""
        must = self._must(total)
        asked = (floor * total for _, _, floor in self._floors)
        can = [min(want, Fraction(have)) for want, have in zip(asked, self._human_by_floor, strict=False)]
        more = [max(Fraction(0), most - least) for most, least in zip(can, must, strict=True)]
        room = max(Fraction(0), self._share * total - sum(must))
        part = min(Fraction(1), room / sum(more)) if sum(more) else Fraction(0)
        return [least + part * extra for least, extra in zip(must, more, strict=True)]

    def _must(self, total: Fraction) -> list[Fraction]:
        """What of each floor only the reservoir can meet."""
        supply = zip(self._floors, self._human_by_floor, self._pool_by_floor, strict=False)
        return [min(Fraction(human), max(Fraction(0), floor * total - pool)) for (_, _, floor), human, pool in supply]

    def _refuse_excess(self, side: str, share: Fraction, needed: Fraction, total: Fraction) -> None:
        if needed <= share * total:
            return
        by = self._wanted.by
        raise GateClosed(
            f"the floors of `mix.strata` need {math.ceil(needed):,} {by} that only the {side} has, but with "
            f"`mix.human_share` {self._wanted.human_share:g} it gives {math.floor(share * total):,} of "
            f"{math.floor(total):,}; lower the floors or change the share. Nothing was mixed"
        )

    def _choose_pool(self, total: Fraction) -> Choice:
        budget = math.floor((1 - self._share) * total)
        cuts = self._high_cuts(total) if budget else {}
        allowed = Choice(0, NOTHING, highs=cuts)
        if cuts:
            self._pool_by_floor = self._sizes(allowed.allowed, "floor")
        self._refuse_shortage(total)
        self._refuse_excess("reservoir", self._share, sum(self._must(total), Fraction(0)), total)
        if not budget:
            return TAKE_NOTHING
        given = self._from_reservoir(total)
        left = [floor * total - part for (_, _, floor), part in zip(self._floors, given, strict=True)]
        self._refuse_excess("pool", 1 - self._share, sum(left, Fraction(0)), total)
        return self._fill_pool(budget, allowed, [math.ceil(size) for size in left], self._lows(total))

    def _fill_pool(self, budget: int, allowed: Choice, floors: list[int], lows: Mapping[int, int]) -> Choice:
        def cut(name: str, place: int, size: int) -> Cut:
            wanted = lambda rows: (rows[name].to_numpy() == place) & allowed.allowed(rows)  # noqa: E731 - with its place
            return find_cut(partial(self._filtered, wanted), size, reach=True)

        at_floor = {place: cut("floor", place, size) for place, size in enumerate(floors) if size > 0}
        at_low = {kind: cut("kind", kind, size) for kind, size in lows.items()}
        first = Choice(0, NOTHING, at_floor, at_low, allowed.highs)
        taken = sum(self._sizes(first.first, "kind")) if at_floor or at_low else 0
        rest = partial(self._filtered, lambda rows: first.allowed(rows) & ~first.first(rows))
        race = find_cut(rest, max(0, budget - taken))
        return Choice(taken + race.size, race, at_floor, at_low, allowed.highs)

    def _high_cuts(self, total: Fraction) -> dict[int, Cut]:
        most = {kind: math.floor(decimal(bound.high) * total) for kind, bound in self._bounds().items()}
        return {
            kind: find_cut(partial(self._filtered, partial(_in_place, "kind", kind)), size)
            for kind, size in most.items()
            if self._by_kind[kind] > size
        }

    def _filtered(self, wanted: Wanted) -> Iterator[pa.Table]:
        return (rows.filter(pa.array(wanted(rows))) for rows in self._choices.rows(POOL))

    def _sizes(self, wanted: Wanted, name: str) -> list[int]:
        """What some documents of the pool add up to, by kind or floor; the last entry is for no floor."""
        found = np.zeros(len(POOL_KINDS) if name == "kind" else len(self._floors) + 1, np.int64)
        for rows in self._choices.rows(POOL):
            chosen = wanted(rows)
            np.add.at(found, rows[name].to_numpy()[chosen], rows["size"].to_numpy()[chosen])
        return [int(size) for size in found]

    def _needed(self, pool: int, total: Fraction) -> int:
        if self._share == 1:
            return math.ceil(total)
        return math.ceil(pool * self._share / (1 - self._share))

    def _choose_human(self, pool: int, needed: int) -> Iterator[Choice]:
        epoch = 0
        while needed > 0:
            choice = self._human_epoch(Fraction(pool + needed), needed, epoch)
            yield choice
            needed -= choice.size
            epoch += 1

    def _human_epoch(self, total: Fraction, needed: int, epoch: int) -> Choice:
        """Meet the floors in the first use of the reservoir, then fill up."""
        # A floor counts as what was asked of it, and not as its last document made it, so that a larger share, which
        # asks for more, never takes a document back.
        given = self._from_reservoir(total) if epoch == 0 else []
        floors = {place: self._floor_cut(place, math.ceil(size)) for place, size in enumerate(given) if size}
        rows = partial(self._choices.rows, HUMAN, epoch)
        counted = partial(_counted, rows, Choice(0, NOTHING, floors), given) if floors else rows
        race = find_cut(counted, max(0, needed - math.floor(sum(given))), reach=True)
        chosen = Choice(race.size, race, floors)
        return replace(chosen, size=self._size_of(chosen)) if floors else chosen

    def _floor_cut(self, place: int, size: int) -> Cut:
        wanted = partial(_in_place, "floor", place)
        rows = lambda: (rows.filter(pa.array(wanted(rows))) for rows in self._choices.rows(HUMAN))  # noqa: E731 - a pass
        return find_cut(rows, size, reach=True)

    def _size_of(self, chosen: Choice) -> int:
        sizes = (rows["size"].to_numpy()[chosen.chooses(rows)].sum() for rows in self._choices.rows(HUMAN))
        return int(sum(sizes))

    def _human_shortage(self, needed: int) -> str:
        have, by = self._human, self._wanted.by
        return (
            f"the reservoir holds {have:,} {by} that may be mixed and each may be used {self._epochs} time(s), but a "
            f"human share of {self._wanted.human_share:g} needs {needed:,}: {needed - have * self._epochs:,} are "
            f"missing. Admit more human documents, lower `mix.{self._size_key}`, or set `mix.on_exhausted` to "
            "`shrink_synthetic` or `repeat`; nothing was mixed"
        )


def _in_place(name: str, place: int, rows: pa.Table) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = rows[name].to_numpy() == place
    return found


def _counted(passes: Callable[[], Iterator[pa.Table]], first: Choice, given: list[Fraction]) -> Iterator[pa.Table]:
    """Documents with what they add to the floors: nothing, but for what the last document of a floor has beyond it."""
    for rows in passes():
        sizes = np.where(first.first(rows), 0, rows["size"].to_numpy())
        for place, cut in first.floors.items():
            sizes[_last_of(cut, rows)] = cut.size - math.ceil(given[place])
        yield rows.set_column(rows.column_names.index("size"), "size", pa.array(sizes))


def _last_of(cut: Cut, rows: pa.Table) -> list[int]:
    """The row of the last document within a cut, where the table holds it."""
    assert cut.last is not None  # noqa: S101 - a floor asks for no more than there is
    near = np.flatnonzero(rows["priority"].to_numpy() == np.uint64(cut.last[0])).tolist()
    return [row for row in near if (rows["id"][row].as_py(), rows["text_sha256"][row].as_py()) == cut.last[1:]]
