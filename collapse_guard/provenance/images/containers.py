"""What an image file says of itself, read without decoding a pixel: PNG, JPEG, WebP and TIFF.

A damaged file gives what was readable before and behind the damage, and a sentence on the damage.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIELD_BYTES = 2**20
"""Most bytes of one text field or XMP packet, also after decompression."""

IMAGE_BYTES = 4 * 2**20
"""Most bytes of all of them in one image."""

_EXIF_POINTER = 0x8769
_EXIF_FIELDS = {
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x013B: "Artist",
    0x9286: "UserComment",
}
_WIDTH, _HEIGHT, _XMP = 0x0100, 0x0101, 0x02BC
_EXIF_WANTED = frozenset({*_EXIF_FIELDS, _EXIF_POINTER, _WIDTH, _HEIGHT, _XMP})
_EXIF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1}
"""Bytes of a value by its type; the types of numbers that no field wanted has are left out."""
_CHARSETS = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16", b"\0" * 8: "utf-8"}
_FILL, _APP1, _COMMENT, _SCAN, _END = 0xFF, 0xE1, 0xFE, 0xDA, 0xD9
_JPEG_END = b"\xff\xd9"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset((*range(0xD0, 0xDA), 0x01))


@dataclass
class Contents:
    """Metadata of one image.

    Attributes:
        format: PNG, JPEG, WebP, TIFF, or empty for any other.
        width: Pixels; None where the file does not say.
        height: Pixels; None where the file does not say.
        fields: Name and value of each text, such as `("png:parameters", "...")` or `("exif:Software", "...")`.
        xmp: The XMP packets.
        problems: What could not be read, in sentences.
    """

    format: str = ""
    width: int | None = None
    height: int | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    xmp: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    room: int = IMAGE_BYTES

    def add(self, name: str, value: bytes | str) -> None:
        """Take a text field."""
        if text := self._cut(name, value if isinstance(value, str) else _text(value)):
            self.fields.append((name, text))

    def add_xmp(self, data: bytes) -> None:
        """Take an XMP packet."""
        if text := self._cut("xmp", _text(data)):
            self.xmp.append(text)

    def _cut(self, name: str, text: str) -> str:
        most = min(FIELD_BYTES, self.room)
        if len(text) > most:
            self.problems.append(f"{name} has {len(text)} characters; only the first {most} were read")
        self.room -= min(len(text), most)
        return text[:most]


def read_contents(data: bytes) -> Contents:
    """Read what an image says of itself; its name and declared type are not asked, only its first bytes."""
    out = Contents()
    for name, starts, read in _FORMATS:
        if starts(data):
            out.format = name
            try:
                read(data, out)
            except (struct.error, IndexError):
                out.problems.append(f"the {name} file is cut short or damaged")
            return out
    return out


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _read_png(data: bytes, out: Contents) -> None:
    at = 8
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        if len(body) < size:
            out.problems.append(f"the PNG file ends inside its chunk {kind.decode('latin-1')!r}")
            return
        _png_chunk(kind, body, out)
        if kind == b"IEND":
            return
        at += 12 + size
    out.problems.append("the PNG file has no end chunk")


def _png_chunk(kind: bytes, body: bytes, out: Contents) -> None:
    if kind == b"IHDR":
        out.width, out.height = struct.unpack_from(">II", body)
    elif kind == b"eXIf":
        _read_exif(body, out)
    elif kind in {b"tEXt", b"zTXt", b"iTXt"}:
        keyword, _, rest = body.partition(b"\0")
        value = _PNG_TEXTS[kind](rest, out)
        if keyword == b"XML:com.adobe.xmp":
            out.add_xmp(value)
        elif value:
            out.add(f"png:{keyword.decode('latin-1')[:79]}", value)


def _plain(rest: bytes, _out: Contents) -> bytes:
    return rest


def _compressed(rest: bytes, out: Contents) -> bytes:
    return _inflated(rest[1:], out)


def _international(rest: bytes, out: Contents) -> bytes:
    body = rest[2:].split(b"\0", 2)[-1]
    return _inflated(body, out) if rest[:1] == b"\1" else body


_PNG_TEXTS: dict[bytes, Callable[[bytes, Contents], bytes]] = {
    b"tEXt": _plain,
    b"zTXt": _compressed,
    b"iTXt": _international,
}


def _inflated(data: bytes, out: Contents) -> bytes:
    decoder = zlib.decompressobj()
    try:
        value = decoder.decompress(data, max(1, min(FIELD_BYTES, out.room)))
    except zlib.error:
        out.problems.append("a compressed text chunk is damaged")
        return b""
    if decoder.unconsumed_tail:
        out.problems.append(f"a compressed text chunk holds more than {len(value)} bytes; the rest was not read")
    return value


def _read_jpeg(data: bytes, out: Contents) -> None:
    for marker, body in _jpeg_segments(data):
        if marker == _SCAN and _JPEG_END not in body:
            out.problems.append("the JPEG file ends inside its picture")
        if marker in _FRAMES:
            out.height, out.width = struct.unpack_from(">HH", body, 1)
        elif marker == _APP1 and body.startswith(b"Exif\0\0"):
            _read_exif(body[6:], out)
        elif marker == _APP1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            out.add_xmp(body[29:])
        elif marker == _COMMENT:
            out.add("jpeg:comment", body.rstrip(b"\0"))


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the segments before the first scan, and the rest of the file as the last."""
    at = 2
    while True:
        while data[at] == _FILL and data[at + 1] == _FILL:
            at += 1
        if data[at] != _FILL:
            raise IndexError
        marker = data[at + 1]
        if marker in {_SCAN, _END}:
            yield marker, data[at + 2 :]
            return
        at += 2
        if marker in _ALONE:
            continue
        size = struct.unpack_from(">H", data, at)[0]
        if at + size > len(data):
            raise IndexError
        yield marker, data[at + 2 : at + size]
        at += size


