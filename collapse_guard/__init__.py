"""Keep model collapse out of training data: measure, sift, mix, judge, and release only what passes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collapse_guard.catalogue import load_policy
    from collapse_guard.errors import DamagedDataError, GateClosed, GuardError, PolicyError, UsageError
    from collapse_guard.measure import measure
    from collapse_guard.provenance.watermark.schemes import scan_tokens
    from collapse_guard.release import ReleasedCorpus, open_release
    from collapse_guard.sift import Sifted, sift

_HOMES = {
    "DamagedDataError": "errors",
    "GateClosed": "errors",
    "GuardError": "errors",
    "PolicyError": "errors",
    "ReleasedCorpus": "release",
    "Sifted": "sift",
    "UsageError": "errors",
    "load_policy": "catalogue",
    "measure": "measure",
    "open_release": "release",
    "scan_tokens": "provenance.watermark.schemes",
    "sift": "sift",
}
"""Public names and the modules that hold them; loaded on first use, so that the import stays quick."""

__all__ = [
    "DamagedDataError",
    "GateClosed",
    "GuardError",
    "PolicyError",
    "ReleasedCorpus",
    "Sifted",
    "UsageError",
    "__version__",
    "load_policy",
    "measure",
    "open_release",
    "scan_tokens",
    "sift",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    if name not in _HOMES:
        raise AttributeError(f"module 'collapse_guard' has no attribute {name!r}")
    return getattr(importlib.import_module(f"collapse_guard.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
