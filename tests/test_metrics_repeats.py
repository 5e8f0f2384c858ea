from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.metrics import Tokens
from collapse_guard.metrics.repeats import cross_document_repeats

DOCUMENTS = st.lists(st.lists(st.integers(0, 2), max_size=12), max_size=6)


def tokens_of(documents: list[list[int]]) -> Tokens:
    offsets = np.cumsum([0, *map(len, documents)])
    return Tokens(offsets.astype(np.int64), np.array([token for one in documents for token in one], np.uint64))


def slow_repeats(documents: list[list[int]], n: int) -> float | None:
    held = [{tuple(one[i : i + n]) for i in range(len(one) - n + 1)} for one in documents]
    pairs = [sum(gram in other for other in held) > 1 for one in held for gram in one]
    return sum(pairs) / len(pairs) if pairs else None


@settings(max_examples=80, deadline=None)
@given(DOCUMENTS, st.integers(1, 5))
def test_pairs_of_document_and_ngram_count_once_and_as_repeated_where_another_document_has_it(
    documents: list[list[int]], n: int
) -> None:
    assert cross_document_repeats(tokens_of(documents), n) == slow_repeats(documents, n)


def test_repetition_within_a_document_is_no_repeat_across_documents() -> None:
    assert cross_document_repeats(tokens_of([[1, 2, 3, 4] * 5, [5, 6, 7, 8]])) == 0.0
    assert cross_document_repeats(tokens_of([[1, 2, 3, 4], [1, 2, 3, 4, 5]])) == pytest.approx(2 / 3)


def test_without_an_ngram_repeats_are_null() -> None:
    assert cross_document_repeats(tokens_of([])) is None
    assert cross_document_repeats(tokens_of([[1, 2, 3], []])) is None
