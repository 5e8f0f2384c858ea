"""A document's whole way: source, signals, rules and values, verdict, mix and release."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from collapse_guard import attestation
from collapse_guard.errors import UsageError
from collapse_guard.policy import rules_said
from collapse_guard.provenance.residue import residue_evidence
from collapse_guard.release import read_chain
from collapse_guard.reservoir import EVALUATION, HUMAN, open_reservoir
from collapse_guard.sift import aligned_sources, applies, rules_key, signal_column
from collapse_guard.signals.evidence import EVIDENCE
from collapse_guard.snapshot import latest, read_shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from collapse_guard.policy import Rule
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store


def explain(store: Store, document_id: str, reservoir: Store | None = None) -> dict[str, Any]:
    """Tell a document's whole way.

    Args:
        store: The guard's store.
        document_id: The id, as the input gave it or as it was derived.
        reservoir: Where to look for admitted documents too.

    Returns:
        JSON: `id` and `found`, one entry per place where a document with this id came in.

    Raises:
        UsageError: No document has this id.
    """
    sifted = [snapshot for name in log_names(store, "sifted") if (snapshot := latest(store, name))]
    found = [entry for snapshot in sifted for entry in _in_dump(store, snapshot, document_id)]
    found += list(_in_reservoir(reservoir, document_id)) if reservoir else []
    if not found:
        raise UsageError(f"{store.root}: no sifted document has the id {document_id!r}; ids are case-sensitive")
    return {"id": document_id, "found": found}


def log_names(store: Store, step: str) -> list[str]:
    """The names of all logs of one step, such as `web/sifted/2026-46`, sorted."""
    names = {key.removeprefix("snapshots/").rpartition("/")[0] for key in store.list("snapshots/")}
    return sorted(name for name in names if name.split("/")[1:2] == [step])


def _rows(table: pa.Table, document_id: str) -> list[int]:
    return [row for row, match in enumerate(pc.equal(table["id"], document_id).to_pylist()) if match]


def _in_dump(store: Store, sifted: Snapshot, document_id: str) -> Iterator[dict[str, Any]]:
    measured, documents = aligned_sources(store, sifted)
    for index, shard in enumerate(measured.shards):
        facts = read_shard(store, shard)
        for row in _rows(facts, document_id):
            verdict = read_shard(store, sifted.shards[index]).slice(row, 1).to_pylist()[0]
            document = read_shard(store, documents.with_role("documents")[index]).slice(row, 1).to_pylist()[0]
            values = facts.slice(row, 1).to_pylist()[0]
            yield {
                **_document(document),
                "edits": list(_edits(store, documents, index, row)),
                "origin": values["origin"],
                "depth": values["depth"],
                "evidence": _evidence(document, values),
                "snapshots": {step.kind: step.digest for step in (documents, measured, sifted)},
                "signals": {name: values[name] for name in measured.details["columns"]},
                "failure": values["failure"],
                "rules": _rules(store, sifted, values),
                "verdict": verdict["verdict"],
                "rule": verdict["rule"],
                "value": verdict["value"],
                **{name: verdict[name] for name in ("duplicate_of", "cluster", "similarity")},
                "mixed": list(_mixed(store, sifted, document_id)),
            }


_WATERMARK = ("outcome", "key", "tokens", "start", "end")


def _evidence(document: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Everything that was found about who wrote a document, with the characters where it stands."""
    watermark = {name: values.get(f"watermark_{name}") for name in _WATERMARK}
    numbers = {kind: values[f"{kind}@1"] for kind in sorted(EVIDENCE) if f"{kind}@1" in values}
    marks = json.loads(document["metadata"] or "{}").get("marks", [])
    residue = residue_evidence(document["text"], values["language"])
    found = [*marks, *(finding.to_json() for finding in residue)]
    return {"numbers": numbers, "watermark": watermark if watermark["outcome"] else None, "findings": found}


def _document(document: dict[str, Any]) -> dict[str, Any]:
    captured = document["captured_at"]
    return {
        "source": document["source"],
        "place": json.loads(document["metadata"] or "{}"),
        "url": document["url"],
        "captured_at": captured.isoformat() if captured else None,
        "tokens": document["tokens"],
        "text": document["text"][:200],
    }


def _edits(store: Store, documents: Snapshot, index: int, row: int) -> Iterator[dict[str, Any]]:
    """What transforms changed in a document, with the digests of its text before and after."""
    for shard in documents.with_role("edits")[index : index + 1]:
        edits = read_shard(store, shard)
        for edit in edits.filter(pc.equal(edits["row"], row)).to_pylist():
            digests = {name: edit[name].hex() for name in ("before_sha256", "after_sha256")}
            yield {"transform": edit["transform"], "changes": edit["changes"], **digests}


def _rules(store: Store, sifted: Snapshot, values: dict[str, Any]) -> list[dict[str, Any]]:
    said = json.loads(store.read(rules_key(str(sifted.policy_digest))))
    return [_applied(title, rule, values) for title, rule in rules_said(said)]


def _applied(title: str, rule: Rule, values: dict[str, Any]) -> dict[str, Any]:
    value = values[signal_column(rule.signal)]
    told = values[signal_column(rule.where.signal)] if rule.where else None
    return {
        "rule": title,
        "low": rule.low,
        "high": rule.high,
        "value": value,
        "inside": rule.contains(value),
        "applies": applies(rule, told),
        "outside": rule.outside,
    }


def _mixed(store: Store, sifted: Snapshot, document_id: str) -> Iterator[dict[str, Any]]:
    corpus = str(sifted.details["corpus"])
    releases = {}
    if store.head(attestation.TRUST_KEY) is not None:
        releases = {entry.digest: entry for entry in read_chain(store, corpus, attestation.trusted_keys(store))}
    for name in log_names(store, "candidate"):
        candidate = latest(store, name)
        if candidate is None or candidate.details["corpus"] != corpus or sifted.as_parent() not in candidate.parents:
            continue
        released = releases.get(candidate.digest)
        for shard in candidate.with_role("selection"):
            table = read_shard(store, shard)
            for row in _rows(table, document_id):
                choice = table.slice(row, 1).to_pylist()[0]
                yield {
                    "candidate": candidate.digest,
                    "dump": candidate.details["dump"],
                    "taken": choice["rule"] is None,
                    "rule": choice["rule"],
                    "stratum": choice["stratum"],
                    "epoch": choice["epoch"],
                    "release": released.number if released else None,
                }


def _in_reservoir(store: Store, document_id: str) -> Iterator[dict[str, Any]]:
    reservoir = open_reservoir(store)
    for split in (HUMAN, EVALUATION):
        for table in reservoir.texts(split):
            for row in _rows(table, document_id):
                document = table.slice(row, 1).to_pylist()[0]
                yield {**_document(document), "licence": document["licence"], "reservoir": split}
