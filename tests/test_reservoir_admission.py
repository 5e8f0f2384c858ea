"""What is refused at admission, and on which side of the split a document falls."""

from __future__ import annotations

import json
from itertools import combinations, permutations

import numpy as np
import pyarrow as pa
import pytest
from builders import ADMISSION, AT, KEY, admitted, document, publish_documents, table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_project import pages
from watermarked import green, marked_words, plain_words, text_of, write_ring

from collapse_guard.document import text_digests
from collapse_guard.errors import UsageError
from collapse_guard.ingest import ingest
from collapse_guard.reservoir import EVALUATION, HUMAN, Checks, admit, is_evaluation, open_reservoir, verify
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


def test_documents_with_evidence_of_a_model_are_refused_by_reason_and_the_others_admitted(store, tmp_path):
    generated = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    rows = [{"id": f"plain{seed}", "text": text_of(plain_words(200, seed))} for seed in range(8)]
    rows += [{"id": f"marked{n}", "text": text_of(marked_words(220, 90 + n, green()))} for n in range(3)]
    rows += [{"id": "declared", "text": text_of(plain_words(90, 50)), "digitalSourceType": generated}]
    rows += [{"id": "residue", "text": RESIDUE}]
    claimed = [json.dumps({**row, "claimed_origin": "human"}) for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(claimed), encoding="utf-8")
    documents = ingest(store, "inbox", "all", [str(tmp_path / "rows.jsonl")])

    state = admit(store, documents, ADMISSION, KEY, AT, checks=Checks(keys=write_ring(tmp_path, green())))

    reasons = {"refused:watermark": 3, "refused:declared": 1, "refused:residue": 1}
    assert state.ledger.to_json() == {"in": 13, "kept": 8, "review": 0, "dropped": reasons, "quarantined": {}}
    assert set(sides(open_reservoir(store))) == {f"plain{seed}" for seed in range(8)}


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
    ring = write_ring(tmp_path, green())
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


def on_side(text, place, wanted):
    """The text with some words at a place replaced, so that its digest gives it to a split."""
    words = text.split()
    for number in range(1000):
        found = " ".join([*words[:place], *(f"other{number}of{n}" for n in range(12)), *words[place + 12 :]])
        if is_evaluation(text_digests(pa.chunked_array([[found]]))).item() == (wanted == EVALUATION):
            return found
    raise AssertionError


def test_a_document_that_is_nearly_the_same_as_others_on_both_sides_is_not_admitted(store):
    between = PAGES[3]
    ends = [on_side(between, 0, HUMAN), on_side(between, len(between.split()) - 12, EVALUATION)]
    assert similarity(*ends) < 0.7 < min(similarity(between, end) for end in ends)
    assert set(sides(admitted(store, texts(ends))).values()) == {HUMAN, EVALUATION}

    state = admit(store, offered(store, [document("between", text=between)]), ADMISSION, KEY, AT)

    assert state.ledger.to_json()["dropped"] == {"near_both_splits": 1}


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
