"""What every store promises; a new store joins by adding its factory."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import s3_servers

from collapse_guard.errors import DamagedDataError, GuardError, UsageError
from collapse_guard.store import LocalStore, check_key

NAUGHTY = Path(__file__).parents[2].parent / "shared" / "data" / "bad_input" / "naughty_strings" / "blns_even.json"
BAD_KEYS = [
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "../outside",
    "shards/../../outside",
    "shards/./a",
    "shards//a",
    "shards/",
    "shards/.hidden",
    "shards\\a",
    "C:/a",
    "a\nb",
    "a\n",
    "a\0b",
    "a b",
    "~/a",
    "%2e%2e/a",
    "é",
    "x" * 256,
    "/".join(["x" * 100] * 6),
]

FACTORIES = {
    "local": lambda folder: LocalStore(folder / "deep" / "store"),
    "ministack": lambda _: s3_servers.running("ministack").store(),
    "moto": lambda _: s3_servers.running("moto").store(),
}


@pytest.fixture(params=list(FACTORIES))
def store(request, tmp_path):
    return FACTORIES[request.param](tmp_path)


def test_an_object_is_created_once_and_never_changes(store):
    answers = [store.put_if_absent("a/b", data) for data in (b"first", b"second", b"first")]

    assert answers == ["created", "exists", "exists"]
    assert store.read("a/b") == b"first"


@pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256)) * 5_000])
def test_bytes_are_read_back_as_they_were_put(store, data):
    store.put_if_absent("a", data)

    assert store.read("a") == data
    assert store.head("a") == len(data)
    assert store.read_range("a", 3, 10) == data[3:13]


def test_a_missing_object_has_no_size_and_cannot_be_read(store):
    store.put_if_absent("folder/a", b"x")

    for key in ("missing", "folder", "folder/a/b"):
        assert store.head(key) is None
        with pytest.raises(DamagedDataError, match=f"{key} is missing"):
            store.read(key)
        with pytest.raises(DamagedDataError, match=f"{key} is missing"):
            store.read_range(key, 0, 1)


def test_keys_are_listed_below_a_prefix_and_sorted(store):
    keys = ["logs/b/1", "logs/a", "logs/a.json", "logs/a/2", "logs/a/10"]
    for key in (*keys[:3], "logs-other/a", "other"):
        store.put_if_absent(key, b"x")

    assert list(store.list("logs/")) == sorted(keys[:3])
    assert list(store.list("nothing/")) == []


def test_of_sixteen_writers_of_one_key_exactly_one_creates_it(store):
    start, answers = threading.Barrier(16), {}

    def put(number):
        start.wait()
        answers[number] = store.put_if_absent("log/1", b"%d" % number * 10_000)

    threads = [threading.Thread(target=put, args=[number]) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    winners = [number for number, answer in answers.items() if answer == "created"]
    assert len(answers) == 16
    assert len(winners) == 1
    assert store.read("log/1") == b"%d" % winners[0] * 10_000


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_that_could_leave_the_store_is_refused(store, key):
    for use in (lambda: store.put_if_absent(key, b"x"), lambda: store.read(key), lambda: store.delete(key)):
        with pytest.raises(UsageError, match="key"):
            use()


@pytest.mark.shared
@pytest.mark.skipif(not NAUGHTY.exists(), reason="../shared/data/bad_input is not beside this checkout")
def test_a_naughty_string_is_an_ordinary_key_or_is_refused(store, tmp_path):
    for text in json.loads(NAUGHTY.read_text(encoding="utf-8")):
        for key in (text, f"shards/{text}"):
            try:
                check_key(key)
            except UsageError:
                with pytest.raises(UsageError):
                    store.put_if_absent(key, b"x")
            else:
                assert key.isascii()
                assert not {"", ".", ".."} & set(key.split("/"))

    assert list(tmp_path.iterdir()) == []


def test_only_staged_and_unpublished_objects_can_be_deleted(store):
    kept = ["snapshots/web/1.json", "releases/web/1.json", "trust/1.json", "attestations/a", "shards-of-mine/a"]
    for key in (*kept, "shards/a", "staging/a"):
        store.put_if_absent(key, b"x")

    for key in kept:
        with pytest.raises(UsageError, match="never deleted"):
            store.delete(key)
    for key in ("shards/a", "staging/a", "shards/missing"):
        store.delete(key)

    assert all(store.head(key) == 1 for key in kept)
    assert store.head("shards/a") is None
    assert store.head("staging/a") is None


def test_what_is_under_way_can_be_cleared_and_nothing_else(store):
    for key in ("staging/a", "staging/verify/b", "shards/a", "logs/1"):
        store.put_if_absent(key, b"x")

    store.clear_staging()
    store.clear_staging()

    assert list(store.list("staging/")) == []
    assert store.head("shards/a") == store.head("logs/1") == 1


def test_a_key_that_was_deleted_can_be_created_again(store):
    store.put_if_absent("shards/a", b"first")
    store.delete("shards/a")

    assert store.put_if_absent("shards/a", b"second") == "created"
    assert store.read("shards/a") == b"second"


def test_a_part_beyond_the_end_is_empty(store):
    store.put_if_absent("a", b"0123456789")

    assert [store.read_range("a", *part) for part in ((8, 5), (10, 1), (50, 2), (3, 0))] == [b"89", b"", b"", b""]


def test_scratch_is_empty_and_gone_afterwards_even_after_an_error(store):
    def fail():
        with store.scratch() as scratch:
            assert list(scratch.iterdir()) == []
            (scratch / "part").write_bytes(b"x")
            raise GuardError(str(scratch))

    with pytest.raises(GuardError) as caught:
        fail()

    assert not Path(str(caught.value)).exists()
