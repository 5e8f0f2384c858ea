from __future__ import annotations

import dataclasses
import json
import random
from typing import TYPE_CHECKING, NamedTuple

import pytest
from builders import ADMISSION, AT, KEY, overwrite
from small_project import pages

from collapse_guard.catalogue import load_policy
from collapse_guard.classifying import export_classifier, load_classifier, train_classifier
from collapse_guard.errors import DamagedDataError, PolicyError, UsageError
from collapse_guard.ingest import ingest
from collapse_guard.measure import measure, measure_snapshot, measured_columns
from collapse_guard.policy import Classifier, Gate, Policy, Rule
from collapse_guard.provenance.classifier import Settings
from collapse_guard.reservoir import HUMAN, Reservoir, admit, open_reservoir
from collapse_guard.sift import sift
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

    from collapse_guard.snapshot import Snapshot

SETTINGS = Settings(costs=(1.0,), bits=14)
GATES = {"human_share": Gate(low=0.1, outside="block")}
REVIEW = """\
name: own
dedup: {near: null}
gates: {human_share: {low: 0.1, outside: block}}
classifier: {path: model.parquet}
"""


def by_machine(texts: list[str]) -> list[str]:
    """The same pages in the manner of a model, which some words give away."""
    rng = random.Random(9)
    tic = ["delve", "tapestry", "moreover", "intricate"]
    return [" ".join(rng.choice(tic) if rng.random() < 0.15 else word for word in text.split()) for text in texts]


def documents(store: LocalStore, folder: Path, texts: list[str], **fields: str) -> Snapshot:
    rows = [{"text": text, "url": f"https://site{n % 4}.example/", **fields} for n, text in enumerate(texts)]
    path = folder / f"{len(texts)}-{len(fields)}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ingest(store, "texts", path.stem, [str(path)], workers=1)


class Trained(NamedTuple):
    """A store with a reservoir, known synthetic texts and the classifier that was trained on both."""

    store: LocalStore
    reservoir: Reservoir
    synthetic: Snapshot
    snapshot: Snapshot


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    store = LocalStore(folder / "guard")
    human = documents(store, folder, pages(170, seed=1))
    admit(store, human, ADMISSION, KEY, AT)
    synthetic = documents(store, folder, by_machine(pages(130, seed=2)), generator="m1")
    reservoir = open_reservoir(store)
    return Trained(store, reservoir, synthetic, train_classifier(store, reservoir, synthetic, SETTINGS))


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    """A folder with the model's file, for a policy to lie beside."""
    export_classifier(trained.store, trained.snapshot, tmp_path / "model.parquet")
    return tmp_path


def policy_of(folder: Path, rules: str = "") -> Policy:
    (folder / "policy.yaml").write_text(REVIEW + rules, encoding="utf-8")
    return load_policy(folder / "policy.yaml")


def test_every_document_is_in_the_ledger_and_the_errors_in_the_manifest(trained: Trained) -> None:
    ledger, report = trained.snapshot.ledger, trained.snapshot.details["report"]

    human = sum(table.num_rows for table in trained.reservoir.texts(HUMAN))
    assert ledger.came_in == human + trained.synthetic.ledger.kept
    assert ledger.came_in == ledger.kept + sum(ledger.dropped.values())
    assert report["held_out"]["auc"] > 0.9
    assert {row["generator"] for row in report["generator_left_out"]} <= {"m1"}
    assert {row["domain"] for row in report["domain_left_out"]} == {f"site{n}.example" for n in range(4)}
    assert [parent.name for parent in trained.snapshot.parents][1] == trained.synthetic.name


def test_the_same_documents_and_settings_give_the_same_model(trained: Trained) -> None:
    again = train_classifier(trained.store, trained.reservoir, trained.synthetic, SETTINGS)
    other = train_classifier(trained.store, trained.reservoir, trained.synthetic, dataclasses.replace(SETTINGS, seed=1))

    assert again.digest == trained.snapshot.digest
    assert other.details["model"] != trained.snapshot.details["model"]
    assert load_classifier(trained.store, trained.snapshot).digest == trained.snapshot.details["model"]


def test_more_documents_than_wanted_are_counted_as_not_chosen(trained: Trained) -> None:
    few = dataclasses.replace(SETTINGS, max_documents=60)

    made = train_classifier(trained.store, trained.reservoir, trained.synthetic, few)

    assert made.ledger.came_in == trained.snapshot.ledger.came_in
    assert made.ledger.dropped["not_chosen"] == made.ledger.came_in - 120


def test_too_few_documents_are_refused_and_nothing_is_published(trained: Trained, tmp_path: Path) -> None:
    few = documents(trained.store, tmp_path, by_machine(pages(5, seed=3)))
    before = list(trained.store.list("snapshots/"))

    with pytest.raises(UsageError, match="5"):
        train_classifier(trained.store, trained.reservoir, few, SETTINGS)
    assert list(trained.store.list("snapshots/")) == before


