from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from watermarked import green, marked_words, plain_words, text_of, write_ring

from collapse_guard.provenance.watermark.key_ring import read_keys
from collapse_guard.provenance.watermark.nulls import Calibration, calibrate
from collapse_guard.provenance.watermark.scan import Scan, Sums, judged, told

BEFORE, AFTER = datetime(2023, 5, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)


def scan(folder: Path, *entries: dict, calibration: Calibration | None = None) -> Scan:
    return Scan(read_keys(write_ring(folder, *entries), {}), calibration)


def table(*texts: str | None, **columns: list) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.large_string()), **columns})


def outcomes(made: Scan, documents: pa.Table, q: float = 0.01) -> list[str]:
    columns, sums = made.find(documents)
    return judged(pa.table(columns), sums, q)["watermark_outcome"].to_pylist()


@pytest.fixture(scope="module")
def marked() -> str:
    return text_of(marked_words(300, 1, green()))


@pytest.fixture(scope="module")
def plain() -> list[str]:
    return [text_of(plain_words(300, seed)) for seed in range(40)]


def test_a_marked_document_among_plain_ones_is_found_under_its_key(
    tmp_path: Path, marked: str, plain: list[str]
) -> None:
    made = scan(tmp_path, green(7), green())

    columns, sums = made.find(table(*plain, marked))

    found = judged(pa.table(columns), sums, 0.01)
    assert found["watermark_outcome"].to_pylist() == ["none_under_keys"] * 40 + ["evidence"]
    assert columns["watermark_key"][40].as_py() == "k1"
    assert found["watermark.q_value@1"][40].as_py() < 1e-10
    assert sums.histogram.documents == 41


def test_a_short_document_is_inconclusive_and_never_evidence(tmp_path: Path, marked: str) -> None:
    made = scan(tmp_path, green())

    columns, sums = made.find(table(" ".join(marked.split()[:20]), "", None))

    found = judged(pa.table(columns), sums, 0.01)
    assert found["watermark_outcome"].to_pylist() == ["inconclusive"] * 3
    assert found["watermark.q_value@1"].to_pylist() == [1.0] * 3
    assert sums.histogram.documents == 0


def test_a_key_that_cannot_be_tested_makes_documents_unsupported_only_where_it_is_alone(
    tmp_path: Path, marked: str
) -> None:
    on_gpu = green() | {"device": "cuda"}

    assert outcomes(scan(tmp_path, on_gpu), table(marked)) == ["unsupported"]
    assert outcomes(scan(tmp_path, on_gpu, green(5)), table(marked)) == ["none_under_keys"]
    assert list(scan(tmp_path, on_gpu, green(5)).unsupported) == ["k0"]


def test_what_nobody_could_test_has_no_q_value(tmp_path: Path, marked: str) -> None:
    columns, sums = scan(tmp_path, green() | {"device": "cuda"}).find(table(marked))

    assert columns["watermark.log_p@1"].to_pylist() == [None]
    assert judged(pa.table(columns), sums, 0.01)["watermark.q_value@1"].to_pylist() == [None]


def test_a_document_captured_before_a_key_was_used_cannot_carry_its_mark(tmp_path: Path, marked: str) -> None:
    made = scan(tmp_path, green() | {"valid_from": "2025-01-01", "valid_until": "2025-12-31"})
    captured = {"captured_at": pa.array([BEFORE, AFTER, None], pa.timestamp("us", tz="UTC"))}

    assert outcomes(made, table(marked, marked, marked, **captured)) == ["none_under_keys", "evidence", "evidence"]


def test_the_marked_passage_of_a_long_document_is_shown_by_its_characters(tmp_path: Path) -> None:
    before, inside, after = plain_words(900, 2), marked_words(250, 3, green()), plain_words(900, 4)
    text = text_of(before + inside + after)

    columns, _ = scan(tmp_path, green()).find(table(text))

    start, end = (columns[f"watermark_{name}"][0].as_py() for name in ("start", "end"))
    true = set(range(len(text_of(before)), len(text_of(before + inside))))
    shown = set(range(start, end))
    assert len(true & shown) / len(true | shown) > 0.7


