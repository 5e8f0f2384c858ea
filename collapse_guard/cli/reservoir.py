"""Commands about the reservoir."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from collapse_guard.cli.options import (
    PATH,
    as_json,
    key,
)
from collapse_guard.cli.terminal import (
    notes,
    show,
    show_snapshot,
    signing_key,
    store_at,
)


@click.group(name="reservoir")
def reservoir_group() -> None:
    """The protected store of verified human documents."""


@reservoir_group.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option("--root", type=PATH, default=Path("reservoir"), show_default=True, help="The reservoir's root.")
@click.option("--by", required=True, help="Who vouches for these documents.")
@click.option("--licence", required=True, help="Under which licence they may be used.")
@click.option("--evidence", required=True, help="Why they are known to be human.")
@click.option("--batch", default="all", show_default=True, help="A name for this delivery.")
@key
@as_json
def admit(inputs: tuple[str, ...], root: Path, batch: str, key: Path | None, *, as_json: bool, **said: str) -> None:
    """Admit documents, signed: who, when, why, licence."""
    from collapse_guard import ingest as reading
    from collapse_guard.reservoir import Admission
    from collapse_guard.reservoir import admit as run

    store, admission = store_at(root), Admission(**said)
    with notes.status("admitting"):
        documents = reading.ingest(store, "inbox", batch, inputs)
        snapshot = run(store, documents, admission, signing_key(key), datetime.now(UTC))
    show_snapshot(snapshot, json_wanted=as_json)


@reservoir_group.command(name="verify")
@click.option("--root", type=PATH, default=Path("reservoir"), show_default=True, help="The reservoir's root.")
@as_json
def verify_reservoir(root: Path, *, as_json: bool) -> None:
    """Verify every signature and re-hash every document."""
    from collapse_guard.reservoir import verify as run

    with notes.status("verifying"):
        counts = run(store_at(root))
    text = "{states} state(s), {documents:,} documents, {bytes:,} bytes: unchanged since they were admitted"
    show(counts, json_wanted=as_json, text=text.format(**counts))


@reservoir_group.command(name="list")
@click.option("--root", type=PATH, default=Path("reservoir"), show_default=True, help="The reservoir's root.")
@as_json
def list_admissions(root: Path, *, as_json: bool) -> None:
    """List every admission."""
    from collapse_guard.reservoir import LOG, open_reservoir
    from collapse_guard.snapshot import log, read_snapshot

    opened = open_reservoir(store_at(root))
    states = [read_snapshot(opened.store, name) for name in log(opened.store, LOG)]
    rows = [{**state.details["admission"], "ledger": state.ledger.to_json()} for state in states]
    text = "\n".join(
        f"{row['ledger']['kept']:>8,}  {row['licence']:<12} {row['by']}: {row['evidence']}" for row in rows
    )
    show({"admissions": rows, "tokens": opened.snapshot.details["tokens"]}, json_wanted=as_json, text=text)
