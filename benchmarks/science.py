"""What the judge sees and what it does not: false alarms, composition, generations, power, dials, recorded runs.

A full run rewrites docs/science.json, the tables of docs/science.md and its figures; a short one prints only.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.rows import Row
from benchmarks.science_dials import dials
from benchmarks.science_found import NAME, SHORT, Found, Size
from benchmarks.science_generations import generations
from benchmarks.science_human import human_corpora, one_domain
from benchmarks.science_page import keep
from benchmarks.science_power import power
from benchmarks.science_recorded import recorded, theory
from benchmarks.science_text import read_sources
from benchmarks.texts import OUT, PROSE

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS = (theory, recorded, human_corpora, one_domain, generations, dials, power)


def run() -> list[Row]:
    return _run(Size(), kept=True)


def run_short() -> list[Row]:
    return _run(SHORT, kept=False)


def _run(size: Size, *, kept: bool) -> list[Row]:
    if not PROSE.exists():
        print(f"{NAME}: {PROSE} is not there, and generated text would say nothing about human text", file=sys.stderr)
        return []
    found, sources = Found(), read_sources()
    for part in PARTS:
        started = time.perf_counter()
        part(found, size, sources)
        seconds = time.perf_counter() - started
        found.rows.append(Row(NAME, f"{part.__name__}: time", seconds, "s"))
        _write(found)
    found.tables["asked"] = asked(found.rows)
    if kept:
        keep(found.tables, found.figures)
    return found.rows


def asked(rows: Sequence[Row]) -> list[list[str]]:
    """The numbers that something was asked of, and whether it was met."""
    cells = [row.cells() for row in rows if row.met is not None]
    return [
        ["what", "found", "asked", "met"],
        *([name, found, bound, met] for _, name, found, _, bound, met, *_ in cells),
    ]


def _write(found: Found) -> None:
    told = {"tables": found.tables, "figures": found.figures, "rows": [row.to_json() for row in found.rows]}
    (OUT / f"{NAME}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