@pytest.mark.parametrize("cuts", [[], [1], [5, 20, 21], list(range(1, 41))])
def test_shards_make_no_difference(tmp_path: Path, marked: str, plain: list[str], cuts: list[int]) -> None:
    made = scan(tmp_path, green(), green(9))
    documents = table(*plain, marked, domain=[f"d{n % 3}.example" for n in range(41)])
    whole, expected = made.find(documents)

    bounds = [0, *cuts, 41]
    parts = [made.find(documents.slice(a, b - a)) for a, b in itertools.pairwise(bounds)]

    together = sum((sums for _, sums in parts), Sums())
    assert together.histogram == expected.histogram
    assert pa.concat_tables([pa.table(columns) for columns, _ in parts]).to_pydict() == pa.table(whole).to_pydict()
    found = told(made, together)["prevalence"]
    for row, other in zip(found, told(made, expected)["prevalence"], strict=True):
        assert row == pytest.approx(other)


def test_prevalence_is_told_per_domain_with_an_interval(tmp_path: Path, plain: list[str]) -> None:
    many = [text_of(marked_words(250, seed, green())) for seed in range(10)]
    domains = ["clean.example"] * 40 + ["marked.example"] * 10
    made = scan(tmp_path, green())

    _, sums = made.find(table(*plain, *many, domain=domains))

    rows = {row["group"]: row for row in told(made, sums)["prevalence"] if row["grouping"] == "domain"}
    assert rows["marked.example"]["found"] == 10
    assert rows["marked.example"]["low"] > 0.6
    assert rows["clean.example"]["low"] == 0
    assert rows["clean.example"]["high"] < 0.15


def test_words_that_every_human_document_has_are_left_out_after_calibration(tmp_path: Path) -> None:
    """A phrase that is on every page scores alike on every page: under an unlucky key all of them look marked."""
    phrase = marked_words(80, 5, green())
    human = [text_of(phrase + plain_words(150, seed)) for seed in range(300)]
    pages = table(*(text_of(phrase + plain_words(150, 1000 + seed)) for seed in range(50)))
    known = calibrate(read_keys(write_ring(tmp_path, green()), {}), [pa.array(human, pa.large_string())])

    assert outcomes(scan(tmp_path, green()), pages).count("evidence") > 25
    assert outcomes(scan(tmp_path, green(), calibration=known), pages).count("evidence") == 0


def test_a_calibration_survives_its_file(tmp_path: Path) -> None:
    human = pa.array([text_of([7, 8, 9] * 20 + plain_words(100, seed)) for seed in range(220)], pa.large_string())
    unigram = {"scheme": "unigram", "key": 11, "vocab_size": 1000}
    made = calibrate(read_keys(write_ring(tmp_path, green(), unigram), {}), [human])

    made.write(tmp_path / "calibration.parquet")
    read = Calibration.read(tmp_path / "calibration.parquet")

    assert read.nulls == made.nulls
    assert len(made.nulls) == 1
    assert {place: each.hashes.tolist() for place, each in read.ngrams.items()} == {
        place: each.hashes.tolist() for place, each in made.ngrams.items()
    }
    assert {width for _, width in read.ngrams} == {1, 2}


def test_ids_outside_a_vocabulary_are_unsupported_and_counted(tmp_path: Path, marked: str) -> None:
    made = scan(tmp_path, green() | {"vocab_size": 1000}, green(3) | {"vocab_size": 1005})

    columns, sums = made.find(table(marked))

    assert np.isfinite(columns["watermark.log_p@1"][0].as_py())
    assert {name: found.outside for name, found in sums.keys.items()} == {"k0": 0, "k1": 0}


def test_a_short_marked_passage_is_found_in_a_very_long_document(tmp_path: Path) -> None:
    """As a whole, such a document looks unmarked."""
    inside = marked_words(400, 3, green())
    long = text_of(plain_words(30_000, 2) + inside + plain_words(30_000, 4))
    others = [text_of(plain_words(3000, seed)) for seed in range(20)]

    assert outcomes(scan(tmp_path, green()), table(long, *others)) == ["evidence", *["none_under_keys"] * 20]
