"""Measure every document: signals, evidence, digests and signatures, as columns beside the documents."""

from __future__ import annotations

import warnings
from collections import Counter
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import feather

from collapse_guard import signals
from collapse_guard.canonical import sha256_hex
from collapse_guard.dedup import signed, url_keys
from collapse_guard.document import derive_id, text_digests
from collapse_guard.edit import apply, edit_snapshot, policy_transforms
from collapse_guard.engine import LocalEngine
from collapse_guard.errors import PolicyError, UsageError
from collapse_guard.kernels.arrow import chunks
from collapse_guard.kernels.tokens import count_tokens
from collapse_guard.profiling import find_profile, profile_shard, publish_profile
from collapse_guard.provenance.finder import Finder
from collapse_guard.provenance.watermark.tokenizing import OUTSIDE, load_tokenizer
from collapse_guard.signals.evidence import EVIDENCE
from collapse_guard.signals.exact import check_available, exact_tokens
from collapse_guard.snapshot import Ledger, Snapshot, publish, read_shard, resume, run_key, write_shard
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from collapse_guard.engine import Engine
    from collapse_guard.errors import SignalError
    from collapse_guard.policy import Dedup, Policy
    from collapse_guard.profiling import Profiled
    from collapse_guard.provenance.watermark.scan import Sums
    from collapse_guard.provenance.watermark.tokenizing import Encoded
    from collapse_guard.signals import Signal
    from collapse_guard.snapshot import Shard
    from collapse_guard.store import Store

SCHEMA = "measured@3"
FAILURE = "failure"
"""The column that says which of a user's own signals raised for a document, and what; null where none did."""

MAX_FAILURES = 20
"""So many failures are told in the manifest; all are in the column."""


def policy_signals(policy: Policy) -> list[Signal]:
    """The signals that a policy declares, and that its rules use, each once, in order of first use.

    Raises:
        PolicyError: Nothing in the policy collects what one of them reads.

    Returns:
        The signals.
    """
    rules = [rule for _, rule in policy.all_rules()]
    used = [*policy.signals.values(), *(part.signal for rule in rules for part in (rule.where, rule) if part)]
    found = {signals.column(signal): signal for signal in map(signals.resolve, used)}
    try:
        for rule in rules:
            policy.check_rule(rule)
    except ValueError as error:
        raise PolicyError(f"policy {policy.name!r}: {error}") from None
    return list(found.values())


def measured_columns(policy: Policy) -> list[str]:
    """The columns of signals that measuring under a policy gives."""
    return [signals.column(signal) for signal in policy_signals(policy)]


def measure(
    documents: Sequence[str] | pa.Table, policy: Policy, environment: Mapping[str, str] | None = None
) -> pa.Table:
    """Measure documents in memory, after the policy's transforms.

    Args:
        documents: Texts, or a table with the columns of a document.
        policy: Names the transforms, the signals to compute and the evidence to look for.
        environment: Where watermark keys are taken from that the policy's key ring refers to by name, such as
            `os.environ`; by default those keys cannot be tested.

    Returns:
        One row per document, in order: `id, text_sha256, tokens, captured_at, origin, language`, a float64 column per
        signal, null where it could not be measured, the columns of evidence, `failure`, and the signature that finds
        near-duplicates.

    Warns:
        UserWarning: A user's own signal raised; names the signal and the document.

    Raises:
        UsageError: The policy asks for a tokenizer that is not installed.
    """
    table = documents if isinstance(documents, pa.Table) else _from_texts(documents)
    finder = Finder(policy, environment)
    measured, sums = _measure_table(apply(table, policy_transforms(policy))[0], policy, finder)
    for message in measured[FAILURE].drop_null().to_pylist():
        warnings.warn(message, stacklevel=2)
    return finder.fuse(measured, sums)


class _Measured(NamedTuple):
    """A measured shard that waits for what the other shards found."""

    path: Path
    failures: list[str]
    sums: Sums
    profiled: Profiled | None


def measure_snapshot(
    store: Store,
    documents: Snapshot,
    policy: Policy,
    engine: Engine | None = None,
    environment: Mapping[str, str] | None = None,
) -> Snapshot:
    """Measure a snapshot of documents, shard by shard, and publish the columns.

    Bounds do not matter here: moving one re-runs the sifting alone.

    Args:
        store: Holds the documents; receives the columns.
        documents: What to measure; the policy's transforms are applied to it first.
        policy: Names the signals to compute and the evidence to look for.
        engine: Where to run; threads on this machine by default.
        environment: As for `measure`.

    Returns:
        The published snapshot, its shards in the order of the documents' shards.

    Raises:
        UsageError: The policy asks for a tokenizer that is not installed.
    """
    documents = edit_snapshot(store, documents, policy, engine)
    name, parents = documents.sibling("measured"), (documents.as_parent(),)
    finder = Finder(policy, environment)
    asked = {"columns": measured_columns(policy), **_parameters(policy), "asked_evidence": finder.asked}
    key = run_key("measured", parents, None, asked)
    earlier = resume(store, name, key)
    if earlier is not None:
        return earlier
    if policy.tokenizer == "exact":
        check_available()
    engine = engine or LocalEngine()
    with store.scratch() as scratch:
        unprofiled = find_profile(store, documents) is None
        work = partial(_measure_shard, store, policy, finder, scratch, unprofiled)
        first = list(engine.map(work, enumerate(documents.with_role("documents"))))
        sums = reduce(add, (done.sums for done in first), finder.nothing)
        second = list(engine.map(partial(_fuse_shard, store, finder, sums), first))
    if unprofiled:
        publish_profile(store, documents, [done.profiled for done in first if done.profiled])
    shards = tuple(shard for shard, _ in second)
    rows = sum(shard.rows for shard in shards)
    failures = [message for done in first for message in done.failures]
    counts = reduce(add, (counted for _, counted in second), Counter[tuple[str, str]]())
    details = {
        **documents.details,
        **asked,
        "failures": len(failures),
        "first_failures": failures[:MAX_FAILURES],
        "evidence": finder.told(sums, counts),
    }
    ledger = Ledger(came_in=rows, kept=rows)
    return publish(store, Snapshot(name, "measured", SCHEMA, parents, shards, ledger, None, __version__, key, details))


