"""What is refused at admission, and on which side of the split a document falls."""

from __future__ import annotations

import json
from itertools import combinations, permutations

import numpy as np
import pyarrow as pa
import pytest
from builders import ADMISSION, AT, KEY, admitted, document, numbered, publish_documents, table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_project import pages
from watermarked import write_ring

from collapse_guard.errors import UsageError
from collapse_guard.reservoir import EVALUATION, HUMAN, Checks, admit, open_reservoir, verify
from collapse_guard.store import LocalStore

RESIDUE = "As an AI language model, I cannot share personal opinions about this. The market opens at nine."
PAGES = pages(40, seed=5, words=120)


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "store")


def offered(store, documents, name="delivery"):
    return publish_documents(store, [table(documents)], corpus="inbox", dump=name)


def texts(documents, prefix="d"):
    return [document(f"{prefix}{number}", 100, text=text) for number, text in enumerate(documents)]


def sides(reservoir):
    return {
        name: split
        for split in (HUMAN, EVALUATION)
        for rows in reservoir.index(split)
        for name in rows["id"].to_pylist()
    }


def altered(text, count, seed=0):
    """The text with some of its words replaced, spread evenly."""
    words = text.split()
    for place in np.linspace(0, len(words) - 1, count).astype(int):
        words[place] = f"other{seed}"
    return " ".join(words)


def shingles(text, n=5):
    words = text.lower().split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def similarity(one, other):
    ours, theirs = shingles(one), shingles(other)
    return len(ours & theirs) / len(ours | theirs)


def test_documents_that_claim_to_be_human_but_carry_evidence_of_a_model_are_refused_by_reason(store):
    declared = json.dumps({"html_meta": {"generator": "ChatGPT"}, "ai_generated": True})
    everything = [
        *texts(PAGES[:5]),
        document("residue", text=RESIDUE, claimed_origin="human"),
        document("declared", text="A page about gardens.", metadata=declared, claimed_origin="human"),
    ]

    state = admit(store, offered(store, everything), ADMISSION, KEY, AT)

    reasons = state.ledger.to_json()["dropped"]
    assert reasons.get("refused:residue") == 1
    assert set(sides(open_reservoir(store))) & {"residue"} == set()
    assert state.ledger.kept + sum(reasons.values()) == 7


def test_claiming_that_every_row_is_human_admits_none_that_is_not(store):
    claims = [document(f"r{n}", text=f"{RESIDUE} It is day {n}.", claimed_origin="human") for n in range(20)]

    state = admit(store, offered(store, claims), ADMISSION, KEY, AT)

    assert state.ledger.to_json()["dropped"] == {"refused:residue": 20}
    assert open_reservoir(store).tokens == 0
    assert verify(store)["documents"] == 0


def test_an_equal_text_is_refused_wherever_it_stands(store, monkeypatch):
    """One copy is declared synthetic, the other one claims nothing: the text is the same."""
    found = pa.array(["refused:declared", None])
    monkeypatch.setattr("collapse_guard.reservoir.checking.refusals", lambda *_: found)
    both = [document("b", text="the same"), document("a", text="the same")]

    state = admit(store, offered(store, both), ADMISSION, KEY, AT)

    assert state.ledger.to_json()["dropped"] == {"refused:declared": 2}


def test_near_copies_of_text_known_to_be_a_models_are_refused(store):
    known = offered(store, texts([PAGES[0], "four words and more"], "m"), "known")
    human = texts([altered(PAGES[0], 2), "four words and more", *PAGES[1:6]])

    state = admit(store, offered(store, human), ADMISSION, KEY, AT, checks=Checks(synthetic=known))

    assert state.ledger.to_json()["dropped"] == {"refused:near_synthetic": 2}
    assert set(sides(open_reservoir(store))) == {f"d{n}" for n in range(2, 7)}


