"""Rows as mappings become columns of documents."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.document import DOCUMENT, derive_id
from collapse_guard.provenance.declared import marks_of_row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROW_BYTES = 4 * 2**10
"""Most bytes of a row's other values that are kept in `metadata`."""

ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "text": ("text",),
    "source": ("source",),
    "url": ("url",),
    "domain": ("domain",),
    "captured_at": ("captured_at", "date", "timestamp"),
    "language": ("language",),
    "claimed_origin": ("claimed_origin", "origin", "label"),
    "generation": ("generation",),
}
"""Which input columns can fill ours, best first."""

_HOST = r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/?#@]*@)?(?P<host>\[[^\]/?#]*\]|[^/?#:]+)"
_NEWLINE = re.compile(r"\r\n?")
_INT32 = 2**31
_INT32_DIGITS = 10


def column_names(fields: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Say which input columns fill ours when some are renamed by the caller."""
    return {name: (fields[name],) if name in fields else aliases for name, aliases in ALIASES.items()}


def host_of(urls: pa.Array) -> pa.Array:
    """Take the host, in lower case and without user and port, out of a column of URLs; null where there is none."""
    return pc.utf8_lower(pc.struct_field(pc.extract_regex(urls, _HOST), "host"))


def one_newline(text: str) -> str:
    """Write every line end as a single newline character."""
    return _NEWLINE.sub("\n", text) if "\r" in text else text


def as_name(value: object) -> str | None:
    """Read a string that is not empty, or a number or truth value as JSON writes it."""
    if isinstance(value, str):
        return value or None
    if not isinstance(value, (bool, int, float)) or value != value:  # noqa: PLR0124 - NaN is no name
        return None
    return orjson.dumps(value).decode()


def as_id(value: object) -> str | None:
    """Read an id: a string that is not empty, or an integer."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def as_string(value: object) -> str | None:
    """Read a string that is not empty."""
    return value if isinstance(value, str) and value else None


def as_time(value: object) -> datetime | None:
    """Read an ISO 8601 date or time; one without a zone is UTC, one that is none is null."""
    if not isinstance(value, (str, datetime)):
        return None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(_iso(value))
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _iso(value: str) -> str:
    return value.strip().removesuffix("UTC").rstrip()


def as_generation(value: object) -> int | None:
    """Read an integer of 32 bits, also from decimal digits."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= _INT32_DIGITS:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if -_INT32 <= value < _INT32 else None


def bounded_row(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the scalars of a row, as many as fit in 4 KiB of JSON.

    Returns:
        `row`, and `row_left_out` with the number of scalars that did not fit.
    """
    scalars = {key: value for key, value in extra.items() if isinstance(value, (str, int, float, bool))}
    if not scalars:
        return {}
    if not any(isinstance(value, str) and len(value) > ROW_BYTES for value in scalars.values()) and _fits(scalars):
        return {"row": scalars}
    kept: dict[str, Any] = {}
    size = 2
    for key, value in scalars.items():
        more = len(key) + len(value if isinstance(value, str) else "0")
        if size + more <= ROW_BYTES and (size := size + len(orjson.dumps({key: value}))) <= ROW_BYTES:
            kept[key] = value
    return {"row": kept, "row_left_out": len(scalars) - len(kept)}


def _fits(scalars: Mapping[str, Any]) -> bool:
    return len(orjson.dumps(scalars)) <= ROW_BYTES


class Rows:
    """Documents that are gathered row by row and become a table.

    Args:
        file: The input file's name; the source of rows that name none.
        fields: Our column name to the input's.
    """

    def __init__(self, file: str, fields: Mapping[str, str]) -> None:
        self.file = file
        self.names = column_names(fields)
        self.text_name = self.names["text"][0]
        self.used = frozenset(name for names in self.names.values() for name in names)
        self._readers: list[tuple[str, tuple[str, ...], Callable[[Any], Any]]] = [
            ("source", self.names["source"], as_string),
            ("url", self.names["url"], as_string),
            ("domain", self.names["domain"], as_string),
            ("captured_at", self.names["captured_at"], as_time),
            ("language", self.names["language"], as_string),
            ("claimed_origin", self.names["claimed_origin"], as_name),
            ("generation", self.names["generation"], as_generation),
            ("id", self.names["id"], as_id),
        ]
        self._clear()

    def _clear(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name in (*(r[0] for r in self._readers), "text", "metadata")}
        self.size = 0

    def add(self, row: Mapping[str, Any], place: Mapping[str, Any]) -> bool:
        """Take one row.

        Args:
            row: The input's columns by name.
            place: What `metadata` says of it besides the file.

        Returns:
            Whether it has a text and so is a document.
        """
        text = row.get(self.text_name)
        if not isinstance(text, str):
            return False
        text = one_newline(text)
        columns = self.columns
        for ours, names, read in self._readers:
            for name in names:
                if (value := row.get(name)) is not None:
                    columns[ours].append(read(value))
                    break
            else:
                columns[ours].append(None)
        columns["text"].append(text)
        if columns["id"][-1] is None:
            columns["id"][-1] = derive_id(text, columns["url"][-1], columns["captured_at"][-1])
        extra = {key: value for key, value in row.items() if key not in self.used}
        columns["metadata"].append(self.metadata(place, extra))
        self.size += len(text)
        return True

    def metadata(self, place: Mapping[str, Any], extra: Mapping[str, Any]) -> str:
        """Say in JSON where a document came from, and what else its row said."""
        told = {"file": self.file, **place}
        if extra:
            told |= bounded_row(extra) | marks_of_row(extra).to_json()
        return orjson.dumps(told).decode()

    def table(self) -> pa.Table:
        """Make a table of the rows so far, and forget them."""
        arrays = {name: pa.array(values, DOCUMENT.field(name).type) for name, values in self.columns.items()}
        self._clear()
        return document_table(arrays, self.file)


def document_table(arrays: Mapping[str, pa.Array], file: str) -> pa.Table:
    """Complete columns to the schema of a document: tokens 0, the file as source, the URL's host as domain."""
    full = dict(arrays)
    full["tokens"] = pa.repeat(pa.scalar(0, pa.int64()), len(full["text"]))
    full["source"] = pc.fill_null(full["source"], file)
    full["domain"] = pc.coalesce(full["domain"], host_of(full["url"]))
    return pa.Table.from_arrays([full[name] for name in DOCUMENT.names], schema=DOCUMENT)
