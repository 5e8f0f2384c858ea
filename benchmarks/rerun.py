"""The whole pipeline a second time on unchanged input: in process, and as calls of the command."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.children import run_step, seconds_of
from benchmarks.pipeline import LARGE, Done, finished
from benchmarks.rows import Row
from benchmarks.steps import CORPUS, DUMP, POLICY

SECONDS = 2.0


def run() -> list[Row]:
    """Time it, and count what it reads and publishes."""
    done = finished(LARGE)
    said = run_step("rerun", root=str(done.root), inputs=str(done.inputs))
    read, published = said["shard_bytes_read"], said["published"]
    calls = {command: seconds_of([*_program(), *arguments]) for command, arguments in _calls(done).items()}
    slowest = max(calls, key=lambda command: calls[command])
    return [
        Row("rerun", "ingest to release, after imports", said["pipeline_seconds"], "s", high=SECONDS),
        Row("rerun", "bytes of shards read", read, "bytes", high=0, note="counted by the store"),
        Row("rerun", "files published", published, "files", high=0, note="counted on disk"),
        Row("rerun", f"slowest call of the command: {slowest}", calls[slowest], "s", high=SECONDS),
        Row("rerun", f"all {len(calls)} calls of the command", sum(calls.values()), "s", note=", ".join(calls)),
    ]


def _program() -> list[str]:
    return [str(Path(sys.executable).with_name("collapse-guard"))]


def _calls(done: Done) -> dict[str, list[str]]:
    where = ["--root", str(done.root), "--corpus", CORPUS, "--dump", DUMP]
    policy = ["--policy", str(POLICY)]
    reservoir = ["--reservoir", str(done.root / "reservoir")]
    return {
        "ingest": ["ingest", str(done.inputs), *where],
        "measure": ["measure", *where, *policy],
        "sift": ["sift", *where, *policy],
        "mix": ["mix", *where, *policy, *reservoir],
        "release": ["release", *where, *policy, *reservoir, "--key", str(done.root / "key.pem")],
    }
