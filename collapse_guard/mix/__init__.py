"""Combine reservoir and candidates at an exact share of tokens, accumulating over dumps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from collapse_guard.canonical import json_digest
from collapse_guard.errors import UsageError
from collapse_guard.mix.accumulation import accumulate, generation_before
from collapse_guard.mix.counting import mixable_tokens
from collapse_guard.mix.keeping_out import Leaks, find_leaks
from collapse_guard.mix.offers import Offers, read_tombstones
from collapse_guard.mix.plan import POOL, Plan, make_plan
from collapse_guard.mix.usage import USAGE
from collapse_guard.mix.writing import CANDIDATE, SELECTION, write
from collapse_guard.snapshot import Snapshot, latest, publish, resume, run_key, write_shard
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from collapse_guard.policy import Mix, Policy
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Shard
    from collapse_guard.store import Store

__all__ = [
    "CANDIDATE",
    "POOL",
    "SELECTION",
    "USAGE",
    "Leaks",
    "Offers",
    "Plan",
    "find_leaks",
    "make_plan",
    "mix",
    "mixable_tokens",
    "pool_of",
]
SCHEMA = "candidate@4"


def pool_of(store: Store, corpus: str, dump: str) -> list[Snapshot]:
    """The sifted snapshots of a dump and all before it, oldest first: the pool only grows.

    Args:
        store: Where the corpus lies.
        corpus: Its name.
        dump: The newest dump to include; dumps are ordered by name.

    Returns:
        The newest snapshot of each.

    Raises:
        UsageError: The dump itself was not sifted.
    """
    prefix = f"snapshots/{corpus}/sifted/"
    dumps = sorted({key.removeprefix(prefix).partition("/")[0] for key in store.list(prefix)})
    if dump not in dumps:
        raise UsageError(f"dump {dump!r} of {corpus!r} was not sifted; sift it first (known: {', '.join(dumps)})")
    found = (latest(store, f"{corpus}/sifted/{name}") for name in dumps if name <= dump)
    return [snapshot for snapshot in found if snapshot]


def mix(
    store: Store, reservoir: Reservoir, corpus: str, dump: str, policy: Policy, *, human_share: float | None = None
) -> Snapshot:
    """Mix the pool of a dump with the reservoir and publish the candidate; nothing is released by this.

    Args:
        store: Holds the sifted dumps; receives the candidate.
        reservoir: Verified human documents.
        corpus: The corpus' name.
        dump: The newest dump to include.
        policy: Shares, budget, and what happens when the reservoir runs out.
        human_share: More than the policy's, where a remedy asks for it.

    Returns:
        The published candidate, in order of priority: its documents, an index of them, the selection, which says for
        every offered document whether it was taken and why not, how often each document of the reservoir is used, and
        what left the pool since the generation before.

    Raises:
        UsageError: A dump of the pool was sifted by other rules; the human share is less than the policy's.
        GateClosed: A share or floor cannot be met as the policy asks, or documents left the pool without a tombstone;
            says what is missing.
    """
    pool = pool_of(store, corpus, dump)
    rules = json_digest(policy.sifting)
    other = [snapshot.name for snapshot in pool if snapshot.policy_digest != rules]
    if other:
        raise UsageError(f"{', '.join(other)}: sifted by other rules; sift again under policy {policy.name!r} first")
    wanted = _raised(policy.mix, human_share)
    before = generation_before(store, corpus, pool)
    made_from = (reservoir.snapshot, *pool, *([before] if before else []))
    parents = tuple(snapshot.as_parent() for snapshot in made_from)
    name = f"{corpus}/candidate/{dump}"
    raised = {} if wanted == policy.mix else {"human_share": wanted.human_share}
    key = run_key("candidate", parents, policy.digest, {"schema": SCHEMA, **raised})
    earlier = resume(store, name, key)
    if earlier is not None:
        return earlier
    with store.scratch() as scratch:
        left, accumulated = _accumulation(store, before, pool, policy, scratch)
        offers = Offers(store, reservoir, pool, policy, scratch)
        plan = make_plan(offers, wanted)
        written = write(store, offers, plan, newest=dump, before=before, scratch=scratch)
    details = {
        "corpus": corpus,
        "dump": dump,
        "generation": len(pool) - 1,
        **plan.details(wanted),
        **written.details,
        "accumulation": accumulated,
        "evaluation_split": _guarding(policy),
    }
    if policy.tokens:
        details["tokenizer"] = policy.tokens.sha256
    shards = (*written.shards, *left)
    snapshot = Snapshot(
        name, "candidate", SCHEMA, parents, shards, written.ledger, policy.digest, __version__, key, details
    )
    return publish(store, snapshot)


def _raised(wanted: Mix, human_share: float | None) -> Mix:
    if human_share is None or human_share == wanted.human_share:
        return wanted
    if human_share < wanted.human_share:
        raise UsageError(
            f"a human share of {human_share:g} is less than the policy's {wanted.human_share:g}: change it"
        )
    try:
        return replace(wanted, human_share=human_share)
    except ValidationError as error:
        raise UsageError(f"the policy's other shares leave no room for a human share of {human_share:g}") from error


def _guarding(policy: Policy) -> dict[str, float] | None:
    """What counts as a quotation of the evaluation split; null where the policy lets quotations pass."""
    split = policy.mix.evaluation_split
    return {"n": split.n, "share": split.share} if split else None


def _accumulation(
    store: Store, before: Snapshot | None, pool: Sequence[Snapshot], policy: Policy, scratch: Path
) -> tuple[list[Shard], dict[str, Any] | None]:
    if before is None:
        return [], None
    found = accumulate(store, before, pool, read_tombstones(policy), scratch / "accumulation")
    left = [write_shard(store, found.left, "left")] if found.left.num_rows else []
    return left, found.details()
