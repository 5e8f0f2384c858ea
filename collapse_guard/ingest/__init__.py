"""Turn input files into a snapshot of documents; whatever cannot be read is quarantined, never lost."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

from collapse_guard.images.schema import IMAGES_ROLE, ORIGINALS_ROLE
from collapse_guard.ingest.inputs import content_digest, input_files, matching, name_of
from collapse_guard.ingest.reading import Limits, read_files
from collapse_guard.snapshot import Ledger, ShardWriter, Snapshot, publish, resume, run_key
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from collapse_guard.ingest.inputs import Input
    from collapse_guard.ingest.reading import Batch
    from collapse_guard.store import Store

__all__ = ["Limits", "ingest", "matching"]
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
        inputs: Files, folders or glob patterns, on this machine or in S3 (`s3://bucket/crawl/*.warc.gz`); WARC, WET,
            JSON lines, Parquet, CSV, images or tar. An object in S3 is fetched when it is read, and removed afterwards.
        limits: Caps on what one file may cost.
        fields: Column of the input for a column of a document, such as `{"text": "raw_content"}`.
        workers: Processes that parse; the result does not depend on it.
        progress: Called now and then with the number of documents so far.

    Returns:
        The published snapshot; the same input gives the same digest and is not read again.

    Raises:
        UsageError: An input matches no file, or S3 refuses, or an object there is gone or was changed since it was
            listed; nothing is published.
    """
    from collapse_guard.kernels.tokens import count_tokens  # noqa: PLC0415 - the worker processes need no kernel

    caps, renamed = limits or Limits(), dict(fields or {})
    name, how = f"{corpus}/documents/{dump}", {"fields": renamed, "limits": vars(caps)}
    run = _Run(store, input_files(inputs, store), how)
    earlier = resume(store, name, run.key) if run.is_known else None
    if earlier is not None:
        return earlier
    documents, quarantine, ledger = ShardWriter(store, "documents"), ShardWriter(store, "quarantine"), _Counts()
    beside = [ShardWriter(store, IMAGES_ROLE), ShardWriter(store, ORIGINALS_ROLE)]
    for batch in read_files(run.files, limits=caps, fields=renamed, workers=workers):
        tokens = count_tokens(batch.documents["text"])
        place = batch.documents.schema.get_field_index("tokens")
        documents.write(batch.documents.set_column(place, batch.documents.schema.field("tokens"), [tokens]))
        quarantine.write(batch.quarantine)
        for writer, table in zip(beside, batch.pictured or (), strict=False):
            writer.write(table)
        ledger.add(batch)
        if progress:
            progress(ledger.kept)
    shards = tuple(chain.from_iterable(writer.close() for writer in (documents, quarantine, *beside)))
    details = {"corpus": corpus, "dump": dump, "inputs": run.inputs}
    made = Snapshot(name, "documents", SCHEMA, (), shards, ledger.total(), None, __version__, run.key, details)
    return resume(store, name, run.key) or publish(store, made)


class _Run:
    """What decides the result: the content of the files, and how they are read."""

    def __init__(self, store: Store, files: Sequence[Input], how: Mapping[str, Any]) -> None:
        self.files = files
        self._store, self._how = store, how

    @property
    def inputs(self) -> list[list[str | None]]:
        """The name and digest of every file."""
        return [[name_of(file), content_digest(self._store, file)] for file in self.files]

    @property
    def is_known(self) -> bool:
        """Whether every digest is known; that of an object in S3 is once it was fetched."""
        return all(digest for _, digest in self.inputs)

    @property
    def key(self) -> str:
        """The run's key."""
        return run_key("documents", (), None, {"inputs": self.inputs, **self._how})


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
