"""The one schema of a document, of a quarantine entry, and the ids of documents."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

if TYPE_CHECKING:
    from datetime import datetime

DOCUMENT = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("domain", pa.string()),
        pa.field("captured_at", pa.timestamp("us", tz="UTC")),
        pa.field("language", pa.string()),
        pa.field("claimed_origin", pa.string()),
        pa.field("generation", pa.int32()),
        pa.field("metadata", pa.string()),
    ]
)
"""One document. `source` names the input file; `metadata` is a JSON object with its place there.

`id`, `language`, `claimed_origin` and `generation` are what the input says: claims, never evidence.
"""

HUMAN_VERIFIED = "human_verified"
HUMAN_PRESUMED = "human_presumed"
UNKNOWN = "unknown"
EDITED = "edited"
SYNTHETIC = "synthetic"
ORIGINS = (HUMAN_VERIFIED, HUMAN_PRESUMED, UNKNOWN, EDITED, SYNTHETIC)
"""What evidence says about who wrote a document, from the best verified to the worst: of equal texts, the copy with
the earlier origin is kept. `edited` stands behind `unknown`, because there is evidence of a model in it."""

QUARANTINE = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("records", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("data", pa.large_binary(), nullable=False),
    ]
)
"""Input that could not be read: where it lies, why, its digest, and its first 64 KiB.

`offset` counts bytes of the file as stored, except inside a compressed stream that is one unit (a `.gz` or
`.zst` of lines), where it counts decompressed bytes; `detail` says which. In a Parquet file it counts rows.
"""


def derive_id(text: str, url: str | None, captured_at: datetime | None) -> str:
    """Name a document that came without an id by its content, so that repacking the input changes nothing.

    Args:
        text: The document's text.
        url: Where it was captured, if known.
        captured_at: When it was captured, if known.

    Returns:
        32 hexadecimal digits.
    """
    # Item by item, because orjson sets no blank after a comma as these ids do; it is eight times as fast as json.
    capture = captured_at.isoformat() if captured_at else None
    items = b", ".join(orjson.dumps(item) for item in (url, capture, text))
    return hashlib.sha256(b"[" + items + b"]").hexdigest()[:32]


def text_digests(texts: pa.ChunkedArray) -> pa.Array:
    """SHA-256 of each text in UTF-8; null for a null text."""
    values = texts.cast(pa.large_binary()).to_pylist()
    return pa.array([None if value is None else hashlib.sha256(value).digest() for value in values], pa.binary())