def _read_webp(data: bytes, out: Contents) -> None:
    at = 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + size]
        if len(body) < size:
            out.problems.append(f"the WebP file ends inside its chunk {kind.decode('latin-1')!r}")
            return
        _webp_chunk(kind, body, out)
        at += 8 + size + size % 2


def _webp_chunk(kind: bytes, body: bytes, out: Contents) -> None:
    if kind == b"EXIF":
        _read_exif(body.removeprefix(b"Exif\0\0"), out)
    elif kind == b"XMP ":
        out.add_xmp(body)
    elif kind in _WEBP_SIZES and out.width is None:
        out.width, out.height = _WEBP_SIZES[kind](body)


def _extended_size(body: bytes) -> tuple[int, int]:
    return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")


def _lossy_size(body: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


def _lossless_size(body: bytes) -> tuple[int, int]:
    bits = struct.unpack_from("<I", body, 1)[0]
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)


_WEBP_SIZES: dict[bytes, Callable[[bytes], tuple[int, int]]] = {
    b"VP8X": _extended_size,
    b"VP8 ": _lossy_size,
    b"VP8L": _lossless_size,
}


def _read_tiff(data: bytes, out: Contents) -> None:
    tags = _read_exif(data, out)
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    out.width, out.height = (int.from_bytes(tags[tag], order) if tag in tags else None for tag in (_WIDTH, _HEIGHT))


def _read_exif(data: bytes, out: Contents) -> dict[int, bytes]:
    """Read the texts of a TIFF header and its EXIF part, and give the fields found by their tag."""
    found: dict[int, bytes] = {}
    try:
        order = {b"II": "<", b"MM": ">"}[data[:2]]
        found |= _directory(data, struct.unpack_from(f"{order}I", data, 4)[0], order)
        if _EXIF_POINTER in found:
            found |= _directory(data, struct.unpack(f"{order}I", found[_EXIF_POINTER])[0], order)
    except (struct.error, KeyError):
        out.problems.append("the EXIF data is cut short or damaged")
    for tag, name in _EXIF_FIELDS.items():
        if value := _exif_text(found.get(tag, b"")):
            out.add(f"exif:{name}", value)
    if _XMP in found:
        out.add_xmp(found[_XMP])
    return found


def _directory(data: bytes, at: int, order: str) -> dict[int, bytes]:
    """Read the fields wanted out of one directory (TIFF 6.0, section 2)."""
    found = {}
    for entry in range(struct.unpack_from(f"{order}H", data, at)[0]):
        tag, kind, count, inside = struct.unpack_from(f"{order}HHI4s", data, at + 2 + 12 * entry)
        size = min(count * _EXIF_SIZES.get(kind, 0), FIELD_BYTES)
        if tag in _EXIF_WANTED and tag not in found and size:
            place = struct.unpack(f"{order}I", inside)[0]
            found[tag] = inside[:size] if size <= len(inside) else data[place : place + size]
    return found


def _exif_text(value: bytes) -> str:
    """Read a text; that of a comment starts with the name of its character set."""
    charset = _CHARSETS.get(value[:8])
    if charset == "utf-16":
        return _utf16(value[8:]).strip("\0 ")
    return _text(value[8:] if charset else value).strip("\0 ")


def _utf16(data: bytes) -> str:
    """Decode text whose byte order nobody wrote down: most of what tools write is in Latin letters."""
    order = "utf-16-le" if data[1::2].count(0) > data[0::2].count(0) else "utf-16-be"
    return data.decode("utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else order, "replace")


_FORMATS: tuple[tuple[str, Callable[[bytes], bool], Callable[[bytes, Contents], None]], ...] = (
    ("PNG", lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"), _read_png),
    ("JPEG", lambda data: data.startswith(b"\xff\xd8\xff"), _read_jpeg),
    ("WebP", lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP", _read_webp),
    ("TIFF", lambda data: data[:4] in {b"II*\0", b"MM\0*"}, _read_tiff),
)
