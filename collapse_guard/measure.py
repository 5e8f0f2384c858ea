"""Measure every document: signals, evidence and digests, as columns beside the documents."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from collapse_guard import signals
from collapse_guard.document import derive_id, text_digests
from collapse_guard.engine import LocalEngine
from collapse_guard.kernels.tokens import count_tokens
from collapse_guard.provenance import origins_of_scraped
from collapse_guard.snapshot import Ledger, Snapshot, publish, read_shard, resume, run_key, write_shard
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.engine import Engine
    from collapse_guard.policy import Policy
    from collapse_guard.signals import Signal
    from collapse_guard.snapshot import Shard
    from collapse_guard.store import Store

SCHEMA = "measured@1"


def policy_signals(policy: Policy) -> list[Signal]:
    """The signals that a policy's rules use, each once, in order of first use."""
    used = [signals.resolve(rule.signal) for _, rule in policy.all_rules()]
    return list(dict.fromkeys(used))


def measured_columns(policy: Policy) -> list[str]:
    """The columns of signals that measuring under a policy gives."""
    return [signals.column(signal) for signal in policy_signals(policy)]


def measure(documents: Sequence[str] | pa.Table, policy: Policy) -> pa.Table:
    """Measure documents in memory.

    Args:
        documents: Texts, or a table with the columns of a document.
        policy: Names the signals to compute.

    Returns:
        One row per document, in order: `id, text_sha256, tokens, captured_at, origin, language`, and a float64 column
        per signal; null where it could not be measured.
    """
    table = documents if isinstance(documents, pa.Table) else _from_texts(documents)
    return _measure_table(table, policy_signals(policy))


def measure_snapshot(store: Store, documents: Snapshot, policy: Policy, engine: Engine | None = None) -> Snapshot:
    """Measure a snapshot of documents, shard by shard, and publish the columns.

    Bounds do not matter here: moving one re-runs the sifting alone.

    Args:
        store: Holds the documents; receives the columns.
        documents: What to measure.
        policy: Names the signals to compute.
        engine: Where to run; threads on this machine by default.

    Returns:
        The published snapshot, its shards in the order of the documents' shards.
    """
    name = documents.name.replace("/documents/", "/measured/")
    wanted = policy_signals(policy)
    columns = measured_columns(policy)
    parents = (documents.as_parent(),)
    key = run_key("measured", parents, None, {"columns": columns})
    earlier = resume(store, name, key)
    if earlier is not None:
        return earlier
    work = partial(_measure_shard, store, wanted)
    shards = tuple((engine or LocalEngine()).map(work, documents.with_role("documents")))
    rows = sum(shard.rows for shard in shards)
    details = {**documents.details, "columns": columns}
    ledger = Ledger(came_in=rows, kept=rows)
    return publish(store, Snapshot(name, "measured", SCHEMA, parents, shards, ledger, None, __version__, key, details))


def _measure_shard(store: Store, wanted: Sequence[Signal], shard: Shard) -> Shard:
    return write_shard(store, _measure_table(read_shard(store, shard), wanted), "measured")


def _measure_table(documents: pa.Table, wanted: Sequence[Signal]) -> pa.Table:
    texts = documents["text"]
    language = signals.detect_language(texts)["language"]
    columns = {
        "id": documents["id"],
        "text_sha256": text_digests(texts),
        "tokens": documents["tokens"],
        "captured_at": documents["captured_at"],
        "origin": origins_of_scraped(documents),
        "language": language,
    }
    measured = signals.compute(texts, wanted)
    return pa.table({**columns, **dict(zip(measured.column_names, measured.columns, strict=True))})


def _from_texts(texts: Sequence[str]) -> pa.Table:
    column = pa.chunked_array([pa.array(texts, pa.large_string())])
    nothing = pa.nulls(len(texts), pa.timestamp("us", tz="UTC"))
    ids = [derive_id(text or "", None, None) for text in texts]
    return pa.table({"id": ids, "text": column, "tokens": count_tokens(column), "captured_at": nothing})
