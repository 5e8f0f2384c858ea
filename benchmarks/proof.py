"""How fast a release is recounted and verified, and how long the tree over a million documents takes; one core each."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from benchmarks.rows import Row
from benchmarks.texts import OUT, documents
from collapse_guard.canonical import json_digest
from collapse_guard.document import DOCUMENT, text_digests
from collapse_guard.merkle import Tree
from collapse_guard.release.accounting import LEAF, leaf_lines, take_account
from collapse_guard.snapshot import Ledger, ShardWriter, Snapshot, publish
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.store import Store

LEAVES = 1_000_000
TEXT = 200_000_000
PER_TABLE = 2_000
SECONDS, MEGABYTES_PER_SECOND = 2.0, 200.0


def run() -> list[Row]:
    """Build a tree, then a candidate of one dump, and read it as `release` and `verify` do."""
    return [*_tree(), *_account()]


def _tree() -> list[Row]:
    table = pa.table(
        {
            "disposition": pa.repeat("kept", LEAVES),
            "id": [f"{number:032x}" for number in range(LEAVES)],
            "origin": pa.repeat("unknown", LEAVES),
            "reason": pa.nulls(LEAVES, pa.string()),
            "sha256": [hashlib.sha256(b"%d" % number).hexdigest() for number in range(LEAVES)],
            "source": pa.repeat("crawl/2026-46/00000.warc.gz", LEAVES),
            "tokens": range(LEAVES),
        },
        schema=LEAF,
    )
    started = time.process_time()
    leaves = leaf_lines(table)
    written = time.process_time()
    tree = Tree()
    tree.extend(leaves)
    tree.root()
    rooted = time.process_time()
    size = f"{LEAVES:,} leaves of {sum(map(len, leaves)) // LEAVES} bytes"
    return [
        Row("proof", "Merkle root", rooted - written, "s", high=SECONDS, note=size),
        Row("proof", "writing the leaves", written - started, "s", note="canonical JSON from columns"),
    ]


@dataclass(frozen=True)
class _Built:
    """A candidate whose documents are texts, and nothing else behind it."""

    store: Store
    snapshot: Snapshot
    text: int


def _account() -> list[Row]:
    folder = OUT / "proof"
    shutil.rmtree(folder, ignore_errors=True)
    built = _build(LocalStore(folder))
    started = time.process_time()
    account = take_account(built.store, built.snapshot)
    seconds = time.process_time() - started
    hashed = _hash_speed()
    shutil.rmtree(folder)
    note = f"{account.bytes / 1e6:.0f} MB in {account.shards} shards; SHA-256 alone does {hashed:.0f} MB/s"
    stored, text = account.bytes / 1e6 / seconds, built.text / 1e6 / seconds
    return [
        Row("proof", "verify: stored bytes", stored, "MB/s per core", note=note),
        Row("proof", "verify: text", text, "MB/s per core", low=MEGABYTES_PER_SECOND, note="each text hashed too"),
    ]


def _build(store: Store) -> _Built:
    writer, total, tokens, rows = ShardWriter(store, "documents"), 0, 0, 0
    for table in _tables():
        writer.write(table)
        rows += table.num_rows
        total += sum(len(text.encode()) for text in table["text"].to_pylist())
        tokens += sum(table["tokens"].to_pylist())
    details: dict[str, Any] = {"corpus": "proof", "dump": "all", "tokens_by_origin": {"unknown": tokens}}
    key = json_digest(details)
    place = ("proof/candidate/all", "candidate", "benchmark@1", ())
    snapshot = Snapshot(*place, tuple(writer.close()), Ledger(rows, rows), None, "0", key, details)
    return _Built(store, publish(store, snapshot), total)


def _tables() -> Iterator[pa.Table]:
    found = documents(TEXT)
    while chosen := list(islice(found, PER_TABLE)):
        rows = [{"id": one.id, "text": one.text, "tokens": len(one.text) // 4, "source": "a.warc"} for one in chosen]
        table = pa.Table.from_pylist(rows, schema=DOCUMENT)
        table = table.append_column("text_sha256", text_digests(table["text"]))
        yield table.append_column("origin", pa.repeat(pa.scalar("unknown"), table.num_rows))


def _hash_speed() -> float:
    data = bytes(100_000_000)
    started = time.process_time()
    hashlib.sha256(data).digest()
    return len(data) / 1e6 / (time.process_time() - started)
