from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import GATES, JUDGING, judged, profile, rules, said, yardstick
from small_project import pages

from collapse_guard.document import HUMAN_VERIFIED, UNKNOWN
from collapse_guard.judge import Corpus, GateResult, Judgement, judge_profile
from collapse_guard.judge.remedies import (
    ONLY_EARLY,
    STEPS,
    Proposal,
    Reach,
    Supply,
    find_remedy,
    remixed,
    room,
    size_per_word,
)
from collapse_guard.policy import Gate, Mix, Policy, ShareBound
from collapse_guard.simulate.recursion import Dials, Workflow, recurse
from collapse_guard.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from collapse_guard.metrics import Profile
    from collapse_guard.store import Store

EMPTY = profile([])
PLENTY = Supply(EMPTY, 10**12, 10**9)


def share_gate(low: float, share: float = 0.0) -> GateResult:
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


def policy(share: float = 0.3, **mix: object) -> Policy:
    gates = {"human_share": Gate(low=0.1, outside="block")}
    return Policy(name="p", mix=Mix(**{"human_share": share, **mix}), gates=gates)


def corpus(human: int, others: int) -> dict[str, int]:
    return {HUMAN_VERIFIED: human, UNKNOWN: others}


def above(passes: float, ok: float = 2.0) -> Callable[[Proposal], Reach]:
    """A judge who lets pass what has a share, and finds OK what has another."""
    return lambda said: Reach((said.share >= Fraction(str(passes))) + (said.share >= Fraction(str(ok))))


@given(st.integers(0, 10**6), st.integers(1, 10**7), st.sampled_from([0.1, 0.3, 0.5, 0.9]))
def test_following_the_remedy_meets_the_share_with_no_token_too_many(human: int, others: int, target: float) -> None:
    share, total = Fraction(str(target)), human + others
    if Fraction(human, total) >= share:
        return

    remedy = find_remedy(corpus(human, others), (share_gate(target),), PLENTY, policy(target))

    add, remove = remedy.human_tokens_to_add, remedy.synthetic_tokens_to_remove
    assert remedy.feasible
    assert Fraction(remedy.share) == share
    assert Fraction(human + add, total + add) >= share
    assert Fraction(human + add - 1, total + add - 1) < share
    assert remedy.resulting_share == pytest.approx((human + add) / (total + add))
    assert remove <= others
    assert remove == total or Fraction(human, total - remove) >= share
    assert Fraction(human, total - remove + 1) < share
    assert remedy.reservoir_epochs == pytest.approx((human + add) / PLENTY.tokens)


@given(st.integers(0, 2_000), st.integers(1, 10**5), st.integers(1, 10**5), st.sampled_from([0.1, 0.3, 0.5, 0.9]))
def test_what_may_stay_is_all_that_the_reservoir_can_carry_and_no_token_more(
    human: int, others: int, reservoir: int, target: float
) -> None:
    share = Fraction(str(target))
    if Fraction(human, human + others) >= share:
        return
    rules = policy(target, on_exhausted="repeat", max_epochs=3)

    remedy = find_remedy(corpus(human, others), (share_gate(target),), Supply(EMPTY, reservoir, 9), rules)

    most, stays = 3 * reservoir, remedy.tokens_that_may_stay
    assert remedy.feasible == (human + remedy.human_tokens_to_add <= most)
    assert remedy.reservoir_epochs == pytest.approx((human + remedy.human_tokens_to_add) / reservoir)
    assert Fraction(most, most + stays) >= share > Fraction(most, most + stays + 1)
    assert remedy.feasible == (others <= stays)


def test_strata_and_documents_to_add_follow_the_reservoirs_own() -> None:
    supply = Supply(EMPTY, 10_000, 100, {"news": 0.75, "law": 0.25})

    remedy = find_remedy(corpus(0, 7_000), (share_gate(0.3),), supply, policy())

    assert (remedy.human_tokens_to_add, remedy.human_documents_to_add) == (3_000, 30)
    assert remedy.human_tokens_by_stratum == {"law": 750, "news": 2_250}
    assert list(remedy.human_tokens_by_stratum) == ["law", "news"]


@pytest.mark.parametrize(
    ("exhausted", "feasible", "uses"),
    [("fail", False, "allows 1"), ("repeat", True, ""), ("shrink_synthetic", True, "")],
)
def test_a_remedy_is_feasible_as_the_mix_of_the_policy_is(exhausted: str, feasible: bool, uses: str) -> None:
    rules = policy(max_epochs=4, on_exhausted=exhausted)

    remedy = find_remedy(corpus(100, 7_000), (share_gate(0.3),), Supply(EMPTY, 1_000, 10), rules)

    assert remedy.feasible == feasible
    assert uses in remedy.why
    assert ("NOT feasible" in remedy.sentence) == (not feasible)


