"""A secret that no key ring may give away, and a pytest plugin that searches all that tests write for it."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pyarrow import feather

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

SECRET = 7_304_127_790_166_429_137
ALLOWED = ".secret"
"""The ending of the only files that may hold a secret."""
LARGEST = 50 * 2**20
"""Larger files, and more than so much of what a file unpacks to, are not looked at."""


FORMS = (
    *(text.encode() for text in (str(SECRET), f"{SECRET:x}", f"{SECRET:X}")),
    *(SECRET.to_bytes(8, order) for order in ("little", "big")),
)
"""The ways in which it may be written."""


@pytest.fixture(scope="session", autouse=True)
def _nothing_written_holds_the_secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Search every file of the session; each worker searches its own."""
    yield
    found = [str(path) for path in files_with_secret(tmp_path_factory.getbasetemp())]
    assert not found, f"these files hold the secret of a key ring: {found}"


@pytest.fixture(scope="session", autouse=True)
def _nothing_taken_holds_the_secret() -> Iterator[None]:
    """Search what tests take from `capsys` and its like, which no report shows."""
    read = pytest.CaptureFixture.readouterr

    def searched(capture: pytest.CaptureFixture[str]) -> tuple[str, str]:
        printed = read(capture)
        assert not holds_secret(repr(printed).encode()), "the secret of a key ring was printed"
        return printed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pytest.CaptureFixture, "readouterr", searched)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose output or log shows the secret."""
    report = yield
    shown = [name for name, content in report.sections if holds_secret(content.encode())]
    if shown:
        report.outcome = "failed"
        report.longrepr = f"the secret of a key ring is shown in: {', '.join(shown)}"
    return report


def holds_secret(data: bytes) -> bool:
    """Say whether bytes, or what they unpack to, hold the secret in any form."""
    return any(form in part for part in _unpacked(data) for form in FORMS)


def files_with_secret(folder: Path) -> list[Path]:
    """The files below a folder that hold the secret, those apart that may; of equal files the first is looked at."""
    seen, found = set(), []
    for path in sorted(folder.rglob("*")):
        if path.suffix == ALLOWED or path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST:
            continue
        data = path.read_bytes()
        digest = hashlib.blake2b(data).digest()
        if digest not in seen and holds_secret(data):
            found.append(path)
        seen.add(digest)
    return found


def _unpacked(data: bytes) -> Iterator[bytes]:
    yield data
    for magic, unpack in _PACKED.items():
        if data.startswith(magic):
            try:
                yield from unpack(data)
            except (pa.ArrowException, EOFError, OSError, ValueError, zlib.error, zstandard.ZstdError):
                return  # a file that a test broke on purpose; its bytes were looked at


def _columns(table: pa.Table) -> Iterator[bytes]:
    buffers = (part for column in table.columns for chunk in column.chunks for part in chunk.buffers())
    yield from (memory.to_pybytes() for memory in buffers if memory)


_PACKED: dict[bytes, Callable[[bytes], Iterable[bytes]]] = {
    b"PAR1": lambda data: _columns(pq.read_table(io.BytesIO(data))),
    b"ARROW1": lambda data: _columns(feather.read_table(io.BytesIO(data))),
    b"\x1f\x8b": lambda data: [gzip.GzipFile(fileobj=io.BytesIO(data)).read(LARGEST)],
    b"\x28\xb5\x2f\xfd": lambda data: [
        zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read(LARGEST)
    ],
}
