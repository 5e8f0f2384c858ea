"""Images: one file, or the column of a Parquet file that holds them; each becomes a document with its caption."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from collapse_guard.images.features import features_of, perceptual_hash
from collapse_guard.images.pixels import MOST_BYTES, BadPictureError, open_picture
from collapse_guard.ingest.errors import UnreadableFileError
from collapse_guard.ingest.fragments import ROWS, fragment_of
from collapse_guard.ingest.rows import bounded_row
from collapse_guard.provenance.declared import MOST_MARKS, Marks, marks_of_row
from collapse_guard.provenance.images.containers import read_contents
from collapse_guard.provenance.images.generators import evidence_of_fields, usage_policy_of_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from collapse_guard.images.pixels import Picture
    from collapse_guard.ingest.collect import Collector
    from collapse_guard.ingest.compressed import Stored

CAPTION = "caption"
"""Where a caption is looked for in a row that has no text."""


def read_picture(path: Path, file: Stored, out: Collector) -> None:
    """Read a file that is one image.

    Args:
        path: The file.
        file: It, at its start.
        out: Takes the document.

    Raises:
        UnreadableFileError: The file is larger than an image may be.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise UnreadableFileError("image_too_large", f"the image has {size} bytes, more than {MOST_BYTES}")
    data = file.read()
    if out.begin(0, data):
        take_picture(data, {}, {"offset": 0}, out, offset=0)


def take_picture(
    data: bytes, row: Mapping[str, Any], place: dict[str, Any], out: Collector, *, offset: int, note: str = ""
) -> None:
    """Take an image that was announced as a document, or quarantine it.

    Args:
        data: The image's file.
        row: What the input says of it, by the input's names; its text, or else its `caption`, is the caption.
        place: Where it lies, for the metadata.
        out: Takes the document.
        offset: Where it starts.
        note: What `offset` counts, where that is not stored bytes.
    """
    try:
        picture = open_picture(data)
    except BadPictureError as bad:
        out.quarantine(fragment_of(offset, data, note), bad.reason, str(bad))
        return
    digest = hashlib.sha256(data).hexdigest()
    caption = _caption(row, out.rows.text_name)
    known = {name: row[name] for name in out.rows.used & row.keys()} | {out.rows.text_name: caption}
    given = out.rows.names["id"][0]
    if known.get(given) is None:
        known[given] = _derived_id(digest, caption)
    extra = {name: value for name, value in row.items() if name not in out.rows.used}
    told = {**place, "image": _facts(picture, digest), **bounded_row(extra), **_marks(data, extra).to_json()}
    out.rows.add(known, told)
    out.picture(_row(picture, digest, out.rows.columns["id"][-1]), data)


def _caption(row: Mapping[str, Any], name: str) -> str:
    found = (row.get(name), row.get(CAPTION))
    return next((text for text in found if isinstance(text, str)), "")


def _derived_id(digest: str, caption: str) -> str:
    """Name an image by its bytes and caption, so that repacking the input changes nothing."""
    return hashlib.sha256(orjson.dumps([digest, caption])).hexdigest()[:32]


def _facts(picture: Picture, digest: str) -> dict[str, Any]:
    """What the metadata says of every image, and of one that is not as most are."""
    told: dict[str, Any] = {"format": picture.format, "width": picture.width, "height": picture.height}
    told |= {"sha256": digest, "mode": picture.mode}
    if picture.frames > 1:
        told["frames"] = picture.frames
    if picture.orientation > 1:
        told["orientation"] = picture.orientation
    return told


def _marks(data: bytes, extra: Mapping[str, Any]) -> Marks:
    """What the file and its row declare of who made it; credentials are verified by `scan`, from the original."""
    contents, row = read_contents(data), marks_of_row(extra)
    evidence = tuple(dict.fromkeys((*evidence_of_fields(contents), *row.evidence)))[:MOST_MARKS]
    return Marks(evidence, usage_policy_of_fields(contents) | row.usage_policy)


def _row(picture: Picture, digest: str, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "sha256": digest,
        "format": picture.format,
        "width": picture.width,
        "height": picture.height,
        "perceptual_hash": perceptual_hash(picture.pixels),
        "features": features_of(picture.pixels),
        "thumbnail": picture.thumbnail,
    }


def take_rows(column: str, values: Callable[[pa.Array], list[Any]], batch: pa.RecordBatch, out: Collector) -> None:
    """Take the rows of a batch of Parquet as images, one by one.

    Args:
        column: The column of images, of bytes or of a struct with `bytes`.
        values: Reads another column as Python values.
        batch: The rows.
        out: Takes the documents.
    """
    others = [name for name in batch.schema.names if name != column]
    rows = zip(*(values(batch.column(name)) for name in others), strict=True) if others else [()] * len(batch)
    for data, row in zip(_bytes(batch.column(column)), rows, strict=True):
        number = out.position
        if not out.begin(number, data or b"", ROWS):
            continue
        if data is None:
            out.quarantine(fragment_of(number, b"", ROWS), "no_image", "the row has no bytes of an image")
        else:
            told = dict(zip(others, row, strict=True))
            take_picture(data, told, {"offset": number}, out, offset=number, note=ROWS)


def _bytes(column: pa.Array) -> Iterator[bytes | None]:
    found = column.field("bytes") if pa.types.is_struct(column.type) else column
    for value in found:
        yield value.as_py()