def test_an_infeasible_remedy_says_what_is_missing_in_numbers() -> None:
    rules = policy(max_epochs=2, on_exhausted="repeat")

    remedy = find_remedy(corpus(100, 7_000), (share_gate(0.3),), Supply(EMPTY, 1_000, 10), rules)

    assert not remedy.feasible
    assert (remedy.human_tokens_to_add, remedy.reservoir_epochs, remedy.tokens_that_may_stay) == (2_900, 3.0, 4_666)
    assert "3.0 times" in remedy.why
    assert "can carry 4,666 other tokens" in remedy.why
    assert "admit 500 tokens" in remedy.why


def test_a_mix_that_shrinks_says_what_it_adds_and_what_it_leaves_out() -> None:
    rules = policy(on_exhausted="shrink_synthetic")

    remedy = find_remedy(corpus(100, 7_000), (share_gate(0.3),), Supply(EMPTY, 600, 10), rules)

    assert remedy.feasible
    assert (remedy.human_tokens_to_add, remedy.synthetic_tokens_to_remove) == (500, 5_600)
    assert remedy.resulting_share == pytest.approx(0.3, abs=1e-3)
    assert remedy.reservoir_epochs == 1.0
    assert "both together: its mix may hold 2,000 tokens" in remedy.why


def test_a_mix_of_a_fixed_size_gives_human_text_the_place_of_other_text() -> None:
    remedy = find_remedy(corpus(300, 700), (share_gate(0.5),), PLENTY, policy(tokens=1_000))

    assert (remedy.human_tokens_to_add, remedy.synthetic_tokens_to_remove) == (200, 200)
    assert "both together" in remedy.why


def test_a_gate_that_wants_nothing_but_human_text_is_met_by_nothing_else() -> None:
    seen = []

    def only_human(proposal: Proposal) -> Reach:
        seen.append(proposal)
        return Reach.OK if not proposal.others else Reach.CLOSED

    remedy = find_remedy(corpus(300, 700), (share_gate(1.0),), Supply(EMPTY, 5_000, 50), policy(), reach=only_human)

    assert (remedy.feasible, remedy.share, remedy.resulting_share) == (True, "1", 1.0)
    assert (remedy.human_tokens_to_add, remedy.synthetic_tokens_to_remove) == (4_700, 700)
    assert seen == [Proposal(Fraction(1), 5_000, 0)]


def test_an_empty_reservoir_has_no_remedy() -> None:
    remedy = find_remedy(corpus(0, 700), (share_gate(0.3),), Supply(EMPTY, 0, 0), policy())

    assert not remedy.feasible
    assert "reservoir holds no text" in remedy.sentence
    assert (remedy.human_tokens_to_add, remedy.synthetic_tokens_to_remove) == (0, 700)


def test_a_corpus_of_human_text_alone_is_not_helped_by_more_of_it() -> None:
    remedy = find_remedy(corpus(700, 0), (), PLENTY, policy(), reach=above(0.4))

    assert not remedy.feasible
    assert "another text" in remedy.why


@given(st.floats(0.31, 0.98), st.integers(1, 10**6))
def test_the_share_that_is_found_opens_and_the_step_below_does_not(threshold: float, others: int) -> None:
    human = math.ceil(Fraction(3, 7) * others)
    judge = above(threshold, threshold)

    remedy = find_remedy(corpus(human, others), (share_gate(0.1),), PLENTY, policy(), reach=judge)

    share = Fraction(remedy.share)
    realised = Fraction(human, human + others)
    below = share - Fraction(1, STEPS)
    assert remedy.feasible
    assert not remedy.why
    assert judge(Proposal(share, 0, 0)) is Reach.OK
    assert below <= realised or judge(Proposal(below, 0, 0)) is Reach.CLOSED


def test_ok_is_looked_for_first_and_a_share_that_only_passes_is_called_so() -> None:
    tokens, gates = corpus(300, 700), (share_gate(0.1),)

    fine = find_remedy(tokens, gates, PLENTY, policy(), reach=above(0.4, 0.7))
    early = find_remedy(tokens, gates, PLENTY, policy(), reach=above(0.4))
    passed = find_remedy(tokens, gates, PLENTY, policy(), reach=above(0.0), wanted=Reach.OK)

    assert (fine.feasible, fine.share, fine.why) == (True, "45/64", "")
    assert (early.feasible, early.share, early.why) == (True, "13/32", ONLY_EARLY)
    assert (passed.feasible, passed.share) == (False, "")


