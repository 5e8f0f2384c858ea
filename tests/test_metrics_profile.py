from __future__ import annotations

import hashlib
import itertools
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import pages, profile, table
from scipy.stats import kstest

from collapse_guard.metrics import Profile, Tokens
from collapse_guard.metrics.profile import PASSAGE, PROFILE, SEED, WINDOW, with_labels

QUICK = settings(max_examples=60, deadline=None)
NAMES = [f"n{i}" for i in range(40)]
TEXTS = st.one_of(
    st.none(),
    st.just(""),
    st.lists(st.sampled_from(["one", "two", "three"]), max_size=8).map(" ".join),
    st.just("giant " * 300),
)
DOCUMENTS = st.lists(st.tuples(st.sampled_from(NAMES), TEXTS, st.sampled_from([None, "law", "blog"])), max_size=25)
CAPACITIES = st.one_of(st.integers(1, 60), st.sampled_from([PASSAGE, 2 * PASSAGE, 10**9]))
Document = tuple[str, str | None, str | None]


def documents_of(rows: list[Document]) -> pa.Table:
    names, texts, domains = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "id": pa.array(names, pa.string()),
            "text": pa.array(texts, pa.large_string()),
            "domain": pa.array(domains, pa.string()),
        }
    )


def content(found: Profile) -> tuple[object, int | None]:
    """All of a profile but the places of its documents among those of one shard."""
    return found.rows.drop(["row"]).to_pylist(), found.cut


def priority(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{SEED}\0{name}\0{0}".encode(), digest_size=8).digest(), "big")


def slow_words(text: str | None) -> int:
    return len((text or "").split())


def slow_profile(rows: list[Document], capacity: int) -> list[tuple[str, int]]:
    """Ids and words of the first documents, up to the one that reaches the capacity; equal priorities stay together."""
    ranked = sorted((priority(name), name, slow_words(text)) for name, text, _ in rows)
    held = list(itertools.accumulate(min(words, PASSAGE) for _, _, words in ranked))
    reached = next((place for place, total in enumerate(held) if total >= capacity), len(ranked))
    cut = ranked[reached + 1][0] if reached + 1 < len(ranked) else 1 << 64
    return [(name, words) for rank, name, words in ranked if rank < cut]


@QUICK
@given(DOCUMENTS, CAPACITIES)
def test_a_profile_is_the_first_documents_by_the_hash_of_their_id(rows: list[Document], capacity: int) -> None:
    found = Profile.of(documents_of(rows), capacity)

    assert [(row["id"], row["words"]) for row in found.rows.to_pylist()] == slow_profile(rows, capacity)


@QUICK
@given(DOCUMENTS, DOCUMENTS, DOCUMENTS, CAPACITIES)
def test_merging_is_associative_has_no_order_and_gives_the_profile_of_all_documents(
    a: list[Document], b: list[Document], c: list[Document], capacity: int
) -> None:
    parts = [Profile.of(documents_of(rows), capacity) for rows in (a, b, c)]
    whole = content(Profile.of(documents_of([*a, *b, *c]), capacity))

    for first, second, third in itertools.permutations(parts):
        left = Profile.merged([Profile.merged([first, second], capacity), third], capacity)
        right = Profile.merged([first, Profile.merged([second, third], capacity)], capacity)
        assert content(left) == content(right) == content(Profile.merged([first, second, third], capacity)) == whole


@QUICK
@given(DOCUMENTS, CAPACITIES, st.randoms(use_true_random=False))
def test_the_order_of_documents_changes_no_bit(rows: list[Document], capacity: int, random) -> None:
    shuffled = random.sample(rows, len(rows))

    assert content(Profile.of(documents_of(shuffled), capacity)) == content(Profile.of(documents_of(rows), capacity))


@QUICK
@given(DOCUMENTS, CAPACITIES)
def test_a_profile_may_be_taken_of_a_larger_one(rows: list[Document], capacity: int) -> None:
    large = Profile.of(documents_of(rows), capacity * 3)

    assert content(Profile.merged([large], capacity)) == content(Profile.of(documents_of(rows), capacity))


def test_no_profiles_and_profiles_of_nothing_are_empty() -> None:
    empty = Profile.of(documents_of([]))

    assert content(empty) == content(Profile.merged([])) == content(Profile.merged([empty, empty])) == ([], None)
    assert content(Profile.merged([empty, profile(["one two"])])) == content(profile(["one two"]))
    assert len(empty.tokens) == 0


@pytest.mark.parametrize(("capacity", "documents"), [(29, 3), (30, 3), (31, 4), (40, 4), (41, 5)])
def test_a_profile_ends_with_the_document_that_reaches_its_capacity(capacity: int, documents: int) -> None:
    found = Profile.of(table(["word " * 10] * 9), capacity)

    assert found.rows.num_rows == documents
    assert found.cut is not None
    assert all(rank < found.cut for rank in found.rows["priority"].to_pylist())


def test_a_profile_that_holds_everything_has_no_cut() -> None:
    assert Profile.of(table(["word " * 10] * 3), 30).cut is None
    assert Profile.of(table(["word " * 10] * 3), 20).cut is not None


def test_one_giant_document_gives_one_passage() -> None:
    found = Profile.of(table([" ".join(f"w{i}" for i in range(300_000))]))

    row = found.rows.to_pylist()[0]
    assert 0.9 * PASSAGE < len(row["passage"]) <= PASSAGE
    assert row["words"] == pytest.approx(300_000, rel=0.1), "it follows from the bytes of a window"


def test_null_and_empty_texts_are_documents_without_words() -> None:
    found = profile([None, "", "  ", "one"])

    assert sorted(found.rows["words"].to_pylist()) == [0, 0, 0, 1]
    assert sorted(found.rows["bytes"].to_pylist()) == [0, 0, 2, 3]
    assert found.rows.schema == PROFILE


def words_of(text: str) -> list[int]:
    return Tokens.of([pa.chunked_array([pa.array([text], pa.large_string())])]).hashes.tolist()


@QUICK
@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=12))
def test_a_passage_is_a_run_of_the_words_of_its_document_and_not_too_long(lengths: list[int]) -> None:
    texts = [" ".join(f"w{i}" for i in range(length)) for length in lengths]

    for row in profile(texts).rows.to_pylist():
        text = texts[int(str(row["id"]).removeprefix("d"))]
        whole, passage = words_of(text), row["passage"]
        start = whole.index(passage[0]) if passage else 0
        assert passage == whole[start : start + len(passage)]
        assert len(passage) <= PASSAGE
        if len(text) <= WINDOW:
            assert row["words"] == len(whole)
            assert len(passage) == min(len(whole), PASSAGE)
            assert start == (priority(row["id"]) & 0xFFFFFFFF) * (max(len(whole) - PASSAGE, 0) + 1) >> 32


@pytest.mark.parametrize("words", [PASSAGE + 3, PASSAGE + 40, 2_000])
def test_passages_start_everywhere_with_the_same_chance(words: int) -> None:
    text = " ".join(f"w{i:04}" for i in range(words))
    places = {hashed: place for place, hashed in enumerate(words_of(text))}
    found = profile([text] * 2_000)
    starts = np.array([places[row[0]] for row in found.rows["passage"].to_pylist()])

    assert kstest((starts + np.random.default_rng(0).random(2_000)) / (starts.max() + 1), "uniform").pvalue > 0.001
    assert starts.min() == 0 or words > 1_000
    assert starts.max() + PASSAGE > words * 0.98


def test_labels_are_kept_and_can_be_given_later() -> None:
    found = profile(["one", "two"], domain=["law", None], language="en")
    told = with_labels(found.rows, pa.table({"origin": pa.array(["unknown", "unknown"])}))

    assert {row["id"]: row["domain"] for row in told.to_pylist()} == {"d0": "law", "d1": None}
    assert told["origin"].to_pylist() == ["unknown", "unknown"]
    assert told["language"].to_pylist() == ["en", "en"]
    assert told["source"].to_pylist() == [None, None]


def test_some_documents_of_a_profile_are_its_rows() -> None:
    found = profile(pages(20, 0))
    chosen = np.arange(20) % 3 == 0

    assert found.where(chosen).rows["id"].to_pylist() == found.rows["id"].to_pylist()[::3]


def test_ten_thousand_small_profiles_merge_in_seconds_into_the_profile_of_all() -> None:
    texts = pages(10_000, 0, words=12)
    everything = profile(texts)
    parts = [Profile(everything.rows.slice(i, 1)) for i in range(10_000)]
    started = time.perf_counter()

    merged = Profile.merged(parts, 30_000)

    assert time.perf_counter() - started < 10  # 0.5 s on a quiet machine; the margin is for one that is not
    assert content(merged) == content(Profile.merged(parts[::-1], 30_000)) == content(Profile.of(table(texts), 30_000))
