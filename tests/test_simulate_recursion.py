from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import UsageError
from collapse_guard.simulate.recursion import Dials, Workflow, cut_pages, recurse


def human_pages(count: int, words: int = 60) -> list[str]:
    """Pages of a made-up language with a long tail, in which a word depends on the one before it."""
    random = np.random.default_rng(7)
    ranks = np.minimum(random.zipf(1.4, (count, words)), 5_000)
    return [" ".join(f"w{rank}-{before % 7}" for rank, before in zip(row, [0, *row], strict=False)) for row in ranks]


PAGES = human_pages(400)
SMALL = Dials(pages=40)


def run(dials=SMALL, workflow=Workflow.REPLACE, human_share=0.0, rounds=3, seed=1):
    return list(recurse(PAGES, dials, workflow=workflow, human_share=human_share, rounds=rounds, seed=seed))


def types(texts):
    return {word for text in texts for word in text.split()}


def trigrams(texts):
    return {
        gram for text in texts for words in [text.split()] for gram in zip(words, words[1:], words[2:], strict=False)
    }


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(Workflow), st.floats(0, 1), st.integers(0, 3), st.integers(0, 2**32))
def test_every_page_is_human_or_was_written_and_counts_add_up(workflow, human_share, rounds, seed):
    fresh = round(human_share * 12)

    found = run(Dials(pages=12), workflow, human_share, rounds, seed)

    assert [generation.number for generation in found] == list(range(rounds + 1))
    written = {text for generation in found for text in generation.written}
    for generation in found:
        wanted = 12 * (generation.number + 1) if workflow is Workflow.ACCUMULATE else 12
        assert len(generation.pages) == wanted
        assert len(generation.written) == (12 - fresh if generation.number else 0)
        assert all(page.text in PAGES if page.human else page.text in written for page in generation.pages)


def test_generation_0_is_human_alone():
    first = run()[0]

    assert first.human_share == 1
    assert set(first.texts) <= set(PAGES)
    assert first.written == ()


def test_replacing_keeps_nothing_of_the_generation_before():
    found = run()

    assert all(set(later.texts) == set(later.written) for later in found[1:])
    assert found[-1].human_share == 0


def test_accumulating_keeps_every_page_and_loses_no_word():
    found = run(workflow=Workflow.ACCUMULATE)

    for before, after in pairwise(found):
        assert set(before.pages) <= set(after.pages)
        assert types(before.texts) <= types(after.texts)
    assert found[-1].human_share == pytest.approx(1 / 4)


def test_a_subsample_is_drawn_from_the_pool_that_accumulating_keeps():
    found = run(workflow=Workflow.ACCUMULATE_SUBSAMPLE)

    pool = set(found[0].texts)
    for generation in found:
        pool |= set(generation.written)
        assert set(generation.texts) <= pool
    assert 0 < found[-1].human_share < 0.7


def test_no_human_page_is_used_twice():
    found = run(human_share=0.5, rounds=5)

    fresh = [page.text for generation in found for page in generation.pages if page.human]

    assert len(fresh) == 40 + 5 * 20 == len(set(fresh))


def test_the_share_is_of_tokens():
    found = run(human_share=0.25, rounds=1)[1]

    assert found.human_share == pytest.approx(0.25)


def test_written_pages_are_as_long_as_human_ones():
    pages = [" ".join(page.split()[: 20 + number % 30]) for number, page in enumerate(PAGES)]
    way = recurse(pages, Dials(pages=200), workflow=Workflow.REPLACE, human_share=0, rounds=1, seed=2)

    human, written = ([len(text.split()) for text in generation.texts] for generation in way)

    assert set(written) <= set(human)
    assert np.mean(written) == pytest.approx(np.mean(human), rel=0.05)


def test_the_order_of_a_corpus_is_by_chance():
    pages = run(human_share=0.5, rounds=1)[1].pages

    assert 5 <= sum(page.human for page in pages[:20]) <= 15


def test_same_seed_same_generations_and_another_seed_others():
    assert [one.pages for one in run(seed=3)] == [one.pages for one in run(seed=3)]
    assert all(a.pages != b.pages for a, b in zip(run(seed=3), run(seed=4), strict=True))


def test_more_rounds_begin_with_the_same_generations():
    assert [one.pages for one in run(rounds=4)[:3]] == [one.pages for one in run(rounds=2)]


def test_generations_come_one_by_one():
    way = recurse(PAGES, SMALL, workflow=Workflow.REPLACE, human_share=0, rounds=10**9, seed=1)

    assert [generation.number for generation in islice(way, 3)] == [0, 1, 2]


def words_left(dials):
    found = run(dials, rounds=4)
    return len(types(found[-1].texts)) / len(types(found[0].texts))


def test_fewer_pages_lose_more_words():
    assert words_left(Dials(pages=5)) < words_left(Dials(pages=20)) < words_left(Dials(pages=400))


def test_sharper_writing_loses_more_words():
    left = [words_left(Dials(pages=100, sharpness=sharpness)) for sharpness in (1, 2, 4)]

    assert left == sorted(left, reverse=True)
    assert left[2] < left[0] / 2


def test_a_shorter_memory_and_weights_on_it_write_more_that_nobody_wrote():
    def novel(order, weights):
        found = run(Dials(pages=200, order=order, weights=weights), rounds=1)
        written = trigrams(found[1].texts)
        return len(written - trigrams(found[0].texts)) / len(written)

    shares = [novel(3, (0.0, 0.0, 1.0)), novel(3, (0.1, 0.3, 0.6)), novel(2, (0.0, 1.0)), novel(1, (1.0,))]

    assert shares == sorted(shares)
    assert shares[0] < 0.1  # where one text ends and the next one begins
    assert shares[3] > shares[2] + 0.1


def test_human_pages_alone_need_no_model():
    found = run(human_share=1)

    assert [generation.written for generation in found] == [()] * 4
    assert found[-1].human_share == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"human_share": -0.1},
        {"human_share": 1.1},
        {"human_share": float("nan")},
        {"rounds": -1},
        {"dials": Dials(pages=0)},
        {"dials": Dials(sharpness=0)},
    ],
)
def test_numbers_that_are_no_simulation_are_refused(wrong):
    with pytest.raises(UsageError, match="no simulation"):
        run(**wrong)


def test_dials_that_fit_no_model_are_refused_before_the_first_generation():
    with pytest.raises(UsageError, match="weights"):
        recurse(PAGES, Dials(pages=4, order=2), workflow=Workflow.REPLACE, human_share=0, rounds=1, seed=0)


def test_too_few_human_pages_are_refused_with_the_number_that_is_missing():
    with pytest.raises(UsageError, match=r"700 human pages are needed.* there are 400: give 300 more"):
        run(Dials(pages=200), human_share=0.5, rounds=5)


def test_a_page_without_a_word_is_refused():
    with pytest.raises(UsageError, match="without a word"):
        recurse(["a b", " \n"], Dials(pages=1), workflow=Workflow.REPLACE, human_share=0, rounds=1, seed=0)


def test_texts_are_cut_into_pages_of_equal_length():
    assert list(cut_pages(["a b\n\nc d e", "f", "g h"], 2)) == ["a b", "c d", "g h"]
