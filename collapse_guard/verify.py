"""Verify a release offline, from the first signature to the last byte, and say what that does not prove."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.release.accounting import take_account
from collapse_guard.release.chain import read_chain
from collapse_guard.release.notices import notices_for
from collapse_guard.release.opening import released_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from collapse_guard.attestation import PublicKey
    from collapse_guard.release.accounting import Account, Progress
    from collapse_guard.release.chain import Release
    from collapse_guard.release.notices import Notice
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

UNPROVEN = (
    (
        "that this is the newest release: whoever can write to the store can take the newest ones away, and what is "
        "left verifies; compare number and digest with a copy kept elsewhere"
    ),
    "that a text was written by a human: the origins are what evidence said under the named policy",
    "that the measured numbers are right: they are signed, not measured again; `judge` measures the same bytes anew",
    "that the signer is who you think: the keys are named by their digests; compare those with the signer",
)
"""What no verification of a store by itself can show."""


@dataclass(frozen=True)
class Verified:
    """A release that verified, and what was found on the way; `trusted` names the keys whose signatures count."""

    release: Release
    account: Account
    notices: tuple[Notice, ...]
    trusted: tuple[str, ...]

    def to_json(self, now: datetime | None = None) -> dict[str, Any]:
        """The result in the form of `verify --json`; `now` tells which overrides have lapsed."""
        entry, account = self.release, self.account
        return {
            "name": entry.corpus,
            "dump": entry.dump,
            "number": entry.number,
            "digest": entry.digest,
            "released_at": entry.statement["released_at"],
            "policy_digest": entry.statement["policy_digest"],
            "state": entry.statement["judgement"]["state"],
            "passed": entry.statement["judgement"]["passed"],
            "overrides": [one.to_json(now) for one in entry.overrides],
            "ledger": entry.statement["ledger"],
            "steps": [dict(step) for step in account.steps],
            "shares": dict(account.shares),
            "merkle_root": account.root.hex(),
            "tree_size": account.size,
            "shards": account.shards,
            "bytes": account.bytes,
            "trusted": list(self.trusted),
            "recalled": [notice.sentence for notice in self.notices],
            "proofs": [proof.to_json() for proof in account.proofs],
            "unproven": list(UNPROVEN),
        }


def find_release(store: Store, corpus: str, keys: Sequence[PublicKey], wanted: str) -> Release:
    """The release that a number, or the beginning of a digest, names.

    Args:
        store: Where the releases lie.
        corpus: Whose releases.
        keys: The only keys whose signatures count.
        wanted: Its number, or at least 6 hexadecimal digits.

    Returns:
        The release; the newest of those that released the same bytes again.

    Raises:
        UsageError: No release is named so.
    """
    chain = read_chain(store, corpus, keys)
    digests = [entry for entry in chain if len(wanted) >= 6 and entry.digest.startswith(wanted)]  # noqa: PLR2004
    found = [entry for entry in chain if str(entry.number) == wanted] or digests
    if not found:
        have = ", ".join(f"{entry.number} ({entry.digest[:12]})" for entry in chain) or "none"
        raise UsageError(f"{store.root}: {corpus!r} has no release {wanted!r}; there are: {have}")
    return found[-1]


def verify_release(
    store: Store,
    entry: Release,
    keys: Sequence[PublicKey],
    *,
    document: str | None = None,
    each: Callable[[Sequence[bytes]], object] | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Verify a release whose signature and place in the chain are verified already.

    Every shard of every step is hashed, every ledger counted from rows, the shares added up from rows, and the Merkle
    root computed anew; all of it must be what was signed.

    Args:
        store: Where it lies.
        entry: From `read_chain` or `find_release`.
        keys: The only keys whose signatures count.
        document: An id whose place to prove.
        each: Takes the leaves of the tree, in order.
        progress: Told how far this is.

    Returns:
        What was found.

    Raises:
        DamagedDataError: Something is not what was signed.
        UsageError: No document has the wanted id.
    """
    snapshot = released_snapshot(store, entry)
    account = take_account(store, snapshot, document=document, each=each, progress=progress)
    _compare(entry, snapshot, account)
    if document is not None and not account.proofs:
        raise UsageError(f"release {entry.number} of {entry.corpus!r}: no document has the id {document!r}")
    if not all(proof.holds(account.size, account.root) for proof in account.proofs):
        raise DamagedDataError(f"release {entry.number} of {entry.corpus!r}: a document's proof leads to another root")
    notices = tuple(notices_for(store, entry, keys))
    return Verified(entry, account, notices, tuple(key.keyid for key in keys))


def _compare(entry: Release, snapshot: Snapshot, account: Account) -> None:
    said = entry.statement
    found = {
        "ledger": snapshot.ledger.to_json(),
        "shares": dict(account.shares),
        "steps": [dict(step) for step in account.steps],
        "parents": [vars(parent) for parent in snapshot.parents],
        "documents": {"merkle_root": account.root.hex(), "tree_size": account.size},
        "dump": snapshot.details["dump"],
    }
    for name, value in found.items():
        if said[name] != value:
            raise DamagedDataError(
                f"release {entry.number} of {entry.corpus!r}: signed as {name} was {json.dumps(said[name])}, "
                f"the rows say {json.dumps(value)}"
            )


def corpora(store: Store) -> list[str]:
    """The corpora of which something was released, sorted."""
    return sorted({key.split("/")[1] for key in store.list("releases/")})
