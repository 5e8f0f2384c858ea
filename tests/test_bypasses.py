"""The nine ways around a blocking asset check (docs/decisions/0001): each ends with nothing unreleased opened."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from small_project import CORPUS, ENOUGH, RELEASE_JOB, SILENT, TOO_LITTLE, TRAINING_JOB, SmallProject, run_job

from collapse_guard.errors import GateClosed
from collapse_guard.release import open_release
from collapse_guard.snapshot import latest
from collapse_guard.store import LocalStore

DUMPS = dg.DynamicPartitionsDefinition(name=f"{CORPUS}_dumps")
CANDIDATE, RELEASE, MODEL = (dg.AssetKey([CORPUS, step]) for step in ("candidate", "release", "trained_model"))


@pytest.fixture
def refused(project: SmallProject, instance: dg.DagsterInstance) -> SmallProject:
    """A project whose candidate for `d0` was mixed with too little human text, and refused."""
    project.write_policy(TOO_LITTLE)
    assert not run_job(project.definitions(), RELEASE_JOB, instance, "d0").success
    assert latest(LocalStore(project.guard), f"{CORPUS}/candidate/d0") is not None
    return project


def consumer(project: SmallProject, dep: dg.AssetDep | dg.AssetKey, **options: Any) -> dg.AssetsDefinition:
    """Somebody's own training asset: it reads the way that the library offers, and leaves a trace when it could."""

    @dg.asset(name="training", deps=[dep], **options)
    def training() -> None:
        corpus = open_release(project.guard, CORPUS)
        (project.root / "opened").write_text(corpus.digest, encoding="utf-8")

    return training


def run_with(
    project: SmallProject, instance: dg.DagsterInstance, extra: dg.Definitions, job: str, dump: str | None = "d0"
) -> dg.ExecuteInProcessResult:
    return run_job(project.definitions(extra), job, instance, dump)


def job_of(*keys: dg.AssetKey | str) -> Any:
    return dg.define_asset_job("attack", selection=dg.AssetSelection.assets(*keys))


def assert_nothing_was_opened(project: SmallProject) -> None:
    with pytest.raises(GateClosed, match="nothing was released"):
        open_release(project.guard, CORPUS)
    with pytest.raises(GateClosed):
        open_release(project.guard, CORPUS, on_closed="last_good")
    assert not project.model("d0").exists()
    assert not (project.root / "opened").exists()


@pytest.mark.parametrize("selection", [[MODEL], [RELEASE, MODEL], [RELEASE]], ids=["model", "both", "release"])
def test_1_a_later_run_of_the_consumers_alone_opens_nothing(
    refused: SmallProject, instance: dg.DagsterInstance, selection: list[dg.AssetKey]
) -> None:
    result = run_job(refused.definitions(), TRAINING_JOB, instance, "d0", selection)

    assert not result.success
    assert not result.get_asset_materialization_events()
    assert_nothing_was_opened(refused)


def test_2_deselecting_the_checks_is_refused_or_changes_nothing(
    refused: SmallProject, instance: dg.DagsterInstance
) -> None:
    selection = dg.AssetSelection.assets(CANDIDATE, RELEASE, MODEL).without_checks()
    extra = dg.Definitions(jobs=[dg.define_asset_job("attack", selection=selection)])

    with pytest.raises(dg.DagsterInvalidDefinitionError) as caught:
        run_with(refused, instance, extra, "attack")

    assert isinstance(caught.value.__cause__, dg.DagsterInvalidSubsetError)
    assert_nothing_was_opened(refused)


def test_3_a_selection_that_skips_the_release_opens_nothing(
    refused: SmallProject, instance: dg.DagsterInstance
) -> None:
    result = run_with(refused, instance, dg.Definitions(jobs=[job_of(CANDIDATE, MODEL)]), "attack")

    assert not result.success
    assert_nothing_was_opened(refused)


def test_4_a_check_that_gives_no_result_opens_nothing(refused: SmallProject, instance: dg.DagsterInstance) -> None:
    spec = dg.AssetCheckSpec("silent", asset=CANDIDATE, blocking=True)

    @dg.multi_asset_check(specs=[spec], can_subset=True)
    def silent() -> Iterator[dg.AssetCheckResult]:
        yield from ()

    training = consumer(refused, CANDIDATE, partitions_def=DUMPS)
    extra = dg.Definitions(assets=[training], asset_checks=[silent], jobs=[job_of("training")])

    assert not run_with(refused, instance, extra, "attack").success
    assert_nothing_was_opened(refused)


