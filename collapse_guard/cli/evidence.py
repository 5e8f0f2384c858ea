"""Commands about who wrote what: scan, keys, classifier."""

from __future__ import annotations

import dataclasses
import heapq
import os
import sys
import tempfile
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from collapse_guard.cli.options import PATH, as_json, policy, reading, reservoir, root
from collapse_guard.cli.steps import ingest_files, refuse_nothing
from collapse_guard.cli.terminal import WatchedEngine, notes, print_table, screen, show, store_at
from collapse_guard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from collapse_guard.policy import Policy
    from collapse_guard.provenance.images import Trust
    from collapse_guard.snapshot import Snapshot

IMAGES = frozenset(".jpg .jpeg .png .webp .tif .tiff .gif .avif .heic .heif .jxl .bmp".split())
SHOWN = 20


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@reading
@policy
@click.option("--keys", type=PATH, help="A key ring, instead of the policy's.")
@click.option("--calibration", type=PATH, help="What `keys calibrate` wrote, instead of the policy's.")
@click.option("--classifier", type=PATH, help="What `classifier train` wrote, instead of the policy's.")
@click.option("--trust", type=PATH, help="Certificates (PEM) whose C2PA signatures are trusted.")
@click.option("--out", type=PATH, help="Write the columns of evidence to this Parquet file.")
@as_json
def scan(inputs: tuple[str, ...], fields: tuple[str, ...], workers: int, **said: Any) -> None:
    """Look for evidence of models in documents and images; decides nothing and keeps nothing."""
    pictures = tuple(name for name in inputs if Path(name).suffix.lower() in IMAGES)
    files = tuple(name for name in inputs if name not in pictures)
    result: dict[str, Any] = {"images": _examined(pictures, said["trust"])}
    with tempfile.TemporaryDirectory(prefix="collapse-guard-scan-") as folder:
        if files:
            documents = ingest_files(files, fields, workers, {"root": folder, "corpus": "scan", "dump": "all"})
            refuse_nothing(documents)
            result |= _scanned(documents, _scan_policy(said), Path(folder), said["out"])
    if said["as_json"]:
        show(result, json_wanted=True, text="")
    else:
        _show(result)


def _scan_policy(said: dict[str, Any]) -> Policy:
    """The policy's own evidence sections, or what the options name; nothing else of it matters here."""
    from collapse_guard.catalogue import load_policy
    from collapse_guard.policy import Classifier, Watermarks

    known = load_policy(said["policy"])
    watermarks, classifier = known.watermarks, known.classifier
    if said["keys"]:
        calibration = str(said["calibration"].resolve()) if said["calibration"] else None
        watermarks = Watermarks(keys=str(said["keys"].resolve()), calibration=calibration)
    elif said["calibration"] and watermarks:
        path = str(said["calibration"].resolve())
        watermarks = dataclasses.replace(watermarks, calibration=path, calibration_sha256=None)
    if said["classifier"]:
        classifier = Classifier(path=str(said["classifier"].resolve()))
    return dataclasses.replace(known, watermarks=watermarks, classifier=classifier, rules=(), packs=(), transforms=())


def _scanned(documents: Snapshot, rules: Policy, folder: Path, out: Path | None) -> dict[str, Any]:
    from collapse_guard.measure import measure_snapshot
    from collapse_guard.snapshot import read_rows

    store = store_at(folder)
    with notes.status("scanning") as status:
        engine = WatchedEngine(status, documents)
        measured = measure_snapshot(store, documents, rules, engine, os.environ)
    findings = (row for table in read_rows(store, measured.shards) for row in _findings(table))
    if out:
        _write_columns(read_rows(store, measured.shards), out)
    return {
        "ledger": documents.ledger.to_json(),
        "evidence": measured.details["evidence"],
        "findings": heapq.nsmallest(5 * SHOWN, findings, key=_worst),
    }


_SHOWN_COLUMNS = (
    "id", "domain", "origin", "depth", "watermark_outcome", "watermark.q_value@1", "watermark.log_p@1", "watermark_key",
    "watermark_tokens", "watermark_start", "watermark_end", "declared.synthetic@1", "declared", "residue.score@1",
    "residue", "capture.before_models@1", "classifier.p_synthetic@1", "classifier_p_human", "classifier_abstained",
)  # fmt: skip


def _columns_of(table: pa.Table) -> list[str]:
    return [name for name in _SHOWN_COLUMNS if name in table.column_names]


def _findings(table: pa.Table) -> list[dict[str, Any]]:
    """The documents that some evidence says something about."""
    rows = table.select(_columns_of(table)).to_pylist()
    return [row for row in rows if row["origin"] in {"synthetic", "edited"} or row["declared"] or row["residue"]]


def _worst(row: dict[str, Any]) -> tuple[bool, float, float]:
    return row["origin"] != "synthetic", row.get("watermark.log_p@1") or 0.0, -row["residue.score@1"]


def _write_columns(measured: Iterator[pa.Table], out: Path) -> None:
    """Write the columns of one shard after the other."""
    import pyarrow.parquet as pq

    first = next(measured)
    names = _columns_of(first)
    with pq.ParquetWriter(out, first.select(names).schema) as writer:
        for table in chain([first], measured):
            writer.write_table(table.select(names))


