from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import EVERYTHING, pages, profile, reference, sample

from collapse_guard.metrics import Counts, Sample, Tokens, rare_types
from collapse_guard.metrics.sample import COMMON_WORDS, length_bins

QUICK = settings(max_examples=80, deadline=None)
DOCUMENTS = st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=8)
HASHES = st.lists(st.integers(0, 6), max_size=30)


def tokens_of(lists: list[list[int]]) -> Tokens:
    offsets = np.cumsum([0, *map(len, lists)])
    return Tokens(offsets.astype(np.int64), np.array([n for one in lists for n in one], np.uint64))


def lists_of(tokens: Tokens) -> list[list[int]]:
    return [
        tokens.hashes[a:b].tolist()
        for a, b in zip(tokens.offsets[:-1].tolist(), tokens.offsets[1:].tolist(), strict=True)
    ]


def counts_of(hashes: list[int]) -> Counts:
    return Counts.of(np.array(hashes, np.uint64))


@QUICK
@given(DOCUMENTS, st.integers(0, 60))
def test_a_budget_takes_a_prefix_and_cuts_the_last_document(lists: list[list[int]], budget: int) -> None:
    taken = tokens_of(lists).first(budget)
    flat = [n for one in lists for n in one]

    assert taken.hashes.tolist() == flat[:budget]
    assert taken.offsets[-1] == len(taken.hashes)
    assert [n for one in lists_of(taken) for n in one] == flat[:budget]
    assert all(kept == whole[: len(kept)] for kept, whole in zip(lists_of(taken), lists, strict=False))


@QUICK
@given(DOCUMENTS, st.data())
def test_documents_are_taken_in_any_order_and_more_than_once(lists: list[list[int]], data: st.DataObject) -> None:
    order = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=12)) if lists else []

    assert lists_of(tokens_of(lists).take(np.array(order, np.int64))) == [lists[place] for place in order]


@QUICK
@given(DOCUMENTS, st.integers(0, 8), st.data())
def test_a_passage_starts_at_its_place_and_ends_with_its_document(
    lists: list[list[int]], length: int, data: st.DataObject
) -> None:
    starts = [data.draw(st.integers(0, len(one))) for one in lists]
    found = tokens_of(lists).passages(np.array(starts, np.int64), length)

    assert lists_of(found) == [one[start : start + length] for one, start in zip(lists, starts, strict=True)]


@QUICK
@given(DOCUMENTS, DOCUMENTS)
def test_joined_tokens_are_those_of_both(a: list[list[int]], b: list[list[int]]) -> None:
    assert lists_of(Tokens.joined([tokens_of(a), tokens_of(b)])) == [*a, *b]
    assert len(Tokens.joined([])) == 0


def test_tokens_of_a_stream_stop_at_the_budget() -> None:
    column = pa.chunked_array([pa.array(["a b c", "d e"], pa.large_string())])

    assert len(Tokens.of([column, column], 7).hashes) == 7
    assert len(Tokens.of([column, column]).hashes) == 10


@QUICK
@given(HASHES, HASHES)
def test_counts_are_those_of_a_dictionary_and_add_up(a: list[int], b: list[int]) -> None:
    merged = counts_of(a).merged(counts_of(b))
    expected = Counter([*a, *b])

    assert dict(zip(merged.hashes.tolist(), merged.counts.tolist(), strict=True)) == expected
    assert merged.total == len(a) + len(b)
    assert merged.hashes.tolist() == sorted(expected) == counts_of([*a, *b]).hashes.tolist()
    assert merged.lookup(np.arange(9, dtype=np.uint64)).tolist() == [expected[hashed] for hashed in range(9)]
    assert merged.between(2, 3).tolist() == sorted(hashed for hashed, count in expected.items() if 2 <= count <= 3)


def test_rare_types_occur_two_to_five_times() -> None:
    text = tokens_of([[1], [2, 2], [3] * 5, [4] * 6])

    assert sorted(rare_types(text).tolist()) == [2, 3]


def test_a_sample_cuts_every_document_and_then_the_budget() -> None:
    found = Sample.of(profile(pages(10, 0, words=100)), 250, 40)

    assert found.tokens.lengths.tolist() == [40] * 6 + [10]
    assert found.words == 250
    assert found.labels.num_rows == 7


def test_a_sample_is_smaller_where_the_profile_holds_less() -> None:
    assert Sample.of(profile(["one two three"]), EVERYTHING, 2).words == 2
    assert Sample.of(profile([]), 100, 16).words == 0
    assert Sample.of(profile([]), 100, 16).bytes_per_word == 0


def test_a_sample_of_a_merged_corpus_has_documents_of_all_its_parts() -> None:
    part = [profile(pages(30, seed), f"p{seed}-", source=f"s{seed}") for seed in range(3)]
    merged = type(part[0]).merged(part)

    assert set(Sample.of(merged, 3_600, 120).shares("source")) == {"s0", "s1", "s2"}


def test_shares_are_of_words_and_leave_out_what_has_no_label() -> None:
    texts = ["w " * 30, "w " * 10, "w " * 60]
    found = sample(texts, domain=["law", "blog", None])

    assert found.shares("domain") == {"law": 0.75, "blog": 0.25}
    assert found.labelled("domain") == 0.4
    assert found.shares("source") == {}
    assert found.labelled("source") == 0
    assert sample([""]).labelled("domain") == 0


def test_known_counts_what_is_not_from_the_reservoir() -> None:
    found = sample(["w " * 10] * 4, domain=["law", "law", "blog", None], stratum=["human", "scraped", None, "scraped"])

    assert found.known("domain", {"law"}) == pytest.approx(1 / 3)
    assert found.known("domain", {"law", "blog"}) == pytest.approx(2 / 3)
    assert found.known("domain", set()) == 0
    assert sample(["w " * 10], stratum="human", domain="law").known("domain", {"law"}) == 0


@pytest.mark.parametrize(
    ("words", "length"), [(0, "2^04"), (1, "2^04"), (31, "2^04"), (32, "2^05"), (1_000, "2^09"), (10**6, "2^14")]
)
def test_lengths_are_powers_of_two(words: int, length: str) -> None:
    assert length_bins(np.array([words])).to_pylist() == [length]


def test_the_length_of_a_document_is_that_of_all_of_it() -> None:
    assert Sample.of(profile(["w " * 1_024]), 10, 16).shares("length") == {"2^10": 1.0}


def test_bytes_per_word_are_those_of_whole_documents() -> None:
    assert sample(["abcd efgh", "ab"]).bytes_per_word == pytest.approx(11 / 3)
    assert sample([None, "ab"]).bytes_per_word == 2


def test_the_common_words_are_the_most_frequent_and_know_their_shares() -> None:
    human = reference(["a a a b b c"], ["a"])
    hashes, shares = human.common_words

    assert shares.tolist() == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    assert human.text.grams[0].lookup(hashes).tolist() == [3, 2, 1]
    assert len(reference(pages(60, 0), ["a"]).common_words[0]) == COMMON_WORDS


def test_the_rare_bigrams_occur_twice() -> None:
    human = reference(["a b a b c d c e"], ["a"])

    assert len(human.rare_bigrams) == 1
    assert human.text.grams[1].lookup(human.rare_bigrams).tolist() == [2]


def test_held_out_entropy_is_kept_per_reference() -> None:
    texts = pages(20, 0)
    ours, one, other = sample(texts), reference(texts, texts[:5]), reference(texts, pages(5, 9, kind="x"))

    first = ours.heldout_entropy(one)
    assert first == ours.heldout_entropy(one)
    assert first is not None
    assert (ours.heldout_entropy(other) or 0) > first
