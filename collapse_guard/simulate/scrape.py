"""What a crawl would hold: human and synthetic pages, copies, boilerplate and damage, in WARC and JSON lines."""

from __future__ import annotations

import html
import io
import re
import shutil
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np
import orjson
import zstandard
from fastwarc.warc import WarcRecord, WarcRecordType
from isal import igzip

from collapse_guard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

WARC_NAME = "pages.warc.gz"
JSONL_NAME = "pages.jsonl.zst"
DAMAGED = 5  # a flipped and a truncated WARC record; a byte that is no UTF-8, a cut line, a line that is no object
EXTRA_SHARE = 0.03  # of copies, of near copies and of boilerplate each, in pages

DUMP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SENTENCE_GAP = re.compile(r"(?<=[.!?])\s+")
PARAGRAPH_GAP = re.compile(r"\n\s*\n")

SITES = tuple(
    f"{first}-{second}.example"
    for first in ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron")
    for second in ("daily", "forum", "guide", "notes", "press")
)
VENDOR_SITES = tuple(site for site in SITES if site.endswith("-press.example"))
"""Marked pages stand on these, beside others."""
NAVIGATION = ("Home", "News", "Archive", "About", "Contact", "Search")
FOOTER = "All rights reserved. Terms of use. Privacy policy. Powered by a small server in the cellar."
BOILERPLATE = (
    "We use cookies. By using {site} you accept all cookies. Cookie policy. Manage preferences. Accept. Reject all.",
    "Home | News | Archive | About | Contact\n\nPrevious | Next\n\nShare | Print | {site} | Sitemap",
    "Page not found on {site}.",
    "{hashes}",
)


@dataclass(frozen=True, slots=True)
class ScrapeReport:
    """What one dump holds, in pages; human, synthetic, copies, near_copies and boilerplate can all be read."""

    human: int
    synthetic: int
    copies: int
    near_copies: int
    boilerplate: int
    damaged: int
    warc_pages: int
    jsonl_pages: int
    files: tuple[Path, ...]
    marked_urls: frozenset[str]
    """Addresses of the readable pages that hold a marked text, copies and near copies included."""

    @property
    def readable(self) -> int:
        """Count the pages that a careful reader gets out of both files."""
        return self.human + self.synthetic + self.copies + self.near_copies + self.boilerplate


@dataclass(frozen=True, slots=True)
class _Page:
    text: str
    claim: str | None
    identifier: str = ""
    url: str = ""
    captured_at: str = ""
    copied_from: str | None = None
    marked: bool = False


def write_scrape(
    folder: Path,
    *,
    dump: str,
    human: Sequence[str],
    synthetic: Sequence[str],
    captured_at: datetime,
    seed: int,
    marked: Collection[str] = (),
) -> ScrapeReport:
    """Write one crawl dump as `<folder>/<dump>/pages.warc.gz` (WARC 1.1) and `pages.jsonl.zst`.

    Pages of both kinds are spread over both files in a seeded order, among about 3 % each of exact copies, near copies
    (one sentence changed) and boilerplate. Five damaged records are extra: two in the WARC, three in the lines. A
    `claimed_origin` is a claim: one synthetic page in three says that it is human, one human page in fifty that it is
    synthetic, and some say nothing. The dump appears under its name when it is complete: until then it is written to
    the sibling `.<dump>.partial`, which a sensor must not read.

    Args:
        folder: Where dumps lie; made if it is not there.
        dump: Name of the new folder.
        human: Texts written by people.
        synthetic: Texts written by models.
        captured_at: When the first page was captured, with a time zone; each next one a second later.
        seed: Same arguments and seed: same bytes.
        marked: Those of the synthetic texts that carry a watermark; nothing in the files says so.

    Returns:
        What was written.

    Raises:
        UsageError: The name is no plain folder name or taken, the time has no zone, or there is no text.
    """
    _check(folder, dump, human, synthetic, captured_at)
    random = np.random.default_rng(seed)
    texts = [*human, *synthetic]
    extra = round(EXTRA_SHARE * len(texts))
    pages = [
        *_claims(human, "human", 0.02, random),
        *_claims(synthetic, "synthetic", 1 / 3, random),
        *(_Page(text, None) for text in _some(texts, extra, random)),
        *_near_copies(texts, extra, random),
        *(_Page(text, None) for text in _boilerplate(extra, random)),
    ]
    carriers = [_Page(text, None) for text in _some(texts, DAMAGED, random)]
    shuffled = [pages[i] for i in random.permutation(len(pages))]
    known = frozenset(marked)
    pages = [replace(page, marked=(page.copied_from or page.text) in known) for page in [*shuffled, *carriers]]
    placed = [_place(page, i, dump, captured_at, random) for i, page in enumerate(pages)]
    whole, broken = placed[:-DAMAGED], placed[-DAMAGED:]
    half = len(whole) // 2
    contents = {
        WARC_NAME: _warc(whole[:half], broken[:2], placed[0].captured_at),
        JSONL_NAME: _jsonl(whole[half:], broken[2:], random),
    }
    target = _publish(folder, dump, contents)
    return ScrapeReport(
        human=len(human),
        synthetic=len(synthetic),
        copies=extra,
        near_copies=extra,
        boilerplate=extra,
        damaged=DAMAGED,
        warc_pages=half,
        jsonl_pages=len(whole) - half,
        files=(target / WARC_NAME, target / JSONL_NAME),
        marked_urls=frozenset(page.url for page in whole if page.marked),
    )


