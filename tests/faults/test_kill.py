from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pipeline

if TYPE_CHECKING:
    from conftest import Undisturbed

SEED = 20260105
LAST_MOMENT = 0.97
"""Of the time that an undisturbed run takes; later the run would often be over before it is killed."""


def start(inputs: Path, root: Path) -> subprocess.Popen[str]:
    """Start the pipeline in a process of its own, and wait until it has imported everything."""
    command = [sys.executable, "-W", "error", pipeline.__file__, str(inputs), str(root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline().strip() == pipeline.READY, process.communicate()[1]
    return process


def finish(process: subprocess.Popen[str]) -> None:
    said, complaints = process.communicate(timeout=120)
    assert (process.returncode, said.strip()) == (0, pipeline.DONE), complaints


def workers_of(parent: int) -> list[str]:
    """Command lines of the ingest workers that a process started and that still run."""
    running = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "collapse_guard.ingest.worker" in command and str(parent) in command:
            running.append(" ".join(command))
    return running


def wait_for_no_workers(parent: int) -> list[str]:
    until = time.monotonic() + 10
    while (running := workers_of(parent)) and time.monotonic() < until:
        time.sleep(0.02)
    return running


def kill_and_restart(undisturbed: Undisturbed, root: Path, seconds: float) -> bool:
    """Kill a run after some seconds, start it again, sweep; says whether it was still running when it was killed."""
    process = start(undisturbed.inputs, root)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
    assert wait_for_no_workers(process.pid) == []
    assert pipeline.published(root).items() <= undisturbed.tree.items(), f"torn after {seconds:.3f} s"
    finish(start(undisturbed.inputs, root))
    pipeline.sweep_all(root)
    assert pipeline.tree(root) == undisturbed.tree, f"different after a kill at {seconds:.3f} s"
    shutil.rmtree(root)
    return process.returncode == -9


def timed_run(undisturbed: Undisturbed, root: Path) -> float:
    process = start(undisturbed.inputs, root)
    began = time.monotonic()
    finish(process)
    assert pipeline.tree(root) == undisturbed.tree
    return time.monotonic() - began


def test_a_killed_pipeline_ends_in_the_same_bytes_after_a_restart(
    undisturbed: Undisturbed, tmp_path: Path, long: bool
) -> None:
    rounds = 100 if long else 5
    duration = timed_run(undisturbed, tmp_path / "timed")
    rng = random.Random(SEED)
    moments = [(index + rng.random()) / rounds * LAST_MOMENT * duration for index in range(rounds)]
    print(f"seed {SEED}, {duration:.2f} s undisturbed, kills at {[round(moment, 3) for moment in moments]}")

    with ThreadPoolExecutor(2) as pool:
        roots = [tmp_path / str(index) for index in range(rounds)]
        killed = list(pool.map(kill_and_restart, [undisturbed] * rounds, roots, moments))

    print(f"{sum(killed)} of {rounds} runs were killed before they ended")
    assert sum(killed) >= 0.7 * rounds
