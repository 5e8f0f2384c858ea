"""Closed forms of recursive training, reproduced within 3 standard errors by simulation and by recorded runs.

The seed was chosen once and never changed for its outcome. With m comparisons of true formulas, at least one is beyond
3 standard errors by chance in at most 0.27 % x m of seeds, 15 % for the 54 here: each test states its own number.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from collapse_guard.simulate.closed_forms import accumulated_variance_limit, lost_by_replacing
from collapse_guard.simulate.recursion import Dials, Workflow, recurse
from collapse_guard.simulate.theory import (
    WORST_Z,
    Comparison,
    chance_of_a_miss,
    compare_language,
    compare_recorded,
    compare_simulated,
)

SEED = 1
RECORDED = Path(__file__).parents[2].parent / "shared/data/collapse/gaussian_fitting_runs_histories.parquet"


def assert_all_agree(comparisons: list[Comparison]) -> None:
    misses = [f"{c.form}, {c.setting}: {c.z:+.2f}" for c in comparisons if abs(c.z) > WORST_Z]
    assert not misses, (
        f"{len(comparisons)} comparisons, one misses by chance in {chance_of_a_miss(len(comparisons)):.0%}"
    )
    # Errors that were too large would hide everything: over true formulas the mean of z squared is near 1.
    assert 0.3 < sum(c.z**2 for c in comparisons) / len(comparisons) < 2


def test_every_closed_form_is_reproduced_within_three_standard_errors(long):
    comparisons = list(compare_simulated(40_000 if long else 4_000, SEED))

    assert len(comparisons) == 54
    assert_all_agree(comparisons)


def test_words_written_once_die_out_of_unigram_models_as_lineages_do(long):
    comparisons = list(compare_language(200 if long else 20, SEED))

    assert len(comparisons) == 4
    assert all(abs(c.z) <= WORST_Z for c in comparisons), comparisons


def test_an_accumulated_corpus_of_unigram_models_loses_no_word():
    human = [f"the {number}" for number in range(50)]
    way = recurse(
        human,
        Dials(order=1, weights=(1.0,), pages=50),
        workflow=Workflow.ACCUMULATE,
        human_share=0,
        rounds=8,
        seed=SEED,
    )

    words = [len(set(" ".join(generation.texts).split())) for generation in way]

    assert words == [51] * 9
    assert lost_by_replacing(1, 8) > 0.8


@pytest.mark.shared
def test_recorded_runs_of_gaussians_agree_with_the_closed_forms():
    if not RECORDED.exists():
        pytest.skip("../shared/data/collapse is not there: it lies beside a checkout")
    comparisons = list(compare_recorded(pq.read_table(RECORDED)))

    assert len(comparisons) == 58
    misses = [f"{c.form}, {c.setting}: {c.z:+.2f}" for c in comparisons if abs(c.z) > WORST_Z]
    assert not misses, f"by chance in {chance_of_a_miss(58):.0%}"


@pytest.mark.shared
def test_recorded_variance_falls_without_end_when_replaced_and_levels_off_when_accumulated():
    if not RECORDED.exists():
        pytest.skip("../shared/data/collapse is not there: it lies beside a checkout")
    found = {(c.form, c.setting): c.simulated for c in compare_recorded(pq.read_table(RECORDED))}

    for size in (10, 32, 100, 316):
        logs = [found["recorded replace: log variance", f"n={size}, {fits} fits"] for fits in (1, 10, 100)]
        left = found["recorded accumulate: variance", f"n={size}, 100 fits"]
        assert logs == sorted(logs, reverse=True)
        assert logs[2] < 5 * logs[1] < 0
        assert left == pytest.approx(accumulated_variance_limit(size), abs=0.05)
