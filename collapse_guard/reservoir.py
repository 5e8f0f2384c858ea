"""The protected store of verified human documents: append-only, admitted by signature, verified on every use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard import attestation
from collapse_guard.dedup import INDEX as COMPARED
from collapse_guard.dedup import SIGNATURE, Clusters, index_of, signed
from collapse_guard.document import DOCUMENT, HUMAN_VERIFIED, ORIGINS, UNKNOWN, text_digests
from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.policy import Near
from collapse_guard.snapshot import (
    Ledger,
    ShardWriter,
    Snapshot,
    append,
    find_digest,
    log,
    read_shard,
    read_snapshot,
    read_verified,
    run_key,
)
from collapse_guard.spill import Replay
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from numpy.typing import NDArray

    from collapse_guard.attestation import PublicKey, SigningKey
    from collapse_guard.snapshot import Parent, Shard
    from collapse_guard.store import Store

LOG = "reservoir"
SCHEMA = "reservoir@2"
HUMAN = "human"
EVALUATION = "evaluation"
PREDICATE = "https://collapse-guard.dev/admission/v1"
EVALUATION_SHARE = 10
"""One of so many texts goes to the evaluation split, by the digest of the text; it can never be mixed."""

ADMITTED = pa.schema(
    [
        *DOCUMENT,
        pa.field("text_sha256", pa.binary()),
        pa.field("licence", pa.string()),
        *(COMPARED.field(name) for name in SIGNATURE),
    ]
)
INDEX = ["id", "text_sha256", "tokens", "captured_at", "domain", "licence", *SIGNATURE]
NEAR = Near()
ADMITTED_WITH = (NEAR.bands, NEAR.rows, NEAR.ngram)
"""Bands, rows and length of n-grams of the signatures that are kept beside the documents."""


@dataclass(frozen=True)
class Admission:
    """Who vouches for documents, why, and under which licence they may be used."""

    by: str
    licence: str
    evidence: str

    def __post_init__(self) -> None:
        empty = [name for name, value in vars(self).items() if not value.strip()]
        if empty:
            raise UsageError(f"an admission must say {', '.join(empty)}: who vouches, the licence, and the evidence")


@dataclass(frozen=True)
class Reservoir:
    """An opened reservoir: its head is signed by the trusted key, and every read is verified by digest."""

    store: Store
    snapshot: Snapshot
    trusted: PublicKey

    def at(self, parent: Parent) -> Reservoir:
        """The state of the reservoir that a snapshot was made from, its signature verified again."""
        snapshot = find_digest(self.store, parent)
        check_signature(self.store, snapshot, self.trusted)
        return Reservoir(self.store, snapshot, self.trusted)

    @property
    def tokens(self) -> int:
        """Tokens that can be mixed, each document once."""
        return int(self.snapshot.details["tokens"][HUMAN])

    def shards(self, split: str) -> list[tuple[Shard, Shard]]:
        """The text shards of a split, each with its index shard."""
        texts, indexes = self.snapshot.with_role(split), self.snapshot.with_role(f"{split}_index")
        return list(zip(texts, indexes, strict=True))

    def index(self, split: str) -> Iterator[pa.Table]:
        """Read the index of a split: `id, text_sha256, tokens, captured_at, domain, licence`."""
        return (read_shard(self.store, index) for _, index in self.shards(split))

    def texts(self, split: str) -> Iterator[pa.Table]:
        """Read the documents of a split."""
        return (read_shard(self.store, shard) for shard, _ in self.shards(split))


def open_reservoir(store: Store, trusted: PublicKey | None = None) -> Reservoir:
    """Open the newest state of a reservoir.

    Args:
        store: Where it lies.
        trusted: The key that must have signed; by default the one that the store was started with.

    Returns:
        The reservoir.

    Raises:
        DamagedDataError: There is none, its head is not signed by the trusted key, or an earlier admission is gone.
    """
    states = _states(store)
    if not states:
        raise DamagedDataError(
            f"{store.root}: no document was ever admitted here; run `collapse-guard reservoir admit`"
        )
    key = trusted or attestation.trusted_key(store)
    check_signature(store, states[-1], key)
    return Reservoir(store, states[-1], key)


def _states(store: Store) -> list[Snapshot]:
    """Every state, oldest first; DamagedDataError where one is not made from the one before it."""
    states = [read_snapshot(store, entry) for entry in log(store, LOG)]
    for earlier, later in zip([None, *states], states, strict=False):
        before = [earlier.as_parent()] if earlier else []
        if [parent for parent in later.parents if parent.name == LOG] != before:
            raise DamagedDataError(f"{store.root}: the state before {later.digest} of the reservoir is missing")
    return states


def check_signature(store: Store, snapshot: Snapshot, key: PublicKey) -> None:
    """Verify that a state of the reservoir was signed; DamagedDataError where it was not."""
    where = _attestation_key(snapshot.digest)
    statement = attestation.verify(store.read(where), key, f"{store.root}: {where}")
    if statement.subjects != {LOG: snapshot.digest} or statement.predicate_type != PREDICATE:
        raise DamagedDataError(f"{store.root}: {where} is signed, but about something else than this reservoir")


def admit(store: Store, documents: Snapshot, admission: Admission, key: SigningKey, at: datetime) -> Snapshot:
    """Admit a snapshot of documents as verified human text.

    Exact copies of what was admitted before are dropped. One tenth of the texts, by digest, becomes the evaluation
    split, which no mix can use.

    Args:
        store: The reservoir's store; holds the documents' snapshot.
        documents: What to admit, from an ingest into the same store.
        admission: Who vouches, why, and the licence.
        key: Signs the admission.
        at: When, for the signed statement.

    Returns:
        The new state of the reservoir: everything admitted before, and these.

    Raises:
        UsageError: The store trusts another key, or somebody else admitted documents meanwhile.
    """
    attestation.trust(store, key.public)
    states = _states(store)  # listed once: whoever admits after it takes the place wanted here
    earlier = _admitted_before(states, documents, admission)
    if earlier is not None:
        return earlier
    before = states[-1] if states else None
    if before:
        check_signature(store, before, key.public)
    snapshot = _extend(store, before, documents, admission)
    statement = {
        **vars(admission),
        "at": at.isoformat(),
        "documents": documents.digest,
        "ledger": snapshot.ledger.to_json(),
    }
    envelope = attestation.sign(key, {LOG: snapshot.digest}, PREDICATE, statement)
    store.put_if_absent(_attestation_key(snapshot.digest), envelope)
    if not append(store, snapshot, len(states) + 1):
        raise UsageError(f"{store.root}: somebody else admitted documents meanwhile; nothing was changed, admit again")
    return snapshot


def _attestation_key(digest: str) -> str:
    return f"attestations/{digest}.json"


def _admitted_before(states: list[Snapshot], documents: Snapshot, admission: Admission) -> Snapshot | None:
    wanted = {"documents": documents.digest, **vars(admission)}
    return next((state for state in states if state.details["admission"] == wanted), None)


def _extend(store: Store, before: Snapshot | None, documents: Snapshot, admission: Admission) -> Snapshot:
    writers = {split: ShardWriter(store, split, index=INDEX) for split in (HUMAN, EVALUATION)}
    counts: Counter[str] = Counter()
    for table in _new_documents(store, before, documents, admission.licence):
        evaluation = is_evaluation(table["text_sha256"])
        for split, chosen in ((HUMAN, ~evaluation), (EVALUATION, evaluation)):
            rows = table.filter(pa.array(chosen))
            counts.update({split: rows.num_rows, f"{split} tokens": pc.sum(rows["tokens"]).as_py() or 0})
            writers[split].write(rows)
    shards = (*(before.shards if before else ()), *(s for writer in writers.values() for s in writer.close()))
    kept = counts[HUMAN] + counts[EVALUATION]
    offered = documents.ledger.kept
    ledger = Ledger(came_in=offered, kept=kept, dropped={"duplicate": offered - kept} if offered > kept else {})
    nothing: dict[str, Any] = {"tokens": {HUMAN: 0, EVALUATION: 0}, "documents": 0}
    earlier = before.details if before else nothing
    details = {
        "admission": {"documents": documents.digest, **vars(admission)},
        "tokens": {split: earlier["tokens"][split] + counts[f"{split} tokens"] for split in writers},
        "documents": earlier["documents"] + kept,
    }
    parents = (*((before.as_parent(),) if before else ()), documents.as_parent())
    key = run_key(LOG, parents, None, vars(admission))
    return Snapshot(LOG, LOG, SCHEMA, parents, shards, ledger, None, __version__, key, details)


def _new_documents(store: Store, before: Snapshot | None, documents: Snapshot, licence: str) -> Iterator[pa.Table]:
    known = [shard for shard in (before.shards if before else ()) if shard.role.endswith("_index")]
    offered = documents.with_role("documents")
    rows = sum(shard.rows for shard in (*known, *offered))
    with store.scratch() as scratch:
        tables = (read_shard(store, shard) for shard in (*known, *offered))
        compared = Replay((_compared(table, known=index < len(known)) for index, table in enumerate(tables)), scratch)
        copies = Clusters(compared, rows=rows, scratch=scratch / "copies")
        for index, shard in enumerate(offered):
            new = pc.is_null(copies.in_shard(len(known) + index, shard.rows)["duplicate_of"])
            table = with_digests(read_shard(store, shard)).filter(new)
            columns = {"licence": pa.repeat(pa.scalar(licence), table.num_rows), **signed(table["text"], NEAR)}
            for name, column in columns.items():
                table = table.append_column(name, column)
            yield table.cast(ADMITTED)


def _compared(table: pa.Table, *, known: bool) -> pa.Table:
    """What decides between exact copies; what was admitted before stays."""
    table = table if "text_sha256" in table.column_names else with_digests(table)
    exact = table.select(["id", "text_sha256", "captured_at"])
    return index_of(exact, rank=ORIGINS.index(HUMAN_VERIFIED if known else UNKNOWN))


def with_digests(documents: pa.Table) -> pa.Table:
    """Add the column `text_sha256`."""
    return documents.append_column("text_sha256", text_digests(documents["text"]))


def is_evaluation(digests: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Say which texts belong to the evaluation split: a fact of the text, so that copies never fall apart."""
    heads = np.array([int.from_bytes(digest[-4:], "big") for digest in digests.to_pylist()], np.int64)
    return np.equal(heads % EVALUATION_SHARE, 0)


def verify(store: Store, trusted: PublicKey | None = None) -> dict[str, int]:
    """Check everything: every state signed, nothing ever removed, every shard's bytes.

    Args:
        store: Where the reservoir lies.
        trusted: The key that must have signed; by default the one that the store was started with.

    Returns:
        Counts of states, shards, documents and bytes that were verified.

    Raises:
        DamagedDataError: Something was changed, removed or swapped.
    """
    key = trusted or attestation.trusted_key(store)
    head = open_reservoir(store, key).snapshot
    states = _states(store)
    for earlier, later in zip([None, *states], states, strict=False):
        check_signature(store, later, key)
        if earlier and not set(earlier.shards) <= set(later.shards):
            raise DamagedDataError(f"{store.root}: state {later.digest} of the reservoir dropped earlier documents")
    sizes = [len(read_verified(store, shard)) for shard in head.shards]
    return {"states": len(states), "shards": len(sizes), "documents": head.details["documents"], "bytes": sum(sizes)}