def test_5_a_check_of_warn_severity_opens_nothing(refused: SmallProject, instance: dg.DagsterInstance) -> None:
    @dg.asset_check(asset=CANDIDATE, blocking=True)
    def only_warns() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)

    training = consumer(refused, CANDIDATE, partitions_def=DUMPS)
    extra = dg.Definitions(assets=[training], asset_checks=[only_warns], jobs=[job_of("training")])

    assert not run_with(refused, instance, extra, "attack").success
    assert_nothing_was_opened(refused)


def test_6_plain_eager_automation_requests_nothing_behind_the_release(
    refused: SmallProject, instance: dg.DagsterInstance
) -> None:
    eager = dg.AutomationCondition.eager()
    behind_release = consumer(refused, RELEASE, partitions_def=DUMPS, automation_condition=eager)
    behind_candidate = consumer(refused, CANDIDATE, partitions_def=DUMPS, automation_condition=eager)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        definitions = refused.definitions(dg.Definitions(assets=[behind_release]))
        asked = dg.evaluate_automation_conditions(definitions, instance=instance)
    result = run_with(refused, instance, dg.Definitions(assets=[behind_candidate], jobs=[job_of("training")]), "attack")

    assert asked.total_requested == 0
    assert not result.success  # eager may request what reads the candidate; it can still open nothing
    assert_nothing_was_opened(refused)


def test_7_an_asset_of_other_partitions_in_the_same_backfill_opens_nothing(
    refused: SmallProject, instance: dg.DagsterInstance
) -> None:
    months = dg.StaticPartitionsDefinition(["m0"])
    dep = dg.AssetDep(RELEASE, partition_mapping=dg.AllPartitionMapping())
    extra = dg.Definitions(assets=[consumer(refused, dep, partitions_def=months)], jobs=[job_of("training")])
    job = refused.definitions(extra).resolve_job_def("attack")

    result = job.execute_in_process(instance=instance, partition_key="m0", raise_on_error=False, run_config=SILENT)

    assert not result.success
    assert_nothing_was_opened(refused)


def test_8_a_good_dump_does_not_launder_a_bad_one(refused: SmallProject, instance: dg.DagsterInstance) -> None:
    @dg.asset_check(asset=CANDIDATE, blocking=True)
    def unpartitioned() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    refused.write_policy(ENOUGH)
    refused.write_dump("d1", seed=101)
    assert run_job(refused.definitions(), RELEASE_JOB, instance, "d1", [dg.AssetKey([CORPUS, "documents"])]).success
    extra = dg.Definitions(asset_checks=[unpartitioned])

    result = run_job(refused.definitions(extra), TRAINING_JOB, instance, "d0", [MODEL])

    assert not result.success
    assert_nothing_was_opened(refused)


def test_8_a_released_dump_is_opened_and_the_refused_one_beside_it_is_not(
    project: SmallProject, instance: dg.DagsterInstance
) -> None:
    assert run_job(project.definitions(), RELEASE_JOB, instance, "d0").success
    project.write_policy(TOO_LITTLE)
    project.write_dump("d1", seed=101)

    refused = run_job(project.definitions(), RELEASE_JOB, instance, "d1")
    trained = run_job(project.definitions(), TRAINING_JOB, instance, "d1", [MODEL])

    assert not refused.success
    assert not trained.success
    assert not project.model("d1").exists()
    with pytest.raises(GateClosed, match="was not released"):
        open_release(project.guard, CORPUS)
    with pytest.warns(UserWarning, match="opening release 1 of 'd0' instead"):
        assert open_release(project.guard, CORPUS, on_closed="last_good").release.dump == "d0"


def test_9_a_check_on_an_external_asset_opens_nothing(refused: SmallProject, instance: dg.DagsterInstance) -> None:
    @dg.asset_check(asset=dg.AssetKey("outside"), blocking=True)
    def never_runs() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    assets = [dg.AssetSpec("outside"), consumer(refused, dg.AssetKey("outside"))]
    extra = dg.Definitions(assets=assets, asset_checks=[never_runs], jobs=[job_of("training")])

    assert not run_with(refused, instance, extra, "attack", None).success
    assert_nothing_was_opened(refused)


def test_the_same_consumer_opens_what_was_released(project: SmallProject, instance: dg.DagsterInstance) -> None:
    assert run_job(project.definitions(), TRAINING_JOB, instance, "d0").success
    training = consumer(project, RELEASE, partitions_def=DUMPS)

    result = run_with(project, instance, dg.Definitions(assets=[training], jobs=[job_of("training")]), "attack")

    assert result.success
    assert (project.root / "opened").read_text(encoding="utf-8") == open_release(project.guard, CORPUS).digest
    assert project.model("d0").exists()
