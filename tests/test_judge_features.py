from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pictures import blurred, encoded, scene

from collapse_guard.errors import SignalError
from collapse_guard.images.features import features_of
from collapse_guard.images.reading import read_features
from collapse_guard.images.schema import ORIGINALS_ROLE
from collapse_guard.ingest import ingest
from collapse_guard.judge import describing
from collapse_guard.judge.describing import image_features, text_features
from collapse_guard.judge.evidence import Null
from collapse_guard.judge.features import METRICS, decide_features, judge_features
from collapse_guard.judge.findings import Finding
from collapse_guard.snapshot import Ledger, Snapshot, write_shard
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

HERE = "test_judge_features"
SIDE = (128, 128)
DRAWS = 40


def normal(seed: int, count: int, width: int = 8, shift: float = 0, scale: float = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (count, width))


def described(seeds: range, radius: float = 0) -> np.ndarray:
    images = (scene(seed, SIDE) for seed in seeds)
    return np.stack([features_of(np.asarray(blurred(image, radius) if radius else image)) for image in images])


@pytest.fixture(scope="module")
def human() -> np.ndarray:
    return described(range(300))


def found(**effects: float) -> dict[str, Finding]:
    """Findings with these effects, whose interval is 0.1 wide."""
    made = {
        name: Finding.of(metric, effects.get(name, 1.0), Null(1.0, 0.05 / 2.5758, (1.0,)))
        for name, metric in METRICS.items()
    }
    return {name: finding for name, finding in made.items() if finding is not None}


# The state


@pytest.mark.parametrize(
    ("effects", "state"),
    [
        ({}, "OK"),
        ({"density": 5.0}, "OK"),
        ({"frechet": 3.0}, "OK"),
        ({"coverage": 0.87}, "OK"),
        ({"coverage": 0.8}, "EARLY"),
        ({"variance": 0.8}, "EARLY"),
        ({"generalised_variance": 0.6, "frechet": 2.0, "coverage": 0.6}, "EARLY"),
        ({"variance": 0.52}, "INCONCLUSIVE"),
        ({"coverage": 0.48}, "INCONCLUSIVE"),
        ({"variance": 0.4}, "LATE"),
        ({"generalised_variance": 0.4, "coverage": 0.1, "frechet": 9.0}, "LATE"),
        ({"coverage": 0.4}, "LATE"),
        ({"coverage": 0.4, "variance": 0.8, "frechet": 3.0}, "LATE"),
        ({"coverage": 0.4, "frechet": 3.0}, "COMPOSITION_DRIFT"),
        ({"coverage": 0.7, "frechet": 1.5, "variance": 1.4}, "COMPOSITION_DRIFT"),
    ],
)
def test_the_state_is_told_by_what_is_certain(effects, state):
    assert decide_features(found(**effects))[0] == state


@pytest.mark.parametrize("name", ["coverage", "frechet", "variance", "generalised_variance"])
def test_what_could_not_be_measured_is_never_ok(name):
    findings = found()
    del findings[name]
    state, (why,) = decide_features(findings)
    assert state == "INCONCLUSIVE"
    assert why.endswith(name)


def test_the_reason_holds_the_metric_and_its_interval():
    state, reasons = decide_features(found(variance=0.4))
    assert (state, reasons) == ("LATE", ("variance is 0.40 of human draws [0.35, 0.45]",))


# Pictures


def test_pictures_of_the_same_kind_are_ok(human):
    judged = judge_features(human[200:], human[:200], draws=DRAWS)
    assert (judged.state, judged.passed, judged.documents) == ("OK", True, 50)
    assert [finding.metric for finding in judged.findings] == list(METRICS)


def test_the_same_few_pictures_again_and_again_are_late_collapse(human):
    judged = judge_features(np.tile(human[200:208], (20, 1)), human[:200], draws=DRAWS)
    assert (judged.state, judged.passed) == ("LATE", False)
    assert "generalised_variance" in judged.reasons[-1]


def test_blurred_pictures_are_others_and_not_fewer(human):
    judged = judge_features(described(range(600, 660), radius=3), human[:200], draws=DRAWS)
    assert (judged.state, judged.passed) == ("COMPOSITION_DRIFT", False)


