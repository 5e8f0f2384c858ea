"""What the simulations promise whatever they draw; that they agree with theory is in `science/test_theory.py`."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from collapse_guard.simulate import populations
from collapse_guard.simulate.populations import Runs

FREQUENCIES = np.array([0.5, 0.3, 0.2])
SIMULATIONS = {
    "replaced_gaussians": lambda runs: populations.replaced_gaussians(9, runs, divisor=8).variances,
    "accumulated_gaussians": lambda runs: populations.accumulated_gaussians(9, runs).means,
    "accumulated_means": partial(populations.accumulated_means, 9),
    "replaced_categories": partial(populations.replaced_categories, FREQUENCIES, 9),
    "accumulated_categories": partial(populations.accumulated_categories, FREQUENCIES, 9),
    "fresh_frequencies": partial(populations.fresh_frequencies, 0.3, 9, 0.1),
    "counted_fresh_frequencies": partial(populations.counted_fresh_frequencies, 0.3, 9, 2),
    "fresh_means": partial(populations.fresh_means, 3, 9, 0.3),
    "replayed_means": partial(populations.replayed_means, 9, 3, 4),
    "lineages": partial(populations.lineages, 2, 9),
    "replaced_regressions": partial(populations.replaced_regressions, 2, 9),
    "accumulated_regressions": partial(populations.accumulated_regressions, 2, 9),
}


@pytest.fixture(params=SIMULATIONS.values(), ids=SIMULATIONS)
def simulate(request):
    return request.param


def test_there_is_one_row_per_fit_and_one_column_per_replicate(simulate):
    assert simulate(Runs(4, 7, 1)).shape == (4, 7)


def test_the_same_seed_gives_the_same_runs_and_another_one_others(simulate):
    assert np.array_equal(simulate(Runs(4, 50, 1)), simulate(Runs(4, 50, 1)))
    assert not np.array_equal(simulate(Runs(4, 50, 1)), simulate(Runs(4, 50, 2)))


def test_replicates_are_not_copies_of_each_other(simulate):
    assert len(np.unique(simulate(Runs(3, 200, 1))[-1])) > 3


def test_more_fits_begin_with_the_same_ones(simulate):
    assert np.array_equal(simulate(Runs(6, 20, 1))[:4], simulate(Runs(4, 20, 1)))


def test_what_is_lost_by_replacing_stays_lost():
    counts = populations.lineages(1, 50, Runs(8, 500, 1))

    gone = counts == 0
    assert (gone[1:] >= gone[:-1]).all()
    assert gone[-1].mean() > gone[0].mean()


def test_a_category_alone_has_no_diversity_to_lose():
    assert not populations.replaced_categories(np.array([1.0]), 5, Runs(3, 4, 1)).any()
