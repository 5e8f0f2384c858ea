"""Steps about signals, like those of `benchmarks.steps`: `python -m benchmarks.measuring STEP ARGUMENTS-AS-JSON`."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import steps
from benchmarks.children import run_json
from benchmarks.packs import every_pack, policy_of
from collapse_guard import signals
from collapse_guard.catalogue import load_policy
from collapse_guard.kernels.minhash import sign
from collapse_guard.measure import measure, measure_snapshot, policy_signals
from collapse_guard.sift import sift_snapshot
from collapse_guard.snapshot import latest
from collapse_guard.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SLICES = 16
"""Of the texts, for threads to take in turn."""


def run_measuring(step: str, **arguments: object) -> dict[str, Any]:
    """Run a step of this module in a process of its own and return what it says."""
    return run_json([sys.executable, "-m", "benchmarks.measuring", step, json.dumps(arguments)])


def step_compute(
    parquet: str,
    titles: Sequence[str],
    *,
    threads: int = 1,
    runs: int = 3,
    minhash: bool = True,
    language: bool = False,
    given: bool = False,
) -> dict[str, Any]:
    """Compute the signals of packs in memory, some times; the machine code is loaded first."""
    table = pq.read_table(parquet, columns=["text", *(["tokens"] if given else [])]).combine_chunks()
    wanted = [*policy_signals(policy_of(titles)), *([signals.resolve("language_probability")] if language else [])]

    def work(part: pa.Table) -> None:
        signals.compute(part["text"], wanted, tokens=part["tokens"] if given else None)
        if minhash:
            sign(part["text"])

    work(table.slice(0, 1))
    size = -(-table.num_rows // SLICES)
    parts = [table.slice(start, size) for start in range(0, table.num_rows, size)] if threads > 1 else [table]
    with ThreadPoolExecutor(threads) as pool:
        return {"runs": [_timed(pool, work, parts) for _ in range(runs)], "signals": len(wanted)}


def _timed(pool: ThreadPoolExecutor, work: Any, parts: list[pa.Table]) -> float:  # noqa: ANN401 - the closure above
    started = time.perf_counter()
    list(pool.map(work, parts))
    return time.perf_counter() - started


def step_first(titles: Sequence[str]) -> dict[str, Any]:
    """Measure one text under some packs."""
    return {"columns": measure(["One text."], policy_of(titles)).num_columns}


def step_long(parquet: str, kinds: Sequence[str | Mapping[str, object]]) -> dict[str, Any]:
    """Compute some signals, or those of all packs, of few long texts; the machine code is loaded first."""
    texts = pq.read_table(parquet, columns=["text"])["text"]
    every = policy_signals(policy_of(every_pack()))
    wanted = [signals.resolve(kind) for kind in kinds] or every
    signals.compute(pa.array(["loads the machine code"]), wanted)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, started = steps.own_peak(), time.perf_counter()
    signals.compute(texts, wanted)
    return {"before_mb": before, "work_seconds": time.perf_counter() - started}


def step_measure(root: str, policy: str) -> dict[str, Any]:
    """Measure a snapshot; the machine code is loaded first."""
    wanted = load_policy(policy)
    measure(["loads the machine code"], wanted)
    started = time.perf_counter()
    documents = latest(open_store(root), f"{steps.CORPUS}/documents/{steps.DUMP}")
    measure_snapshot(open_store(root), documents, wanted)
    return {"work_seconds": time.perf_counter() - started}


def step_sift(root: str, policy: str) -> dict[str, Any]:
    """Sift a snapshot."""
    started = time.perf_counter()
    measured = latest(open_store(root), f"{steps.CORPUS}/measured/{steps.DUMP}")
    sift_snapshot(open_store(root), measured, load_policy(policy))
    return {"work_seconds": time.perf_counter() - started}


if __name__ == "__main__":
    steps.STEPS.update(compute=step_compute, long=step_long, first=step_first, measure=step_measure, sift=step_sift)
    steps.main()
