"""Copies of images: the same bytes, or nearly the same picture; which one is kept depends on no order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import UsageError
from collapse_guard.kernels.pictures.hamming import MOST_BITS, leaders

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Places = NDArray[np.int64]

DISTANCE = 6
"""Of 64 bits; docs/images.md has the measurement that it was chosen by."""
WANTED = ("id", "sha256", "width", "height", "perceptual_hash")
"""Columns of images that are read."""
KEEP, DROP = "keep", "drop"
EXACT, NEAR = "exact", "near"

VERDICT = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("duplicate_of", pa.string()),
        pa.field("match", pa.string()),
        pa.field("distance", pa.int8()),
    ]
)
"""One image: `keep` or `drop`; of a copy the id of the image that is kept, `exact` for the same bytes or `near`, and
the bits in which their hashes differ (null where the picture has none)."""


def image_duplicates(images: Iterable[pa.Table], distance: int = DISTANCE) -> pa.Table:
    """Decide which images are copies.

    The image with the most pixels is kept, of equals the one with the smallest digest, then id. Every copy is within
    `distance` of the image that is kept instead: there are no chains.

    Args:
        images: Tables with the columns `WANTED` of images.
        distance: Bits in which the hashes of copies may differ, from 0 to 15.

    Returns:
        Rows of VERDICT, one per image, in the order of the tables.

    Raises:
        UsageError: `distance` is out of range.
    """
    if not 0 <= distance <= MOST_BITS:
        raise UsageError(f"distance is {distance} bits; it must be from 0 to {MOST_BITS} of the 64")
    empty = pa.table({name: pa.array([], _TYPES[name]) for name in WANTED})
    table = pa.concat_tables([empty, *(found.select(list(WANTED)).cast(empty.schema) for found in images)])
    order = _best_first(table)
    ordered = table.take(pa.array(order)).combine_chunks()
    kept = _kept(ordered, distance)
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return _verdicts(ordered, kept).take(pa.array(places))


_TYPES = {
    "id": pa.string(), "sha256": pa.string(), "width": pa.int32(), "height": pa.int32(), "perceptual_hash": pa.uint64()
}  # fmt: skip


def _best_first(table: pa.Table) -> Places:
    pixels = pc.multiply(table["width"].cast(pa.int64()), table["height"].cast(pa.int64()))
    keys = pa.table({"pixels": pixels, "sha256": table["sha256"], "id": table["id"]})
    order = [("pixels", "descending"), ("sha256", "ascending"), ("id", "ascending")]
    return np.asarray(pc.sort_indices(keys, sort_keys=order).to_numpy(), np.int64)


def _kept(ordered: pa.Table, distance: int) -> Places:
    """Give the place of the image that is kept instead of each, its own where it is kept."""
    digests = ordered["sha256"].to_numpy()
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    kept = first[which].astype(np.int64)
    hashed = pc.is_valid(ordered["perceptual_hash"]).to_numpy()
    rows = np.flatnonzero(hashed & (kept == np.arange(len(kept))))
    found = rows[leaders(_hashes(ordered)[rows], distance)]
    near = np.arange(len(kept))
    near[rows] = found
    return near[kept]


def _hashes(ordered: pa.Table) -> NDArray[np.uint64]:
    return np.asarray(pc.fill_null(ordered["perceptual_hash"], pa.scalar(0, pa.uint64())), np.uint64)


def _verdicts(ordered: pa.Table, kept: Places) -> pa.Table:
    copy = pa.array(kept != np.arange(len(kept)))
    best = ordered.take(pa.array(kept))
    hashes = _hashes(ordered)
    known = pc.and_(pc.is_valid(ordered["perceptual_hash"]), copy)
    bits = pa.array(np.bitwise_count(hashes ^ hashes[kept]).astype(np.int8))
    match = pc.if_else(pc.equal(ordered["sha256"], best["sha256"]), EXACT, NEAR)
    return pa.table(
        {
            "id": ordered["id"],
            "verdict": pc.if_else(copy, DROP, KEEP),
            "duplicate_of": pc.if_else(copy, best["id"], pa.scalar(None, pa.string())),
            "match": pc.if_else(copy, match, pa.scalar(None, pa.string())),
            "distance": pc.if_else(known, bits, pa.scalar(None, pa.int8())),
        },
        schema=VERDICT,
    )
