"""From which share on synthetic text is seen."""

from __future__ import annotations

import math
from functools import partial
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.rows import Row
from benchmarks.science_found import (
    NAME,
    Found,
    Size,
    evident,
    findings,
    percent,
)
from benchmarks.science_text import (
    DRAWS,
    PAGE_WORDS,
    WANTED,
    Bench,
    Page,
    Portions,
    draw_pages,
    split,
    written,
)
from collapse_guard.engine import LocalEngine
from collapse_guard.judge.states import lost_families
from collapse_guard.simulate.language_model import NgramModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.science_text import Source

POWER = 0.8
LARGE = 1_000_000
"""Words of the largest corpora."""


class Seen(NamedTuple):
    """What one corpus with some synthetic text showed."""

    evidence: bool
    effect: bool
    state: bool


SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)
LARGE_SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
SAMPLERS = {"pure": 1, "sharp": 2}


def power(found: Found, size: Size, sources: Mapping[str, Sequence[Source]]) -> None:
    """Mix text of a first generation into human text, and see from which share on it is noticed."""
    sides = split(sources, 0, wanted=WANTED)
    plans = [(Bench.of(sides, tokens, DRAWS), tokens, SHARES, size.power_draws) for tokens in (60_000, 100_000)]
    if size.large_draws:
        many = split(sources, 0, wanted=20_000, most=4, portions=Portions(0.23, 0.37, 0.02))
        plans.append((Bench.of(many, LARGE, DRAWS), LARGE, LARGE_SHARES, size.large_draws))
    rows = [row for plan in plans for row in _power_of(found, *plan)]
    all_shares = sorted({*SHARES, *LARGE_SHARES})
    head = ["words", "text", "draws", "seen by", *map(percent, all_shares), "smallest seen in 80 %"]
    found.tables["power"] = [head, *rows]


def _power_of(found: Found, bench: Bench, tokens: int, shares: Sequence[float], draws: int) -> Iterator[list[str]]:
    bench.judge(draw_pages(bench.sides.corpora, tokens // 125, 0))
    for name, sharpness in SAMPLERS.items():
        made = LocalEngine().map(partial(_mixed, bench, tokens, shares, sharpness), range(draws))
        by_share = dict(zip(shares, zip(*made, strict=True), strict=True))
        for kind in Seen._fields:
            power = {share: mean(getattr(one, kind) for one in each) for share, each in by_share.items()}
            least = min((share for share, seen in power.items() if seen >= POWER), default=None)
            if kind == "effect":
                value = math.nan if least is None else least
                note = f"{draws} draws of {tokens:,} words; EARLY or LATE, or one family with evidence and effect"
                asked = 0.1 if tokens == LARGE else None
                found.rows.append(
                    Row(
                        NAME,
                        f"least share of {name} text seen in {tokens:,} words",
                        value,
                        "share",
                        high=asked,
                        note=note,
                    )
                )
            cells = [percent(power[share]) if share in power else "" for share in sorted({*SHARES, *LARGE_SHARES})]
            told = percent(least) if least is not None else f"none up to {percent(max(shares))}"
            yield [f"{tokens:,}", name, str(draws), kind, *cells, told]


def _mixed(bench: Bench, tokens: int, shares: Sequence[float], sharpness: int, seed: int) -> list[Seen]:
    """Human pages with more and more pages of a model that learned from as many other human pages."""
    count = tokens // 125
    pages = draw_pages(bench.sides.corpora, len(bench.sides.corpora), seed)
    names = sorted({page.id.partition("-")[0] for page in pages})
    taught = set(_halves(names, seed))
    training = [page.text for page in pages if page.id.partition("-")[0] in taught][:count]
    human = [Page(page.id, page.text) for page in pages if page.id.partition("-")[0] not in taught]
    lengths = np.full(round(max(shares) * count), PAGE_WORDS)
    made = written(NgramModel.train(training).write_lengths(lengths, seed=seed, sharpness=sharpness), f"power-{seed}")
    return [_seen(bench, human, made, share, count) for share in shares]


def _halves(names: Sequence[str], seed: int) -> list[str]:
    return [names[at] for at in np.random.default_rng(seed).permutation(len(names))[: len(names) // 2].tolist()]


def _seen(bench: Bench, human: Sequence[Page], made: Sequence[Page], share: float, count: int) -> Seen:
    synthetic = round(share * count)
    judgement = bench.judge([*human[: count - synthetic], *made[:synthetic]], human=1 - share)
    found = findings(judgement)
    state = judgement.state in {"EARLY", "LATE"}
    return Seen(bool(evident(found)), state or bool(lost_families(found)), state)
