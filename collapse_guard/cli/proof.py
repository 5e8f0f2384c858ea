"""Commands about what is released and why: override, verify, recall, report."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from collapse_guard.cli.options import PATH, as_json, at_corpus, corpus, key, root
from collapse_guard.cli.terminal import latest_of, notes, screen, show, signing_key, store_at
from collapse_guard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.status import Status

    from collapse_guard.attestation import PublicKey
    from collapse_guard.release import Release
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store
    from collapse_guard.verify import Verified

trusted = click.option(
    "--trusted", type=PATH, multiple=True, help="Public key (PEM) to trust instead of the store's own; repeatable."
)
SHORTEST = 6
"""Digits of a digest that name a candidate."""
newest = click.option("--dump", help="The newest release of this dump; by default of the newest dump.")


def _chosen(root: str, corpus: str, keys: tuple[PublicKey, ...], wanted: str | None, **how: Any) -> Release:
    """The release that was named, or the one that a training run would get now."""
    from collapse_guard.release import open_release
    from collapse_guard.verify import find_release

    if wanted is not None:
        return find_release(store_at(root), corpus, keys, wanted)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = open_release(root, corpus, at=datetime.now(UTC), **how).release
    for warning in warned:
        notes.print(str(warning.message), markup=False)
    return found


def _opened(wanted: str | None, where: dict[str, Any]) -> tuple[Store, tuple[PublicKey, ...], Release]:
    from collapse_guard.release import trusted_by

    root, corpus, trusted = where["root"], where["corpus"], where["trusted"]
    store = store_at(root)
    keys = trusted_by(store, trusted) if any(store.list("trust/")) or trusted else ()
    return store, keys, _chosen(root, corpus, keys, wanted, dump=where["dump"], trusted=trusted)


def _watched(status: Status) -> Callable[[int, int], None]:
    return lambda done, total: status.update(f"verified {done / 2**20:,.0f} of {total / 2**20:,.0f} MiB")


@click.command()
@click.argument("release", required=False)
@root
@corpus
@newest
@trusted
@click.option("--document", metavar="ID", help="Prove that this document is among them, and what became of it.")
@click.option("--export-bundle", "bundle", type=PATH, help="Copy everything that proves it into this new folder.")
@as_json
def verify(release: str | None, document: str | None, bundle: Path | None, *, as_json: bool, **where: Any) -> None:
    """Verify a release offline: signature, chain, every byte, ledgers, shares, the tree of all documents.

    RELEASE is its number or the beginning of its digest; by default the release that would be opened now.
    """
    from collapse_guard.bundle import export_bundle
    from collapse_guard.verify import verify_release

    with notes.status("verifying") as status:
        store, keys, entry = _opened(release, where)
        how: dict[str, Any] = {"document": document, "progress": _watched(status)}
        found = (
            export_bundle(store, entry, keys, bundle, **how) if bundle else verify_release(store, entry, keys, **how)
        )
    now = datetime.now(UTC)
    show(found.to_json(now), json_wanted=as_json, text=_verified_text(found, bundle, now))


def _verified_text(found: Verified, bundle: Path | None, now: datetime) -> str:
    from collapse_guard.verify import UNPROVEN

    entry, account = found.release, found.account
    shares = ", ".join(f"{tokens:,} {origin}" for origin, tokens in sorted(account.shares.items()))
    proven = [
        f"release {entry.number} of {entry.corpus!r} ({entry.dump}), {entry.digest}",
        f"its signature, by one of {', '.join(keyid[:16] for keyid in found.trusted)}, and the chain before it",
        f"{account.shards:,} shards, {account.bytes:,} bytes: each is what was published",
        f"the ledgers of {len(account.steps)} steps, counted again from rows",
        f"tokens by origin, added up from rows: {shares}",
        f"all {account.size:,} documents with what became of them: Merkle root {account.root.hex()}",
        *(f"document {proof.index:,} of these: {proof.leaf.decode()}" for proof in account.proofs),
        *([f"copied to {bundle}: python -I cg_verify.py {bundle} {entry.corpus} --key SIGNER.pem"] if bundle else []),
    ]
    lines = [f"proven      {line}" for line in proven]
    lines += [f"OVERRIDDEN  it was refused: {one.told(now)}" for one in entry.overrides]
    lines += [f"RECALLED    {notice.sentence}" for notice in found.notices]
    return "\n".join([*lines, *(f"not proven  {line}" for line in UNPROVEN)])


def _check_named(wanted: str, newest: Snapshot) -> None:
    if len(wanted) < SHORTEST or not newest.digest.startswith(wanted):
        raise UsageError(f"the newest candidate {newest.name!r} is {newest.digest[:12]}, not {wanted!r}; name that one")


@click.command()
@click.argument("candidate")
@at_corpus
@click.option("--gate", "gates", multiple=True, required=True, help="A closed gate, or `state`; repeatable.")
@click.option("--by", required=True, help="Who overrides.")
@click.option("--because", required=True, help="Why, for whoever opens the release.")
@click.option("--until", type=click.DateTime(), required=True, help="Until when it may be released so (UTC).")
@key
def override(candidate: str, gates: tuple[str, ...], until: datetime, key: Path | None, **where: Any) -> None:
    """Let a refused candidate pass named gates, by a signed statement that stays in its release.

    CANDIDATE is the beginning of its digest, as `judge` prints it. It holds for these bytes under this policy alone,
    for 90 days at most. `release` then publishes it, and whoever opens it is told.
    """
    from collapse_guard.release import override as run

    store = store_at(where["root"])
    found = latest_of(store, f"{where['corpus']}/candidate/{where['dump']}", "mix")
    _check_named(candidate, found)
    now = datetime.now(UTC)
    said = {"gates": gates, "by": where["by"], "because": where["because"], "until": until.replace(tzinfo=UTC)}
    one = run(store, found, key=signing_key(key), at=now, **said)
    text = f"signed {one.key}, for {found.digest[:12]} alone: {one.sentence}\nnow run `collapse-guard release`"
    show(one.to_json(now), json_wanted=where["as_json"], text=text)


@click.command()
@click.argument("wanted", metavar="DOCUMENT_ID|SOURCE")
@root
@click.option("--corpus", help="Only releases of this corpus.")
@trusted
@click.option("--reason", help="Recall those releases, for this reason: nobody opens them by accident any more.")
@click.option("--by", help="Who recalls.")
@key
@as_json
def recall(
    wanted: str,
    root: str,
    corpus: str | None,
    trusted: tuple[Path, ...],
    key: Path | None,
    *,
    as_json: bool,
    **said: Any,
) -> None:
    """List every release that contains a document or anything of a source; with --reason and --by, recall them."""
    from collapse_guard.recall import find
    from collapse_guard.recall import recall as run
    from collapse_guard.release import trusted_by

    store = store_at(root)
    if (said["reason"] is None) != (said["by"] is None):
        raise UsageError("a recall needs both --reason and --by; without them the releases are only listed")
    notices = []
    with notes.status("searching"):
        if said["reason"] is not None:
            how: dict[str, Any] = {"key": signing_key(key), "at": datetime.now(UTC), "corpus": corpus}
            notices = run(store, wanted, **said, **how)
        found = find(store, wanted, trusted_by(store, trusted), corpus=corpus)
    facts = {"releases": [one.to_json() for one in found], "notices": [notice.key for notice in notices]}
    lines = [
        f"{one.corpus} release {one.number} ({one.dump}) {one.digest[:12]}: {one.documents:,} document(s)"
        + (f", recalled by {', '.join(one.recalled)}" if one.recalled else "")
        for one in found
    ]
    lines += [f"signed {notice.key}: open_release refuses {len(notice.digests)} snapshot(s)" for notice in notices]
    show(facts, json_wanted=as_json, text="\n".join(lines) or f"no release contains {wanted!r}")


def _one_of(kind: str | None) -> None:
    if kind is None:
        raise UsageError("say which report: --eu-summary or --croissant")


@click.command()
@click.argument("release", required=False)
@root
@corpus
@newest
@trusted
@click.option("--reservoir", help="Where the reservoir lies, for the licences of its documents.")
@click.option("--eu-summary", "kind", flag_value="eu_summary", help="Facts for the EU training-content summary.")
@click.option("--croissant", "kind", flag_value="croissant", help="A Croissant 1.1 description (JSON-LD).")
@click.option("--out", type=PATH, help="Write it to this file instead of the terminal.")
@as_json
def report(
    release: str | None, reservoir: str | None, kind: str | None, out: Path | None, *, as_json: bool, **where: Any
) -> None:
    """Describe a release for others, from its rows and ledgers; what is unknown is written as unknown.

    RELEASE is its number or the beginning of its digest; by default the release that would be opened now.
    """
    from collapse_guard.report.croissant import croissant
    from collapse_guard.report.eu_summary import eu_summary, markdown
    from collapse_guard.reservoir import open_reservoir

    _one_of(kind)
    with notes.status("reading the release"):
        store, _, entry = _opened(release, where)
        if kind == "croissant":
            facts = croissant(store, entry)
        else:
            facts = eu_summary(store, entry, open_reservoir(store_at(reservoir)) if reservoir else None)
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    if kind == "eu_summary" and not as_json:
        text = markdown(facts)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    else:
        screen.print(text, markup=False)


COMMANDS = (override, verify, recall, report)
