"""Tell what a file is, by its content before its name, and read it."""

from __future__ import annotations

import io
from itertools import chain
from typing import TYPE_CHECKING

from collapse_guard.ingest.collect import EnoughError
from collapse_guard.ingest.compressed import Piece, coding_of, plain_pieces, unpacked_pieces
from collapse_guard.ingest.csv_rows import read_csv
from collapse_guard.ingest.errors import UnreadableFileError
from collapse_guard.ingest.fragments import fragment_of, fragment_of_range
from collapse_guard.ingest.json_lines import read_json, read_json_lines
from collapse_guard.ingest.parquet import read_parquet
from collapse_guard.ingest.pictured import HEAD_BYTES, SUFFIXES, starts_image
from collapse_guard.ingest.warc import read_warc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collapse_guard.ingest.collect import Collector
    from collapse_guard.ingest.compressed import Coding, Damage, Stored

BUFFER_BYTES = 2**20
_PACKED = (".gz", ".zst")
_LINES = (".jsonl", ".ndjson")
_TARS = (".tar", ".tgz")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_OPENING_BYTES = 512
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_MAY_BE_EMPTY = (*_LINES, *_DELIMITERS)


def read_file(path: Path, out: Collector) -> None:
    """Read one input file into the collector and close its last batch; whatever it holds, nothing is raised for it."""
    try:
        with io.BufferedReader(path.open("rb", buffering=0), BUFFER_BYTES) as file:
            _read_open(path, file, out)
    except EnoughError:
        pass
    except OSError as error:
        out.lost(
            fragment_of(0, b""), "unreadable", f"the file cannot be read: {error.strerror or type(error).__name__}"
        )
    out.close()


def _read_open(path: Path, file: Stored, out: Collector) -> None:
    try:
        _read_content(path, file, out)
    except UnreadableFileError as error:
        fragment = fragment_of_range(file, 0, path.stat().st_size, out.beat)
        out.lost(fragment, error.reason, str(error), records=error.records)


def _read_content(path: Path, file: Stored, out: Collector) -> None:
    head = file.peek(HEAD_BYTES)
    if not head and not path.name.lower().endswith(_MAY_BE_EMPTY):
        raise UnreadableFileError("empty_file", "the file has no bytes, which its format does not allow")
    if head.startswith(b"PAR1") or path.name.lower().endswith(".parquet"):
        read_parquet(path, out)
        return
    if starts_image(head) or path.name.lower().endswith(SUFFIXES):
        from collapse_guard.ingest.images import read_picture  # noqa: PLC0415 - decoders of images, for images alone

        read_picture(path, file, out)
        return
    coding = coding_of(head)
    pieces = _pieces(file, coding, out)
    first = next(pieces, None)
    again = chain([] if first is None else [first], pieces)
    opening = first.data[:_OPENING_BYTES] if isinstance(first, Piece) else b""
    _read_stream(path.name.lower(), opening, again, out, unpacked=coding is not None)


def _pieces(file: Stored, coding: Coding | None, out: Collector) -> Iterator[Piece | Damage]:
    beat = out.beat
    return unpacked_pieces(file, coding, out.limits.ratio, beat) if coding else plain_pieces(file, beat)


def _read_stream(
    name: str, opening: bytes, pieces: Iterator[Piece | Damage], out: Collector, *, unpacked: bool
) -> None:
    while name.endswith(_PACKED):
        name = name.rpartition(".")[0]
    suffix = "." + name.rpartition(".")[2]
    if opening.startswith(b"WARC/") or suffix in {".warc", ".wet"}:
        read_warc(pieces, out, unpacked=unpacked)
    elif suffix in _TARS or opening.startswith(_TAR_MAGIC, _TAR_MAGIC_AT):
        from collapse_guard.ingest.tar import read_tar  # noqa: PLC0415 - decoders of images, for images alone

        read_tar(pieces, out, unpacked=unpacked)
    elif suffix in _LINES:
        read_json_lines(pieces, out, unpacked=unpacked)
    elif suffix == ".json":
        read_json(pieces, out, unpacked=unpacked)
    elif suffix in _DELIMITERS:
        read_csv(pieces, out, delimiter=_DELIMITERS[suffix], unpacked=unpacked)
    else:
        raise UnreadableFileError(
            "unsupported_format",
            "it is no WARC, WET, JSON lines, JSON, CSV, TSV or tar file, plain, .gz or .zst, no Parquet and no image",
        )
