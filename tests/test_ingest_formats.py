from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.document import DOCUMENT, derive_id
from collapse_guard.ingest.collect import Collector, Part
from collapse_guard.ingest.formats import read_file
from collapse_guard.ingest.limits import Limits
from collapse_guard.ingest.rows import as_generation, as_name, as_time, bounded_row, host_of

if TYPE_CHECKING:
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"


class Read:
    """One file read in this process, with conservation checked."""

    def __init__(self, path: Path, limits: Limits, fields: dict[str, str], **resume: Any) -> None:
        parts: list[Part] = []
        out = Collector(path.name, limits, parts.append, fields=fields, **resume)
        read_file(path, out)
        self.rows = [row for part in parts for row in part.documents.to_pylist()]
        self.texts = [row["text"] for row in self.rows]
        self.entries = [row for part in parts for row in part.quarantine.to_pylist()]
        self.reasons = [row["reason"] for row in self.entries]
        self.dropped = sum((Counter(part.dropped) for part in parts), Counter[str]())
        lost = sum(row["records"] for row in self.entries)
        assert out.position - out.skip == len(self.rows) + lost + sum(self.dropped.values())


@pytest.fixture
def read(tmp_path):
    def read_bytes(name: str, data: bytes, *, fields: dict[str, str] | None = None, resume=None, **limits) -> Read:
        path = tmp_path / name
        path.write_bytes(data)
        return Read(path, Limits(**limits), fields or {}, **(resume or {}))

    return read_bytes


def lines(count: int, start: int = 0) -> bytes:
    return b"".join(b'{"text": "line %d"}\n' % i for i in range(start, start + count))


def record(block: bytes, number: int = 0, *, kind: bytes = b"response", length: int | None = None) -> bytes:
    content = b"application/http; msgtype=response" if kind == b"response" else b"text/plain"
    return (
        b"WARC/1.0\r\nWARC-Type: %s\r\nWARC-Record-ID: <urn:uuid:%d>\r\nWARC-Date: 2020-01-02T03:04:05Z\r\n"
        b"WARC-Target-URI: http://Pages.Example:80/%d\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n"
        % (kind, number, number, content, len(block) if length is None else length, block)
    )


def page(number: int, head: bytes = OK, **wrong: Any) -> bytes:
    return record(head + b"\r\n<p>This is page %d here.</p>" % number, number, **wrong)


def pages(*numbers: int) -> list[str]:
    return [f"This is page {number} here." for number in numbers]


# Compressed files


