"""Gather what a file holds into batches, and keep count of every record."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from collapse_guard.document import DOCUMENT, QUARANTINE
from collapse_guard.ingest.fragments import Fragment, fragment_of
from collapse_guard.ingest.pictured import pictured
from collapse_guard.ingest.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from collapse_guard.ingest.limits import Limits
    from collapse_guard.ingest.pictured import Pictured

BATCH_BYTES = 4 * 2**20
"""Text, or quarantined bytes, after which a batch is closed."""

BATCH_INPUT_BYTES = 32 * 2**20
"""Input after which a batch is closed, so that a killed worker repeats little."""

BATCH_RECORDS = 50_000


@dataclass(frozen=True)
class Part:
    """One batch of one file; `upto` is the ordinal of the first record after it."""

    documents: pa.Table
    quarantine: pa.Table
    dropped: dict[str, int]
    upto: int
    pictured: Pictured | None = None


class EnoughError(Exception):
    """Nothing more of the file is to be read; what that leaves unread is an entry already, or will be."""


@dataclass
class Progress:
    """Where a worker is, for a parent that watches: a beat that changes, and the ordinal of the record."""

    cells: list[int] | memoryview[int] = field(default_factory=lambda: [0, 0])

    def at(self, ordinal: int) -> None:
        """Say which record is being read."""
        self.cells[1] = ordinal
        self.cells[0] += 1


class Collector:
    """Takes the records of one file in order and closes batches.

    Args:
        file: The input file's name.
        limits: Caps; `records` and `record_bytes` are enforced here.
        emit: Takes each closed batch.
        fields: Our column name to the input's.
        skip: Records that an earlier worker delivered; they are counted and not read again.
        culprits: Ordinal of a record that killed a worker, to its reason and detail.
        until: The first record that is not wanted; None for all.
        progress: Where the parent sees how far this is.
    """

    def __init__(
        self,
        file: str,
        limits: Limits,
        emit: Callable[[Part], None],
        *,
        fields: Mapping[str, str],
        skip: int = 0,
        culprits: Mapping[int, tuple[str, str]] | None = None,
        until: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.file = file
        self.limits = limits
        self.emit = emit
        self.skip = skip
        self.culprits = culprits or {}
        self.until = until
        self.progress = progress or Progress()
        self.position = 0
        self.rows = Rows(file, fields)
        self.tables: list[pa.Table] = []
        self.pictures: list[tuple[dict[str, Any], bytes]] = []
        self.entries: list[tuple[str, int, int, int, str, str, str, bytes]] = []
        self.dropped: Counter[str] = Counter()
        self.size = 0
        self.input = 0
        self.opened = skip

    def begin(self, offset: int, raw: bytes, note: str = "") -> bool:
        """Announce the next record.

        Args:
            offset: Where it starts.
            raw: Its bytes.
            note: What `offset` counts, where that is not stored bytes.

        Returns:
            Whether to read it; if not, it is already accounted for.

        Raises:
            EnoughError: The file has more records than allowed, or only those before this one are wanted.
        """
        self.beat()
        self.input += len(raw)
        ordinal = self.position
        new = self._next(1)
        if ordinal >= self.limits.records:
            if new:
                self.quarantine(fragment_of(offset, raw, note), "too_many_records", self._too_many())
            raise EnoughError
        why = self.culprits.get(ordinal)
        if len(raw) > self.limits.record_bytes:
            why = ("record_too_large", f"the record has {len(raw)} bytes, more than {self.limits.record_bytes}")
        if new and why:
            self.quarantine(fragment_of(offset, raw, note), *why)
        return new and not why

    def beat(self) -> None:
        """Say that input is being read towards the next record.

        Raises:
            EnoughError: That record is not wanted.
        """
        self.progress.at(self.position)
        if self.until is not None and self.position >= self.until:
            raise EnoughError

    def lost(self, fragment: Fragment, reason: str, detail: str, *, records: int = 1) -> None:
        """Quarantine input that never became a record.

        Args:
            fragment: The bytes.
            reason: One word.
            detail: One sentence.
            records: How many records they held, where that is known.
        """
        if self._next(records):
            self.quarantine(fragment, reason, detail, records=records)

    def quarantine(self, fragment: Fragment, reason: str, detail: str, *, records: int = 1) -> None:
        """Quarantine a record that was announced.

        Args:
            fragment: The bytes.
            reason: One word.
            detail: One sentence.
            records: How many records they held.
        """
        told = f"{detail} ({fragment.note})" if fragment.note else detail
        self.entries.append(
            (self.file, fragment.offset, fragment.length, records, reason, told, fragment.sha256, fragment.head)
        )
        self.size += len(fragment.head)

    def drop(self, reason: str) -> None:
        """Count an announced record that is no document."""
        self.dropped[reason] += 1

    def begin_rows(self, count: int) -> int:
        """Announce rows that are read together.

        Args:
            count: How many.

        Returns:
            How many of the first of them an earlier worker delivered.
        """
        done = max(0, min(count, self.skip - self.position))
        self._next(count)
        return done

    def table(self, table: pa.Table) -> None:
        """Take documents that are already a table."""
        self.tables.append(table)
        self.size += table.nbytes

    def picture(self, row: dict[str, Any], data: bytes) -> None:
        """Say that the last row added is an image.

        Args:
            row: Its row of IMAGES.
            data: Its file.
        """
        self.pictures.append((row, data))
        self.size += len(data) + len(row["thumbnail"])

    def close(self) -> None:
        """Close the last batch, unless nothing is open."""
        if self.position > self.opened:
            self._flush()

    def _next(self, count: int) -> bool:
        full = self.size + self.rows.size >= BATCH_BYTES or self.input >= BATCH_INPUT_BYTES
        if full or self.position - self.opened >= BATCH_RECORDS:
            self.close()
        self.progress.at(self.position)
        self.position += count
        return self.position > self.skip

    def _flush(self) -> None:
        documents = pa.concat_tables([*self.tables, self.rows.table()])
        columns = zip(*self.entries, strict=True) if self.entries else [()] * len(QUARANTINE)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, QUARANTINE.types, strict=True)]
        quarantine = pa.Table.from_arrays(arrays, schema=QUARANTINE)
        beside = pictured(self.pictures)
        self.emit(Part(documents.cast(DOCUMENT), quarantine, dict(self.dropped), self.position, beside))
        self.tables, self.pictures, self.entries, self.dropped = [], [], [], Counter()
        self.size = self.input = 0
        self.opened = self.position

    def _too_many(self) -> str:
        return f"the file has more than {self.limits.records} records; the rest of it, from here on, was not read"
