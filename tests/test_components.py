from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import s3_servers
import yaml
from dagster.components.testing import create_defs_folder_sandbox
from small_project import ENOUGH, RELEASE_JOB, TOO_LITTLE, SmallProject, run_job, write_pages
from test_mix_remedy import collapsed

from collapse_guard.catalogue import BUILT_IN_POLICIES, load_policy
from collapse_guard.components import CorpusGuard, HumanReservoir, demonstration
from collapse_guard.components.settings import Place
from collapse_guard.components.showing import gate_checks, state_check
from collapse_guard.errors import GateClosed, PolicyError
from collapse_guard.judge import GateResult, Judgement, history
from collapse_guard.metrics import METRICS
from collapse_guard.release import open_release
from collapse_guard.report.plots import PANELS
from collapse_guard.snapshot import Snapshot, latest, log, read_snapshot
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[1]
MOST_IMAGE_BYTES = 30_000
PARENTS = {
    "reservoir": [],
    "web/crawl": [],
    "web/documents": ["web/crawl"],
    "web/measured": ["web/documents"],
    "web/sifted": ["web/measured"],
    "web/candidate": ["reservoir", "web/sifted"],
    "web/release": ["web/candidate"],
    "web/trained_model": ["web/release"],
    "unguarded/scrape": ["reservoir"],
    "unguarded/trained_model": ["unguarded/scrape"],
}
BLOCKING = {
    "reservoir:verified",
    "web/documents:ledger_balances",
    "web/measured:every_document_measured",
    "web/sifted:ledger_balances",
    "web/candidate:state",
    "web/candidate:evaluation_split_is_kept_out",
    "web/release:release_gate",
    "web/release:state",
}
WARNING = {
    "web/documents:quarantine_is_small",
    "web/measured:no_signal_raised",
    "web/sifted:something_is_kept",
    "web/candidate:reservoir_is_enough",
}
NEEDS_MORE = {"self_bleu"}
"""What a corpus of fewer than 200 documents does not give."""
SHOWN_BESIDE = "unguarded/scrape:"
UNPARTITIONED = {"reservoir"}
JOBS = ["reservoir_verify", "unguarded_training", "web_release", "web_training"]

# Dagster notes with this category that the components which it loads from YAML point at their source.
dagster_is_in_beta = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


def project_definitions() -> dg.Definitions:
    """What `definitions.py` loads."""
    return dg.load_from_defs_folder(path_within_project=REPOSITORY)


def parents_of(graph: dg.AssetGraph) -> dict[str, list[str]]:
    nodes = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}
    return {name: sorted(key.to_user_string() for key in node.parent_keys) for name, node in nodes.items()}


def checks_of(graph: dg.AssetGraph) -> dict[str, bool]:
    """Whether each check blocks, by `asset:check`."""
    specs = [graph.get_check_spec(key) for key in graph.asset_check_keys]
    return {f"{spec.asset_key.to_user_string()}:{spec.name}": spec.blocking for spec in specs}


def partitions_of(graph: dg.AssetGraph) -> dict[str, str | None]:
    nodes = {key.to_user_string(): graph.get(key).partitions_def for key in graph.get_all_asset_keys()}
    return {name: getattr(partitions, "name", None) for name, partitions in nodes.items()}


@pytest.fixture(scope="module")
def from_yaml() -> dg.Definitions:
    return project_definitions()


class Ran:
    """A project whose job ran once, with its run and its instance."""

    def __init__(self, project: SmallProject, instance: dg.DagsterInstance) -> None:
        self.project = project
        self.instance = instance
        self.definitions = project.definitions()
        self.result = run_job(self.definitions, RELEASE_JOB, instance, "d0")

    def metadata(self, step: str) -> dict[str, Any]:
        events = self.result.asset_materializations_for_node(f"web__{step}")
        return {name: value.value for name, value in events[0].metadata.items()}

    def files(self) -> set[str]:
        return {path.relative_to(self.project.root).as_posix() for path in self.project.guard.rglob("*")}