def test_a_gzip_of_many_members_and_one_of_one_member_read_alike(read):
    many = b"".join(gzip.compress(lines(1, i)) for i in range(20))
    assert read("many.jsonl.gz", many).texts == read("one.jsonl.gz", gzip.compress(lines(20))).texts
    assert read("one.jsonl.zst", zstandard.compress(lines(20))).texts == read("plain.jsonl", lines(20)).texts


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress])
def test_a_flipped_bit_costs_its_own_unit_and_no_other(read, pack):
    units = [pack(lines(5, 5 * i)) for i in range(3)]
    broken = bytearray(units[1])
    broken[len(broken) // 2] ^= 0x10
    found = read("a.jsonl.gz", units[0] + bytes(broken) + units[2])
    assert found.texts == [f"line {i}" for i in (*range(5), *range(10, 15))]
    [entry] = found.entries
    assert (entry["offset"], entry["bytes"]) == (len(units[0]), len(units[1]))
    assert entry["data"] == bytes(broken)


def test_bytes_after_a_gzip_member_are_an_entry_and_zeros_are_padding(read):
    assert read("a.jsonl.gz", gzip.compress(lines(2)) + b"\0" * 512).entries == []
    found = read("b.jsonl.gz", gzip.compress(lines(2)) + b"junk" + gzip.compress(lines(1, 2)))
    assert found.texts == ["line 0", "line 1", "line 2"]
    assert [(row["reason"], row["data"]) for row in found.entries] == [("trailing_garbage", b"junk")]


def test_a_unit_that_unpacks_to_far_more_than_allowed_is_an_entry(read):
    bomb = gzip.compress(b"\0" * (8 * 2**20)) + gzip.compress(lines(1))
    found = read("a.jsonl.gz", bomb, ratio=100)
    assert (found.texts, found.reasons) == (["line 0"], ["ratio_exceeded"])


def test_no_cut_of_a_gzip_of_lines_is_silent(read):
    text = "".join(json.dumps({"text": hashlib.sha256(b"%d" % i).hexdigest()}) + "\n" for i in range(40)).encode()
    packed = gzip.compress(text)
    all_texts = [json.loads(line)["text"] for line in text.splitlines()]
    for cut in [*range(0, len(packed), 17), *range(len(packed) - 12, len(packed))]:
        found = read("a.jsonl.gz", packed[:cut])
        assert found.texts == all_texts[: len(found.texts)]
        assert found.reasons == ["truncated" if cut else "empty_file"]


def test_no_cut_of_a_warc_gz_is_silent(read):
    members = [gzip.compress(page(i)) for i in range(4)]
    packed = b"".join(members)
    ends = [len(b"".join(members[:i])) for i in range(5)]
    for cut in range(1, len(packed), 7):
        found = read("a.warc.gz", packed[:cut])
        whole = sum(end <= cut for end in ends[1:])
        assert found.texts[:whole] == pages(*range(whole))
        assert len(found.texts) <= whole + 1
        assert bool(found.entries) == (cut not in ends)


# Lines


def test_an_invalid_byte_costs_one_line(read):
    data = lines(499) + b'{"text": "\xff"}\n' + lines(500, 500)
    found = read("a.jsonl", data)
    assert len(found.texts) == 999
    assert found.reasons == ["invalid_utf8"]
    assert found.entries[0]["offset"] == len(lines(499))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": NaN}', "bad_json"),
        (b'{"text": "\\ud800"}', "bad_json"),
        (b"[" * 100_000, "bad_json"),
        (b'{"text": "a"', "bad_json"),
        (b'["text"]', "not_an_object"),
        (b"7", "not_an_object"),
        (b'{"text": null}', "no_text"),
        (b'{"text": 7}', "no_text"),
        (b"{}", "no_text"),
        (b'{"text": "' + b"x" * 5000 + b'"}', "record_too_large"),
    ],
)
def test_a_bad_line_is_an_entry_between_two_documents(read, line, reason):
    limit = 4000 if reason == "record_too_large" else 2**20
    found = read("a.jsonl", lines(1) + line + b"\n" + lines(1, 1), record_bytes=limit)
    assert found.texts == ["line 0", "line 1"]
    assert [(row["reason"], row["offset"]) for row in found.entries] == [(reason, len(lines(1)))]


def test_a_line_longer_than_a_piece_and_a_last_line_without_newline_are_read(read):
    long = "y" * (3 * 2**20)
    found = read("a.jsonl", lines(1) + json.dumps({"text": long}).encode() + b"\n" + lines(1, 1).strip())
    assert found.texts == ["line 0", long, "line 1"]


def test_an_overlong_line_over_many_pieces_is_one_entry(read):
    found = read("a.jsonl", lines(1) + b"z" * (5 * 2**20) + b"\n" + lines(1, 1), record_bytes=2**20)
    assert found.texts == ["line 0", "line 1"]
    assert [(row["reason"], row["bytes"]) for row in found.entries] == [("record_too_large", 5 * 2**20 + 1)]


def test_a_row_fills_every_column(read):
    row = {
        "text": "a\r\nb\rc\0d",
        "id": 7,
        "url": "https://user@Host.Example:8080/x?y#z",
        "date": "2021-02-03T04:05:06+01:00",
        "language": "en",
        "label": 0,
        "generation": 2,
        "licence": "CC0",
        "nested": {"no": 1},
    }
    [found] = read("a.jsonl", json.dumps(row).encode()).rows
    metadata = json.loads(found.pop("metadata"))
    assert metadata == {"file": "a.jsonl", "offset": 0, "row": {"licence": "CC0"}}
    assert found == {
        "id": "7",
        "text": "a\nb\nc\0d",
        "tokens": 0,
        "source": "a.jsonl",
        "url": row["url"],
        "domain": "host.example",
        "captured_at": datetime(2021, 2, 3, 3, 5, 6, tzinfo=UTC),
        "language": "en",
        "claimed_origin": "0",
        "generation": 2,
    }


def test_an_empty_text_is_a_document_and_gets_an_id(read):
    [row] = read("a.jsonl", b'{"text": "", "source": "elsewhere", "domain": "d.example"}').rows
    assert (row["id"], row["source"], row["domain"]) == (derive_id("", None, None), "elsewhere", "d.example")


