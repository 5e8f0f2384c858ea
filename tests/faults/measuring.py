"""Measures with a key ring whose secret stands in the environment: run as `python measuring.py FOLDER`, and killed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from collapse_guard.catalogue import load_policy
from collapse_guard.measure import measure_snapshot
from collapse_guard.snapshot import Snapshot, latest
from collapse_guard.store import LocalStore

DOCUMENTS = "web/documents/2026-01"


def measured(folder: Path) -> Snapshot:
    """Measure the documents that lie in a folder's store under the folder's policy."""
    store = LocalStore(folder / "guard")
    documents = latest(store, DOCUMENTS)
    assert documents
    return measure_snapshot(store, documents, load_policy(folder / "policy.yaml"), environment=os.environ)


if __name__ == "__main__":
    sys.stdout.write(measured(Path(sys.argv[1])).digest)
