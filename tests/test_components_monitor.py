"""The assets of a model's own output: partitions, checks, and what each generation shows."""

from __future__ import annotations

import base64
import gc
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest
import yaml
from builders import AT, KEY
from dagster.components.testing import create_defs_folder_sandbox
from PIL import Image
from small_project import SILENT, pages, write_pages

from collapse_guard.cli import cli
from collapse_guard.components import GenerationMonitor
from collapse_guard.components.settings import Place
from collapse_guard.errors import UsageError
from collapse_guard.ingest import ingest
from collapse_guard.reservoir import Admission, admit
from collapse_guard.simulate.recursion import Dials, Workflow, recurse
from collapse_guard.store import LocalStore

POLICY = """\
name: m
judging: {tokens: 8000, draws: 20}
gates:
  human_share: {low: 0.1, outside: block}
  rare_coverage: {relative: true, low: 0.5, outside: block}
  distinct_2_early: {metric: distinct_2, relative: true, low: 0.9, outside: warn}
"""
CHECKS = {
    "gate_rare_coverage": True,
    "gate_distinct_2_early": False,
    "state": True,
    "decline": True,
    "quarantine_is_small": False,
}
PAGE = (Path(__file__).parents[1] / "docs" / "monitor.md").read_text(encoding="utf-8")

dagster_is_in_beta = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


@dataclass(frozen=True)
class Monitored:
    """A project with a reservoir and samples of a model, and runs of its asset."""

    folder: Path
    instance: dg.DagsterInstance

    def component(self, **settings: Any) -> GenerationMonitor:
        said = {"name": "writer", "root": "guard", "samples": "samples/gen{generation}.jsonl"}
        return GenerationMonitor(**{**said, "reservoir": "reservoir", "policy": "policy.yaml", **settings})

    def definitions(self, **settings: Any) -> dg.Definitions:
        return self.component(**settings).definitions(Place(self.folder, self.folder))

    def run(self, generation: str) -> dg.ExecuteInProcessResult:
        self.instance.add_dynamic_partitions("writer_generations", [generation])
        job = self.definitions().resolve_job_def("writer_monitor")
        return job.execute_in_process(
            instance=self.instance, partition_key=generation, raise_on_error=False, run_config=SILENT
        )


