from __future__ import annotations

import threading
import time

import pytest

from collapse_guard.engine import LocalEngine


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers):
    def slow_at_first(item):
        time.sleep(0.02 if item == 0 else 0)
        return item * 2

    assert list(LocalEngine(workers).map(slow_at_first, range(20))) == list(range(0, 40, 2))


def test_no_item_is_no_result():
    assert list(LocalEngine().map(str, [])) == []


def test_at_most_one_more_than_the_workers_are_taken_ahead():
    taken, given = 0, 0

    def items():
        nonlocal taken
        for item in range(50):
            taken += 1
            assert taken - given <= 3
            yield item

    for _ in LocalEngine(2).map(str, items()):
        given += 1

    assert taken == given == 50


def test_items_run_side_by_side():
    together = threading.Barrier(3, timeout=10)

    results = LocalEngine(3).map(lambda _: together.wait(), range(3))

    assert sorted(results) == [0, 1, 2]


def test_an_error_reaches_the_caller_and_no_further_item_is_taken():
    taken = []

    def fail_at_two(item):
        taken.append(item)
        if item == 2:
            raise ValueError("item 2 cannot be done")
        return item

    results = LocalEngine(1).map(fail_at_two, range(100))

    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="item 2 cannot be done"):
        next(results)
    assert taken == [0, 1, 2]


def test_a_caller_who_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    results = LocalEngine(2).map(str, range(100))

    next(results)
    results.close()

    assert threading.active_count() == before
