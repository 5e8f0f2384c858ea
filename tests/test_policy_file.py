from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from collapse_guard.catalogue import load_pack, load_policy
from collapse_guard.errors import PolicyError
from collapse_guard.policy import Policy, Where, rules_said

if TYPE_CHECKING:
    from pathlib import Path

GATES = "gates: {human_share: {low: 0.1, outside: block}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "blocked.txt").write_text("example.org\n", encoding="utf-8")
    (tmp_path / "quiz.jsonl").write_text('{"text": "one two three four five six"}\n', encoding="utf-8")
    return tmp_path


def read(folder: Path, text: str) -> Policy:
    (folder / "policy.yaml").write_text(f"name: p\n{text}\n{GATES}", encoding="utf-8")
    return load_policy(folder / "policy.yaml")


def refused(folder: Path, text: str) -> str:
    with pytest.raises(PolicyError) as raised:
        read(folder, text)
    return str(raised.value)


def test_a_pack_can_be_limited_to_some_documents(folder: Path) -> None:
    policy = read(folder, "packs: [{pack: gopher_quality@1, where: {signal: word_count, low: 5}}]")

    assert {rule.where for _, rule in policy.all_rules()} == {Where(signal="word_count", low=5)}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("packs: [{pack: gopher_quality@1}]", 2, "keys `pack` and `where`"),
        ("packs:\n  - {pack: gopher_quality@1, where: {signal: wrod_count, low: 5}}", 3, "Did you mean 'word_count'"),
        ("packs: [{pack: gopher_quality@1, where: 5}]", 2, "packs.0.where"),
        ("packs: [{pack: gopher_quality@1, where: {signal: word_count}}]", 2, "needs `low`, `high` or both"),
        ("packs: [{pack: gopher_quality@1, where: {signal: word_count, lwo: 5}}]", 2, "lwo"),
        ("rules:\n  - {signal: word_count, low: 1, outside: drop, where: {signal: nothing, low: 1}}", 3, "nothing"),
        ("folder: /", 2, "unknown key"),
        ("tokenizer: slow", 2, "fast"),
        ("dedup: {near: {bands: 0}}", 2, "greater than or equal to 1"),
        ("dedup: {naer: null}", 2, "Did you mean 'near'"),
        ("decontaminate: [{name: quiz, path: nowhere.jsonl}]", 2, "cannot be read"),
        (f"decontaminate: [{{name: quiz, path: {'x' * 300}}}]", 2, "cannot be read (File name too long)"),
        ('decontaminate: [{name: quiz, path: "a\\0b"}]', 2, "cannot be read (embedded null byte)"),
        ("signals: {own: {function: nowhere.at_all}}", 2, "package.module:function"),
        ("signals: {own: {function: 'nowhere:at_all'}}", 2, "cannot be imported"),
        ("signals: {own: {function: 'json:nothing'}}", 2, "cannot be imported"),
        ("signals: {own: {function: 'json:__doc__'}}", 2, "is no function"),
    ],
)
def test_a_mistake_names_line_and_what_would_be_right(folder: Path, text: str, line: int, said: str) -> None:
    message = refused(folder, text)

    assert f"policy.yaml:{line}:" in message
    assert said in message


def test_the_content_of_a_named_file_is_part_of_the_policy_and_its_place_is_not(folder: Path, tmp_path: Path) -> None:
    text = "decontaminate: [{name: quiz, path: quiz.jsonl}]"
    before = read(folder, text)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "quiz.jsonl").write_bytes((folder / "quiz.jsonl").read_bytes())

    assert read(moved, text).digest == before.digest
    assert before.decontaminate[0].sha256 == hashlib.sha256((folder / "quiz.jsonl").read_bytes()).hexdigest()
    (moved / "quiz.jsonl").write_text("something else\n", encoding="utf-8")
    assert read(moved, text).digest != before.digest


def test_a_signal_that_the_policy_declares_can_be_named_in_its_rules(folder: Path) -> None:
    policy = read(
        folder,
        "signals: {german: {kind: language_probability, languages: [de]}}\n"
        "rules: [{signal: german, low: 0.5, outside: drop}]",
    )

    (title, rule), *_ = policy.all_rules()
    assert (title, rule.signal) == ("german", {"kind": "language_probability", "languages": ["de"]})


def test_every_rule_can_be_read_back_from_what_was_kept_beside_the_verdicts(folder: Path) -> None:
    policy = read(
        folder,
        "decontaminate: [{name: quiz, path: quiz.jsonl}]\n"
        "packs: [{pack: gopher_quality@1, where: {signal: word_count, low: 5}}]\n"
        "rules: [{signal: word_count, low: 1, outside: review}]",
    )

    assert rules_said(policy.sifting) == list(policy.all_rules())


def test_moving_a_gate_does_not_change_what_decides_about_documents(folder: Path) -> None:
    policy = read(folder, "dedup: {near: null, url: true}")
    other = read(folder, "dedup: {near: null, url: true}\njudging: {draws: 50}")

    assert other.sifting == policy.sifting
    assert other.digest != policy.digest
    assert read(folder, "dedup: {near: null}").sifting != policy.sifting


def test_an_unknown_pack_says_which_exist() -> None:
    with pytest.raises(PolicyError, match="Did you mean 'gopher_quality@1'"):
        load_pack("gopher_qualty@1")
