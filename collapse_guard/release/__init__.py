"""Release a candidate with a signed verdict for exactly its bytes, and open nothing else."""

from __future__ import annotations

from collapse_guard.release.accounting import Account, Proof, take_account
from collapse_guard.release.chain import PREDICATE, Release, read_chain, releases_prefix, trusted_by
from collapse_guard.release.corpus import ReleasedCorpus
from collapse_guard.release.notices import Notice, notices_for, read_notices
from collapse_guard.release.opening import OnClosed, OnRecalled, open_release, released_snapshot
from collapse_guard.release.publishing import release

__all__ = [
    "PREDICATE",
    "Account",
    "Notice",
    "OnClosed",
    "OnRecalled",
    "Proof",
    "Release",
    "ReleasedCorpus",
    "notices_for",
    "open_release",
    "read_chain",
    "read_notices",
    "release",
    "released_snapshot",
    "releases_prefix",
    "take_account",
    "trusted_by",
]