@pytest.fixture(scope="module")
def ran(built_project: SmallProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ran(built_project.copy(tmp_path_factory.mktemp("ran") / "project"), instance)


def checks_in(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def materialised_in(result: dg.ExecuteInProcessResult) -> list[str]:
    keys = [event.asset_key for event in result.get_asset_materialization_events()]
    return [key.path[-1] for key in keys if key]


def test_the_yaml_of_the_demo_declares_these_assets_and_dependencies(from_yaml: dg.Definitions) -> None:
    assert parents_of(from_yaml.resolve_asset_graph()) == PARENTS


def test_the_yaml_of_the_demo_declares_these_checks_and_only_these_block(from_yaml: dg.Definitions) -> None:
    checks = checks_of(from_yaml.resolve_asset_graph())

    gates = load_policy("default").gates
    closing = {f"web/candidate:gate_{name}" for name, gate in gates.items() if gate.outside == "block"}
    told = {f"web/candidate:gate_{name}" for name in gates}
    assert closing >= {"web/candidate:gate_human_share", "web/candidate:gate_rare_coverage"}
    assert {name for name, blocking in checks.items() if blocking} == BLOCKING | closing
    assert {name for name in checks if not name.startswith(SHOWN_BESIDE)} == BLOCKING | WARNING | told


def test_every_asset_but_the_reservoir_is_partitioned_by_dump(from_yaml: dg.Definitions) -> None:
    partitions = partitions_of(from_yaml.resolve_asset_graph())

    assert partitions == {name: None if name in UNPARTITIONED else "web_dumps" for name in PARENTS}


def test_the_yaml_of_the_demo_declares_these_jobs_sensors_and_schedules(from_yaml: dg.Definitions) -> None:
    repository = from_yaml.get_repository_def()

    assert sorted(name for name in repository.job_names if not name.startswith("__")) == JOBS
    assert {(sensor.name, sensor.job_name) for sensor in repository.sensor_defs} == {("web_new_dumps", "web_release")}
    assert {(schedule.name, schedule.job_name, schedule.cron_schedule) for schedule in repository.schedule_defs} == {
        ("reservoir_daily", "reservoir_verify", "0 3 * * *"),
        ("web_newest_again", "web_release", "0 5 * * *"),
    }


def test_components_built_in_python_give_the_same_graph_as_the_yaml(from_yaml: dg.Definitions, tmp_path: Path) -> None:
    built = demonstration.components(str(tmp_path)).definitions(Place(tmp_path, tmp_path))
    mine, theirs = built.resolve_asset_graph(), from_yaml.resolve_asset_graph()

    assert parents_of(mine) == parents_of(theirs)
    assert checks_of(mine) == checks_of(theirs)
    assert partitions_of(mine) == partitions_of(theirs)
    assert set(built.get_repository_def().job_names) == set(from_yaml.get_repository_def().job_names)


def own_yaml(**changes: Any) -> dict[str, Any]:
    attributes = {"name": "books", "root": "guard", "dumps": "books/{dump}/*", "reservoir": "people", **changes}
    return {"type": "collapse_guard.components.CorpusGuard", "attributes": attributes}


@dagster_is_in_beta
def test_a_guard_of_ones_own_loads_from_yaml_with_its_own_names() -> None:
    contents = own_yaml(reservoir_asset="people", schedule="0 7 * * 1")
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=CorpusGuard, defs_yaml_contents=contents)
        with sandbox.load_component_and_build_defs(defs_path=path) as (component, definitions):
            graph = definitions.resolve_asset_graph()
            schedules = [schedule.cron_schedule for schedule in definitions.get_repository_def().schedule_defs]

    assert isinstance(component, CorpusGuard)
    assert parents_of(graph)["books/candidate"] == ["books/sifted", "people"]
    assert set(partitions_of(graph).values()) == {"books_dumps", None}
    assert schedules == ["0 7 * * 1"]


@dagster_is_in_beta
def test_the_scaffold_writes_a_guard_with_a_policy_to_change() -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=CorpusGuard, scaffold_params={"name": "books"})
        written = yaml.safe_load((path / "defs.yaml").read_text(encoding="utf-8"))
        policy = (path / "policy.yaml").read_text(encoding="utf-8")
        with sandbox.load_component_and_build_defs(defs_path=path) as (component, _):
            policy_name = component.policy

    assert written["attributes"]["name"] == "books"
    assert policy == BUILT_IN_POLICIES["default"].read_text(encoding="utf-8")
    assert policy_name == "policy.yaml"


