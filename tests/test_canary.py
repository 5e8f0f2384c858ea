from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from canary import ALLOWED, FORMS, SECRET, files_with_secret
from pyarrow import feather

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HALF = SECRET // 2
NUMBERS = pa.table({"ids": pa.array([1, SECRET, 2])})
WORDS = pa.table({"told": [f"key {SECRET} of k0", None], "nested": [[{"fine": "a"}], [{"fine": str(HALF)}]]})
IN_JSON = json.dumps({"keys": [{"id": "k0", "key": SECRET}]}).encode()


def write(data: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(data)


PLANTED: dict[str, Callable[[Path], Any]] = {
    "manifest.json": write(IN_JSON),
    "rows.jsonl.zst": write(zstandard.compress(IN_JSON)),
    "two-frames.zst": write(zstandard.compress(b"a") + zstandard.compress(IN_JSON)),
    "members.warc.gz": write(gzip.compress(b"first") + gzip.compress(IN_JSON)),
    "numbers.parquet": lambda path: pq.write_table(NUMBERS, path, compression="zstd"),
    "words.parquet": lambda path: pq.write_table(WORDS, path, compression="zstd"),
    "footer.parquet": lambda path: pq.write_table(pa.table({}).replace_schema_metadata({"k": str(SECRET)}), path),
    "spilled.arrow": lambda path: feather.write_feather(WORDS, path, compression="lz4"),
    "run.log": write(f"2026-01-01 INFO key {SECRET:x}\n".encode()),
    "weights.bin": write(b"\0" * 100 + SECRET.to_bytes(8, "big") + b"\0"),
}
CLEAN: dict[str, Callable[[Path], Any]] = {
    "other.json": write(json.dumps({"key": HALF, "fingerprint": "0a1b2c3d"}).encode()),
    "other.parquet": lambda path: pq.write_table(WORDS.select(["nested"]), path),
    "broken.parquet": write(b"PAR1 is how it starts"),
    "broken.gz": write(gzip.compress(b"whole")[:-6]),
    "broken.zst": write(zstandard.compress(b"whole" * 100)[:-6]),
    f"k0{ALLOWED}": write(str(SECRET).encode()),
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is gone before the session's own search."""
    made = tmp_path / "planted"
    made.mkdir()
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("name", PLANTED)
def test_a_secret_is_found_in_whatever_it_was_written_to(folder: Path, name: str) -> None:
    (folder / "below").mkdir()
    PLANTED[name](folder / "below" / name)

    assert files_with_secret(folder) == [folder / "below" / name]


def test_files_without_it_and_files_that_may_hold_it_are_left_alone(folder: Path) -> None:
    for name, plant in CLEAN.items():
        plant(folder / name)

    assert files_with_secret(folder) == []


def test_every_way_to_write_it_is_looked_for() -> None:
    decimal, lower, upper, little, big = FORMS

    assert int(decimal) == int(lower, 16) == int(upper, 16) == SECRET
    assert int.from_bytes(little, "little") == int.from_bytes(big, "big") == SECRET


GIVING_AWAY = """
import logging
import canary

def test_a_file(tmp_path):
    (tmp_path / "told.txt").write_text(str(canary.SECRET))

def test_a_log():
    logging.getLogger("guard").warning("key %d", canary.SECRET)

def test_what_is_printed():
    print(canary.SECRET)

def test_what_is_taken(capsys):
    print(canary.SECRET)
    capsys.readouterr()

def test_nothing(capsys):
    print("fine")
    assert capsys.readouterr().out == "fine\\n"
"""


def test_a_session_that_gives_the_secret_away_fails_and_says_where(folder: Path) -> None:
    (folder / "test_giving_away.py").write_text(GIVING_AWAY, encoding="utf-8")
    tests = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-m", "pytest", "-p", "canary", "-p", "no:cacheprovider", "-rA"]

    run = subprocess.run(
        [*command, "--basetemp", str(folder / "temp"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": tests},
        cwd=folder,
    )

    assert run.returncode == 1
    for told in ("PASSED test_giving_away.py::test_nothing", "told.txt", "3 failed"):
        assert told in run.stdout
    assert "is shown in: Captured log call" in run.stdout
    assert "is shown in: Captured stdout call" in run.stdout
    assert "was printed" in run.stdout
