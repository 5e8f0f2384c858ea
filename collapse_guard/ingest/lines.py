"""A stream of pieces as lines, with what was lost told in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collapse_guard.ingest.compressed import Damage, Piece
from collapse_guard.ingest.fragments import DECOMPRESSED, Fragment, fragment_of, fragment_of_chunks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Lines:
    """Whole lines without their newline, of which the first starts at `offset` and each next one byte after."""

    offset: int
    lines: list[bytes]


@dataclass(frozen=True)
class Lost:
    """Input that is no line, and why."""

    fragment: Fragment
    reason: str
    detail: str


class LineSplitter:
    """Cut pieces into lines of at most `limit` bytes.

    Args:
        limit: Bytes above which a line is told as lost.
        unpacked: Whether the pieces were decompressed, so that offsets count decompressed bytes.
    """

    def __init__(self, limit: int, *, unpacked: bool) -> None:
        self.limit = limit
        self.note = DECOMPRESSED if unpacked else ""
        self.offset = 0
        self.open: list[bytes] = []

    def split(self, pieces: Iterable[Piece | Damage]) -> Iterator[Lines | Lost]:
        """Cut pieces into lines.

        Yields:
            Lines, and what was lost between them.
        """
        rest = iter(pieces)
        for piece in rest:
            if isinstance(piece, Damage):
                yield self._damaged(piece)
            elif b"\n" in piece.data:
                yield self._whole(piece.data)
            else:
                self.open.append(piece.data)
            if sum(map(len, self.open)) > self.limit:
                yield from self._overlong(rest)
        if any(self.open):
            yield self._whole(b"\n")

    def _whole(self, data: bytes) -> Lines:
        first, end = data.index(b"\n"), data.rindex(b"\n")
        self.open.append(data[:first])
        lines = [b"".join(self.open)]
        self.open = [data[end + 1 :]]
        if end > first:
            lines += data[first + 1 : end].split(b"\n")
        found = Lines(self.offset, lines)
        self.offset += len(lines[0]) + 1 + end - first
        return found

    def _damaged(self, damage: Damage) -> Lost:
        """Give the line that the damage cut, or where no line is open the damaged bytes themselves."""
        cut, self.open = b"".join(self.open), []
        if not cut or not damage.released:
            return Lost(damage.fragment, damage.reason, damage.detail)
        fragment = fragment_of(self.offset, cut, self.note)
        self.offset += len(cut)
        return Lost(fragment, damage.reason, damage.detail)

    def _overlong(self, pieces: Iterator[Piece | Damage]) -> Iterator[Lines | Lost]:
        start, self.open, held = self.offset, [], self.open
        ended: list[Piece | Damage] = []
        fragment = fragment_of_chunks(start, self._until_newline(held, pieces, ended), self.note)
        self.offset = start + fragment.length
        yield Lost(fragment, "record_too_large", f"the line has more than {self.limit} bytes")
        yield from self.split(ended)

    def _until_newline(
        self, held: list[bytes], pieces: Iterator[Piece | Damage], ended: list[Piece | Damage]
    ) -> Iterator[bytes]:
        yield from held
        for piece in pieces:
            if isinstance(piece, Damage):
                ended.append(piece)
                return
            end = piece.data.find(b"\n") + 1
            yield piece.data[: end or None]
            if end:
                ended.append(Piece(piece.data[end:], None))
                return
