"""Commands about the keys that a store trusts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from collapse_guard.cli.options import PATH, as_json, key
from collapse_guard.cli.terminal import show, signing_key

if TYPE_CHECKING:
    from pathlib import Path

root = click.option("--root", default="guard", show_default=True, help="The store: a folder or s3://bucket/prefix.")


@click.group(name="trust")
def trust_group() -> None:
    """The keys whose signatures count in a store."""


@trust_group.command(name="list")
@root
@as_json
def list_keys(root: str, *, as_json: bool) -> None:
    """List every entry of the log of trusted keys, verified."""
    from collapse_guard.attestation import trust_log, trusted_keys
    from collapse_guard.store import open_store

    store = open_store(root)
    keys = trusted_keys(store)
    found = {
        "keys": [{"keyid": one.keyid, "retired": one.retired} for one in keys],
        "entries": [entry.to_json() for entry in trust_log(store)],
    }
    text = "\n".join(f"{one.keyid}  {'retired' if one.retired else 'may sign'}" for one in keys)
    show(found, json_wanted=as_json, text=text)


@trust_group.command()
@root
@key
@click.option("--new", type=PATH, help="The private key (PEM) to trust as well; it is made if the file is not there.")
@click.option("--valid-from", type=click.DateTime(), help="From when its signatures count (UTC); by default now.")
@click.option("--retire", metavar="KEYID", help="A key that may sign nothing more (8 or more digits of its name).")
@click.option("--because", required=True, help="Why, for whoever reads the log.")
@as_json
def rotate(
    *,
    root: str,
    key: Path | None,
    new: Path | None,
    valid_from: datetime | None,
    retire: str | None,
    because: str,
    as_json: bool,
) -> None:
    """Trust another key, or retire one, or both; what a retired key signed before stays valid."""
    from collapse_guard.attestation import rotate as run
    from collapse_guard.reservoir import writable
    from collapse_guard.store import open_store

    now = datetime.now(UTC)
    entry = run(
        writable(open_store(root), now),
        signing_key(key),
        now,
        because,
        new=signing_key(new) if new else None,
        valid_from=valid_from.replace(tzinfo=UTC) if valid_from else None,
        retire=retire,
    )
    parts = [f"entry {entry.number}, signed by {(entry.by or '')[:16]}"]
    parts += [f"key {entry.added.keyid[:16]} is trusted from {entry.added.valid_from} on"] if entry.added else []
    parts += [f"key {entry.retired[:16]} may sign nothing more"] if entry.retired else []
    show(entry.to_json(), json_wanted=as_json, text="; ".join(parts))


COMMANDS = [trust_group]
