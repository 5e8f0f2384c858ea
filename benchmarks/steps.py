"""One step of the pipeline in a process of its own: `python -m benchmarks.steps STEP ARGUMENTS-AS-JSON`.

Prints one JSON object: what the step says, its seconds without imports, and the peak of resident memory in MB.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collapse_guard import signals
from collapse_guard.attestation import create_key, load_key
from collapse_guard.catalogue import load_policy
from collapse_guard.ingest import ingest
from collapse_guard.kernels.tokens import count_tokens
from collapse_guard.measure import measure, measure_snapshot
from collapse_guard.mix import mix
from collapse_guard.release import release
from collapse_guard.reservoir import Admission, admit, open_reservoir
from collapse_guard.sift import sift_snapshot
from collapse_guard.snapshot import Snapshot, latest
from collapse_guard.store import LocalStore, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from collapse_guard.policy import Policy

POLICY = Path(__file__).with_name("policy.yaml")
CORPUS, DUMP = "bench", "all"
CLOCK = datetime(2026, 1, 1, tzinfo=UTC)


class CountingStore(LocalStore):
    """A folder that counts the bytes of shards that are read from it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.text_bytes = 0

    def read(self, key: str) -> bytes:
        """Return an object's bytes, and count those of shards."""
        data = super().read(key)
        self.text_bytes += len(data) if key.startswith("shards/") else 0
        return data


def step_ingest(root: str, inputs: str, workers: int) -> dict[str, Any]:
    """Ingest files."""
    snapshot = ingest(open_store(root), CORPUS, DUMP, [inputs], workers=workers)
    return {"rows": snapshot.ledger.kept, "quarantined": sum(snapshot.ledger.quarantined.values())}


def step_measure(root: str) -> dict[str, Any]:
    """Measure what was ingested."""
    store = open_store(root)
    return {"rows": measure_snapshot(store, _newest(root, "documents"), _policy()).ledger.kept}


def step_sift(root: str) -> dict[str, Any]:
    """Sift what was measured."""
    return sift_snapshot(open_store(root), _newest(root, "measured"), _policy()).ledger.to_json()


def step_admit(root: str, inputs: str) -> dict[str, Any]:
    """Admit files to the reservoir of a root."""
    store = open_store(_reservoir(root))
    documents = ingest(store, "inbox", DUMP, [inputs])
    admission = Admission(by="benchmark", licence="mixed, see the source", evidence="written before 2022-11")
    return admit(store, documents, admission, create_key(Path(root) / "key.pem"), CLOCK).ledger.to_json()


def step_mix(root: str) -> dict[str, Any]:
    """Mix what was sifted with the reservoir."""
    reservoir = open_reservoir(open_store(_reservoir(root)))
    return mix(open_store(root), reservoir, CORPUS, DUMP, _policy()).ledger.to_json()


def step_release(root: str) -> dict[str, Any]:
    """Judge and release what was mixed."""
    reservoir = open_reservoir(open_store(_reservoir(root)))
    key = load_key(Path(root) / "key.pem")
    candidate = _newest(root, "candidate")
    entry, _ = release(open_store(root), candidate, reservoir, _policy(), key=key, at=CLOCK)
    return {"number": entry.number}


def step_rerun(root: str, inputs: str) -> dict[str, Any]:
    """Run the whole pipeline again on what was released already, and count what is read and published."""
    store, vault = CountingStore(Path(root)), CountingStore(Path(_reservoir(root)))
    policy, key = _policy(), load_key(Path(root) / "key.pem")
    before = _published(root)
    started = time.perf_counter()
    documents = ingest(store, CORPUS, DUMP, [inputs])
    sift_snapshot(store, measure_snapshot(store, documents, policy), policy)
    reservoir = open_reservoir(vault)
    candidate = mix(store, reservoir, CORPUS, DUMP, policy)
    release(store, candidate, reservoir, policy, key=key, at=CLOCK)
    seconds = time.perf_counter() - started
    read = store.text_bytes + vault.text_bytes
    return {"pipeline_seconds": seconds, "shard_bytes_read": read, "published": len(_published(root) - before)}


def step_signals(parquet: str, what: str) -> dict[str, Any]:
    """Measure texts in memory, twice: the first time loads machine code and touches memory."""
    column = pq.read_table(parquet, columns=["text"])["text"].cast(pa.large_string())
    policy, texts = load_policy("default"), column.to_pylist() if what == "measure" else []
    work: dict[str, Callable[[], object]] = {
        "measure": lambda: measure(texts, policy),
        "tokens": lambda: count_tokens(column),
        "language": lambda: signals.detect_language(column),
    }
    work[what]()
    started = time.perf_counter()
    work[what]()
    seconds = time.perf_counter() - started
    return {"work_seconds": seconds, "text_bytes": pc.sum(pc.binary_length(column)).as_py()}


def _policy() -> Policy:
    return load_policy(POLICY)


def _newest(root: str, kind: str) -> Snapshot:
    found = latest(open_store(root), f"{CORPUS}/{kind}/{DUMP}")
    if found is None:
        raise SystemExit(f"{root}: no {kind} yet")
    return found


def _reservoir(root: str) -> str:
    return f"{root}/reservoir"


def _published(root: str) -> set[Path]:
    return {path for path in Path(root).rglob("*") if path.is_file()}


STEPS = {name.removeprefix("step_"): value for name, value in list(globals().items()) if name.startswith("step_")}


def own_peak() -> float:
    """Peak of resident memory in MB; `ru_maxrss` would be no less than that of the process that started this one."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024 / 1e6


def main() -> None:
    """Run one step and print what it cost."""
    count_tokens(pa.array(["loads the machine code"]))
    started = time.perf_counter()
    said = STEPS[sys.argv[1]](**json.loads(sys.argv[2]))
    cost = {
        "seconds": time.perf_counter() - started,
        "own_mb": own_peak(),
        "children_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6,
    }
    print(json.dumps({**said, **cost}))


if __name__ == "__main__":
    main()
