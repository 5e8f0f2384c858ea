from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard import spill as module
from collapse_guard.spill import MAX_BUCKETS, Replay, Spill

SCHEMA = pa.schema([pa.field("place", pa.int64()), pa.field("text", pa.large_string())])


def rows(places):
    return pa.table({"place": places, "text": [f"row {place}" for place in places]}, schema=SCHEMA)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=12), max_size=4), st.sampled_from([1, 200, 10**9]), st.booleans())
def test_every_row_is_in_its_bucket_once_in_the_order_of_writing(tmp_path_factory, batches, run_bytes, in_memory):
    places = np.cumsum([0, *map(len, batches)])
    folder = None if in_memory else tmp_path_factory.mktemp("spill")
    with pytest.MonkeyPatch.context() as patch, Spill(folder, SCHEMA, 7) as spill:
        patch.setattr(module, "RUN_BYTES", run_bytes)
        for start, buckets in zip(places, batches, strict=False):
            spill.write(rows(range(start, start + len(buckets))), np.array(buckets, np.int64))
        spill.close()

        flat = [bucket for buckets in batches for bucket in buckets]
        for bucket in range(7):
            assert spill.read(bucket) == rows([place for place, found in enumerate(flat) if found == bucket])


def test_a_bucket_that_nothing_was_sent_to_is_empty(tmp_path):
    with Spill(tmp_path / "new" / "folder", SCHEMA, 3) as spill:
        assert spill.read(2) == SCHEMA.empty_table()
        assert list(spill.pieces(2, 5)) == []


def test_the_number_of_files_follows_the_rows_and_not_the_buckets(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RUN_BYTES", 100_000)
    with Spill(tmp_path, SCHEMA, 20_000) as spill:
        for start in range(0, 20_000, 1_000):
            spill.write(rows(range(start, start + 1_000)), np.arange(start, start + 1_000)[::-1])
        spill.close()

        assert 2 < len(list(tmp_path.iterdir())) < 20
        assert spill.read(19_999)["place"].to_pylist() == [19_000]


def test_what_is_less_than_a_run_is_never_written(tmp_path):
    with Spill(tmp_path / "new", SCHEMA, 3) as spill:
        spill.write(rows(range(9)), np.arange(9) % 3)
        spill.close()

        assert spill.read(1)["place"].to_pylist() == [1, 4, 7]
        assert not (tmp_path / "new").exists()


def test_a_large_bucket_is_read_a_piece_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RUN_BYTES", 1)
    with Spill(tmp_path, SCHEMA, 2) as spill:
        for start in range(0, 90, 10):
            spill.write(rows(range(start, start + 10)), np.zeros(10, np.int64))
        spill.close()
        pieces = list(spill.pieces(0, 25))

    assert [piece.num_rows for piece in pieces] == [30, 30, 30]
    assert pa.concat_tables(pieces) == rows(range(90))


def test_there_are_as_many_buckets_as_asked_within_reason():
    assert Spill(None, SCHEMA, 10**9).buckets == MAX_BUCKETS
    assert Spill(None, SCHEMA, 0).buckets == 1


def test_tables_can_be_read_again_and_again(tmp_path):
    tables = [rows(range(3)), rows([]), rows(range(5, 7))]
    replay = Replay(iter(tables), tmp_path / "new")

    assert list(replay()) == tables
    assert list(replay()) == tables
    assert [replay[2], replay[0]] == [tables[2], tables[0]]
