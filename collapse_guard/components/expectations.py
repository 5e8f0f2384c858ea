"""Suites of Great Expectations as asset checks: one check for each suite that the policy names, one for the gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from collapse_guard.components.showing import ERROR, WARN, markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from collapse_guard.gx import Validation
    from collapse_guard.policy import Expectations, Policy

GATES_CHECK = "gates_as_expectations"
GATES_TEXT = "The gates hold as a Great Expectations suite too; a view, which opens nothing that a gate has closed."


def suite_checks(policy: Policy, on: Literal["measured", "candidate"]) -> dict[str, tuple[str, bool]]:
    """The checks of the suites that run on an asset: description, and whether the check blocks, by name."""
    return {
        _name(said): (f"Every expectation of {said.suite} holds over {said.rows:,} documents.", said.outside == "block")
        for said in policy.expectations
        if said.on == on
    }


def suite_results(
    found: Iterable[tuple[Expectations, Validation]], asset: dg.AssetKey
) -> Iterator[dg.AssetCheckResult]:
    """What `gx.run_expectations` found, as the results of `suite_checks`."""
    for said, validation in found:
        yield _result(_name(said), validation, asset, ERROR if said.outside == "block" else WARN)


def gates_result(validation: Validation, asset: dg.AssetKey) -> dg.AssetCheckResult:
    """What `gx.validate_gates` found, as the result of `GATES_CHECK`; it only warns, for the gates themselves block."""
    return _result(GATES_CHECK, validation, asset, WARN)


def _name(said: Expectations) -> str:
    return f"suite_{said.title}"


def _result(
    name: str, validation: Validation, asset: dg.AssetKey, severity: dg.AssetCheckSeverity
) -> dg.AssetCheckResult:
    rows = [
        (each.expectation, each.subject, "holds" if each.passed else each.sentence, ", ".join(each.documents))
        for each in validation.outcomes
    ]
    metadata: dict[str, Any] = {
        "collapse_guard/expectations": markdown(("expectation", "about", "found", "documents"), rows),
        "collapse_guard/expectations_failed": len(validation.failed),
        "collapse_guard/rows": validation.rows,
    }
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=asset,
        passed=validation.passed,
        severity=severity,
        description=validation.sentence,
        metadata=metadata,
    )