def test_a_json_file_is_an_array_an_object_or_lines(read):
    array = b'[{"text": "a"}, 5, {"text": "b"}]'
    assert read("a.json", array).texts == ["a", "b"]
    assert read("a.json", array).reasons == ["not_an_object"]
    assert read("b.json", b'{\n"text":\n"a"\n}').texts == ["a"]
    assert read("c.json", lines(3)).texts == ["line 0", "line 1", "line 2"]
    assert read("d.json", array, record_bytes=10).reasons == ["record_too_large"]
    assert read("e.json.gz", gzip.compress(array)[:-6]).reasons == ["truncated"]


def test_more_records_than_allowed_end_the_file_with_one_entry(read):
    found = read("a.jsonl", lines(10), records=3)
    assert (found.texts, found.reasons) == (["line 0", "line 1", "line 2"], ["too_many_records"])


@given(st.lists(st.sampled_from([b'{"text": "a"}', b"\xff", b"{", b"7", b"", b'{"text": "\\n"}'])), st.integers(0, 9))
@settings(max_examples=50)
def test_a_worker_that_resumes_gives_what_was_left(tmp_path_factory, chosen, skip):
    path = tmp_path_factory.mktemp("resume") / "a.jsonl"
    path.write_bytes(b"\n".join(chosen))
    whole = Read(path, Limits(), {})
    total = len(whole.rows) + len(whole.entries)
    skip = min(skip, total)
    first = Read(path, Limits(records=skip), {})
    rest = Read(path, Limits(), {}, skip=skip)
    kept = [row for row in first.entries if row["reason"] != "too_many_records"]
    assert first.rows + rest.rows == whole.rows
    assert kept + rest.entries == whole.entries


# CSV


def test_quoted_newlines_delimiters_and_quotes_are_part_of_a_field(read):
    found = read("a.csv", b'id,text,label\r\n1,"a\r\nb, ""c""\n\nd",human\r\n2,plain,\r\n')
    assert found.texts == ['a\nb, "c"\n\nd', "plain"]
    assert [row["claimed_origin"] for row in found.rows] == ["human", None]
    assert read("b.tsv", b"id\ttext\n1\ta, b\n").texts == ["a, b"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1,2,3", "wrong_fields"),
        (b'1,"never closed', "unclosed_quote"),
        (b'1,"a"b', "bad_csv"),
        (b"1,\xff", "invalid_utf8"),
        (b"1,a\0b", "nul_byte"),
    ],
)
def test_a_bad_record_costs_one_line_of_a_table(read, line, reason):
    data = b'id,text\n0,zero\n%s\n2,two\n3,"three\n3"\n' % line
    found = read("a.csv", data)
    assert (found.texts, found.reasons) == (["zero", "two", "three\n3"], [reason])
    assert found.entries[0]["data"] == line


def test_a_table_without_a_text_column_is_one_entry(read):
    assert read("a.csv", b"id,body\n1,a\n").reasons == ["no_text_column"]
    assert read("a.csv", b"id,body\n1,a\n", fields={"text": "body"}).texts == ["a"]


# Parquet


def parquet(path: Path, table: pa.Table, rows: int) -> bytes:
    pq.write_table(table, path, row_group_size=rows, compression="none", use_dictionary=False)
    return path.read_bytes()


def test_a_parquet_file_and_its_json_lines_give_the_same_documents(read, tmp_path):
    rows = [
        {"text": "a\r\nb", "url": "http://A.example/1", "date": "2020-01-01", "label": "ai", "licence": "CC0"},
        {"text": "", "url": None, "date": "never", "label": None, "licence": None},
        {"text": "c", "url": "", "date": None, "label": "human", "licence": "MIT"},
    ]
    found = read("a.parquet", parquet(tmp_path / "w", pa.Table.from_pylist(rows), 2)).rows
    other = read("a.jsonl", b"".join(orjson.dumps(row) + b"\n" for row in rows)).rows
    for row in (*found, *other):
        del row["source"], row["metadata"]
    assert found == other


def test_a_bad_row_group_costs_that_group(read, tmp_path):
    table = pa.table({"text": [f"document {i}" for i in range(30)]})
    data = bytearray(parquet(tmp_path / "w", table, 10))
    start = pq.ParquetFile(tmp_path / "w").metadata.row_group(1).column(0).data_page_offset
    data[start : start + 12] = b"\xff" * 12
    found = read("a.parquet", bytes(data))
    assert found.texts == [f"document {i}" for i in (*range(10), *range(20, 30))]
    assert [(row["reason"], row["offset"], row["records"]) for row in found.entries] == [("bad_row_group", 10, 10)]