def _trust(path: Path | None) -> Trust | None:
    from collapse_guard.provenance.images import Trust

    try:
        return Trust(path.read_bytes()) if path else None
    except OSError as error:
        raise UsageError(f"{path}: the certificates cannot be read ({error.strerror}); give a PEM file") from None


def _examined(paths: tuple[str, ...], trust: Path | None) -> list[dict[str, Any]]:
    from collapse_guard.provenance.images import examine_image

    known, found = _trust(trust) if paths else None, []
    for path in paths:
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise UsageError(f"{path}: the image cannot be read ({error.strerror})") from None
        found.append({"file": path, **examine_image(data, known, pixels=True).to_json()})
    return found


def _show(result: dict[str, Any]) -> None:
    from collapse_guard.report.evidence import evidence_rows, findings_listing, images_listing, table_of

    listings = []
    if "evidence" in result:
        listings = [*evidence_rows(result["evidence"]), findings_listing(result["findings"][:SHOWN])]
    if result["images"]:
        listings.append(images_listing(result["images"]))
    for listing in listings:
        print_table(table_of(listing))
        screen.print()


@click.group()
def keys() -> None:
    """Watermark keys: whether they can be tested here, and how human text scores under them."""


@keys.command(name="check")
@click.argument("ring", type=PATH)
@as_json
def check(ring: Path, *, as_json: bool) -> None:
    """Verify that each key of RING can be tested on this machine. Exit 1 where one cannot."""
    from rich.table import Table

    from collapse_guard.provenance.watermark.key_ring import check_keys, read_keys

    found = check_keys(read_keys(ring, os.environ), datetime.now(UTC).date())
    if as_json:
        show({"keys": [one._asdict() for one in found]}, json_wanted=True, text="")
    else:
        table = Table(box=None)
        for name in ("key", "scheme", "fingerprint", "testable", "remarks"):
            table.add_column(name, no_wrap=name != "remarks")
        for one in found:
            remarks = "; ".join(filter(None, [one.reason, *one.warnings]))
            table.add_row(one.id, one.scheme, one.fingerprint or "-", "yes" if one.testable else "[red]no[/]", remarks)
        print_table(table)
    sys.exit(0 if all(one.testable for one in found) else 1)


@keys.command()
@click.argument("ring", type=PATH)
@reservoir
@click.option("--out", type=PATH, default=Path("calibration.parquet"), show_default=True, help="The file to write.")
@as_json
def calibrate(ring: Path, reservoir: str, out: Path, *, as_json: bool) -> None:
    """Learn from the reservoir's human text what the keys of RING would otherwise take for a mark."""
    from collapse_guard.provenance.watermark.key_ring import read_keys
    from collapse_guard.provenance.watermark.nulls import calibrate as run
    from collapse_guard.reservoir import HUMAN, open_reservoir

    known = read_keys(ring, os.environ)
    with notes.status("calibrating"):
        tables = open_reservoir(store_at(reservoir)).texts(HUMAN)
        made = run(known, (chunk for table in tables for chunk in table["text"].chunks))
    made.write(out)
    ngrams = sum(len(found) for found in made.ngrams.values())
    facts = {"file": str(out), "documents": made.documents, "common_ngrams": ngrams, "keys": len(made.nulls)}
    text = (
        f"{out}: {ngrams:,} common n-grams in {made.documents:,} human documents; name it in the policy's `watermarks`"
    )
    show(facts, json_wanted=as_json, text=text)


@click.group()
def classifier() -> None:
    """The classifier of your own, which may send documents to review."""


@classifier.command()
@click.argument("inputs", nargs=-1, required=True)
@reading
@root
@reservoir
@click.option("--name", default="classifier", show_default=True, help="The classifier's name in the guard.")
@click.option("--out", type=PATH, default=Path("classifier.parquet"), show_default=True, help="The file to write.")
@as_json
def train(inputs: tuple[str, ...], fields: tuple[str, ...], workers: int, **said: Any) -> None:
    """Train on the reservoir and on INPUTS, which models are known to have written."""
    from collapse_guard.classifying import export_classifier, train_classifier
    from collapse_guard.reservoir import open_reservoir

    where = {"root": said["root"], "corpus": said["name"], "dump": "all"}
    synthetic = ingest_files(inputs, fields, workers, where)
    refuse_nothing(synthetic)
    store = store_at(said["root"])
    with notes.status("training"):
        made = train_classifier(store, open_reservoir(store_at(said["reservoir"])), synthetic)
    export_classifier(store, made, said["out"])
    _show_training(made, said["out"], as_json=said["as_json"])


def _show_training(made: Snapshot, out: Path, *, as_json: bool) -> None:
    report = made.details["report"]
    facts = {"file": str(out), "digest": made.digest, "ledger": made.ledger.to_json(), "report": report}
    held_out = [("all", report["held_out"]), *_left_out(report)]
    lines = [f"{name:<40} AUC {_two(row['auc'])}  found at 1 % false {_two(row['found'])}" for name, row in held_out]
    show(facts, json_wanted=as_json, text="\n".join([f"{out}: held-out texts", *lines]))


def _left_out(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    kinds = ("domain", "generator")
    return [(f"without {kind} {row[kind]}", row) for kind in kinds for row in report[f"{kind}_left_out"]]


def _two(value: float | None) -> str:
    return "   -" if value is None else f"{value:.2f}"


COMMANDS = (scan, keys, classifier)
