"""Commands about the reservoir."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from collapse_guard.cli.options import PATH, as_json, key, options
from collapse_guard.cli.terminal import notes, show, show_snapshot, signing_key

if TYPE_CHECKING:
    from collapse_guard.reservoir import Rules
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

root = click.option(
    "--root", default="reservoir", show_default=True, help="The reservoir's root: a folder or s3://bucket/prefix."
)
trusted = click.option("--trusted", type=PATH, help="Public key (PEM) that must be among those that signed.")
signed = options(root, key, as_json)
demands = options(
    click.option("--quarantine-days", type=click.IntRange(0), default=0, help="Days before documents can be mixed."),
    click.option("--object-lock", type=click.Choice(["governance", "compliance"]), help="Lock every object (S3)."),
    click.option("--retention-days", type=click.IntRange(0), default=0, help="For how long."),
)


@click.group(name="reservoir")
def reservoir_group() -> None:
    """The protected store of verified human documents."""


@reservoir_group.command()
@click.option("--require-two", is_flag=True, help="Every admission needs a second person's signature.")
@demands
@signed
def init(root: str, key: Path | None, *, require_two: bool, as_json: bool, **asked: Any) -> None:
    """Begin a reservoir with rules that no later admission can fall short of."""
    from collapse_guard.reservoir import start

    state = start(_store(root), _rules(require_two, asked), signing_key(key), datetime.now(UTC))
    show(
        {"digest": state.digest, "rules": state.details["rules"]},
        json_wanted=as_json,
        text=f"{root}: every admission must meet {state.details['rules']}",
    )


@reservoir_group.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option("--by", required=True, help="Who vouches for these documents.")
@click.option("--licence", required=True, help="Under which licence they may be used.")
@click.option("--evidence", required=True, help="Why they are known to be human.")
@click.option("--batch", default="all", show_default=True, help="A name for this delivery.")
@click.option("--keys", type=PATH, help="A key ring: documents that carry one of its watermarks are refused.")
@click.option("--synthetic", multiple=True, help="Files of text known to be a model's: near-copies are refused.")
@click.option("--near-copies", type=click.Choice(["keep", "drop"]), default="keep", show_default=True)
@click.option("--second-signature", is_flag=True, help="Wait for `reservoir countersign` by another trusted key.")
@demands
@signed
def admit(inputs: tuple[str, ...], root: str, key: Path | None, *, as_json: bool, **said: Any) -> None:
    """Admit documents, signed: who, when, why, licence. Documents with evidence of a model are refused."""
    from collapse_guard import ingest as reading
    from collapse_guard.reservoir import Admission, Checks
    from collapse_guard.reservoir import admit as run

    store, admission = _store(root), Admission(said["by"], said["licence"], said["evidence"])
    asked = _rules(said["second_signature"], said)
    with notes.status("admitting"):
        known = (
            reading.ingest(store, "known_synthetic", said["batch"], said["synthetic"]) if said["synthetic"] else None
        )
        documents = reading.ingest(store, "inbox", said["batch"], inputs)
        state = run(
            store,
            documents,
            admission,
            signing_key(key),
            datetime.now(UTC),
            checks=Checks(said["keys"], known, said["near_copies"]),
            asked=asked,
            environment=os.environ,
        )
    show_snapshot(state, json_wanted=as_json)
    _say_what_waits(state)


def _rules(two: bool, asked: dict[str, Any]) -> Rules:  # noqa: FBT001 - a value, no mode
    from collapse_guard.reservoir import Rules

    return Rules(two, asked["quarantine_days"], asked["object_lock"], asked["retention_days"])


def _store(root: str) -> Store:
    from collapse_guard.store import open_store

    return open_store(root)


def _say_what_waits(state: Snapshot) -> None:
    for entry in state.details.get("pending", ()):
        waits = [f"until {entry['mixable_from']}"] if entry["mixable_from"] else []
        if entry["two_signatures"] and len(entry["signed_by"]) == 1:
            waits.append("for `collapse-guard reservoir countersign` with another trusted key")
        if entry["admission"] == state.run_key and waits:
            notes.print(f"these documents are in no split yet: they wait {' and '.join(waits)}", markup=False)


@reservoir_group.command()
@click.argument("state")
@signed
def countersign(state: str, root: str, key: Path | None, *, as_json: bool) -> None:
    """Vouch for a pending admission (the digest of its STATE) with a second trusted key."""
    from collapse_guard.reservoir import countersign as run

    show_snapshot(run(_store(root), state, signing_key(key), datetime.now(UTC)), json_wanted=as_json)


@reservoir_group.command()
@signed
def settle(root: str, key: Path | None, *, as_json: bool) -> None:
    """Let documents be mixed whose quarantine is over and that have all their signatures."""
    from collapse_guard.reservoir import settle as run

    show_snapshot(run(_store(root), signing_key(key), datetime.now(UTC)), json_wanted=as_json)


@reservoir_group.command()
@click.argument("ids", nargs=-1, required=True)
@click.option("--reason", type=click.Choice(["takedown", "licence", "privacy"]), required=True)
@click.option("--by", required=True, help="Who asked for it.")
@click.option("--because", required=True, help="Why, in words.")
@signed
def tombstone(ids: tuple[str, ...], root: str, key: Path | None, *, as_json: bool, **said: Any) -> None:
    """Offer documents no longer to mixes nor baselines; nothing is deleted."""
    from collapse_guard.reservoir import Tombstone
    from collapse_guard.reservoir import tombstone as run

    state = run(_store(root), ids, Tombstone(**said), signing_key(key), datetime.now(UTC))
    show_snapshot(state, json_wanted=as_json)


@reservoir_group.command()
@click.option("--by", required=True, help="Who ordered it.")
@click.option("--because", required=True, help="Why.")
@click.option("--lift", "lifted", metavar="STATE", help="Lift the hold that made this state, named as by `list`.")
@signed
def hold(root: str, key: Path | None, by: str, because: str, lifted: str | None, *, as_json: bool) -> None:
    """Put a legal hold on everything that is there now, or lift one: what no other hold covers is free then."""
    from collapse_guard.reservoir import hold as run
    from collapse_guard.reservoir import lift

    store, signer, at = _store(root), signing_key(key), datetime.now(UTC)
    state = lift(store, lifted, signer, at, by=by, because=because) if lifted else run(store, by, because, signer, at)
    event = state.details["event"]
    done = _HOLDS[bool(lifted), event["enforced"]]
    show({"digest": state.digest, **event}, json_wanted=as_json, text=f"{event['objects']:,} objects: {done}")


@reservoir_group.command(name="export-manifest")
@click.argument("out", type=PATH)
@trusted
@signed
def export_manifest(out: Path, trusted: Path | None, root: str, key: Path | None, *, as_json: bool) -> None:
    """Write a signed list of every object (key, version, size, SHA-256, retention) to OUT; keep it elsewhere."""
    from collapse_guard.attestation import load_public_key
    from collapse_guard.reservoir import export_manifest as run

    pinned = load_public_key(trusted) if trusted else None
    envelope = run(_store(root), signing_key(key), datetime.now(UTC), pinned)
    out.write_bytes(envelope)
    show({"out": str(out), "bytes": len(envelope)}, json_wanted=as_json, text=f"{out}: {len(envelope):,} bytes")


@reservoir_group.command(name="verify")
@click.option("--sample", type=click.FloatRange(0, 1, min_open=True), help="Re-hash only this share of the shards.")
@click.option("--seed", default="", help="Chooses them; by default today's date.")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What `export-manifest` wrote before: nothing listed there may be gone.",
)
@trusted
@root
@as_json
def verify_reservoir(
    *, sample: float | None, seed: str, manifest: Path | None, trusted: Path | None, root: str, as_json: bool
) -> None:
    """Verify every signature and every lock, and re-hash every document."""
    from collapse_guard.attestation import load_public_key
    from collapse_guard.reservoir import Sample, check_manifest
    from collapse_guard.reservoir import verify as run

    store, pinned = _store(root), load_public_key(trusted) if trusted else None
    chosen = Sample(sample, seed or datetime.now(UTC).date().isoformat()) if sample else None
    with notes.status("verifying") as status:

        def watch(done: int, total: int) -> None:
            status.update(f"verified {done:,} of {total:,} shards")

        counts = run(store, pinned, sample=chosen, watch=watch)
        if manifest:
            counts["listed"] = check_manifest(store, manifest.read_bytes(), str(manifest), pinned)
    text = "{states} state(s), {documents:,} documents, {bytes:,} bytes: unchanged since they were admitted"
    text += f" ({counts['shards']:,} shards sampled)" if sample else ""
    show(counts, json_wanted=as_json, text=text.format(**counts))


@reservoir_group.command(name="list")
@root
@as_json
def list_entries(root: str, *, as_json: bool) -> None:
    """List every admission, and every other entry: rules, countersignatures, tombstones, holds."""
    from collapse_guard.reservoir import open_reservoir

    opened = open_reservoir(_store(root))
    entries = [_entry_json(state) for state in opened.states()]
    tombstones = [row for table in opened.tombstones() for row in table.drop_columns("text_sha256").to_pylist()]
    found = {
        "admissions": [entry for entry in entries if entry["kind"] == "admission"],
        "entries": entries,
        "tombstones": tombstones,
        "pending": [entry.to_json() for entry in opened.pending],
        "rules": opened.snapshot.details.get("rules"),
        "tokens": opened.snapshot.details["tokens"],
    }
    show(found, json_wanted=as_json, text="\n".join(_entry_text(entry) for entry in entries))


def _entry_json(state: Snapshot) -> dict[str, Any]:
    event = state.details.get("event", {"kind": "admission"})
    said = state.details["admission"] if event["kind"] == "admission" else event
    left_out = {"replaced", "admission", "admissions"}
    facts = {name: value for name, value in said.items() if name not in left_out}
    return {**facts, "kind": event["kind"], "digest": state.digest, "ledger": state.ledger.to_json()}


def _entry_text(entry: dict[str, Any]) -> str:
    start = f"{entry['digest'][:16]}  {entry['kind']:<11} {entry['ledger']['kept']:>8,}"
    if entry["kind"] == "admission":
        return f"{start}  {entry['licence']:<12} {entry['by']}: {entry['evidence']}"
    dropped = "".join(f"  {count:,} {reason}" for reason, count in entry["ledger"]["dropped"].items())
    return f"{start}{dropped}  {entry.get('by', '')}: {entry['because']}" if "because" in entry else start


_HOLDS = {
    (False, True): "held, each read back",
    (False, False): "recorded; a folder cannot hold anything: back it up",
    (True, True): "free again, each read back",
    (True, False): "the lifting is recorded; a folder held nothing",
}
"""What was done, by whether a hold was lifted and whether the store has holds."""
COMMANDS = (reservoir_group,)
