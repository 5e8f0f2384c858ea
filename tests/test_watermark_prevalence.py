from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.provenance.watermark.calibration import Null
from collapse_guard.provenance.watermark.prevalence import (
    FEWEST,
    Share,
    Tally,
    share_of_documents,
    share_of_tokens,
    tally,
)
from collapse_guard.provenance.watermark.statistics import Effect, binomial_log_sf

EFFECT = Effect(0.25, 0.4330127, 0.5, 0.5)


def corpus(random, documents, truth, null_rate=0.25):
    counts = np.clip(random.lognormal(6, 0.6, documents), 120, 5_000).astype(np.int64)
    totals = random.binomial(counts, np.where(random.random(documents) < truth, 0.5, null_rate))
    return totals, counts, binomial_log_sf(totals, counts, 0.25)


@pytest.mark.parametrize("documents", [50, 1_000])
@pytest.mark.parametrize("truth", [0.0, 0.01, 0.3])
def test_intervals_hold_the_truth(documents, truth):
    random = np.random.default_rng(0)
    groups = [Tally.of(*corpus(random, documents, truth), EFFECT) for _ in range(60)]

    for shares in ([share_of_documents(each) for each in groups], [share_of_tokens(each, EFFECT) for each in groups]):
        assert np.mean([share.low <= truth <= share.high for share in shares]) >= 0.88
        assert all(share.low <= share.estimate <= share.high for share in shares)


def test_a_large_group_is_measured_closely():
    group = Tally.of(*corpus(np.random.default_rng(1), 5_000, 0.1), EFFECT)

    for share in (share_of_documents(group), share_of_tokens(group, EFFECT)):
        assert share.estimate == pytest.approx(0.1, abs=0.02)
        assert share.high - share.low < 0.03


def test_the_rate_in_human_text_is_no_prevalence():
    random = np.random.default_rng(2)
    human, counts, _ = corpus(random, 3_000, 0.0, null_rate=0.27)
    group = Tally.of(*corpus(random, 3_000, 0.0, null_rate=0.27), EFFECT)

    assert share_of_tokens(group, EFFECT).low > 0.05
    assert share_of_tokens(group, EFFECT, Null.of(human, counts)).low == 0


@given(st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_tallies_of_shards_add_up(cut):
    columns = corpus(np.random.default_rng(3), 40, 0.2)

    whole = Tally.of(*columns, EFFECT)
    parts = [Tally.of(*(column[part] for column in columns), EFFECT) for part in (slice(cut), slice(cut, None))]

    assert sum(parts, Tally()).to_json() == pytest.approx(whole.to_json())
    assert Tally.from_json(whole.to_json()) == whole


def test_groups_are_told_apart():
    totals, counts, log_p = corpus(np.random.default_rng(4), 300, 0.0)
    totals[200:], log_p[200:] = counts[200:] // 2, binomial_log_sf(counts[200:] // 2, counts[200:], 0.25)

    groups = tally(["news"] * 200 + ["blog"] * 100, totals, counts, log_p, EFFECT)

    assert {name: group.documents for name, group in groups.items()} == {"news": 200, "blog": 100}
    assert groups["blog"].to_json() == pytest.approx(
        Tally.of(totals[200:], counts[200:], log_p[200:], EFFECT).to_json()
    )
    assert share_of_documents(groups["blog"]).low > 0.9
    assert share_of_documents(groups["news"]).high < 0.03


def test_a_group_that_is_too_small_says_so():
    totals, counts, log_p = corpus(np.random.default_rng(5), FEWEST - 1, 0.5)

    assert share_of_tokens(Tally.of(totals, counts, log_p, EFFECT), EFFECT) == Share(None, 0.0, 1.0)
    assert share_of_documents(Tally()) == Share(None, 0.0, 1.0)
    assert share_of_documents(Tally.of(totals[:1], counts[:1], log_p[:1], EFFECT)).high > 0.9
