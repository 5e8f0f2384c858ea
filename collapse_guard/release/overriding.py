"""Sign an override, and find those that let a refused candidate pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collapse_guard import attestation
from collapse_guard.errors import DamagedDataError, GateClosed, UsageError
from collapse_guard.judge import history
from collapse_guard.mix import find_leaks
from collapse_guard.release.chain import entry_key
from collapse_guard.release.overrides import (
    PREDICATE,
    STATE,
    Override,
    closed_by,
    find_fault,
    never_open,
    read_override,
    still_closed,
    subjects_of,
)
from collapse_guard.yaml_lines import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from collapse_guard.attestation import PublicKey, SigningKey
    from collapse_guard.judge import Judgement
    from collapse_guard.policy import Policy
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

MAX_NAMED = 5


def overrides_prefix(corpus: str) -> str:
    """Where a corpus' overrides lie: among the statements that a rotation of keys keeps valid."""
    return f"attestations/overrides/{corpus}/"


def override(
    store: Store,
    candidate: Snapshot,
    *,
    gates: Sequence[str],
    by: str,
    because: str,
    until: datetime,
    key: SigningKey,
    at: datetime,
) -> Override:
    """Let a refused candidate pass some of its closed gates, by a signed statement; `release` then publishes it.

    Args:
        store: Holds the candidate and its judgement; receives the statement.
        candidate: The only one that may pass, under the policy that it was mixed under.
        gates: The closed gates that may be passed; the state is spelt `state`.
        by: Who says so.
        because: Why.
        until: Until when it may be released so; at most 90 days after `at`.
        key: Signs; the store must trust it.
        at: When.

    Returns:
        The override, read back.

    Raises:
        UsageError: The candidate was not judged, a gate is unknown, open, or can never be overridden, who or why is
            missing, the time is too long or over, or the key is not trusted.
    """
    fault = find_fault(gates, by, because, at, until)
    if fault:
        raise UsageError(f"no override of {candidate.digest[:12]} was signed: {fault}")
    judged = _judged(store, candidate)
    for name in gates:
        _check_closed(name, candidate, judged)
    attestation.trust(store, key.public, at)
    said = {
        "corpus": candidate.details["corpus"],
        "dump": candidate.details["dump"],
        "snapshot": vars(candidate.as_parent()),
        "policy_digest": candidate.policy_digest,
        "gates": sorted({*gates}),
        "by": by,
        "because": because,
        "at": at.isoformat(),
        "until": until.isoformat(),
    }
    return _append(store, said, key)


def _judged(store: Store, candidate: Snapshot) -> Mapping[str, Any]:
    found = (one for one in history(store, str(candidate.details["corpus"])) if one["digest"] == candidate.digest)
    judged = next(found, None)
    if judged is None:
        raise UsageError(
            f"candidate {candidate.digest[:12]} was not judged, or is not the newest of its dump; run "
            "`collapse-guard judge`, and override what it finds closed"
        )
    return judged


def _check_closed(name: str, candidate: Snapshot, judged: Mapping[str, Any]) -> None:
    closed, never = closed_by(judged), never_open(judged)
    known = {STATE: "block"} | {gate["name"]: gate["outside"] for gate in judged["gates"]}
    if name not in known:
        raise UsageError(f"gate {name!r} is unknown to the policy of {candidate.digest[:12]}; {suggest(name, known)}")
    if name in never:
        raise UsageError(f"{name} of {candidate.digest[:12]} can never be overridden: {never[name]}")
    if name not in closed:
        why = "only warns" if known[name] == "warn" else "is open"
        raise UsageError(
            f"{name} {why} for {candidate.digest[:12]}, so there is nothing to override; closed: "
            f"{', '.join(closed) or 'nothing'}"
        )


def _append(store: Store, said: Mapping[str, Any], key: SigningKey) -> Override:
    corpus, keys = str(said["corpus"]), attestation.trusted_keys(store)
    while True:
        before = read_overrides(store, corpus, keys)
        place = {"number": len(before) + 1, "previous": before[-1].sha256 if before else None}
        envelope = attestation.sign(key, subjects_of(said), PREDICATE, {**said, **place})
        if store.put_if_absent(entry_key(overrides_prefix(corpus), len(before) + 1), envelope) == "created":
            return read_overrides(store, corpus, keys)[len(before)]


def read_overrides(store: Store, corpus: str, keys: PublicKey | Sequence[PublicKey]) -> list[Override]:
    """Read a corpus' overrides, oldest first, each verified; whether one holds is not asked here.

    Args:
        store: Where they lie.
        corpus: The corpus' name.
        keys: The only keys whose signatures count.

    Returns:
        The overrides; none where nothing was overridden.

    Raises:
        DamagedDataError: One is unsigned, changed, missing, or does not follow the one before it.
    """
    found: list[Override] = []
    for number, name in enumerate(store.list(overrides_prefix(corpus)), start=1):
        one = read_override(store.read(name), keys, name, f"{store.root}: {name}")
        if (one.number, one.previous) != (number, found[-1].sha256 if found else None):
            raise DamagedDataError(f"{name} does not follow the override before it: one was removed or moved")
        found.append(one)
    return found


def find_passing(
    store: Store, candidate: Snapshot, judgement: Judgement, mixed: tuple[Reservoir, Policy], at: datetime
) -> tuple[Override, ...]:
    """The overrides that let a candidate pass.

    Args:
        store: Where they lie.
        candidate: What was judged.
        judgement: What was found.
        mixed: The reservoir and the policy that it was mixed from and under.
        at: When.

    Returns:
        Those that hold; none where every gate is open.

    Raises:
        GateClosed: Something is closed and not overridden, can never be, or the evaluation split leaked.
        DamagedDataError: An override is unsigned or was changed.
    """
    if judgement.passed:
        return ()
    others, holding = _sorted_out(store, candidate, judgement.policy_digest, at)
    left = still_closed(judgement.to_json(), holding)
    if left:
        told = f" Overrides that do not let it pass: {'; '.join(others[-MAX_NAMED:])}." if others else ""
        why = f" Still closed: {'; '.join(left)}." if holding else ""
        raise GateClosed(f"{judgement.refusal()}{why}{told}", judgement.to_json())
    reservoir, policy = mixed
    leaks = find_leaks(store, candidate, reservoir.at(candidate.parents[0]), policy)
    if leaks.count:
        raise GateClosed(f"{judgement.refusal()} No override lets this pass: {leaks.sentence}.", judgement.to_json())
    return tuple(holding)


def _sorted_out(store: Store, candidate: Snapshot, policy: str, at: datetime) -> tuple[list[str], list[Override]]:
    """Why some overrides of a corpus do not hold for a candidate, and those that do."""
    corpus = str(candidate.details["corpus"])
    if not any(store.list(overrides_prefix(corpus))):
        return [], []
    keys = attestation.trusted_keys(store)
    retired = {key.keyid for key in keys if key.retired}
    others, holding = [], []
    for one in read_overrides(store, corpus, keys):
        why_not = one.why_not(candidate.digest, policy, at)
        if not {*one.signers} - retired:
            why_not = f"was signed by key {one.signers[0][:16]}, which is retired"
        if why_not:
            others.append(f"{one.key} (by {one.by}) {why_not}")
        else:
            holding.append(one)
    return others, holding
