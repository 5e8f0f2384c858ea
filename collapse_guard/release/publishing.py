"""Judge a candidate and publish it, signed, in one operation on one digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard import attestation
from collapse_guard.canonical import sha256_hex
from collapse_guard.errors import GateClosed
from collapse_guard.judge import Judgement, judge
from collapse_guard.mix.profiled import check_profile
from collapse_guard.release.accounting import take_account
from collapse_guard.release.chain import PREDICATE, Release, entry_key, read_chain, releases_prefix, subjects_of
from collapse_guard.release.notices import find_held, head, read_notices, recalls_prefix
from collapse_guard.release.overriding import find_passing
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from datetime import datetime

    from collapse_guard.attestation import SigningKey
    from collapse_guard.policy import Policy
    from collapse_guard.release.accounting import Account
    from collapse_guard.release.notices import Notice
    from collapse_guard.release.overrides import Override
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store


def release(
    store: Store, candidate: Snapshot, reservoir: Reservoir, policy: Policy, *, key: SigningKey, at: datetime
) -> tuple[Release, Judgement]:
    """Judge a candidate and, where every gate is open or overridden, publish it: one operation on one digest.

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
        GateClosed: A gate refused and is not overridden, or the candidate holds what was recalled; nothing was
            published and the previous release stands.
        DamagedDataError: The candidate's bytes are not those that its manifest names, its rows not those that its
            ledger and its shares tell of, or an override was forged or changed.
    """
    _unrecalled(store, candidate)
    earlier = _released(store, candidate, policy, key, at)
    if earlier is not None:
        return earlier, Judgement.from_json(earlier.statement["judgement"])
    judgement = judge(store, candidate, reservoir, policy)
    overrides = find_passing(store, candidate, judgement, (reservoir, policy), at)
    check_profile(store, candidate)
    account = take_account(store, candidate)
    attestation.trust(store, key.public, at)
    return _publish(store, candidate, (judgement, account, overrides), key, at), judgement


def _unrecalled(store: Store, candidate: Snapshot) -> list[Notice]:
    """The recall notices of a corpus; GateClosed where the candidate holds something that one of them is about."""
    corpus = str(candidate.details["corpus"])
    if not any(store.list(recalls_prefix(corpus))):
        return []
    notices = read_notices(store, corpus, attestation.trusted_keys(store))
    held = find_held(store, candidate, notices)
    if held:
        raise GateClosed(
            f"candidate {candidate.digest[:12]} of {corpus!r} holds what was recalled: "
            f"{'; '.join(one.sentence for one in held)}. List the documents in the file that the policy's "
            "`mix.tombstones` names (those of the reservoir: `collapse-guard reservoir tombstone`), mix again, and "
            "release that; nothing was released"
        )
    return notices


def _released(store: Store, candidate: Snapshot, policy: Policy, key: SigningKey, at: datetime) -> Release | None:
    """Find the release of these bytes under this policy in the verified chain: what was signed needs no new judgement.

    Args:
        store: Holds the releases.
        candidate: What would be judged.
        policy: What it would be judged under.
        key: Who would sign, and so must be trusted.
        at: When.

    Returns:
        The release, or null; its bytes are not read here, but by everything that opens or verifies it.
    """
    corpus = str(candidate.details["corpus"])
    if not any(store.list(releases_prefix(corpus))):
        return None
    attestation.trust(store, key.public, at)
    chain = read_chain(store, corpus, attestation.trusted_keys(store))
    same = (entry for entry in chain if entry.digest == candidate.digest)
    return next((entry for entry in same if entry.statement["judgement"]["policy_digest"] == policy.digest), None)


def _publish(
    store: Store,
    candidate: Snapshot,
    found: tuple[Judgement, Account, tuple[Override, ...]],
    key: SigningKey,
    at: datetime,
) -> Release:
    judgement, account, overrides = found
    corpus = str(candidate.details["corpus"])
    keys = attestation.trusted_keys(store)
    while True:
        chain = read_chain(store, corpus, keys)
        earlier = next((entry for entry in chain if entry.digest == candidate.digest), None)
        if earlier is not None:
            return earlier
        number, prefix = len(chain) + 1, releases_prefix(corpus)
        predicate = {
            "corpus": corpus,
            "dump": candidate.details["dump"],
            "snapshot": vars(candidate.as_parent()),
            "number": number,
            "previous": sha256_hex(store.read(entry_key(prefix, len(chain)))) if chain else None,
            "recalls": head(_unrecalled(store, candidate)),
            "policy_digest": judgement.policy_digest,
            "judgement": judgement.to_json(),
            "documents": {"merkle_root": account.root.hex(), "tree_size": account.size},
            "shares": dict(account.shares),
            "ledger": candidate.ledger.to_json(),
            "steps": [dict(step) for step in account.steps],
            "parents": [vars(parent) for parent in candidate.parents],
            "overrides": [one.signed_json() for one in overrides],
            "code_version": __version__,
            "released_at": at.isoformat(),
        }
        envelope = attestation.sign(key, subjects_of(predicate), PREDICATE, predicate)
        store.put_if_absent(entry_key(prefix, number), envelope)