def test_a_share_beyond_one_use_of_the_reservoir_is_found_only_where_repeats_are_allowed() -> None:
    tokens, gates, supply = corpus(300, 700), (share_gate(0.1),), Supply(EMPTY, 700, 10)

    once, often = (
        find_remedy(tokens, gates, supply, policy(on_exhausted=what), reach=above(0.6, 0.6))
        for what in ("fail", "repeat")
    )

    assert (once.feasible, often.feasible) == (False, True)
    assert (once.share, often.share) == ("39/64", "39/64")
    assert "needs each reservoir document 1.6 times; the policy allows 1" in once.why
    assert "admit 392 tokens" in once.why


def test_repeats_that_make_it_worse_do_not_hide_a_share_that_opens() -> None:
    supply = Supply(EMPTY, 1_000, 10)

    def varied(proposal: Proposal) -> Reach:
        return Reach.OK if Fraction(4, 10) <= proposal.share and proposal.human <= 1_000 else Reach.CLOSED

    rules = policy(on_exhausted="repeat")
    remedy = find_remedy(corpus(300, 700), (share_gate(0.1),), supply, rules, reach=varied)

    assert (remedy.feasible, remedy.share) == (True, "13/32")


def test_what_was_found_in_haste_is_held_against_what_is_sure() -> None:
    asked: list[Fraction] = []

    def sure(proposal: Proposal) -> Reach:
        asked.append(proposal.share)
        return above(0.5, 0.5)(proposal)

    hasty = find_remedy(corpus(300, 700), (share_gate(0.1),), PLENTY, policy(), reach=above(0.6, 0.6), sure=sure)
    assert (hasty.share, asked) == ("39/64", [Fraction(39, 64)])

    wrong = find_remedy(corpus(300, 700), (share_gate(0.1),), PLENTY, policy(), reach=above(0.4, 0.4), sure=sure)
    assert (wrong.feasible, wrong.share) == (True, "1/2")


def test_shares_of_a_policy_that_leave_no_room_make_a_remedy_infeasible() -> None:
    rules = policy(shares={"unknown": ShareBound(low=0.6)})

    remedy = find_remedy(corpus(300, 700), (share_gate(0.1),), PLENTY, rules, reach=above(0.5, 0.5))

    assert room(rules.mix) == Fraction(4, 10)
    assert not remedy.feasible
    assert "leave room for 0.40" in remedy.why


def test_a_mix_by_documents_is_asked_for_the_share_of_documents() -> None:
    """Here a document of the reservoir has half as many tokens as another."""
    supply = Supply(EMPTY, 10**9, 10**7, weight=2.0)

    remedy = find_remedy(corpus(0, 700), (share_gate(0.5),), supply, policy(0.1, by="documents"))

    share = Fraction(remedy.share)
    assert Fraction(2, 3) <= share <= Fraction(2, 3) + Fraction(1, STEPS)
    assert remedy.resulting_share == pytest.approx(0.5)


HUMAN = profile(pages(1_200, seed=1), "human")
WORDS = 170


@cache
def collapsed(seed: int, rounds: int = 3, sharpness: int = 2) -> list[str]:
    """What models write that learned from each other."""
    dials = Dials(pages=200, sharpness=sharpness)
    human = pages(200, seed=50 + seed)
    *_, last = recurse(human, dials, workflow=Workflow.REPLACE, human_share=0.0, rounds=rounds, seed=seed)
    return list(last.written)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(tmp_path_factory.mktemp("kept"))


AGAINST = yardstick(pages(1_200, seed=1), pages(100, seed=2))
SUPPLY = Supply(HUMAN, 1_200 * WORDS, 1_200)
RULES = rules({**GATES, "human_share": Gate(low=0.1, outside="block")})


def mixed(pool: Profile, share: Fraction) -> Corpus:
    others = 200 * WORDS
    human = math.ceil(share * others / (1 - share))
    found = remixed(pool, SUPPLY, Proposal(share, human, others), others, 0)
    return Corpus("d" * 64, found, {HUMAN_VERIFIED: human, UNKNOWN: others})


def told(kept: Store, pool: Profile, share: Fraction, available: int | None = None) -> Judgement:
    return judge_profile(kept, mixed(pool, share), AGAINST, RULES, available)


def rank(judgement: Judgement) -> int:
    return judgement.passed + (judgement.passed and judgement.state == "OK")


