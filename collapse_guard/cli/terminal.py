"""What commands print: results on standard output, progress and failures beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from collapse_guard.errors import GateClosed, GuardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.status import Status
    from rich.table import Table

    from collapse_guard.attestation import SigningKey
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

T = TypeVar("T")
R = TypeVar("R")
WIDEST = 400

notes = Console(stderr=True, highlight=False, soft_wrap=True)
screen = Console(highlight=False, soft_wrap=True)


def fail(error: GuardError) -> None:
    """Say in one sentence what went wrong, and end with the error's exit code."""
    judgement = error.judgement if isinstance(error, GateClosed) else None
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": str(error), **(judgement or {})}))
    notes.print(f"[bold red]{type(error).__name__}[/]: ", end="")
    notes.print(str(error), markup=False)
    sys.exit(error.exit_code)


def show(value: dict[str, Any], *, json_wanted: bool, text: str) -> None:
    """Print a result as JSON or as text."""
    if json_wanted:
        click.echo(json.dumps(value))
    else:
        screen.print(text, markup=False)


def show_snapshot(snapshot: Snapshot, *, json_wanted: bool) -> None:
    """Print a snapshot's name, digest and ledger."""
    from collapse_guard.report.tables import ledger_text

    facts = {"name": snapshot.name, "digest": snapshot.digest, "ledger": snapshot.ledger.to_json()}
    show({**facts, "details": dict(snapshot.details)}, json_wanted=json_wanted, text=ledger_text(snapshot))


def print_table(table: Table) -> None:
    """Print a table as wide as it is: names that are cut cannot be told apart."""
    wanted = screen.measure(table, options=screen.options.update(max_width=WIDEST)).maximum
    Console(width=max(wanted, screen.width), highlight=False).print(table, crop=False)


def signing_key(named: Path | None) -> SigningKey:
    """Load the signing key, or make it on first use and say so."""
    from collapse_guard.attestation import create_key, key_in, load_key

    path = named or key_in(Path.home())
    if path.exists():
        return load_key(path)
    made = create_key(path)
    notes.print(f"made a new signing key at {path}; keep it secret and back it up")
    return made


class WatchedEngine:
    """An engine that says on the terminal how many shards are done."""

    def __init__(self, status: Status, snapshot: Snapshot) -> None:
        self._status = status
        self._shards = len(snapshot.with_role("documents"))

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield the function of every item, in order."""
        from collapse_guard.engine import LocalEngine

        for done, result in enumerate(LocalEngine().map(function, items), start=1):
            self._status.update(f"measured {done:,} of {self._shards:,} shards")
            yield result


def store_at(root: str | Path) -> Store:
    """Open the store at a root."""
    from collapse_guard.store import open_store

    return open_store(root)


def latest_of(store: Store, name: str, command: str) -> Snapshot:
    """The newest snapshot of a log; UsageError, with the command that makes one, where there is none."""
    from collapse_guard.errors import UsageError
    from collapse_guard.snapshot import latest

    found = latest(store, name)
    if found is None:
        raise UsageError(f"{store.root}: there is no snapshot {name!r}; run `collapse-guard {command}` first")
    return found
