from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels_folding import folded_words

from collapse_guard.kernels.quotation.shares import Holders, Slice, count_grams

WORDS = st.lists(st.sampled_from(["red", "Blue", "12", "漢", "-", "a", "b"]), max_size=25).map(" ".join)
TEXTS = st.lists(WORDS, max_size=5)


def grams(text, n):
    words = folded_words(text)
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def counts_slowly(texts, guarded, others, n, most):
    held = Counter(gram for text in [*guarded, *others] for gram in set(grams(text, n)))
    entered = {gram for text in guarded for gram in grams(text, n)}
    found = []
    for text, few in zip(texts, most, strict=True):
        known = [gram for gram in grams(text, n) if gram in entered]
        rare = sum(held[gram] <= few for gram in known)
        found.append([rare, len(grams(text, n)) - len(known) + rare])
    return found


def column(texts):
    chunks = [pa.array(texts[start : start + 2], pa.large_string()) for start in range(0, len(texts), 2)]
    return pa.chunked_array(chunks, pa.large_string())


@settings(max_examples=80, deadline=None)
@given(TEXTS, TEXTS, TEXTS, st.sampled_from([1, 2, 5]), st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_parts_add_up_to_the_counts_of_the_slow_version(texts, guarded, others, n, parts, draw):
    most = [draw.choice([1, 2]) for _ in texts]
    total = np.zeros((len(texts), 2), int)
    entered = 0
    for part in range(parts):
        cut = Slice(n, part, parts)
        count = count_grams(column(guarded), cut)
        holders = Holders(count, cut)
        holders.enter(column(guarded))
        for some in (guarded, others):
            holders.add(column(some))
        total += holders.counts(column(texts), np.array(most, np.int64))
        entered += count

    assert total.tolist() == counts_slowly(texts, guarded, others, n, most)
    assert entered == sum(len(grams(text, n)) for text in guarded)


def test_a_null_has_no_words_and_numbers_cannot_be_read():
    holders = Holders(0, Slice(8, 0, 1))

    assert holders.counts(pa.array([None, ""], pa.string()), np.ones(2, np.int64)).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(TypeError, match="cannot be measured"):
        holders.add(pa.array([1]))
