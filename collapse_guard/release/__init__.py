"""Release a candidate with a signed verdict for exactly its bytes, and open nothing else."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from collapse_guard.release.accounting import Account, Proof, take_account
from collapse_guard.release.chain import PREDICATE, Release, read_chain, releases_prefix, trusted_by
from collapse_guard.release.corpus import ReleasedCorpus
from collapse_guard.release.notices import Notice, notices_for, read_notices
from collapse_guard.release.opening import OnClosed, OnRecalled, open_release, released_snapshot
from collapse_guard.release.overrides import Override

if TYPE_CHECKING:
    from collapse_guard.release.overriding import override, read_overrides
    from collapse_guard.release.publishing import release

_JUDGING = {"override": "overriding", "read_overrides": "overriding", "release": "publishing"}
"""Names whose modules need judge and mix."""

__all__ = [
    "PREDICATE",
    "Account",
    "Notice",
    "OnClosed",
    "OnRecalled",
    "Override",
    "Proof",
    "Release",
    "ReleasedCorpus",
    "notices_for",
    "open_release",
    "override",
    "read_chain",
    "read_notices",
    "read_overrides",
    "release",
    "released_snapshot",
    "releases_prefix",
    "take_account",
    "trusted_by",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute
    """Load what judges when it is asked for: whoever opens a release needs neither judge nor mix."""
    if name not in _JUDGING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"collapse_guard.release.{_JUDGING[name]}"), name)
