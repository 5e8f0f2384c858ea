"""What the judge says about human text, other human text, models of n-grams and the recorded runs of GPT-2."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from judging import finding, judged, profile, shared_data

from collapse_guard.judge import Yardstick, decide_state
from collapse_guard.judge.states import severity
from collapse_guard.policy import Judging
from collapse_guard.simulate.recursion import Dials, Workflow, recurse
from collapse_guard.store import Store, open_store

if TYPE_CHECKING:
    from collapse_guard.judge import Judgement

DATA = shared_data(Path(__file__))
WORDS, PAGES = 150, 300
DOMAINS = ("software docs", "literature", "proposal", "government", "handbook", "tutorial", "blog", "reference")
RESERVOIR, HELD_OUT = 0.50, 0.55
"""Up to these shares of each domain's documents: the reservoir, what is held out; corpora come from the rest."""

pytestmark = pytest.mark.shared
needs_prose = pytest.mark.skipif(
    not (DATA / "human_prose").exists(), reason="shared/data/human_prose does not lie beside this checkout"
)
needs_runs = pytest.mark.skipif(
    not (DATA / "collapse").exists(), reason="shared/data/collapse does not lie beside this checkout"
)


class People(NamedTuple):
    """Pages of corpora with their domains, and a yardstick made of pages of other documents."""

    pages: list[tuple[str, str]]
    against: Yardstick
    store: Store

    def of(self, domain: str) -> list[str]:
        return [page for page, named in self.pages if named == domain]

    def judge(self, texts: list[str], prefix: str, **labels: str | list[str]) -> Judgement:
        return judged(self.store, texts, self.against, prefix, **labels)


def read_pages(parts: int, each: int) -> dict[str, list[str]]:
    """One page of each document from a place drawn by chance, up to so many of each domain."""
    files = sorted((DATA / "human_prose").glob("*.parquet"))[:parts]
    prose = pa.concat_tables([pq.read_table(file, columns=["text", "domain"]) for file in files])
    named, random = np.array(prose["domain"].to_pylist()), np.random.default_rng(0)
    found: dict[str, list[str]] = {domain: [] for domain in DOMAINS}
    for domain, pages in found.items():
        for row in random.permutation(np.flatnonzero(named == domain)):
            words = prose["text"][int(row)].as_py()[:20_000].split()
            if len(pages) < each and len(words) >= WORDS:
                start = int(random.integers(len(words) - WORDS + 1))
                pages.append(" ".join(words[start : start + WORDS]))
            if len(pages) == each:
                break
    return found


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, long: bool) -> People:
    """Prose of eight domains; no document is on two sides."""
    human, held, corpora = [], [], []
    for domain, pages in read_pages(7 if long else 4, 800 if long else 500).items():
        ends = [round(len(pages) * share) for share in (RESERVOIR, HELD_OUT)]
        human += [(page, domain) for page in pages[: ends[0]]]
        held += pages[ends[0] : ends[1]]
        corpora += [(page, domain) for page in pages[ends[1] :]]
    reservoir = profile([page for page, _ in human], "human", domain=[domain for _, domain in human])
    against = Yardstick.from_profiles(
        reservoir, profile(held, "held"), Judging(tokens=38_000, draws=200 if long else 30)
    )
    mixed = [corpora[i] for i in np.random.default_rng(1).permutation(len(corpora))]
    return People(mixed, against, open_store(tmp_path_factory.mktemp("store")))


@needs_prose
def test_human_text_beside_human_text_is_ok_and_not_blocked(people: People, long: bool) -> None:
    draws, states, blocked = 500 if long else 20, Counter[str](), 0
    for number in range(draws):
        chosen = np.random.default_rng(number).permutation(len(people.pages))[:PAGES]
        labels = {"domain": [people.pages[i][1] for i in chosen]} if number % 2 else {}
        found = people.judge([people.pages[i][0] for i in chosen], f"h{number}-", **labels)
        states[found.state] += 1
        blocked += not found.passed

    assert blocked <= 0.01 * draws, states
    assert states["OK"] >= 0.99 * draws, states


