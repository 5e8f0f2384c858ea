from __future__ import annotations

import io
import json
import zlib
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import zstandard
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text

from collapse_guard.errors import UsageError
from collapse_guard.simulate.scrape import SITES, VENDOR_SITES, write_scrape

CAPTURED = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAGIC = b"\x1f\x8b\x08"


def texts(kind: str, count: int) -> list[str]:
    return [
        f"The {kind} text {n} is about <tea> & cake. It has three sentences.\n\nThe last of {kind} {n} stands alone."
        for n in range(count)
    ]


HUMAN, SYNTHETIC = texts("human", 120), texts("synthetic", 80)


def scrape(folder, **changes):
    arguments = {"dump": "week-1", "human": HUMAN, "synthetic": SYNTHETIC, "captured_at": CAPTURED, "seed": 7}
    return write_scrape(folder, **(arguments | changes))


def members(data: bytes) -> tuple[list[bytes], int]:
    """Decompress every gzip member on its own, and count those that are damaged."""
    good, bad = [], 0
    for start in (i for i in range(len(data)) if data.startswith(MAGIC, i)):
        reader = zlib.decompressobj(wbits=31)
        try:
            content = reader.decompress(data[start:])
        except zlib.error:
            content = b""
        if reader.eof:
            good.append(content)
        else:
            bad += 1
    return good, bad


def responses(path) -> tuple[list[tuple[str, str]], int]:
    good, bad = members(path.read_bytes())
    records = ArchiveIterator(io.BytesIO(b"".join(good)), parse_http=True, record_types=WarcRecordType.response)
    return [(r.headers["WARC-Target-URI"], r.reader.read().decode()) for r in records], bad


def lines(path) -> list[bytes]:
    return zstandard.ZstdDecompressor().decompress(path.read_bytes()).splitlines()


def rows(path) -> tuple[list[dict], int]:
    good, bad = [], 0
    for line in lines(path):
        try:
            row = json.loads(line.decode())
        except ValueError:
            row = None
        good += [row] if isinstance(row, dict) else []
        bad += not isinstance(row, dict)
    return good, bad


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    first, second = scrape(tmp_path / "a"), scrape(tmp_path / "b")
    other = scrape(tmp_path / "c", seed=8)

    assert [f.read_bytes() for f in first.files] == [f.read_bytes() for f in second.files]
    assert [f.read_bytes() for f in first.files] != [f.read_bytes() for f in other.files]


def test_the_report_counts_what_can_be_read_and_what_is_damaged(tmp_path):
    report = scrape(tmp_path)

    pages, bad_members = responses(report.files[0])
    good_rows, bad_lines = rows(report.files[1])

    assert (report.human, report.synthetic) == (120, 80)
    assert report.copies == report.near_copies == report.boilerplate == 6
    assert (len(pages), len(good_rows)) == (report.warc_pages, report.jsonl_pages)
    assert len(pages) + len(good_rows) == report.readable == 218
    assert (bad_members, bad_lines) == (2, 3)
    assert bad_members + bad_lines == report.damaged


def read_until_damage(path) -> list[tuple[WarcRecordType, bool]]:
    read = []
    with path.open("rb") as file, suppress(OSError):
        for record in ArchiveIterator(file, parse_http=False):
            read.append((record.record_type, record.verify_block_digest(consume=True)))  # noqa: PERF401 - until it fails
    return read


def test_fastwarc_reads_every_record_before_the_damage_as_it_lies(tmp_path):
    report = scrape(tmp_path)

    read = read_until_damage(report.files[0])

    assert [kind for kind, _ in read[:3]] == [WarcRecordType.warcinfo, WarcRecordType.request, WarcRecordType.response]
    assert len(read) >= report.warc_pages
    assert all(intact for _, intact in read)


def test_every_text_is_in_the_dump_once_and_more_only_as_a_copy(tmp_path):
    report = scrape(tmp_path)
    html = [body for _, body in responses(report.files[0])[0]]
    extracted = [extract_plain_text(body, main_content=True) for body in html]
    found = [" ".join(text.split()) for text in extracted + [row["text"] for row in rows(report.files[1])[0]]]

    copies = sum(found.count(" ".join(text.split())) - 1 for text in HUMAN + SYNTHETIC)

    assert copies == report.copies
    assert all(" ".join(text.split()) in found for text in HUMAN + SYNTHETIC)


