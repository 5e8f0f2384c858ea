"""Release a candidate with a signed verdict for exactly its bytes, and open nothing else."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from collapse_guard import attestation
from collapse_guard.canonical import sha256_hex
from collapse_guard.errors import DamagedDataError, GateClosed
from collapse_guard.judge import Judgement, judge
from collapse_guard.snapshot import LOG_DIGITS, Parent, Snapshot, find_digest, latest, read_shard, read_verified
from collapse_guard.store import Store, open_store
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    import pandas as pd

    from collapse_guard.attestation import PublicKey, SigningKey, Statement
    from collapse_guard.policy import Policy
    from collapse_guard.reservoir import Reservoir

PREDICATE = "https://collapse-guard.dev/release/v1"
OnClosed = Literal["fail", "last_good"]


@dataclass(frozen=True)
class Release:
    """One entry of a release log, its signature and its place in the chain verified."""

    number: int
    corpus: str
    dump: str
    snapshot: Parent
    statement: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The digest of the released snapshot."""
        return self.snapshot.digest


def release(
    store: Store, candidate: Snapshot, reservoir: Reservoir, policy: Policy, *, key: SigningKey, at: datetime
) -> tuple[Release, Judgement]:
    """Judge a candidate and, where every gate is open, publish it: one operation on one digest.

    Args:
        store: Holds the candidate; receives the release.
        candidate: What to release.
        reservoir: The reservoir that it was mixed from.
        policy: The policy that it was mixed under.
        key: Signs the verdict; the store must trust it.
        at: When, for the signed statement.

    Returns:
        The release, new or found, and the judgement that was signed with it. Bytes that were released under this
        policy before are neither read nor judged again.

    Raises:
        GateClosed: A gate refused; nothing was published and the previous release stands.
        DamagedDataError: The candidate's bytes are not those that its manifest names.
    """
    earlier = _released(store, candidate, policy, key.public)
    if earlier is not None:
        return earlier, Judgement.from_json(earlier.statement["judgement"])
    judgement = judge(store, candidate, reservoir, policy)
    if not judgement.passed:
        raise GateClosed(judgement.refusal(), judgement.to_json())
    for shard in candidate.shards:
        read_verified(store, shard)
    attestation.trust(store, key.public)
    return _publish(store, candidate, judgement, key, at), judgement


def _released(store: Store, candidate: Snapshot, policy: Policy, key: PublicKey) -> Release | None:
    """Find the release of these bytes under this policy in the verified chain: what was signed needs no new judgement.

    Args:
        store: Holds the releases.
        candidate: What would be judged.
        policy: What it would be judged under.
        key: The only key whose signature counts.

    Returns:
        The release, or null; its bytes are not read here, but by everything that opens or verifies it.
    """
    corpus = str(candidate.details["corpus"])
    if not any(store.list(f"releases/{corpus}/")):
        return None
    attestation.trust(store, key)
    same = (entry for entry in read_chain(store, corpus, key) if entry.digest == candidate.digest)
    return next((entry for entry in same if entry.statement["judgement"]["policy_digest"] == policy.digest), None)


def _publish(store: Store, candidate: Snapshot, judgement: Judgement, key: SigningKey, at: datetime) -> Release:
    corpus = str(candidate.details["corpus"])
    while True:
        chain = read_chain(store, corpus, key.public)
        found = next((entry for entry in chain if entry.digest == candidate.digest), None)
        if found is not None:
            return found
        number = len(chain) + 1
        previous = sha256_hex(store.read(_key(corpus, len(chain)))) if chain else None
        predicate = {
            "corpus": corpus,
            "dump": candidate.details["dump"],
            "snapshot": vars(candidate.as_parent()),
            "number": number,
            "previous": previous,
            "judgement": judgement.to_json(),
            "ledger": candidate.ledger.to_json(),
            "shares": candidate.details["tokens_by_origin"],
            "parents": [vars(parent) for parent in candidate.parents],
            "code_version": __version__,
            "released_at": at.isoformat(),
        }
        envelope = attestation.sign(key, {candidate.name: candidate.digest}, PREDICATE, predicate)
        store.put_if_absent(_key(corpus, number), envelope)


def _key(corpus: str, number: int) -> str:
    return f"releases/{corpus}/{number:0{LOG_DIGITS}d}.json"


def read_chain(store: Store, corpus: str, key: PublicKey) -> list[Release]:
    """Read a corpus' releases, oldest first, each verified.

    Args:
        store: Where they lie.
        corpus: The corpus' name.
        key: The only key whose signature counts.

    Returns:
        The releases; none where nothing was released.

    Raises:
        DamagedDataError: An entry is missing, unsigned, changed, or does not follow the one before it.
    """
    chain: list[Release] = []
    previous = None
    for number, name in enumerate(store.list(f"releases/{corpus}/"), start=1):
        envelope = store.read(name)
        statement = attestation.verify(envelope, key, f"{store.root}: {name}")
        chain.append(_checked(statement, corpus, number, previous, name))
        previous = sha256_hex(envelope)
    return chain


