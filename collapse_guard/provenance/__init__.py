"""Who wrote a document: origins, and how evidence is fused into one."""

from __future__ import annotations

import pyarrow as pa

HUMAN_VERIFIED = "human_verified"
UNKNOWN = "unknown"

ORIGINS = (HUMAN_VERIFIED, "human_presumed", "edited", UNKNOWN, "synthetic")
"""From the best verified to the worst: of equal texts, the copy with the earlier origin is kept."""


def origins_of_scraped(documents: pa.Table) -> pa.Array:
    """Fuse the evidence about scraped documents into an origin each.

    The only evidence that this version collects is signed admission to a reservoir. A scraped document has none, so
    its origin is unknown, whatever it claims: no evidence is not human.

    Args:
        documents: Documents from an ingest.

    Returns:
        One origin per document.
    """
    return pa.repeat(pa.scalar(UNKNOWN, pa.string()), documents.num_rows)