def test_a_model_whose_bytes_changed_is_not_read(trained: Trained, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "copy")
    key = trained.snapshot.shards[0].key
    store.put_if_absent(key, trained.store.read(key))
    overwrite(tmp_path / "copy" / key, trained.store.read(key)[:-1] + b"?")

    with pytest.raises(DamagedDataError):
        load_classifier(store, trained.snapshot)


def test_the_classifier_sends_to_review_and_what_it_abstains_from_too(folder: Path) -> None:
    policy = policy_of(folder, "rules: [{name: machine, signal: classifier.p_synthetic, high: 0.8, outside: review}]\n")
    human, machine = pages(12, seed=50), by_machine(pages(12, seed=60))

    measured = measure([*human, *machine, "too short"], policy)
    found = sift(measured, policy)

    assert found.dropped.num_rows == 0
    verdicts = found.verdicts["verdict"].to_pylist()
    assert verdicts[:12].count("keep") >= 9
    assert verdicts[12:24].count("review") >= 9
    assert verdicts[24] == "review"
    assert measured["classifier.p_synthetic@1"][24].as_py() is None
    assert measured["classifier_abstained"][24].as_py()


def test_a_sure_classifier_alone_makes_nothing_synthetic(folder: Path) -> None:
    measured = measure(by_machine(pages(12, seed=60)), policy_of(folder))

    assert max(measured["classifier.p_synthetic@1"].to_pylist()) > 0.9
    assert set(measured["origin"].to_pylist()) == {"unknown"}


@pytest.mark.parametrize(
    "rule",
    [
        "{signal: classifier.p_synthetic, high: 0.9, outside: drop}",
        "{signal: word_count, low: 50, outside: drop, where: {signal: classifier.p_synthetic, low: 0.9}}",
        "{signal: {kind: classifier.p_synthetic}, high: 0.9, outside: drop}",
        "{signal: origin, high: human_presumed, outside: drop}",
        "{signal: word_count, low: 50, outside: drop, where: {signal: origin, low: unknown}}",
    ],
)
def test_no_rule_lets_the_classifier_drop(folder: Path, rule: str) -> None:
    with pytest.raises(PolicyError, match=r"policy\.yaml:6: rules\.0") as raised:
        policy_of(folder, f"rules:\n  - {rule}\n")
    assert "never drops" in str(raised.value)


def test_a_signal_that_was_given_a_name_does_not_hide_the_classifier(folder: Path) -> None:
    hidden = "signals: {own: {kind: classifier.p_synthetic}}\nrules: [{signal: own, high: 0.9, outside: drop}]\n"

    with pytest.raises(PolicyError, match=r"policy\.yaml:6: rules\.0: .* never drops a document"):
        policy_of(folder, hidden)


def test_a_pack_cannot_be_limited_to_what_the_classifier_suspects_if_it_drops(folder: Path) -> None:
    with pytest.raises(PolicyError, match=r"policy\.yaml:5: packs\.0\.where\.signal: .* never drops a document"):
        policy_of(folder, "packs: [{pack: c4@1, where: {signal: classifier.p_synthetic, low: 0.9}}]\n")


def test_a_policy_made_in_python_cannot_drop_by_the_classifier_either() -> None:
    with pytest.raises(ValueError, match="never drops a document"):
        Rule(signal="classifier.p_synthetic", high=0.9, outside="drop")
    by_origin = Rule(signal="origin", high="human_presumed", outside="drop")  # type: ignore[arg-type] # as YAML has it
    policy = Policy(name="own", classifier=Classifier(path="m.parquet"), rules=(by_origin,), gates=GATES)
    with pytest.raises(PolicyError, match="policy 'own': the classifier alone"):
        measured_columns(policy)


def test_without_a_classifier_a_rule_may_drop_whatever_nobody_presumes_human(folder: Path) -> None:
    (folder / "strict.yaml").write_text(
        REVIEW.partition("classifier")[0] + "rules: [{signal: origin, high: human_presumed, outside: drop}]\n",
        encoding="utf-8",
    )

    assert load_policy(folder / "strict.yaml").rules[0].high == 1


def test_a_file_that_is_no_classifier_is_one_sentence(folder: Path) -> None:
    (folder / "model.parquet").write_bytes(b"PAR1 and nothing else")

    with pytest.raises(DamagedDataError, match=r"model\.parquet is no classifier .* classifier train"):
        measure(["words"], policy_of(folder))


def test_another_model_is_measured_again(trained: Trained, folder: Path) -> None:
    store = LocalStore(folder / "guard")
    some = documents(store, folder, pages(5, seed=70))
    before = measure_snapshot(store, some, policy_of(folder))
    other = train_classifier(trained.store, trained.reservoir, trained.synthetic, dataclasses.replace(SETTINGS, seed=2))
    export_classifier(trained.store, other, folder / "model.parquet")

    after = measure_snapshot(store, some, policy_of(folder))

    assert after.run_key != before.run_key
    assert after.digest != before.digest
