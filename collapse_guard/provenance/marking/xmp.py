"""XMP packets in PNG, JPEG and WebP files, written without touching a pixel."""

from __future__ import annotations

import html
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import orjson

from collapse_guard.errors import UsageError
from collapse_guard.provenance.images.containers import Contents
from collapse_guard.provenance.images.generators import evidence_of_fields
from collapse_guard.provenance.marking.statement import aigc_field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collapse_guard.provenance.marking.statement import Statement

_IPTC = 'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
_TC260 = 'xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"'
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
_END = "</rdf:RDF>"
_LABEL = re.compile(rf'<rdf:Description rdf:about="" {re.escape(_TC260)} TC260:AIGC="([^"]*)"/>')
_PNG_XMP = b"XML:com.adobe.xmp\0"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_SEGMENT_BYTES = 0xFFFF - 2
_APP0, _APP1, _APP15 = 0xE0, 0xE1, 0xEF
_XMP_FLAG, _ALPHA_FLAG = 0x04, 0x10


def with_statement(packet: str | None, statement: Statement) -> tuple[str, tuple[str, ...]]:
    """Put a statement into an XMP packet, or into a new one: `DigitalSourceType` of IPTC and `AIGC` of GB 45438-2025.

    Args:
        packet: What the image has.
        statement: What is declared; an earlier one by the same producer is replaced.

    Returns:
        The packet, and notes on what another producer says there and keeps.

    Raises:
        UsageError: The packet says something else, or cannot be added to.
    """
    theirs = _without(packet or _EMPTY, statement)
    if _END not in theirs:
        raise UsageError("the image's XMP has no end to add to; it is damaged or in a form that is not known here")
    said = {found.name.partition(":")[0]: found for found in evidence_of_fields(Contents(xmp=[theirs]))}
    wanted = {"iptc": ("DigitalSourceType", _source_type(statement)), "xmp": ("AIGC", _label(statement))}
    ours, notes = "", []
    for place, (name, element) in wanted.items():
        if f":{name}" not in theirs:
            ours += element
        elif element and element in theirs:
            continue
        elif place in said and said[place].says == statement.mode:
            notes.append(f"the image keeps its own {name}, which says the same")
        else:
            raise UsageError(f"the image's XMP has a {name} that is not to say {statement.mode!r}; take it out first")
    return theirs.replace(_END, ours + _END, 1), tuple(notes)


def _source_type(statement: Statement) -> str:
    value = quoteattr(statement.source_type)
    return f'<rdf:Description rdf:about="" {_IPTC} Iptc4xmpExt:DigitalSourceType={value}/>'


def _label(statement: Statement) -> str:
    field = aigc_field(statement, statement.content_id)
    if field is None:
        return ""
    return f'<rdf:Description rdf:about="" {_TC260} TC260:AIGC={quoteattr(field, {chr(34): "&quot;"})}/>'


def _without(packet: str, statement: Statement) -> str:
    """Take out what the same producer said before."""
    for found in _LABEL.finditer(packet):
        field = _object(html.unescape(found[1]))
        if field.get("ContentProducer") == statement.producer:
            packet = packet.replace(found[0], "")
    return packet


def _object(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def embedded(data: bytes, contents: Contents, packet: str) -> bytes:
    """Write a packet into an image file, in place of the one that it has.

    Args:
        data: The file.
        contents: What it says of itself.
        packet: The packet.

    Returns:
        The file.

    Raises:
        UsageError: The packet is too long for the format, or the format is none that can be written.
    """
    if contents.format not in _WRITERS:
        raise UsageError(f"{contents.format or 'this format'} gets no XMP here; give a certificate, or save it as PNG")
    return _WRITERS[contents.format](data, packet.encode(), contents)


def _into_png(data: bytes, packet: bytes, _contents: Contents) -> bytes:
    body = b"iTXt" + _PNG_XMP + b"\0\0\0\0" + packet
    ours = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    first, *others = (chunk for chunk in _png_chunks(data) if not chunk[4:].startswith(b"iTXt" + _PNG_XMP))
    return data[:8] + first + ours + b"".join(others)


def _png_chunks(data: bytes) -> Iterator[bytes]:
    at = 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at:end]
        at = end


def _into_jpeg(data: bytes, packet: bytes, _contents: Contents) -> bytes:
    body = _JPEG_XMP + packet
    if len(body) > _SEGMENT_BYTES:
        raise UsageError(f"the image's XMP would have {len(body)} bytes; JPEG has room for {_SEGMENT_BYTES}")
    ours = struct.pack(">BBH", 0xFF, _APP1, len(body) + 2) + body
    head, at = _jpeg_head(data)
    early = [segment for segment in head if segment[1] == _APP0 or segment[4:].startswith(b"Exif\0")]
    late = [segment for segment in head if segment not in early and not segment[4:].startswith(_JPEG_XMP)]
    return data[:2] + b"".join([*early, ours, *late]) + data[at:]


def _jpeg_head(data: bytes) -> tuple[list[bytes], int]:
    """Give the application segments at the start of a file, and the place behind them."""
    segments, at = [], 2
    while data[at] == 0xFF and _APP0 <= data[at + 1] <= _APP15:  # noqa: PLR2004 - what begins a segment
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append(data[at:end])
        at = end
    return segments, at


def _into_webp(data: bytes, packet: bytes, contents: Contents) -> bytes:
    chunks = [(kind, body) for kind, body in _webp_chunks(data) if kind != b"XMP "]
    if chunks[0][0] != b"VP8X":
        kind, body = chunks[0]
        alpha = _ALPHA_FLAG if kind == b"VP8L" and body[4] & 0x10 else 0
        sizes = [((side or 1) - 1).to_bytes(3, "little") for side in (contents.width, contents.height)]
        chunks.insert(0, (b"VP8X", bytes([alpha, 0, 0, 0]) + b"".join(sizes)))
    chunks[0] = (b"VP8X", bytes([chunks[0][1][0] | _XMP_FLAG]) + chunks[0][1][1:])
    chunks.append((b"XMP ", packet))
    written = b"".join(kind + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2) for kind, body in chunks)
    return b"RIFF" + (len(written) + 4).to_bytes(4, "little") + b"WEBP" + written


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


_WRITERS: dict[str, Callable[[bytes, bytes, Contents], bytes]] = {
    "PNG": _into_png,
    "JPEG": _into_jpeg,
    "WebP": _into_webp,
}
