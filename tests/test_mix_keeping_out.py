"""Attacks: a document of the evaluation split goes into the pool in disguise."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from builders import AT, KEY, admitted, document, policy, publish_documents, table
from mixing import rows_of
from small_project import pages

from collapse_guard.measure import measure_snapshot
from collapse_guard.mix import find_leaks, mix, quoting
from collapse_guard.policy import EvaluationSplit
from collapse_guard.reservoir import EVALUATION, Rules, start
from collapse_guard.sift import sift_snapshot
from collapse_guard.snapshot import Ledger, ShardWriter, Snapshot, publish
from collapse_guard.store import LocalStore

HUMAN_TEXTS = pages(60, seed=11, words=200)
POOL_TEXTS = pages(20, seed=12, words=200)
RULES = policy(human_share=0.3)
WITHOUT = policy(human_share=0.3, evaluation_split=None)
LICENCE = "This text may be copied and given to anyone, as long as these lines stay in every copy of it. " * 3


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "guard")


@pytest.fixture
def reservoir(tmp_path):
    people = [document(f"h{number}", 200, text=text) for number, text in enumerate(HUMAN_TEXTS)]
    return admitted(LocalStore(tmp_path / "reservoir"), people)


def held_out(reservoir):
    return [row["text"] for rows in reservoir.texts(EVALUATION) for row in rows.to_pylist()]


def respaced(text):
    return "  " + text.replace(" ", "\u00a0 ").replace(". ", ".\r\n\r\n\t") + "\n"


def reworded(text, share=0.1):
    words, draw = text.split(), random.Random(3)
    for place in draw.sample(range(len(words)), round(share * len(words))):
        words[place] = "otherwise"
    return " ".join(words)


DISGUISES = {"another id": str, "changed spaces": respaced, "capitals": str.upper, "a tenth of its words": reworded}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_the_evaluation_split_is_never_mixed_in_whatever_disguise(store, reservoir, disguise):
    stolen = [document(f"x{n}", 200, text=DISGUISES[disguise](text)) for n, text in enumerate(held_out(reservoir))]
    honest = [document(f"p{n}", 200, text=text) for n, text in enumerate(POOL_TEXTS)]
    documents = publish_documents(store, [table([*honest, *stolen])])
    sift_snapshot(store, measure_snapshot(store, documents, RULES), RULES)

    candidate = mix(store, reservoir, "web", "2026-01", RULES)

    names = {row["id"] for row in rows_of(store, candidate)}
    assert len(stolen) >= 3
    assert not names & {row["id"] for row in stolen}
    assert names >= {row["id"] for row in honest}
    assert find_leaks(store, candidate, reservoir, RULES).count == 0


def mixed_of(store, reservoir, texts, rules):
    offered = [document(f"p{number}", 200, text=text) for number, text in enumerate(texts)]
    sift_snapshot(store, measure_snapshot(store, publish_documents(store, [table(offered)]), rules), rules)
    candidate = mix(store, reservoir, "web", "2026-01", rules)
    return candidate, {row["id"]: row["rule"] for row in rows_of(store, candidate, "selection")}


@pytest.mark.parametrize("rules", [RULES, WITHOUT], ids=["default", "off"])
def test_a_copy_with_a_tenth_of_its_words_changed_passes_only_where_the_policy_says_off(store, reservoir, rules):
    stolen = list(map(reworded, held_out(reservoir)))

    candidate, fate = mixed_of(store, reservoir, stolen, rules)

    guarding = candidate.details["evaluation_split"]
    assert guarding == ({"n": 8, "share": 0.2} if rules is RULES else None)
    assert {fate[f"p{number}"] for number in range(len(stolen))} == ({"evaluation_overlap"} if guarding else {None})
    assert find_leaks(store, candidate, reservoir, rules).count == 0
    assert find_leaks(store, candidate, reservoir, RULES).count == (0 if guarding else len(stolen))


def test_what_several_documents_of_the_reservoir_hold_is_no_quotation(store, tmp_path):
    people = [document(f"h{number}", 300, text=f"{text}\n{LICENCE}") for number, text in enumerate(HUMAN_TEXTS)]
    reservoir = admitted(LocalStore(tmp_path / "licensed"), people)

    _, fate = mixed_of(store, reservoir, [f"{text[:200]} {LICENCE}" for text in POOL_TEXTS], RULES)

    assert "evaluation_overlap" not in fate.values()


def test_a_reservoir_document_that_quotes_the_split_is_refused_too(store, reservoir):
    words = held_out(reservoir)[0].split()
    people = [
        document(f"q{n}", 200, text=" ".join(words[:90] + text.split()[90:])) for n, text in enumerate(POOL_TEXTS)
    ]
    grown = admitted(reservoir.store, people[:1])
    quoting_human = {row["id"] for rows in grown.texts("human") for row in rows.to_pylist()} & {"q0"}

    _, fate = mixed_of(store, grown, POOL_TEXTS[1:], RULES)

    assert {fate[name] for name in quoting_human} == {"evaluation_overlap"}
    assert quoting_human


def test_a_large_split_is_looked_for_in_parts_and_a_larger_one_by_a_sample(reservoir, monkeypatch):
    stolen = list(map(reworded, held_out(reservoir)))
    texts = lambda: [quoting.Texts(pa.chunked_array([[*stolen, *POOL_TEXTS]]), np.zeros(len(stolen) + 20, bool))]  # noqa: E731
    split = EvaluationSplit()
    [whole] = quoting.find_quotations(reservoir, split, texts)
    monkeypatch.setattr(quoting, "TOKENS_PER_PART", 300)
    monkeypatch.setattr(quoting, "MOST_PARTS", 1000)

    [parts] = quoting.find_quotations(reservoir, split, texts)
    monkeypatch.setattr(quoting, "MOST_PARTS", 2)
    [sample] = quoting.find_quotations(reservoir, split, texts)

    assert whole.tolist() == parts.tolist() == sample.tolist() == [True] * len(stolen) + [False] * 20


@pytest.mark.parametrize("disguise", DISGUISES)
def test_the_check_finds_what_a_forged_candidate_hides(store, reservoir, disguise):
    """It reads the rows; what the manifest states does not matter to it."""
    texts = [*POOL_TEXTS, DISGUISES[disguise](held_out(reservoir)[0])]
    rows = table([document(f"p{number}", 200, text=text) for number, text in enumerate(texts)])
    writer = ShardWriter(store, "documents")
    writer.write(rows)
    ledger = Ledger(len(texts), len(texts))
    forged = Snapshot("web/candidate/f", "candidate", "s", (), tuple(writer.close()), ledger, None, "0", "k", {})

    leaks = find_leaks(store, publish(store, forged), reservoir, RULES)

    assert (leaks.count, leaks.first) == (1, ("p20",))
    assert leaks.sentence == (
        f"21 documents were compared with {len(held_out(reservoir))} of the evaluation split: 1 leaked (first: p20)"
    )


def test_an_id_of_the_evaluation_split_is_a_leak_whatever_the_text_says(store, reservoir):
    name = next(iter(reservoir.texts(EVALUATION)))["id"][0].as_py()
    writer = ShardWriter(store, "documents")
    writer.write(table([document(name, 3, text="something else")]))
    forged = Snapshot("web/candidate/f", "candidate", "s", (), tuple(writer.close()), Ledger(1, 1), None, "0", "k", {})

    assert find_leaks(store, publish(store, forged), reservoir, RULES).first == (name,)


def test_a_copy_of_what_waits_to_be_held_out_is_refused_too(store, tmp_path):
    """A document that is admitted and not in force yet may become one of the evaluation split."""
    place = LocalStore(tmp_path / "reservoir")
    start(place, Rules(quarantine_days=30), KEY, AT)
    people = [document(f"h{number}", 200, text=text) for number, text in enumerate(HUMAN_TEXTS)]
    waiting = admitted(place, people)
    names = waiting.evaluation()["id"].to_pylist()
    stolen = [document(f"x{n}", 200, text=text) for n, text in enumerate(HUMAN_TEXTS) if f"h{n}" in names]
    documents = publish_documents(store, [table(stolen)])
    sift_snapshot(store, measure_snapshot(store, documents, RULES), RULES)

    candidate = mix(store, waiting, "web", "2026-01", RULES)

    assert stolen
    assert rows_of(store, candidate) == []
