from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import pages, reference, sample
from scipy.spatial.distance import jensenshannon

from collapse_guard.metrics.composition import (
    FLOOR,
    comparable,
    jensen_shannon,
    label_divergence,
    label_psi,
    psi,
    word_divergence,
)

QUICK = settings(max_examples=100, deadline=None)
WEIGHTS = st.lists(st.integers(0, 1_000), min_size=2, max_size=12).filter(any)
TEXTS = pages(40, 0)
HUMAN = reference(TEXTS, TEXTS[:3], domain="law")


def shares(weights: list[int], size: int) -> np.ndarray:
    padded = np.array([*weights, *[0] * (size - len(weights))], np.float64)
    return padded / padded.sum()


def named(values: np.ndarray) -> dict[str, float]:
    return {f"v{i}": share for i, share in enumerate(values.tolist()) if share}


@QUICK
@given(WEIGHTS, WEIGHTS)
def test_the_jensen_shannon_divergence_is_that_of_scipy_squared_in_bits(a: list[int], b: list[int]) -> None:
    p, q = (shares(weights, max(len(a), len(b))) for weights in (a, b))
    found = jensen_shannon(p, q)

    assert found == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-9)
    assert -1e-12 <= found <= 1 + 1e-12
    assert found == pytest.approx(jensen_shannon(q, p), abs=1e-12)


@QUICK
@given(WEIGHTS, WEIGHTS)
def test_the_stability_index_is_finite_and_0_for_the_same_shares(a: list[int], b: list[int]) -> None:
    p, q = (named(shares(weights, max(len(a), len(b)))) for weights in (a, b))

    assert psi(p, p) == 0
    assert 0 <= psi(p, q) < 2 * math.log(1 / FLOOR)


def test_the_stability_index_by_hand() -> None:
    assert psi({"a": 0.6, "b": 0.4}, {"a": 0.5, "b": 0.5}) == pytest.approx(0.1 * math.log(1.2) - 0.1 * math.log(0.8))
    assert psi({"a": 1.0}, {"b": 1.0}) == pytest.approx(2 * (1 - FLOOR) * math.log(1 / FLOOR))


def test_rare_values_that_a_sample_lacks_are_no_shift_but_a_new_common_one_is() -> None:
    languages = {"en": 0.92, **{f"l{n}": 0.008 for n in range(10)}}

    assert psi({"en": 0.94, "l0": 0.06}, languages) < 0.01
    assert psi({"en": 0.64, "xx": 0.30, "l0": 0.06}, languages) > 0.1


@pytest.mark.parametrize(
    ("labels", "compares"),
    [
        ({"domain": "law"}, True),
        ({}, False),
        ({"domain": "forum"}, False),  # a label of another scheme says nothing
        ({"domain": ["law"] * 20 + [None] * 20}, True),
        ({"domain": ["law"] * 19 + [None] * 21}, False),
        ({"domain": ["law"] * 30 + ["forum"] * 10}, True),
        ({"domain": "law", "stratum": "human"}, False),  # what the mix itself took from the reservoir proves nothing
        ({"domain": ["law"] * 20 + [None] * 20, "stratum": ["human"] * 20 + ["scraped"] * 20}, False),
        ({"domain": ["law"] * 40, "stratum": ["human"] * 20 + ["scraped"] * 20}, True),
    ],
)
def test_labels_compare_where_half_of_the_words_from_outside_have_a_label_of_the_reservoir(
    labels: dict[str, str | list[str | None]], compares: bool
) -> None:
    ours = sample(TEXTS, **labels)

    assert comparable(ours, HUMAN, "domain") is compares
    for measure in (label_psi, label_divergence):
        found = measure(ours, HUMAN, "domain")
        assert (found is not None) is compares
        assert found is None or found >= 0


def test_labels_do_not_compare_where_the_reservoir_has_none() -> None:
    assert not comparable(sample(TEXTS, domain="law"), reference(TEXTS, TEXTS[:3]), "domain")


def test_a_label_that_is_missing_here_is_no_value() -> None:
    ours = sample(TEXTS, domain=["law"] * 30 + [None] * 10)

    assert label_psi(ours, HUMAN, "domain") == 0
    assert label_divergence(ours, HUMAN, "domain") == 0


def test_other_domains_beside_those_of_the_reservoir_are_seen() -> None:
    ours = sample(TEXTS, domain=["law"] * 30 + ["forum"] * 10)

    assert label_psi(ours, HUMAN, "domain") == pytest.approx(psi({"law": 0.75, "forum": 0.25}, {"law": 1.0}))
    assert label_divergence(ours, HUMAN, "domain") == pytest.approx(jensenshannon([0.75, 0.25], [1, 0], base=2) ** 2)


def test_common_words_differ_between_kinds_of_text_and_hardly_between_pages_of_one() -> None:
    same, other = (word_divergence(sample(texts), HUMAN) for texts in (pages(40, 1), pages(40, 1, kind="x")))

    assert same is not None
    assert same < 0.05
    assert other == pytest.approx(1, abs=1e-9) or (other is not None and other > 0.3)


def test_the_divergence_of_common_words_is_0_for_the_same_text_and_none_for_no_text() -> None:
    assert word_divergence(sample(TEXTS), HUMAN) == pytest.approx(0, abs=1e-12)
    assert word_divergence(sample(["", None]), HUMAN) is None
    assert word_divergence(sample(TEXTS), reference([""], TEXTS)) is None


def test_lengths_always_compare() -> None:
    short = sample([" ".join(text.split()[:20]) for text in TEXTS])

    assert label_psi(short, HUMAN, "length") == pytest.approx(2 * (1 - FLOOR) * math.log(1 / FLOOR))
    assert label_divergence(short, HUMAN, "length") == pytest.approx(1)
    assert label_psi(sample([""]), HUMAN, "length") is None
