"""Small snapshots made by hand, so that tests of the core need no kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collapse_guard.attestation import SigningKey
from collapse_guard.document import DOCUMENT, UNKNOWN, text_digests
from collapse_guard.mix.plan import POOL
from collapse_guard.mix.profiled import CandidateProfile
from collapse_guard.policy import Gate, Mix, Policy
from collapse_guard.reservoir import Admission, Reservoir, admit, open_reservoir
from collapse_guard.snapshot import Ledger, Snapshot, publish, run_key, write_shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from collapse_guard.snapshot import Parent
    from collapse_guard.store import Store

AT = datetime(2026, 1, 1, tzinfo=UTC)
ADMISSION = Admission(by="the archive desk", licence="CC0-1.0", evidence="scanned from print of 1987")
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
OTHER_KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))


def document(name: str, tokens: int = 10, **fields: Any) -> dict[str, Any]:
    return {"id": name, "text": f"text of {name}", "tokens": tokens, "source": "pages.jsonl", **fields}


def table(documents: Iterable[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(documents), schema=DOCUMENT)


def numbered(prefix: str, tokens: Iterable[int]) -> list[dict[str, Any]]:
    return [document(f"{prefix}{number}", count) for number, count in enumerate(tokens)]


@dataclass(frozen=True)
class Made:
    """A manifest whose shards hold some tables, ready to be published."""

    store: Store
    name: str
    kind: str
    parents: tuple[Parent, ...] = ()

    def of(self, tables: Sequence[pa.Table], role: str, **details: Any) -> Snapshot:
        shards = tuple(write_shard(self.store, rows, role) for rows in tables)
        rows = sum(shard.rows for shard in shards)
        key = run_key(self.kind, self.parents, None, {"shards": [shard.sha256 for shard in shards]})
        ledger = Ledger(came_in=rows, kept=rows)
        return Snapshot(self.name, self.kind, "test@1", self.parents, shards, ledger, None, "0", key, details)


def publish_documents(
    store: Store, tables: Sequence[pa.Table], *, corpus: str = "web", dump: str = "2026-01"
) -> Snapshot:
    made = Made(store, f"{corpus}/documents/{dump}", "documents")
    return publish(store, made.of(tables, "documents", corpus=corpus, dump=dump))


def publish_measured(
    store: Store, tables: Sequence[pa.Table], *, corpus: str = "web", dump: str = "2026-01"
) -> Snapshot:
    documents = publish_documents(store, tables, corpus=corpus, dump=dump)
    made = Made(store, f"{corpus}/measured/{dump}", "measured", (documents.as_parent(),))
    return publish(store, made.of([measured(rows) for rows in tables], "measured", corpus=corpus, dump=dump))


def measured(documents: pa.Table) -> pa.Table:
    facts = documents.select(["id", "tokens", "captured_at"])
    facts = facts.append_column("text_sha256", text_digests(documents["text"]))
    return facts.append_column("origin", pa.repeat(pa.scalar(UNKNOWN, pa.string()), documents.num_rows))


def mixed_rows(documents: pa.Table) -> pa.Table:
    """Documents with what a candidate adds to them, as far as a release reads it."""
    facts = measured(documents).select(["text_sha256", "origin"])
    stratum = pa.repeat(pa.scalar(POOL, pa.string()), documents.num_rows)
    columns = {**_columns(documents), **_columns(facts), "stratum": stratum}
    return pa.table(columns)


def _columns(rows: pa.Table) -> dict[str, pa.ChunkedArray]:
    return dict(zip(rows.column_names, rows.columns, strict=True))


def candidate(made: Made, documents: Sequence[pa.Table], **details: Any) -> Snapshot:
    """The manifest of a candidate of such rows, with the profile by which it is judged."""
    profile = CandidateProfile()
    for rows in documents:
        profile.add(rows)
    shard, told = profile.write(made.store)
    snapshot = made.of(documents, "documents", **told, **details)
    return replace(snapshot, shards=(*snapshot.shards, shard))


def admitted(store: Store, documents: Iterable[dict[str, Any]]) -> Reservoir:
    offered = publish_documents(store, [table(documents)], corpus="reservoir", dump="admission")
    admit(store, offered, ADMISSION, KEY, AT)
    return open_reservoir(store)


def policy(**mix: Any) -> Policy:
    """A policy without rules, so that sifting needs no signal."""
    return Policy(name="small", mix=Mix(**mix), gates={"human_share": Gate(low=0.1, outside="block")})


def overwrite(path: Path, data: bytes) -> None:
    """Change a read-only file as an attacker would."""
    path.unlink()
    path.write_bytes(data)


def flipped(data: bytes, place: int, mask: int = 1) -> bytes:
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]
