from __future__ import annotations

import pyarrow as pa
import pytest

from collapse_guard.simulate.theory import Comparison, chance_of_a_miss, compare_recorded, compare_simulated


def recorded(workflow: str, size: int, fits: int, values: list[float]) -> list[dict[str, object]]:
    return [
        {
            "run_id": f"{workflow}-{number}",
            "Setting": workflow,
            "Num. Samples per Iteration": size,
            "Model-Fitting Iteration": fits,
            "Trace of Fit Cov / Trace of Init Cov (Numerical)": value,
            "Squared Error of Fit Mean (Numerical)": 1 - value,
        }
        for number, value in enumerate(values)
    ]


def test_z_is_the_difference_in_standard_errors():
    assert Comparison("a", "b", formula=2.0, simulated=1.0, error=0.5, replicates=9).z == -2


def test_the_chance_of_a_miss_grows_with_the_number_of_comparisons_and_is_never_above_one():
    assert chance_of_a_miss(1) == pytest.approx(0.0027, abs=5e-5)
    assert chance_of_a_miss(50) == pytest.approx(50 * chance_of_a_miss(1))
    assert chance_of_a_miss(10**6) == 1


def test_standard_errors_shrink_with_the_root_of_the_replicates():
    few, many = ({(c.form, c.setting): c for c in compare_simulated(count, 5)} for count in (250, 1_000))

    ratios = [few[key].error / many[key].error for key in few]

    assert few.keys() <= many.keys()
    assert sum(ratios) / len(ratios) == pytest.approx(2, rel=0.2)


def test_rows_that_were_recorded_twice_count_once():
    rows = recorded("Accumulate", 10, 1, [0.8, 0.9, 1.0])

    variance, error = compare_recorded(pa.Table.from_pylist([*rows, *rows]))

    assert (variance.replicates, error.replicates) == (3, 3)
    assert variance.formula == pytest.approx(0.9)
    assert variance.simulated == pytest.approx(0.9)
    assert variance.error == pytest.approx(0.1 / 3**0.5)


def test_a_mean_that_few_runs_cannot_show_is_compared_by_its_logarithm_alone():
    forms = [c.form for c in compare_recorded(pa.Table.from_pylist(recorded("Replace", 10, 100, [1e-12] * 20)))]

    assert [form.split(": ")[1] for form in forms] == ["log variance", "squared error of the mean"]