@needs_prose
@pytest.mark.parametrize("labelled", [False, True])
def test_another_human_domain_is_a_drift_and_not_collapse(people: People, long: bool, *, labelled: bool) -> None:
    states = {}
    for domain in DOMAINS if long else DOMAINS[:4]:
        labels = {"domain": domain} if labelled else {}
        states[domain] = people.judge(people.of(domain), f"{domain}-", **labels).state

    assert set(states.values()) == {"COMPOSITION_DRIFT"}, states


def watched(people: People, workflow: Workflow, share: float, seed: int, rounds: int) -> list[tuple[str, float]]:
    """The state of each generation, and its vocabulary as a share of the first one's."""
    texts, found = [page for page, _ in people.pages], []
    first = 0
    for made in recurse(texts, Dials(pages=PAGES), workflow=workflow, human_share=share, rounds=rounds, seed=seed):
        vocabulary = len({word for page in made.texts[:PAGES] for word in page.split()})
        first = first or vocabulary
        state = people.judge(made.texts, f"{workflow}{seed}-{made.number}-").state
        found.append((state, vocabulary / first))
    return found


@needs_prose
def test_replaced_generations_are_early_at_once_and_late_before_the_vocabulary_has_halved(
    people: People, long: bool
) -> None:
    seeds, early = 50 if long else 3, 0
    for seed in range(seeds):
        found = watched(people, Workflow.REPLACE, 0.0, seed, 4)
        states = [state for state, _ in found]
        halved = next(number for number, (_, vocabulary) in enumerate(found) if vocabulary < 0.5)
        early += "EARLY" in states[1:3]

        assert states[0] == "OK", f"seed {seed}: {found}"
        assert "OK" not in states[2:], f"seed {seed}: {found}"
        assert "LATE" in states[: halved + 1], f"seed {seed}: {found}"
    assert early >= 0.95 * seeds


@needs_prose
def test_accumulating_with_as_much_human_text_is_never_late(people: People, long: bool) -> None:
    for seed in range(20 if long else 2):
        found = watched(people, Workflow.ACCUMULATE, 0.5, seed, 2)

        assert {state for state, _ in found} <= {"OK", "EARLY"}, f"seed {seed}: {found}"


BLOCKS = 3 * 500
"""Output blocks of the recorded runs: shares of them are multiples of 1/500 in each of three seeds."""


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """GPT-2 trained on its own output for four rounds; see `SOURCE.md` beside the file."""
    text = (DATA / "collapse" / "gpt2_recursive_training_3seeds.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def deviation(mean_least_most: list[float]) -> float:
    """Of the mean of three seeds, as a share of it; three normal values span 1.693 deviations (Tippett 1925)."""
    mean, least, most = mean_least_most
    return (most - least) / 1.693 / math.sqrt(3) / mean


def recorded_findings(runs: dict[str, Any], arm: str) -> dict[str, Any]:
    """A recorded arm as findings: the last round over the first, with the spread of the first over seeds."""
    before, change = runs["r0_rep4_share"][0], runs[arm]
    rare = deviation(change["rare_words_in_output_r0"])
    effects = {
        "rare_coverage": (change["chg_rare_words"][0], rare),
        "distinct_2": (change["chg_other_words"][0], rare),
        "repeated_4grams": (change["chg_rep4_share"][0], math.sqrt((1 - before) / before / BLOCKS)),
        "heldout_perplexity": (change["chg_test_ppl"][0], deviation(runs["r0_test_ppl"])),
    }
    return {name: finding(name, 1 + changed, sd) for name, (changed, sd) in effects.items()}


@needs_runs
def test_the_recorded_arms_rank_as_their_human_share_does(recorded: dict[str, Any]) -> None:
    found = {arm: severity(recorded_findings(recorded, arm)) for arm in ("replace", "orig10", "fresh10", "fresh50")}

    assert max(found, key=lambda arm: found[arm]) == "replace"
    assert min(found, key=lambda arm: found[arm]) == "fresh50"


@needs_runs
@pytest.mark.parametrize("arm", ["replace", "orig10", "fresh10", "fresh50"])
def test_every_recorded_arm_is_early_even_with_half_fresh_human_text(recorded: dict[str, Any], arm: str) -> None:
    state, reasons = decide_state(recorded_findings(recorded, arm))

    assert state == "EARLY"
    assert any("rare_coverage" in reason for reason in reasons)
