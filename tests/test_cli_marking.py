from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_project import pages
from test_cli import Shell

if TYPE_CHECKING:
    from pathlib import Path

SAID = ("--producer", "Example Lab", "--model", "m-1", "--generation", "0")
PAGE = '<!DOCTYPE html><html><head><meta charset="{}"><title>T</title></head><body><p>Ünï {}</p></body></html>'


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, capsys, monkeypatch)


def test_every_row_that_was_marked_is_found_by_the_scanner(shell: Shell, tmp_path: Path) -> None:
    texts = pages(6, seed=1)
    lines = "".join(json.dumps({"text": text, "extra": {"kept": 1}}) + "\n" for text in texts[:3])
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    pq.write_table(pa.table({"id": ["x", "y", "z"], "text": texts[3:]}), tmp_path / "b.parquet")

    shell.json("mark", "a.jsonl", "b.parquet", *SAID)
    found = shell.json("scan", "marked/a.jsonl", "marked/b.parquet", "--out", "columns.parquet")

    assert found["evidence"]["origins"] == {"synthetic": 6}
    assert set(pq.read_table(tmp_path / "columns.parquet")["depth"].to_pylist()) == {1}
    assert json.loads((tmp_path / "marked" / "a.jsonl").read_text().splitlines()[0])["extra"] == {"kept": 1}


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
def test_a_page_keeps_its_encoding_and_is_marked_once(shell: Shell, tmp_path: Path, charset: str) -> None:
    (tmp_path / "p.html").write_bytes(PAGE.format(charset, "x").encode(charset))

    shell.json("mark", "p.html", *SAID)
    (tmp_path / "again").mkdir()
    shell.json("mark", "marked/p.html", "--out", "twice", *SAID, "--produced-at", "2026-01-01T00:00:00+00:00")

    once, twice = ((tmp_path / folder / "p.html").read_bytes().decode(charset) for folder in ("marked", "twice"))
    assert "Ünï" in once
    assert "Example Lab" in once
    assert once.count("ai-disclosure") == twice.count("ai-disclosure") == 1


def test_an_image_that_was_marked_is_found_by_the_scanner(shell: Shell, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), (10, 200, 30)).save(tmp_path / "i.png")

    shell.json("mark", "i.png", *SAID)
    found = shell.json("scan", "marked/i.png")["images"][0]

    assert any(one["says"] == "synthetic" and one["strength"] == "strong" for one in found["evidence"])


def test_without_files_the_value_of_the_header_is_printed(shell: Shell) -> None:
    code, out, _ = shell("mark", *SAID)

    assert code == 0
    assert "Example Lab" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing.jsonl",), "cannot be read"),
        (("bad.jsonl",), "line 1"),
        (("bad.parquet",), "no Parquet"),
        (("bad.png",), ""),
        (("ok.jsonl", "--certificate", "chain.pem"), "both"),
        (("ok.jsonl", "--produced-at", "soon"), "no time"),
        (("ok.jsonl", "--out", "."), "already there"),
    ],
)
def test_what_cannot_be_marked_is_one_sentence(shell: Shell, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    for name in ("bad.jsonl", "bad.parquet", "bad.png"):
        (tmp_path / name).write_bytes(b"[1, 2]")
    (tmp_path / "ok.jsonl").write_text('{"text": "x"}\n', encoding="utf-8")

    code, _, err = shell("mark", *words, *SAID)

    assert code == 2
    assert said in err
    assert "Traceback" not in err
