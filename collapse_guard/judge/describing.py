"""What a snapshot's images look like, and its texts to a user's embedder: features to judge by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.embedding import embed
from collapse_guard.errors import SignalError
from collapse_guard.images.reading import read_features, read_images
from collapse_guard.images.schema import ORIGINALS_ROLE
from collapse_guard.metrics.images import SAMPLE
from collapse_guard.reservoir import HUMAN, LOG
from collapse_guard.selection import priorities
from collapse_guard.snapshot import read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

    Rows = NDArray[np.float64]

MOST_IMAGES = 4 * SAMPLE
"""With more images a reference gives no larger draws, nor a corpus a larger sample."""
MOST_TEXTS = 2000
SEED = 0
"""Of the order in which documents are taken."""


def image_features(store: Store, snapshot: Snapshot, embedder: str | None = None, most: int = MOST_IMAGES) -> Rows:
    """Read what images look like: the first ones by hash priority.

    Args:
        store: Holds them.
        snapshot: One of documents.
        embedder: `package.module:function` over the files' bytes; without it the stored features are taken.
        most: How many images at most.

    Returns:
        Shape (n, d), one row per image.

    Raises:
        SignalError: The embedder raised or gave something else than finite rows of one length; names the document.
    """
    if embedder is None:
        ids, features = read_features(store, snapshot)
        return np.asarray(features[_first(ids, most)], np.float64)
    ids = [name for table in read_images(store, snapshot, ["id"]) for name in table["id"].to_pylist()]
    chosen = pa.array(ids, pa.string()).take(pa.array(_first(ids, most)))
    parts: list[Rows] = []
    for table in read_rows(store, snapshot.with_role(ORIGINALS_ROLE), ["id", "data"]):
        wanted = table.filter(pc.is_in(table["id"], chosen))
        parts += [_embedded(wanted, embedder)] if wanted.num_rows else []
        if parts and parts[-1].shape[1] != parts[0].shape[1]:
            widths, at = (parts[-1].shape[1], parts[0].shape[1]), wanted["id"][0].as_py()
            raise SignalError(
                f"the embedder {embedder!r} gave {widths[0]} numbers at document {at!r}, {widths[1]} before"
            )
    return np.concatenate(parts) if parts else np.empty((0, 0))


def _embedded(documents: pa.Table, embedder: str) -> Rows:
    return embed(documents[1].to_pylist(), embedder, ids=documents["id"].to_pylist())


def _first(ids: Sequence[str], most: int) -> NDArray[np.int64]:
    return np.argsort(priorities(ids, SEED), kind="stable")[:most]


def text_features(store: Store, snapshot: Snapshot, embedder: str, most: int = MOST_TEXTS) -> Rows:
    """Ask a user's embedder for the features of texts: of the first ones by hash priority.

    Args:
        store: Holds them.
        snapshot: One of documents, a candidate, or a state of a reservoir, of which the human split is read.
        embedder: `package.module:function` over texts.
        most: How many texts at most; documents without text do not count.

    Returns:
        Shape (n, d), one row per document.

    Raises:
        SignalError: The embedder raised or gave something else than finite rows of one length; names the document.
    """
    role = HUMAN if snapshot.kind == LOG else "documents"
    kept = pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.large_string())})
    for table in read_rows(store, snapshot.with_role(role), ["id", "text"]):
        written = table.filter(pc.greater(pc.binary_length(table["text"]), 0)).cast(kept.schema)
        both = pa.concat_tables([kept, written])
        kept = both.take(pa.array(_first(both["id"].to_pylist(), most)))
    return _embedded(kept, embedder)
