from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pictures import encoded, scene
from small_project import pages, write_pages
from test_cli import Shell, admit

if TYPE_CHECKING:
    from pathlib import Path

HERE = "test_cli_features"
WHERE = ("--corpus", "shots", "--dump", "d0")
BESIDE = ("--reference-corpus", "human")
TEXT = ("--corpus", "web", "--dump", "d0", "--text")


def words(texts: list[str]) -> list[list[float]]:
    """Three numbers that vary from page to page."""
    return [[float(text.count(letter)) for letter in "aei"] for text in texts]


def lost(items: list[str | bytes]) -> list[list[float]]:
    return [[float("nan")] for _ in items]


def brightness(files: list[bytes]) -> list[list[float]]:
    return [[float(len(data)), float(data[len(data) // 2]), float(data[len(data) // 3])] for data in files]


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, capsys, monkeypatch)


def ingested(shell: Shell, corpus: str, seeds: range, dump: str = "all", *, same: bool = False) -> None:
    """Scenes that are read; or some of them under many names, whose pixels differ in size alone."""
    folder = shell.folder / corpus
    folder.mkdir()
    for seed in seeds:
        drawn = scene(seed % 4, (64, 48 + seed % 3)) if same else scene(seed, (64, 48))
        (folder / f"{seed}.jpg").write_bytes(encoded(drawn, comment=f"{seed}"))
    shell.json("ingest", corpus, "--corpus", corpus, "--dump", dump, "--workers", "1")


def test_images_of_one_kind_are_ok_and_few_modes_are_refused(shell):
    ingested(shell, "human", range(200))
    ingested(shell, "shots", range(500, 560), "d0")
    ingested(shell, "few", range(60), same=True)

    fine = shell.json("judge-features", *WHERE, *BESIDE)
    code, out, _ = shell("judge-features", *WHERE, *BESIDE)
    collapsed = shell.json("judge-features", "--corpus", "few", *BESIDE, code=1)
    told = shell("judge-features", "--corpus", "few", *BESIDE)
    embedded = shell.json("judge-features", *WHERE, *BESIDE, "--embedder", f"{HERE}:brightness")
    failed, _, why = shell("judge-features", *WHERE, *BESIDE, "--embedder", f"{HERE}:lost")

    assert (fine["state"], fine["documents"]) == ("OK", 50)
    assert {"name", "value", "mean", "effect", "low", "high"} <= set(fine["findings"][0])
    assert (code, out.splitlines()[0]) == (0, "OK, 50 documents on either side")
    assert "generalised_variance" in out
    assert collapsed["state"] == "LATE"
    assert told[0] == 1
    assert "of human draws [" in told[1]
    assert embedded["state"] in {"OK", "EARLY"}
    assert failed == 2
    assert "gave NaN or infinity, at document" in why


def test_too_few_images_are_refused_in_numbers(shell):
    ingested(shell, "human", range(8))
    ingested(shell, "shots", range(500, 504), "d0")
    said = shell.json("judge-features", *WHERE, *BESIDE, code=1)
    code, out, _ = shell("judge-features", *WHERE, *BESIDE)
    assert (said["state"], said["documents"], said["findings"]) == ("INCONCLUSIVE", 2, [])
    assert code == 1
    assert "4 in the corpus, a quarter of 8 in the reference" in out


def test_texts_are_judged_beside_the_human_split_by_an_embedder(shell):
    write_pages(shell.folder / "crawl" / "c.jsonl", pages(70, seed=2))
    admit(shell)
    shell.json("ingest", "crawl", "--corpus", "web", "--dump", "d0")
    fine = shell.json("judge-features", *TEXT, "--embedder", f"{HERE}:words")
    failed, _, why = shell("judge-features", *TEXT, "--embedder", f"{HERE}:lost")
    nowhere, _, how = shell("judge-features", *TEXT, "--embedder", "no_such_module:f")
    assert (fine["state"], fine["documents"] >= 50) == ("OK", True)
    assert (failed, nowhere) == (2, 2)
    assert "gave NaN or infinity, at document" in why
    assert "the embedder cannot be used" in how


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((), "name human images by --reference-corpus"),
        (("--text",), "--text needs --embedder"),
        (("--text", "--embedder", "a:b", "--reference-corpus", "x"), "--reference-corpus is for images"),
        (("--reference-corpus", "nothing"), "run `collapse-guard ingest` first"),
        (("--reference-corpus", "shots", "--reference-dump", "d0"), "cannot be judged beside itself"),
    ],
)
def test_wrong_use_is_one_sentence(shell, asked, said):
    ingested(shell, "shots", range(2), "d0")
    code, _, err = shell("judge-features", *WHERE, *asked)
    assert code == 2
    assert said in err


def test_a_candidate_that_was_not_mixed_says_so(shell):
    asked = ("--text", "--embedder", f"{HERE}:words", "--step", "candidate")
    code, _, err = shell("judge-features", *WHERE, *asked)
    assert code == 2
    assert "run `collapse-guard mix` first" in err