def test_an_invalid_value_a_null_and_a_large_value_cost_their_rows(read, tmp_path):
    values = pa.array([b"a", b"\xff", None, b"x" * 200, b"e"], pa.binary())
    data = parquet(tmp_path / "w", pa.table({"text": values.view(pa.string())}), 5)
    found = read("a.parquet", data, record_bytes=100)
    assert found.texts == ["a", "e"]
    assert [json.loads(row["metadata"])["offset"] for row in found.rows] == [0, 4]
    assert [(row["reason"], row["offset"]) for row in found.entries] == [
        ("invalid_utf8", 1),
        ("no_text", 2),
        ("record_too_large", 3),
    ]


def test_a_parquet_file_without_footer_or_text_is_one_entry(read, tmp_path):
    data = parquet(tmp_path / "w", pa.table({"body": ["a", "b"]}), 2)
    assert read("a.parquet", data[:-8]).reasons == ["bad_parquet"]
    found = read("a.parquet", data)
    assert [(row["reason"], row["records"]) for row in found.entries] == [("no_text_column", 2)]
    assert read("a.parquet", data, fields={"text": "body"}).texts == ["a", "b"]


def test_a_parquet_file_is_resumed_in_the_middle_of_a_row_group(read, tmp_path):
    data = parquet(tmp_path / "w", pa.table({"text": [str(i) for i in range(20)]}), 10)
    assert read("a.parquet", data, resume={"skip": 14}).texts == [str(i) for i in range(14, 20)]
    culprit = {"skip": 4, "culprits": {6: ("stalled", "too slow")}}
    found = read("a.parquet", data, resume=culprit)
    assert found.texts == [str(i) for i in range(10, 20)]
    assert [(row["reason"], row["records"]) for row in found.entries] == [("stalled", 6)]
    limited = read("a.parquet", data, records=12)
    assert (len(limited.texts), limited.reasons) == (12, ["too_many_records"])


# WARC


