"""A regression test of the promise: a model retrained on its own output trips the judge, a mixed one does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from judging import judged, yardstick

from collapse_guard.judge.findings import OPEN
from collapse_guard.policy import Judging
from collapse_guard.simulate.human_text import read_human_text
from collapse_guard.simulate.recursion import Dials, Workflow, cut_pages, recurse
from collapse_guard.store import Store, open_store

if TYPE_CHECKING:
    from collapse_guard.judge import Judgement, Yardstick

WORDS, ROUNDS = 100, 3
DIALS = Dials(pages=200, sharpness=2)
SEVERITY = {"OK": 0, "EARLY": 1, "INCONCLUSIVE": 2, "LATE": 3}


class People(NamedTuple):
    """Human pages that a model may learn from, and the yardstick made of others."""

    pages: list[str]
    against: Yardstick
    store: Store


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    """Prose that every machine has, cut into pages; each document gives pages to one side only."""
    texts = read_human_text(1_600_000)["text"].to_pylist()
    documents = [list(cut_pages([texts[i]], WORDS)) for i in np.random.default_rng(0).permutation(len(texts))]
    first, second = round(len(documents) * 0.45), round(len(documents) * 0.52)
    human, held, corpus = (
        [page for pages in part for page in pages]
        for part in (documents[:first], documents[first:second], documents[second:])
    )
    against = yardstick(human, held, Judging(tokens=16_000, draws=20))
    return People(corpus, against, open_store(tmp_path_factory.mktemp("store")))


def generations(people: People, seed: int, *, human_share: float) -> list[Judgement]:
    """Train on human text, then on the model's own pages with a share of human documents; judge each round."""
    made = recurse(people.pages, DIALS, workflow=Workflow.REPLACE, human_share=human_share, rounds=ROUNDS, seed=seed)
    found: list[Judgement] = []
    for generation in made:
        earlier = [one.to_json() for one in found]
        prefix = f"{human_share}-{seed}-{generation.number}-"
        found.append(judged(people.store, generation.texts, people.against, prefix, earlier=earlier))
    return found


def test_a_model_trained_on_its_own_output_collapses_and_a_mixed_one_holds(people: People, long: bool) -> None:
    for seed in range(10 if long else 2):
        alone = [one.state for one in generations(people, seed, human_share=0.0)]
        mixed = [one.state for one in generations(people, seed, human_share=0.6)]

        assert alone[0] == mixed[0] == "OK", f"seed {seed}"
        assert alone[1] != "OK", f"seed {seed}: {alone}"
        assert alone[-1] == "LATE", f"seed {seed}: {alone}"
        assert [SEVERITY[state] for state in alone] == sorted(SEVERITY[state] for state in alone), f"{seed}: {alone}"
        assert set(mixed) <= set(OPEN), f"seed {seed}: {mixed}"


def test_what_collapses_is_refused_with_reasons_and_a_decline(people: People) -> None:
    last = generations(people, 100, human_share=0.0)[-1]

    assert not last.passed
    assert "rare_coverage" in last.refusal()
    assert last.metrics["decline"] is not None
    assert last.metrics["decline"] > 4.6