def test_half_of_few_pictures_is_never_ok(human):
    mixed = np.concatenate([human[200:250], np.tile(human[250:254], (13, 1))])
    assert judge_features(mixed, human[:200], draws=DRAWS).state in {"EARLY", "LATE", "INCONCLUSIVE"}


# Any features


def test_human_against_human_is_never_closed():
    states = [judge_features(normal(seed, 120), normal(seed + 50, 480), draws=DRAWS).state for seed in range(8)]
    assert states == ["OK"] * 8


def test_a_tenth_of_the_variance_less_is_early_where_there_is_enough_of_it():
    judged = judge_features(normal(0, 600, scale=0.85), normal(1, 2400), draws=DRAWS)
    assert judged.state == "EARLY"
    assert any(reason.startswith("variance is 0.7") for reason in judged.reasons)


def test_features_that_lie_elsewhere_are_others():
    assert judge_features(normal(0, 100, shift=3), normal(1, 400), draws=DRAWS).state == "COMPOSITION_DRIFT"


def test_what_never_varies_in_human_documents_is_seen_to_vary():
    reference = np.hstack([normal(1, 400, 4), np.full((400, 8), 0.1)])
    colour = np.random.default_rng(3).normal(0.1, 0.01, (100, 8))
    assert judge_features(np.hstack([normal(0, 100, 4), colour]), reference, draws=DRAWS).state == "COMPOSITION_DRIFT"


def test_one_picture_that_is_far_off_changes_no_state():
    ours = normal(0, 100)
    ours[7] = 1e6
    assert judge_features(ours, normal(1, 400), draws=DRAWS).state == "OK"


def test_neither_order_counts():
    ours, theirs = normal(0, 130), normal(1, 400)
    mixed = np.random.default_rng(2).permutation
    assert judge_features(mixed(ours), mixed(theirs), draws=5) == judge_features(ours, theirs, draws=5)


def test_another_seed_makes_other_halves_and_draws():
    ours, theirs = normal(0, 130), normal(1, 400)
    first, second = (judge_features(ours, theirs, draws=5, seed=seed).findings for seed in (0, 1))
    assert first != second


@pytest.mark.parametrize(("ours", "theirs", "size"), [(0, 400, 0), (49, 400, 49), (400, 199, 50), (400, 198, 49)])
def test_too_few_are_inconclusive_in_numbers(ours, theirs, size):
    judged = judge_features(normal(0, ours), normal(1, theirs), draws=5)
    assert judged.documents == size
    few = f"too few documents: {size} could be compared ({ours} in the corpus, a quarter of {theirs} in the reference)"
    assert (judged.state == "INCONCLUSIVE" and judged.reasons[0].startswith(few)) == (size < 50)


def test_no_feature_at_all_is_inconclusive():
    assert judge_features(np.empty((0, 0)), normal(1, 400)).state == "INCONCLUSIVE"


def test_a_reference_without_any_variety_is_inconclusive():
    judged = judge_features(normal(0, 100), np.ones((400, 8)), draws=5)
    assert judged.state == "INCONCLUSIVE"
    assert judged.reasons[0].startswith("could not be measured")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_what_is_no_number_is_refused_on_either_side(bad):
    rows = normal(0, 400)
    rows[3, 1] = bad
    with pytest.raises(SignalError, match="features of the corpus, of shape"):
        judge_features(rows, normal(1, 400))
    with pytest.raises(SignalError, match="features of the reference, of shape"):
        judge_features(normal(1, 400), rows)


def test_features_of_two_embedders_are_refused():
    with pytest.raises(SignalError, match="use one embedder"):
        judge_features(normal(0, 100, 6), normal(1, 400, 7))
    with pytest.raises(SignalError, match="no rows of finite numbers"):
        judge_features(np.zeros(100), normal(1, 400))


def test_json_says_state_findings_and_documents():
    said = judge_features(normal(0, 100), normal(1, 400), draws=5).to_json()
    assert (said["state"], said["passed"], said["documents"]) == ("OK", True, 100)
    assert [finding["name"] for finding in said["findings"]] == list(METRICS)
    assert {"name", "value", "mean", "effect", "low", "high"} <= set(said["findings"][0])