def loading_error(component: type[dg.Component], contents: dict[str, Any]) -> str:
    """What Dagster says about a component's YAML, with the reason behind it."""
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=component, defs_yaml_contents=contents)
        loading = pytest.raises(Exception, match=r"Error while (loading|building)")
        with loading as caught, sandbox.load_component_and_build_defs(defs_path=path):
            pass
    return f"{caught.value} {caught.value.__cause__}"


@dagster_is_in_beta
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"resevoir": "people"}, r"attributes\.resevoir at .*defs\.yaml:\d+`\s+Extra inputs"),
        ({"name": "Not A Name"}, r"attributes\.name at .*defs\.yaml:\d+`\s+String should match pattern"),
        ({"fields": "text"}, r"fields\s+Input should be a valid (dict|mapping)"),
        ({"policy": "absent.yaml"}, r"absent\.yaml: cannot be read"),
    ],
)
def test_a_wrong_attribute_is_an_error_that_names_it(changes: dict[str, Any], named: str) -> None:
    assert re.search(named, loading_error(CorpusGuard, own_yaml(**changes)))


@dagster_is_in_beta
def test_a_reservoir_without_evidence_is_an_error_that_names_it() -> None:
    attributes = {"root": "r", "inputs": "*", "by": "us", "licence": "CC0-1.0"}
    contents = {"type": "collapse_guard.components.HumanReservoir", "attributes": attributes}

    assert re.search(r"attributes\.evidence|evidence\s+Field required", loading_error(HumanReservoir, contents))


def test_a_wrong_policy_is_an_error_that_names_file_line_and_what_is_meant(project: SmallProject) -> None:
    policy = project.root / "policy.yaml"
    text = policy.read_text(encoding="utf-8")
    policy.write_text(text.replace("rare_coverage:", "rare_coverag:"), encoding="utf-8")

    with pytest.raises(PolicyError, match=r"policy\.yaml:10: .*Did you mean 'rare_coverage'"):
        project.definitions()


def test_the_job_takes_a_dump_to_a_release_that_opens(ran: Ran) -> None:
    opened = open_release(ran.project.guard, "web")

    assert ran.result.success
    assert set(checks_in(ran.result).values()) == {True}
    assert materialised_in(ran.result) == ["documents", "measured", "sifted", "candidate", "release"]
    assert opened.digest == ran.metadata("release")["collapse_guard/digest"]
    assert opened.to_arrow().num_rows == ran.metadata("release")["dagster/row_count"]


def test_the_same_run_again_publishes_nothing_new(ran: Ran) -> None:
    before = ran.files()

    again = run_job(ran.definitions, RELEASE_JOB, ran.instance, "d0")

    assert again.success
    assert ran.files() == before
    assert versions_in(again) == versions_in(ran.result)


