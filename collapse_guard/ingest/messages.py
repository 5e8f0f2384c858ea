"""What parent and worker say to each other over pipes: a small JSON header, then Arrow streams."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LENGTHS = struct.Struct("<QQQQQ")
"""Bytes of the header, the documents, the quarantine, the images and their files."""

_MOST_TABLES = 4

PROGRESS = struct.Struct("=QQ")
"""The progress file: a beat that changes with every step, and the ordinal of the record being read."""


def pack(header: Mapping[str, Any], tables: Sequence[pa.Table] = ()) -> list[bytes | memoryview]:
    """Make the parts of one message, to be written one after the other.

    Args:
        header: Small, as JSON.
        tables: Documents and quarantine, with images and their files or without; or none.

    Returns:
        Lengths, header, and one Arrow stream per table.
    """
    text = orjson.dumps(header)
    streams = [_stream(table) for table in tables]
    sizes = [stream.nbytes for stream in streams] + [0] * (_MOST_TABLES - len(streams))
    return [LENGTHS.pack(len(text), *sizes), text, *streams]


def _stream(table: pa.Table) -> memoryview:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def unpack(read: Callable[[int], bytearray]) -> tuple[dict[str, Any], list[pa.Table]]:
    """Read one message.

    Args:
        read: Gives exactly as many bytes as asked for.

    Returns:
        The header, and the tables if there are any.
    """
    header_size, *sizes = LENGTHS.unpack(read(LENGTHS.size))
    header: dict[str, Any] = orjson.loads(read(header_size))
    tables = [pa.ipc.open_stream(pa.py_buffer(read(size))).read_all() for size in sizes if size]
    return header, tables