@pytest.mark.parametrize(("seed", "rounds", "sharpness"), [(1, 3, 1), (2, 3, 2)])
def test_the_more_of_the_reservoir_is_mixed_in_the_better(
    kept: Store, seed: int, rounds: int, sharpness: int, *, long: bool
) -> None:
    pool = profile(collapsed(seed, rounds, sharpness), "c")

    ranks = [rank(told(kept, pool, Fraction(step, STEPS))) for step in range(8, 55, 1 if long else 6)]

    assert ranks == sorted(ranks)
    assert ranks[-1] == 2


@pytest.mark.parametrize(("seed", "rounds", "sharpness"), [(1, 3, 1), (2, 3, 2)])
def test_the_share_that_is_found_brings_the_state_back_to_ok_and_the_step_below_does_not(
    kept: Store, seed: int, rounds: int, sharpness: int
) -> None:
    pool = profile(collapsed(seed, rounds, sharpness), "c")
    at = Fraction(1, 5)

    refused = told(kept, pool, at, SUPPLY.tokens)

    assert refused.state != "OK"
    assert refused.remedy is not None
    share = Fraction(refused.remedy.share)
    assert refused.remedy.feasible
    assert rank(told(kept, pool, share)) == 2
    assert rank(told(kept, pool, share - Fraction(1, STEPS))) < 2


def test_a_corpus_that_is_ok_or_that_nobody_can_measure_has_no_remedy(kept: Store) -> None:
    fine = judged(kept, pages(300, seed=7), AGAINST)
    blind = judge_profile(
        kept, mixed(profile(collapsed(1), "c"), Fraction(3, 10)), yardstick(pages(600, seed=1), []), RULES, 10**6
    )

    assert (fine.state, fine.remedy) == ("OK", None)
    assert (blind.state, blind.remedy) == ("INCONCLUSIVE", None)


def test_a_remedy_for_a_decline_ends_the_decline(kept: Store) -> None:
    pool = profile(collapsed(1, 3, 1), "c")
    rules = RULES.gates | {"decline": Gate(high=4.6, outside="block")}
    earlier = [said(rare_coverage=1.2 * 0.98**number, distinct_3=1.0) for number in range(20)]
    falling = Corpus("d" * 64, mixed(pool, Fraction(3, 10)).profile, corpus(14_572, 34_000), earlier)
    strict = Policy(name="p", judging=JUDGING, gates=rules)

    refused = judge_profile(kept, falling, AGAINST, strict, SUPPLY.tokens)

    assert not refused.passed
    assert refused.decline["rare_coverage"] > 4.6
    assert refused.remedy is not None
    assert refused.remedy.feasible
    after = mixed(pool, Fraction(refused.remedy.share))
    again = judge_profile(kept, Corpus("d" * 64, after.profile, after.origin_tokens, earlier), AGAINST, strict)
    assert (again.state, again.passed) == ("OK", True)


def test_documents_that_a_mix_repeats_are_repeated_in_its_profile() -> None:
    supply = Supply(HUMAN, 1_200 * WORDS, 1_200)
    pool = profile(pages(10, seed=9), "c")
    human = 2 * supply.tokens + 50 * WORDS

    found = remixed(pool, supply, Proposal(Fraction(99, 100), human, 10 * WORDS), 10 * WORDS, 0)

    ids = found.rows["id"].to_pylist()
    uses = np.array([ids.count(f"human{number}") for number in range(1_200)])
    assert (uses.min(), uses.max(), int((uses == 3).sum())) == (2, 3, 50)
    assert len(ids) == 2 * 1_200 + 50 + 10


def test_a_larger_share_only_adds_documents_of_the_reservoir() -> None:
    pool = profile(pages(10, seed=9), "c")
    taken: set[str] = set()
    for human in range(0, 30_000, 3_000):
        proposal = Proposal(Fraction(1, 2), human, 10 * WORDS)
        rows = remixed(pool, SUPPLY, proposal, 10 * WORDS, 0).rows
        found = set(rows["id"].to_pylist())
        assert taken <= found
        taken = found
        human_rows = rows.filter(np.array([stratum == "human" for stratum in rows["stratum"].to_pylist()]))
        assert set(human_rows["origin"].to_pylist()) <= {HUMAN_VERIFIED}


def test_sizes_are_counted_as_the_mix_counts_them() -> None:
    found = profile(["one two", "three four five six"])

    assert size_per_word(found, "tokens") == 1.0
    assert size_per_word(found, "documents") == pytest.approx(2 / 6)
    assert size_per_word(found, "bytes") == pytest.approx(26 / 6)
    assert size_per_word(EMPTY, "bytes") == 0.0
