from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collapse_guard.ingest.collect import Collector, Part
from collapse_guard.ingest.formats import read_file
from collapse_guard.ingest.limits import Limits
from collapse_guard.provenance.declared import declared_columns

SENTENCE = "Tides turn twice a day, and nobody at the harbour needs a clock for that."
LABEL = json.dumps({"Label": "1", "ContentProducer": "p"})


@pytest.fixture
def documents(tmp_path):
    def read(name: str, data: bytes) -> pa.Table:
        path = tmp_path / name
        path.write_bytes(data)
        parts: list[Part] = []
        read_file(path, Collector(name, Limits(), parts.append, fields={}))
        return pa.concat_tables([part.documents for part in parts])

    return read


def record(headers: str, head: str) -> bytes:
    page = f"<!doctype html><html><head>{head}</head><body><p>{SENTENCE}</p></body></html>"
    block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{headers}\r\n{page}".encode()
    fields = f"WARC-Type: response\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}"
    return f"WARC/1.0\r\n{fields}\r\n\r\n".encode() + block + b"\r\n\r\n"


def test_the_marks_of_a_captured_page_and_of_its_response_are_kept(documents):
    data = record(
        "AI-Disclosure: mode=ai-originated\r\ntdm-reservation: 1\r\n", '<meta name="ai-generated" content="all">'
    )
    table = documents("a.warc", data)
    metadata = json.loads(table["metadata"][0].as_py())
    assert [mark["name"] for mark in metadata["marks"]] == ["header:ai-disclosure", "meta:ai-generated"]
    assert metadata["usage_policy"] == {"tdm-reservation": "1"}
    assert declared_columns(table)["declared.synthetic"].to_pylist() == [1.0]


def test_a_plain_text_response_keeps_the_mark_of_its_header(documents):
    block = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nAI-Disclosure: machine-generated\r\n\r\n" + SENTENCE.encode()
    )
    head = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: %d\r\n\r\n" % len(
        block
    )
    assert declared_columns(documents("a.warc", head + block + b"\r\n\r\n"))["declared"].to_pylist() == [
        "header:ai-disclosure"
    ]


def test_documents_without_marks_have_the_metadata_they_always_had(documents):
    data = record("Server: x\r\n", '<meta name="generator" content="WordPress 6.5">')
    assert documents("a.warc", data)["metadata"].to_pylist() == ['{"file":"a.warc","offset":0,"record_id":""}']
    line = b'{"text": "one", "title": "t", "metadata": {"lang": "en"}}\n'
    assert documents("a.jsonl", line)["metadata"].to_pylist() == ['{"file":"a.jsonl","offset":0,"row":{"title":"t"}}']


def test_a_mark_does_not_change_the_id_or_the_text(documents):
    plain, marked = (documents("a.warc", record("", head)) for head in ("", '<meta name="ai-generated" content="all">'))
    assert plain.select(["id", "text"]).equals(marked.select(["id", "text"]))
    assert plain["metadata"] != marked["metadata"]


def test_rows_of_lines_tables_and_parquet_keep_what_they_declare(documents):
    row = {"text": SENTENCE, "AIGC": LABEL}
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(row))
    writer.writeheader()
    writer.writerow(row)
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row]), parquet)
    files = {
        "a.jsonl": json.dumps(row).encode() + b"\n",
        "b.jsonl": json.dumps({"text": SENTENCE, "AIGC": json.loads(LABEL)}).encode() + b"\n",
        "c.jsonl": json.dumps({"text": SENTENCE, "metadata": {"AIGC": json.loads(LABEL)}}).encode() + b"\n",
        "a.csv": table.getvalue().encode(),
        "a.parquet": parquet.getvalue(),
    }
    for name, data in files.items():
        columns = declared_columns(documents(name, data))
        assert columns["declared.synthetic"].to_pylist() == [1.0], name
        assert columns["declared"].to_pylist() == ["row:AIGC"], name
