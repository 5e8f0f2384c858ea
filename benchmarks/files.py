"""Input files for benchmarks of reading, one per format, with the same documents in each."""

from __future__ import annotations

import html
import itertools
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from isal import igzip

from benchmarks.texts import Document, documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

ROW_GROUP = 1_000
DOCUMENTS_PER_FILE = 1_000
_LINK = '<li class="menu-item"><a href="/section/{0}" title="Section {0}" data-track="nav-{0}">Section {0}</a></li>'
_MENU = "\n".join(_LINK.format(number) for number in range(40))
_STYLE = "\n".join(
    f".box-{number} {{ margin: {number}px; color: #{number:06x}; display: block }}" for number in range(60)
)
_SCRIPT = "\n".join(f'window.queue.push(["event", {number}, "click"]);' for number in range(60))


def write_jsonl(path: Path, size: int) -> None:
    """Write JSON lines with an id in each."""
    _write_lines(path, (document._asdict() for document in documents(size)))


def write_jsonl_without_ids(path: Path, size: int) -> None:
    """Write JSON lines that are named by their content when they are read."""
    _write_lines(path, ({"text": document.text, "url": document.url} for document in documents(size)))


def write_folder(folder: Path, size: int, first_edition: int = 0) -> None:
    """Write a folder of JSON lines, about 7 MB of text in each file, so that a small corpus has many files too."""
    folder.mkdir(parents=True, exist_ok=True)
    found = documents(size, first_edition)
    for number in itertools.count():
        rows = [document._asdict() for document in itertools.islice(found, DOCUMENTS_PER_FILE)]
        if not rows:
            return
        _write_lines(folder / f"{number:03d}.jsonl", rows)


def _write_lines(path: Path, rows: Iterable[dict[str, str]]) -> None:
    with path.open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(row) + b"\n")


def write_jsonl_gz(path: Path, size: int) -> None:
    """Write gzipped JSON lines."""
    with igzip.open(path, "wb", compresslevel=1) as file:
        for document in documents(size):
            file.write(orjson.dumps(document._asdict()) + b"\n")


def write_parquet(path: Path, size: int) -> None:
    """Write Parquet with zstd, a thousand rows in a group."""
    columns = zip(*documents(size), strict=True)
    table = pa.table(dict(zip(Document._fields, columns, strict=True)))
    pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP)


def write_warc(path: Path, size: int) -> None:
    """Write captured HTML pages, one gzip member per record; `size` counts bytes of HTML."""
    with path.open("wb") as file:
        for number, (url, page) in enumerate(pages(size)):
            file.write(igzip.compress(_record(number, url, page), compresslevel=1))


def pages(size: int) -> Iterator[tuple[str, bytes]]:
    """Give URLs and HTML pages, of which about half is text: menu, style, scripts, article and footer around it."""
    left = size
    for document in documents(size):
        page = _page(document).encode()
        yield document.url, page
        left -= len(page)
        if left <= 0:
            return


def _page(document: Document) -> str:
    title = html.escape(document.text[:60])
    blocks = (block for block in document.text.split("\n\n") if block.strip())
    article = "\n".join(f'<p class="text box-{at % 60}">{html.escape(block)}</p>' for at, block in enumerate(blocks))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f'<script>{_SCRIPT}</script></head><body><header><nav><ul class="menu">{_MENU}</ul></nav></header>'
        f'<main><article id="content"><h1>{title}</h1>\n{article}</article></main><aside><ul>{_MENU}</ul></aside>'
        f'<footer><p>All rights reserved. <a href="/terms">Terms</a></p></footer>\n'
        f"<script>{_SCRIPT}</script></body></html>"
    )


def _record(number: int, url: str, page: bytes) -> bytes:
    block = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(page) + page
    )
    header = (
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2022-10-01T00:00:00Z\r\n"
        f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{number:012d}>\r\nWARC-Target-URI: {url}\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return header.encode() + block + b"\r\n\r\n"
