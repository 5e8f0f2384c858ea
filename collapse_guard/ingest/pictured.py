"""What of images concerns readers of every format: how they are told, and their tables; nothing here decodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from collapse_guard.images.schema import IMAGES, ORIGINALS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow.parquet as pq

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp")
COLUMNS = ("image", "img", "picture", "photo", "image_bytes", "jpg", "jpeg", "png", "webp")
"""Names of a Parquet column of bytes that is taken to hold images whatever its bytes are."""

HEAD_BYTES = 12
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_PROBED_ROWS = 64


class Pictured(NamedTuple):
    """What lies beside the documents of a batch that are images, in their order."""

    images: pa.Table
    originals: pa.Table


def pictured(rows: list[tuple[dict[str, Any], bytes]]) -> Pictured | None:
    """Make the tables of a batch from rows of IMAGES with their files; null where there are none."""
    if not rows:
        return None
    files = [{"id": row["id"], "sha256": row["sha256"], "data": data} for row, data in rows]
    images = pa.Table.from_pylist([row for row, _ in rows], schema=IMAGES)
    return Pictured(images, pa.Table.from_pylist(files, schema=ORIGINALS))


def starts_image(head: bytes) -> bool:
    """Say whether bytes begin a JPEG, PNG, GIF, TIFF, WebP or BMP file."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    bitmap = head[:2] == b"BM" and head[6:10] == b"\0\0\0\0"  # two letters alone begin many a text
    return head.startswith(_STARTS) or webp or bitmap


def image_column(file: pq.ParquetFile, text: str) -> str | None:
    """Find the column of a Parquet file that holds images: by its name, or by its first values.

    Args:
        file: The file.
        text: The column of text, which holds none.

    Returns:
        The first such column, or null.
    """
    fields = [field for field in file.schema_arrow if field.name != text and _may_hold(field.type)]
    named = [field.name for field in fields if field.name.lower() in COLUMNS]
    found = named or [field.name for field in fields if _probe(file, field.name)]
    return found[0] if found else None


def _may_hold(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _probe(file: pq.ParquetFile, name: str) -> bool:
    """Look at the first rows; a damaged group tells nothing, and is told later where its rows are read."""
    try:
        batch = next(file.iter_batches(_PROBED_ROWS, columns=[name], use_threads=False), None)
    except (pa.ArrowException, OSError):
        return False
    return batch is not None and any(map(starts_image, _heads(batch.column(0))))


def _heads(column: pa.Array) -> Iterable[bytes]:
    values = column.field("bytes") if pa.types.is_struct(column.type) else column
    return (value.as_py()[:HEAD_BYTES] for value in values if value.is_valid)
