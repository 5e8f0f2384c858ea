"""A file as a stream of decompressed pieces that goes on after a damaged gzip member or zstd frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import zstandard
from isal import isal_zlib

from collapse_guard.ingest.fragments import CHUNK_BYTES, Fragment, fragment_of_range

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator
    from typing import Any

    Stored = io.BufferedReader[Any]

GZIP_MAGIC = b"\x1f\x8b\x08"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE_MAGICS = tuple(bytes([0x50 + i, 0x2A, 0x4D, 0x18]) for i in range(16))
WINDOW_BYTES = 4 * 2**20
"""A unit that decompresses to less is passed on only after its checksum held; a longer one streams."""

MAX_ZSTD_WINDOW = 2**27
_BLOCK_TYPES = frozenset({0, 1, 2})  # raw, repeated byte, compressed; 3 is reserved
_MAX_BLOCK = 128 * 2**10
_INPUT_BYTES = 64 * 2**10
PROBE_BYTES = 4 * 2**10
"""How much of a unit must decode before reading resumes there."""


@dataclass(frozen=True)
class Piece:
    """Decompressed bytes; `start` is the stored offset of the unit that begins with them, else None."""

    data: bytes
    start: int | None


@dataclass(frozen=True)
class Damage:
    """Stored bytes that could not be decompressed; `released` if earlier bytes of the same unit were passed on."""

    fragment: Fragment
    reason: str
    detail: str
    released: bool


class BrokenError(Exception):
    """A unit ended wrongly."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Coding(Protocol):
    """One compressed format: units that follow each other in a file."""

    name: str
    magic: bytes

    def opens(self, head: bytes) -> bool:
        """Whether these bytes begin a unit of this format."""

    def begins(self, data: bytes) -> bool:
        """Whether these first bytes of what may be a unit can be decoded."""

    def unit(self, file: Stored) -> Iterator[tuple[bytes, int]]:
        """Decompress the unit at the file's position: bytes, and the stored position they were read up to."""


class Gzip:
    """Gzip members, RFC 1952."""

    name = "gzip member"
    magic = GZIP_MAGIC

    def opens(self, head: bytes) -> bool:
        """Whether these bytes begin a gzip member."""
        return head.startswith(GZIP_MAGIC)

    def begins(self, data: bytes) -> bool:
        """Whether these first bytes of what may be a member give any output."""
        decoder = isal_zlib.decompressobj(wbits=31)
        try:
            return bool(decoder.decompress(data, 1)) or decoder.eof
        except isal_zlib.error:  # type: ignore[misc]  # the stub calls the class an instance
            return False

    def unit(self, file: Stored) -> Iterator[tuple[bytes, int]]:
        """Decompress the member at the file's position.

        Yields:
            Decompressed bytes, and the stored position they were read up to.

        Raises:
            BrokenError: The member is cut short or its data or checksum is wrong.
        """
        decoder = isal_zlib.decompressobj(wbits=31)
        data = file.read(_INPUT_BYTES)
        while True:
            try:
                out = decoder.decompress(data, CHUNK_BYTES)
            except isal_zlib.error as error:  # type: ignore[misc]  # the stub calls the class an instance
                raise BrokenError("bad_gzip", str(error)) from error
            tail = decoder.unconsumed_tail
            yield out, file.tell() - len(tail)
            if decoder.eof:
                file.seek(-len(decoder.unused_data), 1)
                return
            data = tail or file.read(_INPUT_BYTES)
            if not data and not out:
                raise BrokenError("truncated", "the file ends inside it")


class Zstd:
    """Zstandard frames, RFC 8878, fed block by block so that one step never makes more than 128 KiB."""

    name = "zstd frame"
    magic = ZSTD_MAGIC

    def opens(self, head: bytes) -> bool:
        """Whether these bytes begin a zstd frame or a skippable frame."""
        return head.startswith((ZSTD_MAGIC, *SKIPPABLE_MAGICS))

    def begins(self, data: bytes) -> bool:
        """Whether these bytes hold a frame header and a possible block header."""
        try:
            size = zstandard.frame_header_size(data)
            zstandard.get_frame_parameters(data)
        except zstandard.ZstdError:
            return False
        bits = int.from_bytes(data[size : size + 3], "little")
        return len(data) >= size + 3 and (bits >> 1) & 3 in _BLOCK_TYPES and bits >> 3 <= _MAX_BLOCK

    def unit(self, file: Stored) -> Iterator[tuple[bytes, int]]:
        """Decompress the frame at the file's position.

        Yields:
            Decompressed bytes, and the stored position they were read up to.

        Raises:
            BrokenError: The frame is cut short, its data or checksum is wrong, or its window is too large.
        """
        if not file.peek(4)[:4].startswith(ZSTD_MAGIC):
            size = int.from_bytes(_exactly(file, 8)[4:], "little")
            file.seek(size, 1)
            return
        decoder = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW).decompressobj()
        try:
            for part in _zstd_parts(file):
                yield decoder.decompress(part), file.tell()
        except zstandard.ZstdError as error:
            raise BrokenError("bad_zstd", str(error)) from error


