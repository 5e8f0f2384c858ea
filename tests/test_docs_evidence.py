"""What docs/evidence.md says can be done."""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from small_project import pages
from test_cli import Shell
from test_cli_evidence import admit_human, write_rows
from watermarked import WORDS

from collapse_guard.catalogue import load_policy
from collapse_guard.document import ORIGINS
from collapse_guard.provenance.fusion import AGAINST, HUMAN
from collapse_guard.provenance.watermark.keys import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[1] / "docs" / "evidence.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def said_commands() -> Iterator[str]:
    inline = re.findall(r"`(collapse-guard [^`]+)`", PAGE)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    yield from (line for line in (*inline, *lines) if line.startswith("collapse-guard"))


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A folder that holds everything that the page names."""
    words = "\n".join(WORDS) + "\n"
    (tmp_path / "vocabulary.txt").write_text(words, encoding="utf-8")
    ring = blocks("yaml")[0].replace("TOKENIZER_SHA256", hashlib.sha256(words.encode()).hexdigest())
    (tmp_path / "keys.yaml").write_text(ring, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(blocks("yaml")[1], encoding="utf-8")
    (tmp_path / "crawl").mkdir()
    write_rows(tmp_path / "crawl" / "a.jsonl", [{"text": text} for text in pages(60, seed=8)])
    write_rows(tmp_path / "synthetic.jsonl", [{"text": text} for text in pages(120, seed=9)])
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.jpg")
    monkeypatch.setenv("ASSISTANT_WATERMARK_KEY", "987654321")
    shell = Shell(tmp_path, capsys, monkeypatch)
    admit_human(shell, tmp_path, 400)
    return shell


def test_every_command_of_the_page_runs(folder: Shell) -> None:
    for command in said_commands():
        code, _, err = folder(*shlex.split(command)[1:])
        assert code == 0, f"{command}: {err}"


def test_the_policy_of_the_page_can_be_read(folder: Shell) -> None:
    policy = load_policy(folder.folder / "policy.yaml")

    assert policy.watermarks is not None
    assert policy.rules[-1].high == ORIGINS.index("unknown")


def test_the_python_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(blocks("python")[0], {})  # noqa: S102 - our own page

    assert "inconclusive" in capsys.readouterr().out


def test_the_page_names_every_scheme_and_every_origin_of_the_table() -> None:
    for name in (*SCHEMES, *(line.origin for line in (*HUMAN, *AGAINST))):
        assert f"`{name}`" in PAGE or name == "kgw_skipgram", name
