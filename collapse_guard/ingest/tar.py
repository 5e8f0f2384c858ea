"""Tar files of samples in WebDataset form: files that follow each other and share a name up to its first dot.

Source: POSIX.1-1988 (ustar) with the long names of GNU and pax; https://github.com/webdataset/webdataset.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from collapse_guard.images.pixels import MOST_BYTES
from collapse_guard.ingest.compressed import Damage
from collapse_guard.ingest.fragments import CHUNK_BYTES, DECOMPRESSED, Fragment, fragment_of, fragment_of_chunks
from collapse_guard.ingest.images import CAPTION, take_picture
from collapse_guard.ingest.pictured import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.ingest.collect import Collector
    from collapse_guard.ingest.compressed import Piece

BLOCK = 512
SIDE_BYTES = 2**20
"""Largest caption or JSON file beside an image that is read."""

_LONG_NAME, _LONG_LINK, _PAX, _GLOBAL = b"L", b"K", b"x", b"g"
_READ = ("txt", "json")
_MAGIC, _MAGIC_AT = b"ustar", 257
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


@dataclass
class _Member:
    """One file of the archive, with its bytes, or none where it is too large to be held."""

    name: str
    offset: int
    data: bytes | None
    fragment: Fragment | None = None

    @property
    def key(self) -> str:
        """Folder and name up to the first dot."""
        folder, slash, name = self.name.rpartition("/")
        return folder + slash + name.partition(".")[0]

    @property
    def ending(self) -> str:
        """Its name from the first dot on, in lower case."""
        return self.name.rpartition("/")[2].partition(".")[2].lower()

    @property
    def is_image(self) -> bool:
        """Whether its name says that it is one."""
        return f".{self.ending}".endswith(SUFFIXES)


@dataclass
class _Sample:
    """The files of one key, in order."""

    key: str = ""
    members: list[_Member] = field(default_factory=list)


@dataclass
class _Cut:
    """Bytes that belong to no whole file, and why."""

    fragment: Fragment
    reason: str
    detail: str


def read_tar(pieces: Iterator[Piece | Damage], out: Collector, *, unpacked: bool) -> None:
    """Read the images of a tar file, each with the caption beside it; a bad member costs that member."""
    note = DECOMPRESSED if unpacked else ""
    sample = _Sample()
    for found in _Archive(pieces, note).members():
        if isinstance(found, _Cut):
            out.lost(found.fragment, found.reason, found.detail)
            continue
        if found.key != sample.key:
            _take_sample(sample, note, out)
            sample = _Sample(found.key)
        sample.members.append(found)
    _take_sample(sample, note, out)


def _take_sample(sample: _Sample, note: str, out: Collector) -> None:
    images = [member for member in sample.members if member.is_image]
    beside = [member for member in sample.members if not member.is_image]
    if not images and beside:
        _lose_beside(beside, note, out)
    row = _row(beside, out.rows.text_name)
    left = [found.ending[:40] for found in beside if found.data is None or found.ending not in _READ]
    for member in images:
        place = {"offset": member.offset, "member": member.name[:1024], "key": sample.key[:1024]}
        if left:
            place["not_read"] = left
        _take_image(member, row, place, note, out)


def _lose_beside(members: list[_Member], note: str, out: Collector) -> None:
    """Quarantine files that no image lies beside."""
    for member in members:
        fragment = member.fragment or fragment_of(member.offset, member.data or b"", note)
        out.lost(fragment, "no_image", f"{member.name[:200]!r} has no image beside it with the same name")


def _take_image(member: _Member, row: dict[str, Any], place: dict[str, Any], note: str, out: Collector) -> None:
    if member.data is None:
        if member.fragment:
            detail = f"the image has {member.fragment.length} bytes, more than {MOST_BYTES}"
            out.lost(member.fragment, "image_too_large", detail)
    elif out.begin(member.offset, member.data, note):
        take_picture(member.data, row, place, out, offset=member.offset, note=note)


def _row(beside: list[_Member], text_name: str) -> dict[str, Any]:
    """What the JSON file says, and the text file as caption, which counts more."""
    row: dict[str, Any] = {}
    for member in beside:
        if member.ending == "json" and member.data is not None:
            row |= _object(member.data)
    texts = [member.data for member in beside if member.ending == "txt" and member.data is not None]
    if texts:
        row.pop(CAPTION, None)
        row[text_name] = texts[0].decode("utf-8", "replace").strip()
    return row


def _object(data: bytes) -> dict[str, Any]:
    """Read a JSON object; what is none stays as it was, for the image is worth more than its caption."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {"unreadable_json": data[:200].decode("utf-8", "replace")}
    return value if isinstance(value, dict) else {}


