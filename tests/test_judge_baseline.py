from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import JUDGING, human_yardstick, pages, profile, yardstick

from collapse_guard.judge import Yardstick
from collapse_guard.judge import baseline as baseline_module
from collapse_guard.judge.baseline import STEPS, Match, _in_steps, _round_down
from collapse_guard.metrics import METRICS, Profile, Sample, compute
from collapse_guard.metrics.profile import PASSAGE
from collapse_guard.policy import Judging
from collapse_guard.store import Store, open_store

if TYPE_CHECKING:
    from pathlib import Path

QUICK = settings(max_examples=100, deadline=None)
DOMAINS = ["law", "blog", "code", "news"]
MATCH = Match(2_000, 64, None, ())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def human_yardstick_by_domain(judging: Judging = JUDGING) -> Yardstick:
    return yardstick(pages(600, 1), pages(60, 2), judging, domain=DOMAINS * 150)


def names(of: Profile) -> set[str]:
    return set(of.rows["id"].to_pylist())


def test_the_reference_the_draws_and_what_is_held_out_share_no_document() -> None:
    found = human_yardstick()

    for one, other in itertools.combinations((found.text, found.pool, found.heldout), 2):
        assert not names(one) & names(other)
    assert len(names(found.text) | names(found.pool)) == 600
    assert 240 < len(names(found.pool)) < 360


def test_a_baseline_is_computed_once_and_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    against = human_yardstick()
    reference = against.reference(MATCH)
    first = against.baseline(store, MATCH, reference)
    monkeypatch.setattr(Yardstick, "draw", lambda *_: pytest.fail("drawn again"))

    assert against.baseline(store, MATCH, reference) == first
    assert first.match == MATCH
    assert set(first.means) == set(first.nulls)
    assert {len(null.draws) for null in first.nulls.values()} == {JUDGING.draws}


def test_another_reservoir_draws_another_baseline(store: Store) -> None:
    one, other = (yardstick(pages(200, seed), pages(20, 9)) for seed in (1, 2))
    held = yardstick(pages(200, 1), pages(20, 10))
    found = [against.baseline(store, MATCH, against.reference(MATCH)) for against in (one, other, held)]

    assert len({baseline.digest for baseline in found}) == 3
    assert found[0].means != found[1].means


@pytest.mark.parametrize("change", [{"tokens": 9_000}, {"draws": 21}])
def test_another_way_of_judging_draws_another_baseline(store: Store, change: dict[str, int]) -> None:
    against = yardstick(pages(200, 1), pages(20, 2))
    other = dataclasses.replace(against, judging=dataclasses.replace(JUDGING, **change))
    found = [one.baseline(store, MATCH, one.reference(MATCH)).digest for one in (against, other)]

    assert found[0] != found[1]


def test_draws_are_the_same_wherever_they_are_made_and_differ_from_each_other() -> None:
    against = human_yardstick()
    reference = against.reference(MATCH)
    first, second = (against.draw(MATCH, reference) for _ in range(2))

    assert first == second
    assert first.num_rows == JUDGING.draws
    assert len(set(first["rare_coverage"].to_pylist())) > JUDGING.draws / 2


def test_every_metric_of_a_sample_has_a_null_where_people_can_be_measured(store: Store) -> None:
    against = human_yardstick_by_domain()
    match = Match(8_000, 32, None, ())
    found = against.baseline(store, match, against.reference(match))

    unlabelled = {f"{kind}_{label}" for kind in ("psi", "jsd") for label in ("language", "source")}
    assert set(found.nulls) == {name for name, one in METRICS.items() if one.family != "whole"} - unlabelled


def test_a_metric_that_a_draw_could_not_give_has_no_null(store: Store) -> None:
    against = yardstick(pages(300, 1), [])
    found = against.baseline(store, MATCH, against.reference(MATCH))

    assert "heldout_perplexity" not in found.nulls
    assert "self_bleu" not in found.nulls, "a draw has too few documents"
    assert "rare_coverage" in found.nulls


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    """What metrics are computed from, as it is drawn."""
    seen: list[Sample] = []

    def spy(sample: Sample, *others: Any) -> dict[str, float | None]:
        seen.append(sample)
        return compute(sample, *others)

    monkeypatch.setattr(baseline_module, "compute", spy)
    return seen


def test_a_draw_has_the_budget_and_takes_no_document_twice(samples: list[Sample]) -> None:
    against = human_yardstick()
    against.draw(MATCH, against.reference(MATCH))

    assert len(samples) == 2 * JUDGING.draws, "composition is compared with plain draws, the rest with matched ones"
    for sample in samples:
        documents = {sample.tokens.take(np.array([i])).hashes.tobytes() for i in range(len(sample.tokens))}
        assert len(documents) == len(sample.tokens)
        assert sample.words == MATCH.budget
        assert int(sample.tokens.lengths.max()) <= MATCH.length


@pytest.mark.parametrize(("words", "length"), [(300, 128), (120, 64), (64, 64), (63, 32), (20, 16), (5, 16)])
def test_documents_are_cut_to_the_power_of_two_that_half_of_both_sides_reach(words: int, length: int) -> None:
    corpus = profile([" ".join(["w"] * words)] * 300 + ["w " * 10_000] * 100)

    assert yardstick(pages(300, 1, words=200), []).match(corpus).length == length


