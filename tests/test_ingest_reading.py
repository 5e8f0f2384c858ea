from __future__ import annotations

import gzip
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from collapse_guard.document import DOCUMENT, QUARANTINE
from collapse_guard.errors import UsageError
from collapse_guard.ingest.collect import Collector, Part
from collapse_guard.ingest.formats import read_file
from collapse_guard.ingest.inputs import input_files
from collapse_guard.ingest.parent import Worker, WorkerLostError
from collapse_guard.ingest.reading import Batch, Limits, _read_file, read_files

BAD_INPUT = Path(__file__).parents[1].parent / "shared" / "data" / "bad_input"
BOMB = b"<html><body><p " + b" ".join(b"a%d=1" % i for i in range(50_000)) + b">text</p></body></html>"


def page(html: bytes, number: int = 0) -> bytes:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html
    return (
        b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:%d>\r\nWARC-Date: 2020-01-02T03:04:05Z\r\n"
        b"WARC-Target-URI: http://pages.example/%d\r\nContent-Type: application/http; msgtype=response\r\n"
        b"Content-Length: %d\r\n\r\n%s\r\n\r\n" % (number, number, len(http), http)
    )


def good(number: int) -> bytes:
    return page(b"<html><body><p>This is page number %d of the archive.</p></body></html>" % number, number)


def texts(batches: list[Batch]) -> list[str]:
    return [text for batch in batches for text in batch.documents["text"].to_pylist()]


def entries(batches: list[Batch]) -> list[tuple[str, str]]:
    return [(row["file"], row["reason"]) for batch in batches for row in batch.quarantine.to_pylist()]


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_batches_come_in_the_order_of_paths_and_are_the_same_for_any_number_of_workers(tmp_path):
    paths = []
    for number in range(6):
        path = tmp_path / f"{9 - number}.jsonl"
        path.write_bytes(b"".join(b'{"text": "document %d of %d"}\n' % (i, number) for i in range(50)) + b"{bad\n")
        paths.append(path)
    once = list(read_files(paths))
    twice = list(read_files(paths, workers=2))
    documents = pa.concat_tables(batch.documents for batch in once)
    assert documents.schema == DOCUMENT
    assert once[0].quarantine.schema == QUARANTINE
    assert documents == pa.concat_tables(batch.documents for batch in twice)
    assert entries(once) == entries(twice) == [(path.name, "bad_json") for path in paths]
    assert list(dict.fromkeys(documents["source"].to_pylist())) == [path.name for path in paths]


def test_a_page_that_stalls_its_parser_costs_one_record(tmp_path):
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join(gzip.compress(record) for record in (good(0), page(BOMB, 1), good(2))))
    batches = list(read_files([path], limits=Limits(stall_seconds=1.0)))
    assert texts(batches) == ["This is page number 0 of the archive.", "This is page number 2 of the archive."]
    assert entries(batches) == [("a.warc.gz", "stalled")]
    [entry] = [row for batch in batches for row in batch.quarantine.to_pylist()]
    assert entry["offset"] == len(gzip.compress(good(0)))
    assert b"a0=1" in entry["data"]
    assert len(entry["data"]) == 64 * 2**10 < entry["bytes"]


def test_a_record_that_needs_too_much_memory_costs_that_record(tmp_path):
    path = tmp_path / "a.jsonl"
    hungry = b'{"text": "fine", "extra": [' + b"[], " * 5_000_000 + b"[]]}"
    path.write_bytes(b'{"text": "one"}\n' + hungry + b'\n{"text": "two"}\n')
    batches = list(read_files([path], limits=Limits(memory_bytes=256 * 2**20)))
    assert texts(batches) == ["one", "two"]
    assert entries(batches) == [("a.jsonl", "worker_died")]
    assert "memory" in batches[0].quarantine["detail"][0].as_py()


def test_no_process_and_no_descriptor_outlives_the_reading(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "%s"}\n' % (b"x" * 1000) * 12_000)
    list(read_files([path]))
    before = open_descriptors()
    abandoned = read_files([path], workers=2)
    next(abandoned)
    abandoned.close()
    assert open_descriptors() == before


