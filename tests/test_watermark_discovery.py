from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.canonical import canonical_json
from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.provenance.watermark.discovery import BINS, WIDTH, Histogram, q_values
from collapse_guard.provenance.watermark.statistics import sidak

BIN = 10**WIDTH
LOGS = st.lists(st.floats(-400, 0), min_size=1, max_size=60).map(np.array)


def benjamini_hochberg(log_p):
    """q-values from sorted p-values, without bins."""
    order = np.argsort(log_p)
    raw = log_p[order] + math.log(log_p.size) - np.log(np.arange(1, log_p.size + 1))
    q = np.minimum.accumulate(raw[::-1])[::-1]
    return np.exp(np.minimum(q, 0))[np.argsort(order)]


@given(LOGS)
@settings(max_examples=100, deadline=None)
def test_q_values_are_too_large_by_a_bin_at_most_and_never_too_small(log_p):
    exact = benjamini_hochberg(np.maximum(log_p, -100 * math.log(10)))

    q = q_values(log_p, Histogram.of(log_p))

    assert (q >= exact * (1 - 1e-9)).all()
    assert (q <= exact * BIN * (1 + 1e-9)).all()


@given(LOGS, st.integers(0, 60))
@settings(max_examples=50, deadline=None)
def test_histograms_of_shards_add_up_to_the_same_bytes(log_p, cut):
    whole = Histogram.of(log_p)
    parts = Histogram.of(log_p[cut:]) + Histogram.of(log_p[:cut])

    assert canonical_json(parts.to_json()) == canonical_json(whole.to_json())
    assert Histogram.from_json(whole.to_json()) == whole


@given(LOGS, st.sampled_from([0.01, 0.1, 0.5]))
@settings(max_examples=50, deadline=None)
def test_the_threshold_and_the_q_values_agree(log_p, q):
    histogram = Histogram.of(log_p)

    threshold = histogram.threshold(q)

    below = log_p <= threshold + 1e-12
    clear = np.abs(log_p - threshold) > 1e-9
    assert ((q_values(log_p, histogram) <= q) == below)[clear].all()


def test_smaller_p_values_have_no_greater_q_values():
    log_p = -np.random.default_rng(0).exponential(5, 500)

    q = q_values(np.sort(log_p), Histogram.of(log_p))

    assert (np.diff(q) >= 0).all()


def test_a_document_that_was_not_tested_has_no_q_value_and_is_not_counted():
    log_p = np.array([-20.0, np.nan])

    assert Histogram.of(log_p).documents == 1
    assert np.isnan(q_values(log_p, Histogram.of(log_p))).tolist() == [False, True]


def test_documents_that_the_histogram_does_not_count_are_refused():
    with pytest.raises(UsageError, match="does not count"):
        q_values([-50.0], Histogram.of([-1.0]))


def test_a_logarithm_above_zero_is_refused():
    with pytest.raises(UsageError, match="above 0"):
        Histogram.of([0.5])


def test_an_empty_corpus_has_no_discoveries():
    assert Histogram().threshold(0.01) == -math.inf
    assert q_values([], Histogram()).size == 0


def test_an_impossible_score_is_in_the_last_bin():
    assert Histogram.of([-math.inf]).counts[BINS] == 1
    assert q_values([-math.inf], Histogram.of([-math.inf]))[0] == pytest.approx(1e-100)


def test_dependent_documents_need_more():
    log_p = np.full(100, -10.0)
    histogram = Histogram.of(log_p)

    harmonic = sum(1 / k for k in range(1, 101))
    assert q_values(log_p, histogram, dependent=True) == pytest.approx(q_values(log_p, histogram) * harmonic, rel=1e-4)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"width": WIDTH, "counts": [1]},
        {"width": WIDTH, "counts": {"a": 1}},
        {"width": WIDTH, "counts": {"-1": 1}},
        {"width": WIDTH, "counts": {str(BINS + 1): 1}},
        {"width": WIDTH, "counts": {"3": -1}},
        {"width": 0.5, "counts": {"3": 1}},
    ],
)
def test_a_damaged_histogram_is_refused(value):
    with pytest.raises(DamagedDataError, match="scan again"):
        Histogram.from_json(value)


def test_human_corpora_give_no_discoveries_and_marked_ones_few_false_ones():
    random, quiet, false, found = np.random.default_rng(0), 0, 0, 0
    for _ in range(40):
        log_p = sidak(np.log(random.random((20, 5_000))).min(axis=0), 20)
        quiet += not (q_values(log_p, Histogram.of(log_p)) <= 0.01).any()
        log_p[:50] = -30.0
        flagged = q_values(log_p, Histogram.of(log_p)) <= 0.01
        false, found = false + flagged[50:].sum(), found + flagged.sum()

    assert quiet >= 38
    assert false / found <= 0.02