def _parameters(policy: Policy) -> dict[str, Any]:
    """What decides the measured values beside the signals."""
    near = policy.dedup.near
    signature = {"bands": near.bands, "rows": near.rows, "ngram": near.ngram} if near else None
    counting = {"tokens": policy.tokens.sha256} if policy.tokens else {}
    return {"tokenizer": policy.tokenizer, "signature": signature, "url": policy.dedup.url, **counting}


def _measure_shard(  # noqa: PLR0917 - all but the last are bound by `partial`
    store: Store,
    policy: Policy,
    finder: Finder,
    scratch: Path,
    unprofiled: bool,  # noqa: FBT001
    numbered: tuple[int, Shard],
) -> _Measured:
    number, shard = numbered
    documents = read_shard(store, shard)
    measured, sums = _measure_table(documents, policy, finder)
    profiled = profile_shard(store, documents, measured["language"]) if unprofiled else None
    path = scratch / f"{number}.arrow"
    feather.write_feather(measured, path, compression="uncompressed")
    return _Measured(path, measured[FAILURE].drop_null().to_pylist(), sums, profiled)


def _fuse_shard(
    store: Store, finder: Finder, sums: Sums, measured: _Measured
) -> tuple[Shard, Counter[tuple[str, str]]]:
    fused = finder.fuse(feather.read_table(measured.path), sums)
    return write_shard(store, fused, "measured"), finder.count(fused)


def _measure_table(documents: pa.Table, policy: Policy, finder: Finder) -> tuple[pa.Table, Sums]:
    """Everything about documents that can be known without the others."""
    texts = documents["text"]
    failures: dict[int, str] = {}

    def note(row: int, error: SignalError) -> None:
        failures[row] = str(error)

    tokens = exact_tokens(texts) if policy.tokenizer == "exact" else None
    wanted = [signal for signal in policy_signals(policy) if signal.kind not in EVIDENCE]
    measured = signals.compute(documents, wanted, tokens=tokens, folder=policy.folder, on_failure=note)
    language = signals.detect_language(texts)["language"]
    found, sums = finder.find(documents, language)
    columns = {
        "id": documents["id"],
        "text_sha256": text_digests(texts),
        "tokens": count_tokens_of(documents, policy),
        "captured_at": documents["captured_at"],
        "domain": documents["domain"],
        "language": language,
        **dict(zip(measured.column_names, measured.columns, strict=True)),
        FAILURE: pa.array([failures.get(row) for row in range(documents.num_rows)], pa.string()),
        **found,
        **_compared_by(documents, policy.dedup),
    }
    return pa.table(columns), sums


def count_tokens_of(documents: pa.Table, policy: Policy) -> pa.ChunkedArray:
    """Count tokens as a policy asks.

    Args:
        documents: n rows with `text` and `tokens`, the fast count.
        policy: Its `tokens` may name a tokenizer.

    Returns:
        n numbers: the tokenizer's where one is named, else the fast ones.

    Raises:
        UsageError: The tokenizer cannot be loaded, is another than when the policy was read, or refuses a text.
    """
    if policy.tokens is None:
        return documents["tokens"]
    path = policy.folder / policy.tokens.tokenizer
    tokenizer = load_tokenizer(path, policy.tokens.sha256 or sha256_hex(path.read_bytes()))
    return pa.chunked_array(
        [_lengths(tokenizer.encode(chunk), path) for chunk in chunks(documents["text"])], pa.int64()
    )


def _lengths(encoded: Encoded, path: Path) -> pa.Array:
    if (encoded.ids == OUTSIDE).any():
        raise UsageError(f"{path}: it refuses a text, so its tokens cannot be counted; name a tokenizer that has <unk>")
    return pa.array(np.diff(encoded.offsets), pa.int64())


def _compared_by(documents: pa.Table, dedup: Dedup) -> dict[str, pa.ChunkedArray]:
    """The columns by which copies are found, where the policy asks for them."""
    addresses = {"url_key": url_keys(documents["url"])} if dedup.url else {}
    return {**addresses, **(signed(documents["text"], dedup.near) if dedup.near else {})}


def _from_texts(texts: Sequence[str]) -> pa.Table:
    column = pa.chunked_array([pa.array(texts, pa.large_string())])
    nothing = pa.nulls(len(texts), pa.timestamp("us", tz="UTC"))
    ids = [derive_id(text or "", None, None) for text in texts]
    unknown = pa.nulls(len(texts), pa.string())
    facts = {"captured_at": nothing, "url": unknown, "domain": unknown}
    return pa.table({"id": ids, "text": column, "tokens": count_tokens(column), **facts})
