"""Suites of Great Expectations in the guard's assets and commands: a suite that blocks keeps the release closed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from small_project import DEFAULT_POLICY, ENOUGH, RELEASE_JOB, SmallProject, pages, run_job, write_pages
from test_cli import Shell, admit

from collapse_guard.errors import GateClosed
from collapse_guard.release import open_release
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

HOLDS, FAILS = 1, 10_000
"""At least so many tokens has every document."""


def write_rules(folder: Path, *, on: str, outside: str, tokens: int) -> None:
    """A policy with one suite of one expectation."""
    kwargs = {"column": "tokens", "min_value": tokens}
    asked = [{"type": "expect_column_values_to_be_between", "kwargs": kwargs}]
    (folder / "own.json").write_text(json.dumps({"name": "mine", "expectations": asked}), encoding="utf-8")
    suite = f"expectations:\n  - {{suite: own.json, on: {on}, outside: {outside}, rows: 40}}\n"
    text = DEFAULT_POLICY.replace("SHARE", str(ENOUGH)) + suite
    (folder / "policy.yaml").write_text(text, encoding="utf-8")


def run_guard(
    project: SmallProject, instance: dg.DagsterInstance, *steps: str, **guard: str
) -> dg.ExecuteInProcessResult:
    """Run the release job, or only these of its steps."""
    selection = [dg.AssetKey(["web", step]) for step in steps] or None
    return run_job(project.definitions(**guard), RELEASE_JOB, instance, "d0", selection)


def checks_in(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    found = result.get_asset_check_evaluations()
    return {f"{check.asset_key.path[-1]}:{check.check_name}": (check.passed, check.severity.value) for check in found}


def materialised_in(result: dg.ExecuteInProcessResult) -> list[str]:
    keys = [event.asset_key for event in result.get_asset_materialization_events()]
    return [key.path[-1] for key in keys if key]


def prove_closed(root: Path) -> None:
    assert list(LocalStore(root).list("releases/")) == []
    with pytest.raises(GateClosed, match="nothing was released"):
        open_release(root, "web")


def test_data_docs_show_suites_and_gates_as_pages_and_as_a_check(
    project: SmallProject, instance: dg.DagsterInstance
) -> None:
    write_rules(project.root, on="candidate", outside="block", tokens=HOLDS)

    result = run_guard(project, instance, "documents", "measured", "sifted", "candidate", data_docs="pages")

    assert result.success
    checks = checks_in(result)
    assert checks["candidate:gates_as_expectations"] == (True, "WARN")
    assert checks["candidate:suite_own"] == (True, "ERROR")
    folder = project.root / "pages" / "web" / "candidate" / "d0"
    assert sorted(page.name for page in folder.iterdir()) == ["0_mine.html", "1_gates_of_small.html", "index.html"]
    assert "gate human_share: at least 0.1" in (folder / "1_gates_of_small.html").read_text(encoding="utf-8")
    assert not (project.root / "pages" / "web" / "measured").exists()


def test_data_docs_show_the_gates_of_a_refused_candidate(project: SmallProject, instance: dg.DagsterInstance) -> None:
    project.write_policy(0.05)

    result = run_guard(project, instance, data_docs="pages")

    assert not result.success
    assert checks_in(result)["candidate:gates_as_expectations"] == (False, "WARN")
    index = project.root / "pages" / "web" / "candidate" / "d0" / "index.html"
    assert "human_share" in index.read_text(encoding="utf-8")
    prove_closed(project.guard)


def test_without_data_docs_there_is_neither_page_nor_check(
    released_project: SmallProject, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    project = released_project.copy(tmp_path / "project")

    result = run_guard(project, instance, "documents", "measured", "sifted", "candidate")

    assert "candidate:gates_as_expectations" not in checks_in(result)
    assert not (project.root / "pages").exists()


@pytest.mark.parametrize(
    ("on", "done"),
    [("measured", ["documents", "measured"]), ("candidate", ["documents", "measured", "sifted", "candidate"])],
)
def test_a_suite_that_blocks_stops_the_run_and_keeps_a_release_in_a_run_of_its_own_closed(
    project: SmallProject, instance: dg.DagsterInstance, on: str, done: list[str]
) -> None:
    write_rules(project.root, on=on, outside="block", tokens=FAILS)

    stopped = run_guard(project, instance)
    run_guard(project, instance, "sifted")
    run_guard(project, instance, "candidate")
    alone = run_guard(project, instance, "release")

    assert (stopped.success, materialised_in(stopped)) == (False, done)
    assert checks_in(stopped)[f"{on}:suite_own"] == (False, "ERROR")
    assert (alone.success, checks_in(alone)) == (False, {"release:release_gate": (False, "ERROR")})
    assert "suite 'mine': 0 of 1" in release_gate(alone)
    prove_closed(project.guard)


def release_gate(result: dg.ExecuteInProcessResult) -> str:
    return next(check.description or "" for check in result.get_asset_check_evaluations())


def test_a_suite_that_warns_is_shown_and_closes_nothing(project: SmallProject, instance: dg.DagsterInstance) -> None:
    write_rules(project.root, on="candidate", outside="warn", tokens=FAILS)

    result = run_guard(project, instance)

    assert result.success
    assert checks_in(result)["candidate:suite_own"] == (False, "WARN")
    assert open_release(project.guard, "web").release.number == 1


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize("on", ["measured", "candidate"])
def test_a_suite_that_blocks_ends_the_command_release_with_exit_1(shell: Shell, on: str) -> None:
    write_rules(shell.folder, on=on, outside="block", tokens=FAILS)
    write_pages(shell.folder / "crawl" / "c.jsonl", pages(80, seed=2))
    admit(shell)
    where = ["--corpus", "web", "--dump", "d0"]
    rules = ["--policy", "policy.yaml"]
    shell.json("ingest", "crawl", *where)
    for step in ("sift", "mix", "judge"):
        shell.json(step, *where, *rules)

    code, out, err = shell("release", *where, *rules)

    assert (code, out) == (1, "")
    assert "suite 'mine': 0 of 1" in " ".join(err.split())
    prove_closed(shell.folder / "guard")