def facts(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [made] = result.asset_materializations_for_node("writer__monitored")
    return {name.removeprefix("collapse_guard/"): value.value for name, value in made.metadata.items()}


def checked(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


@pytest.fixture(scope="module")
def monitored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monitored")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    write_pages(folder / "human" / "h.jsonl", pages(600, seed=1, words=120))
    reservoir = LocalStore(folder / "reservoir")
    offered = ingest(reservoir, "inbox", "all", [str(folder / "human")])
    admit(reservoir, offered, Admission("us", "CC0-1.0", "generated"), KEY, AT)
    human = pages(150, seed=77, words=120)
    rounds = recurse(human, Dials(pages=150), workflow=Workflow.REPLACE, human_share=0, rounds=6, seed=3)
    for generation in rounds:
        texts = list(generation.written) or pages(200, seed=9, words=120)
        write_pages(folder / "samples" / f"gen{generation.number}.jsonl", texts)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Monitored(folder, instance)
    gc.collect()


@pytest.fixture(scope="module")
def newest(monitored):
    return monitored.run("6")


def test_the_assets_are_partitioned_by_generation_and_every_check_is_declared(monitored):
    graph = monitored.definitions(model_asset=dg.AssetKey(["trained"])).resolve_asset_graph()
    key = dg.AssetKey(["writer", "monitored"])
    specs = [graph.get_check_spec(check) for check in graph.asset_check_keys]

    assert {spec.name: spec.blocking for spec in specs} == CHECKS
    assert {parent.to_user_string() for parent in graph.get(key).parent_keys} == {"writer/samples", "reservoir"}
    assert graph.get(key).partitions_def.name == "writer_generations"
    assert graph.get(dg.AssetKey(["writer", "samples"])).parent_keys == {dg.AssetKey(["trained"])}


def test_a_collapsed_generation_is_shown_and_its_checks_fail(newest):
    found, checks = facts(newest), checked(newest)

    assert found["state"] == "LATE"
    assert not checks["state"].passed
    assert not checks["decline"].passed
    assert "missing_mass" in checks["decline"].description
    assert checks["state"].severity is dg.AssetCheckSeverity.ERROR
    assert checks["quarantine_is_small"].passed
    assert checks.keys() == CHECKS.keys()
    assert found["kept"] == 150
    assert found["quarantined"] == 0


def test_the_state_and_every_gate_say_how_it_was_generation_by_generation(newest):
    shown = {name: check.metadata for name, check in checked(newest).items() if name.startswith(("gate_", "state"))}

    for metadata in shown.values():
        header, _, *rows = metadata["collapse_guard/trend"].value.splitlines()
        assert header.startswith("| generation |")
        assert [row.split(" | ")[0] for row in rows] == [f"| {generation}" for generation in range(7)]
    assert {"state", "gate_rare_coverage"} <= shown.keys()


def test_the_numbers_stand_under_stable_names(newest):
    found = facts(newest)

    assert found["rare_coverage_of_first"] < 0.8
    assert found["rare_coverage_per_generation"] < 1
    assert 0 < found["missing_of_first"] < found["missing_of_reservoir"]
    assert found["gone"].count("\n") == 8
    assert found["gates_skipped"] == "human_share"
    assert "human_share" not in found
    for name in ("rare_coverage", "distinct_2", "feature_variance", "heldout_perplexity", "decline", "tokens"):
        assert isinstance(found[name], (int, float)), name
    assert "| rare_coverage |" in found["changes"]


def test_the_trend_is_a_picture(newest):
    [encoded] = re.findall(r"data:image/png;base64,([^)]+)\)", facts(newest)["trend"])
    data = base64.b64decode(encoded)

    assert len(data) <= 30_000
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"


def test_human_text_as_the_first_generation_passes_everything_even_after_later_ones(monitored, newest):
    first = monitored.run("0")

    assert not newest.success or not checked(newest)["state"].passed
    assert first.success
    assert all(found.passed for found in checked(first).values())
    assert facts(first)["state"] == "OK"
    assert facts(first)["missing_of_first"] == facts(first)["new_since_first"] == 0


def test_the_order_of_runs_does_not_change_a_digest(monitored, newest):
    again = monitored.run("6")

    assert facts(again)["digest"] == facts(newest)["digest"]


@pytest.mark.parametrize("generation", ["9", "latest"])
def test_a_generation_without_samples_fails_in_one_sentence(monitored, generation):
    result = monitored.run(generation)

    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert not result.success
    assert (
        "has no samples under samples/gen{generation}.jsonl" in failure.step_failure_data.user_failure_data.description
    )


def test_a_missing_reservoir_fails_and_shows_nothing(monitored, tmp_path):
    write_pages(tmp_path / "samples" / "gen0.jsonl", pages(60, seed=2))
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")

    result = Monitored(tmp_path, monitored.instance).run("0")

    assert not result.success
    assert result.asset_materializations_for_node("writer__monitored") == []


def tick(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Any:
    repository = definitions.get_repository_def()
    context = dg.build_sensor_context(instance=instance, repository_def=repository)
    return repository.get_sensor_def("writer_new_generations")(context)


def test_the_sensor_starts_every_new_generation_once(monitored):
    definitions = monitored.definitions()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("writer_generations", ["0"])
        first = tick(definitions, instance)
        instance.add_dynamic_partitions("writer_generations", first.dynamic_partitions_requests[0].partition_keys)
        again = tick(definitions, instance)
        nothing = tick(monitored.definitions(samples="none/{generation}.jsonl"), instance)

    assert [request.partition_key for request in first.run_requests] == ["1", "2", "3", "4", "5", "6"]
    assert "7 known" in again.skip_message
    assert "match no file" in nothing.skip_message


def test_a_policy_that_holds_nothing_of_a_models_output_back_is_refused_when_it_loads(monitored):
    (monitored.folder / "share.yaml").write_text(
        "name: p\ngates: {human_share: {low: 0.1, outside: block}}\n", encoding="utf-8"
    )

    with pytest.raises(UsageError, match="gates on human_share alone"):
        monitored.definitions(policy="share.yaml")


@dagster_is_in_beta
def test_the_yaml_of_the_page_loads():
    [block] = re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)
    contents = yaml.safe_load(block)

    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=GenerationMonitor, defs_yaml_contents=contents)
        with sandbox.load_component_and_build_defs(defs_path=path) as (component, definitions):
            assert component.name == contents["attributes"]["name"]
            assert definitions.resolve_job_def(f"{component.name}_monitor")


@pytest.mark.parametrize("line", re.findall(r"^collapse-guard monitor (.+)$", PAGE, re.MULTILINE))
def test_every_command_of_the_page_can_be_parsed(line):
    context = click.Context(cli.commands["monitor"])

    cli.commands["monitor"].parse_args(context, shlex.split(line))

    assert context.params["samples"] == ("samples/gen{generation}.jsonl.zst",)
