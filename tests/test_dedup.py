from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard import dedup
from collapse_guard.dedup import FOUND, KEYS, ORIGIN_RANK, Duplicates, keys_of, later_copies, place_copies
from collapse_guard.provenance import ORIGINS

TIMES = [None, datetime(2019, 5, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)]
COLUMNS = pa.schema(
    [
        pa.field("text_sha256", pa.binary()),
        pa.field("origin", pa.string()),
        pa.field("captured_at", pa.timestamp("us", tz="UTC")),
        pa.field("id", pa.string()),
    ]
)
OFFERS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(ORIGINS), st.sampled_from(TIMES)), min_size=1, max_size=40
)


def offers(values):
    """Documents with few different texts and an id each, as `(text, origin, captured_at, id)`."""
    return [(text, origin, time, f"d{place}") for place, (text, origin, time) in enumerate(values)]


def measured(values):
    rows = [
        {"text_sha256": hashlib.sha256(b"%d" % text).digest(), "origin": origin, "captured_at": time, "id": name}
        for text, origin, time, name in values
    ]
    return pa.Table.from_pylist(rows, schema=COLUMNS)


def obvious_copies(values):
    """Of each text the best is kept: by origin, then time with unknown last, then id."""
    best = {}
    for text, origin, time, name in values:
        place = (ORIGINS.index(origin), time is None, time or TIMES[1], name)
        best[text] = min(best.get(text, place), place)
    return {name: best[text][-1] for text, _, _, name in values if best[text][-1] != name}


def found_copies(shards, scratch, rows=None):
    """The copies by id, found over documents that lie in shards."""
    tables = [measured(shard) for shard in shards]
    keys = (keys_of(table, index) for index, table in enumerate(tables))
    rows = sum(map(len, shards)) if rows is None else rows
    copies = Duplicates(keys, rows=rows, shards=len(shards), scratch=scratch)
    found = [
        (name, kept)
        for index, shard in enumerate(shards)
        for (*_, name), kept in zip(shard, copies.in_shard(index, len(shard)).to_pylist(), strict=True)
    ]
    return {name: kept for name, kept in found if kept is not None}


@settings(max_examples=60, deadline=None)
@given(OFFERS, st.integers(1, 5), st.integers(0, 2**32), st.sampled_from([0, 1, 2_000_000, 10**9]))
def test_the_choice_depends_on_no_order_no_sharding_and_no_number_of_buckets(
    tmp_path_factory, values, shards, seed, rows
):
    documents = offers(values)
    shuffled = documents.copy()
    random.Random(seed).shuffle(shuffled)
    parts = [shuffled[start::shards] for start in range(shards)]

    found = found_copies(parts, tmp_path_factory.mktemp("scratch"), rows)

    assert found == obvious_copies(documents)


def test_many_shards_share_buckets_of_what_was_found(tmp_path, monkeypatch):
    monkeypatch.setattr(dedup, "SHARDS_PER_BUCKET", 2)
    documents = offers([(number % 4, ORIGINS[number % 5], TIMES[number % 3]) for number in range(23)])

    assert found_copies([[row] for row in documents], tmp_path) == obvious_copies(documents)


@pytest.mark.parametrize(
    ("kept", "copy"),
    [
        ((1, "human_verified", None, "z"), (1, "human_presumed", TIMES[1], "a")),
        ((1, "unknown", TIMES[2], "z"), (1, "synthetic", TIMES[1], "a")),
        ((1, "unknown", TIMES[1], "z"), (1, "unknown", TIMES[2], "a")),
        ((1, "unknown", TIMES[2], "z"), (1, "unknown", None, "a")),
        ((1, "unknown", TIMES[1], "a"), (1, "unknown", TIMES[1], "z")),
        ((1, "unknown", None, "a"), (1, "unknown", None, "z")),
    ],
    ids=["verified", "less synthetic", "earlier", "known time", "smaller id", "smaller id without time"],
)
def test_the_better_copy_is_kept(kept, copy, tmp_path):
    for number, documents in enumerate(([kept, copy], [copy, kept])):
        assert found_copies([documents], tmp_path / str(number)) == {copy[3]: kept[3]}


def test_verified_human_text_ranks_first_and_synthetic_last():
    assert min(ORIGIN_RANK, key=ORIGIN_RANK.get) == "human_verified"
    assert max(ORIGIN_RANK, key=ORIGIN_RANK.get) == "synthetic"


def test_documents_without_a_text_are_copies_of_nothing():
    keys = pa.Table.from_pylist(
        [
            {"text_sha256": digest, "rank": 3, "captured_at": None, "id": name, "shard": 0, "row": row}
            for row, (name, digest) in enumerate([("a", b"\1" * 32), ("b", None), ("c", None), ("d", b"\1" * 32)])
        ],
        schema=KEYS,
    )

    assert later_copies(keys).to_pylist() == [{"shard": 0, "row": 3, "duplicate_of": "a"}]


def test_an_empty_corpus_has_no_copies(tmp_path):
    copies = Duplicates([], rows=0, shards=0, scratch=tmp_path)

    assert later_copies(KEYS.empty_table()) == FOUND.empty_table()
    assert copies.in_shard(0, 3).to_pylist() == [None] * 3
    assert place_copies(FOUND.empty_table(), 0).to_pylist() == []
