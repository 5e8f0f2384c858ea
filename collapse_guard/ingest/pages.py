"""The text of a captured page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from fastwarc.warc import WarcRecord
from isal import isal_zlib
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

from collapse_guard.provenance.declared import NO_MARKS, Marks, marks_of_page

if TYPE_CHECKING:
    from collections.abc import Mapping

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
TEXT_TYPES = frozenset({"text/plain"})

_HTTP_RECORD = (
    b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: %d\r\n\r\n"
)
_LAST_CHUNK = re.compile(rb"(?:\A|\n)0+[ \t]*(?:;[^\r\n]*)?\r?\n(?:[^\r\n]+\r?\n)*(?:\r?\n)*\Z")
_TAIL_BYTES = 8 * 2**10
_OK = range(200, 300)
_LOOKS_LIKE_HTML = re.compile(rb"\s*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class DroppedError(Exception):
    """The record can be read and is no page; the message is the reason in one word."""


class BadPageError(Exception):
    """The page cannot be read."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Page(NamedTuple):
    """The text of a page, how many invalid byte sequences in it were replaced, and what the page declares."""

    text: str
    replaced: int
    marks: Marks = NO_MARKS


def read_page(header: Mapping[str, str], body: bytes, limit: int) -> Page:
    """Read the page that a WARC record holds.

    Args:
        header: The record's fields, names in lower case.
        body: The record's block.
        limit: Most bytes after the content coding was undone.

    Returns:
        The page.

    Raises:
        DroppedError: It is not a page, not text, or not a success.
    """
    kind = header.get("warc-type", "").lower()
    content_type = header.get("content-type", "")
    if kind == "conversion":
        return Page(*_decode(body, "utf-8"))
    if kind == "resource":
        return _page(body, _media_type(content_type), _charset(content_type), {})
    if kind != "response" or _media_type(content_type) != "application/http":
        raise DroppedError("not_a_page")
    return _response(body, limit)


def _response(block: bytes, limit: int) -> Page:
    try:
        record = _http(block, "none")
    except OSError as error:
        raise BadPageError("bad_http", str(error)) from error
    status = record.http_headers and record.http_headers.status_code
    if not status:
        raise BadPageError("bad_http", "there is no HTTP status line")
    if int(status) not in _OK:
        raise DroppedError("http_status")
    media_type = str(record.http_content_type or "").lower()
    if media_type and media_type not in HTML_TYPES | TEXT_TYPES:
        raise DroppedError("not_text")
    fields = {name.lower(): value for name, value in record.http_headers.items()}
    try:
        data = _payload(record, fields, block, limit)
    except OSError as error:
        raise BadPageError("bad_http", str(error)) from error
    if len(data) > limit:
        raise BadPageError("record_too_large", f"the decoded body has more than {limit} bytes")
    return _page(data, media_type, record.http_charset, fields)


def _http(block: bytes, decode: Literal["none", "transfer", "all"]) -> WarcRecord:
    record = WarcRecord.from_bytes(_HTTP_RECORD % len(block) + block + b"\r\n\r\n")
    record.parse_http(auto_decode=decode, quirks_mode=True)
    return record


def _payload(record: WarcRecord, fields: Mapping[str, str], block: bytes, limit: int) -> bytes:
    """Undo the transfer coding and the content coding of a whole HTTP response."""
    transfer, content = (fields.get(name, "").lower().strip() for name in ("transfer-encoding", "content-encoding"))
    gzipped = content in {"gzip", "x-gzip"}
    # The parser takes a chunked body without its last chunk, and gzip without its end, for whole.
    if "chunked" in transfer and not _LAST_CHUNK.search(block, max(0, len(block) - _TAIL_BYTES)):
        raise BadPageError("bad_http", "the chunked body has no last chunk")
    if transfer or content:
        record = _http(block, "transfer" if gzipped else "all")
    data: bytes = record.reader.read(limit + 1)
    return _gunzip(data, limit) if gzipped else data


def _gunzip(data: bytes, limit: int) -> bytes:
    decoder = isal_zlib.decompressobj(wbits=31)
    try:
        out = decoder.decompress(data, limit + 1)
    except isal_zlib.error as error:  # type: ignore[misc]  # the stub calls the class an instance
        raise BadPageError("bad_http", f"the gzip body is damaged: {error}") from error
    if not decoder.eof and len(out) <= limit and data:
        raise BadPageError("bad_http", "the gzip body is cut short")
    return bytes(out)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _charset(content_type: str) -> str | None:
    found = re.search(r"charset=[\"']?([\w.:-]+)", content_type, re.IGNORECASE)
    return found and map_encoding_to_html5(found[1], fallback_utf8=False)


def _page(body: bytes, media_type: str, charset: str | None, headers: Mapping[str, str]) -> Page:
    html = media_type in HTML_TYPES or (not media_type and _LOOKS_LIKE_HTML.match(body))
    if not html and media_type not in TEXT_TYPES:
        raise DroppedError("not_text")
    text, replaced = _decode(body, charset or detect_encoding(body, from_html_meta=bool(html)))
    return Page(_visible(text) if html else text, replaced, marks_of_page(text if html else "", headers))


def _decode(body: bytes, encoding: str | None) -> tuple[str, int]:
    """Decode, with the byte order mark before any other word on the encoding."""
    for bom, name in _BOMS:
        if body.startswith(bom):
            body, encoding = body[len(bom) :], name
    try:
        return body.decode(encoding or "utf-8"), 0
    except (UnicodeError, LookupError):
        text = _replaced(body, encoding or "utf-8")
        return text, text.count("\ufffd")


def _replaced(body: bytes, encoding: str) -> str:
    try:
        return body.decode(encoding, "replace")
    except (UnicodeError, LookupError):
        return body.decode("utf-8", "replace")


def _visible(html: str) -> str:
    """Extract the main content, or the whole page where none is found."""
    try:
        tree = HTMLTree.parse(html)
        return extract_plain_text(tree, main_content=True) or extract_plain_text(tree, main_content=False)
    except ValueError as error:
        raise BadPageError("bad_html", str(error)) from error
