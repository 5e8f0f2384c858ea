"""How long a new process takes to import the library, and to print the command's help."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from benchmarks.children import run_json, seconds_of
from benchmarks.rows import Row

RUNS = 10
HEAVY = ("dagster", "great_expectations", "numba")
_LOADED = f"import collapse_guard, json, sys; print(json.dumps({{name: name in sys.modules for name in {HEAVY!r}}}))"


def run() -> list[Row]:
    """Time new processes, warm; each number includes the start of Python."""
    loaded = run_json([sys.executable, "-c", _LOADED])
    help_text = [str(Path(sys.executable).with_name("collapse-guard")), "--help"]
    return [
        _timed("import collapse_guard", [sys.executable, "-c", "import collapse_guard"]),
        Row("import", f"of {', '.join(HEAVY)}: loaded", sum(loaded.values()), "modules", high=0),
        _timed("collapse-guard --help", help_text),
    ]


def _timed(name: str, command: list[str]) -> Row:
    seconds_of(command)
    median = statistics.median(seconds_of(command) for _ in range(RUNS))
    return Row("import", name, median, "s", high=1.0, note=f"median of {RUNS} new processes")
