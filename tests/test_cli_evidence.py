from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_project import pages
from test_cli import Shell
from watermarked import green, marked_words, plain_words, text_of, write_ring

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, capsys, monkeypatch)


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    """Thirty plain pages, ten marked ones, one that declares itself, one with residue."""
    plain = [{"text": text_of(plain_words(200, seed)), "url": "https://plain.example/"} for seed in range(30)]
    marked = [{"text": text_of(marked_words(200, n, green())), "url": "https://marked.example/"} for n in range(10)]
    declared = {"text": text_of(plain_words(200, 77)), "digitalSourceType": "trainedAlgorithmicMedia"}
    residue = {"text": "As an AI language model, I cannot fulfil this request. " + text_of(plain_words(100, 78))}
    return write_rows(tmp_path / "crawl.jsonl", [*plain, *marked, declared, residue])


def test_scan_says_what_carries_evidence_and_how_much_of_each_domain(shell: Shell, crawl: Path, tmp_path: Path) -> None:
    ring = write_ring(tmp_path, green(), green(3), green(4) | {"device": "cuda"})

    found = shell.json("scan", str(crawl), "--keys", str(ring), "--out", "columns.parquet")

    watermarks = found["evidence"]["watermarks"]
    assert watermarks["outcomes"]["evidence"] == 10
    assert [key["found"] for key in watermarks["keys"]] == [10, 0]
    assert [key["id"] for key in watermarks["unsupported_keys"]] == ["k2"]
    domains = {row["group"]: row for row in watermarks["prevalence"] if row["grouping"] == "domain"}
    assert domains["marked.example"]["low"] > 0.6
    assert domains["plain.example"]["high"] < 0.2
    assert found["evidence"]["origins"] == {"synthetic": 12, "unknown": 30}
    assert found["evidence"]["declared"]
    assert any("speech" in name for name in found["evidence"]["residue"])
    assert pq.read_table(tmp_path / "columns.parquet")["watermark_key"].to_pylist().count("k0") >= 10


def test_scan_prints_tables_for_people(shell: Shell, crawl: Path, tmp_path: Path) -> None:
    code, out, _ = shell("scan", str(crawl), "--keys", str(write_ring(tmp_path, green())))

    assert code == 0
    for words in (
        "documents by origin",
        "keys that were tested",
        "95 % interval",
        "marked.example",
        "evidence",
    ):
        assert words in out


def test_scan_without_keys_looks_at_everything_else(shell: Shell, crawl: Path) -> None:
    found = shell.json("scan", str(crawl))

    assert found["evidence"]["watermarks"] is None
    assert found["evidence"]["origins"]["synthetic"] == 2


def test_scan_examines_images(shell: Shell, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "plain.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe1\x00")

    found = shell.json("scan", "plain.png", "broken.jpg")["images"]

    assert found[0]["evidence"] == []
    assert found[0]["c2pa"]["outcome"] == "none"
    assert found[1]["problems"]
    assert "plain.png" in shell("scan", "plain.png")[1]


def test_keys_check_ends_with_1_where_a_key_cannot_be_tested(shell: Shell, tmp_path: Path) -> None:
    assert shell("keys", "check", str(write_ring(tmp_path, green())))[0] == 0

    ring = write_ring(tmp_path, green(), green(5) | {"device": "cuda"})
    assert shell.json("keys", "check", str(ring), code=1)["keys"][1]["testable"] is False


def admit_human(shell: Shell, tmp_path: Path, count: int) -> None:
    human = [{"text": text, "url": f"https://site{n % 5}.example/"} for n, text in enumerate(pages(count, seed=3))]
    write_rows(tmp_path / "human.jsonl", human)
    said = ("--by", "the tests", "--licence", "CC0-1.0", "--evidence", "made here")
    assert shell("reservoir", "admit", "human.jsonl", "--root", "reservoir", *said)[0] == 0


def test_a_calibration_from_the_reservoir_serves_a_scan(shell: Shell, crawl: Path, tmp_path: Path) -> None:
    admit_human(shell, tmp_path, 400)
    ring = write_ring(tmp_path, green())

    made = shell.json("keys", "calibrate", str(ring), "--reservoir", "reservoir", "--out", "known.parquet")
    found = shell.json("scan", str(crawl), "--keys", str(ring), "--calibration", "known.parquet")

    assert made["documents"] > 300
    assert found["evidence"]["watermarks"]["outcomes"]["evidence"] == 10


def test_a_classifier_of_ones_own_is_trained_and_used(shell: Shell, tmp_path: Path) -> None:
    admit_human(shell, tmp_path, 200)
    machine = [
        {"text": text.replace(" the ", " delve "), "generator": "m1", "url": f"https://site{n % 5}.example/"}
        for n, text in enumerate(pages(200, seed=4))
    ]
    write_rows(tmp_path / "machine.jsonl", machine)

    made = shell.json("classifier", "train", "machine.jsonl", "--reservoir", "reservoir", "--out", "model.parquet")
    again = shell.json("classifier", "train", "machine.jsonl", "--reservoir", "reservoir", "--out", "model.parquet")
    shell("scan", "machine.jsonl", "--classifier", "model.parquet", "--out", "columns.parquet")

    assert made["digest"] == again["digest"]
    assert made["report"]["held_out"]["auc"] > 0.8
    assert made["ledger"]["in"] == sum(made["ledger"]["dropped"].values()) + made["ledger"]["kept"]
    scores = pq.read_table(tmp_path / "columns.parquet")["classifier.p_synthetic@1"].drop_null()
    assert len(scores) > 150
    assert sorted(scores.to_pylist())[len(scores) // 2] > 0.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("scan", "nothing.jsonl"), "nothing.jsonl"),
        (("scan", "nothing.png"), "nothing.png"),
        (("keys", "check", "nothing.yaml"), "nothing.yaml"),
        (("scan", "x.jsonl", "--keys", "nothing.yaml"), "nothing"),
    ],
)
def test_what_is_not_there_is_one_sentence(shell: Shell, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    write_rows(tmp_path / "x.jsonl", [{"text": "some words"}])

    code, _, err = shell(*words)

    assert code in {2, 3}
    assert said in err
    assert "Traceback" not in err
