"""`python -m benchmarks [--json] [--short] [NAME ...]`: run benchmarks, print one table, keep it as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time

from rich.console import Console

from benchmarks import (
    classifier,
    dedup,
    examples,
    filters,
    images,
    imports,
    ingest,
    judging,
    long_document,
    marking,
    memory,
    metrics,
    mixing,
    parity,
    proof,
    rerun,
    scale,
    science,
    science_theory,
    signals,
    watermark_statistics,
    watermarks,
)
from benchmarks.rows import Row, table
from benchmarks.texts import OUT, origin

BENCHMARKS = {
    "import": imports.run,
    "signals": signals.run,
    "filters": filters.run,
    "parity": parity.run,
    "examples": examples.run,
    "scale": scale.run,
    "ingest": ingest.run,
    "memory": memory.run,
    "long": long_document.run,
    "dedup": dedup.run,
    "rerun": rerun.run,
    "mixing": mixing.run,
    "proof": proof.run,
    "watermarks": watermarks.run,
    "watermark_statistics": watermark_statistics.run,
    "marking": marking.run,
    "classifier": classifier.run,
    "images": images.run,
    "metrics": metrics.run,
    "judging": judging.run,
    "science_theory": science_theory.run,
    "science": science.run,
}
SHORTER = {
    "watermark_statistics": watermark_statistics.run_short,
    "science_theory": science_theory.run_short,
    "science": science.run_short,
}


def main() -> None:
    """Run what was named, or everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure time and memory.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--short", action="store_true", help=f"less of {', '.join(SHORTER)}")
    arguments = parser.parse_args()
    runs = BENCHMARKS | (SHORTER if arguments.short else {})
    if unknown := sorted(set(arguments.names) - set(BENCHMARKS)):
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    OUT.mkdir(parents=True, exist_ok=True)
    started, notes = time.perf_counter(), Console(stderr=True)
    rows: list[Row] = []
    for name in arguments.names or BENCHMARKS:
        with notes.status(name):
            rows += runs[name]()
    machine = {"cores": os.cpu_count(), "architecture": platform.machine(), "python": platform.python_version()}
    facts = {"machine": machine, "texts": origin(), "seconds": time.perf_counter() - started}
    result = json.dumps({**facts, "rows": [row.to_json() for row in rows]}, indent=1, ensure_ascii=False)
    (OUT / "results.json").write_text(result + "\n")
    if arguments.json:
        print(result)
    else:
        Console(width=None if os.isatty(1) else 200).print(table(rows))


if __name__ == "__main__":
    main()