def versions_in(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    events = [event.materialization for event in result.get_asset_materialization_events()]
    return {event.asset_key.to_user_string(): (event.tags or {})["dagster/data_version"] for event in events}


def test_every_materialisation_carries_digest_and_counts(ran: Ran) -> None:
    for step in ("documents", "measured", "sifted", "candidate", "release"):
        shown = ran.metadata(step)
        assert shown["collapse_guard/digest"] == versions_in(ran.result)[f"web/{step}"]
        assert shown["collapse_guard/in"] == shown["collapse_guard/kept"] + shown["collapse_guard/dropped"]


def test_every_metric_of_the_candidate_is_a_number_that_the_interface_can_plot(ran: Ran) -> None:
    shown = ran.metadata("candidate")

    measured = history(LocalStore(ran.project.guard), "web")[0]["metrics"]
    assert set(measured) == set(METRICS)
    assert {name: shown.get(f"collapse_guard/{name}") for name in METRICS} == measured
    assert {name for name in PANELS if measured[name] is None} <= NEEDS_MORE


def test_the_candidate_shows_every_comparison_with_human_text_as_a_table(ran: Ran) -> None:
    header, _, *rows = ran.metadata("candidate")["collapse_guard/findings"].splitlines()

    assert header == "| family | metric | value | human text | effect | interval (99 %) | evidence |"
    assert {"rare_coverage", "distinct_2", "heldout_perplexity"} <= {line.split("|")[2].strip() for line in rows}


def test_every_gate_of_the_candidate_says_what_was_found_beside_human_text_and_what_was_before(ran: Ran) -> None:
    found = {check.check_name: check.metadata for check in ran.result.get_asset_check_evaluations()}
    told = {name.removeprefix("collapse_guard/"): said.value for name, said in found["gate_rare_coverage"].items()}

    assert told["interval_low"] < told["observed"] < told["interval_high"]
    assert told["baseline_low"] < told["baseline"] < told["baseline_high"]
    assert told["observed"] == pytest.approx(told["measured"] / told["baseline"])
    assert (told["low"], told["outcome"]) == (0.5, "inside the bound")
    assert told["trend"].splitlines()[-1].startswith("| d0 | ")


def test_the_state_is_a_check_on_the_candidate_and_on_the_release(ran: Ran) -> None:
    found = [check for check in ran.result.get_asset_check_evaluations() if check.check_name == "state"]

    assert [check.asset_key.path[-1] for check in found] == ["candidate", "release"]
    assert {check.metadata["collapse_guard/state"].value for check in found} == {"OK"}


ASSET = dg.AssetKey("asset")


@pytest.mark.parametrize(
    ("state", "passed", "severity"),
    [
        ("OK", True, dg.AssetCheckSeverity.ERROR),
        ("EARLY", False, dg.AssetCheckSeverity.WARN),
        ("LATE", False, dg.AssetCheckSeverity.ERROR),
        ("COMPOSITION_DRIFT", False, dg.AssetCheckSeverity.ERROR),
        ("INCONCLUSIVE", False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_early_collapse_warns_and_every_other_state_than_ok_is_an_error(
    state: Any, passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    judgement = Judgement("d", "p", state, ("because",), (), None, {}, {}, 0)

    found = state_check(judgement, ASSET, [{**judgement.to_json(), "dump": "d7"}])

    assert (found.passed, found.severity, found.description) == (passed, severity, f"{state}: because")
    assert f"| d7 | {state} | because |" in found.metadata["collapse_guard/trend"].value


def test_a_gate_that_could_not_be_measured_fails_and_says_so() -> None:
    gate = GateResult(
        name="g",
        metric="rare_coverage",
        value=None,
        low=0.5,
        high=None,
        passed=False,
        outside="block",
        relative=True,
        measured=None,
        baseline=None,
    )
    judgement = Judgement("d", "p", "INCONCLUSIVE", (), (gate,), None, {}, {}, 0)

    (found,) = gate_checks(judgement, ASSET)
    (shown,) = gate_checks(judgement, ASSET, may_block=False)

    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.metadata["collapse_guard/outcome"].value == "could not be measured"
    assert shown.severity == dg.AssetCheckSeverity.WARN


def test_a_refused_release_shows_the_state_that_refused_it(
    released_project: SmallProject, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    project = released_project.copy(tmp_path / "project")
    project.write_policy(TOO_LITTLE)
    mixed = [dg.AssetKey(["web", step]) for step in ("documents", "measured", "sifted", "candidate")]
    run_job(project.definitions(), RELEASE_JOB, instance, "d0", mixed)

    refused = run_job(project.definitions(), RELEASE_JOB, instance, "d0", [dg.AssetKey(["web", "release"])])

    assert not refused.success
    assert checks_in(refused) == {"release_gate": False, "state": True}


@pytest.mark.parametrize("applied", [False, True])
def test_a_collapsed_dump_is_mixed_again_by_its_remedy_where_that_is_asked_for(
    project: SmallProject, instance: dg.DagsterInstance, *, applied: bool
) -> None:
    write_pages(project.root / "crawl" / "d0" / "part.jsonl", list(collapsed(3, 8, 2)[:60]))
    project.write_policy(near="null")
    definitions = project.definitions(apply_remedy=applied)

    first, again = (run_job(definitions, RELEASE_JOB, instance, "d0") for _ in range(2))

    checks, store = checks_in(first), LocalStore(project.guard)
    assert (first.success, again.success) == (applied, applied)
    assert checks["state"] is applied
    mixes = {found.digest: found for found in all_of(store, "web/candidate/d0")}
    assert len(mixes) == (2 if applied else 1)
    if applied:
        newest = latest(store, "web/candidate/d0")
        assert newest is not None
        assert newest.details["target_human_share"] > ENOUGH
        assert open_release(project.guard, "web").digest == newest.digest
        (shown,) = (event for event in first.asset_materializations_for_node("web__candidate"))
        assert shown.metadata["collapse_guard/digest"].value == newest.digest
        assert shown.metadata["collapse_guard/state"].value == "OK"


def all_of(store: LocalStore, name: str) -> list[Snapshot]:
    """Every snapshot of a log, oldest first."""
    return [read_snapshot(store, entry) for entry in log(store, name)]


def test_the_candidate_shows_what_it_is_made_of(ran: Ran) -> None:
    shown = ran.metadata("candidate")

    assert shown["collapse_guard/share_human"] >= 0.3
    assert set(shown["collapse_guard/tokens_by_role"]) == {"fresh_human", "unknown"}
    assert "1" in shown["collapse_guard/reservoir_uses"]


@pytest.mark.parametrize("name", ["trend", "ranks", "origins"])
def test_every_plot_is_a_small_image(ran: Ran, name: str) -> None:
    text = ran.metadata("candidate")[f"collapse_guard/{name}"]
    image = base64.b64decode(text.partition("base64,")[2].removesuffix(")"), validate=True)

    assert image.startswith(b"\x89PNG")
    assert len(image) <= MOST_IMAGE_BYTES


def test_a_candidate_below_the_share_is_shown_and_stops_the_run_before_the_release(
    released_project: SmallProject, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    project = released_project.copy(tmp_path / "project")
    project.write_policy(TOO_LITTLE)

    result = run_job(project.definitions(), RELEASE_JOB, instance, "d0")

    assert not result.success
    assert not checks_in(result)["gate_human_share"]
    assert materialised_in(result) == ["documents", "measured", "sifted", "candidate"]
    with pytest.raises(GateClosed):
        open_release(project.guard, "web")


def test_the_release_before_a_refusal_stands(
    released_project: SmallProject, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    project = released_project.copy(tmp_path / "project")
    before = open_release(project.guard, "web").digest
    project.write_policy(TOO_LITTLE)
    assert not run_job(project.definitions(), RELEASE_JOB, instance, "d0").success

    with pytest.warns(UserWarning, match="was not released"):
        last_good = open_release(project.guard, "web", on_closed="last_good")

    assert last_good.digest == before


def sensor_result(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Any:
    repository = definitions.get_repository_def()
    context = dg.build_sensor_context(instance=instance, repository_def=repository)
    return repository.get_sensor_def("web_new_dumps")(context)


def test_the_sensor_finds_a_new_dump_once(project: SmallProject, instance: dg.DagsterInstance) -> None:
    project.write_dump("d1", count=1)
    instance.add_dynamic_partitions("web_dumps", ["d0"])

    found = sensor_result(project.definitions(), instance)
    instance.add_dynamic_partitions("web_dumps", found.dynamic_partitions_requests[0].partition_keys)
    again = sensor_result(project.definitions(), instance)

    assert [request.partition_key for request in found.run_requests] == ["d1"]
    assert found.dynamic_partitions_requests[0].partition_keys == ["d1"]
    assert isinstance(again, dg.SkipReason)


def test_the_sensor_ignores_a_half_written_hidden_folder(project: SmallProject, instance: dg.DagsterInstance) -> None:
    project.write_dump(".d1", count=1)

    found = sensor_result(project.definitions(), instance)

    assert [request.partition_key for request in found.run_requests] == ["d0"]


@pytest.mark.parametrize("kind", s3_servers.KINDS)
def test_the_sensor_finds_the_dumps_that_lie_in_s3(
    kind: str, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_servers.environment(kind).items():
        monkeypatch.setenv(name, value)
    store = s3_servers.running(kind).store()
    for dump in ("d0", "d1"):
        store.put_if_absent(f"crawl/{dump}/pages.jsonl", b"{}")
    guard = CorpusGuard(
        name="web", root="guard", dumps=f"{store.root}/crawl/{{dump}}/*.jsonl", reservoir="reservoir", policy="default"
    )

    found = sensor_result(guard.definitions(Place(tmp_path, tmp_path)), instance)

    assert [request.partition_key for request in found.run_requests] == ["d0", "d1"]


def test_a_dump_that_the_sensor_asks_for_can_be_run(project: SmallProject, instance: dg.DagsterInstance) -> None:
    definitions = project.definitions()
    request = sensor_result(definitions, instance).run_requests[0]

    assert run_job(definitions, RELEASE_JOB, instance, request.partition_key).success


def schedule_result(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Any:
    schedule = definitions.get_repository_def().get_schedule_def("web_newest_again")
    return schedule(dg.build_schedule_context(instance=instance))


def test_the_schedule_asks_for_the_newest_dump(project: SmallProject, tmp_path: Path) -> None:
    definitions = project.definitions()
    with dg.instance_for_test(temp_dir=str(tmp_path)) as kept:  # a schedule takes no instance in memory
        nothing_yet = schedule_result(definitions, kept)
        kept.add_dynamic_partitions("web_dumps", ["d1", "d0"])
        asked = schedule_result(definitions, kept)

    assert isinstance(nothing_yet, dg.SkipReason)
    assert asked.partition_key == "d1"


def test_an_unreadable_reservoir_is_one_sentence_and_not_a_traceback(
    project: SmallProject, instance: dg.DagsterInstance
) -> None:
    (project.root / "reservoir").rename(project.root / "elsewhere")

    result = run_job(project.definitions(), RELEASE_JOB, instance, "d0")

    failure = result.failure_data_for_node("web__candidate")
    assert failure
    assert failure.user_failure_data
    assert "no document was ever admitted here" in str(failure.user_failure_data.description)


def test_a_changed_byte_in_the_reservoir_fails_its_check(project: SmallProject, instance: dg.DagsterInstance) -> None:
    shard = project.root / "reservoir" / next(iter(LocalStore(project.root / "reservoir").list("shards/")))
    shard.chmod(0o600)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)

    result = run_job(project.definitions(), "reservoir_verify", instance, None)

    assert not result.success
    assert materialised_in(result) == []


COMMANDS = {
    "dagster definitions validate -w workspace.yaml": "All code locations passed validation",
    "dg check defs": "All component YAML validated successfully",
    "dg check yaml": "All component YAML validated successfully",
    "dg check toml": "valid",
    "dg list components": "collapse_guard.components.CorpusGuard",
}


def run_command(command: str, environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(command.split(), cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_command_lines_of_dagster_accept_the_project(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": sys.prefix,
        "DAGSTER_HOME": str(tmp_path),
        "COLUMNS": "200",
    }

    with ThreadPoolExecutor(2) as pool:
        outcomes = dict(zip(COMMANDS, pool.map(run_command, COMMANDS, [environment] * len(COMMANDS)), strict=True))

    for command, (code, said) in outcomes.items():
        assert code == 0, f"{command}: {said}"
        assert COMMANDS[command] in said, f"{command}: {said}"
