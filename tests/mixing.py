"""Whole mixes over small snapshots made by hand: what tests of the mix have in common."""

from __future__ import annotations

import pyarrow as pa
from builders import Made, measured, publish_documents, table

from collapse_guard.mix import mix
from collapse_guard.sift import sift_snapshot
from collapse_guard.snapshot import publish, read_rows

DUMP = "2026-01"


def sifted(store, rows, rules, dump=DUMP, origins=None):
    """Documents as they are after sifting; `origins` may give each another one than unknown."""
    offered = table(rows)
    documents = publish_documents(store, [offered], dump=dump)
    facts = measured(offered)
    for name in ("domain", "language"):
        facts = facts.append_column(name, offered[name])
    if origins:
        place = facts.column_names.index("origin")
        facts = facts.set_column(place, "origin", pa.array(origins, pa.string()))
    made = Made(store, f"web/measured/{dump}", "measured", (documents.as_parent(),))
    return sift_snapshot(store, publish(store, made.of([facts], "measured", corpus="web", dump=dump)), rules)


def mixed(store, reservoir, rows, rules, dump=DUMP, origins=None):
    sifted(store, rows, rules, dump, origins)
    return mix(store, reservoir, "web", dump, rules)


def rows_of(store, snapshot, role="documents"):
    return [row for rows in read_rows(store, snapshot.with_role(role)) for row in rows.to_pylist()]


def ids(rows):
    return {row["id"] for row in rows}
