from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from collapse_guard.report.generations import Frequencies
from collapse_guard.report.plots import INKS, ORIGINS, PANELS, history_plot, origin_plot, rank_plot

MOST_BYTES = 30_000
MEAN, DEVIATION = 0.5, 0.01
GATE = {"metric": "rare_coverage", "low": 0.9, "high": None, "relative": True, "outside": "block"}


def entry(dump: str, value: float | None, state: str = "OK") -> dict[str, Any]:
    """A judgement with every main metric at a value, and human text at 0.5."""
    measured = [] if value is None else [name for name in PANELS if name != "human_share"]
    findings = [{"metric": name, "mean": MEAN, "sd": DEVIATION} for name in measured]
    return {
        "dump": dump,
        "metrics": dict.fromkeys(PANELS, value),
        "findings": findings,
        "gates": [GATE],
        "state": state,
    }


def colours(picture: bytes) -> set[str]:
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    return {f"#{red:02x}{green:02x}{blue:02x}" for _, (red, green, blue) in image.getcolors(1 << 16) or []}


def test_a_plot_of_a_hundred_noisy_dumps_is_a_picture_that_fits_an_event() -> None:
    noise = random.Random(3)
    history = [entry(f"CC-MAIN-2026-{week:02d}", 0.5 - week / 400 + noise.gauss(0, 0.02)) for week in range(100)]

    picture = history_plot(history, "web, dump by dump")

    assert len(picture) <= MOST_BYTES
    assert Image.open(io.BytesIO(picture)).size[0] > 500


@pytest.mark.parametrize(
    "values",
    [[0.5], [None], [0.5, None], [None, 0.5], [0.5, None, 0.5], [0.0, 0.0], [0.5, 0.0, 2.0], [1e-9, 1e6], [0.5] * 9],
)
def test_what_could_not_be_measured_is_a_gap_and_no_value_breaks_the_plot(values: list[float | None]) -> None:
    history = [entry(f"d{number}", value) for number, value in enumerate(values)]

    assert history_plot(history, "gaps").startswith(b"\x89PNG")


def test_a_judgement_from_before_there_were_findings_is_drawn_without_a_band() -> None:
    old = entry("d0", 0.5)
    del old["findings"]

    assert history_plot([old, entry("d1", 0.5)], "old and new").startswith(b"\x89PNG")


def test_one_point_in_another_state_keeps_its_own_colour() -> None:
    history = [entry(f"d{number}", 0.5, "LATE" if number == 20 else "OK") for number in range(50)]

    assert "#d55e00" in colours(history_plot(history, "one of fifty"))
    assert set(INKS) >= {"#d55e00", "#0072b2", "#e69f00"}


def test_the_words_of_a_corpus_are_drawn_beside_those_of_the_reservoir() -> None:
    ranks = np.array([1, 10, 100, 1000])
    curves = {name: Frequencies(ranks, 0.1 / ranks**power) for name, power in (("corpus", 1.2), ("reservoir", 1.0))}

    picture = rank_plot(curves, "words by rank")

    assert len(picture) <= MOST_BYTES
    assert {"#0072b2", "#b8b8b8"} <= colours(picture)


@pytest.mark.parametrize("dumps", [1, 6, 100])
def test_every_origin_has_its_own_colour_in_the_plot_of_shares(dumps: int) -> None:
    made = [{"dump": f"2026-{number:02d}", "tokens": dict.fromkeys(ORIGINS, 10)} for number in range(dumps)]

    picture = origin_plot(made, "who wrote it")

    assert len(picture) <= MOST_BYTES
    assert set(ORIGINS.values()) <= colours(picture)


def test_a_corpus_without_tokens_has_an_empty_plot_of_shares() -> None:
    assert origin_plot([{"dump": "d0", "tokens": {}}], "nothing").startswith(b"\x89PNG")
