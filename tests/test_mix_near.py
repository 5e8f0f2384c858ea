"""Near-copies in the mix: across dumps, of the reservoir, and of its evaluation split."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from builders import admitted, document, policy, publish_documents, table
from small_project import pages

from collapse_guard.measure import measure_snapshot
from collapse_guard.mix import find_leaks, mix
from collapse_guard.policy import Dedup, EvaluationSplit, Mix, Near
from collapse_guard.reservoir import EVALUATION, HUMAN, is_evaluation
from collapse_guard.reservoir.sides import Place
from collapse_guard.sift import sift_snapshot
from collapse_guard.snapshot import read_rows
from collapse_guard.store import LocalStore

HUMAN_TEXTS = pages(60, seed=11, words=200)
POOL_TEXTS = pages(20, seed=12, words=200)


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "guard")


@pytest.fixture
def reservoir(tmp_path):
    return admitted(LocalStore(tmp_path / "reservoir"), documents("h", HUMAN_TEXTS))


def documents(prefix, texts):
    return [document(f"{prefix}{number}", 200, text=text) for number, text in enumerate(texts)]


def almost(text):
    """Another text of which more than nine tenths of the word 5-grams are the same."""
    words = text.split()
    return " ".join([*words[:-2], "quite", "otherwise."])


def texts_of(reservoir, split):
    return {row["id"]: row["text"] for rows in reservoir.texts(split) for row in rows.to_pylist()}


def candidate(store, reservoir, dumps, rules):
    for dump, offered in dumps.items():
        sift_snapshot(
            store, measure_snapshot(store, publish_documents(store, [table(offered)], dump=dump), rules), rules
        )
    return mix(store, reservoir, "web", max(dumps), rules)


def selection(store, snapshot):
    return {row["id"]: row for rows in read_rows(store, snapshot.with_role("selection")) for row in rows.to_pylist()}


def test_a_near_copy_in_a_later_dump_names_the_document_that_stays(store, reservoir):
    rules = policy(human_share=0.3)
    near = document("z", 200, text=almost(POOL_TEXTS[3]))

    rows = selection(
        store, candidate(store, reservoir, {"2026-01": documents("p", POOL_TEXTS), "2026-02": [near]}, rules)
    )

    assert (rows["z"]["rule"], rows["z"]["duplicate_of"]) == ("near_duplicate", "p3")
    assert rows["z"]["cluster"] == rows["p3"]["cluster"] is not None
    assert rows["z"]["similarity"] > 0.85
    assert rows["p3"]["rule"] is None


def test_the_order_in_which_dumps_were_sifted_changes_nothing(tmp_path, reservoir):
    rules = policy(human_share=0.3)
    dumps = {
        "2026-01": documents("a", POOL_TEXTS[:10]),
        "2026-02": documents("b", map(almost, POOL_TEXTS[:5])),
        "2026-03": documents("c", map(almost, POOL_TEXTS[5:10])),
    }

    digests = {
        candidate(LocalStore(tmp_path / "".join(order)), reservoir, {dump: dumps[dump] for dump in order}, rules).digest
        for order in permutations(dumps)
    }

    assert len(digests) == 1


@pytest.mark.parametrize("near", [Near(), Near(bands=20, rows=5, ngram=3)])
def test_a_near_copy_of_the_reservoir_gives_way_to_it(store, reservoir, near):
    rules = replace(policy(human_share=0.3), dedup=Dedup(near=near))
    name, text = next(iter(texts_of(reservoir, HUMAN).items()))
    stolen = document("stolen", 200, text=almost(text))

    rows = selection(store, candidate(store, reservoir, {"2026-01": [*documents("p", POOL_TEXTS), stolen]}, rules))

    assert (rows["stolen"]["rule"], rows["stolen"]["duplicate_of"]) == ("near_duplicate", name)
    assert rows[name]["rule"] in {None, "over_budget"}


def test_documents_of_the_reservoir_never_give_way_to_each_other(store, tmp_path):
    texts = [HUMAN_TEXTS[0], almost(HUMAN_TEXTS[0]), *HUMAN_TEXTS[1:]]
    reservoir = admitted(LocalStore(tmp_path / "r"), documents("h", texts))
    rules = policy(human_share=0.9, on_exhausted="shrink_synthetic")

    rows = selection(store, candidate(store, reservoir, {"2026-01": documents("p", POOL_TEXTS)}, rules))

    guarded = [row for row in rows.values() if row["stratum"] == HUMAN]
    assert {row["rule"] for row in guarded} <= {None, "over_budget", "near_duplicate"}
    held_out = set(texts_of(reservoir, EVALUATION))
    assert all(row["duplicate_of"] in held_out for row in guarded if row["duplicate_of"])


class ByText:
    """Cuts by the text alone, as stores were cut before near-copies were kept on one side."""

    def __init__(self, tables, *_):
        list(tables)

    def of(self, _, digests):
        sides = (EVALUATION if evaluation else HUMAN for evaluation in is_evaluation(digests))
        return [Place(frozenset({side}), known=False) for side in sides]


def near_the_split(reservoir):
    """The reservoir again, with near-copies of its evaluation split, which fall on its side."""
    more = documents("n", map(almost, texts_of(reservoir, EVALUATION).values()))
    return admitted(reservoir.store, more)


def test_a_near_copy_of_the_evaluation_split_is_never_mixed_be_it_scraped_or_human(store, reservoir):
    scraped = documents("s", map(almost, texts_of(reservoir, EVALUATION).values()))
    grown = near_the_split(reservoir)
    rules = policy(human_share=0.5, on_exhausted="shrink_synthetic")

    mixed = candidate(store, grown, {"2026-01": [*documents("p", POOL_TEXTS), *scraped]}, rules)

    rows = selection(store, mixed)
    assert {name for name in texts_of(grown, EVALUATION) if name.startswith("n")}
    assert all(rows[row["id"]]["rule"] == "near_duplicate" for row in scraped)
    assert find_leaks(store, mixed, grown, rules).count == 0


@pytest.mark.parametrize("wanted", [None, EvaluationSplit(n=13, share=0.01)])
def test_a_quotation_of_the_evaluation_split_is_refused_where_the_policy_asks(store, reservoir, wanted):
    quoted = " ".join(next(iter(texts_of(reservoir, EVALUATION).values())).split()[20:40])
    page = document("quotes", 200, text=f"{POOL_TEXTS[0]} As it says: {quoted}. {POOL_TEXTS[1]}")
    rules = replace(policy(), mix=Mix(human_share=0.3, evaluation_split=wanted))

    rows = selection(store, candidate(store, reservoir, {"2026-01": [*documents("p", POOL_TEXTS[2:]), page]}, rules))

    assert (rows["quotes"]["rule"] == "evaluation_overlap") == (wanted is not None)


def test_what_may_not_be_mixed_is_not_counted_as_available(store, reservoir):
    """Else a reservoir whose text is held back would be repeated without anybody asking for it."""
    grown = near_the_split(reservoir)
    rules = policy(human_share=0.7, on_exhausted="repeat", max_epochs=2)

    mixed = candidate(store, grown, {"2026-01": documents("p", POOL_TEXTS)}, rules)

    taken = [row for row in selection(store, mixed).values() if row["stratum"] == HUMAN and row["rule"] is None]
    assert mixed.details["tokens_by_stratum"][HUMAN] >= mixed.details["tokens"] * 0.7
    assert len(taken) <= len(texts_of(grown, HUMAN))
