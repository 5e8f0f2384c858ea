"""Ledgers, judgements and the demo as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from collapse_guard.audit import worst
from collapse_guard.report.judged import GATE_NAMES, gate_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from rich.console import Console

    from collapse_guard.audit import Audit
    from collapse_guard.judge import Judgement
    from collapse_guard.snapshot import Snapshot

WORDS = {"signal", "rule", "group", "gate", "wanted", "outcome"}
"""Columns that hold words."""


def ledger_text(snapshot: Snapshot) -> str:
    """A snapshot's ledger as lines, the largest reasons first."""
    ledger = snapshot.ledger
    lines = [f"{snapshot.name}  {snapshot.digest[:12]}", f"  in           {ledger.came_in:>10,}"]
    lines.append(f"  kept         {ledger.kept:>10,}")
    lines.append(f"  review       {ledger.review:>10,}")
    for word, counts in (("dropped", ledger.dropped), ("quarantined", ledger.quarantined)):
        lines.append(f"  {word:<12} {sum(counts.values()):>10,}")
        lines += [
            f"    {reason:<30} {count:>8,}" for reason, count in sorted(counts.items(), key=lambda item: -item[1])
        ]
    return "\n".join(lines)


def _table(*names: str) -> Table:
    """A table whose names are never cut: a narrow terminal wraps the line instead."""
    table = Table(box=None, expand=False)
    for name in names:
        table.add_column(name, no_wrap=True, justify="left" if name in WORDS else "right")
    return table


def signal_table(measured: Sequence[pa.Table], columns: Sequence[str]) -> Table:
    """The spread of every signal over documents: lowest, quartiles, highest, and for how many it is null."""
    table = _table("signal", "min", "25 %", "median", "75 %", "max", "null")
    for name in columns:
        values = np.concatenate([table[name].drop_null().to_numpy() for table in measured] or [np.empty(0)])
        nulls = sum(table[name].null_count for table in measured)
        spread = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)) if len(values) else [None] * 5
        table.add_row(name, *(_number(value, ".4g") for value in spread), f"{nulls:,}")
    return table


def audit_table(audit: Audit) -> Table:
    """What each rule drops when it is applied alone, and what stays of tail and variety beside dropping at random."""
    names = ("rule", "documents", "share", "tokens", "tail", "at random", "distinct-2", "at random")
    table = _table(*names)
    for rule in audit.rules:
        share = f"{rule.documents / audit.documents:.1%}" if audit.documents else "-"
        effect = (_number(value, ".3f") for value in vars(rule.effect).values())
        table.add_row(rule.rule, f"{rule.documents:,}", share, f"{rule.tokens:,}", *effect)
    return table


def bias_table(audit: Audit) -> Table:
    """The groups that a rule hits hardest; `times` compares with its share of the whole corpus."""
    table = _table("rule", "group", "dropped", "of", "times")
    for rule, grouping, group, dropped, documents, lift in worst(audit):
        table.add_row(rule, f"{grouping}: {group}", f"{dropped:,}", f"{documents:,}", f"{lift:.1f}")
    return table


def judgement_table(judgement: Judgement) -> Table:
    """Every gate with its value, interval and bound: green where it is open, red where it blocks, else yellow."""
    table = _table(*GATE_NAMES)
    for gate, row in zip(judgement.gates, gate_rows(judgement), strict=True):
        colour = "green" if gate.passed else "red" if gate.outside == "block" else "yellow"
        table.add_row(*row[:-1], f"[{colour}]{row[-1]}[/]")
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _remedy(remedy: dict[str, Any] | None) -> str:
    if remedy is None:
        return ""
    added, share = remedy["human_tokens_to_add"], remedy["resulting_share"]
    return f"; remedy: add {added:,} human tokens for {share:.2f}"


class DemoTable:
    """The demo's rows, printed as they come; a WARC's own records, such as requests, are not counted as pages."""

    COLUMNS = (
        ("gen", 3), ("arm", 10), ("in", 6), ("kept", 6), ("dropped", 8), ("quarant.", 9), ("human", 6),
        ("rare words", 11), ("distinct-2", 11), ("perplexity", 11), ("state", 13), ("outcome", 0),
    )  # fmt: skip

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._started = False

    def show(self, unguarded: dict[str, Any], guarded: dict[str, Any]) -> None:
        """Print the rows of one generation, refusals between them."""
        if not self._started:
            self._line([name for name, _ in self.COLUMNS], "bold")
            self._started = True
        self._row("unguarded", unguarded)
        for refusal in guarded.get("refusals", ()):
            self._screen.print(f"     [red]first try REFUSED: {refusal['why']}[/]{_remedy(refusal['remedy'])}")
        self._row("guarded", guarded)
        self._marks(guarded.get("watermark"))

    def _marks(self, counts: dict[str, int] | None) -> None:
        """Say how well the rule against marked pages did, in documents."""
        if counts and (counts["marked"] or counts["false"]):
            share = _number(counts["found"] / counts["marked"] if counts["marked"] else None, ".0%")
            self._screen.print(
                f"     marked pages: {counts['found']:,} of {counts['marked']:,} found and dropped ({share}), "
                f"{counts['inconclusive']:,} too short to tell; unmarked pages dropped as marked: {counts['false']:,}",
                highlight=False,
            )

    def _row(self, arm: str, row: dict[str, Any]) -> None:
        ledger, own = row["ledger"], row["ledger"]["dropped"].get("not_a_page", 0)
        outcome = "released" if row["released"] else f"refused: {row['why']}"
        cells = [
            str(row["generation"]), arm, f"{ledger['in'] - own:,}", f"{ledger['kept']:,}",
            f"{sum(ledger['dropped'].values()) - own:,}", f"{sum(ledger['quarantined'].values()):,}",
            _number(row["human_share"], ".2f"), _number(row["rare_coverage"], ".3f"),
            _number(row["distinct_2"], ".3f"), _number(row["heldout_perplexity"], ",.0f"), row["state"], outcome,
        ]  # fmt: skip
        self._line(cells, "green" if row["released"] else "yellow")

    def _line(self, cells: list[str], style: str) -> None:
        widths = [width for _, width in self.COLUMNS]
        text = " ".join(
            f"{cell:<{width}}" if index in {1, 10, 11} else f"{cell:>{width}}"
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        self._screen.print(text, style=style, markup=False)
