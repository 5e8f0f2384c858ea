"""What docs/science.md shows is what docs/science.json holds, and what it names exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, SHORTER
from benchmarks.science_page import FIGURES, MARKED, draw, render

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "science.md").read_text(encoding="utf-8")
TOLD = json.loads((ROOT / "docs" / "science.json").read_text(encoding="utf-8"))


def test_the_tables_of_the_page_are_those_of_the_numbers() -> None:
    assert render(PAGE, TOLD["tables"]) == PAGE


def test_every_table_has_its_place() -> None:
    assert sorted(name for _, name, _ in MARKED.findall(PAGE)) == sorted(TOLD["tables"])


def test_a_changed_number_changes_the_page() -> None:
    changed = {name: [*rows, ["changed"]] for name, rows in TOLD["tables"].items()}

    assert render(PAGE, changed).count("| changed |") == len(changed)


def test_every_benchmark_of_the_page_exists() -> None:
    commands = re.findall(r"python -m benchmarks ([a-z_ -]+)", PAGE)
    named = {word for command in commands for word in command.split() if not word.startswith("--")}

    assert named == {"science", "science_theory"}
    assert named <= set(BENCHMARKS)
    assert named <= set(SHORTER)


def test_every_target_of_the_page_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    for target in re.findall(r"^make (\w+)", PAGE, re.MULTILINE):
        assert re.search(
            rf"^{target}:.*\n\t\$\(BIN\)/python -m benchmarks science_theory science$", makefile, re.MULTILINE
        )


def test_every_figure_of_the_page_is_there_and_small() -> None:
    images = re.findall(r"\]\((images/[^)]+)\)", PAGE)

    assert images == [f"images/science-{name}.png" for name in FIGURES]
    for image in images:
        assert (ROOT / "docs" / image).stat().st_size < 60_000


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_from_the_numbers(name: str) -> None:
    drawn = draw({dial: TOLD["figures"]["dials"][dial] for dial in FIGURES[name]})

    assert drawn.startswith(b"\x89PNG")


def test_every_file_that_the_page_names_exists() -> None:
    for path in re.findall(r"`\.\./shared/([^`]+)`", PAGE):
        shared = ROOT.parent / "shared"
        if not shared.exists():
            pytest.skip(f"{shared} is not there")
        assert (shared / path).exists(), path