def _checked(statement: Statement, corpus: str, number: int, previous: str | None, name: str) -> Release:
    said = statement.predicate
    expected = {"corpus": corpus, "number": number, "previous": previous}
    if statement.predicate_type != PREDICATE or any(said.get(key) != value for key, value in expected.items()):
        raise DamagedDataError(f"{name} does not follow the release before it: an entry was removed or moved")
    snapshot = Parent(**said["snapshot"])
    if statement.subjects != {snapshot.name: snapshot.digest} or not said["judgement"]["passed"]:
        raise DamagedDataError(f"{name} is signed, but not as a release of {snapshot.name}")
    return Release(number, corpus, str(said["dump"]), snapshot, said)


class ReleasedCorpus:
    """A released corpus: every byte is verified before anything of it is handed out."""

    def __init__(self, store: Store, entry: Release, snapshot: Snapshot) -> None:
        self._store = store
        self.release = entry
        self.snapshot = snapshot

    def __repr__(self) -> str:
        return f"ReleasedCorpus({self.release.corpus!r}, dump={self.release.dump!r}, digest={self.digest[:12]!r})"

    @property
    def digest(self) -> str:
        """SHA-256 of the released snapshot."""
        return self.release.digest

    @property
    def ledger(self) -> dict[str, Any]:
        """What was mixed and what was not, by reason."""
        return self.snapshot.ledger.to_json()

    def tables(self) -> Iterator[pa.Table]:
        """Stream the documents, shard by shard, each verified before it is handed out."""
        return (read_shard(self._store, shard) for shard in self.snapshot.with_role("documents"))

    def to_arrow(self) -> pa.Table:
        """The whole corpus as one table, in memory."""
        return pa.concat_tables(self.tables())

    def to_pandas(self) -> pd.DataFrame:
        """The whole corpus as an Arrow-backed data frame, in memory."""
        import pandas as pd  # noqa: PLC0415 - takes over a second to import

        frame: pd.DataFrame = self.to_arrow().to_pandas(types_mapper=pd.ArrowDtype)
        return frame

    def files(self) -> list[Path]:
        """Paths of the documents' Parquet files, verified now; who reads them later reads what lies there then."""
        shards = self.snapshot.with_role("documents")
        for shard in shards:
            read_verified(self._store, shard)
        return [Path(self._store.root) / shard.key for shard in shards]


def open_release(
    root: str | Path,
    name: str,
    *,
    dump: str | None = None,
    on_closed: OnClosed = "fail",
    trusted: Path | None = None,
) -> ReleasedCorpus:
    """Open a released corpus; what was not released cannot be opened.

    Args:
        root: The guard's root.
        name: The corpus.
        dump: A dump's release; by default that of the newest dump.
        on_closed: What to do when the newest candidate was not released: `fail`, or `last_good` to get the last
            release before it, with a warning.
        trusted: A PEM file with the public key to trust; by default the key that the store was started with.

    Returns:
        The corpus; the signature, the chain and the manifest are verified now, each shard when it is read.

    Raises:
        GateClosed: Nothing was released, or the newest candidate was not.
        DamagedDataError: Something was changed, removed or forged.
    """
    store = open_store(root)
    if not any(store.list(f"releases/{name}/")):
        raise GateClosed(f"{store.root}: nothing was released under {name!r}; only released corpora can be opened")
    key = attestation.load_public_key(trusted) if trusted else attestation.trusted_key(store)
    chain = [entry for entry in read_chain(store, name, key) if dump in {None, entry.dump}]
    if not chain:
        raise GateClosed(f"{store.root}: dump {dump!r} of {name!r} was not released")
    newest = latest(store, f"{name}/candidate/{dump or _newest_dump(store, name, chain)}")
    of_newest = [entry for entry in chain if newest and entry.digest == newest.digest]
    entry = max(of_newest or chain, key=lambda entry: (entry.dump, entry.number))
    closed = None if of_newest or not newest else f"{store.root}: the newest candidate {newest.name!r} was not released"
    if closed and on_closed == "fail":
        raise GateClosed(
            f"{closed}; pass on_closed='last_good' to open release {entry.number} of {entry.dump!r} instead"
        )
    if closed:
        warnings.warn(f"{closed}: opening release {entry.number} of {entry.dump!r} instead", stacklevel=2)
    snapshot = find_digest(store, entry.snapshot)
    if snapshot.policy_digest != entry.statement["judgement"]["policy_digest"]:
        raise DamagedDataError(
            f"{store.root}: release {entry.number} was judged under another policy than it was mixed"
        )
    return ReleasedCorpus(store, entry, snapshot)


def _newest_dump(store: Store, name: str, chain: list[Release]) -> str:
    prefix = f"snapshots/{name}/candidate/"
    mixed = (key.removeprefix(prefix).partition("/")[0] for key in store.list(prefix))
    return max([*mixed, *(entry.dump for entry in chain)])
