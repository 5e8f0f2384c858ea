"""Turn input files into a snapshot of documents; whatever cannot be read is quarantined, never lost."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING

from collapse_guard.canonical import canonical_json, json_digest
from collapse_guard.ingest.reading import Limits, input_files, read_files
from collapse_guard.snapshot import Ledger, ShardWriter, Snapshot, publish, resume, run_key
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from collapse_guard.ingest.reading import Batch
    from collapse_guard.store import Store

SCHEMA = "documents@1"


def ingest(
    store: Store,
    corpus: str,
    dump: str,
    inputs: Sequence[str],
    *,
    limits: Limits | None = None,
    fields: Mapping[str, str] | None = None,
    workers: int = 2,
    progress: Callable[[int], object] | None = None,
) -> Snapshot:
    """Read input files and publish their documents, with a quarantine of what could not be read.

    Args:
        store: Receives the snapshot.
        corpus: The corpus' name.
        dump: The crawl dump that these files are.
        inputs: Files, folders or glob patterns; WARC, WET, JSON lines, Parquet or CSV.
        limits: Caps on what one file may cost.
        fields: Column of the input for a column of a document, such as `{"text": "raw_content"}`.
        workers: Processes that parse; the result does not depend on it.
        progress: Called now and then with the number of documents so far.

    Returns:
        The published snapshot; the same input gives the same digest and is not read again.
    """
    from collapse_guard.kernels.tokens import count_tokens  # noqa: PLC0415 - the worker processes need no kernel

    caps, renamed = limits or Limits(), dict(fields or {})
    paths = input_files(inputs)
    digests = [[path.name, _content_digest(store, path)] for path in paths]
    name = f"{corpus}/documents/{dump}"
    key = run_key("documents", (), None, {"inputs": digests, "fields": renamed, "limits": vars(caps)})
    earlier = resume(store, name, key)
    if earlier is not None:
        return earlier
    documents, quarantine, ledger = ShardWriter(store, "documents"), ShardWriter(store, "quarantine"), _Counts()
    for batch in read_files(paths, limits=caps, fields=renamed, workers=workers):
        tokens = count_tokens(batch.documents["text"])
        place = batch.documents.schema.get_field_index("tokens")
        documents.write(batch.documents.set_column(place, batch.documents.schema.field("tokens"), [tokens]))
        quarantine.write(batch.quarantine)
        ledger.add(batch)
        if progress:
            progress(ledger.kept)
    shards = (*documents.close(), *quarantine.close())
    details = {"corpus": corpus, "dump": dump, "inputs": digests}
    return publish(
        store, Snapshot(name, "documents", SCHEMA, (), shards, ledger.total(), None, __version__, key, details)
    )


class _Counts:
    """Where every record of the input went."""

    def __init__(self) -> None:
        self.kept = 0
        self._dropped: Counter[str] = Counter()
        self._quarantined: Counter[str] = Counter()

    def add(self, batch: Batch) -> None:
        self.kept += batch.documents.num_rows
        self._dropped.update(batch.dropped)
        columns = (batch.quarantine[name].to_pylist() for name in ("reason", "records"))
        for reason, records in zip(*columns, strict=True):
            self._quarantined[reason] += records

    def total(self) -> Ledger:
        came_in = self.kept + self._dropped.total() + self._quarantined.total()
        return Ledger(came_in=came_in, kept=self.kept, dropped=self._dropped, quarantined=self._quarantined)


def _content_digest(store: Store, path: Path) -> str:
    """SHA-256 of a file, remembered by path, size and time of change, so that unchanged input is not read again."""
    facts = path.stat()
    seen = json_digest({"path": str(path.resolve()), "bytes": facts.st_size, "changed": str(facts.st_mtime_ns)})
    key = f"cache/inputs/{seen}.json"
    if store.head(key) is not None:
        return str(json.loads(store.read(key))["sha256"])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    store.put_if_absent(key, canonical_json({"sha256": digest}))
    return digest
