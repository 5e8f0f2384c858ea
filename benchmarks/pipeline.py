"""The whole pipeline once at some size, each step in a process of its own; memory and rerun share the result."""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.children import run_step
from benchmarks.files import write_folder
from benchmarks.texts import OUT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SMALL, LARGE = 60_000_000, 600_000_000
"""Bytes of text. Four shards, so that every buffer is full once; and ten times as much."""
HUMAN = 0.6
"""Reservoir text per text of the corpus: enough for a share of 0.3 without repeats."""
HUMAN_EDITION = 1_000


@dataclass(frozen=True)
class Done:
    """A finished pipeline: where it lies, and what each step cost."""

    root: Path
    inputs: Path
    steps: Mapping[str, dict[str, Any]]


@functools.cache
def finished(size: int) -> Done:
    """Run the pipeline on a corpus of some bytes of text, once per run of the benchmarks."""
    folder = OUT / f"pipeline-{size // 1_000_000}"
    shutil.rmtree(folder, ignore_errors=True)
    root, inputs, human = folder / "guard", folder / "inputs", folder / "human"
    write_folder(inputs, size)
    write_folder(human, int(size * HUMAN), HUMAN_EDITION)
    where = {"root": str(root)}
    root.mkdir()
    steps = {
        "ingest": run_step("ingest", **where, inputs=str(inputs), workers=2),
        "measure": run_step("measure", **where),
        "sift": run_step("sift", **where),
        "admit": run_step("admit", **where, inputs=str(human)),
        "mix": run_step("mix", **where),
        "release": run_step("release", **where),
    }
    return Done(root, inputs, steps)
