"""JSON lines, and JSON files that are one array or one object."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson

from collapse_guard.ingest.compressed import Piece
from collapse_guard.ingest.fragments import DECOMPRESSED, ELEMENTS, fragment_of, fragment_of_chunks
from collapse_guard.ingest.lines import BOM, Lines, LineSplitter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.ingest.collect import Collector
    from collapse_guard.ingest.compressed import Damage


def read_json_lines(pieces: Iterator[Piece | Damage], out: Collector, *, unpacked: bool) -> None:
    """Read one JSON object per line; a bad line costs that line."""
    for block in LineSplitter(out.limits.record_bytes, unpacked=unpacked).split(pieces):
        if isinstance(block, Lines):
            _read_block(block, out, unpacked=unpacked)
        else:
            out.lost(block.fragment, block.reason, block.detail)


def _read_block(block: Lines, out: Collector, *, unpacked: bool) -> None:
    note = LineSplitter(0, unpacked=unpacked).note
    offset = block.offset
    for raw in block.lines:
        start, offset = offset, offset + len(raw) + 1
        line = raw.removeprefix(BOM) if start == 0 else raw
        if line and not line.isspace() and out.begin(start, raw, note):
            _read_line(line, start, note, out)


def _read_line(line: bytes, offset: int, note: str, out: Collector) -> None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        out.quarantine(fragment_of(offset, line, note), *why_not_json(line, error))
        return
    if refusal := _take(value, {"offset": offset}, out):
        out.quarantine(fragment_of(offset, line, note), *refusal)


def _take(value: Any, place: dict[str, Any], out: Collector) -> tuple[str, str] | None:  # noqa: ANN401 - any JSON value
    """Take a parsed row as a document, or say why it is none."""
    if not isinstance(value, dict):
        return "not_an_object", f"a row must be a JSON object, this is of type {type(value).__name__}"
    if out.rows.add(value, place):
        return None
    return "no_text", f"the row has no string under {out.rows.text_name!r}"


def why_not_json(raw: bytes, error: orjson.JSONDecodeError) -> tuple[str, str]:
    """Tell invalid UTF-8 from other faults.

    Args:
        raw: The line.
        error: What the parser said.

    Returns:
        Reason and detail.

    Raises:
        MemoryError: The parser had too little memory, which is no fault of the input.
    """
    if str(error).startswith("Not enough memory"):
        raise MemoryError
    try:
        raw.decode()
    except UnicodeDecodeError as invalid:
        return "invalid_utf8", f"byte {invalid.start} of it is not UTF-8"
    return "bad_json", str(error)


def read_json(pieces: Iterator[Piece | Damage], out: Collector, *, unpacked: bool) -> None:
    """Read a JSON file: the elements of one array, one object, or else lines."""
    held: list[Piece | Damage] = []
    whole, size = True, 0
    for piece in pieces:
        held.append(piece)
        size += len(piece.data) if isinstance(piece, Piece) else 0
        whole = isinstance(piece, Piece) and size <= out.limits.record_bytes
        if not whole:
            break
    data = b"".join(piece.data for piece in held if isinstance(piece, Piece)).removeprefix(BOM)
    if whole and _read_value(data, out):
        return
    if not whole and data.lstrip().startswith(b"["):
        _lose_array(chain(held, pieces), out, unpacked=unpacked)
    else:
        read_json_lines(chain(held, pieces), out, unpacked=unpacked)


def _read_value(data: bytes, out: Collector) -> bool:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    elements = value if isinstance(value, list) else [value]
    note = ELEMENTS if isinstance(value, list) else ""
    for index, element in enumerate(elements):
        raw = orjson.dumps(element)
        if out.begin(index, raw, note) and (refusal := _take(element, {"offset": index}, out)):
            out.quarantine(fragment_of(index, raw, note), *refusal)
    return True


def _lose_array(pieces: Iterator[Piece | Damage], out: Collector, *, unpacked: bool) -> None:
    """Quarantine an array that is too large to be read at once, or cut."""
    why = ("record_too_large", f"an array may have {out.limits.record_bytes} bytes; write one object per line instead")
    damages: list[Damage] = []

    def data() -> Iterator[bytes]:
        for piece in pieces:
            if isinstance(piece, Piece):
                yield piece.data
            else:
                damages.append(piece)

    fragment = fragment_of_chunks(0, data(), DECOMPRESSED if unpacked else "")
    out.lost(fragment, *((damages[0].reason, damages[0].detail) if damages else why))
