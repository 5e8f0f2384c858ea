from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.provenance.classifier import COLUMNS, Model, Settings, train
from collapse_guard.provenance.classifier.calibration import Calibration, calibrate, conformal_p, probability
from collapse_guard.provenance.classifier.evaluation import discrimination
from collapse_guard.provenance.classifier.examples import prepare

DETECTION = Path(__file__).parents[1].parent / "shared" / "data" / "detection"
SMALL = Settings(bits=16, costs=(10.0,), min_words=20, folds=3)
BOTH = "the a of in and to water stone river day light house time hand year night road field voice door".split()
ONLY = {
    "human": "mud grumble soggy yonder blimey kettle thatch gob".split(),
    "synthetic": "delve tapestry crucial landscape foster testament vibrant realm".split(),
}


def texts(kind: str, count: int, seed: int = 0, words: int = 60) -> pa.Table:
    """Texts that share most of their words with those of the other kind."""
    draw = np.random.default_rng([seed, kind == "synthetic"])
    vocabulary = BOTH * 3 + ONLY[kind] + BOTH[:4]
    made = {
        "id": [f"{kind}-{seed}-{i}" for i in range(count)],
        "text": [" ".join(draw.choice(vocabulary, words)) for _ in range(count)],
        "domain": [f"site{i % 4}.example" for i in range(count)],
        "language": ["en" if i % 3 else "de" for i in range(count)],
    }
    generators = {"generator": [f"model-{i % 2}" for i in range(count)]} if kind == "synthetic" else {}
    return pa.table({**made, **generators})


@pytest.fixture(scope="module")
def model() -> Model:
    return train(texts("human", 300), texts("synthetic", 200), SMALL)


def test_synthetic_texts_are_told_from_human_ones(model):
    found = {kind: model.score(texts(kind, 100, seed=1)["text"]) for kind in ONLY}

    assert found["human"].schema == COLUMNS
    assert pc.mean(found["synthetic"]["p_synthetic"]).as_py() > 0.9
    assert pc.mean(found["human"]["p_synthetic"]).as_py() < 0.1
    assert pc.mean(found["human"]["p_human_conformal"]).as_py() > 0.3


def test_the_order_of_the_rows_changes_nothing(model):
    human, synthetic = texts("human", 300), texts("synthetic", 200)
    order = np.random.default_rng(5)
    shuffled = train(human.take(order.permutation(300)), synthetic.take(order.permutation(200)), SMALL)

    assert shuffled.digest == model.digest
    assert shuffled.to_table().equals(model.to_table())


def test_another_seed_or_setting_or_text_is_another_model(model):
    human, synthetic = texts("human", 300), texts("synthetic", 200)
    others = [
        train(human, synthetic, replace(SMALL, seed=1)),
        train(human, synthetic, replace(SMALL, novelty=0.02)),
        train(human[:-1], synthetic, SMALL),
    ]

    assert len({model.digest, *(other.digest for other in others)}) == 4
    assert others[2].facts.trained_on != model.facts.trained_on == others[1].facts.trained_on


def test_a_model_survives_parquet(model):
    sink = pa.BufferOutputStream()
    pq.write_table(model.to_table(), sink)
    again = Model.from_table(pq.read_table(pa.BufferReader(sink.getvalue())))
    scored = texts("human", 30, seed=2)["text"]

    assert again.digest == model.digest
    assert again.settings == model.settings
    assert again.facts == model.facts
    assert again.score(scored).equals(model.score(scored))


def changed(model: Model, **columns: object) -> pa.Table:
    row = {**model.to_table().to_pylist()[0], **columns}
    return pa.Table.from_pylist([row], model.to_table().schema)


def test_a_model_that_was_changed_is_not_read(model):
    row = model.to_table().to_pylist()[0]
    for columns in (
        {"weights": [weight * 2 for weight in row["weights"]]},
        {"human": [[], *row["human"][1:]]},
        {"facts": row["facts"].replace('"least_coverage":0.', '"least_coverage":1.')},
    ):
        with pytest.raises(DamagedDataError, match="is not the one that its digest"):
            Model.from_table(changed(model, **columns))


