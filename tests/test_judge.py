from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_project import ENOUGH, TOO_LITTLE, run_job

from collapse_guard.catalogue import load_policy
from collapse_guard.document import HUMAN_VERIFIED, UNKNOWN
from collapse_guard.errors import UsageError
from collapse_guard.judge import GateResult, decide_state, find_remedy, history, judge
from collapse_guard.policy import Gate, Mix, Policy
from collapse_guard.reservoir import open_reservoir
from collapse_guard.snapshot import latest
from collapse_guard.store import open_store

if TYPE_CHECKING:
    import dagster as dg
    from small_project import SmallProject

BASELINE = {"rare_coverage": 0.5, "distinct_2": 0.4, "heldout_perplexity": 400.0}


def measured(rare: float, distinct: float, perplexity: float) -> dict[str, float | None]:
    return {"rare_coverage": 0.5 * rare, "distinct_2": 0.4 * distinct, "heldout_perplexity": 400 * perplexity}


@pytest.mark.parametrize(
    ("rare", "distinct", "perplexity", "state"),
    [
        (1.0, 1.0, 1.0, "OK"),
        (0.85, 1.0, 1.0, "OK"),  # one of two is not enough
        (0.85, 0.85, 1.0, "EARLY"),
        (1.0, 1.0, 1.2, "EARLY"),
        (0.4, 0.95, 1.3, "EARLY"),  # the tail is gone, the core is not
        (0.4, 0.4, 1.3, "LATE"),
        (1.0, 1.0, 2.1, "LATE"),
    ],
)
def test_the_state_follows_from_the_distance_to_human_text(
    rare: float, distinct: float, perplexity: float, state: str
) -> None:
    assert decide_state(measured(rare, distinct, perplexity), BASELINE)[0] == state


@pytest.mark.parametrize("missing", list(BASELINE))
def test_what_was_not_measured_is_inconclusive_and_named(missing: str) -> None:
    found = {**measured(1, 1, 1), missing: None}

    state, reasons = decide_state(found, BASELINE)

    assert state == "INCONCLUSIVE"
    assert missing in reasons[0]
    assert decide_state(measured(1, 1, 1), {**BASELINE, missing: 0.0})[0] == "INCONCLUSIVE"


def share_gate(share: float, low: float) -> GateResult:
    return GateResult(
        name="human_share",
        metric="human_share",
        value=share,
        low=low,
        high=None,
        passed=share >= low,
        outside="block",
        relative=False,
        measured=share,
        baseline=None,
    )


def policy(share: float = 0.3, epochs: int = 4) -> Policy:
    gates = {"human_share": Gate(low=0.1, outside="block")}
    return Policy(name="p", mix=Mix(human_share=share, max_epochs=epochs), gates=gates)


@given(st.integers(0, 10**6), st.integers(1, 10**7), st.sampled_from([0.1, 0.3, 0.5, 0.9]))
def test_following_the_remedy_meets_the_share_with_no_token_too_many(human: int, other: int, target: float) -> None:
    tokens = {HUMAN_VERIFIED: human, UNKNOWN: other}
    gate = share_gate(human / (human + other), target)

    remedy = find_remedy(tokens, (gate,), 10**9, policy(target))

    if gate.passed:
        assert remedy is None
        return
    assert remedy is not None
    total, add, remove = human + other, remedy.human_tokens_to_add, remedy.synthetic_tokens_to_remove
    share = Fraction(str(target))
    assert Fraction(human + add, total + add) >= share
    assert Fraction(human + add - 1, total + add - 1) < share
    assert remove <= other
    assert remove == total or Fraction(human, total - remove) >= share


def test_a_remedy_that_needs_too_many_epochs_is_called_infeasible() -> None:

    remedy = find_remedy({HUMAN_VERIFIED: 10, UNKNOWN: 1000}, (share_gate(0.01, 0.1),), 10, policy())

    assert remedy is not None
    assert not remedy.feasible
    assert "NOT feasible" in remedy.sentence


def test_a_judgement_is_the_same_every_time_and_kept_for_plots(
    project: SmallProject, instance: dg.DagsterInstance
) -> None:
    assert run_job(project.definitions(), "web_release", instance, "d0").success
    store, reservoir = open_store(project.guard), open_reservoir(open_store(project.root / "reservoir"))
    rules, candidate = load_policy(project.root / "policy.yaml"), latest(store, "web/candidate/d0")
    assert candidate is not None

    first, second = (judge(store, candidate, reservoir, rules) for _ in range(2))

    assert first == second
    assert first.passed
    assert [entry["dump"] for entry in history(store, "web")] == ["d0"]
    assert history(store, "web")[0]["digest"] == candidate.digest


def test_a_candidate_mixed_under_another_policy_is_not_judged(
    project: SmallProject, instance: dg.DagsterInstance
) -> None:
    assert run_job(project.definitions(), "web_release", instance, "d0").success
    store, reservoir = open_store(project.guard), open_reservoir(open_store(project.root / "reservoir"))
    candidate = latest(store, "web/candidate/d0")
    assert candidate is not None
    project.write_policy(ENOUGH + TOO_LITTLE)

    with pytest.raises(UsageError, match="another policy"):
        judge(store, candidate, reservoir, load_policy(project.root / "policy.yaml"))
