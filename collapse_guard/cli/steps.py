"""The steps from files to a release, one command each, and the demo."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from collapse_guard.cli.options import (
    PATH,
    as_json,
    at_corpus,
    inputs,
    key,
    policy,
    reading,
    reservoir,
    root,
)
from collapse_guard.cli.terminal import (
    WatchedEngine,
    latest_of,
    notes,
    print_table,
    screen,
    show,
    show_snapshot,
    signing_key,
    store_at,
)
from collapse_guard.errors import DamagedDataError, GateClosed, UsageError

if TYPE_CHECKING:
    from collapse_guard.judge import Judgement
    from collapse_guard.mix import Leaks
    from collapse_guard.policy import Policy
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store


def ingest_files(files: tuple[str, ...], fields: tuple[str, ...], workers: int, where: dict[str, Any]) -> Snapshot:
    """Ingest files and show how far it is."""
    from collapse_guard import ingest as reading

    malformed = [field for field in fields if "=" not in field]
    if malformed:
        raise UsageError(f"--field {malformed[0]}: write NAME=COLUMN, such as text=raw_content")
    renamed = dict(field.split("=", 1) for field in fields)
    with notes.status("reading") as status:
        return reading.ingest(
            store_at(where["root"]),
            where["corpus"],
            where["dump"],
            files,
            fields=renamed,
            workers=workers,
            progress=lambda documents: status.update(f"reading: {documents:,} documents so far"),
        )


def refuse_nothing(documents: Snapshot) -> None:
    """End with exit code 3 where every record was quarantined."""
    if not documents.ledger.kept and documents.ledger.quarantined:
        raise DamagedDataError("nothing could be kept: every record of the input is quarantined, see the reasons above")


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@reading
@at_corpus
def ingest(inputs: tuple[str, ...], fields: tuple[str, ...], workers: int, **where: Any) -> None:
    """Read files into documents; quarantine what cannot be read."""
    snapshot = ingest_files(inputs, fields, workers, where)
    show_snapshot(snapshot, json_wanted=where["as_json"])
    refuse_nothing(snapshot)


def measured_of(files: tuple[str, ...], rules: Policy, where: dict[str, Any], **how: Any) -> Snapshot:
    """Measure what was ingested, or the files that were named."""
    from collapse_guard.measure import measure_snapshot

    store = store_at(where["root"])
    if files:
        documents = ingest_files(files, how["fields"], how["workers"], where)
        refuse_nothing(documents)
    else:
        documents = latest_of(store, f"{where['corpus']}/documents/{where['dump']}", "ingest")
    with notes.status("measuring") as status:
        return measure_snapshot(store, documents, rules, WatchedEngine(status, documents), os.environ)


@click.command()
@inputs
@reading
@at_corpus
@policy
def measure(inputs: tuple[str, ...], policy: str, fields: tuple[str, ...], workers: int, **where: Any) -> None:
    """Compute every signal that the policy uses, for what was ingested or for INPUTS."""
    from collapse_guard.catalogue import load_policy
    from collapse_guard.report.tables import signal_table
    from collapse_guard.snapshot import read_rows

    rules = load_policy(policy)
    snapshot = measured_of(inputs, rules, where, fields=fields, workers=workers)
    show_snapshot(snapshot, json_wanted=where["as_json"])
    for message in snapshot.details["first_failures"]:
        notes.print(message, markup=False)
    if not where["as_json"]:
        columns = snapshot.details["columns"]
        tables = list(read_rows(store_at(where["root"]), snapshot.shards, columns))
        print_table(signal_table(tables, columns))


@click.command()
@inputs
@reading
@at_corpus
@policy
def sift(inputs: tuple[str, ...], policy: str, fields: tuple[str, ...], workers: int, **where: Any) -> None:
    """Decide for every document: keep, review or drop."""
    from collapse_guard.catalogue import load_policy
    from collapse_guard.sift import sift_snapshot

    rules = load_policy(policy)
    measured = measured_of(inputs, rules, where, fields=fields, workers=workers)
    with notes.status("sifting"):
        snapshot = sift_snapshot(store_at(where["root"]), measured, rules)
    show_snapshot(snapshot, json_wanted=where["as_json"])


@click.command()
@at_corpus
@policy
def audit(policy: str, **where: Any) -> None:
    """Show whom each rule drops, and what that does to the tail and the variety of the corpus."""
    from collapse_guard.audit import audit as run
    from collapse_guard.catalogue import load_policy
    from collapse_guard.report.tables import audit_table, bias_table

    store = store_at(where["root"])
    sifted = latest_of(store, f"{where['corpus']}/sifted/{where['dump']}", "sift")
    with notes.status("auditing"):
        found = run(store, sifted, load_policy(policy))
    if where["as_json"]:
        click.echo(json.dumps(found.to_json()))
        return
    screen.print(
        f"every rule applied alone to {found.documents:,} documents; variety of {found.sampled_tokens:,} tokens"
    )
    print_table(audit_table(found))
    screen.print("\ngroups that a rule hits harder than the whole corpus:")
    print_table(bias_table(found))


def refuse_leaks(leaks: Leaks) -> None:
    """End with exit code 1 where the evaluation split is in a candidate."""
    if leaks.count:
        raise GateClosed(f"evaluation split: {leaks.sentence}; do not release this candidate")


@click.command()
@at_corpus
@policy
@reservoir
@click.option(
    "--apply-remedy",
    "remedied",
    is_flag=True,
    help="Judge the mix; refused or EARLY, mix again as its remedy says.",
)
def mix(policy: str, reservoir: str, *, remedied: bool, **where: Any) -> None:
    """Mix the pool with the reservoir at the policy's share; publishes a candidate, releases nothing.

    Exit 1 where a document of the candidate belongs to the reservoir's evaluation split, or is too near to it.
    """
    from collapse_guard.catalogue import load_policy
    from collapse_guard.judge import apply_remedy
    from collapse_guard.judge import judge as judge_candidate
    from collapse_guard.mix import find_leaks
    from collapse_guard.mix import mix as run
    from collapse_guard.reservoir import open_reservoir

    rules, store = load_policy(policy), store_at(where["root"])
    with notes.status("mixing"):
        opened = open_reservoir(store_at(reservoir))
        snapshot = run(store, opened, where["corpus"], where["dump"], rules)
        if remedied:
            snapshot = apply_remedy(store, snapshot, judge_candidate(store, snapshot, opened, rules), opened, rules)
        leaks = find_leaks(store, snapshot, opened.at(snapshot.parents[0]), rules)
    show_snapshot(snapshot, json_wanted=where["as_json"])
    refuse_leaks(leaks)


def _candidate(where: dict[str, Any]) -> tuple[Store, Snapshot]:
    store = store_at(where["root"])
    return store, latest_of(store, f"{where['corpus']}/candidate/{where['dump']}", "mix")


def _show_judgement(judgement: Judgement, extra: dict[str, Any], *, json_wanted: bool) -> None:
    from collapse_guard.report.judged import compared_with
    from collapse_guard.report.tables import judgement_table

    if json_wanted:
        click.echo(json.dumps({**judgement.to_json(), **extra}))
        return
    screen.print(f"{judgement.digest[:12]}  state {judgement.state}", markup=False)
    for line in (*judgement.reasons, compared_with(judgement)):
        screen.print(f"  {line}" if line else "", markup=False, highlight=False)
    print_table(judgement_table(judgement))
    if judgement.remedy:
        screen.print(f"remedy: {judgement.remedy.sentence}", markup=False)


@click.command()
@at_corpus
@policy
@reservoir
def judge(policy: str, reservoir: str, **where: Any) -> None:
    """Judge the candidate: gates, state, remedy. Exit 1 where it may not be released."""
    from collapse_guard.catalogue import load_policy
    from collapse_guard.judge import judge as run
    from collapse_guard.reservoir import open_reservoir

    rules = load_policy(policy)
    store, candidate = _candidate(where)
    with notes.status("judging"):
        judgement = run(store, candidate, open_reservoir(store_at(reservoir)), rules)
    _show_judgement(judgement, {}, json_wanted=where["as_json"])
    sys.exit(0 if judgement.passed else GateClosed.exit_code)


@click.command()
@at_corpus
@policy
@reservoir
@key
def release(policy: str, reservoir: str, key: Path | None, **where: Any) -> None:
    """Judge the candidate and release it, signed, if every gate is open."""
    from collapse_guard.catalogue import load_policy
    from collapse_guard.gx import require_expectations
    from collapse_guard.release import release as run
    from collapse_guard.reservoir import open_reservoir

    rules, now = load_policy(policy), datetime.now(UTC)
    store, candidate = _candidate(where)
    with notes.status("judging and releasing"):
        require_expectations(store, candidate, rules)
        entry, judgement = run(
            store, candidate, open_reservoir(store_at(reservoir)), rules, key=signing_key(key), at=now
        )
    facts = {
        "release": {"root": store.root, "name": entry.corpus, "dump": entry.dump, "number": entry.number},
        "overrides": [one.to_json(now) for one in entry.overrides],
    }
    _show_judgement(judgement, facts, json_wanted=where["as_json"])
    if not where["as_json"]:
        for one in entry.overrides:
            screen.print(f"OVERRIDDEN {one.told(now)}", markup=False)
        screen.print(f"released: collapse_guard.open_release({store.root!r}, {entry.corpus!r})", markup=False)


@click.command()
@click.argument("document_id")
@root
@click.option("--reservoir", help="Look there too.")
@as_json
def explain(document_id: str, root: str, reservoir: str | None, *, as_json: bool) -> None:
    """Tell a document's whole way: source, signals, rules, verdict, mix, release."""
    from collapse_guard.explain import explain as run

    story = run(store_at(root), document_id, store_at(reservoir) if reservoir else None)
    show(story, json_wanted=as_json, text=json.dumps(story, indent=2, ensure_ascii=False))


