"""The asset of the reservoir: what it admits, what waits, and how much it re-hashes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from small_project import pages, write_pages

from collapse_guard.components import HumanReservoir
from collapse_guard.components.settings import Place


@dataclass(frozen=True)
class Asset:
    """A project with human documents, and runs of its asset."""

    folder: Path
    instance: dg.DagsterInstance

    def run(self, job: str | None = None, **settings: Any) -> dg.ExecuteInProcessResult:
        said = {"by": "us", "licence": "CC0-1.0", "evidence": "print", "signing_key": "key.pem"}
        component = HumanReservoir(root="reservoir", inputs="human/*", **said, **settings)
        defs = component.definitions(Place(self.folder, self.folder))
        if job:
            return defs.resolve_job_def(job).execute_in_process(instance=self.instance)
        return dg.materialize(list(defs.assets or ()), instance=self.instance)

    def facts(self, result: dg.ExecuteInProcessResult) -> dict[str, Any]:
        [evaluation] = result.get_asset_check_evaluations()
        [made] = result.asset_materializations_for_node("reservoir")
        checked = {name: value.value for name, value in evaluation.metadata.items()}
        kept = {name: value.value for name, value in made.metadata.items()}
        return {name.removeprefix("collapse_guard/"): value for name, value in {**kept, **checked}.items()}


@pytest.fixture
def asset(tmp_path):
    for number in range(3):
        write_pages(tmp_path / "human" / f"h{number}.jsonl", pages(40, seed=number))
    with dg.DagsterInstance.ephemeral() as instance:
        yield Asset(tmp_path, instance)


def test_the_scheduled_job_re_hashes_everything_and_any_other_run_a_sample(asset):
    everything = asset.facts(asset.run("reservoir_verify"))
    sampled = asset.facts(asset.run())

    assert everything["documents"] == sampled["documents"] == 120
    assert everything["shards"] == 4
    assert sampled["shards"] == 1


def test_what_waits_is_counted_and_not_offered(asset):
    facts = asset.facts(asset.run(quarantine_days=9))

    assert facts["pending"] == 1
    assert facts["documents"] == facts["tokens_human"] == 0


def test_known_model_text_and_keys_can_be_named(asset):
    write_pages(asset.folder / "models" / "m.jsonl", pages(40, seed=0)[:5])

    assert asset.facts(asset.run(synthetic="models/*"))["dropped"] == 5
    with pytest.raises(dg.Failure, match="key ring cannot be read"):
        asset.run(keys="missing.yaml")
