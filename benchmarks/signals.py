"""Measuring in memory on one core: all signals of the default policy, token counts, languages."""

from __future__ import annotations

import statistics

from benchmarks.children import one_core, run_step
from benchmarks.files import write_parquet
from benchmarks.rows import Row
from benchmarks.texts import OUT, origin

SIZE = 30_000_000
RUNS = 3
NAMES = {
    "measure": "measure: default policy's signals, language, digests",
    "tokens": "token count alone",
    "language": "language alone",
}


def run() -> list[Row]:
    """Time each on the same texts, machine code loaded."""
    path = OUT / "signals.parquet"
    write_parquet(path, SIZE)
    with one_core():
        return [Row("signals", name, _speed(str(path), what), "MB/s", note=origin()) for what, name in NAMES.items()]


def _speed(path: str, what: str) -> float:
    runs = [run_step("signals", parquet=path, what=what) for _ in range(RUNS)]
    return statistics.median(run["text_bytes"] / 1e6 / run["work_seconds"] for run in runs)