@click.command()
@root
@as_json
def sweep(root: str, *, as_json: bool) -> None:
    """Delete what crashed runs left behind; run it while nothing else runs."""
    from collapse_guard.snapshot import sweep as run

    removed = run(store_at(root))
    show({"removed": removed}, json_wanted=as_json, text=f"removed {len(removed)} left-over file(s)")


@click.command()
@click.option("--root", type=PATH, default=Path("demo-out"), show_default=True, help="Where the demo leaves things.")
@click.option("--generations", default=4, show_default=True, type=click.IntRange(2, 20), help="Training rounds.")
@click.option("--seed", default=0, show_default=True, help="Fixes everything that is random.")
@click.option("--store", help="Where guard and reservoir lie, such as s3://bucket/prefix; by default below --root.")
@as_json
def demo(root: Path, generations: int, seed: int, store: str | None, *, as_json: bool) -> None:
    """Watch a model collapse, and the guard prevent it, on this machine's own documentation."""
    from collapse_guard.components.demonstration import run
    from collapse_guard.report.tables import DemoTable

    rows = DemoTable(screen)
    with notes.status("reading this machine's documentation") as status:

        def show(number: int, unguarded: dict[str, Any], guarded: dict[str, Any]) -> None:
            if not as_json:
                rows.show(unguarded, guarded)
            status.update(f"generation {number + 1}: scraping, guarding, training")

        result = run(root, generations, seed, show, store=store)
    if as_json:
        click.echo(json.dumps(result))
        return
    where = result["release"]
    screen.print(f"\nThe newest release is {where['digest'][:12]} ({where['dump']}) in {where['root']}. Open it with:")
    screen.print(f"  collapse_guard.open_release({where['root']!r}, {where['name']!r}).to_pandas()", markup=False)
    setting = f"COLLAPSE_GUARD_STORE={store} " if store else ""
    screen.print(f"Look at the runs, checks and plots with:\n  {setting}make ui DEMO={root}", markup=False)


COMMANDS = (ingest, measure, sift, audit, mix, judge, release, explain, sweep, demo)
