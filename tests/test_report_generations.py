from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from small_project import pages

from collapse_guard.catalogue import load_policy
from collapse_guard.judge import Yardstick
from collapse_guard.metrics import Profile
from collapse_guard.policy import Judging
from collapse_guard.report.generations import candidate_frequencies, origins, rank_frequency
from collapse_guard.reservoir import open_reservoir
from collapse_guard.snapshot import latest
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from small_project import SmallProject


def profile(texts: list[str], name: str) -> Profile:
    ids = [f"{name}{number}" for number in range(len(texts))]
    return Profile.of(pa.table({"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.large_string())}))


def yardstick() -> Yardstick:
    human = profile(pages(400, seed=1), "h")
    return Yardstick.from_profiles(human, profile(pages(50, seed=2), "e"), Judging(tokens=8000, draws=20))


def test_the_curves_are_shares_of_as_many_words_on_both_sides_and_fall() -> None:
    curves = rank_frequency(profile(pages(120, seed=3), "c"), yardstick())

    assert set(curves) == {"corpus", "reservoir"}
    for ranks, shares in curves.values():
        assert len(ranks) == len(shares) <= 120
        assert ranks[0] == 1
        assert (shares[1:] <= shares[:-1]).all()
        assert shares[-1] == 1 / 8000


def test_a_corpus_of_few_words_ends_at_a_lower_rank() -> None:
    curves = rank_frequency(profile(pages(120, seed=3, vocabulary=200), "c"), yardstick())

    assert curves["corpus"].ranks[-1] < curves["reservoir"].ranks[-1] / 2


def test_an_empty_corpus_has_no_curves() -> None:
    assert rank_frequency(profile([], "c"), yardstick()) == {}


def test_a_candidate_is_ranked_and_its_origins_counted_without_its_text(released_project: SmallProject) -> None:
    store = LocalStore(released_project.guard)
    candidate = latest(store, "web/candidate/d0")
    assert candidate
    reservoir = open_reservoir(LocalStore(released_project.root / "reservoir"))
    policy = load_policy(released_project.root / "policy.yaml")

    curves = candidate_frequencies(store, candidate, reservoir, policy)
    made = origins(store, "web")

    assert set(curves) == {"corpus", "reservoir"}
    assert [entry["dump"] for entry in made] == ["d0"]
    assert set(made[0]["tokens"]) == {"human_verified", "unknown"}
    assert origins(store, "elsewhere") == []
