"""What a store promises, asked of the store itself."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collapse_guard.cli.options import PATH, as_json
from collapse_guard.cli.terminal import notes, print_table

if TYPE_CHECKING:
    from rich.table import Table

    from collapse_guard.store.probing import Capabilities

COLOURS = {"ok": "green", "not ok": "red", "not available": "yellow"}


@click.command(name="verify-store")
@click.argument("root")
@click.option("--require-object-lock", is_flag=True, help="Fail where the bucket does not protect what is locked.")
@click.option(
    "--capabilities", type=PATH, default=Path("capabilities.json"), show_default=True, help="Where to write findings."
)
@as_json
def verify_store(root: str, *, require_object_lock: bool, capabilities: Path, as_json: bool) -> None:
    """Probe a store of yours, a folder or s3://bucket/prefix: does it keep what everything here relies on?

    Puts small objects below staging/verify-…, removes them again, and says what it could not remove. Exit 1 if a
    promise that is needed does not hold.
    """
    from collapse_guard.store import open_store, probing

    with notes.status(f"probing {root.partition('?')[0].rpartition('@')[2]}"):
        found = probing.verify_store(open_store(root), at=datetime.now(UTC), require_object_lock=require_object_lock)
    capabilities.write_text(json.dumps(found.to_json(), indent=2) + "\n", encoding="utf-8")
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        print_table(findings(found))
        for left in found.left:
            notes.print(f"left behind: {left}", markup=False)
    if found.broken:
        notes.print(f"needed, but not so: {', '.join(found.broken)}")
        sys.exit(1)


def findings(found: Capabilities) -> Table:
    """The findings as a table; what must hold is marked."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=found.root)
    for heading in ("promise", "needed", "", "finding"):
        table.add_column(heading)
    for probe in found.probes:
        outcome = Text(probe.outcome, style=COLOURS[probe.outcome])
        table.add_row(probe.name, "yes" if probe.needed else "", outcome, Text(probe.finding))
    return table


COMMANDS = (verify_store,)
