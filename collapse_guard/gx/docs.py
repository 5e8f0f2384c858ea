"""Data Docs of what suites found: static pages, without what GX's pages load from the network."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from great_expectations import __version__ as version
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView

from collapse_guard.gx.running import session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from collapse_guard.gx.findings import Outcome, Validation

_UNASKED = "expect_to_be_answerable"
_LOADED = re.compile(
    r"<script\b.*?</script>|<(?:link|img)\b[^>]*>|<footer>.*?</footer>|url\([^)]*\)", re.IGNORECASE | re.DOTALL
)
_LINK = re.compile(r"<a\b[^>]*>(.*?)</a>", re.DOTALL)  # to pages that are not made
_STYLE = """<style>
body { font: 15px/1.5 sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse } td, th { border: 1px solid #bbb; padding: .3rem .6rem; text-align: left }
.fa-check-circle::before { content: "holds" } .fa-times::before { content: "fails" }
.fa-exclamation-triangle::before { content: "raised" } .sticky, p.m-0 > a, nav { display: none }
</style></head>"""
_INDEX = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Data Docs</title>{}<body>
<h1>Data Docs</h1>
<ul>
{}
</ul>
</body></html>
"""


def render(validations: Sequence[Validation], folder: Path, at: datetime) -> Path:
    """Write the pages; see `collapse_guard.gx.render_docs`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number}_{re.sub(r'[^A-Za-z0-9_-]', '_', said.suite)}.html" for number, said in enumerate(validations)]
    with session():
        for name, validation in zip(names, validations, strict=True):
            (folder / name).write_text(_page(validation, at), encoding="utf-8")
    rows = "\n".join(
        f'<li><a href="{name}">{html.escape(said.suite)}</a>: {html.escape(said.sentence)}</li>'
        for name, said in zip(names, validations, strict=True)
    )
    index = folder / "index.html"
    index.write_text(_INDEX.format(_STYLE, rows), encoding="utf-8")
    return index


def _page(validation: Validation, at: datetime) -> str:
    document = ValidationResultsPageRenderer().render(_found(validation, at))
    page: str = DefaultJinjaPageView().render(document)  # type: ignore[no-untyped-call]  # by GX
    return _LINK.sub(r"\1", _LOADED.sub("", page)).replace("</head>", _STYLE)


def _found(validation: Validation, at: datetime) -> ExpectationSuiteValidationResult:
    results = [_result(outcome) for outcome in validation.outcomes]
    held = len(results) - len(validation.failed)
    counts = {
        "evaluated_expectations": len(results),
        "successful_expectations": held,
        "unsuccessful_expectations": len(results) - held,
        "success_percent": 100 * held / len(results) if results else None,
    }
    run = RunIdentifier(run_name=validation.suite, run_time=at)
    return ExpectationSuiteValidationResult(
        success=validation.passed,
        results=results,
        suite_name=validation.suite,
        statistics=counts,
        meta={"run_id": run, "great_expectations_version": version},
    )


def _result(outcome: Outcome) -> ExpectationValidationResult:
    """The finding as GX keeps it; in the place of what could not be asked stands an expectation of our own."""
    if outcome.result is None:
        asked = ExpectationConfiguration(_UNASKED, {"asked": outcome.expectation, "reason": outcome.sentence})
        return ExpectationValidationResult(success=False, expectation_config=asked, result={}, meta={})
    said = dict(outcome.result)
    known = ExpectationConfiguration(**said.pop("expectation_config"))
    return ExpectationValidationResult(expectation_config=known, **said)
