"""The gates and a user's own suites as Great Expectations 1.x suites: a view, which never opens what the judge closed.

Great Expectations takes seconds to import, so it is imported when a suite runs or pages are made, not with this module.
Nothing here opens a socket, and nothing is kept but the pages that are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.errors import GateClosed
from collapse_guard.gx.findings import Outcome, Validation
from collapse_guard.gx.suites import gate_suite, read_suite
from collapse_guard.gx.tables import documents_frame, metric_table
from collapse_guard.snapshot import find_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path
    from typing import Any

    import pandas as pd

    from collapse_guard.policy import Expectations, Policy
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

__all__ = [
    "Outcome",
    "Validation",
    "documents_frame",
    "gate_suite",
    "metric_table",
    "read_suite",
    "render_docs",
    "require_expectations",
    "run_expectations",
    "validate",
    "validate_gates",
]


def validate(suite: Mapping[str, Any], frame: pd.DataFrame) -> Validation:
    """Run a suite over a data frame; whatever cannot be evaluated fails, with the reason.

    Args:
        suite: As Great Expectations saves it: `name`, and `expectations` with `type` and `kwargs`.
        frame: Where it has a column `id`, failures name the first rows by it.

    Returns:
        One outcome per expectation, in order, or a single failed one where there is none or the frame is empty.
    """
    from collapse_guard.gx import running  # noqa: PLC0415 - takes seconds to import

    return running.validate(suite, frame)


def validate_gates(judgement: Mapping[str, Any], policy: Policy) -> Validation:
    """Run the policy's gates as a suite over what the judge found.

    Args:
        judgement: What `Judgement.to_json` gave.
        policy: The policy that it was made under.

    Returns:
        One outcome for the rows of the table, one for the judgement as a whole, then one per gate, which passed only
        where the judge passed it.
    """
    return validate(gate_suite(policy), metric_table(judgement))


def run_expectations(store: Store, snapshot: Snapshot, policy: Policy) -> Iterator[tuple[Expectations, Validation]]:
    """Run the suites that a policy names for measured documents, or for a candidate.

    Args:
        store: Holds the snapshot.
        snapshot: Of kind `measured` or `candidate`.
        policy: Names suites under `expectations`, and the seed of their samples.

    Yields:
        Each suite that is for this kind of snapshot, with what it found.

    Raises:
        PolicyError: A suite's file was changed after the policy was read.
    """
    for expectations in policy.expectations:
        if expectations.on == snapshot.kind:
            yield expectations, _run(store, snapshot, policy, expectations)


def require_expectations(store: Store, snapshot: Snapshot, policy: Policy) -> None:
    """Refuse a snapshot that a suite with `outside: block` does not pass; the other suites are not run.

    Args:
        store: Holds the snapshot.
        snapshot: Of kind `measured` or `candidate`; behind a candidate, the measured documents of every dump that it
            was mixed from have to pass too.
        policy: Names suites under `expectations`.

    Raises:
        GateClosed: Says which suite failed, and why.
        PolicyError: A suite's file was changed after the policy was read.
    """
    blocking = [said for said in policy.expectations if said.outside == "block"]
    for one in (snapshot, *_measured(store, snapshot, blocking)):
        found = [_run(store, one, policy, expectations) for expectations in blocking if expectations.on == one.kind]
        closed = [validation.sentence for validation in found if not validation.passed]
        if closed:
            behind = "" if one is snapshot else f"its measured documents {one.name}: "
            raise GateClosed(f"{snapshot.kind} {snapshot.digest[:12]} is refused: {behind}{'; '.join(closed)}")


def _measured(store: Store, snapshot: Snapshot, suites: Sequence[Expectations]) -> Iterator[Snapshot]:
    """The measured documents behind a candidate, dump by dump, if there is a suite for them."""
    if snapshot.kind != "candidate" or not any(said.on == "measured" for said in suites):
        return
    for parent in snapshot.parents:
        if parent.name.split("/")[1:2] == ["sifted"]:
            yield find_digest(store, find_digest(store, parent).parents[0])


def _run(store: Store, snapshot: Snapshot, policy: Policy, expectations: Expectations) -> Validation:
    suite = read_suite(policy.folder / expectations.suite, expectations.sha256)
    return validate(suite, documents_frame(store, snapshot, expectations.rows, policy.mix.seed))


def render_docs(validations: Sequence[Validation], folder: Path, at: datetime) -> Path:
    """Write what suites found as Data Docs: static pages that load nothing from the network.

    Args:
        validations: What was found.
        folder: Where the pages go; what lies there from earlier stays.
        at: When it was found, for the pages' titles.

    Returns:
        The page to open first.
    """
    from collapse_guard.gx import docs  # noqa: PLC0415 - takes seconds to import

    return docs.render(validations, folder, at)
