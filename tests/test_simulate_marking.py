from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.extract.html2text import extract_plain_text

from collapse_guard.provenance.watermark.key_ring import check_keys, read_keys
from collapse_guard.provenance.watermark.scan import Scan, judged
from collapse_guard.simulate.language_model import NgramModel
from collapse_guard.simulate.marking import SECRET_NAME, Mark, write_ring
from collapse_guard.simulate.scrape import _html, _Page  # what a reader of the scrape gets to see

WORDS = [f"w{number}" for number in range(400)]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    random = np.random.default_rng(1)
    drawn = (random.zipf(1.3, 300) % len(WORDS) for _ in range(120))
    return [" ".join(WORDS[number] + "." * (place % 12 == 11) for place, number in enumerate(row)) for row in drawn]


@pytest.fixture(scope="module")
def ring(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ring(tmp_path_factory.mktemp("vendor"), texts, seed=3)


def outcomes(ring: Path, pages: list[str]) -> list[str]:
    columns, sums = Scan(read_keys(ring, {})).find(pa.table({"text": pa.array(pages, pa.large_string())}))
    found: list[str] = judged(pa.table(columns), sums, 0.01)["watermark_outcome"].to_pylist()
    return found


def test_the_ring_can_be_tested_here_and_only_its_owner_can_read_the_secret(ring: Path) -> None:
    checks = check_keys(read_keys(ring, {}), today=np.datetime64("2026-01-01").item())

    assert [(check.testable, check.reason, check.warnings) for check in checks] == [(True, None, ())]
    assert stat.S_IMODE((ring.parent / SECRET_NAME).stat().st_mode) == 0o600
    assert (ring.parent / SECRET_NAME).read_text().strip() not in ring.read_text()


def test_the_same_seed_gives_the_same_key_and_another_seed_another(texts: list[str], tmp_path: Path) -> None:
    digests = [read_keys(write_ring(tmp_path / str(n), texts, seed), {}).digest for n, seed in enumerate((3, 3, 4))]

    assert digests[0] == digests[1] != digests[2]


def test_marked_pages_are_found_among_unmarked_ones_also_after_the_way_through_html(
    texts: list[str], ring: Path
) -> None:
    model = NgramModel.train(texts)
    plain = model.write_pages(40, words=300, seed=1)
    marked = model.write_pages(20, words=300, seed=2, mark=Mark(ring))
    pages = [_html(_Page(page, None, url="https://a.example/1")) for page in marked]
    extracted = [extract_plain_text(page, main_content=True) for page in pages]

    assert outcomes(ring, [*texts[:40], *plain, *marked, *extracted]) == ["none_under_keys"] * 80 + ["evidence"] * 40


def test_marked_pages_keep_their_length_and_the_same_seed_writes_them_again(texts: list[str], ring: Path) -> None:
    model = NgramModel.train(texts)

    first, second = (model.write_pages(30, words=100, seed=5, mark=Mark(ring)) for _ in range(2))

    assert first == second
    assert 95 < np.mean([len(page.split()) for page in first]) < 130


def test_the_mark_changes_no_frequency_of_words(tmp_path: Path) -> None:
    common, rare = WORDS[:10], WORDS[10:210]
    text = " ".join((common * 20 + rare) * 10)
    model = NgramModel.train([text], order=1, weights=(1.0,))
    ring = write_ring(tmp_path, [text], seed=0)

    pages = model.write_pages(300, words=60, seed=3, mark=Mark(ring))

    written = [word for page in pages for word in page.split()]
    assert sum(word in common for word in written) / len(written) == pytest.approx(0.5, abs=0.015)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 9), st.data())
def test_a_pen_takes_one_of_the_candidates_and_no_word_only_where_it_comes_first(
    ring: Path, seed: int, draws: int, pages: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(seed)
    lowest = data.draw(st.sampled_from([-2, 0]))
    pen = Mark(ring).pen(["w1", "not there", "w2"], pages)

    for _ in range(6):
        offered = random.integers(lowest, 3, (draws, pages))
        chosen = pen.choose(offered)
        assert ((offered == chosen) | (chosen == offered[0])).any(axis=0).all()
        assert ((chosen < 0) == (offered[0] < 0)).all()


def test_a_model_of_one_word_can_be_marked_too(ring: Path) -> None:
    pages = NgramModel.train(["word"]).write_pages(2, words=5, seed=0, mark=Mark(ring))

    assert {word for page in pages for word in page.split()} == {"word"}