def _exactly(file: Stored, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise BrokenError("truncated", "the file ends inside it")
    return data


def _zstd_parts(file: Stored) -> Iterator[bytes]:
    """Cut a frame into header, blocks and checksum."""
    start = file.tell()
    head = file.read(18)
    size = zstandard.frame_header_size(head)
    if len(head) < size:
        raise BrokenError("truncated", "the file ends inside it")
    checked = zstandard.get_frame_parameters(head).has_checksum
    file.seek(start + size)
    yield head[:size]
    last = False
    while not last:
        header = _exactly(file, 3)
        bits = int.from_bytes(header, "little")
        last, repeated = bool(bits & 1), (bits >> 1) & 3 == 1
        yield header + _exactly(file, 1 if repeated else bits >> 3)
    if checked:
        yield _exactly(file, 4)


CODINGS: tuple[Coding, ...] = (Gzip(), Zstd())


def coding_of(head: bytes) -> Coding | None:
    """Tell by its first bytes whether and how a file is compressed."""
    return next((coding for coding in CODINGS if coding.opens(head)), None)


def plain_pieces(file: Stored, beat: Callable[[], None]) -> Iterator[Piece | Damage]:
    """Read an uncompressed file as one unit.

    Yields:
        Pieces of about 1 MiB.
    """
    start: int | None = 0
    while data := file.read(CHUNK_BYTES):
        beat()
        yield Piece(data, start)
        start = None


def unpacked_pieces(file: Stored, coding: Coding, ratio: int, beat: Callable[[], None]) -> Iterator[Piece | Damage]:
    """Decompress unit after unit; damage is told in its place and reading goes on at the next unit that opens.

    Yields:
        Pieces of about 1 MiB, and damage.
    """
    while head := file.peek(4)[:4]:
        if coding.opens(head):
            yield from _guarded(file, coding, ratio, beat)
            continue
        start = file.tell()
        rest = _resume(file, coding, start, beat)
        if not _is_padding(file, start, rest):
            fragment = fragment_of_range(file, start, rest, beat)
            yield Damage(fragment, "trailing_garbage", f"no {coding.name} starts here", released=False)
        file.seek(rest)


def _guarded(file: Stored, coding: Coding, ratio: int, beat: Callable[[], None]) -> Iterator[Piece | Damage]:
    """Pass on one unit: whole and checked if it is short, streaming if it is long."""
    start = lost_from = file.tell()
    held: list[bytes] = []
    total, released = 0, False
    try:
        for out, position in coding.unit(file):
            beat()
            total += len(out)
            if total > WINDOW_BYTES and total > ratio * (position - start):
                detail = f"{total} bytes came out of {position - start}, more than {ratio} times"
                raise BrokenError("ratio_exceeded", detail)  # noqa: TRY301 - ends as any other damage does
            held.append(out)
            if total > WINDOW_BYTES:
                yield Piece(b"".join(held), None if released else start)
                held, released, lost_from = [], True, position
    except BrokenError as broken:
        if broken.reason == "truncated" and any(held):
            yield Piece(b"".join(held), None if released else start)
            released = True
        yield _damage(file, coding, broken, (start, lost_from), released=released, beat=beat)
        return
    if any(held):
        yield Piece(b"".join(held), None if released else start)


def _damage(
    file: Stored,
    coding: Coding,
    broken: BrokenError,
    place: tuple[int, int],
    *,
    released: bool,
    beat: Callable[[], None],
) -> Damage:
    start, lost_from = place
    end = _resume(file, coding, max(start + 1, lost_from), beat)
    detail = f"{coding.name} at byte {start}: {broken.detail}"
    return Damage(fragment_of_range(file, lost_from, end, beat), broken.reason, detail, released)


def _resume(file: Stored, coding: Coding, start: int, beat: Callable[[], None]) -> int:
    """Find the next unit at or after `start` that begins as one must, or the end of the file."""
    position = start
    while True:
        file.seek(position)
        data = file.read(CHUNK_BYTES)
        beat()
        last = len(data) < CHUNK_BYTES
        end = len(data) if last else len(data) - PROBE_BYTES
        found = data.find(coding.magic)
        while 0 <= found < end:
            if coding.begins(data[found : found + PROBE_BYTES]):
                return position + found
            found = data.find(coding.magic, found + 1)
        position += end
        if last:
            return position


def _is_padding(file: Stored, start: int, end: int) -> bool:
    """Whether only zeros lie there, which gzip allows after the last member (tape blocks)."""
    file.seek(start)
    while start < end and (data := file.read(min(CHUNK_BYTES, end - start))):
        if data.strip(b"\0"):
            return False
        start += len(data)
    return True
