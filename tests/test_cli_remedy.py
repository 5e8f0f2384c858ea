from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from small_project import pages, write_pages
from test_cli import Shell, admit
from test_mix_remedy import collapsed

if TYPE_CHECKING:
    from pathlib import Path

WHERE = ("--corpus", "web", "--dump", "d0")
RULES = ("--policy", "policy.yaml")
POLICY = """\
name: small
dedup: {near: null}
mix: {human_share: 0.3, on_exhausted: EXHAUSTED}
judging: {tokens: 8000, draws: 20}
gates:
  human_share: {low: LEAST, outside: block}
  rare_coverage: {relative: true, low: 0.50, outside: block}
  distinct_2: {relative: true, low: 0.50, outside: block}
  heldout_perplexity: {relative: true, high: 2.0, outside: block}
"""


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, capsys, monkeypatch)


def prepared(shell: Shell, texts: list[str], *, exhausted: str = "fail", least: float = 0.1) -> Shell:
    """A sifted dump and an admitted reservoir."""
    rules = POLICY.replace("EXHAUSTED", exhausted).replace("LEAST", str(least))
    (shell.folder / "policy.yaml").write_text(rules, encoding="utf-8")
    write_pages(shell.folder / "crawl" / "c.jsonl", texts)
    admit(shell)
    shell.json("ingest", "crawl", *WHERE)
    shell.json("sift", *WHERE, *RULES)
    return shell


def remedied(shell: Shell, code: int = 0) -> dict[str, Any]:
    return shell.json("mix", *WHERE, *RULES, "--apply-remedy", code=code)


def written(rounds: int, sharpness: int) -> list[str]:
    return list(collapsed(3, rounds, sharpness)[:60])


def test_a_refused_mix_is_mixed_again_released_and_verified(shell: Shell) -> None:
    prepared(shell, written(8, 2))
    first = shell.json("mix", *WHERE, *RULES)
    refused = shell.json("judge", *WHERE, *RULES, code=1)
    assert refused["remedy"]["feasible"], refused["remedy"]["why"]

    second = remedied(shell)
    found = shell.json("judge", *WHERE, *RULES)
    released = shell.json("release", *WHERE, *RULES)

    assert second["digest"] != first["digest"]
    assert (found["digest"], found["state"], found["passed"]) == (second["digest"], "OK", True)
    assert found["metrics"]["human_share"] == pytest.approx(refused["remedy"]["resulting_share"], abs=0.01)
    assert released["digest"] == second["digest"]
    assert shell.json("verify", "--corpus", "web")["passed"]


def test_a_remedy_that_was_applied_is_found_again(shell: Shell) -> None:
    prepared(shell, written(8, 2))

    first = remedied(shell)

    assert remedied(shell)["digest"] == first["digest"]
    assert shell.json("judge", *WHERE, *RULES)["digest"] == first["digest"]


def test_a_mix_that_is_ok_is_not_mixed_again(shell: Shell) -> None:
    prepared(shell, pages(60, seed=9))

    plain = shell.json("mix", *WHERE, *RULES)

    assert remedied(shell)["digest"] == plain["digest"]


def test_a_remedy_that_is_not_feasible_ends_with_exit_1_and_one_error(shell: Shell) -> None:
    prepared(shell, written(8, 2), least=0.99)
    plain = shell.json("mix", *WHERE, *RULES)

    code, out, err = shell("mix", *WHERE, *RULES, "--apply-remedy")

    assert (code, out) == (1, "")
    assert err.count("GateClosed") == 1
    assert "Remedy: NOT feasible: a human share of 0.99 needs" in " ".join(err.split())
    assert "no remedy to apply, and nothing was mixed again" in " ".join(err.split())
    assert shell.json("judge", *WHERE, *RULES, code=1)["digest"] == plain["digest"]


def test_a_policy_whose_other_shares_leave_no_room_is_wrong_use(shell: Shell) -> None:
    prepared(shell, written(3, 1), least=0.5)
    rules = shell.folder / "policy.yaml"
    said = rules.read_text(encoding="utf-8")
    rules.write_text(said.replace("on_exhausted", "shares: {unknown: {low: 0.6}}, on_exhausted"), encoding="utf-8")

    code, out, err = shell("mix", *WHERE, *RULES, "--apply-remedy")

    assert (code, out) == (2, "")
    assert "leave no room for a human share of 0.5" in " ".join(err.split())
