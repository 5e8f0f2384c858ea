from __future__ import annotations

import json
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from builders import Made, document, flipped, overwrite, publish_documents, table
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard import snapshot as module
from collapse_guard.canonical import canonical_json
from collapse_guard.document import DOCUMENT, QUARANTINE
from collapse_guard.errors import DamagedDataError
from collapse_guard.snapshot import (
    Ledger,
    Parent,
    ShardWriter,
    Snapshot,
    append,
    find_digest,
    find_run,
    latest,
    log,
    publish,
    read_rows,
    read_shard,
    read_snapshot,
    rows_agree,
    run_key,
    sweep,
    write_shard,
)
from collapse_guard.store import LocalStore

COUNTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 1000))
DOCUMENTS = table(document(f"d{number}", text="x" * (number * 37 % 800)) for number in range(60))


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "store")


def small(store, name="web/documents/2026-01", documents=DOCUMENTS, **details):
    return Made(store, name, "documents", (Parent("x", "0" * 64),)).of([documents], "documents", **details)


def path_of(store, key):
    return Path(store.root) / key


@given(st.integers(0, 100), st.integers(0, 100), COUNTS, COUNTS, st.integers(-5, 5))
def test_a_ledger_balances_or_cannot_be_made(kept, review, dropped, quarantined, error):
    came_in = kept + review + sum(dropped.values()) + sum(quarantined.values())

    if error:
        with pytest.raises(DamagedDataError, match="does not balance"):
            Ledger(came_in + error, kept, review, dropped, quarantined)
    else:
        ledger = Ledger(came_in, kept, review, dropped, quarantined)
        assert Ledger.from_json(json.loads(canonical_json(ledger.to_json()))) == ledger


def test_a_negative_count_cannot_make_a_ledger_balance():
    with pytest.raises(DamagedDataError, match="does not balance"):
        Ledger(came_in=1, kept=2, review=-1)


def test_the_ledger_of_two_steps_adds_drops_by_reason_and_balances():
    first = Ledger(10, kept=6, dropped={"a": 3}, quarantined={"torn": 1})
    second = Ledger(6, kept=2, review=1, dropped={"a": 1, "b": 2})

    both = first.then(second)

    assert both == Ledger(10, 2, 1, {"a": 4, "b": 2}, {"torn": 1})
    assert both.quarantined_share == pytest.approx(0.1)
    assert Ledger(0).quarantined_share == 0


def test_a_ledger_of_steps_that_do_not_follow_each_other_cannot_be_made():
    with pytest.raises(DamagedDataError, match="does not balance"):
        Ledger(10, kept=6, dropped={"a": 4}).then(Ledger(7, kept=7))


def test_a_manifest_survives_a_round_trip(store):
    made = small(store, tokens={"human": 3}, note="é 漢 \u2028")

    read = Snapshot.from_bytes(canonical_json(made.to_json()), "here")

    assert read == made
    assert read.digest == made.digest


def test_any_changed_byte_of_a_manifest_is_refused_or_changes_the_digest(store):
    made = small(store, tokens={"human": 12345, "share": 0.25}, note=None)
    data = canonical_json(made.to_json())

    for place in range(len(data)):
        for mask in (1, 2, 4, 8, 16, 32, 64, 128, data[place] ^ ord("e"), data[place] ^ ord(" ")):
            changed = flipped(data, place, mask)
            try:
                digest = Snapshot.from_bytes(changed, "here").digest
            except DamagedDataError:
                continue
            assert (digest == made.digest) == (changed == data)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"3", b"\xff", b'{"name": 1e999}'])
def test_bytes_that_are_no_manifest_are_refused(data):
    with pytest.raises(DamagedDataError, match=r"snapshots/a/1\.json is no manifest"):
        Snapshot.from_bytes(data, "snapshots/a/1.json")


def test_a_manifest_with_another_key_or_spelling_is_refused(store):
    value = small(store).to_json()

    for changed in (canonical_json({**value, "extra": 1}), json.dumps(value).encode(), canonical_json(value) + b"\n"):
        with pytest.raises(DamagedDataError, match="canonical form"):
            Snapshot.from_bytes(changed, "here")


def test_a_manifest_of_another_log_is_refused(store):
    made = publish(store, small(store))
    store.put_if_absent("snapshots/other/00000001.json", canonical_json(made.to_json()))

    with pytest.raises(DamagedDataError, match="moved there"):
        latest(store, "other")


