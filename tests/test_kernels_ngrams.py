from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_signals import duplicate_ngrams, top_ngram

from collapse_guard.kernels.counts import DUPLICATE_NGRAMS, TOP_NGRAMS, Family
from collapse_guard.kernels.ngrams import _filter_bits, room_for_ngrams
from collapse_guard.kernels.tables import table_size
from collapse_guard.kernels.text import measure

BOTH = Family.TOP_NGRAMS | Family.DUPLICATE_NGRAMS
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33)
"""Bytes of tokens, on both sides of what is read at once."""


def counted(texts, lists=None):
    """Characters in the most common and in the duplicate n-grams of every text, by length."""
    given_tokens = None if lists is None else pa.array(lists, pa.list_(pa.string()))
    found = measure(pa.array(texts, pa.large_string()), BOTH, given_tokens)
    return [[*row["top_ngram_characters"].tolist(), *row["duplicate_ngram_characters"].tolist()] for row in found]


def slowly(tokens):
    return [*(top_ngram(tokens, n) for n in TOP_NGRAMS), *(duplicate_ngrams(tokens, n) for n in DUPLICATE_NGRAMS)]


@pytest.mark.parametrize("letter", ["a", "é", "漢", "😀"])
@pytest.mark.parametrize("words", [0, 1, 2, 3])
def test_a_text_shorter_than_what_is_read_at_once_is_counted_exactly(letter, words):
    lists = [[letter * size] * words for size in range(1, 33)]

    found = counted([" ".join(tokens) for tokens in lists], lists)

    assert found == [slowly(tokens) for tokens in lists]
    assert [counted([" ".join(tokens)], [tokens])[0] for tokens in lists] == found


@pytest.mark.parametrize("word", ["a", "ab", "the", "12", "é", "word"])
def test_a_short_text_whose_tokens_are_found_is_counted_exactly(word):
    lists = [[word] * words for words in range(16)]

    assert counted([" ".join(tokens) for tokens in lists]) == [slowly(tokens) for tokens in lists]


TOKENS = st.lists(
    st.one_of(
        st.sampled_from([letter * size for letter in "ab" for size in SIZES] + ["", "é" * 8, "漢" * 5, "😀" * 4]),
        st.text("ab", max_size=4),
    ),
    max_size=80,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(TOKENS, st.integers(1, 6)), max_size=3))
def test_ngrams_of_tokens_of_any_size_are_those_of_the_slow_definition(made):
    lists = [tokens * times for tokens, times in made]

    assert counted(["" for _ in lists], lists) == [slowly(tokens) for tokens in lists]


@pytest.mark.parametrize("times", [253, 254, 255, 256, 257, 300, 512])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_counters_that_are_full_hide_nothing(times, more):
    tokens = ["one", "two"] * times + ["x"] + ["three", "four"] * (times + more)

    assert counted([""], [tokens]) == [slowly(tokens)]


@pytest.mark.parametrize("power", [4, 5, 6, 8, 10, 12])
def test_tables_that_are_just_full_hide_nothing(power):
    lists = [
        [*(f"w{number}" for number in range(size)), *(f"w{number}" for number in range(12))]
        for size in range(2**power - 14, 2**power + 4)
    ]

    assert counted(["" for _ in lists], lists) == [slowly(tokens) for tokens in lists]


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 3000), st.data())
def test_there_is_room_for_the_ngrams_of_every_text_up_to_the_longest(size, data):
    count = data.draw(st.integers(0, size))
    room = room_for_ngrams(np.int64(size))

    assert 1 << _filter_bits(np.int64(count)) <= room.filter.size
    assert table_size(np.int64(count)) <= room.table.uses.size
    assert table_size(np.int64(2 * count)) <= room.table.keys.size  # lines and paragraphs
    assert min(map(len, room.places)) >= count
    assert min(map(len, room.sums)) > count
