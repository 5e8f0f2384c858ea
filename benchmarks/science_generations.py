"""Recursive training before the judge, generation by generation."""

from __future__ import annotations

from functools import partial
from statistics import mean, median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.rows import Row
from benchmarks.science_found import (
    NAME,
    Found,
    Size,
    percent,
    told_range,
    told_states,
)
from benchmarks.science_text import Bench, draw_pages, make_bench, written
from collapse_guard.engine import LocalEngine
from collapse_guard.judge.findings import OPEN
from collapse_guard.simulate.recursion import Dials, Workflow, recurse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.science_text import Source
    from collapse_guard.judge import Judgement


class Arm(NamedTuple):
    """One way to train generation after generation."""

    name: str
    workflow: Workflow
    human_share: float = 0.0
    sharpness: int = 1
    rounds: int = 6
    domain: str | None = None
    pages: int = 600


class Step(NamedTuple):
    """One generation as it was judged; the vocabulary of as many pages as at first, divided by the first one's."""

    judgement: Judgement
    vocabulary: float

    @property
    def state(self) -> str:
        """What the judge called it."""
        return self.judgement.state


REPLACE = Arm("replace", Workflow.REPLACE, rounds=8)
ACCUMULATE = Arm("accumulate, half human", Workflow.ACCUMULATE, 0.5)
ARMS = (
    REPLACE,
    Arm("replace, sharp", Workflow.REPLACE, sharpness=2),
    Arm("replace, 10 % fresh", Workflow.REPLACE, 0.1),
    Arm("replace, 30 % fresh", Workflow.REPLACE, 0.3),
    Arm("replace, 50 % fresh", Workflow.REPLACE, 0.5),
    Arm("accumulate, none human", Workflow.ACCUMULATE),
    ACCUMULATE,
    Arm("replace, within government", Workflow.REPLACE, domain="government", pages=400),
    Arm("replace, within literature", Workflow.REPLACE, domain="literature", pages=400),
)


def generations(found: Found, size: Size, sources: Mapping[str, Sequence[Source]]) -> None:
    """Judge every generation of recursive training."""
    bench = make_bench(sources, 0, 70_000)
    bench.judge(draw_pages(bench.sides.corpora, 600, 0))  # makes the baseline, which all threads then share
    ways: dict[Arm, list[list[Step]]] = {}
    for arm in ARMS:
        seeds = range({REPLACE: size.replace_seeds, ACCUMULATE: size.accumulate_seeds}.get(arm, size.seeds))
        rounds = min(size.rounds, arm.rounds)
        ways[arm] = list(LocalEngine().map(partial(_way, bench, arm, rounds), seeds))
    head = ["way", "seeds", "not OK at 1", "EARLY at 1 or 2", "ever LATE", "first LATE", "vocabulary there", "open"]
    found.tables["first"] = [head, *([arm.name, *_first(each)] for arm, each in ways.items())]
    numbers = [str(number) for number in range(max(arm.rounds for arm in ARMS) + 1)]
    found.tables["states"] = [["way", *numbers], *([arm.name, *_by_generation(each)] for arm, each in ways.items())]
    found.rows.extend(_asked_of_generations(ways[REPLACE], ways[ACCUMULATE]))


def _way(bench: Bench, arm: Arm, rounds: int, seed: int) -> list[Step]:
    human = [page.text for page in bench.sides.corpora if arm.domain in {None, page.domain}]
    dials = Dials(pages=arm.pages, sharpness=arm.sharpness)
    made = recurse(human, dials, workflow=arm.workflow, human_share=arm.human_share, rounds=rounds, seed=seed)
    steps: list[Step] = []
    first = 0
    for generation in made:
        name = f"{arm.name}-{seed}-{generation.number}"
        earlier = [step.judgement for step in steps]
        judgement = bench.judge(written(generation.texts, name), human=generation.human_share, earlier=earlier)
        words = len({word for text in generation.texts[: dials.pages] for word in text.split()})
        first = first or words
        steps.append(Step(judgement, words / first))
    return steps


def _first(ways: Sequence[Sequence[Step]]) -> list[str]:
    late = [step for way in ways if (step := _first_late(way))]
    numbers = [number for number, _ in late]
    return [
        str(len(ways)),
        percent(mean(way[1].state != "OK" for way in ways)),
        percent(_early_soon(ways)),
        percent(len(late) / len(ways)),
        f"{median(numbers):g} ({min(numbers)} to {max(numbers)})" if late else "",
        told_range([step.vocabulary for _, step in late]),
        percent(mean(_open(step.judgement) for way in ways for step in way[1:])),
    ]


def _open(judgement: Judgement) -> bool:
    """Whether everything but the human share would let it pass."""
    gates = [gate for gate in judgement.gates if gate.outside == "block" and gate.metric != "human_share"]
    return judgement.state in OPEN and all(gate.passed for gate in gates)


def _first_late(way: Sequence[Step]) -> tuple[int, Step] | None:
    return next(((number, step) for number, step in enumerate(way) if step.state == "LATE"), None)


def _early_soon(ways: Sequence[Sequence[Step]]) -> float:
    return mean(any(step.state == "EARLY" for step in way[1:3]) for way in ways)


def _by_generation(ways: Sequence[Sequence[Step]]) -> list[str]:
    return [told_states(way[number].state for way in ways) for number in range(len(ways[0]))]


def _asked_of_generations(replaced: Sequence[Sequence[Step]], accumulated: Sequence[Sequence[Step]]) -> Iterator[Row]:
    note = f"{len(replaced)} seeds"
    yield Row(NAME, "replace: EARLY at generation 1 or 2", _early_soon(replaced), "share", low=0.95, note=note)
    intact = [late is not None and late[1].vocabulary > 0.5 for late in map(_first_late, replaced)]  # noqa: PLR2004
    yield Row(NAME, "replace: LATE before half of the vocabulary is gone", mean(intact), "share", low=1.0, note=note)
    bad = [any(step.state not in OPEN for step in way) for way in accumulated]
    note = f"{len(accumulated)} seeds"
    yield Row(NAME, "accumulate, half human: neither OK nor EARLY", mean(bad), "share", high=0.0, note=note)
