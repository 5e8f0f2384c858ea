from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import digamma

from collapse_guard.errors import UsageError
from collapse_guard.simulate.closed_forms import (
    BEST_WEIGHT,
    accumulated_mean_error,
    accumulated_regression_bound,
    accumulated_regression_error,
    accumulated_variance,
    accumulated_variance_limit,
    counted_fresh_variance,
    effective_share,
    fresh_variance,
    human_share_table,
    least_human_share,
    lost_at_once,
    lost_by_replacing,
    replaced_log_variance,
    replaced_mean_error,
    replaced_regression_error,
    replaced_variance,
    replayed_inflation,
    value_of_repeats,
    variance_inflation,
    weighted_variance,
)

SIZES = st.integers(2, 10_000)
SHARES = st.floats(0.001, 1)


def test_the_numbers_that_were_published_or_measured_before_come_out():
    assert replaced_variance(20, 50, 20) == pytest.approx(0.0769, abs=5e-5)
    assert accumulated_variance(10, 101) == pytest.approx(0.844, abs=5e-4)
    assert accumulated_variance_limit(10) == pytest.approx(0.8434, abs=5e-5)
    assert accumulated_mean_error(10, 100) == pytest.approx(0.1635, abs=5e-5)
    assert fresh_variance(0.3, 50, 0.1, 10_000) == pytest.approx(0.02037, abs=5e-6)
    assert accumulated_regression_bound(5, 60) == pytest.approx(0.152, abs=5e-4)
    assert accumulated_regression_error(5, 60, 6) == pytest.approx(0.135, abs=5e-4)


def test_words_written_once_are_lost_as_a_critical_branching_process_dies_out():
    lost = [round(lost_by_replacing(1, fits), 4) for fits in range(9)]

    assert lost == [0, 0.3679, 0.5315, 0.6259, 0.6879, 0.7319, 0.7648, 0.7905, 0.8110]


@given(st.integers(1, 20), st.integers(0, 30))
def test_lines_of_descent_die_out_independently(count, fits):
    assert lost_by_replacing(count, fits) == pytest.approx(lost_by_replacing(1, fits) ** count)


@given(st.integers(1, 10_000))
def test_a_type_of_one_in_n_is_lost_at_once_as_a_word_written_once_is(size):
    assert lost_at_once(1 / size, size) <= lost_by_replacing(1, 1)
    assert lost_at_once(1 / size, size) == pytest.approx(lost_by_replacing(1, 1), abs=0.5 / size)


@given(st.integers(2, 500), st.integers(0, 100))
def test_the_logarithm_of_the_variance_is_that_of_a_chi_squared_sample(size, fits):
    expected = fits * (digamma((size - 1) / 2) - math.log(size / 2))

    assert replaced_log_variance(size, fits, size) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(SIZES, st.integers(1, 50))
def test_variance_and_error_of_the_mean_add_up_to_what_was_there(size, fits):
    assert replaced_mean_error(size, fits, size) == pytest.approx(1 - replaced_variance(size, fits, size))


@given(SIZES, st.integers(1, 50))
def test_an_unbiased_variance_stays_in_the_mean_and_falls_in_the_logarithm(size, fits):
    assert replaced_variance(size, fits, size - 1) == 1
    assert replaced_mean_error(size, fits, size - 1) == pytest.approx(fits / size)
    assert replaced_log_variance(size, fits, size - 1) < 0


@given(st.integers(2, 1_000))
def test_an_accumulated_pool_tends_to_its_limits(size):
    assert accumulated_variance(size, 20_000) == pytest.approx(accumulated_variance_limit(size), abs=1e-4)
    assert accumulated_mean_error(size, 20_000) * size == pytest.approx(math.pi**2 / 6, abs=1e-4)
    assert accumulated_mean_error(size, 20_000) * size < math.pi**2 / 6
    assert 1 - accumulated_variance_limit(size) < math.pi**2 / 6 / size


def test_of_large_samples_an_accumulated_pool_loses_pi_squared_by_six_times_one_generation():
    size = 10**6

    assert (1 - accumulated_variance_limit(size)) * size == pytest.approx(math.pi**2 / 6, rel=1e-5)


@given(st.floats(0.01, 0.99), SIZES, st.floats(0, 1), st.integers(1, 200))
def test_fresh_human_samples_by_count_vary_no_more_than_by_chance(p, size, share, fits):
    by_count, by_chance = counted_fresh_variance(p, size, share, fits), fresh_variance(p, size, share, fits)

    assert by_count <= by_chance * (1 + 1e-9)


@given(st.floats(0.01, 0.99), SIZES, st.integers(1, 50))
def test_without_fresh_samples_a_frequency_drifts_and_with_nothing_else_it_does_not(p, size, fits):
    lost = p * (1 - p) * (1 - replaced_variance(size, fits, size))

    assert fresh_variance(p, size, 0, fits) == pytest.approx(lost, rel=1e-6)
    assert fresh_variance(p, size, 1, fits) == pytest.approx(p * (1 - p) / size)


def test_the_table_of_human_shares_is_the_published_one():
    published = {0.01: 50.3, 0.05: 10.3, 0.1: 5.26, 0.2: 2.78, 0.293: 2.0, 0.382: 1.62, 0.5: 1.33, 0.667: 1.125}

    found = {round(row.human_share, 3): row.variance_inflation for row in human_share_table()}

    assert found == pytest.approx(published, rel=5e-3)


@given(SHARES)
def test_a_share_that_is_needed_gives_the_effective_share_that_was_asked_for(share):
    assert least_human_share(effective_share(share)) == pytest.approx(share)


@given(st.floats(0.05, 0.95))
def test_fresh_variance_of_large_samples_is_inflated_as_the_table_says(share):
    size = 10**7

    assert fresh_variance(0.5, size, share, 2_000) * 4 * size == pytest.approx(variance_inflation(share), rel=1e-4)


@given(SHARES, st.integers(1, 10_000), st.integers(1, 10_000))
def test_a_reservoir_that_is_replayed_adds_what_never_averages_out(share, size, unique):
    inflation = replayed_inflation(share, size, unique)

    assert inflation >= size / unique
    assert inflation <= size / unique + variance_inflation(share)


def test_accumulating_bounds_the_risk_of_regression_and_replacing_does_not():
    first = replaced_regression_error(5, 60, 1)

    assert replaced_regression_error(5, 60, 1_000) == pytest.approx(1_000 * first)
    assert accumulated_regression_error(5, 60, 1) == first
    assert accumulated_regression_error(5, 60, 1_000) < accumulated_regression_bound(5, 60)


@pytest.mark.parametrize("form", [replaced_regression_error, accumulated_regression_error])
def test_a_regression_of_too_few_samples_is_refused(form):
    with pytest.raises(UsageError, match="at least 7"):
        form(5, 6, 1)


@given(st.floats(0.01, 1), st.integers(1, 1_000))
def test_the_golden_ratio_is_the_best_weight_of_as_many_human_as_synthetic_samples(weight, size):
    best = weighted_variance(BEST_WEIGHT, size, size)

    assert best == pytest.approx(BEST_WEIGHT / size)
    assert weighted_variance(weight, size, size) >= best * (1 - 1e-12)


def test_a_few_repeats_are_worth_nearly_as_much_as_fresh_text_and_many_are_not():
    assert value_of_repeats(100, 1) == 100
    assert 360 < value_of_repeats(100, 4) < 400
    assert value_of_repeats(100, 1_000) == pytest.approx(100 * 16.4)
