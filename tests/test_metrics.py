from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_project import pages

from collapse_guard import metrics
from collapse_guard.document import HUMAN_VERIFIED, UNKNOWN
from collapse_guard.metrics import METRICS, Profile, Reference, Tokens, compute, rare_types

documents = st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=8)


def tokens_of(lists: list[list[int]]) -> Tokens:
    offsets = np.cumsum([0, *map(len, lists)])
    return Tokens(offsets.astype(np.int64), np.array([n for one in lists for n in one], np.uint64))


def texts_of(texts: list[str]) -> Tokens:
    return Tokens.of([pa.chunked_array([pa.array(texts, pa.large_string())])], 10**9)


def slow_grams(lists: list[list[int]], order: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(one[i : i + order]) for one in lists for i in range(len(one) - order + 1))


def slow_perplexity(model: list[list[int]], text: list[list[int]]) -> float:
    """The interpolated trigram model with dictionaries, token by token."""
    one, two, three = (slow_grams(model, order) for order in (1, 2, 3))
    total, logs = sum(one.values()), []
    for document in text:
        for i, token in enumerate(document):
            p1 = (one[(token,)] + 0.5) / (total + 0.5 * metrics.VOCABULARY)
            context = one[tuple(document[i - 1 : i])] if i >= 1 else 0
            p2 = two[tuple(document[i - 1 : i + 1])] / context if context else p1
            context = two[tuple(document[i - 2 : i])] if i >= 2 else 0
            p3 = three[tuple(document[i - 2 : i + 1])] / context if context else p2
            logs.append(math.log(0.2 * p1 + 0.3 * p2 + 0.5 * p3))
    return math.exp(-sum(logs) / len(logs))


@given(documents)
@settings(max_examples=100, deadline=None)
def test_ngrams_are_counted_within_documents_only(lists: list[list[int]]) -> None:
    profile = Profile.of(tokens_of(lists), {})

    for order, counts in zip((1, 2, 3), profile.grams, strict=True):
        expected = slow_grams(lists, order)
        assert sorted(counts.counts.tolist()) == sorted(expected.values())


@given(documents, documents)
@settings(max_examples=60, deadline=None)
def test_merging_profiles_equals_the_profile_of_both_and_has_no_order(a: list[list[int]], b: list[list[int]]) -> None:
    one, other = Profile.of(tokens_of(a), {"x": 1}), Profile.of(tokens_of(b), {"x": 2, "y": 3})
    both = Profile.of(Tokens.joined([tokens_of(a), tokens_of(b)]), {"x": 3, "y": 3})

    for merged in (one.merged(other), other.merged(one)):
        assert merged.origin_tokens == both.origin_tokens
        for left, right in zip(merged.grams, both.grams, strict=True):
            assert left.hashes.tolist() == right.hashes.tolist()
            assert left.counts.tolist() == right.counts.tolist()


@given(documents.filter(any), documents.filter(any))
@settings(max_examples=100, deadline=None)
def test_held_out_perplexity_equals_the_slow_model(model: list[list[int]], text: list[list[int]]) -> None:
    reference = Reference(tokens_of(text), np.empty(0, np.uint64))

    found = compute(Profile.of(tokens_of(model), {}), reference)["heldout_perplexity"]

    assert found == pytest.approx(slow_perplexity(model, text), rel=1e-9)


@given(documents, st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_a_budget_takes_a_prefix_and_cuts_the_last_document(lists: list[list[int]], budget: int) -> None:
    taken = tokens_of(lists).first(budget)
    flat = [n for one in lists for n in one]

    assert taken.hashes.tolist() == flat[:budget]
    assert taken.offsets[-1] == len(taken.hashes)


def test_rare_types_occur_two_to_five_times() -> None:
    text = tokens_of([[1], [2, 2], [3] * 5, [4] * 6])

    assert sorted(rare_types(text).tolist()) == [2, 3]


def test_rare_coverage_is_the_share_of_the_tail_that_occurs() -> None:
    reference = Reference(tokens_of([[9]]), np.array([1, 2, 3, 4], np.uint64))

    found = compute(Profile.of(tokens_of([[1, 1, 3, 8]]), {}), reference)

    assert found["rare_coverage"] == 0.5


def test_human_share_counts_tokens_of_verified_documents_only() -> None:
    profile = Profile.of(tokens_of([[1]]), {HUMAN_VERIFIED: 30, UNKNOWN: 60, "human_presumed": 10})

    assert compute(profile, Reference(tokens_of([[1]]), np.array([1], np.uint64)))["human_share"] == 0.3


def test_an_empty_corpus_measures_nothing() -> None:
    nothing = Profile.of(tokens_of([]), {})

    assert set(compute(nothing, Reference(tokens_of([]), np.empty(0, np.uint64))).values()) == {None}


def test_text_that_repeats_itself_is_less_distinct_and_covers_less() -> None:
    varied, repeated = texts_of(pages(40, seed=1)), texts_of(pages(4, seed=1) * 10)
    reference = Reference(texts_of(pages(20, seed=2)), rare_types(texts_of(pages(60, seed=3))))

    rich, poor = (compute(Profile.of(text, {}), reference) for text in (varied, repeated))

    assert poor["distinct_2"] < 0.2 * rich["distinct_2"]
    assert poor["rare_coverage"] < rich["rare_coverage"]
    assert poor["heldout_perplexity"] > rich["heldout_perplexity"]


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_every_metric_is_declared_with_unit_version_source_and_a_sentence(metric: metrics.Metric) -> None:
    assert (metric.__doc__ or "").splitlines()[0].endswith(".")
    assert metric.unit
    assert metric.source
    assert metric.version >= 1
    with pytest.raises(Exception, match="cannot assign"):
        metric.kind = "other"  # type: ignore[assignment, misc]
