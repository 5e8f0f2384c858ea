"""Parquet, row group by row group, with Arrow doing per column what it can."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collapse_guard.document import derive_id
from collapse_guard.ingest.collect import BATCH_BYTES
from collapse_guard.ingest.errors import UnreadableFileError
from collapse_guard.ingest.fragments import ROWS, Fragment, fragment_of, fragment_of_range
from collapse_guard.ingest.pictured import image_column
from collapse_guard.ingest.rows import (
    as_generation,
    as_id,
    as_name,
    as_string,
    as_time,
    document_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from collapse_guard.ingest.collect import Collector

_MOST_ROWS = 8192
_READ_BYTES = 2**20
_RETURN = ord("\r")
_TIME = pa.timestamp("us", tz="UTC")
# Damaged pages reach Python as any of these; a lack of memory must not be taken for damage.
_DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError)


def read_parquet(path: Path, out: Collector) -> None:
    """Read one Parquet file; a bad row group costs that group.

    Args:
        path: The file.
        out: Takes the rows.

    Raises:
        MemoryError: The worker's memory is not enough.
        UnreadableFileError: The footer is damaged, or there is no text column.
    """
    try:
        file = pq.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False)
        schema, groups = file.schema_arrow, file.metadata.num_row_groups
    except MemoryError:
        raise
    except _DAMAGE as error:
        raise UnreadableFileError("bad_parquet", f"the footer cannot be read: {_first_line(error)}") from error
    with file:
        pictures = image_column(file, out.rows.text_name)
        wanted = _columns(schema, pictures) if pictures else _wanted(schema, out, file.metadata.num_rows)
        take = _take if pictures is None else _taking_pictures(pictures)
        for group in range(groups):
            _read_group(_Group(path, file, group, out.position), wanted, take, out, whole=pictures is None)


def _taking_pictures(column: str) -> Callable[[pa.RecordBatch, Collector], None]:
    from collapse_guard.ingest.images import take_rows  # noqa: PLC0415 - decoders of images, for images alone

    return partial(take_rows, column, _values_and_times)


def _wanted(schema: pa.Schema, out: Collector, rows: int) -> list[str]:
    name = out.rows.text_name
    if name not in schema.names or not _is_text(schema.types[schema.names.index(name)]):
        detail = f"there is no column {name!r} of strings; columns: {', '.join(schema.names)[:200]}"
        raise UnreadableFileError("no_text_column", detail, records=max(rows, 1))
    return _columns(schema)


def _columns(schema: pa.Schema, also: str | None = None) -> list[str]:
    """Name the columns that are read: those that hold one value per row, and one more."""
    plain = (field.name for field in schema if field.name == also or not pa.types.is_nested(field.type))
    return [name for name in plain if schema.names.count(name) == 1]


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:500]


class _Group:
    """One row group: what it claims, and where it lies."""

    def __init__(self, path: Path, file: pq.ParquetFile, index: int, first: int) -> None:
        self.path = path
        self.file = file
        self.index = index
        self.first = first
        self.claimed = file.metadata.row_group(index).num_rows

    def rows(self, limit: int) -> int:
        """How many rows to account for when it is lost: what it claims, if it can be."""
        whole = self.file.metadata.num_rows
        return self.claimed if 0 < self.claimed <= min(whole, limit) else 1

    def batch_rows(self) -> int:
        size: int = self.file.metadata.row_group(self.index).total_byte_size
        rows: int = BATCH_BYTES * max(self.claimed, 1) // max(size, 1)
        return max(1, min(_MOST_ROWS, rows))

    def fragment(self, row: int, progress: Callable[[], None]) -> Fragment:
        """Describe its stored bytes."""
        try:
            start, end = self._extent()
            with self.path.open("rb") as file:
                found = fragment_of_range(file, start, end, progress)
        except _DAMAGE:
            return fragment_of(row, b"", ROWS)
        return Fragment(row, found.length, found.sha256, found.head, ROWS)

    def _extent(self) -> tuple[int, int]:
        group = self.file.metadata.row_group(self.index)
        columns = [group.column(i) for i in range(group.num_columns)]
        starts = [column.dictionary_page_offset or column.data_page_offset for column in columns]
        ends = [start + column.total_compressed_size for start, column in zip(starts, columns, strict=True)]
        return min(starts), max(ends)


def _read_group(
    group: _Group,
    wanted: list[str],
    take: Callable[[pa.RecordBatch, Collector], None],
    out: Collector,
    *,
    whole: bool,
) -> None:
    """Read a group; one that killed a worker is lost from there on, if rows are read together, `whole`."""
    total = group.rows(out.limits.records)
    culprit = next((out.culprits[at] for at in out.culprits if group.first <= at < group.first + total), None)
    if culprit and whole:
        out.begin_rows(max(0, min(out.skip - group.first, total)))
        _lose_rest(group, total, culprit, out)
        return
    try:
        for batch in _batches(group, wanted, out):
            take(batch, out)
    except MemoryError:
        raise
    except _DAMAGE as error:
        _lose_rest(group, total, ("bad_row_group", f"row group {group.index}: {_first_line(error)}"), out)
        return
    if out.position < group.first + group.claimed:
        _lose_rest(group, total, ("bad_row_group", f"row group {group.index} holds fewer rows than it claims"), out)


def _batches(group: _Group, wanted: list[str], out: Collector) -> Iterator[pa.RecordBatch]:
    batches = group.file.iter_batches(
        group.batch_rows(), row_groups=[group.index], columns=wanted, use_threads=False, use_pandas_metadata=False
    )
    while True:
        out.beat()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _lose_rest(group: _Group, total: int, why: tuple[str, str], out: Collector) -> None:
    rest = max(1, group.first + total - out.position)
    out.lost(group.fragment(out.position, out.beat), *why, records=rest)


def _take(batch: pa.RecordBatch, out: Collector) -> None:
    """Take the rows of a batch that have a text, and quarantine the others one by one."""
    room = out.limits.records - out.position
    if len(batch) > room:
        _take(batch.slice(0, room), out)
        out.begin(out.position, b"", ROWS)
    first = out.position
    raw = _plain(batch.column(out.rows.text_name))
    text = _valid(raw)
    done = out.begin_rows(len(batch))
    if done:
        batch, raw, text, first = batch.slice(done), raw.slice(done), text.slice(done), first + done
    fits = pc.fill_null(pc.less_equal(pc.binary_length(text), out.limits.record_bytes), fill_value=False)
    if not pc.all(fits).as_py():
        _refuse(raw, text, np.flatnonzero(~fits.to_numpy(zero_copy_only=False)), first, out)
        batch, text = batch.filter(fits), text.filter(fits)
    numbers = first + np.flatnonzero(fits.to_numpy(zero_copy_only=False))
    if len(text):
        out.table(_documents(batch, text, numbers.tolist(), out))


def _refuse(raw: pa.Array, text: pa.Array, rows: np.ndarray[Any, Any], first: int, out: Collector) -> None:
    for row in rows.tolist():
        data = raw[row].cast(pa.large_binary()).as_py()
        fragment = fragment_of(first + row, data or b"", ROWS)
        if data is None:
            out.quarantine(fragment, "no_text", "the row has no text")
        elif text[row].is_valid:
            out.quarantine(fragment, "record_too_large", f"the text has more than {out.limits.record_bytes} bytes")
        else:
            out.quarantine(fragment, "invalid_utf8", "the text is not UTF-8")


def _plain(column: pa.Array) -> pa.Array:
    """Bring any column of strings or bytes to large strings, unchecked."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    return column.cast(pa.large_binary()).view(pa.large_string())