def test_a_table_that_is_no_model_is_not_read(model):
    buckets = model.to_table().to_pylist()[0]["buckets"]
    for table in (pa.table({"a": [1]}), model.to_table()[:0]):
        with pytest.raises(DamagedDataError, match="is no classifier"):
            Model.from_table(table)
    for columns in ({"facts": "{"}, {"buckets": [2**31, *buckets[1:]]}, {"weights": [1.0, 2.0]}):
        with pytest.raises(DamagedDataError, match="cannot be read"):
            Model.from_table(changed(model, **columns))


def test_a_model_with_other_ngrams_must_be_trained_again(model):
    facts = json.loads(model.to_table()["facts"][0].as_py()) | {"features": 0}
    with pytest.raises(UsageError, match="version 0"):
        Model.from_table(changed(model, facts=json.dumps(facts)))


def test_it_abstains_on_short_texts(model):
    found = model.score(pa.array(["", None, "?! …", "delve " * 19, "\x00" * 500]))

    assert found["abstained"].to_pylist() == ["too_short"] * 5
    assert found["p_synthetic"].null_count == found["p_human_conformal"].null_count == 5


def test_it_abstains_on_texts_unlike_all_that_it_was_trained_on(model):
    french = "Les enfants jouaient près du vieux moulin pendant que leur grand-mère préparait une soupe épaisse. " * 3
    noise = "qzx vkj wpf " * 40

    assert model.score(pa.array([french, noise, "漢字かな" * 200]))["abstained"].to_pylist() == ["novel"] * 3


def test_it_abstains_on_languages_that_it_was_not_trained_on(model):
    text = texts("human", 1, seed=3)["text"][0].as_py()
    found = model.score(pa.array([text] * 4), pa.array(["en", "de", "fr", None]))

    assert found["abstained"].to_pylist() == [None, None, "language", "language"]


def test_languages_do_not_count_where_training_named_none():
    made = [texts(kind, 100).drop_columns(["language"]) for kind in ONLY]
    text = texts("human", 1, seed=3)["text"]

    assert train(*made, SMALL).score(text, pa.array(["fr"]))["abstained"].to_pylist() == [None]


def test_there_must_be_a_language_for_every_text(model):
    with pytest.raises(UsageError, match="1 languages for 2 texts"):
        model.score(pa.array(["a", "b"]), pa.array(["en"]))


def test_chunks_and_slices_score_as_the_whole(model):
    column = texts("synthetic", 40, seed=4)["text"].combine_chunks()
    parts = pa.chunked_array([column[:7], column[7:7], column[7:]])

    assert model.score(parts).equals(model.score(column))
    assert model.score(column[5:9]).equals(model.score(column).slice(5, 4))
    assert model.score(column[:0]).num_rows == 0


def test_a_large_text_and_odd_characters_are_scored(model):
    text = texts("human", 1, seed=3)["text"][0].as_py()
    found = model.score(pa.array([text + " and" * 12_500_000, text.replace(" ", "\x00"), text], pa.large_string()))

    assert found["abstained"].to_pylist()[1:] == [None, None]
    assert found["p_synthetic"][1] == found["p_synthetic"][2]


def test_no_probability_is_beyond_the_cap(model):
    confident = replace(model, facts=model.facts._replace(least_coverage=0.0))
    found = confident.score(pa.array(["delve tapestry " * 30, "mud grumble " * 30]))

    assert found["p_synthetic"].to_pylist() == pytest.approx([0.99, 0.01])


def test_too_few_texts_of_a_class_are_refused_with_numbers():
    with pytest.raises(UsageError, match="50 different texts of at least 20 words of each class; 49 synthetic ones"):
        train(texts("human", 80), texts("synthetic", 49), SMALL)
    with pytest.raises(UsageError, match=r"0 human ones are left, without .* 80 too_short"):
        train(texts("human", 80, words=19), texts("synthetic", 80), SMALL)
    with pytest.raises(UsageError, match="0 human ones"):
        train(texts("human", 0), texts("synthetic", 80), SMALL)


def test_a_missing_column_is_named():
    with pytest.raises(UsageError, match="The synthetic texts have no column 'domain'"):
        train(texts("human", 80), texts("synthetic", 80).drop_columns(["domain"]), SMALL)


