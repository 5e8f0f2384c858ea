"""Publishes on command: `python publisher.py ROOT NUMBER`; each line of input names a log, a run and a moment."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from collapse_guard.snapshot import Ledger, Snapshot, publish
from collapse_guard.store import LocalStore


def snapshot(name: str, run: str, number: int) -> Snapshot:
    """A manifest that tells who made it; `same` names one run for all publishers, anything else a run of its own."""
    key = run if run == "same" else f"{run}-{number}"
    return Snapshot(name, "race", "race@1", (), (), Ledger(0), None, "0", key, {"by": number})


def main(root: Path, number: int) -> None:
    """Serve until input ends."""
    store = LocalStore(root)
    for line in sys.stdin:
        name, run, moment = line.split()
        while time.monotonic() < float(moment):
            pass
        sys.stdout.write(publish(store, snapshot(name, run, number)).digest + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
