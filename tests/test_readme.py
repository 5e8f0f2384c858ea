from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from small_project import pages, write_pages

from collapse_guard import transforms
from collapse_guard.catalogue import Catalogue, load_pack, load_policy
from collapse_guard.measure import measure
from collapse_guard.metrics import METRICS
from collapse_guard.signals import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapse_guard.policy import Pack

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def commands(program: str) -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line.partition("#")[0].strip() for line in lines if line.startswith(program)]


def signals_page() -> str:
    """docs/signals.md as the declarations say it."""
    measured = [
        f"| `{row.kind}` | {row.summary} | {row.unit} | {_written(row.parameters)} | {row.source} |"
        for row in describe()
    ]
    edits = [
        f"| `{row.kind}` | {row.summary} | {_written(row.parameters)} | {row.source} |" for row in transforms.describe()
    ]
    metrics = [f"| `{kind}` | {metric.summary} | {metric.unit} | {metric.source} |" for kind, metric in METRICS.items()]
    packs = [f"| `{title}` | {len(pack.rules)} | {pack.source} |" for title, pack in built_in_packs().items()]
    return "\n".join(
        [
            "# What a policy can name",
            "",
            "Made from the declarations; a test keeps it true. How to use them: [rules.md](rules.md).",
            *("", "## Packs", "", "| name | rules | source |", "| --- | --- | --- |", *packs),
            *("", "## Signals: a number per document", ""),
            *("| name | what | unit | parameters | source |", "| --- | --- | --- | --- | --- |", *measured),
            *("", "## Transforms", "", "| name | what | parameters | source |", "| --- | --- | --- | --- |", *edits),
            *(
                "",
                "## Metrics: a number per corpus",
                "",
                "| name | what | unit | source |",
                "| --- | --- | --- | --- |",
            ),
            *metrics,
            "",
        ]
    )


def built_in_packs() -> dict[str, Pack]:
    return {title: load_pack(title) for title in sorted(Catalogue().built_in_packs())}


def _written(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}`: {json.dumps(value, ensure_ascii=False)}" for name, value in parameters.items())


def test_the_page_of_signals_packs_and_transforms_is_what_is_declared() -> None:
    found = (ROOT / "docs" / "signals.md").read_text(encoding="utf-8")

    assert found == signals_page(), "put the output of tests/test_readme.py:signals_page() into docs/signals.md"


def test_every_policy_in_the_docs_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    (tmp_path / "blocked.txt").write_text("example.org\n", encoding="utf-8")
    (tmp_path / "quiz.jsonl").write_text('{"question": "Who goes there?", "answer": "Nobody."}\n', encoding="utf-8")
    module = types.ModuleType("my_signals")
    exec(blocks("python", page)[0], module.__dict__)  # noqa: S102 - our own page
    monkeypatch.setitem(sys.modules, "my_signals", module)
    (tmp_path / "policy.yaml").write_text(blocks("yaml", page)[0], encoding="utf-8")

    policy = load_policy(tmp_path / "policy.yaml")

    assert any(name.startswith("readability@1") for name in measure(["Some text."], policy).column_names)


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
