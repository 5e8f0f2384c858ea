from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import blurred, scene

from collapse_guard.errors import SignalError
from collapse_guard.images.features import features_of
from collapse_guard.metrics.images import (
    LEAST,
    METRICS,
    SAMPLE,
    coverage,
    density,
    frechet,
    image_metrics,
    moments,
    sample,
    variance,
)

SIDE = (128, 128)
PICTURES = 240


def normal(seed: int, count: int, width: int = 6, shift: float = 0, scale: float = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (count, width))


@pytest.fixture(scope="module")
def human() -> np.ndarray:
    """Features of scenes that are as varied as they come."""
    return np.stack([features_of(np.asarray(scene(seed, SIDE))) for seed in range(2 * PICTURES)])


# Each metric by itself


def slow_inside(features: np.ndarray, reference: np.ndarray, k: int) -> np.ndarray:
    radii = [np.sort(np.linalg.norm(reference - point, axis=1))[k] for point in reference]
    return np.array([np.linalg.norm(features - x, axis=1) <= r + 1e-9 for x, r in zip(reference, radii, strict=True)])


@pytest.mark.parametrize("k", [1, 5])
def test_coverage_and_density_are_those_of_their_definition(k):
    ours, theirs = normal(0, 60, shift=0.5), normal(1, 80)
    inside = slow_inside(ours, theirs, k)
    assert coverage(ours, theirs, k) == pytest.approx(inside.any(axis=1).mean())
    assert density(ours, theirs, k) == pytest.approx(inside.sum() / (k * len(ours)))


def test_two_draws_of_one_distribution_have_the_expected_coverage_and_density():
    found = [(coverage(a, b), density(a, b)) for a, b in ((normal(s, 500), normal(s + 100, 500)) for s in range(8))]
    covered, dense = np.mean(found, axis=0)
    assert covered == pytest.approx(1 - 2**-5, abs=0.01)
    assert dense == pytest.approx(1, abs=0.05)


def test_a_reference_of_copies_is_covered_by_these_copies_and_by_nothing_else():
    copies = np.ones((20, 3)) / 3
    assert coverage(copies[:1], copies) == 1
    assert coverage(copies[:1] + 1e-3, copies) == 0


@pytest.mark.parametrize(("ours", "theirs"), [(0, 10), (10, 5)])
def test_coverage_of_too_few_points_is_refused(ours, theirs):
    with pytest.raises(SignalError, match="more than k = 5"):
        coverage(normal(0, ours), normal(1, theirs))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(30, 60))
def test_the_frechet_distance_is_that_of_scipy(seed, width, count):
    a, b = moments(normal(seed, count, width)), moments(normal(seed + 1, 50, width, shift=0.3, scale=2))
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance + 0j).real
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet(a, b) == pytest.approx(expected, abs=1e-5)
    assert frechet(b, a) == pytest.approx(frechet(a, b), abs=1e-6)


def test_the_frechet_distance_of_two_lines_is_known():
    a, b = moments(np.array([[-1.0], [1.0]])), moments(np.array([[2.0], [8.0]]))
    assert frechet(a, b) == pytest.approx(5**2 + (3 - 1) ** 2)
    assert frechet(a, a) == pytest.approx(0, abs=1e-12)


def test_the_variance_is_the_trace_and_the_log_determinant_of_the_covariance():
    rows = normal(3, 400, 5)
    found = variance(moments(rows))
    covariance = np.cov(rows.T, bias=True)
    assert found.trace == pytest.approx(np.trace(covariance))
    assert found.log_det == pytest.approx(np.linalg.slogdet(covariance + 0.01 * np.eye(5))[1] / 5)


# The sample


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 30))
def test_a_sample_depends_on_no_order(seed, size):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 3, (30, 2)).astype(float)
    assert (sample(rows, size) == sample(rng.permutation(rows), size)).all()


def test_copies_are_sampled_as_often_as_others():
    rows = np.repeat(normal(0, 10), 1000, axis=0)
    found, counts = np.unique(sample(rows, 1000), axis=0, return_counts=True)
    assert len(found) == 10
    assert counts.min() > 60
    assert counts.max() < 140