def test_a_new_worker_goes_on_after_what_was_delivered_and_leaves_the_culprit_out(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(b'{"text": "%07d%s"}\n' % (i, b"x" * 1000) for i in range(12_000)))
    with Worker(Limits()) as worker:
        parts = worker.read(path, "a.jsonl", fields={}, skip=0, culprits={})
        first = next(parts)
        parts.close()
        again = list(worker.read(path, "a.jsonl", fields={}, skip=first.upto, culprits={first.upto: ("stalled", "x")}))
    assert first.upto == first.documents.num_rows
    assert first.upto + sum(part.documents.num_rows for part in again) == 11_999
    assert again[0].quarantine["reason"].to_pylist() == ["stalled"]
    assert again[0].documents["text"][0].as_py().startswith(f"{first.upto + 1:07d}")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux to ask for the children of a process")
def test_no_worker_outlives_a_parent_that_is_killed(tmp_path):
    path = tmp_path / "a.warc"
    path.write_bytes(page(BOMB, 1))
    program = f"""
from pathlib import Path
import sys
import collapse_guard.ingest.parent as parent
from collapse_guard.ingest.reading import Limits
worker = parent.Worker(Limits())
worker.__enter__()
worker._start(0)
print(worker.process.pid, flush=True)
list(worker.read(Path({str(path)!r}), "a.warc", fields={{}}, skip=0, culprits={{}}))
"""
    root = str(Path(__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root) as process:
        child = int(process.stdout.readline())
        time.sleep(0.3)
        process.kill()
    deadline = time.monotonic() + 3
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


class Hopeless:
    """Stands for a worker that dies whenever it comes to record 2."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], int | None]] = []

    def read(self, path, file, *, fields, skip, culprits, until):
        self.asked.append((list(culprits), until))
        if until is None:
            raise WorkerLostError(2, "worker_died", "it ran out of memory")
        parts: list[Part] = []
        read_file(path, Collector(file, Limits(), parts.append, fields=fields, skip=skip, until=until))
        yield from parts


def test_a_record_that_cannot_even_be_left_out_ends_the_file_after_the_good_ones(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(b'{"text": "document %d"}\n' % i for i in range(5)))
    worker = Hopeless()
    batches = list(_read_file(worker, path, path.name, {}))
    assert texts(batches) == ["document 0", "document 1"]
    assert entries(batches) == [("a.jsonl", "worker_died")]
    assert worker.asked == [([], None), ([2], None), ([2], 2)]


def test_columns_are_renamed_by_the_caller(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"raw_content": "hello", "text": "not this"}\n')
    [batch] = read_files([path], fields={"text": "raw_content"})
    assert texts([batch]) == ["hello"]


def test_a_missing_file_is_an_entry_and_no_error(tmp_path):
    batches = list(read_files([tmp_path / "gone.jsonl"]))
    assert entries(batches) == [("gone.jsonl", "unreadable")]


def test_wrong_use_is_told_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError, match="workers is 0"):
        read_files([tmp_path], workers=0)
    with pytest.raises(UsageError, match="fields renames txet"):
        read_files([tmp_path], fields={"txet": "a"})


def test_patterns_are_expanded_sorted_and_without_repeats(tmp_path):
    for name in ("b.jsonl", "a.csv", "deep/c.warc", "deep/.hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = input_files([str(tmp_path), str(tmp_path / "*.csv"), str(tmp_path / "b.jsonl")])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.csv", "b.jsonl", "deep/c.warc"]
    with pytest.raises(UsageError, match="matches no file"):
        input_files([str(tmp_path / "*.parquet")])


@pytest.mark.shared
@pytest.mark.skipif(not BAD_INPUT.is_dir(), reason="../shared/data/bad_input is not beside this checkout")
def test_every_bad_input_gives_documents_or_clear_entries():
    files = input_files([str(BAD_INPUT)])
    seen: Counter[str] = Counter()
    for batch in read_files(files, workers=2):
        seen[batch.file] += 1
        assert batch.documents.num_rows or batch.quarantine.num_rows or batch.dropped
        for row in batch.quarantine.to_pylist():
            assert row["reason"]
            assert row["detail"]
            assert row["reason"] != "worker_died"
    # An array without elements is no record and no fault.
    empty = {path.name for path in files if not path.read_bytes().translate(None, b"[] \t\r\n")}
    assert {path.name for path in files} - set(seen) <= empty
