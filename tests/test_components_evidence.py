from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import pyarrow.parquet as pq
import pytest
from small_project import DEFAULT_POLICY, RELEASE_JOB, SmallProject, pages, run_job, write_pages
from test_classifying import by_machine
from watermarked import SECRET, green, marked_words, plain_words, text_of, write_ring

from collapse_guard.classifying import load_classifier
from collapse_guard.components.provenance_classifier import ProvenanceClassifier
from collapse_guard.components.settings import Place
from collapse_guard.provenance.classifier import Model
from collapse_guard.release import open_release
from collapse_guard.snapshot import latest
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARKED, PLAIN = 8, 30
RULE = (
    "watermarks: {keys: keys.yaml}\nrules:\n  - {name: marked, signal: watermark.q_value, low: 0.01, outside: drop}\n"
)


def policy_text() -> str:
    """The small project's policy with one rule, on marks."""
    head, _, tail = DEFAULT_POLICY.replace("SHARE", "0.3").partition("packs:")
    return head + RULE + tail[tail.index("mix:") :]


def add_marked_pages(project: SmallProject, **key: Any) -> None:
    """Put marked and plain pages of two domains beside the dump's own, and a ring and a policy beside the project."""
    texts = [("marked.example", text_of(marked_words(200, n, green()))) for n in range(MARKED)]
    texts += [("plain.example", text_of(plain_words(200, n))) for n in range(PLAIN)]
    rows = [json.dumps({"text": text, "url": f"https://{domain}/{n}"}) for n, (domain, text) in enumerate(texts)]
    (project.root / "crawl" / "d0" / "marks.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    write_ring(project.root, green() | key)
    (project.root / "policy.yaml").write_text(policy_text(), encoding="utf-8")


class Ran(NamedTuple):
    """A project after its job, with what the job told."""

    project: SmallProject
    result: dg.ExecuteInProcessResult

    def metadata(self, step: str) -> dict[str, Any]:
        events = self.result.asset_materializations_for_node(f"web__{step}")
        return {name.removeprefix("collapse_guard/"): value.value for name, value in events[0].metadata.items()}

    def checks(self) -> dict[str, dg.AssetCheckEvaluation]:
        return {check.check_name: check for check in self.result.get_asset_check_evaluations()}


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that keeps its events in files, which are searched for secrets like all others."""
    (tmp_path / "dagster").mkdir()
    quiet = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides=quiet) as instance:
        yield instance


def run(project: SmallProject, instance: dg.DagsterInstance) -> Ran:
    return Ran(project, run_job(project.definitions(), RELEASE_JOB, instance, "d0"))


def test_marked_pages_are_shown_with_their_domain_and_kept_out_of_the_release(
    project: SmallProject, stored: dg.DagsterInstance
) -> None:
    add_marked_pages(project)

    ran = run(project, stored)

    assert ran.result.success
    measured = ran.metadata("measured")
    assert measured["marked_documents"] == MARKED
    assert f"| marked.example | {MARKED} | {MARKED} |" in measured["prevalence_by_domain"]
    assert "95 % interval" in measured["prevalence_by_domain"]
    assert "| k0 | kgw_simple_1 |" in measured["keys"]
    assert f"| synthetic | {MARKED} |" in measured["origins"]
    assert ran.checks()["every_key_tested"].passed
    assert f"| marked | {MARKED} |" in ran.metadata("sifted")["reasons"]
    released = open_release(project.guard, "web")
    texts = [text for table in released.tables() for text in table["text"].to_pylist()]
    marked = {text_of(marked_words(200, n, green())) for n in range(MARKED)}
    assert texts
    assert not marked.intersection(texts)


def test_a_missing_secret_warns_and_a_rule_on_marks_keeps_nothing(
    project: SmallProject, stored: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THE_KEY", raising=False)
    add_marked_pages(project, key={"env": "THE_KEY"})

    ran = run(project, stored)

    check = ran.checks()["every_key_tested"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "k0: its secret is missing: the environment variable THE_KEY is not set" in (check.description or "")
    assert not ran.checks()["something_is_kept"].passed
    assert "unsupported" in ran.metadata("measured")["outcomes"]
    assert not ran.result.success


def test_a_secret_that_appears_is_measured_again_without_a_new_definition(
    project: SmallProject, stored: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THE_KEY", raising=False)
    add_marked_pages(project, key={"env": "THE_KEY"})
    definitions = project.definitions()
    assert not run_job(definitions, RELEASE_JOB, stored, "d0").success
    monkeypatch.setenv("THE_KEY", str(SECRET))

    ran = Ran(project, run_job(definitions, RELEASE_JOB, stored, "d0"))

    assert ran.result.success
    assert ran.metadata("measured")["marked_documents"] == MARKED


def test_a_policy_without_keys_declares_no_check_on_them(project: SmallProject) -> None:
    graph = project.definitions().resolve_asset_graph()

    assert "every_key_tested" not in {key.name for key in graph.asset_check_keys}


@pytest.fixture
def classifier(project: SmallProject) -> dg.Definitions:
    write_pages(project.root / "machine" / "m.jsonl", by_machine(pages(120, seed=8)))
    component = ProvenanceClassifier(
        root="guard",
        reservoir="reservoir",
        synthetic="machine/*",
        path="models/classifier.parquet",
        reservoir_asset=dg.AssetKey(["reservoir"]),
        schedule="0 4 * * 1",
    )
    return dg.Definitions.merge(component.definitions(Place(project.root, project.root)), project.definitions())


def test_the_classifier_is_an_asset_with_its_errors_and_a_file_that_policies_name(
    project: SmallProject, classifier: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    result = run_job(classifier, "classifier_train", instance, None)

    assert result.success
    (event,) = result.asset_materializations_for_node("classifier")
    told = {name: value.value for name, value in event.metadata.items()}
    assert told["collapse_guard/auc"] > 0.9
    assert "| held out |" in told["collapse_guard/held_out"]
    assert "domain" in told["collapse_guard/human_slices"]
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity) == ("separates", True, dg.AssetCheckSeverity.WARN)
    store = LocalStore(project.guard)
    snapshot = latest(store, "classifier/classifier/all")
    assert snapshot
    assert told["collapse_guard/digest"] == snapshot.digest
    exported = Model.from_table(pq.read_table(project.root / "models" / "classifier.parquet"))
    assert exported.digest == load_classifier(store, snapshot).digest


def test_a_classifier_that_separates_nothing_fails_its_check(
    project: SmallProject, instance: dg.DagsterInstance
) -> None:
    write_pages(project.root / "machine" / "m.jsonl", pages(120, seed=8))
    component = ProvenanceClassifier(root="guard", reservoir="reservoir", synthetic="machine/*", path="c.parquet")
    definitions = component.definitions(Place(project.root, project.root))

    result = run_job(definitions, "classifier_train", instance, None)

    (check,) = result.get_asset_check_evaluations()
    assert not check.passed


def test_too_few_synthetic_texts_are_one_sentence(project: SmallProject, instance: dg.DagsterInstance) -> None:
    write_pages(project.root / "machine" / "m.jsonl", pages(3, seed=8))
    component = ProvenanceClassifier(root="guard", reservoir="reservoir", synthetic="machine/*", path="c.parquet")

    result = run_job(component.definitions(Place(project.root, project.root)), "classifier_train", instance, None)

    (failure,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert "3" in str(failure.step_failure_data.user_failure_data.description)
    assert not (project.root / "c.parquet").exists()