def test_a_text_of_both_classes_is_not_used_and_copies_are_used_once():
    human, synthetic = texts("human", 100), texts("synthetic", 100)
    mixed = pa.concat_tables([synthetic, human[:7].append_column("generator", pa.nulls(7, pa.string())), synthetic[:3]])
    report = train(human, mixed, SMALL).facts.report

    assert report["texts"] == {"human": 93, "synthetic": 100}
    assert report["removed"] == {"in_both_classes": 14, "copy": 3, "beyond_max_documents": 0, "too_short": 0}


def test_every_row_is_used_or_counted():
    human = pa.concat_tables([texts("human", 120), texts("human", 20, words=5), texts("human", 10)])
    examples = prepare(human, texts("synthetic", 100), replace(SMALL, max_documents=90))

    assert examples.table.num_rows + sum(examples.removed.values()) == 250
    assert examples.removed["beyond_max_documents"] == 140 - 90 + 10


def test_more_texts_than_wanted_are_chosen_by_the_seed():
    human, synthetic = texts("human", 200), texts("synthetic", 100)
    chosen = [
        set(prepare(human, synthetic, replace(SMALL, max_documents=60, seed=seed)).table["id"].to_pylist())
        for seed in (0, 0, 1)
    ]

    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 120


def test_texts_of_a_group_are_never_split():
    groups = [
        table.append_column("group", pa.array([f"g{i // 10}" for i in range(100)]))
        for table in map(texts, ONLY, (100, 100))
    ]
    examples = prepare(*groups, SMALL)
    folds: dict[str, set[int]] = {}
    for group, fold in zip(examples.table["group"].to_pylist(), examples.folds.tolist(), strict=True):
        folds.setdefault(group, set()).add(fold)

    assert examples.grouped_by == "group"
    assert {len(found) for found in folds.values()} == {1}
    assert max(np.bincount(examples.folds)) - min(np.bincount(examples.folds)) <= 20


def test_domains_are_held_out_whole_where_there_are_enough():
    tables = [texts(kind, 100) for kind in ONLY]

    assert prepare(*tables, SMALL).grouped_by == "domain"
    assert prepare(*tables, replace(SMALL, folds=5)).grouped_by == "text"


def test_groups_that_hold_all_of_a_class_are_refused():
    human, synthetic = (texts(kind, 60) for kind in ONLY)
    with pytest.raises(UsageError, match="a class is gone"):
        train(human, synthetic.append_column("group", pa.array(["ours"] * 60)), SMALL)


def test_the_report_says_how_good_the_model_is_elsewhere(model):
    report = model.facts.report

    assert report["cost"] == 10.0
    assert report["held_out"]["auc"] > 0.95
    assert [entry["domain"] for entry in report["domain_left_out"]] == [f"site{i}.example" for i in range(4)]
    assert [(entry["generator"], entry["synthetic"]) for entry in report["generator_left_out"]] == [
        ("model-0", 100),
        ("model-1", 100),
    ]
    assert sum(entry["human"] for entry in report["by_length"]) == 300
    for by, values in (("domain", 4), ("language", 2), ("length", 1)):
        entries = [entry for entry in report["human_slices"] if entry["by"] == by]
        assert len(entries) == values
        assert sum(entry["texts"] for entry in entries) == 300
        assert sum(entry["flagged"] for entry in entries) <= 3


def test_the_cost_with_the_highest_auc_is_taken():
    report = train(texts("human", 100), texts("synthetic", 100), replace(SMALL, costs=(0.001, 10.0))).facts.report
    best = max(report["costs"], key=lambda tried: (tried["auc"], -tried["cost"]))

    assert report["cost"] == best["cost"]
    assert report["held_out"]["auc"] == best["auc"]


def test_classes_that_cannot_be_told_apart_say_nothing():
    human, other = texts("human", 150), texts("human", 150, seed=9)
    found = train(human, other, SMALL).score(texts("human", 50, seed=10)["text"])["p_synthetic"].to_numpy()

    assert np.all(np.abs(found - 0.5) < 0.25)


