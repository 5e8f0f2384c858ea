from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pipeline
import publisher

from collapse_guard.snapshot import log, read_snapshot
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Undisturbed

SEED = 20260106
MOST = 8
HEAD_START = 0.003
"""Seconds until every publisher of a round has been told about it."""


@contextmanager
def publishers(root: Path) -> Iterator[list[subprocess.Popen[str]]]:
    with ExitStack() as stack:
        yield [stack.enter_context(publisher_process(root, number)) for number in range(MOST)]


@contextmanager
def publisher_process(root: Path, number: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "error", publisher.__file__, str(root), str(number)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.communicate(timeout=60)


def race(racers: list[subprocess.Popen[str]], name: str, run: str) -> list[str]:
    """Have some processes publish to one log at the same moment; gives the digest that each reads afterwards."""
    for process in racers:
        assert process.stdin
        process.stdin.write(f"{name} {run} {time.monotonic() + HEAD_START}\n")
        process.stdin.flush()
    return [process.stdout.readline().strip() for process in racers if process.stdout]


def test_of_many_that_publish_the_same_run_exactly_one_wins_and_all_read_it(tmp_path: Path, long: bool) -> None:
    store, rng, winners = LocalStore(tmp_path), random.Random(SEED), set()
    print(f"seed {SEED}")

    with publishers(tmp_path) as processes:
        for number in range(1000 if long else 20):
            racers = rng.sample(processes, rng.randint(2, MOST))
            read = race(racers, f"race/same{number}", "same")
            keys = log(store, f"race/same{number}")
            assert len(keys) == 1
            winner = read_snapshot(store, keys[0])
            assert read == [winner.digest] * len(racers)
            winners.add(winner.details["by"])

    assert len(winners) > 1, "one process always won, so nothing raced"
    assert list(store.list("staging/")) == []


def test_of_many_that_publish_different_runs_none_is_lost(tmp_path: Path, long: bool) -> None:
    store, rng = LocalStore(tmp_path), random.Random(SEED)
    print(f"seed {SEED}")

    with publishers(tmp_path) as processes:
        for number in range(300 if long else 10):
            racers = rng.sample(processes, rng.randint(2, MOST))
            read = race(racers, f"race/own{number}", "own")
            entries = [read_snapshot(store, key) for key in log(store, f"race/own{number}")]
            assert sorted(entry.digest for entry in entries) == sorted(read)
            assert len(set(read)) == len(racers)


def test_pipelines_that_run_at_the_same_time_leave_what_one_leaves(
    undisturbed: Undisturbed, tmp_path: Path, long: bool
) -> None:
    count = 4 if long else 2
    command = [sys.executable, "-W", "error", pipeline.__file__, str(undisturbed.inputs), str(tmp_path)]

    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(count)
    ]
    outcomes = [(process.communicate(timeout=120)[1], process.returncode) for process in running]

    # An admission that loses its race is refused and says to admit again; every other step reads the winner.
    assert all(code == 0 or "admit again" in complaint for complaint, code in outcomes), outcomes
    assert any(code == 0 for _, code in outcomes)
    pipeline.run(undisturbed.inputs, tmp_path)
    pipeline.sweep_all(tmp_path)
    assert pipeline.tree(tmp_path) == undisturbed.tree
