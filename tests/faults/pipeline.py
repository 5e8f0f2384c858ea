"""The whole way once, over a folder of inputs: run as `python pipeline.py INPUTS ROOT`, killed at any moment."""

from __future__ import annotations

import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path

from collapse_guard.attestation import load_key
from collapse_guard.catalogue import load_policy
from collapse_guard.ingest import ingest
from collapse_guard.measure import measure_snapshot
from collapse_guard.mix import mix
from collapse_guard.release import release
from collapse_guard.reservoir import Admission, admit, open_reservoir
from collapse_guard.sift import sift_snapshot
from collapse_guard.snapshot import sweep
from collapse_guard.store import LocalStore

AT = datetime(2026, 1, 5, tzinfo=UTC)
ADMISSION = Admission(by="the tests", licence="CC0-1.0", evidence="generated; stands for human text")
READY, DONE = "ready", "done"
STORES = ("guard", "reservoir")


def run(inputs: Path, root: Path) -> dict[str, str]:
    """Ingest, admit, measure, sift, mix and release; gives the digest of every step."""
    guard, store = (LocalStore(root / name) for name in STORES)
    policy, key = load_policy(inputs / "policy.yaml"), load_key(inputs / "signing.pem")
    human = ingest(store, "inbox", "human", [str(inputs / "human" / "*")], workers=1)
    admitted = admit(store, human, ADMISSION, key, AT)
    documents = ingest(guard, "web", "d0", [str(inputs / "crawl" / "d0" / "*")], workers=1)
    measured = measure_snapshot(guard, documents, policy)
    sifted = sift_snapshot(guard, measured, policy)
    reservoir = open_reservoir(store)
    candidate = mix(guard, reservoir, "web", "d0", policy)
    entry, _ = release(guard, candidate, reservoir, policy, key=key, at=AT)
    steps = {"documents": documents, "measured": measured, "sifted": sifted, "candidate": candidate}
    digests = {name: snapshot.digest for name, snapshot in steps.items()}
    return {**digests, "reservoir": admitted.digest, "release": entry.digest}


def tree(root: Path) -> dict[str, str]:
    """SHA-256 of every file of both stores, and every folder below `staging`, where a finished run leaves nothing."""
    found = {path.relative_to(root).as_posix(): path for name in STORES for path in (root / name).rglob("*")}
    files = {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in found.items() if path.is_file()}
    return files | {key: "folder" for key, path in found.items() if path.is_dir() and "/staging/" in key}


def published(root: Path) -> dict[str, str]:
    """The tree without what is under way; every object has its final bytes or is not there at all."""
    return {key: digest for key, digest in tree(root).items() if "/staging/" not in key}


def sweep_all(root: Path) -> None:
    """Sweep both stores."""
    for name in STORES:
        sweep(LocalStore(root / name))


if __name__ == "__main__":
    sys.stdout.write(READY + "\n")
    sys.stdout.flush()
    run(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write(DONE + "\n")
