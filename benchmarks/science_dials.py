"""One dial for each source of error, and the metrics that move with it."""

from __future__ import annotations

from functools import partial
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.science_found import (
    SHOWN,
    Found,
    Size,
    findings,
    told_states,
)
from benchmarks.science_text import PAGE_WORDS, Bench, draw_pages, make_bench, written
from collapse_guard.engine import LocalEngine
from collapse_guard.simulate.language_model import NgramModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.science_text import Source
    from collapse_guard.judge import Judgement


class Dial(NamedTuple):
    """How the model of one generation is trained and how it writes; 600 pages are written and judged."""

    pages: int = 600
    weights: tuple[float, ...] = (0.05, 0.15, 0.80)
    sharpness: int = 1


def _smoothed(share: float) -> tuple[float, ...]:
    return (share / 4, share * 3 / 4, 1 - share)


ORDERS = {1: (1.0,), 2: (0.2, 0.8), 3: (0.05, 0.15, 0.80), 4: (0.03, 0.05, 0.12, 0.80)}
DIALS: dict[str, dict[float, Dial]] = {
    "training pages": {pages: Dial(pages=pages) for pages in (75, 150, 300, 600, 1_200, 2_400)},
    "model order": {order: Dial(weights=weights) for order, weights in ORDERS.items()},
    "smoothing": {share: Dial(weights=_smoothed(share)) for share in (0.0, 0.1, 0.2, 0.4, 0.8)},
    "sharpness": {draws: Dial(sharpness=draws) for draws in (1, 2, 3, 5)},
}


def dials(found: Found, size: Size, sources: Mapping[str, Sequence[Source]]) -> None:
    """Turn one dial at a time, one generation, and see which metric moves."""
    bench = make_bench(sources, 0, 70_000)
    bench.judge(draw_pages(bench.sides.corpora, 600, 0))
    curves = {name: _curve(bench, settings, size.dial_seeds) for name, settings in DIALS.items()}
    head = ["metric", *(f"{name} {min(at):g} … {max(at):g}" for name, at in DIALS.items())]
    rows = [[metric, *(_ends(_effects(curve, metric)) for curve in curves.values())] for metric in SHOWN]
    states = [" … ".join(told_states(one.state for one in curve[end]) for end in (0, -1)) for curve in curves.values()]
    found.tables["dials"] = [head, *rows, ["state", *states]]
    found.figures["dials"] = {
        name: {"at": [float(at) for at in settings], "effects": {each: _effects(curves[name], each) for each in SHOWN}}
        for name, settings in DIALS.items()
    }


def _curve(bench: Bench, settings: Mapping[float, Dial], seeds: int) -> list[list[Judgement]]:
    ways = (partial(_one_generation, bench, dial) for dial in settings.values())
    return [list(LocalEngine().map(way, range(seeds))) for way in ways]


def _effects(curve: Sequence[Sequence[Judgement]], metric: str) -> list[float]:
    return [round(mean(findings(one)[metric].effect for one in point), 4) for point in curve]


def _one_generation(bench: Bench, dial: Dial, seed: int) -> Judgement:
    texts = [page.text for page in draw_pages(bench.sides.corpora, dial.pages, seed)]
    model = NgramModel.train(texts, order=len(dial.weights), weights=dial.weights)
    made = model.write_lengths(np.full(600, PAGE_WORDS), seed=seed, sharpness=dial.sharpness)
    return bench.judge(written(made, f"dial-{dial}-{seed}"), human=0.0)


def _ends(curve: Sequence[float]) -> str:
    return f"{curve[0]:.2f} … {curve[-1]:.2f}"
