from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from builders import document, measured, table
from provable import Provable

from collapse_guard.report.eu_summary import RANGES, eu_summary, markdown

PAGES = [
    document(f"p{number}", 10 + number, domain=f"d{number % 25}.example", language="de" if number % 2 else None)
    for number in range(50)
]


def marked_tables(_dump: str, _count: int):
    """Scraped pages of 25 domains, of which some are marked."""
    texts = table([{**page, "captured_at": datetime(2025, 1 + n % 12, 1, tzinfo=UTC)} for n, page in enumerate(PAGES)])
    facts = measured(texts).drop_columns(["origin"])
    origins = ["synthetic" if n % 10 == 0 else "unknown" for n in range(50)]
    facts = facts.append_column("origin", pa.array(origins))
    facts = facts.append_column("watermark_key", pa.array(["ring/a" if n % 10 == 0 else None for n in range(50)]))
    facts = facts.append_column("word_count@2", pa.array([90.0] * 50))
    return texts, facts.append_column("mean_word_length@2", pa.array([5.0] * 50))


@pytest.fixture
def released(tmp_path, monkeypatch):
    guard = Provable(tmp_path)
    monkeypatch.setattr("collapse_guard.release.publishing.judge", guard.judge)
    monkeypatch.setattr("provable.dump_tables", marked_tables)
    return guard, guard.release(guard.candidate())


def test_the_facts_are_those_of_the_rows(released):
    guard, entry = released
    rows = guard.open().to_arrow().to_pylist()
    pool = [row for row in rows if row["stratum"] == "pool"]

    facts = eu_summary(guard.store, entry, guard.reservoir)

    text = facts["general"]["modalities"]["text"]
    assert text["tokens"] == sum(row["tokens"] for row in rows)
    assert text["documents"] == len(rows)
    assert text["bytes"] == sum(len(row["text"].encode()) for row in rows)
    assert text["size"] == "less than 1 billion tokens"
    scraped = facts["sources"]["scraped"]
    assert scraped["tokens"] == sum(row["tokens"] for row in pool)
    assert scraped["domains"] == len({row["domain"] for row in pool})
    assert scraped["collected_to"] == max(row["captured_at"] for row in pool).isoformat()
    assert facts["sources"]["reservoir"]["tokens_in_the_reservoir_by_licence"] == {"CC0-1.0": 594}
    assert facts["general"]["tokens_by_language"]["de"] == sum(row["tokens"] for row in pool if row["language"])


def test_the_top_tenth_of_the_domains_is_named_by_tokens(released):
    guard, entry = released
    sums: dict[str, int] = {}
    for row in guard.open().to_arrow().to_pylist():
        if row["domain"]:
            sums[row["domain"]] = sums.get(row["domain"], 0) + row["tokens"]

    top = eu_summary(guard.store, entry)["sources"]["scraped"]["top_domains_by_tokens"]

    assert len(top) == -(-len(sums) // 10)
    assert list(top.values()) == sorted(sums.values(), reverse=True)[: len(top)]


def test_generators_are_what_marks_in_released_documents_name(released):
    guard, entry = released
    rows = guard.open().to_arrow().to_pylist()
    synthetic = [row for row in rows if row["origin"] == "synthetic"]

    found = eu_summary(guard.store, entry)["sources"]["synthetic"]

    assert synthetic
    assert found["tokens"] == sum(row["tokens"] for row in synthetic)
    assert found["generators"] == {"watermark_key": {"ring/a": len(synthetic)}}


def test_what_nobody_said_is_unknown_and_no_compliance_is_claimed(tmp_path, monkeypatch):
    guard = Provable(tmp_path)
    monkeypatch.setattr("collapse_guard.release.publishing.judge", guard.judge)
    facts = eu_summary(guard.store, guard.release(guard.candidate()))

    assert facts["general"]["provider"] == facts["general"]["latest_acquisition"] == "unknown"
    assert facts["sources"]["reservoir"]["tokens_in_the_reservoir_by_licence"] == "unknown"
    assert facts["sources"]["synthetic"]["generators"] == facts["sources"]["synthetic"]["undetected"] == "unknown"
    assert {facts["processing"][name] for name in ("rights_reservations", "illegal_content")} == {"unknown"}
    text = markdown(facts)
    assert "complian" not in text.lower()
    assert "conform" not in text.lower()


def test_the_page_says_every_number_and_runs_nothing_from_the_corpus(released):
    guard, entry = released
    facts = eu_summary(guard.store, entry, guard.reservoir)
    facts["sources"]["scraped"]["top_domains_by_tokens"] = {"<script>alert(1)</script>[x](y)\n# z": 1}

    page = markdown(facts)

    assert page.startswith("# Training content")
    assert f"- tokens: {facts['general']['modalities']['text']['tokens']:,}" in page
    assert "\\<script\\>" in page
    assert "\n# z" not in page
    assert "\\[x\\](y)" in page


def test_ranges_cover_every_size():
    assert [end for end, _ in RANGES] == [10**9, 10**13, None]