# All together, over pictures


def test_two_sets_of_one_kind_of_picture_differ_little(human):
    found = image_metrics(human[:PICTURES], human[PICTURES:])
    assert found["image_coverage"] > 0.9
    assert 0.85 < found["image_density"] < 1.15
    assert found["image_frechet"] < 0.25
    assert 0.9 < found["image_variance"] < 1.1
    assert abs(found["image_log_det"]) < 0.1


def test_few_modes_are_seen_by_every_metric_of_spread(human):
    modes = np.stack([features_of(np.asarray(scene(seed % 8, SIDE))) for seed in range(16)])
    collapsed = np.tile(modes, (PICTURES // 16, 1))
    found, same = image_metrics(collapsed, human[PICTURES:]), image_metrics(human[:PICTURES], human[PICTURES:])
    assert found["image_coverage"] < 0.5 < same["image_coverage"]
    assert found["image_frechet"] > 2 * same["image_frechet"]
    assert found["image_log_det"] < same["image_log_det"] - 1


def test_blur_is_seen_though_the_scenes_are_as_many_as_before(human):
    made = np.stack([features_of(np.asarray(blurred(scene(seed, SIDE)))) for seed in range(PICTURES)])
    found, same = image_metrics(made, human[PICTURES:]), image_metrics(human[:PICTURES], human[PICTURES:])
    assert found["image_coverage"] < 0.7 * same["image_coverage"]
    assert found["image_frechet"] > 2 * same["image_frechet"]


def test_the_more_of_a_set_is_of_few_modes_the_further_every_metric_moves(human):
    reference = human[PICTURES:]
    steps = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        few = int(share * PICTURES)
        steps.append(image_metrics(np.concatenate([human[few:PICTURES], np.tile(human[:8], (30, 1))[:few]]), reference))
    covered, far, volume = (
        [step[name] for step in steps] for name in ("image_coverage", "image_frechet", "image_log_det")
    )
    assert covered == sorted(covered, reverse=True)
    assert far == sorted(far)
    assert volume == sorted(volume, reverse=True)


def test_the_result_depends_on_no_order_to_the_bit(human):
    mixed = np.random.default_rng(0).permutation(human[:PICTURES])
    assert image_metrics(mixed, human[PICTURES:]) == image_metrics(human[:PICTURES], human[PICTURES:][::-1])


def test_sizes_beyond_the_sample_count_for_nothing():
    ours = normal(0, 3 * SAMPLE, 8).astype(np.float32)
    assert image_metrics(ours, ours)["image_coverage"] == 1
    assert image_metrics(ours, ours)["image_frechet"] == pytest.approx(0, abs=1e-6)


# Bad input


@pytest.mark.parametrize(("ours", "theirs"), [(0, 100), (LEAST - 1, 100), (100, LEAST - 1)])
def test_too_few_images_measure_nothing(ours, theirs):
    assert image_metrics(normal(0, ours), normal(1, theirs)) == dict.fromkeys(METRICS)


def test_all_images_the_same_are_measured_and_far_from_human(human):
    found = image_metrics(np.tile(human[:1], (100, 1)), human)
    assert found["image_variance"] == pytest.approx(0, abs=1e-9)
    assert found["image_coverage"] < 0.1
    assert all(np.isfinite(value) for value in found.values())


def test_a_reference_without_any_variety_gives_no_variance():
    found = image_metrics(normal(0, 100), np.ones((100, 6)))
    assert found["image_variance"] is None
    assert found["image_coverage"] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(bad):
    rows = normal(0, 100)
    rows[7, 2] = bad
    with pytest.raises(SignalError, match="NaN or infinity in row 7"):
        image_metrics(rows, normal(1, 100))
    with pytest.raises(SignalError, match="reference have NaN or infinity in row 7"):
        image_metrics(normal(1, 100), rows)


def test_features_of_two_embedders_are_refused():
    with pytest.raises(SignalError, match="use one embedder"):
        image_metrics(normal(0, 100, 6), normal(1, 100, 7))
    with pytest.raises(SignalError, match="one row of numbers per image"):
        image_metrics(np.zeros(100), normal(1, 100))
