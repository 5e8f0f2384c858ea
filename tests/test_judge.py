from __future__ import annotations

import dataclasses
import itertools
import json
from typing import TYPE_CHECKING

import pytest
from judging import GATES, JUDGING, human_yardstick, judged, pages, profile, rules, said, yardstick
from small_project import ENOUGH, TOO_LITTLE, run_job

from collapse_guard.catalogue import load_policy
from collapse_guard.document import HUMAN_VERIFIED, UNKNOWN
from collapse_guard.errors import UsageError
from collapse_guard.judge import (
    MINIMUM_DOCUMENTS,
    MINIMUM_TOKENS,
    Corpus,
    Judgement,
    history,
    judge,
    judge_profile,
)
from collapse_guard.judge.findings import OPEN
from collapse_guard.metrics import METRICS
from collapse_guard.policy import Gate
from collapse_guard.reservoir import open_reservoir
from collapse_guard.snapshot import latest
from collapse_guard.store import Store, open_store

if TYPE_CHECKING:
    import dagster as dg
    from small_project import SmallProject


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in which the baselines of this file are kept."""
    return open_store(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def fine(kept: Store) -> Judgement:
    """The judgement on human text."""
    return judged(kept, pages(300, 7), human_yardstick())


def test_human_text_is_ok_and_passes(fine: Judgement) -> None:
    assert (fine.state, fine.passed) == ("OK", True)
    assert fine.remedy is None
    assert all(gate.outcome == "inside" for gate in fine.gates)
    assert fine.against["words"] == fine.sampled_tokens == JUDGING.tokens
    assert {finding.metric for finding in fine.findings} <= set(METRICS)


def test_a_judgement_is_the_same_every_time_and_for_any_order_of_documents(kept: Store, fine: Judgement) -> None:
    again = judged(kept, pages(300, 7), human_yardstick())
    table = profile(pages(300, 7)).rows
    halves = [profile(pages(300, 7)).where((table["priority"].to_numpy() % 2) == part) for part in (0, 1)]
    merged = Corpus("d" * 64, type(halves[0]).merged(halves[::-1]), {})

    assert again == fine
    assert judge_profile(kept, merged, human_yardstick(), rules()) == fine


def test_a_judgement_is_json_and_is_read_back(fine: Judgement) -> None:
    told = json.loads(json.dumps(fine.to_json(), allow_nan=False))

    assert Judgement.from_json(told) == fine
    assert told["passed"] is True
    assert told["gates"][0].keys() >= {"name", "value", "low", "high", "passed"}


GIANT = " ".join(pages(600, 7))
BAD = {
    "nothing": [],
    "one document": pages(1, 7),
    "too few documents": pages(MINIMUM_DOCUMENTS - 1, 7, words=500),
    "too few words": [*pages(MINIMUM_DOCUMENTS, 7, words=20)],
    "all identical": pages(1, 7) * 300,
    "all empty": [""] * 300,
    "all null": [None] * 300,
    "white space": [" \n"] * 300,
    "one giant document": [GIANT],
    "one giant document among empty ones": [GIANT, *[""] * 300],
    "one word": ["word " * 120] * 300,
}
UNMEASURED = set(BAD) - {"all identical", "one word"}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_corpus_is_never_ok_and_never_passes(kept: Store, name: str) -> None:
    found = judged(
        kept,
        BAD[name],
        human_yardstick(),
        gates={**GATES, "harmless": Gate(low=-1.0, outside="block", metric="distinct_2")},
    )

    assert found.state not in OPEN
    assert not found.passed
    assert found.reasons
    if name in UNMEASURED:
        assert found.state == "INCONCLUSIVE"
        assert not any(gate.passed for gate in found.gates)
        assert all(str(MINIMUM_DOCUMENTS) in one or f"{MINIMUM_TOKENS:,}" in one for one in found.reasons)
    json.dumps(found.to_json(), allow_nan=False)


RESERVOIRS = {
    "empty": [],
    "one document": pages(1, 1),
    "smaller than the budget": pages(60, 1),
    "all identical": pages(1, 1) * 600,
    "all empty": [""] * 600,
    "all null": [None] * 600,
    "one giant document": [" ".join(pages(600, 1))],
}


@pytest.mark.parametrize("name", list(RESERVOIRS))
def test_a_bad_reservoir_certifies_nothing(kept: Store, name: str) -> None:
    found = judged(kept, pages(300, 7), yardstick(RESERVOIRS[name], pages(60, 2)))

    assert found.state not in OPEN
    assert not found.passed
    if name != "all identical":
        assert found.state == "INCONCLUSIVE"


@pytest.mark.parametrize("heldout", [[], [""] * 20, [None] * 20])
def test_an_empty_evaluation_split_certifies_nothing(kept: Store, heldout: list[str]) -> None:
    found = judged(kept, pages(300, 7), yardstick(pages(600, 1), heldout))

    assert found.state == "INCONCLUSIVE"
    assert not found.passed
    assert "heldout_perplexity" in found.reasons[0]
    assert next(gate for gate in found.gates if gate.name == "heldout_perplexity").outcome == "unmeasured"
    assert "could not be measured" in found.refusal()


def test_where_nothing_can_be_compared_the_human_share_is_still_told(kept: Store) -> None:
    gates = {"human_share": Gate(low=0.1, outside="block")}
    corpus = Corpus("d" * 64, profile([]), {HUMAN_VERIFIED: 30, UNKNOWN: 70})

    found = judge_profile(kept, corpus, human_yardstick(), rules(gates))

    assert found.metrics["human_share"] == 0.3
    assert found.gates[0].passed
    assert not found.passed


def test_text_that_repeats_itself_is_refused_with_its_gates_and_its_state(kept: Store) -> None:
    found = judged(kept, pages(20, 7) * 15, human_yardstick())

    assert found.state not in OPEN
    assert not found.passed
    assert "distinct_2" in found.refusal()
    assert f"state {found.state}" in found.refusal()


def test_another_kind_of_text_is_a_drift_and_not_collapse(kept: Store) -> None:
    found = judged(
        kept,
        [f"{a} {b}" for a, b in zip(pages(300, 7, 60, kind="x"), pages(300, 8, 60), strict=True)],
        human_yardstick(),
    )

    assert found.state == "COMPOSITION_DRIFT"
    assert not found.passed
    assert "common words" in found.reasons[0]


def test_a_gate_that_only_warns_holds_nothing_back(kept: Store) -> None:
    gates = {"rare": Gate(metric="rare_coverage", low=5.0, relative=True, outside="warn")}

    found = judged(kept, pages(300, 7), human_yardstick(), gates=gates)

    assert found.gates[0].outcome == "outside"
    assert found.passed


def test_a_slow_decline_closes_its_gate_although_the_state_is_ok(kept: Store) -> None:
    gates = {"decline": Gate(high=4.6, outside="block")}
    lost = [said(rare_coverage=1.6 * 0.98**number) for number in range(20)]

    falling = judged(kept, pages(300, 7), human_yardstick(), earlier=lost, gates=gates)
    level = judged(kept, pages(300, 7), human_yardstick(), earlier=[said(rare_coverage=1.0)] * 20, gates=gates)

    assert (falling.state, falling.passed) == ("OK", False)
    assert falling.decline["rare_coverage"] == falling.metrics["decline"]
    assert (level.state, level.passed) == ("OK", True)
    assert level.metrics["decline"] == 0


@pytest.mark.parametrize("state", ["COMPOSITION_DRIFT", "LATE", "INCONCLUSIVE"])
def test_open_gates_do_not_open_a_closed_state(fine: Judgement, state: str) -> None:
    assert not dataclasses.replace(fine, state=state).passed


def test_judging_reads_no_more_than_the_budget(kept: Store, fine: Judgement) -> None:
    first = profile(pages(300, 7))
    more = dataclasses.replace(first, rows=first.rows.slice(0, 200))

    found = judge_profile(kept, Corpus("d" * 64, more, {}), human_yardstick(), rules())

    assert found.findings == fine.findings


def test_every_gate_on_a_metric_that_is_not_there_is_closed(kept: Store) -> None:
    gates = {
        f"{kind}_{'relative' if relative else 'absolute'}": Gate(
            metric=kind, low=-1e9, high=1e9, relative=relative, outside="block"
        )
        for kind, relative in itertools.product(("psi_source", "jsd_domain", "human_share"), (True, False))
    }

    found = judged(kept, pages(300, 7), human_yardstick(), gates=gates)

    assert {gate.outcome for gate in found.gates} == {"unmeasured"}
    assert not found.passed


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
