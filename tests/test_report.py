from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from collapse_guard.report.tables import DemoTable


def row(value: float | None, **changes: Any) -> dict[str, Any]:
    ledger = {
        "in": 110,
        "kept": 90,
        "review": 0,
        "dropped": {"not_a_page": 10, "duplicate": 5},
        "quarantined": {"x": 5},
    }
    names = ("human_share", "rare_coverage", "distinct_2", "heldout_perplexity")
    measured = dict.fromkeys(names, value)
    return {"generation": 0, "ledger": ledger, **measured, "state": "OK", "released": True, "why": "", **changes}


def test_the_demos_table_counts_pages_and_shows_refusals_and_gaps() -> None:
    screen = Console(file=io.StringIO(), width=200)
    refusal = {"why": "human_share 0.05 < 0.1", "remedy": {"human_tokens_to_add": 1234, "resulting_share": 0.3}}

    DemoTable(screen).show(row(None, released=False, why="too little"), {**row(0.5), "refusals": [refusal]})

    text = screen.file.getvalue()
    assert "refused: too little" in text
    assert "first try REFUSED: human_share 0.05 < 0.1; remedy: add 1,234 human tokens for 0.30" in text
    assert " 100 " in text
    assert "released" in text
    assert "marked pages" not in text


def test_the_demos_table_shows_a_refusal_that_nothing_can_remedy() -> None:
    screen = Console(file=io.StringIO(), width=200)

    DemoTable(screen).show(row(0.5), {**row(0.5), "refusals": [{"why": "state LATE", "remedy": None}]})

    assert "first try REFUSED: state LATE\n" in screen.file.getvalue()


def test_the_demos_table_says_how_many_marked_pages_were_found_and_what_was_dropped_by_mistake() -> None:
    screen = Console(file=io.StringIO(), width=200)
    counts = {"marked": 400, "found": 360, "inconclusive": 40, "false": 2}

    DemoTable(screen).show(row(0.5), {**row(0.5), "watermark": counts})

    text = screen.file.getvalue()
    assert "marked pages: 360 of 400 found and dropped (90%), 40 too short to tell" in text
    assert "unmarked pages dropped as marked: 2" in text
