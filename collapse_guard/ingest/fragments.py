"""Bytes of input that could not be read: place, length, digest and beginning."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

HEAD_BYTES = 64 * 2**10
"""How much of a quarantined input is kept as it was."""

CHUNK_BYTES = 2**20
"""How much is read from a file at once."""

DECOMPRESSED = "offset counts decompressed bytes"
ELEMENTS = "offset counts elements of the array"
ROWS = "offset counts rows"


@dataclass(frozen=True)
class Fragment:
    """A stretch of input; `note` says what `offset` counts where that is not bytes of the stored file."""

    offset: int
    length: int
    sha256: str
    head: bytes
    note: str = ""


def fragment_of(offset: int, raw: bytes, note: str = "") -> Fragment:
    """Describe bytes that are in memory."""
    return Fragment(offset, len(raw), hashlib.sha256(raw).hexdigest(), bytes(raw[:HEAD_BYTES]), note)


def fragment_of_chunks(offset: int, chunks: Iterable[bytes], note: str = "") -> Fragment:
    """Describe bytes that come one chunk after the other and are too many to hold."""
    digest, head, length = hashlib.sha256(), b"", 0
    for chunk in chunks:
        digest.update(chunk)
        head += chunk[: HEAD_BYTES - len(head)]
        length += len(chunk)
    return Fragment(offset, length, digest.hexdigest(), head, note)


def fragment_of_range(file: BinaryIO, start: int, end: int, beat: Callable[[], None]) -> Fragment:
    """Describe the stored bytes from `start` to `end`, and leave the file at `end`."""
    file.seek(start)
    return fragment_of_chunks(start, _chunks(file, end - start, beat))


def _chunks(file: BinaryIO, left: int, beat: Callable[[], None]) -> Iterator[bytes]:
    while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
        beat()
        left -= len(chunk)
        yield chunk