def test_a_shard_with_one_flipped_bit_anywhere_is_refused(store):
    shard = write_shard(store, DOCUMENTS.slice(0, 2), "documents")
    data = store.read(shard.key)

    for place in range(len(data)):
        overwrite(path_of(store, shard.key), flipped(data, place, 1 << place % 8))
        with pytest.raises(DamagedDataError, match="was changed after it was published"):
            read_shard(store, shard)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""])
def test_a_shard_of_another_length_is_refused(store, change):
    shard = write_shard(store, DOCUMENTS, "documents")
    overwrite(path_of(store, shard.key), change(store.read(shard.key)))

    with pytest.raises(DamagedDataError, match="was changed after it was published"):
        read_shard(store, shard)


def test_a_missing_shard_is_refused(store):
    shard = write_shard(store, DOCUMENTS, "documents")
    store.delete(shard.key)

    with pytest.raises(DamagedDataError, match="is missing"):
        read_shard(store, shard)


def test_a_shard_is_read_back_whole_or_by_column(store):
    shard = write_shard(store, DOCUMENTS, "documents")

    assert read_shard(store, shard) == DOCUMENTS
    assert read_shard(store, shard, ["id"]) == DOCUMENTS.select(["id"])
    assert (shard.rows, shard.bytes) == (60, store.head(shard.key))


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(module, "SHARD_TEXT_BYTES", 4_000)


def written(store, tables, **options):
    writer = ShardWriter(store, "documents", **options)
    for rows in tables:
        writer.write(rows)
    return writer.close()


@pytest.mark.usefixtures("small_shards")
def test_shards_do_not_depend_on_how_rows_arrived(tmp_path_factory):
    store = LocalStore(tmp_path_factory.mktemp("store"))
    whole = written(store, [DOCUMENTS], index=["id", "tokens"])

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.integers(0, 60), max_size=8))
    def check(cuts):
        edges = [0, *sorted(cuts), 60]
        parts = [DOCUMENTS.slice(start, end - start) for start, end in pairwise(edges)]
        assert written(store, parts, index=["id", "tokens"]) == whole
        chunked = [pa.concat_tables([DOCUMENTS.schema.empty_table(), *parts])]
        assert written(store, chunked, index=["id", "tokens"]) == whole

    check()


@pytest.mark.usefixtures("small_shards")
def test_a_shard_is_full_when_its_text_reaches_the_limit(store):
    shards = [read_shard(store, shard) for shard in written(store, [DOCUMENTS])]

    sizes = [sum(len(text) + module.ROW_OVERHEAD_BYTES for text in shard["text"].to_pylist()) for shard in shards]
    lasts = [len(shard["text"].to_pylist()[-1]) + module.ROW_OVERHEAD_BYTES for shard in shards]
    assert pa.concat_tables(shards) == DOCUMENTS
    assert len(shards) > 5
    assert all(size >= 4_000 > size - last for size, last in zip(sizes[:-1], lasts, strict=False))


@pytest.mark.usefixtures("small_shards")
def test_a_shard_that_is_full_to_the_byte_takes_no_further_row(store):
    exact = table(document(f"d{number}", text="x" * (1_000 - module.ROW_OVERHEAD_BYTES)) for number in range(12))

    assert [shard.rows for shard in written(store, [exact])] == [4, 4, 4]


@pytest.mark.usefixtures("small_shards")
def test_quarantined_bytes_fill_a_shard_too(store):
    entry = dict.fromkeys(QUARANTINE.names, "")
    entries = [{**entry, "offset": 0, "bytes": 0, "records": 1, "data": b"\xff" * 1_000} for _ in range(40)]

    shards = written(store, [pa.Table.from_pylist(entries, schema=QUARANTINE)])

    assert [shard.rows for shard in shards] == [4] * 10


@pytest.mark.usefixtures("small_shards")
def test_each_shard_has_its_index_beside_it(store):
    shards = written(store, [DOCUMENTS], index=["id"])

    texts, indexes = shards[::2], shards[1::2]
    assert {shard.role for shard in indexes} == {"documents_index"}
    assert [t.rows for t in texts] == [i.rows for i in indexes]
    assert pa.concat_tables(read_rows(store, indexes)) == DOCUMENTS.select(["id"])


def test_nothing_written_is_no_shard(store):
    assert written(store, []) == []
    assert written(store, [DOCUMENT.empty_table()]) == []


def test_publishing_twice_gives_one_entry(store):
    made = small(store)

    assert publish(store, made) == publish(store, made) == made
    assert log(store, made.name) == ["snapshots/web/documents/2026-01/00000001.json"]


