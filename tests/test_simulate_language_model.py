from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.simulate.language_model import NgramModel

WORDS = [f"w{n}" for n in range(60)]
TEXTS = st.lists(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join), min_size=1, max_size=4).map(
        "\n\n".join
    ),
    min_size=1,
    max_size=20,
)


def zipf_texts(documents: int) -> list[str]:
    """Texts with a long tail of rare words, from a small generator of our own that needs no data."""
    state, texts = 12345, []
    for _ in range(documents):
        words = []
        for _ in range(120):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            words.append(f"w{int(6000 ** ((state >> 11) / 2**53))}" + "." * (len(words) % 12 == 11))
        texts.append(" ".join(words[:60]) + "\n\n" + " ".join(words[60:]))
    return texts


def grams(texts: list[str], length: int) -> set[tuple[str, ...]]:
    paragraphs = [part.split() for text in texts for part in text.split("\n\n")]
    return {tuple(words[i : i + length]) for words in paragraphs for i in range(len(words) - length + 1)}


def types(texts: list[str]) -> int:
    return len({word for text in texts for word in text.split()})


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.integers(0, 2**32), st.integers(1, 3))
def test_every_bigram_of_a_pure_bigram_model_was_seen_in_training(texts, seed, sharpness):
    model = NgramModel.train(texts, order=2, weights=(0, 1))

    pages = model.write_pages(5, words=30, seed=seed, sharpness=sharpness)

    assert grams(pages, 2) <= grams(texts, 2)


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.integers(0, 2**32))
def test_every_trigram_of_a_pure_trigram_model_was_seen_in_training(texts, seed):
    model = NgramModel.train(texts, weights=(0, 0, 1))

    assert grams(model.write_pages(5, words=30, seed=seed), 3) <= grams(texts, 3)


@settings(max_examples=20, deadline=None)
@given(TEXTS, st.randoms(use_true_random=False))
def test_the_order_of_the_training_texts_makes_no_difference(texts, random):
    shuffled = random.sample(texts, len(texts))

    pages = [NgramModel.train(t).write_pages(3, words=20, seed=1) for t in (texts, shuffled)]

    assert pages[0] == pages[1]


def test_draws_follow_the_counts_of_the_training_text():
    model = NgramModel.train(["a a a b " * 500], order=1, weights=(1.0,))

    words = " ".join(model.write_pages(200, words=50, seed=3)).split()

    assert words.count("a") / len(words) == pytest.approx(0.75, abs=0.02)


def test_sharpness_prefers_what_is_frequent():
    model = NgramModel.train(["a a a b " * 500], order=1, weights=(1.0,))

    shares = [
        words.count("a") / len(words)
        for sharpness in (1, 2, 4)
        if (words := " ".join(model.write_pages(200, words=50, seed=3, sharpness=sharpness)).split())
    ]

    assert shares == sorted(shares)
    assert shares[1] == pytest.approx(1 - 0.25**2, abs=0.02)


def test_a_context_that_was_never_seen_falls_back_to_the_lower_order():
    model = NgramModel.train(["a b", "c d"], order=3, weights=(0.5, 0, 0.5))

    assert ("a", "d") in grams(model.write_pages(50, words=40, seed=0), 2)


def test_same_seed_same_pages_and_another_seed_other_pages():
    model = NgramModel.train(zipf_texts(50))

    assert model.write_pages(10, words=50, seed=1) == model.write_pages(10, words=50, seed=1)
    assert model.write_pages(10, words=50, seed=1) != model.write_pages(10, words=50, seed=2)


def test_pages_have_about_the_wanted_length_and_end_with_a_sentence():
    pages = NgramModel.train(zipf_texts(100)).write_pages(200, words=120, seed=5)

    lengths = [len(page.split()) for page in pages]

    assert len(pages) == 200
    assert 110 < sum(lengths) / len(lengths) < 140
    assert min(lengths) >= 72
    assert len(set(lengths)) > 30
    assert sum(page.endswith(".") for page in pages) > 180