def _check(folder: Path, dump: str, human: Sequence[str], synthetic: Sequence[str], captured_at: datetime) -> None:
    if not DUMP_NAME.fullmatch(dump):
        raise UsageError(f"dump name {dump!r} is no plain folder name: use letters, digits, '.', '_' and '-'")
    if (folder / dump).exists():
        raise UsageError(f"{folder / dump} is already there: a dump is written once, so choose another name")
    if captured_at.tzinfo is None:
        raise UsageError(f"captured_at {captured_at.isoformat()} has no time zone: pass one, such as UTC")
    if not human and not synthetic:
        raise UsageError("a scrape of no pages was asked for: pass human or synthetic texts")


def _claims(texts: Sequence[str], origin: str, lies: float, random: np.random.Generator) -> Iterator[_Page]:
    """Let pages claim an origin: some say nothing, and a share of the rest lies."""
    other = {"human": "synthetic", "synthetic": "human"}[origin]
    for text, silent, lie in zip(texts, random.random(len(texts)), random.random(len(texts)), strict=True):
        yield _Page(text, None if silent < 0.2 else other if lie < lies else origin)  # noqa: PLR2004 - one in five


def _some(texts: Sequence[str], count: int, random: np.random.Generator) -> list[str]:
    return [texts[i] for i in random.integers(len(texts), size=count)]


def _near_copies(texts: Sequence[str], count: int, random: np.random.Generator) -> Iterator[_Page]:
    """Change one sentence of each copy: put a clause before it."""
    for text in _some(texts, count, random):
        starts = [0, *(gap.end() for gap in SENTENCE_GAP.finditer(text))]
        start = starts[random.integers(len(starts))]
        changed = f"{text[:start]}As was reported here on day {random.integers(1, 366)}, {text[start:]}"
        yield _Page(changed, None, copied_from=text)


def _boilerplate(count: int, random: np.random.Generator) -> Iterator[str]:
    for template in islice(cycle(BOILERPLATE), count):
        hashes = " ".join(random.bytes(20).hex() for _ in range(60))
        yield template.format(site=_site(random), hashes=hashes)


def _site(random: np.random.Generator, sites: tuple[str, ...] = SITES) -> str:
    return sites[random.integers(len(sites))]


