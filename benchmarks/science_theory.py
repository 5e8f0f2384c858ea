"""What theory says of recursive training beside simulations and recorded runs, and how long a generation takes.

The whole table goes to `benchmarks/out/science_theory.md` and `.json`.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from benchmarks.rows import Row
from benchmarks.texts import OUT, SHARED, documents
from collapse_guard.simulate.closed_forms import human_share_table
from collapse_guard.simulate.recursion import Dials, Workflow, cut_pages, recurse
from collapse_guard.simulate.theory import (
    WORST_Z,
    Comparison,
    chance_of_a_miss,
    compare_language,
    compare_recorded,
    compare_simulated,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "science_theory"
SEED = 1
RECORDED = SHARED / "collapse" / "gaussian_fitting_runs_histories.parquet"
HEAD = ("form", "setting", "formula", "simulated", "SE", "z", "replicates")
ROUNDS = 6


def run() -> list[Row]:
    return _run(40_000, 200)


def run_short() -> list[Row]:
    return _run(4_000, 20)


def _run(replicates: int, runs: int) -> list[Row]:
    tables = {
        "simulated": [*compare_simulated(replicates, SEED), *compare_language(runs, SEED)],
        "recorded": list(compare_recorded(pq.read_table(RECORDED))) if RECORDED.exists() else [],
    }
    speeds = list(_speeds())
    _write(tables, speeds)
    return [row for name, table in tables.items() if table for row in _rows(name, table)] + speeds


def _rows(name: str, comparisons: list[Comparison]) -> Iterator[Row]:
    note = f"{len(comparisons)} comparisons, of which one misses by chance in {chance_of_a_miss(len(comparisons)):.0%}"
    missed = sum(abs(each.z) > WORST_Z for each in comparisons)
    yield Row(NAME, f"{name}: beyond 3 standard errors", missed, "comparisons", high=0, note=note)
    for each in comparisons:
        note = f"formula {each.formula:.5g}, found {each.simulated:.5g} ± {each.error:.2g}, {each.replicates} runs"
        yield Row(NAME, f"{each.form}, {each.setting}", abs(each.z), "|z|", high=WORST_Z, note=note)


def _speeds() -> Iterator[Row]:
    """Time generations of few and of many pages; on one core, so that the processor's time is the time."""
    for pages, words in ((600, 100), (600, 180), (2_000, 140)):
        human = _human(pages, words)
        for workflow in Workflow:
            way = recurse(human, Dials(pages=pages), workflow=workflow, human_share=0, rounds=ROUNDS, seed=SEED)
            started = time.process_time()
            corpora = [len(generation.pages) * words for generation in way]
            seconds = (time.process_time() - started) / ROUNDS
            note = f"mean of {ROUNDS}, {sum(corpora) / len(corpora):,.0f} words in a corpus"
            yield Row(NAME, f"{workflow}, {pages} pages of {words} words: one generation", seconds, "CPU s", note=note)


def _human(pages: int, words: int) -> list[str]:
    texts = (document.text for document in documents(60_000_000))
    return [page for page, _ in zip(cut_pages(texts, words), range(pages), strict=False)]


def _write(tables: dict[str, list[Comparison]], speeds: list[Row]) -> None:
    """Keep all numbers, for people and for machines."""
    shares = [share._asdict() for share in human_share_table()]
    found: dict[str, Any] = {name: [_cells(each) for each in table] for name, table in tables.items()}
    for name, table in tables.items():
        found[f"chance_of_a_miss_{name}"] = chance_of_a_miss(len(table))
    found |= {"human_shares": shares, "seconds_per_generation": {row.name: row.value for row in speeds}}
    (OUT / f"{NAME}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    parts = [_markdown(table, HEAD, name) for name, table in found.items() if isinstance(table, list) and table]
    (OUT / f"{NAME}.md").write_text("\n".join(parts), encoding="utf-8")


def _cells(each: Comparison) -> dict[str, str | float]:
    values = (each.form, each.setting, each.formula, each.simulated, each.error, round(each.z, 2), each.replicates)
    return dict(zip(HEAD, values, strict=True))


def _markdown(rows: list[dict[str, Any]], head: tuple[str, ...], title: str) -> str:
    """Write a table; numbers with four digits."""
    columns = [name for name in head if name in rows[0]] or list(rows[0])
    told: Callable[[Any], str] = lambda value: f"{value:.4g}" if isinstance(value, float) else str(value)  # noqa: E731
    lines = [f"| {' | '.join(told(row[name]) for name in columns)} |" for row in rows]
    return "\n".join([f"### {title}\n", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *lines, ""])
