"""WARC and WET: whole records out of a stream, each checked against its own length."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collapse_guard.ingest.compressed import Damage
from collapse_guard.ingest.fragments import DECOMPRESSED, fragment_of, fragment_of_chunks
from collapse_guard.ingest.lines import Lost
from collapse_guard.ingest.pages import BadPageError, DroppedError, read_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collapse_guard.ingest.collect import Collector
    from collapse_guard.ingest.compressed import Piece

HEADER_BYTES = 64 * 2**10
"""Most bytes of a WARC header."""

_MARK = re.compile(rb"\nWARC/1\.[01]\r?\n")
_MARK_BYTES = 16
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_NEWLINES = re.compile(rb"[\r\n]*")
_SEPARATOR_BYTES = 4
_MAX_SEPARATOR = 64
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Record:
    """One WARC record whose length was checked; header names are in lower case."""

    header: Mapping[str, str]
    body: bytes
    raw: bytes
    offset: int
    note: str


class Splitter:
    """Cuts a stream into WARC records, and goes on at the next record after anything else.

    Args:
        pieces: The stream.
        limit: Bytes above which a record is told as lost.
        unpacked: Whether the pieces were decompressed.
    """

    def __init__(self, pieces: Iterator[Piece | Damage], limit: int, *, unpacked: bool) -> None:
        self.pieces = pieces
        self.limit = limit
        self.note = DECOMPRESSED if unpacked else ""
        self.buffer = bytearray()
        self.base = 0
        self.starts: deque[tuple[int, int]] = deque()
        self.damage: Damage | None = None

    def split(self) -> Iterator[Record | Lost]:
        """Cut the stream.

        Yields:
            Records, and what was lost between them.
        """
        while True:
            if self._fill(1):
                yield self._next()
            elif self.damage:
                yield self._damaged(self.damage)
            else:
                return

    def _fill(self, size: int) -> bool:
        """Have at least `size` bytes at hand, unless damage or the end of the file comes first."""
        while len(self.buffer) < size and not self.damage:
            piece = next(self.pieces, None)
            if piece is None:
                return False
            if isinstance(piece, Damage):
                self.damage = piece
                return False
            if piece.start is not None:
                self.starts.append((self.base + len(self.buffer), piece.start))
            self.buffer += piece.data
        return len(self.buffer) >= size

    def _place(self) -> tuple[int, str]:
        """Say where the buffer starts: in the stored file if a unit starts there, else in the stream."""
        while len(self.starts) > 1 and self.starts[1][0] <= self.base:
            self.starts.popleft()
        if self.starts and self.starts[0][0] == self.base:
            return self.starts[0][1], ""
        return self.base, self.note

    def _take(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        self.base += size
        return data

    def _damaged(self, damage: Damage) -> Lost:
        self.damage = None
        return Lost(damage.fragment, damage.reason, damage.detail)

    def _next(self) -> Record | Lost:
        self._fill(_MARK_BYTES)
        if not self.buffer.startswith(b"WARC/1."):
            return self._gap("no_record", "these bytes are no WARC record")
        end = self._header_end()
        if end is None:
            return self._cut() if len(self.buffer) < HEADER_BYTES else self._gap("bad_header", "the header has no end")
        header = parse_header(bytes(self.buffer[:end]))
        length = header.get("content-length", "")
        if not _LENGTH.fullmatch(length):
            return self._gap("bad_header", f"the record's Content-Length is {length[:40]!r}")
        if int(length) > self.limit:
            return self._gap(
                "record_too_large",
                f"it claims {length} bytes, more than {self.limit}; reading went on at the next record",
            )
        return self._body(header, end, end + int(length))

    def _header_end(self) -> int | None:
        size = 1024
        while True:
            more = self._fill(size)
            if found := _HEADER_END.search(self.buffer, 0, HEADER_BYTES):
                return found.end()
            if not more or size >= HEADER_BYTES:
                return None
            size *= 4

    def _body(self, header: Mapping[str, str], start: int, end: int) -> Record | Lost:
        if not self._fill(end):
            return (
                self._gap("bad_length", "it claims more bytes than it has", start)
                if self._marked(start)
                else self._cut()
            )
        newlines = self._separator(end)
        if newlines is None:
            return self._gap("bad_length", f"its {end - start} bytes are not followed by the end of a record", start)
        offset, note = self._place()
        raw = self._take(end)
        self._take(newlines)
        return Record(header, raw[start:], raw, offset, note)

    def _marked(self, start: int) -> bool:
        return _MARK.search(self.buffer, start) is not None or self._unit_start(start) is not None

    def _separator(self, end: int) -> int | None:
        """Measure the newlines after a record; None if what follows them shows that the length was wrong."""
        self._fill(end + _MAX_SEPARATOR)
        found = _NEWLINES.match(self.buffer, end, end + _MAX_SEPARATOR)
        size = found.end() - end if found else 0
        after = bytes(self.buffer[end + size : end + size + _MARK_BYTES])
        fine = not after or after.startswith(b"WARC/1.") or size >= _SEPARATOR_BYTES
        return size if fine else None

    def _cut(self) -> Lost:
        """Give a record that the end of the file or damage cut short."""
        offset, note = self._place()
        fragment = fragment_of(offset, self._take(len(self.buffer)), note)
        damage = self.damage
        if damage and damage.released:
            self.damage = None
            return Lost(fragment, damage.reason, damage.detail)
        return Lost(fragment, "truncated", "the stream ends inside this record")

    def _gap(self, reason: str, detail: str, start: int = 1) -> Lost:
        """Give everything up to the next record."""
        offset, note = self._place()
        chunks = fragment_of_chunks(offset, self._until_record(start), note)
        return Lost(chunks, reason, detail)

    def _until_record(self, start: int) -> Iterator[bytes]:
        while True:
            found = _MARK.search(self.buffer, start - 1)
            ends = [end for end in (found and found.start() + 1, self._unit_start(start)) if end is not None]
            if ends:
                yield self._take(min(ends))
                return
            size = len(self.buffer)
            if not self._fill(size + 1):
                yield self._take(len(self.buffer))
                return
            start = max(1, start, size - _MARK_BYTES)
            if size > 2**20:
                yield self._take(start - 1)
                start = 1

    def _unit_start(self, start: int) -> int | None:
        """Find where a compressed unit begins that begins with a record."""
        places = (at - self.base for at, _ in self.starts)
        return next((at for at in places if at >= start and self.buffer.startswith(b"WARC/1.", at)), None)


def parse_header(raw: bytes) -> dict[str, str]:
    """Read the fields of a WARC header; of a field that occurs twice the first counts."""
    fields: dict[str, str] = {}
    for line in raw.decode("utf-8", "replace").splitlines()[1:]:
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    return fields


def read_warc(pieces: Iterator[Piece | Damage], out: Collector, *, unpacked: bool) -> None:
    """Read the pages of a WARC or WET file; a bad record costs that record."""
    for record in Splitter(pieces, out.limits.record_bytes, unpacked=unpacked).split():
        if isinstance(record, Lost):
            out.lost(record.fragment, record.reason, record.detail)
        elif out.begin(record.offset, record.raw, record.note):
            _read_record(record, out)


def _read_record(record: Record, out: Collector) -> None:
    try:
        page = read_page(record.header, record.body, out.limits.record_bytes)
    except DroppedError as dropped:
        out.drop(str(dropped))
        return
    except BadPageError as bad:
        out.quarantine(fragment_of(record.offset, record.raw, record.note), bad.reason, str(bad))
        return
    names = {ours: theirs[0] for ours, theirs in out.rows.names.items()}
    header = record.header
    row = {
        names["text"]: page.text,
        names["url"]: header.get("warc-target-uri", "").strip("<>"),
        names["captured_at"]: header.get("warc-date"),
        names["language"]: header.get("warc-identified-content-language", "").partition(",")[0],
    }
    place = {"offset": record.offset, "record_id": header.get("warc-record-id", "")[:200]}
    if page.replaced:
        place["replaced"] = page.replaced
    out.rows.add(row, place | page.marks.to_json())