def test_a_run_finds_its_own_work_and_no_other(store):
    first, second = (publish(store, small(store, documents=DOCUMENTS.slice(start))) for start in (0, 1))

    assert find_run(store, first.name, first.run_key) == first
    assert find_run(store, first.name, second.run_key) == second
    assert find_run(store, first.name, "other") is None
    assert find_run(store, "other", first.run_key) is None
    assert latest(store, first.name) == second
    assert find_digest(store, first.as_parent()) == first


def test_a_run_key_names_everything_that_decides():
    parents = (Parent("a", "1"), Parent("b", "2"))
    keys = [
        run_key("mix", parents, "p", {"seed": 1}),
        run_key("sift", parents, "p", {"seed": 1}),
        run_key("mix", parents[::-1], "p", {"seed": 1}),
        run_key("mix", parents, None, {"seed": 1}),
        run_key("mix", parents, "p", {"seed": 2}),
    ]

    assert len(set(keys)) == len(keys)
    assert run_key("mix", parents, "p", {"a": 1, "b": 2}) == run_key("mix", parents, "p", {"b": 2, "a": 1})


class Interrupted(LocalStore):
    """A store where somebody else publishes just after the log was listed for the first time."""

    def __init__(self, folder, meanwhile):
        super().__init__(folder)
        self._meanwhile = [meanwhile]

    def list(self, prefix):
        keys = list(super().list(prefix))
        while self._meanwhile:
            self._meanwhile.pop()()
        yield from keys


def test_the_loser_of_a_race_reads_the_winner(tmp_path):
    quiet = LocalStore(tmp_path)
    made = small(quiet)
    winner = replace(made, details={"by": "the winner"})
    store = Interrupted(tmp_path, lambda: publish(quiet, winner))

    assert publish(store, made) == winner
    assert len(log(quiet, made.name)) == 1


def test_two_runs_that_race_are_both_published(tmp_path):
    quiet = LocalStore(tmp_path)
    mine, other = (small(quiet, documents=DOCUMENTS.slice(start)) for start in (0, 1))
    store = Interrupted(tmp_path, lambda: publish(quiet, other))

    assert publish(store, mine) == mine
    assert [read_snapshot(quiet, key) for key in log(quiet, mine.name)] == [other, mine]


def test_many_writers_of_one_log_lose_nothing(store):
    made = [small(store, documents=DOCUMENTS.slice(number % 6)) for number in range(12)]
    threads = [threading.Thread(target=publish, args=(store, snapshot)) for snapshot in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    published = [read_snapshot(store, key).digest for key in log(store, made[0].name)]
    assert sorted(published) == sorted({snapshot.digest for snapshot in made})


def test_a_taken_place_in_a_log_is_not_taken_again(store):
    assert append(store, small(store), 7)
    assert not append(store, small(store, documents=DOCUMENTS.slice(1)), 7)
    assert latest(store, "web/documents/2026-01") == small(store)


def test_a_parent_that_was_changed_is_not_found(store):
    made = publish(store, small(store))
    overwrite(path_of(store, log(store, made.name)[0]), canonical_json(replace(made, kind="other").to_json()))

    with pytest.raises(DamagedDataError, match="is missing or was changed"):
        find_digest(store, made.as_parent())


def test_a_log_is_not_mixed_up_with_the_logs_below_it(store):
    inner = publish(store, small(store, name="web/candidate/2026-01"))

    assert log(store, "web/candidate") == []
    assert latest(store, "web") is None
    assert latest(store, "web/candidate/2026-01") == inner


def test_a_sweep_removes_exactly_what_no_snapshot_names(store):
    made = publish_documents(store, [DOCUMENTS, DOCUMENTS.slice(3)])
    lost = write_shard(store, DOCUMENTS.slice(7), "documents")
    for key in ("staging/put-abc", "staging/scratch-abc/keys/0.arrow", "trust/00000001.json"):
        store.put_if_absent(key, b"x")

    removed = sweep(store)

    assert sorted(removed) == sorted([lost.key, "staging/put-abc", "staging/scratch-abc/keys/0.arrow"])
    assert sweep(store) == []
    assert all(read_shard(store, shard).num_rows == shard.rows for shard in made.shards)
    assert store.head("trust/00000001.json") == 1


def test_rows_of_a_role_are_counted(store):
    made = small(store)

    assert rows_agree(made, "documents", 60)
    assert not rows_agree(made, "documents", 59)
    assert rows_agree(made, "quarantine", 0)