def test_pages_become_documents_and_other_records_are_counted(read):
    image = record(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\nPNG", 1)
    missing = record(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n<p>no", 2)
    plain = record(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nas\r\nit is", 3)
    data = record(b"x", kind=b"warcinfo") + page(0) + image + missing + plain + record(b"res", 4, kind=b"resource")
    found = read("a.warc", data)
    assert found.texts == [*pages(0), "as\nit is", "res"]
    assert found.dropped == {"not_a_page": 1, "not_text": 1, "http_status": 1}
    assert found.rows[0]["url"] == "http://Pages.Example:80/0"
    assert found.rows[0]["domain"] == "pages.example"
    assert found.rows[0]["captured_at"] == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert json.loads(found.rows[0]["metadata"])["record_id"] == "<urn:uuid:0>"


def test_wet_records_become_documents(read):
    found = read("a.warc.wet.gz", gzip.compress(record("größe".encode(), kind=b"conversion")))
    assert found.texts == ["größe"]


@pytest.mark.parametrize("length", [10, 60, 150, 400, 10**6, 10**9])
def test_a_wrong_content_length_costs_its_own_record(read, length):
    records = [page(0), page(1, length=length), page(2), page(3)]
    plain, packed = read("a.warc", b"".join(records)), read("a.warc.gz", gzip.compress(b"".join(records)))
    each = read("b.warc.gz", b"".join(map(gzip.compress, records)))
    assert plain.texts == packed.texts == each.texts == pages(0, 2, 3)
    assert plain.reasons == ["record_too_large" if length > 64 * 2**20 else "bad_length"]
    assert (plain.entries[0]["offset"], plain.entries[0]["bytes"]) == (len(records[0]), len(records[1]))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"these bytes are no record\r\n\r\n", "no_record"),
        (b"WARC/1.0\r\nWARC-Type: response\r\n\r\n\r\n\r\n", "bad_header"),
        (b"WARC/1.0\r\nContent-Length: many\r\n\r\nabc\r\n\r\n", "bad_header"),
        (record(b"no http here", 1), "bad_http"),
        (record(b"", 1), "bad_http"),
        (record(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", 1), "bad_http"),
        (record(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 1), "bad_http"),
        (record(OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"<p>cut short")[:-9], 1), "bad_http"),
        (record(OK + b"Content-Encoding: gzip\r\n\r\n<p>not packed", 1), "bad_http"),
    ],
)
def test_a_bad_record_is_an_entry_between_two_pages(read, bad, reason):
    found = read("a.warc", page(0) + bad + page(2))
    assert (found.texts, found.reasons) == (pages(0, 2), [reason])


def test_a_short_body_at_the_end_is_an_entry(read):
    found = read("a.warc", page(0) + page(1)[:-20])
    assert (found.texts, found.reasons) == (pages(0), ["truncated"])


def test_no_cut_of_a_plain_warc_is_silent(read):
    data = page(0) + page(1)
    for cut in range(1, len(data)):
        found = read("a.warc", data[:cut])
        bodies = sum(cut >= end for end in (len(page(0)) - 4, len(data) - 4))
        assert found.texts == pages(*range(bodies))
        between = bodies == 2 or (bodies == 1 and cut <= len(page(0)))
        assert bool(found.entries) != between


def test_transfer_and_content_coding_are_undone(read):
    body = gzip.compress(b"<p>This is page 1 here.</p>")
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    head = OK + b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
    assert read("a.warc", record(head + chunked)).texts == pages(1)
    bomb = gzip.compress(b"<p>" + b"x" * 2**20)
    found = read("a.warc", record(OK + b"Content-Encoding: gzip\r\n\r\n" + bomb), record_bytes=2**18)
    assert found.reasons == ["record_too_large"]


def test_a_page_is_decoded_by_its_header_its_meta_and_else_with_replacement(read):
    word = b"<meta charset=windows-1251><p>\xcf\xf0\xe8\xe2\xe5\xf2</p>"
    html = b"HTTP/1.1 200 OK\r\nContent-Type: text/html%s\r\n\r\n" + word
    assert read("a.warc", record(html % b"")).texts == ["Привет"]
    assert read("a.warc", record(html % b"; charset=koi8-r")).texts == ["оПХБЕР"]
    found = read("a.warc", record(OK + b"\r\n<p>caf\xe9 ok</p>"))
    assert found.texts == ["caf\ufffd ok"]
    assert json.loads(found.rows[0]["metadata"])["replaced"] == 1


# Files and values


def test_content_says_what_a_file_is_before_its_name_does(read):
    assert read("a.jsonl", page(0)).texts == pages(0)
    assert read("a.txt", b"text").reasons == ["unsupported_format"]
    assert read("a.warc.gz", b"").reasons == ["empty_file"]
    assert read("a.jsonl", b"").entries == []


@given(st.binary(max_size=300), st.sampled_from(["jsonl", "json", "csv", "warc", "jsonl.gz", "parquet", "jsonl.zst"]))
@settings(max_examples=150, deadline=None)
def test_no_bytes_raise_and_every_record_is_accounted_for(tmp_path_factory, data, suffix):
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    head = {"jsonl.gz": gzip.compress(lines(2))[:20], "jsonl.zst": zstandard.compress(lines(2))[:12], "warc": page(0)}
    path.write_bytes(head.get(suffix, b"") + data)
    Read(path, Limits(), {})


def test_hosts_are_taken_per_column():
    urls = [
        "http://A.example",
        "https://u:p@b.example:1/x",
        "http://[::1]:80/",
        "nothing",
        None,
        "//c.example/",
        "mailto:a",
    ]
    assert host_of(pa.array(urls)).to_pylist() == ["a.example", "b.example", "[::1]", None, None, None, None]
    assert host_of(pa.array([], pa.string())).to_pylist() == []


def test_values_are_read_tolerantly_and_never_guessed():
    assert as_time("2020-01-01 00:00:00 UTC") == datetime(2020, 1, 1, tzinfo=UTC)
    assert [as_time(value) for value in ("soon", 7, None, "0001-01-01T00:00:00+14:00")] == [None] * 4
    assert [as_generation(value) for value in (3, "4", True, 2.5, "x", 2**40, "9" * 30)] == [3, 4] + [None] * 5
    assert [as_name(value) for value in ("ai", "", 1, True, float("nan"), [])] == ["ai", None, "1", "true", None, None]


def test_other_values_of_a_row_are_kept_up_to_four_kib():
    assert bounded_row({"a": 1, "b": [2]}) == {"row": {"a": 1}}
    kept = bounded_row({"long": "x" * 5000, "a": 1})
    assert kept == {"row": {"a": 1}, "row_left_out": 1}
    many = bounded_row({f"key {i}": "y" * 100 for i in range(100)})
    assert len(json.dumps(many["row"])) < 4800
    assert len(many["row"]) + many["row_left_out"] == 100


def test_the_schema_is_the_documents(tmp_path):
    parts: list[Part] = []
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(1))
    read_file(path, Collector("a.jsonl", Limits(), parts.append, fields={}))
    assert parts[0].documents.schema == DOCUMENT