def _place(page: _Page, index: int, dump: str, captured_at: datetime, random: np.random.Generator) -> _Page:
    moment = (captured_at + timedelta(seconds=index)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    site = _site(random, VENDOR_SITES if page.marked else SITES)
    url = f"https://{site}/{dump}/{index:06d}.html"
    return replace(page, identifier=f"{dump}-{index:06d}", url=url, captured_at=moment)


def _publish(folder: Path, dump: str, contents: dict[str, bytes]) -> Path:
    """Write all files to a temporary sibling, then give it its name in one step."""
    staging, target = folder / f".{dump}.partial", folder / dump
    shutil.rmtree(staging, ignore_errors=True)  # left behind by a run that was cut off
    staging.mkdir(parents=True)
    for name, content in contents.items():
        (staging / name).write_bytes(content)
    return staging.rename(target)


def _warc(pages: list[_Page], broken: list[_Page], started: str) -> bytes:
    """Write one gzip member per record; one response in the middle has flipped bytes, the last one is cut off."""
    flipped, truncated = broken
    info = b"software: collapse_guard simulation\r\nformat: WARC File Format 1.1\r\n"
    members = [member for page in pages for member in (_request(page), _response(page))]
    middle = 2 * (len(pages) // 2)
    members[middle:middle] = [_request(flipped), _with_flipped_bytes(_response(flipped))]
    cut_off = _response(truncated)
    cut_off = cut_off[: len(cut_off) * 3 // 5]
    head = _member(WarcRecordType.warcinfo, "", started, "application/warc-fields", info)
    return b"".join([head, *members, _request(truncated), cut_off])


def _request(page: _Page) -> bytes:
    host, path = page.url.removeprefix("https://").split("/", 1)
    block = f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: simulated-crawler\r\nAccept: text/html\r\n\r\n"
    return _member(
        WarcRecordType.request, page.url, page.captured_at, "application/http; msgtype=request", block.encode()
    )


def _response(page: _Page) -> bytes:
    body = _html(page).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
    return _member(
        WarcRecordType.response, page.url, page.captured_at, "application/http; msgtype=response", head.encode() + body
    )


def _member(kind: WarcRecordType, url: str, moment: str, content_type: str, block: bytes) -> bytes:
    """Write one WARC record as one gzip member, with block digest."""
    record = WarcRecord()
    # Named by what it holds, so that the same arguments give the same bytes.
    urn = uuid.uuid5(uuid.NAMESPACE_URL, f"{content_type} {moment} {url}").urn.removeprefix("urn:")
    record.init_headers(kind, urn.encode())
    record.headers["WARC-Date"] = moment
    if url:
        record.headers["WARC-Target-URI"] = url
    record.headers["Content-Type"] = content_type
    record.set_bytes_content(block)
    stream = io.BytesIO()
    record.write(stream, checksum_data=True)
    return bytes(igzip.compress(stream.getvalue(), mtime=0))


def _html(page: _Page) -> str:
    """Put navigation and a footer around the text, as pages have them."""
    site = page.url.split("/")[2]
    title = html.escape(" ".join(page.text.split()[:8]))
    links = "".join(f'<li><a href="/{name.lower()}">{name}</a></li>' for name in NAVIGATION)
    article = "\n".join(f"<p>{html.escape(part)}</p>" for part in PARAGRAPH_GAP.split(page.text))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title} - {site}</title></head>\n'
        f'<body><nav><a href="/">{site}</a><ul>{links}</ul></nav>\n'
        f"<main><article>\n{article}\n</article></main>\n<footer><p>{FOOTER}</p></footer></body></html>\n"
    )


def _with_flipped_bytes(member: bytes) -> bytes:
    middle = len(member) // 2
    return member[:middle] + bytes(byte ^ 0xFF for byte in member[middle : middle + 16]) + member[middle + 16 :]


def _jsonl(pages: list[_Page], broken: list[_Page], random: np.random.Generator) -> bytes:
    """Write one row per line, with three lines among them that are no rows."""
    not_utf8, cut, no_object = (_row(page) for page in broken)
    quote = not_utf8.index(b'"text":"') + len(b'"text":"')
    damaged = [not_utf8[:quote] + b"\xff" + not_utf8[quote:], cut[: len(cut) // 2], b"[" + no_object + b"]"]
    lines = [_row(page) for page in pages]
    for line in damaged:
        lines.insert(int(random.integers(len(lines) + 1)), line)
    return zstandard.ZstdCompressor(write_checksum=True).compress(b"\n".join(lines) + b"\n")


def _row(page: _Page) -> bytes:
    row = {"id": page.identifier, "text": page.text, "url": page.url, "captured_at": page.captured_at}
    return orjson.dumps(row if page.claim is None else row | {"claimed_origin": page.claim})
