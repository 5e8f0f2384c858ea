"""The two tables that lie beside the documents that are images, in the same order."""

from __future__ import annotations

import pyarrow as pa

FEATURES = 128
"""Numbers that describe one image; `features.py` says which."""

IMAGES_ROLE = "images"
ORIGINALS_ROLE = "originals"

IMAGES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("perceptual_hash", pa.uint64()),
        pa.field("features", pa.list_(pa.float32(), FEATURES), nullable=False),
        pa.field("thumbnail", pa.large_binary(), nullable=False),
    ]
)
"""One image, by the id of its document. `sha256` is of the file's bytes; `width` and `height` are as it is seen, after
its EXIF orientation; `perceptual_hash` is null for an image without any contrast; `thumbnail` is a JPEG file of at
most 128 by 128 pixels."""

ORIGINALS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("data", pa.large_binary(), nullable=False),
    ]
)
"""The file of the image, byte for byte."""
