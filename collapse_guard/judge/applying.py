"""Mix a candidate again as its remedy says."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from collapse_guard.errors import GateClosed
from collapse_guard.judge.remedies import room
from collapse_guard.mix import mix

if TYPE_CHECKING:
    from collapse_guard.judge.findings import Judgement
    from collapse_guard.policy import Policy
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store


def apply_remedy(
    store: Store, candidate: Snapshot, judgement: Judgement, reservoir: Reservoir, policy: Policy
) -> Snapshot:
    """Mix a candidate again at the human share that its remedy found.

    Args:
        store: Holds the candidate; receives the new one.
        candidate: What was judged.
        judgement: What was found.
        reservoir: What it was mixed from, or a later state, whose holds then count.
        policy: What it was mixed under; a remedy only ever raises its human share.

    Returns:
        The new candidate, to be judged like any other; the old one where it is OK, or passes and cannot be bettered.

    Raises:
        GateClosed: There is no feasible remedy; says why.
        UsageError: The policy's other shares leave no room for the human share that would help.
    """
    remedy = judgement.remedy
    if judgement.passed and (remedy is None or not remedy.feasible):
        return candidate
    if remedy is None or not (remedy.feasible or Fraction(remedy.share or 0) > room(policy.mix)):
        why = "" if remedy else ": too little was measured to find one"
        told = f"{judgement.refusal()} There is no remedy to apply, and nothing was mixed again{why}"
        raise GateClosed(told, judgement.to_json())
    corpus, dump = str(candidate.details["corpus"]), str(candidate.details["dump"])
    return mix(store, reservoir, corpus, dump, policy, human_share=float(Fraction(remedy.share)))
