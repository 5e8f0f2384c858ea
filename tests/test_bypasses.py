"""The ways around a blocking check of Dagster: each ends with proof that nothing unreleased was opened."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator  # Dagster reads the annotations of its functions
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from small_project import ENOUGH, RELEASE_JOB, SILENT, TOO_LITTLE, TRAINING_JOB, SmallProject, run_job

from collapse_guard.components import corpus_guard
from collapse_guard.errors import GateClosed
from collapse_guard.release import open_release
from collapse_guard.snapshot import latest
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEFORE_RELEASE = ["documents", "measured", "sifted", "candidate"]


def key(step: str) -> dg.AssetKey:
    return dg.AssetKey(["web", step])


@dataclass(frozen=True)
class Refused:
    """A project in which `d0` was released, and the candidate of the newest dump `d1` was refused."""

    project: SmallProject
    instance: dg.DagsterInstance
    good: str
    releases: tuple[str, ...]

    def run(
        self, *steps: str, extra: dg.Definitions | None = None, dump: str | None = "d1"
    ) -> dg.ExecuteInProcessResult:
        """Run only these steps, in a run of their own."""
        selection = [key(step) for step in steps]
        return self.run_selection(dg.AssetSelection.assets(*selection), self.project.definitions(extra), dump)

    def run_selection(
        self, selection: dg.AssetSelection, definitions: dg.Definitions, dump: str | None = "d1"
    ) -> dg.ExecuteInProcessResult:
        job = dg.define_asset_job("by_hand", selection=selection)
        return run_job(dg.Definitions.merge(definitions, dg.Definitions(jobs=[job])), "by_hand", self.instance, dump)

    def prove_closed(self) -> None:
        """Nothing was released since, nothing opens that was not, and no model was made of it."""
        candidate = latest(LocalStore(self.project.guard), "web/candidate/d1")
        assert candidate is not None, "nothing was refused, so this test proves nothing"
        assert releases_of(self.project) == self.releases
        for dump in ("d1", None):
            with pytest.raises(GateClosed):
                open_release(self.project.guard, "web", dump=dump)
        with pytest.warns(UserWarning, match="was not released"):
            assert open_release(self.project.guard, "web", on_closed="last_good").digest == self.good
        assert not self.project.model("d1").exists()


def releases_of(project: SmallProject) -> tuple[str, ...]:
    store = LocalStore(project.guard)
    return tuple(f"{name}: {store.read(name).hex()}" for name in store.list("releases/"))


def outcome(result: dg.ExecuteInProcessResult) -> tuple[bool, list[str]]:
    """Whether a run succeeded, and what it materialised."""
    keys = [event.asset_key for event in result.get_asset_materialization_events()]
    return result.success, [asset.path[-1] for asset in keys if asset]


def checks_in(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


@pytest.fixture
def waiting(released_project: SmallProject, tmp_path: Path, instance: dg.DagsterInstance) -> Refused:
    """The same, with the dump `d1` and its too small share there, but not yet run."""
    project = released_project.copy(tmp_path / "project")
    good = open_release(project.guard, "web").digest
    project.write_dump("d1", seed=101)
    project.write_policy(TOO_LITTLE)
    instance.add_dynamic_partitions("web_dumps", ["d0", "d1"])
    return Refused(project, instance, good, releases_of(project))


@pytest.fixture
def refused(waiting: Refused) -> Refused:
    result = run_job(waiting.project.definitions(), TRAINING_JOB, waiting.instance, "d1")
    assert outcome(result) == (False, BEFORE_RELEASE)
    return waiting


def test_a_later_run_of_the_release_alone_is_refused_again(refused: Refused) -> None:
    result = refused.run("release")

    assert outcome(result) == (False, [])
    assert checks_in(result) == {"release_gate": False, "state": True}
    refused.prove_closed()


def test_a_later_run_of_release_and_training_trains_nothing(refused: Refused) -> None:
    assert outcome(refused.run("release", "trained_model")) == (False, [])
    refused.prove_closed()


def test_a_later_run_of_the_training_alone_trains_nothing(refused: Refused) -> None:
    assert outcome(refused.run("trained_model")) == (False, [])
    refused.prove_closed()


def test_checks_cannot_be_left_out_of_a_run(waiting: Refused) -> None:
    steps = [key(step) for step in (*BEFORE_RELEASE, "release", "trained_model")]
    selection = dg.AssetSelection.assets(*steps).without_checks()

    with pytest.raises((dg.DagsterInvalidSubsetError, dg.DagsterInvalidDefinitionError)):
        waiting.run_selection(selection, waiting.project.definitions())

    assert not run_job(waiting.project.definitions(), RELEASE_JOB, waiting.instance, "d1").success
    waiting.prove_closed()


def test_a_run_without_the_release_between_candidate_and_training_trains_nothing(waiting: Refused) -> None:
    result = waiting.run(*BEFORE_RELEASE, "trained_model")

    assert not result.success
    assert "trained_model" not in outcome(result)[1]
    waiting.prove_closed()


def test_a_check_that_gives_no_result_opens_no_gate(waiting: Refused) -> None:
    @dg.multi_asset_check(
        specs=[dg.AssetCheckSpec("own_check", asset=key("candidate"), blocking=True)], can_subset=True
    )
    def says_nothing() -> Iterator[dg.AssetCheckResult]:
        yield from ()

    result = run_job(
        waiting.project.definitions(dg.Definitions(asset_checks=[says_nothing])),
        TRAINING_JOB,
        waiting.instance,
        "d1",
    )

    assert outcome(result) == (False, BEFORE_RELEASE)
    assert "own_check" not in checks_in(result)
    waiting.prove_closed()


def test_a_gate_that_gives_no_result_fails_the_run(waiting: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    original = corpus_guard.gate_checks

    def all_but_the_share(*args: Any) -> Iterator[dg.AssetCheckResult]:
        yield from (found for found in original(*args) if found.check_name != "gate_human_share")

    monkeypatch.setattr(corpus_guard, "gate_checks", all_but_the_share)

    assert not run_job(waiting.project.definitions(), TRAINING_JOB, waiting.instance, "d1").success
    assert outcome(waiting.run("release", "trained_model")) == (False, [])
    waiting.prove_closed()


def test_failed_gates_that_only_warn_do_not_open_the_release(waiting: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    original = corpus_guard.gate_checks

    def harmless(*args: Any) -> Iterator[dg.AssetCheckResult]:
        yield from (found._replace(severity=dg.AssetCheckSeverity.WARN) for found in original(*args))

    monkeypatch.setattr(corpus_guard, "gate_checks", harmless)

    result = run_job(waiting.project.definitions(), TRAINING_JOB, waiting.instance, "d1")

    assert outcome(result) == (False, BEFORE_RELEASE)
    assert checks_in(result)["release_gate"] is False
    waiting.prove_closed()


def eager(definitions: dg.Definitions) -> dg.Definitions:
    """The definitions with every asset asked for as soon as something above it changes."""
    condition = dg.AutomationCondition.eager()
    return definitions.map_asset_specs(func=lambda spec: spec.replace_attributes(automation_condition=condition))


def requested(
    definitions: dg.Definitions, instance: dg.DagsterInstance, cursor: Any = None
) -> tuple[set[tuple[str, str | None]], Any]:
    """Which steps automation asks for, with the dump of each, and the cursor for the next time."""
    result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
    steps = (*BEFORE_RELEASE, "release", "trained_model")
    asked = {(step, dump) for step in steps for dump in result.get_requested_partitions(key(step))}
    return asked, result.cursor


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")
def test_what_eager_automation_asks_for_behind_a_failed_check_releases_and_trains_nothing(waiting: Refused) -> None:
    definitions, instance = eager(waiting.project.definitions()), waiting.instance
    _, cursor = requested(definitions, instance)
    assert not run_job(definitions, RELEASE_JOB, instance, "d1", [key(step) for step in BEFORE_RELEASE]).success

    asked, cursor = requested(definitions, instance, cursor)
    result = waiting.run(*(step for step, dump in asked if dump == "d1"))
    asked_then, _ = requested(definitions, instance, cursor)

    assert ("release", "d1") in asked, "eager() did not go past the failed check, so this test proves nothing"
    assert outcome(result) == (False, [])
    assert asked_then == set()
    waiting.prove_closed()


def trainer(refused: Refused, upstream: dg.AssetDep, partitions: dg.PartitionsDefinition[Any] | None) -> dg.Definitions:
    """An asset that trains on the newest release, partitioned in another way than the corpus."""

    @dg.asset(key=key("other_model"), deps=[upstream], partitions_def=partitions)
    def other_model() -> None:
        corpus = open_release(refused.project.guard, "web")
        (refused.project.root / "opened").write_text(corpus.digest, encoding="utf-8")

    return dg.Definitions(assets=[other_model])


@pytest.mark.parametrize("upstream", ["release", "candidate"])
@pytest.mark.parametrize("partitions", [None, dg.StaticPartitionsDefinition(["m0"])], ids=["none", "other"])
def test_a_training_over_all_dumps_opens_nothing_after_one_was_refused(
    refused: Refused, upstream: str, partitions: dg.PartitionsDefinition[Any] | None
) -> None:
    every_dump = dg.AssetDep(key(upstream), partition_mapping=dg.AllPartitionMapping())
    job = dg.define_asset_job("by_hand", selection=[key("other_model")])
    extra = dg.Definitions.merge(trainer(refused, every_dump, partitions), dg.Definitions(jobs=[job]))

    result = (
        refused.project.definitions(extra)
        .resolve_job_def("by_hand")
        .execute_in_process(
            instance=refused.instance,
            partition_key="m0" if partitions else None,
            raise_on_error=False,
            run_config=SILENT,
        )
    )

    assert outcome(result) == (False, [])
    assert not (refused.project.root / "opened").exists()
    refused.prove_closed()


def test_a_good_dump_later_does_not_launder_a_bad_one_behind_an_unpartitioned_check(waiting: Refused) -> None:
    @dg.asset_check(asset=key("candidate"), blocking=True)
    def unpartitioned_check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    extra, instance = dg.Definitions(asset_checks=[unpartitioned_check]), waiting.instance
    assert not run_job(waiting.project.definitions(extra), TRAINING_JOB, instance, "d1").success
    waiting.project.write_policy(ENOUGH)
    assert run_job(waiting.project.definitions(extra), TRAINING_JOB, instance, "d0").success

    result = waiting.run("release", "trained_model", extra=extra)

    assert outcome(result) == (False, [])
    waiting.prove_closed()


def test_a_corpus_that_another_project_guards_cannot_be_opened_before_its_release(refused: Refused) -> None:
    @dg.asset_check(asset=key("release"), blocking=True)
    def left_out_by_default() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    elsewhere = dg.Definitions(assets=[dg.AssetSpec(key("release"))], asset_checks=[left_out_by_default])
    other = dg.Definitions.merge(elsewhere, trainer(refused, dg.AssetDep(key("release")), None))
    result = refused.run_selection(dg.AssetSelection.assets(key("other_model")), other, None)

    assert outcome(result) == (False, [])
    assert checks_in(result) == {}
    assert not (refused.project.root / "opened").exists()
    refused.prove_closed()


def test_a_policy_that_was_loosened_after_the_refusal_does_not_release_what_was_refused(refused: Refused) -> None:
    policy = refused.project.root / "policy.yaml"
    text = policy.read_text(encoding="utf-8")
    policy.write_text(text.replace("human_share: {low: 0.10", "human_share: {low: 0.01"), encoding="utf-8")

    assert outcome(refused.run("release", "trained_model")) == (False, [])
    refused.prove_closed()


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.scandir, []

    def fail_once(at: int) -> Callable[..., Any]:
        def scandir(path: str) -> Any:
            calls.append(path)
            if len(calls) == at:
                raise PermissionError(errno.EACCES, "permission denied", path)
            return real(path)

        return scandir

    for number in range(1, 12):
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", fail_once(number))
            with pytest.raises((GateClosed, PermissionError)):
                open_release(refused.project.guard, "web")

    refused.prove_closed()


def test_a_training_that_asks_for_the_last_good_release_gets_that_one_and_a_warning(refused: Refused) -> None:
    with pytest.warns(UserWarning, match="the newest candidate"):
        opened = open_release(refused.project.guard, "web", on_closed="last_good")

    assert (opened.digest, opened.release.dump) == (refused.good, "d0")


def test_following_the_policy_again_opens_the_gate(refused: Refused) -> None:
    refused.project.write_policy(ENOUGH)

    result = run_job(refused.project.definitions(), TRAINING_JOB, refused.instance, "d1")

    assert outcome(result) == (True, [*BEFORE_RELEASE, "release", "trained_model"])
    assert open_release(refused.project.guard, "web").release.dump == "d1"
    assert refused.project.model("d1").exists()
