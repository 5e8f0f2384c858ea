from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.kernels.watermark.segments import segments
from collapse_guard.provenance.watermark.keys import complete
from collapse_guard.provenance.watermark.spans import locate, log_ratios

KEYS = {
    "kgw": complete({"scheme": "kgw_simple_1", "key": 1, "vocab_size": 32_000}),
    "gumbel": complete({"scheme": "gumbel_philox", "key": 1}),
    "dual": complete({"scheme": "gumbel_philox_dual", "key": 1}),
    "synthid": complete({"scheme": "synthid_iv", "keys": list(range(1, 31))}),
}


def drawn(random, name, count, *, marked=False):
    if name == "kgw":
        return (random.random(count) < (0.5 if marked else 0.25)).astype(np.uint8)
    if name == "synthid":
        return random.binomial(30, 0.55 if marked else 0.5, count).astype(np.uint8)
    chosen = np.where(random.random(count) < 0.5, -np.log1p(-random.beta(4, 1, count)), random.exponential(size=count))
    values = chosen if marked else random.exponential(size=count)
    return values if name == "gumbel" else 0.9 * values + 0.1 * random.exponential(size=count)


def overlap(span, start, stop):
    both = max(0, min(span.stop, stop) - max(span.start, start))
    return both / (span.stop - span.start + stop - start - both)


@pytest.mark.parametrize("name", KEYS)
def test_a_marked_passage_is_found_where_it_is(name):
    random, overlaps = np.random.default_rng(0), []
    for _ in range(100):
        values, start = drawn(random, name, 2_200), int(random.integers(0, 2_000))
        values[start : start + 200] = drawn(random, name, 200, marked=True)
        overlaps.append(max((overlap(span, start, start + 200) for span in locate(values, KEYS[name])), default=0))

    assert np.mean(overlaps) >= 0.7
    assert np.mean(np.array(overlaps) >= 0.7) >= 0.85


@pytest.mark.parametrize("name", KEYS)
def test_unmarked_text_has_no_spans(name):
    random = np.random.default_rng(1)

    assert sum(bool(locate(drawn(random, name, 1_000), KEYS[name], alpha=0.05)) for _ in range(200)) <= 10


@pytest.mark.parametrize("name", KEYS)
def test_an_unmarked_token_has_an_expected_ratio_of_one(name):
    ratios = log_ratios(drawn(np.random.default_rng(2), name, 200_000), KEYS[name])

    assert np.exp(ratios).mean() == pytest.approx(1, abs=0.02)


def test_two_passages_are_two_spans():
    random = np.random.default_rng(3)
    values = drawn(random, "kgw", 3_000)
    for start in (500, 1_500):
        values[start : start + 300] = drawn(random, "kgw", 300, marked=True)

    assert [round(span.start, -2) for span in locate(values, KEYS["kgw"])] == [500, 1_500]


def test_a_document_that_is_marked_throughout_is_one_span():
    (span,) = locate(drawn(np.random.default_rng(4), "synthid", 5_000, marked=True), KEYS["synthid"])

    assert span.start < 50
    assert span.stop > 4_950
    assert span.log_p < -100


def test_tokens_that_are_not_scored_count_for_nothing():
    values = np.full(400, 255, np.uint8)
    values[100:300:2] = 1

    (span,) = locate(values, KEYS["kgw"])

    assert (span.start, span.stop, span.tokens) == (100, 299, 100)
    assert span.log_p == pytest.approx(math.log(100) - span.score)


@pytest.mark.parametrize("values", [np.zeros(0, np.uint8), np.full(9, 255, np.uint8), np.full(9, np.nan)])
def test_nothing_scored_has_no_spans(values):
    assert locate(values, KEYS["gumbel"]) == []


@given(st.lists(st.integers(-3, 3) | st.just(None), max_size=25), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_segments_are_apart_and_there_where_a_sum_reaches_the_least(scores, least):
    numbers = np.array([math.nan if score is None else score for score in scores], np.float64)
    bounds, sums = np.empty(2 * numbers.size, np.int64), np.empty(numbers.size)

    found = segments(numbers, float(least), bounds, sums)

    filled = np.nan_to_num(numbers)
    pairs = bounds[: 2 * found].reshape(-1, 2).tolist()
    everything = [filled[i:j].sum() for i in range(numbers.size) for j in range(i + 1, numbers.size + 1)]
    assert [filled[start:stop].sum() for start, stop in pairs] == sums[:found].tolist()
    assert all(total >= least for total in sums[:found])
    assert sorted(bounds[: 2 * found].tolist()) == bounds[: 2 * found].tolist()
    assert bool(found) == (max(everything, default=0) >= least)
