from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_project import pages, write_pages

from collapse_guard.catalogue import load_policy
from collapse_guard.metrics import METRICS
from collapse_guard.signals import describe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(program: str) -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line.partition("#")[0].strip() for line in lines if line.startswith(program)]


def signal_table() -> str:
    rows = [f"| `{row.kind}` | {row.summary} | {row.unit} | {row.source} |" for row in describe()]
    rows += [
        f"| `{kind}` (metric) | {(metric.__doc__ or '').splitlines()[0]} | {metric.unit} | {metric.source} |"
        for kind, metric in METRICS.items()
    ]
    return "\n".join(["| name | what | unit | source |", "| --- | --- | --- | --- |", *rows])


def test_the_table_of_signals_and_metrics_is_what_is_declared() -> None:
    found = re.search(r"<!-- signals -->\n(.*?)\n<!-- /signals -->", README, re.DOTALL)

    assert found is not None
    assert found[1] == signal_table(), "put the output of tests/test_readme.py:signal_table() into the README"


def test_the_policy_in_the_readme_is_complete(tmp_path: Path) -> None:
    policy = next(block for block in blocks("yaml") if block.startswith("name:"))
    (tmp_path / "policy.yaml").write_text(policy, encoding="utf-8")

    assert load_policy(tmp_path / "policy.yaml").name == "web"


@pytest.mark.parametrize("command", commands("make"))
def test_every_make_target_of_the_readme_exists(command: str) -> None:
    subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_every_command_and_the_python_of_the_readme_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pages(tmp_path / "human" / "h.jsonl", pages(400, seed=1))
    write_pages(tmp_path / "crawl" / "2026-46" / "c.jsonl", pages(100, seed=2))
    monkeypatch.setenv("COLLAPSE_GUARD_KEY", str(tmp_path / "key.pem"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")

    for command in commands("collapse-guard"):
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S602
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    code = next(block for block in blocks("python") if "open_release" in block)
    subprocess.run([sys.executable, "-c", code + "\nassert len(frame)"], cwd=tmp_path, check=True)
