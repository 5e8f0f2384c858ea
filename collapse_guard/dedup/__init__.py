"""Duplicates: the same text, the same URL, or nearly the same words; which copy is kept depends on no order."""

from __future__ import annotations

from collapse_guard.dedup.clusters import Clusters
from collapse_guard.dedup.index import EVALUATION_RANK, INDEX, index_of, url_keys
from collapse_guard.dedup.signing import SIGNATURE, signed

__all__ = [
    "EVALUATION_RANK",
    "INDEX",
    "SIGNATURE",
    "Clusters",
    "index_of",
    "signed",
    "url_keys",
]