class _Archive:
    """A tar file as it streams by."""

    def __init__(self, pieces: Iterator[Piece | Damage], note: str) -> None:
        self.pieces = pieces
        self.note = note
        self.buffer = bytearray()
        self.at = 0
        self.damage: Damage | None = None
        self.named: str | None = None
        self.sized: int | None = None

    def members(self) -> Iterator[_Member | _Cut]:
        """Give every file, and what belongs to none in its place."""
        while self._fill(1) or self.damage:
            if not self.buffer and self.damage:
                yield self._told(self.damage)
                self.damage = None
                continue
            found = self._next()
            if found is not None:
                yield found

    def _told(self, damage: Damage) -> _Cut:
        return _Cut(damage.fragment, damage.reason, damage.detail)

    def _fill(self, size: int) -> bool:
        """Have at least `size` bytes at hand, unless damage or the end of the file comes first."""
        while len(self.buffer) < size and not self.damage:
            piece = next(self.pieces, None)
            if piece is None:
                return False
            if isinstance(piece, Damage):
                self.damage = piece
                return False
            self.buffer += piece.data
        return len(self.buffer) >= size

    def _take(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        self.at += len(data)
        return data

    def _next(self) -> _Member | _Cut | None:
        self._fill(BLOCK)
        header = _header(bytes(self.buffer[:BLOCK]))
        if header is None:
            return self._gap()
        offset = self.at
        self._take(BLOCK)
        size = header.size if self.sized is None else self.sized
        if header.type in {_LONG_NAME, _LONG_LINK, _PAX, _GLOBAL}:
            return self._names_next(header, size, offset)
        name, self.named, self.sized = self.named or header.name, None, None
        if header.type not in _FILES:
            return self._skip(size, offset) if header.isfile() else None  # a folder or link has no bytes
        return self._file(name, size, offset)

    def _file(self, name: str, size: int, offset: int) -> _Member | _Cut:
        member = _Member(name, offset, None)
        most = MOST_BYTES if member.is_image else SIDE_BYTES
        if size > most:
            member.fragment = fragment_of_chunks(offset, self._chunks(size), self.note)
            whole = member.fragment.length == size
            self._pad(size)
            return member if whole else self._short(member.fragment)
        if not self._fill(size):
            return self._short(fragment_of(offset, self._take(len(self.buffer)), self.note))
        member.data = self._take(size)
        self._pad(size)
        return member

    def _chunks(self, left: int) -> Iterator[bytes]:
        while left > 0 and self._fill(1):
            data = self._take(min(left, len(self.buffer), CHUNK_BYTES))
            left -= len(data)
            yield data

    def _pad(self, size: int) -> None:
        rest = -size % BLOCK
        self._fill(rest)
        self._take(rest)

    def _short(self, fragment: Fragment) -> _Cut:
        """Give a file that the end of the archive or damage cut short."""
        damage = self.damage
        if damage and damage.released:
            self.damage = None
            return _Cut(fragment, damage.reason, damage.detail)
        return _Cut(fragment, "truncated", "the archive ends inside this file")

    def _names_next(self, header: tarfile.TarInfo, size: int, offset: int) -> _Cut | None:
        """Read the name, and the size, of the file that follows."""
        if size > SIDE_BYTES or not self._fill(size):
            return self._skip(size, offset)
        data = self._take(size)
        self._pad(size)
        if header.type == _LONG_NAME:
            self.named = data.rstrip(b"\0").decode("utf-8", "replace")
        elif header.type == _PAX:
            fields = _pax(data)
            self.named = fields.get("path", self.named)
            self.sized = int(fields["size"]) if fields.get("size", "").isdecimal() else None
        return None

    def _skip(self, size: int, offset: int) -> _Cut:
        fragment = fragment_of_chunks(offset, self._chunks(size), self.note)
        self._pad(size)
        return _Cut(fragment, "unsupported_member", "the archive holds something here that is no plain file")

    def _gap(self) -> _Cut | None:
        """Give everything up to the next header; zeros are the filling at the end of an archive."""
        self.named, self.sized = None, None
        offset, zeros = self.at, [True]
        fragment = fragment_of_chunks(offset, self._until_header(zeros), self.note)
        return None if zeros[0] else _Cut(fragment, "no_member", "these bytes are no file of a tar archive")

    def _until_header(self, zeros: list[bool]) -> Iterator[bytes]:
        """Take bytes up to the next header, wherever it lies: damage may have moved it out of the blocks."""
        while True:
            data = self._take(self._before_magic())
            zeros[0] = zeros[0] and not any(data)
            yield data
            self._fill(BLOCK)
            if not self.buffer or _header(bytes(self.buffer[:BLOCK])) is not None:
                return

    def _before_magic(self) -> int:
        """Count the bytes, one at least, that lie before the next place where a header may start."""
        self._fill(2 * BLOCK)
        found = self.buffer.find(_MAGIC, _MAGIC_AT + 1)
        return found - _MAGIC_AT if found >= 0 else max(len(self.buffer) - BLOCK, min(BLOCK, len(self.buffer)))


def _header(block: bytes) -> tarfile.TarInfo | None:
    try:
        found = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except (tarfile.HeaderError, ValueError):
        return None
    return found if found.size >= 0 else None


def _pax(data: bytes) -> dict[str, str]:
    """Read the records `LENGTH KEY=VALUE` of an extended header (POSIX.1-2001, pax)."""
    fields: dict[str, str] = {}
    at = 0
    while at < len(data):
        length, blank, _ = data[at:].partition(b" ")
        if not blank or not length.isdigit() or int(length) <= len(length):
            break
        key, _, value = data[at + len(length) + 1 : at + int(length)].rstrip(b"\n").partition(b"=")
        fields[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        at += int(length)
    return fields
