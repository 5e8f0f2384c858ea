from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from small_project import DEFAULT_POLICY, pages, write_pages
from test_cli import Shell, admit

from collapse_guard import open_release

WHERE = ("--corpus", "web", "--dump", "d0")
RULES = ("--policy", "strict.yaml")
SOON = f"{datetime.now(UTC) + timedelta(days=9):%Y-%m-%d}"
SAID = ("--by", "the data desk", "--because", "a pilot with few people", "--until", SOON)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, capsys, monkeypatch)


@pytest.fixture
def refused(shell: Shell) -> dict[str, Any]:
    """The judgement of a candidate that the real judge finds sound, but with too few human tokens."""
    rules = DEFAULT_POLICY.replace("SHARE", "0.3").replace("human_share: {low: 0.10", "human_share: {low: 0.9")
    (shell.folder / "strict.yaml").write_text(rules, encoding="utf-8")
    write_pages(shell.folder / "crawl" / "c.jsonl", pages(80, seed=2))
    admit(shell)
    shell("ingest", "crawl", *WHERE)
    shell("sift", *WHERE, *RULES)
    shell("mix", *WHERE, *RULES)
    return shell.json("judge", *WHERE, *RULES, code=1)


def test_a_refused_candidate_is_overridden_released_and_shown_as_such(shell: Shell, refused: dict[str, Any]) -> None:
    assert shell("release", *WHERE, *RULES)[0] == 1
    code, out, err = shell("override", refused["digest"][:12], *WHERE, "--gate", "human_share", *SAID)
    assert (code, err.count("Error")) == (0, 0)
    assert "signed attestations/overrides/web/00000001.json, for" in out

    released = shell.json("release", *WHERE, *RULES)
    verified = shell.json("verify", "--corpus", "web")
    code, out, err = shell("verify", "--corpus", "web")

    assert not released["passed"]
    assert not verified["passed"]
    assert (verified["overrides"][0]["gates"], verified["overrides"][0]["lapsed"]) == (["human_share"], False)
    assert (code, "OVERRIDDEN  it was refused: human_share overridden by the data desk" in out) == (0, True)
    assert "release 1 did not pass: human_share overridden by the data desk" in err
    with pytest.warns(UserWarning, match="overridden by the data desk until"):
        assert open_release(shell.folder / "guard", "web").overrides[0].because == "a pilot with few people"


def test_an_override_on_the_command_line_names_its_candidate_and_a_closed_gate(
    shell: Shell, refused: dict[str, Any]
) -> None:
    gate = ("--gate", "human_share")
    told = shell.json("override", refused["digest"][:8], *WHERE, *gate, *SAID)
    assert (told["digest"], told["gates"], told["lapsed"]) == (refused["digest"], ["human_share"], False)

    for words, why in (
        (["abcdef12", *gate, *SAID], "the newest candidate 'web/candidate/d0' is"),
        ([refused["digest"][:3], *gate, *SAID], "name that one"),
        ([refused["digest"], "--gate", "distinct_2", *SAID], "there is nothing to override; closed: human_share"),
        ([refused["digest"], *gate, *SAID[:-1], "2020-01-01"], "it must end after it begins"),
        ([refused["digest"], *SAID], "--gate"),
    ):
        code, _, err = shell("override", *words, *WHERE)
        assert code == 2
        assert why in err
