"""Peak of resident memory of each step, at one size and at ten times that size."""

from __future__ import annotations

from benchmarks.pipeline import LARGE, SMALL, finished
from benchmarks.rows import Row
from collapse_guard.ingest.limits import Limits

GROWTH = {"measure": 1.10, "mix": 1.10}
"""What was asked; the other steps are shown beside them."""


def run() -> list[Row]:
    """Compare the peaks."""
    worker = finished(LARGE).steps["ingest"]["children_mb"]
    note = "upper bound: the system counts a child from the size that its parent had"
    growth = [_row(step) for step in finished(SMALL).steps]
    return [
        *growth,
        Row("memory", "worker process of ingest", worker, "MB", high=Limits().memory_bytes / 1e6, note=note),
    ]


def _row(step: str) -> Row:
    small, large = (finished(size).steps[step]["own_mb"] for size in (SMALL, LARGE))
    note = f"{small:.0f} MB at {SMALL / 1e6:.0f} MB of text, {large:.0f} MB at {LARGE / 1e6:.0f} MB"
    return Row("memory", step, large / small, "x", high=GROWTH.get(step), note=note)
