from __future__ import annotations

import hashlib
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collapse_guard.selection import NOTHING, find_cut, priorities

SCHEMA = pa.schema([pa.field("id", pa.string()), pa.field("text_sha256", pa.binary()), pa.field("size", pa.int64())])
# Few ids, so that several documents claim the same one; their texts differ.
DOCUMENTS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), max_size=40).map(
    lambda drawn: [(f"d{name}", b"%d" % place, tokens) for place, (name, tokens) in enumerate(drawn)]
)
BUDGETS = st.integers(0, 150)
ORDERS = st.tuples(st.integers(0, 2**53 - 1), st.integers(0, 3))


def table(documents):
    names, digests, tokens = zip(*documents, strict=True) if documents else ([], [], [])
    return pa.table({"id": names, "text_sha256": digests, "size": tokens}, schema=SCHEMA)


def parts(documents, count):
    return [table(documents[start::count]) for start in range(count)]


def obvious_priority(name, seed, epoch):
    data = b"%d\0%b\0%d" % (seed, name.encode(), epoch)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def obvious_prefix(documents, budget, seed, *, epoch=0, reach=False):
    chosen, total = set(), 0
    for _, digest, tokens in sorted(documents, key=lambda row: (obvious_priority(row[0], seed, epoch), *row)):
        if total >= budget if reach else total + tokens > budget:
            break
        total += tokens
        chosen.add(digest)
    return total, chosen


def found_prefix(tables, budget, seed, *, epoch=0, reach=False):
    ranked = [with_priorities(rows, seed, epoch) for rows in tables]
    cut = find_cut(lambda: iter(ranked), budget, reach=reach)
    chosen = set()
    for rows in ranked:
        chosen |= set(rows.filter(pa.array(cut.chooses(rows)))["text_sha256"].to_pylist())
    return cut.size, chosen


def with_priorities(rows, seed, epoch=0):
    return rows.append_column("priority", pa.array(priorities(rows["id"], seed, epoch)))


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, BUDGETS, ORDERS, st.booleans(), st.integers(1, 4))
@example(documents=[], budget=0, order=(0, 0), reach=True, count=1)
@example(documents=[("d1", b"1", 0), ("d2", b"2", 0)], budget=0, order=(0, 0), reach=True, count=1)
def test_it_equals_the_prefix_of_a_sorted_list(documents, budget, order, reach, count):
    seed, epoch = order
    expected = obvious_prefix(documents, budget, seed, epoch=epoch, reach=reach)

    found = found_prefix(parts(documents, count), budget, seed, epoch=epoch, reach=reach)

    assert found == expected


@settings(max_examples=50, deadline=None)
@given(DOCUMENTS, BUDGETS, st.booleans(), st.integers(0, 2**32), st.integers(1, 5))
def test_it_depends_on_no_order_and_no_batches(documents, budget, reach, seed, count):
    shuffled = documents.copy()
    random.Random(seed).shuffle(shuffled)

    assert found_prefix(parts(shuffled, count), budget, 7, reach=reach) == found_prefix(
        [table(documents)], budget, 7, reach=reach
    )


@settings(max_examples=50, deadline=None)
@given(DOCUMENTS, BUDGETS, st.integers(0, 50), st.booleans())
def test_a_larger_budget_only_adds_documents(documents, budget, more, reach):
    tables = [table(documents)]
    smaller, larger = (found_prefix(tables, size, 7, reach=reach)[1] for size in (budget, budget + more))

    assert smaller <= larger


@settings(max_examples=50, deadline=None)
@given(DOCUMENTS, BUDGETS)
def test_reaching_a_budget_takes_at_most_one_document_more_than_staying_within(documents, budget):
    within, reached = (found_prefix([table(documents)], budget, 7, reach=reach)[0] for reach in (False, True))
    total, largest = sum(row[2] for row in documents), max((row[2] for row in documents), default=0)

    assert within <= budget
    assert min(budget, total) <= reached
    assert reached < budget + max(largest, 1)


def test_documents_that_fall_into_one_bin_are_told_apart(monkeypatch):
    monkeypatch.setattr("collapse_guard.selection.BIN_BITS", 1)
    documents = [(f"d{number}", b"%d" % number, number % 7) for number in range(200)]

    for budget in (0, 1, 100, 299, 300, 1_000):
        for reach in (False, True):
            expected = obvious_prefix(documents, budget, 3, reach=reach)
            assert found_prefix(parts(documents, 3), budget, 3, reach=reach) == expected


def test_priorities_are_the_documented_hash():
    names = ["a", "", "é", "a\0"]

    assert priorities(names, 5, 2).tolist() == [obvious_priority(name, 5, 2) for name in names]
    assert priorities([], 5).tolist() == []
    assert priorities(["a"], 0).tolist() == [7_729_448_304_573_910_246]


def test_seed_and_epoch_change_the_order():
    names = [f"d{number}" for number in range(50)]
    orders = [np.argsort(priorities(names, seed, epoch)).tolist() for seed, epoch in ((0, 0), (1, 0), (0, 1))]

    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_every_document_is_as_likely_as_any_other():
    names = [f"d{number}" for number in range(4_000)]

    shares = priorities(names, 11) / 2.0**64

    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    assert np.histogram(shares, 4, (0, 1))[0] == pytest.approx(1_000, rel=0.12)


def test_nothing_chooses_nothing():
    rows = with_priorities(table([("a", b"1", 3), ("b", b"2", 0)]), 0)

    assert not NOTHING.chooses(rows).any()


def test_the_documents_are_passed_over_twice_and_never_held():
    started = []

    def passes():
        started.append(1)
        return iter([with_priorities(table([("a", b"1", 3), ("b", b"2", 4)]), 0)])

    find_cut(passes, 4)

    assert len(started) == 2