def _valid(column: pa.Array) -> pa.Array:
    """Replace strings that are not UTF-8 by null."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return pa.array([_decoded(value) for value in column.view(pa.large_binary()).to_pylist()], pa.large_string())
    return column


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _newlines(text: pa.Array) -> pa.Array:
    if text.buffers()[2] is None or not (np.frombuffer(text.buffers()[2], np.uint8) == _RETURN).any():
        return text
    return pc.replace_substring(pc.replace_substring(text, "\r\n", "\n"), "\r", "\n")


def _documents(batch: pa.RecordBatch, text: pa.Array, numbers: list[int], out: Collector) -> pa.Table:
    names = out.rows.names

    def column(ours: str, kind: pa.DataType, read: Callable[[Any], Any]) -> pa.Array:
        found = [_converted(batch.column(name), kind, read) for name in names[ours] if name in batch.schema.names]
        return pc.coalesce(*found) if found else pa.nulls(len(batch), kind)

    arrays = {
        "text": _newlines(text),
        "source": column("source", pa.string(), as_string),
        "url": column("url", pa.string(), as_string),
        "domain": column("domain", pa.string(), as_string),
        "captured_at": column("captured_at", _TIME, as_time),
        "language": column("language", pa.string(), as_string),
        "claimed_origin": column("claimed_origin", pa.string(), as_name),
        "generation": column("generation", pa.int32(), as_generation),
        "metadata": _metadata(batch, numbers, out),
    }
    arrays["id"] = _ids(column("id", pa.string(), as_id), arrays)
    return document_table(arrays, out.file)


def _converted(column: pa.Array, kind: pa.DataType, read: Callable[[Any], Any]) -> pa.Array:
    """Read a column as `kind`: by Arrow where the types say all, else value by value."""
    if _is_text(column.type):
        column = _valid(_plain(column))
        if pa.types.is_string(kind):
            text = column.cast(pa.string())
            return pc.if_else(pc.equal(text, ""), None, text)
    elif pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return (
            column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False).cast(_TIME)
            if (kind == _TIME)
            else pa.nulls(len(column), kind)
        )
    return pa.array([read(value) for value in column.to_pylist()], kind)


def _ids(given: pa.Array, arrays: dict[str, pa.Array]) -> pa.Array:
    """Fill ids that are missing with ids derived from the content."""
    missing = np.flatnonzero(given.is_null().to_numpy(zero_copy_only=False))
    if not len(missing):
        return given
    rows = pa.array(missing)
    keys = (arrays[name].take(rows).to_pylist() for name in ("text", "url", "captured_at"))
    derived = [derive_id(*key) for key in zip(*keys, strict=True)]
    return pc.replace_with_mask(given, given.is_null(), pa.array(derived, pa.string()))


def _metadata(batch: pa.RecordBatch, numbers: list[int], out: Collector) -> pa.Array:
    extra = [name for name in batch.schema.names if name not in out.rows.used]
    columns = [_values(batch.column(name)) for name in extra]
    rows = [dict(zip(extra, values, strict=True)) for values in zip(*columns, strict=True)] or [{}] * len(batch)
    told = (out.rows.metadata({"offset": n}, row) for n, row in zip(numbers, rows, strict=True))
    return pa.array(told, pa.string(), size=len(batch))


def _values_and_times(column: pa.Array) -> list[Any]:
    if not pa.types.is_timestamp(column.type):
        return _values(column)
    times: list[Any] = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).to_pylist()
    return times


def _values(column: pa.Array) -> list[Any]:
    scalar = pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)
    if scalar:
        values: list[Any] = column.to_pylist()
        return values
    if _is_text(column.type):
        strings: list[Any] = _valid(_plain(column)).to_pylist()
        return strings
    return [None] * len(column)
