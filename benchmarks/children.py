"""Run work in processes of their own, all on one core where that is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.texts import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process, and every process that it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run_step(step: str, **arguments: object) -> dict[str, Any]:
    """Run a step of `benchmarks.steps` and return what it says."""
    return run_json([sys.executable, "-m", "benchmarks.steps", step, json.dumps(arguments)])


def run_json(command: Sequence[str]) -> dict[str, Any]:
    """Run a command whose last line of output is one JSON object.

    Args:
        command: The command.

    Returns:
        The object.

    Raises:
        RuntimeError: The command failed; says what it wrote last.
    """
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[2]} failed: {done.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def seconds_of(command: Sequence[str]) -> float:
    """The seconds that a command takes; it must succeed."""
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - started
