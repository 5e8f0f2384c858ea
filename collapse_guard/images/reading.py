"""Read images back from a snapshot of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from collapse_guard.errors import UsageError
from collapse_guard.images.schema import FEATURES, IMAGES_ROLE, ORIGINALS_ROLE
from collapse_guard.snapshot import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store


def read_images(store: Store, snapshot: Snapshot, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read the images of a snapshot of documents, shard by shard, in the order of their documents."""
    return read_rows(store, snapshot.with_role(IMAGES_ROLE), columns)


def read_features(store: Store, snapshot: Snapshot) -> tuple[list[str], NDArray[np.float32]]:
    """Read what the images of a snapshot look like.

    Args:
        store: Where it lies.
        snapshot: One of documents.

    Returns:
        Ids of the documents that are images, in order, and their features, float32 of shape (n, 128).
    """
    ids: list[str] = []
    found = [np.empty((0, FEATURES), np.float32)]
    for table in read_images(store, snapshot, ["id", "features"]):
        ids += table["id"].to_pylist()
        column = table["features"].combine_chunks()
        found.append(np.asarray(column.flatten()).reshape(len(column), FEATURES))
    return ids, np.concatenate(found)


def read_original(store: Store, snapshot: Snapshot, image: str) -> bytes:
    """Read the file of an image, byte for byte.

    Args:
        store: Where it lies.
        snapshot: One of documents.
        image: The id of the document.

    Returns:
        The file.

    Raises:
        UsageError: No document of the snapshot with this id is an image.
    """
    for shard in snapshot.with_role(ORIGINALS_ROLE):
        for table in read_rows(store, [shard]):
            at = pc.index(table["id"], image).as_py()
            if at >= 0:
                data: bytes = table["data"][at].as_py()
                return data
    raise UsageError(f"{snapshot.name}: no image has the id {image!r}; `read_images` gives the ids there are")
