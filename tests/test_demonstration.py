"""The demo made small: what its vendor marks is found and dropped, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from collapse_guard.catalogue import BUILT_IN_POLICIES, load_policy
from collapse_guard.components import demonstration
from collapse_guard.simulate.human_text import read_human_text

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demonstration.fresh_folder(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def rows(folder: Path) -> Iterator[list[tuple[dict[str, Any], dict[str, Any]]]]:
    """The rows of two generations, without Dagster's database on disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demonstration, "read_human_text", lambda: read_human_text(1_000_000))
        patch.setattr(demonstration.dg.DagsterInstance, "from_config", lambda _: dg.DagsterInstance.ephemeral())
        patch.setattr(demonstration, "SYNTHETIC_PAGES", 100)
        demo = demonstration.Demo(folder, seed=0)
        demo.prepare(2)
        yield [demo.generation(number) for number in range(2)]
        demo.close()


def test_before_the_first_model_writes_nothing_is_marked_and_nothing_is_found(rows: list[Any]) -> None:
    found = rows[0][1]["watermark"]

    assert (found["marked"], found["found"], found["false"]) == (0, 0, 0)


def test_the_guard_finds_the_marked_pages_that_are_long_enough_and_drops_no_other_as_marked(rows: list[Any]) -> None:
    guarded = rows[1][1]
    found = guarded["watermark"]

    assert found["marked"] >= 50
    assert found["found"] >= 0.98 * (found["marked"] - found["inconclusive"])
    assert found["inconclusive"] < 0.2 * found["marked"]
    assert found["false"] == 0
    assert guarded["ledger"]["dropped"]["marked"] == pytest.approx(found["found"], abs=2)


def test_the_story_of_the_refusal_and_its_remedy_remains(rows: list[Any]) -> None:
    assert rows[1][1]["released"]
    assert rows[1][1]["refusals"][0]["remedy"]["human_tokens_to_add"] > 0
    assert not rows[1][0]["released"]


def test_the_demos_policy_is_the_default_policy_with_one_rule_more(rows: list[Any], folder: Path) -> None:
    assert rows
    own, default = (load_policy(path).to_json() for path in (demonstration.policy_in(folder), "default"))

    assert own.pop("name") == "demo"
    assert own.pop("watermarks")["keys"] == "keys.yaml"
    assert own.pop("rules")[1:] == default.pop("rules")
    default = {name: value for name, value in default.items() if name in own}
    assert own == default


def test_before_a_demo_has_run_the_project_uses_the_default_policy(tmp_path: Path) -> None:
    assert demonstration.policy_in(tmp_path) in BUILT_IN_POLICIES
    assert demonstration.components(str(tmp_path)).guard.policy == "default"


def test_the_projects_yaml_uses_the_policy_that_the_demo_left(
    rows: list[Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rows
    monkeypatch.setenv("COLLAPSE_GUARD_DEMO", str(folder))

    graph = dg.load_from_defs_folder(path_within_project=Path(__file__).parents[1]).resolve_asset_graph()

    version = graph.get(dg.AssetKey(["web", "sifted"])).code_version
    assert version == load_policy(demonstration.policy_in(folder)).digest[:16]


def test_no_file_but_its_own_holds_the_vendors_secret(rows: list[Any], folder: Path) -> None:
    assert rows
    secret = folder / "policy" / "key.txt"
    number = int(secret.read_text())

    for path in folder.rglob("*"):
        if path.is_file() and path != secret:
            content = path.read_bytes()
            assert str(number).encode() not in content, path
            assert f"{number:x}".encode() not in content, path
