from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.metrics import Counts, Tokens
from collapse_guard.metrics.heldout import VOCABULARY, cross_entropy

DOCUMENTS = st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=8)
QUICK = settings(max_examples=80, deadline=None)


def tokens_of(lists: list[list[int]]) -> Tokens:
    offsets = np.cumsum([0, *map(len, lists)])
    return Tokens(offsets.astype(np.int64), np.array([n for one in lists for n in one], np.uint64))


def model_of(lists: list[list[int]]) -> tuple[Counts, Counts, Counts]:
    one, two, three = (Counts.of(hashes[inside]) for hashes, inside in tokens_of(lists).grams())
    return one, two, three


def slow_grams(lists: list[list[int]], order: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(one[i : i + order]) for one in lists for i in range(len(one) - order + 1))


def slow_entropy(model: list[list[int]], text: list[list[int]]) -> float:
    """The interpolated trigram model with dictionaries, token by token."""
    one, two, three = (slow_grams(model, order) for order in (1, 2, 3))
    total, logs = sum(one.values()), []
    for document in text:
        for i, token in enumerate(document):
            p1 = (one[(token,)] + 0.5) / (total + 0.5 * VOCABULARY)
            context = one[tuple(document[i - 1 : i])] if i >= 1 else 0
            p2 = two[tuple(document[i - 1 : i + 1])] / context if context else p1
            context = two[tuple(document[i - 2 : i])] if i >= 2 else 0
            p3 = three[tuple(document[i - 2 : i + 1])] / context if context else p2
            logs.append(math.log(0.2 * p1 + 0.3 * p2 + 0.5 * p3))
    return -sum(logs) / len(logs)


@QUICK
@given(DOCUMENTS.filter(any), DOCUMENTS.filter(any))
def test_the_cross_entropy_is_that_of_the_slow_model(model: list[list[int]], text: list[list[int]]) -> None:
    assert cross_entropy(model_of(model), tokens_of(text)) == pytest.approx(slow_entropy(model, text), rel=1e-9)


@QUICK
@given(DOCUMENTS)
def test_ngrams_are_counted_within_documents_only(lists: list[list[int]]) -> None:
    for order, counts in zip((1, 2, 3), model_of(lists), strict=True):
        assert sorted(counts.counts.tolist()) == sorted(slow_grams(lists, order).values())


def test_nothing_predicts_nothing_and_nothing_is_predicted() -> None:
    assert cross_entropy(model_of([]), tokens_of([[1]])) is None
    assert cross_entropy(model_of([[1]]), tokens_of([[], []])) is None


def test_a_model_predicts_its_own_text_best() -> None:
    here, there = [[1, 2, 3, 4, 5]] * 3, [[6, 7, 8, 9]] * 3

    own, other = (cross_entropy(model_of(model), tokens_of(here)) for model in (here, there))

    assert own is not None
    assert other is not None
    assert own < other