def test_pages_have_paragraphs_when_the_training_text_has_them():
    pages = NgramModel.train(zipf_texts(100)).write_pages(50, words=200, seed=5)

    breaks = sum(page.count("\n\n") for page in pages)

    assert breaks > 50
    assert not any(re.search(r"\n{3}|^\s|\s$| \n|\n ", page) for page in pages)


def test_a_text_that_is_one_word_gives_pages_of_that_word():
    assert set(NgramModel.train(["word"]).write_pages(1, words=5, seed=0)[0].split()) == {"word"}


def test_a_saved_model_is_read_back_and_its_bytes_depend_on_the_texts_only(tmp_path):
    texts = [*zipf_texts(30), "na\u00efve \u65e5\u672c\u8a9e words"]
    model = NgramModel.train(texts)

    model.save(tmp_path / "first")
    NgramModel.train(reversed(texts)).save(tmp_path / "second")
    loaded = NgramModel.load(tmp_path / "first")

    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert loaded.vocabulary == model.vocabulary
    assert loaded.weights == model.weights
    assert loaded.words == types(texts)
    assert loaded.write_pages(4, words=40, seed=9) == model.write_pages(4, words=40, seed=9)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 but not more"])
def test_a_file_that_is_no_model_is_refused_by_name(tmp_path, content):
    (tmp_path / "model").write_bytes(content)

    with pytest.raises(DamagedDataError, match="model is no saved n-gram model"):
        NgramModel.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("order", "weights"), [(0, ()), (2, (1.0,)), (2, (0.5, 0.6)), (2, (-0.5, 1.5)), (2, (float("nan"), 1.0))]
)
def test_weights_that_are_no_distribution_over_the_orders_are_refused(order, weights):
    with pytest.raises(UsageError, match="weights"):
        NgramModel.train(["a b"], order=order, weights=weights)


@pytest.mark.parametrize("texts", [[], [""], [" \n\n "]])
def test_texts_without_a_word_are_refused(texts):
    with pytest.raises(UsageError, match="no word"):
        NgramModel.train(texts)


@pytest.mark.parametrize(("count", "words", "sharpness"), [(0, 9, 1), (1, 0, 1), (1, 9, 0)])
def test_pages_that_cannot_be_are_refused(count, words, sharpness):
    with pytest.raises(UsageError, match="at least 1"):
        NgramModel.train(["a b"]).write_pages(count, words=words, seed=0, sharpness=sharpness)


def run_generations(human_share: float) -> list[int]:
    """Count the word types of each generation that learns from the one before it."""
    pages, fresh = 400, iter(zipf_texts(1500))
    corpus = [next(fresh) for _ in range(pages)]
    seen = [types(corpus)]
    for generation in range(4):
        kept = round(human_share * pages)
        written = NgramModel.train(corpus).write_pages(pages - kept, words=120, seed=generation)
        # The budget of words must not grow, or longer pages would hide what is lost.
        corpus = [" ".join(page.split()[:120]) for page in written] + [next(fresh) for _ in range(kept)]
        seen.append(types(corpus))
    return seen


def test_training_on_own_output_loses_words_each_generation_and_human_text_slows_it():
    alone, mixed = run_generations(0), run_generations(0.5)

    assert alone == sorted(alone, reverse=True)
    assert len(set(alone)) == len(alone)
    assert alone[-1] < 0.75 * alone[0]
    assert mixed[-1] > 1.2 * alone[-1]


def test_pages_of_given_lengths_have_exactly_so_many_words():
    model = NgramModel.train(zipf_texts(50))

    pages = model.write_lengths(np.array([1, 7, 130, 40]), seed=3, sharpness=2)

    assert [len(page.split()) for page in pages] == [1, 7, 130, 40]
    assert pages == model.write_lengths(np.array([1, 7, 130, 40]), seed=3, sharpness=2)


@pytest.mark.parametrize(("lengths", "sharpness"), [([], 1), ([3, 0], 1), ([3], 0)])
def test_lengths_that_cannot_be_are_refused(lengths, sharpness):
    with pytest.raises(UsageError, match="at least 1"):
        NgramModel.train(["a b"]).write_lengths(np.array(lengths, dtype=np.int64), seed=0, sharpness=sharpness)