def test_no_document_counts_for_more_than_a_passage() -> None:
    found = yardstick(pages(300, 1, words=2_000), []).match(profile(pages(100, 0, words=2_000)))

    assert found.length == PASSAGE


@pytest.mark.parametrize(
    ("documents", "budget"), [(600, 8_000), (125, 8_000), (100, 6_400), (90, 5_700), (1, 64), (0, 0)]
)
def test_the_budget_is_that_of_the_policy_or_what_the_corpus_has_in_two_digits(documents: int, budget: int) -> None:
    assert human_yardstick().match(profile(pages(documents, 0))).budget == budget


def test_a_draw_takes_at_most_half_of_what_it_is_drawn_from() -> None:
    against = yardstick(pages(150, 1), [])
    held = int(np.minimum(against.pool.tokens.lengths, 64).sum())

    assert held / 2 * 0.9 < against.match(profile(pages(600, 0))).budget <= held / 2
    assert yardstick([], []).match(profile(pages(600, 0))).budget == 0


@given(st.integers(0, 10**9))
def test_rounding_keeps_two_digits_and_never_adds(words: int) -> None:
    rounded = _round_down(words)

    assert 0.9 * words <= rounded <= words
    assert set(str(rounded)[2:]) <= {"0"}


@QUICK
@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.001, 1), min_size=1, max_size=8),
    st.sets(st.sampled_from("abcdefgh"), min_size=1),
)
def test_shares_of_known_strata_are_twentieths_that_add_up(shares: dict[str, float], known: set[str]) -> None:
    found = dict(_in_steps(shares, known))
    total = sum(share for value, share in shares.items() if value in known)

    assert set(found) <= known & set(shares)
    assert sum(found.values()) == (STEPS if total else 0)
    assert all(abs(found.get(value, 0) - STEPS * shares[value] / total) < 1 for value in known & set(shares))


def test_strata_are_matched_where_a_corpus_says_what_it_is() -> None:
    against = human_yardstick_by_domain(Judging(tokens=3_500, draws=20))
    found = against.match(profile(pages(200, 0), domain=["law"] * 120 + ["blog"] * 80))

    assert found.label == "domain"
    assert dict(found.shares) == {"law": pytest.approx(12, abs=1), "blog": pytest.approx(8, abs=1)}
    assert sum(dict(found.shares).values()) == STEPS


@pytest.mark.parametrize(
    "domain",
    [
        pytest.param(DOMAINS * 50, id="as in the reservoir"),
        pytest.param([None] * 200, id="unlabelled"),
        pytest.param(["forum"] * 200, id="labelled in other words"),
    ],
)
def test_one_plain_baseline_serves_where_strata_are_alike_or_do_not_compare(domain: list[str | None]) -> None:
    found = human_yardstick_by_domain().match(profile(pages(200, 0), domain=domain))

    assert (found.label, found.shares) == (None, ())


def test_strata_are_not_matched_where_the_pool_has_too_little_of_one() -> None:
    few = yardstick(pages(600, 1), [], domain=["law"] * 570 + ["blog"] * 30)

    assert few.match(profile(pages(200, 0), domain="blog")).label is None


def test_matched_draws_have_the_shares_of_the_corpus_but_for_composition(samples: list[Sample]) -> None:
    against = human_yardstick_by_domain()
    match = Match(3_000, 64, "domain", (("blog", 15), ("law", 5)))
    against.draw(match, against.reference(match))

    found = [sample.shares("domain") for sample in samples]
    matched = [shares for shares in found if len(shares) == 2]
    assert len(matched) == len(found) / 2 == JUDGING.draws
    for shares in matched:
        assert shares == {"blog": pytest.approx(0.75, abs=0.05), "law": pytest.approx(0.25, abs=0.05)}


def widened(store: Store, match: Match) -> float:
    """By which factor a variance is widened because the reservoir is finite."""
    against = human_yardstick_by_domain()
    null = against.baseline(store, match, against.reference(match)).nulls["distinct_1"]
    return null.sd**2 / float(np.var(null.draws, ddof=1)) / (1 + 1 / len(null.draws))


def test_the_null_is_wider_where_a_stratum_is_nearly_used_up(store: Store) -> None:
    pool = human_yardstick_by_domain().pool
    words = np.minimum(pool.tokens.lengths, 64)
    share, of_law = (2_000 / int(words[chosen].sum()) for chosen in (words > 0, is_law(pool)))

    plain = widened(store, Match(2_000, 64, None, ()))
    every = widened(store, Match(2_000, 64, "domain", tuple((name, 5) for name in sorted(DOMAINS))))
    alone = widened(store, Match(2_000, 64, "domain", (("law", 20),)))

    assert plain == pytest.approx((1 + share) / (1 - share))
    assert every == pytest.approx(plain, rel=0.05)
    assert alone == pytest.approx((1 + of_law) / (1 - of_law))


def is_law(pool: Profile) -> np.ndarray:
    return np.array([domain == "law" for domain in pool.rows["domain"].to_pylist()])
