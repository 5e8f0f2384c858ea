"""Suites as Great Expectations saves them: the one made of a policy's gates, and those in files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from collapse_guard.canonical import sha256_hex
from collapse_guard.errors import PolicyError

if TYPE_CHECKING:
    from pathlib import Path

    from collapse_guard.policy import Gate, Policy

ROWS, JUDGEMENT, GATE = "expect_table_row_count_to_equal", "expect_judgement_to_pass", "expect_metric_inside_bound"


def gate_suite(policy: Policy) -> dict[str, Any]:
    """Write a policy's gates as a suite for the metric table; import `collapse_guard.gx.gates` to run it yourself.

    Args:
        policy: Whose gates.

    Returns:
        A suite that wants one row per gate, a judgement that passed, and each metric inside its bound.
    """
    whole = [_expectation(ROWS, "critical", value=len(policy.gates)), _expectation(JUDGEMENT, "critical")]
    gates = [_gate(name, gate) for name, gate in policy.gates.items()]
    return {"name": f"gates_of_{policy.name}", "expectations": [*whole, *gates]}


def _gate(name: str, gate: Gate) -> dict[str, Any]:
    severity = "critical" if gate.outside == "block" else "warning"
    return _expectation(GATE, severity, gate=name, low=gate.low, high=gate.high)


def _expectation(kind: str, severity: str, **kwargs: float | str | None) -> dict[str, Any]:
    said = {name: value for name, value in kwargs.items() if value is not None}
    return {"type": kind, "kwargs": said, "meta": {}, "severity": severity}


def read_suite(path: Path, sha256: str | None) -> dict[str, Any]:
    """Read a suite from a JSON file.

    Args:
        path: Where it lies.
        sha256: What its digest must be, if known.

    Returns:
        The suite; what it expects is checked when it runs.

    Raises:
        PolicyError: It is no such file, or not the one that the policy was read with.
    """
    try:
        content = path.read_bytes()
        suite = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise PolicyError(f"{path}: the suite cannot be read ({error}); give a JSON file as GX saves it") from None
    found = sha256_hex(content)
    if sha256 is not None and found != sha256:
        raise PolicyError(f"{path}: the suite changed since the policy was read ({found[:12]}, not {sha256[:12]})")
    if not isinstance(suite, dict) or not isinstance(suite.get("expectations"), list):
        raise PolicyError(f"{path}: a suite has a `name` and a list of `expectations`; save it from GX 1.x as JSON")
    return {"name": path.stem, **suite}
