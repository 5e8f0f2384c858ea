"""The command that watches a model by what it writes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from collapse_guard.cli.options import as_json, policy, reading, reservoir, root
from collapse_guard.cli.terminal import notes, print_table, screen, store_at
from collapse_guard.errors import DamagedDataError, GateClosed, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from collapse_guard.monitor import Change, Watched

SHOWN = {
    "rare_coverage": "rare words",
    "distinct_2": "distinct-2",
    "repeated_4grams": "repeated",
    "self_bleu": "self-BLEU",
    "feature_variance": "variance",
    "heldout_perplexity": "held-out",
    "reverse_perplexity": "reverse",
}
"""The metrics of the table, each as a ratio to human text; `--json` has all."""
WORDS = ("missing", "new", "gone")


@click.command()
@click.argument("samples", nargs=-1, required=True)
@root
@click.option("--model", default="model", show_default=True, help="The model's name.")
@reservoir
@policy
@reading
@as_json
def monitor(samples: tuple[str, ...], root: str, fields: tuple[str, ...], **how: Any) -> None:
    """Watch a model by what its generations write: gen0.jsonl gen1.jsonl, or 'gen{generation}/*.parquet'.

    Exit 1 where the newest generation is closed.
    """
    from collapse_guard.catalogue import load_policy
    from collapse_guard.monitor import find_samples
    from collapse_guard.monitor import monitor as run
    from collapse_guard.reservoir import open_reservoir

    rules, opened = load_policy(how["policy"]), open_reservoir(store_at(how["reservoir"]))
    found, renamed = find_samples(samples), _renamed(fields)
    with notes.status("reading and judging samples"):
        watched = run(store_at(root), how["model"], found, opened, rules, fields=renamed, workers=how["workers"])
    _refuse_nothing(watched[-1])
    if how["as_json"]:
        click.echo(json.dumps({**watched[-1].to_json(), "history": [one.to_json() for one in watched]}))
    else:
        _show(watched)
    sys.exit(0 if watched[-1].passed else GateClosed.exit_code)


def _renamed(fields: Sequence[str]) -> dict[str, str]:
    malformed = [field for field in fields if "=" not in field]
    if malformed:
        raise UsageError(f"--field {malformed[0]}: write NAME=COLUMN, such as text=completion")
    return dict(field.split("=", 1) for field in fields)


def _refuse_nothing(newest: Watched) -> None:
    """End with exit code 3 where every sample was quarantined."""
    ledger = newest.snapshot.ledger
    if not ledger.kept and ledger.quarantined:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(ledger.quarantined.items()))
        raise DamagedDataError(f"nothing could be kept of generation {newest.generation}: quarantined as {reasons}")


def _show(watched: Sequence[Watched]) -> None:
    from collapse_guard.report.tables import judgement_table, ledger_text

    newest, judgement = watched[-1], watched[-1].judgement
    for one in watched:
        if one.snapshot.ledger.quarantined:
            screen.print(ledger_text(one.snapshot), markup=False)
    screen.print(
        "metrics as ratios to human text; of the rare words of the first generation, over every token: how many a"
    )
    screen.print(
        "generation does not write, how many rare words it has instead, how many were never written again from then on"
    )
    print_table(_generations(watched))
    screen.print(f"\ngeneration {newest.generation}: {judgement.state}", markup=False)
    for line in judgement.reasons:
        screen.print(f"  {line}", markup=False)
    print_table(judgement_table(judgement))
    for line in _remarks(newest):
        screen.print(line, markup=False)


def _generations(watched: Sequence[Watched]) -> Table:
    """One row per generation."""
    from rich.table import Table

    table = Table("generation", "documents", "quarantined", "state", *SHOWN.values(), *WORDS, "outcome", box=None)
    for one, gone in zip(watched, watched[-1].lost["first"]["since"], strict=True):
        found = (one.judgement.finding(name) for name in SHOWN)
        ratios = ("-" if finding is None else f"{finding.effect:.2f}" for finding in found)
        ledger, outcome = one.snapshot.ledger, "[green]open[/]" if one.passed else "[red]closed[/]"
        counts = (f"{count:,}" for count in (ledger.kept, sum(ledger.quarantined.values())))
        first = one.lost["first"]
        words = (f"{count:,}" for count in (first["since"][-1], first["new"], gone))
        table.add_row(str(one.generation), *counts, one.judgement.state, *ratios, *words, outcome)
    return table


def _remarks(newest: Watched) -> Iterator[str]:
    """What is not in the tables: skipped gates, declines, and the change per generation."""
    if newest.skipped:
        yield f"skipped, because a model's output holds no human text: {', '.join(newest.skipped)}"
    for name in newest.declined:
        yield f"{name} has been declining: log of the e-detector {newest.judgement.decline[name]:.1f}"
    for name in SHOWN:
        if name in newest.per_generation:
            since, per = _percent(newest.since_first[name]), _percent(newest.per_generation[name])
            yield f"{name}: {since} since the first generation, {per} per generation"


def _percent(change: Change) -> str:
    ratio, low, high = (f"{100 * (value - 1):+.1f}" for value in change)
    return f"{ratio} % [{low}, {high}]"


COMMANDS = (monitor,)
