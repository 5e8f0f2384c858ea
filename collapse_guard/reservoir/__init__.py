"""The protected store of verified human documents: append-only, admitted by signature, verified on every use."""

from __future__ import annotations

from collapse_guard.reservoir.admission import Admission, admit
from collapse_guard.reservoir.checking import Checks
from collapse_guard.reservoir.entries import Tombstone, countersign, settle, start, tombstone, writable
from collapse_guard.reservoir.history import open_reservoir
from collapse_guard.reservoir.holds import hold, lift
from collapse_guard.reservoir.opened import Reservoir
from collapse_guard.reservoir.rules import Rules
from collapse_guard.reservoir.sides import is_evaluation, with_digests
from collapse_guard.reservoir.states import ADMITTED, ADMITTED_WITH, EVALUATION, HUMAN, INDEX, LOG, NEAR, PREDICATE
from collapse_guard.reservoir.verification import Sample, check_manifest, export_manifest, verify

__all__ = [
    "ADMITTED",
    "ADMITTED_WITH",
    "EVALUATION",
    "HUMAN",
    "INDEX",
    "LOG",
    "NEAR",
    "PREDICATE",
    "Admission",
    "Checks",
    "Reservoir",
    "Rules",
    "Sample",
    "Tombstone",
    "admit",
    "check_manifest",
    "countersign",
    "export_manifest",
    "hold",
    "is_evaluation",
    "lift",
    "open_reservoir",
    "settle",
    "start",
    "tombstone",
    "verify",
    "with_digests",
    "writable",
]
