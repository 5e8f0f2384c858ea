from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.spill import MAX_BUCKETS, Spill

SCHEMA = pa.schema([pa.field("place", pa.int64()), pa.field("text", pa.large_string())])


def rows(places):
    return pa.table({"place": places, "text": [f"row {place}" for place in places]}, schema=SCHEMA)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=12), max_size=4))
def test_every_row_is_in_its_bucket_once_in_the_order_of_writing(tmp_path_factory, batches):
    places = np.cumsum([0, *map(len, batches)])
    with Spill(tmp_path_factory.mktemp("spill"), SCHEMA, 7) as spill:
        for start, buckets in zip(places, batches, strict=False):
            spill.write(rows(range(start, start + len(buckets))), np.array(buckets, np.int64))
        spill.close()

        flat = [bucket for buckets in batches for bucket in buckets]
        for bucket in range(7):
            assert spill.read(bucket) == rows([place for place, found in enumerate(flat) if found == bucket])


def test_a_bucket_that_nothing_was_sent_to_is_empty(tmp_path):
    with Spill(tmp_path / "new" / "folder", SCHEMA, 3) as spill:
        assert spill.read(2) == SCHEMA.empty_table()


def test_a_process_never_opens_more_files_than_it_may(tmp_path):
    assert Spill(tmp_path, SCHEMA, 10**9).buckets == MAX_BUCKETS
    assert Spill(tmp_path, SCHEMA, 0).buckets == 1


def test_all_buckets_can_be_written_at_once(tmp_path):
    with Spill(tmp_path, SCHEMA, MAX_BUCKETS) as spill:
        spill.write(rows(range(MAX_BUCKETS)), np.arange(MAX_BUCKETS)[::-1])
        spill.close()

        assert spill.read(0)["place"].to_pylist() == [MAX_BUCKETS - 1]