@pytest.mark.parametrize("wrong", [{"bits": 22}, {"min_words": 0}, {"cap": 0.5}, {"costs": ()}, {"folds": 1}, {"a": 1}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=60), st.lists(st.floats(-60, 60), min_size=1, max_size=9))
def test_p_values_are_those_of_the_definition(people, asked):
    by = Calibration((np.sort(people), np.zeros(0), np.zeros(0)), 1.0, 0.0)
    found = conformal_p(np.array(asked), np.full(len(asked), 50), by)

    assert found.tolist() == [(1 + sum(x >= s for x in people)) / (len(people) + 1) for s in asked]


def test_p_values_of_human_texts_are_uniform():
    draw = np.random.default_rng(0)
    rates = []
    for _ in range(200):
        by = Calibration((np.sort(draw.normal(size=199)), np.zeros(0), np.zeros(0)), 1.0, 0.0)
        rates.append((conformal_p(draw.normal(size=200), np.full(200, 50), by) <= 0.05).mean())

    assert np.mean(rates) == pytest.approx(0.05, abs=0.005)


def test_texts_are_compared_with_human_texts_of_their_length():
    by = Calibration((np.array([5.0, 6.0]), np.array([0.0, 1.0, 2.0]), np.zeros(0)), 1.0, 0.0)
    found = conformal_p(np.array([3.0, 3.0, 3.0]), np.array([60, 150, 250]), by)

    assert found.tolist() == [1.0, 0.25, 1.0]


def test_the_texts_of_the_calibration_do_not_count_against_themselves():
    people = np.arange(100.0)
    by = Calibration((people, np.zeros(0), np.zeros(0)), 1.0, 0.0)

    assert (conformal_p(people, np.full(100, 50), by, own=1) <= 0.01).sum() == 1


@settings(max_examples=50)
@given(st.floats(0.2, 20), st.floats(0, 6), st.integers(0, 100))
def test_probabilities_are_calibrated(scale, distance, seed):
    draw = np.random.default_rng(seed)
    synthetic = draw.random(2000) < 0.3
    logits = scale * (draw.normal(size=2000) + distance * synthetic)
    by = calibrate(logits, np.full(2000, 60), synthetic)
    found = probability(logits, by, 0.999)

    # Both kinds weighted alike: the mean probability is one half.
    assert (found[synthetic].mean() + found[~synthetic].mean()) / 2 == pytest.approx(0.5, abs=0.01)
    assert np.all(np.diff(found[np.argsort(logits)]) >= 0)


def test_log_odds_that_point_the_wrong_way_give_one_half():
    synthetic = np.arange(200) < 100
    by = calibrate(np.where(synthetic, -1.0, 1.0), np.full(200, 60), synthetic)

    assert probability(np.array([-5.0, 5.0]), by, 0.99).tolist() == [0.5, 0.5]


def test_discrimination_counts_ties_half():
    labels = np.array([False, True, False, True])

    assert discrimination(np.array([0.0, 0.0, 1.0, 2.0]), labels)["auc"] == (0.5 + 0 + 1 + 1) / 4
    assert discrimination(np.zeros(4), labels) == {"human": 2, "synthetic": 2, "auc": 0.5, "found": 0.0}
    assert discrimination(np.zeros(2), np.array([True, True])) == {
        "human": 0,
        "synthetic": 2,
        "auc": None,
        "found": None,
    }


@pytest.mark.shared
def test_assistants_are_told_from_people_on_real_pairs():
    if not DETECTION.exists():
        pytest.skip("../shared/data/detection is not there")
    pairs = pq.read_table(DETECTION / "fast_detect_gpt.parquet", filters=[("domain", "==", "xsum")])
    pairs = pairs.append_column("id", pc.binary_join_element_wise(pairs["label"], pairs["pair_id"], "/"))
    index = pc.utf8_slice_codeunits(pairs["pair_id"], -4)  # the same article for every generator
    pairs = pairs.append_column("group", index)
    human = pairs.filter(pc.equal(pairs["label"], "human"))
    synthetic = pairs.filter(pc.is_in(pairs["generator"], pa.array(["gpt-3.5-turbo", "gpt-4"])))
    report = train(human, synthetic, Settings(costs=(10.0,))).facts.report

    assert report["grouped_by"] == "group"
    assert report["held_out"]["auc"] > 0.97
