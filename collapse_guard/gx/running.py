"""Run suites over data frames, each expectation by itself, so that one that raises says nothing about the others."""

from __future__ import annotations

import json
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from collapse_guard.gx.findings import Outcome, Validation

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of the standard library, by great_expectations
    from great_expectations.data_context.data_context.context_factory import project_manager
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.exceptions.exceptions import DataContextRequiredError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    import collapse_guard.gx.gates  # noqa: F401 - makes our expectations known to GX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

_ONE_AT_A_TIME = threading.Lock()
MAX_DOCUMENTS = 20
"""So many documents that are outside are named."""
_MOST_SAID = 300
_COLUMNS = ("gate", "column", "column_A", "column_B", "column_list", "column_set")


@contextmanager
def session() -> Iterator[EphemeralDataContext]:
    """A context in memory: no telemetry, no progress bars, nothing left behind; the user's own context comes back."""
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
    )
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GX's advice to authors of suites, which is no news to who runs one
        before = _current()
        context = EphemeralDataContext(config)
        project_manager.set_project(context)
        try:
            yield context
        finally:
            project_manager.set_project(before)


def _current() -> Any:  # noqa: ANN401 - a context of GX's or none
    try:
        return project_manager.get_current_project()
    except DataContextRequiredError:
        return None


def validate(suite: Mapping[str, Any], frame: pd.DataFrame) -> Validation:
    """Run a suite; see `collapse_guard.gx.validate`."""
    name, wanted = str(suite.get("name")), suite.get("expectations")
    if not isinstance(wanted, list) or not wanted:
        return Validation(name, len(frame), (_closed("suite", "suite", "it expects nothing, which certifies nothing"),))
    if frame.empty:
        return Validation(name, 0, tuple(_unasked(said, "there is no row to judge") for said in wanted))
    options = {"result_format": _format(frame), "expectation_parameters": suite.get("suite_parameters") or {}}
    with session() as context:
        asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        return Validation(name, len(frame), tuple(_run(batch, said, options) for said in wanted))


def _format(frame: pd.DataFrame) -> dict[str, Any]:
    """Failures name documents; the values that are outside, which may be whole texts, stay where they are."""
    named = {"unexpected_index_column_names": ["id"]} if "id" in frame.columns else {}
    return {"result_format": "COMPLETE", "exclude_unexpected_values": True, **named}


def _run(batch: Any, said: object, options: Mapping[str, Any]) -> Outcome:  # noqa: ANN401 - a batch of GX's
    """Ask one expectation; whatever is raised on the way is its failure."""
    try:
        expectation = ExpectationConfiguration(**_known(said)).to_domain_obj()
        result = _plain(batch.validate(expectation, **options).to_json_dict())
    except Exception as error:  # noqa: BLE001 - an expectation may be anybody's code, and what raises does not pass
        return _unasked(said, f"it could not be evaluated: {_one_line(error)}")
    return _outcome(said, result)


def _plain(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result as JSON alone, without the traces of what was raised, which name places of this machine."""
    told: dict[str, Any] = json.loads(json.dumps(result, default=str))
    raised = told.get("exception_info") or {}
    for each in [raised] if "raised_exception" in raised else raised.values():
        each["exception_traceback"] = ""
    return told


def _known(said: object) -> dict[str, Any]:
    """What an expectation is made of; who saved it under which id does not matter here."""
    if not isinstance(said, dict) or not isinstance(said.get("type"), str):
        raise TypeError("an expectation is a mapping with `type` and `kwargs`")
    return {name: value for name, value in said.items() if name != "id"}


def _outcome(said: object, result: Mapping[str, Any]) -> Outcome:
    found = result.get("result") or {}
    reason = _why_failed(result.get("success"), found, result.get("exception_info") or {})
    if reason is None:
        return Outcome(_kind(said), _subject(said), passed=True, sentence=f"{_kind(said)} holds", result=result)
    return _closed(_kind(said), _subject(said), reason, _named(found), {**result, "success": False})


def _named(found: Mapping[str, Any]) -> tuple[str, ...]:
    """The first documents that are outside; GX gives their ids one by one, or in lists where it leaves out values."""
    outside = [row.get("id") for row in found.get("unexpected_index_list") or [] if isinstance(row, dict)]
    names = [name for each in outside for name in (each if isinstance(each, list) else [each])]
    return tuple(map(str, names[:MAX_DOCUMENTS]))


def _why_failed(success: object, found: Mapping[str, Any], raised: Mapping[str, Any]) -> str | None:
    problem = _raised(raised)
    if problem:
        return f"it could not be evaluated: {problem}"
    if success is not True:
        return _observed(found) if success is False else "Great Expectations came to no result"
    if found.get("element_count") is not None and found["element_count"] <= found.get("missing_count", 0):
        return "there was no value to judge"
    return None


def _raised(information: Mapping[str, Any]) -> str | None:
    """The message of what was raised, which GX gives once, or once for each metric."""
    single = "raised_exception" in information
    for each in [information] if single else information.values():
        if each.get("raised_exception", True):
            return _one_line(each.get("exception_message") or "an exception without a message")
    return None


def _observed(found: Mapping[str, Any]) -> str:
    reason = (found.get("details") or {}).get("reason") if isinstance(found.get("details"), dict) else None
    if reason:
        return str(reason)
    if "unexpected_count" in found:
        return f"{found['unexpected_count']:,} of {found.get('element_count', 0):,} values are outside"
    return f"found {found.get('observed_value')!r:.200}"


def _unasked(said: object, reason: str) -> Outcome:
    return _closed(_kind(said), _subject(said), reason)


def _closed(
    kind: str, subject: str, reason: str, documents: tuple[str, ...] = (), result: Mapping[str, Any] | None = None
) -> Outcome:
    title = kind if subject == kind else f"{kind} ({subject})"
    return Outcome(kind, subject, passed=False, sentence=f"{title}: {reason}", documents=documents, result=result)


def _kind(said: object) -> str:
    return str(said.get("type")) if isinstance(said, dict) else "expectation"


def _subject(said: object) -> str:
    """The gate or the columns that an expectation is about, else the table."""
    kwargs = said.get("kwargs") if isinstance(said, dict) else None
    named = [kwargs[name] for name in _COLUMNS if name in kwargs] if isinstance(kwargs, dict) else []
    flat = [column for each in named for column in (each if isinstance(each, list) else [each])]
    return ", ".join(map(str, flat)) or "table"


def _one_line(error: object) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= _MOST_SAID else said[:_MOST_SAID] + " ..."