# Where features come from


def sizes(files: list[bytes]) -> list[list[float]]:
    return [[len(data), data[0]] for data in files]


def lengths(texts: list[str]) -> list[list[float]]:
    return [[len(text), 1.0] for text in texts]


def not_a_number(files: list[Any]) -> list[list[float]]:
    return [[np.nan]] * len(files)


def wide_alone(files: list[bytes]) -> list[list[float]]:
    return [[1.0] * len(files)] * len(files)


FILES = [encoded(scene(seed, (64, 48))) for seed in range(6)]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def images(tmp_path: Path, store: LocalStore) -> Snapshot:
    for place, data in enumerate(FILES):
        (tmp_path / f"{place}.jpg").write_bytes(data)
    return ingest(store, "shots", "all", [str(tmp_path / "*.jpg")], workers=1)


def test_stored_features_are_those_of_the_first_images_by_priority(store, images):
    _, stored = read_features(store, images)
    every, some = image_features(store, images), image_features(store, images, most=4)
    assert sorted(map(tuple, every)) == sorted(map(tuple, stored.astype(float)))
    assert (every[:4] == some).all()


def test_an_embedder_is_given_the_files_of_the_same_images(store, images):
    every = image_features(store, images, f"{HERE}:sizes")
    some = image_features(store, images, f"{HERE}:sizes", most=2)
    assert sorted(every[:, 0].tolist()) == sorted(len(data) for data in FILES)
    assert some.shape == (2, 2)
    assert set(some[:, 0]) <= set(every[:, 0])


def test_an_embedders_failure_names_the_document(store, images):
    (ids, _) = read_features(store, images)
    with pytest.raises(SignalError, match=f"gave NaN or infinity, at document '({'|'.join(ids)})'"):
        image_features(store, images, f"{HERE}:not_a_number")


def test_rows_of_another_length_in_another_shard_are_refused(store, images):
    (shard,) = images.with_role(ORIGINALS_ROLE)
    rows = describing.read_rows(store, [shard])
    table = next(iter(rows))
    shards = tuple(write_shard(store, part, ORIGINALS_ROLE) for part in (table.slice(0, 4), table.slice(4)))
    others = tuple(one for one in images.shards if one.role != ORIGINALS_ROLE)
    cut = Snapshot(**{**vars(images), "shards": (*others, *shards)})
    with pytest.raises(SignalError, match=r"gave 2 numbers at document '.*', 4 before"):
        image_features(store, cut, f"{HERE}:wide_alone")


def test_a_corpus_without_images_has_no_features(tmp_path, store):
    (tmp_path / "a.jsonl").write_text('{"text": "words"}\n')
    documents = ingest(store, "web", "all", [str(tmp_path / "a.jsonl")], workers=1)
    assert len(image_features(store, documents)) == 0
    assert len(image_features(store, documents, f"{HERE}:sizes")) == 0


def snapshot(store: LocalStore, kind: str, **roles: list[str]) -> Snapshot:
    """A snapshot of texts, with a shard for each role."""
    shards = tuple(write_shard(store, texts(names, role), role) for role, names in roles.items())
    return Snapshot("c/x/d", kind, "s@1", (), shards, Ledger(0), None, "0", "k", {})


def texts(names: list[str], role: str) -> pa.Table:
    ids = [f"{role}{place}" for place in range(len(names))]
    return pa.table({"id": pa.array(ids, pa.string()), "text": pa.array(names, pa.large_string())})


def test_texts_are_the_first_by_priority_that_are_not_empty(store):
    words = ["x" * length for length in range(8)]
    every = text_features(store, snapshot(store, "documents", documents=words), f"{HERE}:lengths")
    some = text_features(store, snapshot(store, "documents", documents=words), f"{HERE}:lengths", most=3)
    assert sorted(every[:, 0]) == list(range(1, 8))
    assert (some == every[:3]).all()


def test_of_a_reservoir_the_human_split_is_read_and_not_the_evaluation_split(store):
    state = snapshot(store, "reservoir", human=["aa", "bbb"], evaluation=["cccc"], tombstoned_human=["ddddd"])
    assert sorted(text_features(store, state, f"{HERE}:lengths")[:, 0]) == [2, 3]