def test_pages_carry_navigation_and_a_footer_around_the_text(tmp_path):
    _, body = responses(scrape(tmp_path).files[0])[0][0]

    assert "<nav>" in body
    assert "<footer>" in body
    assert "&lt;tea&gt; &amp; cake" in body


def test_addresses_are_examples_and_ids_and_times_differ(tmp_path):
    report = scrape(tmp_path)
    good, _ = rows(report.files[1])
    urls = [url for url, _ in responses(report.files[0])[0]] + [row["url"] for row in good]

    assert good
    assert {url.split("/")[2] for url in urls} <= set(SITES)
    assert all(site.endswith(".example") for site in SITES)
    assert len(set(urls)) == len(urls)
    assert len({row["id"] for row in good}) == len({row["captured_at"] for row in good}) == len(good)
    assert all(datetime.fromisoformat(row["captured_at"]) >= CAPTURED for row in good)


def test_a_claimed_origin_lies_now_and_then_and_is_missing_now_and_then(tmp_path):
    good, _ = rows(scrape(tmp_path, human=texts("human", 600), synthetic=texts("synthetic", 400)).files[1])
    synthetic = [row.get("claimed_origin") for row in good if " synthetic text " in row["text"]]
    human = [row.get("claimed_origin") for row in good if " human text " in row["text"]]

    assert set(synthetic) == set(human) == {"human", "synthetic", None}
    assert 0.15 < synthetic.count("human") / len(synthetic) < 0.4
    assert human.count("synthetic") / len(human) < 0.06


def test_the_report_names_every_page_of_a_marked_text_and_the_files_do_not_say(tmp_path):
    marked = SYNTHETIC[:60]
    report = scrape(tmp_path, marked=marked)
    html = {url: extract_plain_text(body, main_content=True) for url, body in responses(report.files[0])[0]}
    found = html | {row["url"]: row["text"] for row in rows(report.files[1])[0]}

    true = {url for url, text in found.items() if any(tail in text for tail in (tail_of(text) for text in marked))}

    assert report.marked_urls == true
    assert len(true) >= len(marked)
    assert {url.split("/")[2] for url in true} <= set(VENDOR_SITES) < set(SITES)
    assert scrape(tmp_path / "b").marked_urls == frozenset()


def tail_of(text: str) -> str:
    """The end that a text shares with its copies, changed or not."""
    return text[text.rindex("of synthetic") :]


def test_the_five_damages_are_each_of_their_kind(tmp_path):
    report = scrape(tmp_path)
    data = report.files[0].read_bytes()
    bad = [line for line in lines(report.files[1]) if not line.startswith(b'{"id"') or b"\xff" in line]
    good, _ = members(data[data.rindex(MAGIC) :])

    assert good == []  # the last member is cut off
    assert sum(b"\xff" in line for line in lines(report.files[1])) == 1
    assert sorted(type(json.loads(line)).__name__ for line in bad if b"\xff" not in line) == ["list"]
    assert sum(line.startswith(b'{"id"') and not line.endswith(b"}") for line in lines(report.files[1])) == 1


def test_a_dump_appears_only_when_it_is_complete_and_leaves_nothing_beside_it(tmp_path):
    (tmp_path / ".week-1.partial").mkdir()
    (tmp_path / ".week-1.partial" / "left").touch()

    report = scrape(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["week-1"]
    assert sorted(path.name for path in (tmp_path / "week-1").iterdir()) == ["pages.jsonl.zst", "pages.warc.gz"]
    assert all(path.is_file() for path in report.files)


def test_a_dump_of_one_page_is_written(tmp_path):
    report = scrape(tmp_path, human=HUMAN[:1], synthetic=[])

    assert report.readable == len(rows(report.files[1])[0]) == 1


def test_a_dump_is_never_written_twice(tmp_path):
    scrape(tmp_path)

    with pytest.raises(UsageError, match="already there"):
        scrape(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dump": "../up"}, "plain folder name"),
        ({"dump": ""}, "plain folder name"),
        ({"dump": ".hidden"}, "plain folder name"),
        ({"captured_at": datetime(2026, 3, 1)}, "no time zone"),  # noqa: DTZ001 - what is refused
        ({"human": [], "synthetic": []}, "no pages"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        scrape(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []
