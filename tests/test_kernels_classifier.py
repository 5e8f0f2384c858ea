from __future__ import annotations

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from test_kernels_tokens import TEXTS, class_of

from collapse_guard.kernels.arrow import views
from collapse_guard.kernels.classifier.linear import Problem, Weights, fit, scales_of, score_counted, score_texts
from collapse_guard.kernels.classifier.ngrams import COUNT_BITS, MOST_COUNTED, count_ngrams, count_text, room_for
from collapse_guard.kernels.tokens import IDEOGRAPH, PUNCTUATION, SPACE, mix

WINDOW, BITS = 60, 21


def column(*texts: str | None) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def counts(text: str, window: int = WINDOW, bits: int = BITS) -> dict[int, int]:
    entries = count_ngrams(column(text), window, bits).entries.tolist()
    return {entry >> COUNT_BITS: entry & MOST_COUNTED for entry in entries}


def words_of(text: str) -> list[str]:
    kinds = {character: class_of(character) for character in text}
    apart = {IDEOGRAPH: " {} ", PUNCTUATION: " ", SPACE: " "}
    return "".join(apart.get(kinds[character], "{}").format(character) for character in text).split(" ")


def folded(value: int) -> int:
    return value ^ (value >> 32)


def spread(value: int) -> int:
    return value * 0x9E3779B97F4A7C15 % 2**64


def word_hash(word: str) -> int:
    value = 0xCBF29CE484222325
    for character in word:
        value = spread(value ^ ord(character))
    return int(mix(np.uint64(value)))


def hash_of(gram: str) -> int:
    """Three to five characters."""
    first, second, third, *more = map(ord, gram)
    value = spread(first << 42 | second << 21 | third)
    for code in more:
        value = spread((folded(value) + code + 1) % 2**64)
    return value


def slow_counts(text: str) -> tuple[Counter[int], int]:
    """How often each bucket occurs in a text, and its words."""
    text = text[:WINDOW]
    words = [word_hash(word) for word in words_of(text) if word]
    pairs = [(spread(a) + b) % 2**64 ^ 0x9FB21C651E98DF25 for a, b in itertools.pairwise(words)]
    spaced = "".join(" " if class_of(character) == SPACE else character for character in text)
    padded = [f" {word} " for word in spaced.split(" ") if word]
    characters = [hash_of(word[i : i + n]) for word in padded for n in (3, 4, 5) for i in range(len(word) - n + 1)]
    values = [*(word ^ 0xA24BAED4963EE407 for word in words), *pairs, *characters]
    return Counter(spread(folded(value)) >> (64 - BITS) for value in values), len(words)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_ngrams_are_those_of_the_slow_version(texts):
    for text in texts:
        assert (counts(text), count_ngrams(column(text), WINDOW, BITS).words[0]) == slow_counts(text)


def test_equal_ngrams_have_equal_buckets_wherever_they_are():
    assert set(counts("one two")) < set(counts("then one two came"))
    assert set(counts("漢字")) < set(counts("那 漢字 然"))
    assert not set(counts("abc")) & set(counts("xyz"))


def test_a_word_a_pair_and_characters_have_buckets_of_their_own():
    assert len(counts("abc")) == 1 + 3 + 2 + 1
    assert len(counts("abc def")) == 2 * (1 + 3 + 2 + 1) + 1


def test_case_counts_and_white_space_does_not():
    assert counts("One two") != counts("one two")
    assert counts("one two") == counts("\n one \t\u3000 two\x00")


def test_only_the_beginning_is_read():
    long = "word " * 100_000
    assert counts(long) == counts("word " * 12)
    assert counts("é" * WINDOW + "tail") == counts("é" * WINDOW)


def test_many_repetitions_are_counted_up_to_a_limit():
    assert max(counts("abc " * 10_000, window=40_000).values()) == MOST_COUNTED


@pytest.mark.parametrize("text", ["", " ", "\x00", "a", "\u0301", "👩🏽", "ab", "?!"])
def test_texts_with_hardly_anything_in_them_have_few_ngrams(text):
    assert len(counts(text)) <= 6


def test_a_null_is_an_empty_text():
    found = count_ngrams(column(None, "abc", None), WINDOW, BITS)
    assert found.starts.tolist() == [0, 0, 7, 7]
    assert found.words.tolist() == [0, 1, 0]


def test_bytes_that_are_no_utf8_are_not_read_beyond():
    data = np.frombuffer(b"ab \xff\xf0\x9f" + b"zz", np.uint8)[:6]
    entries, words = count_text(data, room_for(WINDOW), WINDOW, BITS)
    assert entries > 0
    assert words == 2


@given(TEXTS, st.integers(0, 6))
@settings(max_examples=50, deadline=None)
def test_scores_do_not_depend_on_the_batch(texts, cut):
    weights = Weights(np.random.default_rng(0).normal(size=1 << 12).astype(np.float32), 0.5)
    whole = column(*texts)
    at_once = score_texts(whole, weights, WINDOW)
    parts = [score_texts(part, weights, WINDOW) for part in (whole[:cut], whole[cut:])]
    for name in ("logits", "coverage", "words"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(getattr(at_once, name), joined)


def test_scores_are_the_same_on_many_threads():
    weights = Weights(np.random.default_rng(0).normal(size=1 << 12).astype(np.float32), 0.5)
    texts = column(*(f"text number {i} of a batch" for i in range(500)))
    once = score_texts(texts, weights, WINDOW).logits
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: score_texts(texts, weights, WINDOW).logits, range(8)):
            np.testing.assert_array_equal(found, once)


def test_a_score_is_the_cosine_of_the_text_and_the_weights():
    text, weights = "one two one two one", np.random.default_rng(1).normal(size=1 << BITS).astype(np.float32)
    found = counts(text)
    levels = 1 + np.log(np.array(list(found.values())))
    expected = levels @ weights[list(found)] / np.linalg.norm(levels) + 0.25

    assert score_texts(column(text), Weights(weights, 0.25), WINDOW).logits[0] == pytest.approx(expected, rel=1e-6)


def test_coverage_is_the_share_of_known_ngrams():
    known, text = counts("one two"), "one two three"
    weights = np.zeros(1 << BITS, np.float32)
    weights[list(known)] = 1.0

    found = score_texts(column(text, ""), Weights(weights, 0.0), WINDOW)

    assert found.coverage[0] == pytest.approx(len(set(known) & set(counts(text))) / len(counts(text)))
    assert np.isnan(found.coverage[1])
    assert found.logits[1] == 0.0


def problem(texts: int = 80, bits: int = 8) -> tuple[Problem, np.ndarray]:
    """Random texts of two kinds, and the vectors that the problem describes."""
    draw = np.random.default_rng(2)
    kinds = draw.integers(0, 2, texts)
    words = [["red", "blue", "green", "dark"], ["red", "blue", "light", "pale"]]
    ngrams = count_ngrams(column(*(" ".join(draw.choice(words[kind], 6)) for kind in kinds)), WINDOW, bits)
    scales, vectors = scales_of(ngrams), np.zeros((texts, (1 << bits) + 1))
    for d, (start, stop) in enumerate(itertools.pairwise(ngrams.starts.tolist())):
        entries = ngrams.entries[start:stop].astype(int)
        vectors[d, entries >> COUNT_BITS] = (1 + np.log(entries & MOST_COUNTED)) * scales[d]
    vectors[:, -1] = 1.0
    return Problem(ngrams, scales, np.where(kinds, 1.0, -1.0), np.where(kinds, 3.0, 5.0)), vectors


def test_training_finds_the_optimum_that_scipy_finds():
    made, vectors = problem()

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margins = made.signs * (vectors @ weights)
        slopes = -made.costs * made.signs / (1 + np.exp(margins))
        return weights @ weights / 2 + made.costs @ np.logaddexp(0, -margins), weights + vectors.T @ slopes

    best = minimize(
        loss, np.zeros(vectors.shape[1]), jac=True, method="L-BFGS-B", options={"gtol": 1e-9, "ftol": 1e-15}
    ).x
    found = fit(made, np.arange(80), 8, seed=0, tolerance=1e-6, epochs=1000)

    np.testing.assert_allclose(found.buckets, best[:-1], atol=1e-4)
    assert found.intercept == pytest.approx(best[-1], abs=1e-4)


def test_training_looks_only_at_the_rows_that_it_is_given():
    made, _ = problem()
    rows = np.arange(0, 80, 2)
    other = made._replace(costs=np.where(np.arange(80) % 2, 1e6, made.costs))

    np.testing.assert_array_equal(fit(made, rows, 8, seed=3).buckets, fit(other, rows, 8, seed=3).buckets)


def test_a_seed_fixes_what_is_learned_and_hardly_changes_it():
    made, _ = problem()
    one, again, other = (fit(made, np.arange(80), 8, seed=seed, tolerance=1e-5, epochs=500) for seed in (1, 1, 2))

    np.testing.assert_array_equal(one.buckets, again.buckets)
    np.testing.assert_allclose(one.buckets, other.buckets, atol=1e-3)


def test_every_bucket_of_the_training_texts_is_known_and_no_other():
    made, vectors = problem()
    found = fit(made, np.arange(80), 8, seed=0)

    np.testing.assert_array_equal(found.buckets != 0, vectors[:, :-1].any(axis=0))


def test_counted_texts_score_as_texts_do():
    weights = Weights(np.random.default_rng(0).normal(size=1 << 12).astype(np.float32), 0.5)
    texts = column("a first text", "", "and a second one")
    counted = score_counted(count_ngrams(texts, WINDOW, 12), np.array([2, 1, 0]), weights)

    np.testing.assert_array_equal(counted.logits[::-1], score_texts(texts, weights, WINDOW).logits)


def test_large_texts_cost_no_more_than_their_beginning():
    huge = column("lorem ipsum " * 4_500_000)
    assert views(huge).data.size > 50_000_000
    assert len(count_ngrams(huge, 1500, 20).entries) < 100