def test_what_was_compared_is_part_of_the_state_and_of_what_a_retry_finds(store, tmp_path):
    ring = write_ring(tmp_path)
    documents = offered(store, texts(PAGES[:3]))
    admit(store, documents, ADMISSION, KEY, AT)

    state = admit(store, documents, ADMISSION, KEY, AT, checks=Checks(keys=ring))
    again = admit(store, documents, ADMISSION, KEY, AT, checks=Checks(keys=ring))

    assert state.details["event"]["checks"]["evidence"]["watermarks"]["ring"]
    assert again == state
    with pytest.raises(UsageError, match="key ring cannot be read"):
        admit(store, documents, ADMISSION, KEY, AT, checks=Checks(keys=tmp_path / "missing.yaml"))


def test_near_copies_are_kept_on_one_side_or_dropped_as_asked(store):
    admitted(store, texts(PAGES[:20], "a"))
    before = sides(open_reservoir(store))
    copies = offered(store, texts([altered(text, 2) for text in PAGES[:20]], "b"))

    dropped = admit(store, copies, ADMISSION, KEY, AT, checks=Checks(near_copies="drop"))
    kept = admit(store, copies, ADMISSION, KEY, AT)

    assert dropped.ledger.to_json()["dropped"] == {"near_duplicate": 20}
    assert kept.ledger.kept == 20
    after = sides(open_reservoir(store))
    assert {name: after[name] for name in before} == before
    assert all(after[f"b{n}"] == before[f"a{n}"] for n in range(20))
    assert {*before.values()} == {HUMAN, EVALUATION}


def test_a_document_that_is_nearly_the_same_as_others_on_both_sides_is_not_admitted(store):
    splits = sides(admitted(store, texts(PAGES, "a")))
    human = next(name for name in splits if splits[name] == HUMAN)
    held_out = next(name for name in splits if splits[name] == EVALUATION)
    words = [PAGES[int(name[1:])] for name in (human, held_out)]
    long_words = [" ".join([text] * 1) for text in words]
    between = " ".join(long_words)
    near_both = offered(store, [document("x", text=words[0], url="u")], "x")

    state = admit(store, near_both, ADMISSION, KEY, AT)

    assert state.ledger.to_json()["dropped"] == {"duplicate": 1}
    assert similarity(between, words[0]) < 0.7


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_two_documents_of_which_85_in_100_word_sequences_agree_lie_on_different_sides(tmp_path_factory, data):
    base = data.draw(st.lists(st.sampled_from(PAGES), min_size=1, max_size=3, unique=True))
    edits = data.draw(st.lists(st.tuples(st.sampled_from(base), st.integers(0, 6), st.integers(0, 3)), max_size=12))
    everything = texts([*base, *(altered(*edit) for edit in edits)])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(everything)), max_size=2)))
    store = LocalStore(tmp_path_factory.mktemp("store"))

    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(everything)], strict=True)):
        admit(store, offered(store, everything[start:stop], f"part{number}"), ADMISSION, KEY, AT)

    found = sides(open_reservoir(store))
    kept = {row["id"]: row["text"] for row in everything if row["id"] in found}
    for one, other in combinations(kept, 2):
        if similarity(kept[one], kept[other]) > 0.85:
            assert found[one] == found[other]


def test_the_order_in_which_documents_are_offered_changes_no_side(tmp_path):
    some = [PAGES[0], altered(PAGES[0], 2), altered(PAGES[0], 3, 1), PAGES[1]]
    found = []
    for number, order in enumerate(permutations(texts(some))):
        reservoir = admitted(LocalStore(tmp_path / str(number)), order)
        found.append((sides(reservoir), reservoir.snapshot.details["tokens"]))

    assert all(one == found[0] for one in found)


def test_a_document_between_two_clusters_of_different_sides_is_dropped(store, monkeypatch):
    from collapse_guard.reservoir.sides import Place

    both = Place(frozenset({HUMAN, EVALUATION}), known=True)
    monkeypatch.setattr("collapse_guard.reservoir.sides.Sides._place", lambda *_: both)

    state = admit(store, offered(store, numbered("x", [1, 1])), ADMISSION, KEY, AT)

    assert state.ledger.to_json()["dropped"] == {"near_both_splits": 2}
