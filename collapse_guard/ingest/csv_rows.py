"""CSV and TSV, RFC 4180: quoted newlines, and quotes that were never closed."""

from __future__ import annotations

import csv
import io
from collections import deque
from typing import TYPE_CHECKING

from collapse_guard.ingest.errors import UnreadableFileError
from collapse_guard.ingest.fragments import fragment_of
from collapse_guard.ingest.lines import BOM, Lines, LineSplitter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.ingest.collect import Collector
    from collapse_guard.ingest.compressed import Damage, Piece

_QUOTE = b'"'


def read_csv(pieces: Iterator[Piece | Damage], out: Collector, *, delimiter: str, unpacked: bool) -> None:
    """Read a table whose first record names the columns.

    Args:
        pieces: The file.
        out: Takes the rows.
        delimiter: What stands between fields.
        unpacked: Whether the pieces were decompressed.
    """
    # The reader's own cap is 128 KiB; ours is enforced before it sees a record.
    csv.field_size_limit(2**31 - 1)
    splitter = LineSplitter(out.limits.record_bytes, unpacked=unpacked)
    records = _Records(out, delimiter, splitter.note)
    for block in splitter.split(pieces):
        if isinstance(block, Lines):
            records.feed(block)
        else:
            records.close()
            out.lost(block.fragment, block.reason, block.detail)
    records.close()


class _Records:
    """Joins physical lines into records.

    A line with an odd number of quotes opens a record that the next such line closes. If the two make no good record,
    the first line is at fault alone, and those after it are read again: so an unclosed quote costs one line.
    """

    def __init__(self, out: Collector, delimiter: str, note: str) -> None:
        self.out = out
        self.delimiter = delimiter
        self.note = note
        self.header: list[str] = []
        self.todo: deque[tuple[int, bytes]] = deque()
        self.open: list[tuple[int, bytes]] = []
        self.open_bytes = 0

    def feed(self, block: Lines) -> None:
        offset = block.offset
        for raw in block.lines:
            self.todo.append((offset, raw))
            offset += len(raw) + 1
        self._work()

    def close(self) -> None:
        while self.open:
            self._first_is_bad()
            self._work()

    def _work(self) -> None:
        while self.todo:
            line = self.todo.popleft()
            if self.open or line[1].count(_QUOTE) % 2:
                self._extend(line)
            elif line[1].strip():
                self._single(line)

    def _extend(self, line: tuple[int, bytes]) -> None:
        closes = bool(self.open) and line[1].count(_QUOTE) % 2 == 1
        self.open.append(line)
        self.open_bytes += len(line[1]) + 1
        if closes:
            self._joined()
        elif self.open_bytes > self.out.limits.record_bytes:
            self._first_is_bad()

    def _joined(self) -> None:
        raw = b"\n".join(line for _, line in self.open)
        try:
            fields = self._fields(raw)
        except _BadRecordError:
            self._first_is_bad()
            return
        self._record(self.open[0][0], raw, fields)
        self.open, self.open_bytes = [], 0

    def _first_is_bad(self) -> None:
        (offset, raw), *rest = self.open
        self.todo.extendleft(reversed(rest))
        self.open, self.open_bytes = [], 0
        if self.out.begin(offset, raw, self.note):
            self.out.quarantine(fragment_of(offset, raw, self.note), "unclosed_quote", "a quote opens and never closes")

    def _single(self, line: tuple[int, bytes]) -> None:
        offset, raw = line
        try:
            fields = self._fields(raw.removeprefix(BOM) if offset == 0 else raw)
        except _BadRecordError as bad:
            if self.out.begin(offset, raw, self.note):
                self.out.quarantine(fragment_of(offset, raw, self.note), bad.reason, str(bad))
            return
        self._record(offset, raw, fields)

    def _fields(self, raw: bytes) -> list[str]:
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise _BadRecordError("invalid_utf8", f"byte {error.start} of it is not UTF-8") from error
        if "\0" in text:
            raise _BadRecordError("nul_byte", f"character {text.index(chr(0))} of it is NUL")
        fields = self._split(text.removesuffix("\r"))
        if self.header and len(fields) != len(self.header):
            raise _BadRecordError("wrong_fields", f"it has {len(fields)} fields, the header has {len(self.header)}")
        return fields

    def _split(self, text: str) -> list[str]:
        if '"' not in text:
            return text.split(self.delimiter)
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            raise _BadRecordError("bad_csv", str(error)) from error
        if len(rows) != 1:
            raise _BadRecordError("bad_csv", f"it reads as {len(rows)} records")
        return rows[0]

    def _record(self, offset: int, raw: bytes, fields: list[str]) -> None:
        if not self.header:
            self.header = fields
            self._check_header()
        elif self.out.begin(offset, raw, self.note) and not self.out.rows.add(
            dict(zip(self.header, fields, strict=True)), {"offset": offset}
        ):
            self.out.quarantine(fragment_of(offset, raw, self.note), "no_text", "the row has no text")

    def _check_header(self) -> None:
        name = self.out.rows.text_name
        if name not in self.header:
            columns = ", ".join(self.header)[:200]
            raise UnreadableFileError("no_text_column", f"there is no column {name!r}; the header has: {columns}")


class _BadRecordError(Exception):
    """A record breaks RFC 4180 or is no text."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
