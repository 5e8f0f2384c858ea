"""What every metric promises: a bad sample gives a number or null, and a collapsed one moves it as stated here."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import pytest
from judging import pages, reference, sample

from collapse_guard.document import HUMAN_VERIFIED, UNKNOWN
from collapse_guard.metrics import COMPOSITION, FAMILIES, METRICS, Metric, Reference, Sample, compute

EVERY = pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
VALUES = [f"v{i}" for i in range(4)]
NOT_IN_ONE_SAMPLE = ("decline", "lost_types")
"""These need the generations before, or the first state of the reservoir."""
NEVER_NULL = tuple(name for name in METRICS if name not in NOT_IN_ONE_SAMPLE)

FALLS = (
    *("human_share", "rare_coverage", "rare_bigram_coverage", "domain_coverage", "distinct_1", "distinct_2"),
    *("distinct_3", "missing_mass", "entropy_1", "entropy_2", "simpson", "feature_variance", "generalised_variance"),
    *("vendi", "rke", "compression", "reverse_perplexity"),
)
RISES = ("repeated_4grams", "self_bleu", "heldout_perplexity", "heldout_bits_per_byte", *COMPOSITION)


def labelled(texts: list[str], values: list[str], words: int | None = None) -> Sample:
    column = [values[i % len(values)] for i in range(len(texts))]
    found = sample([" ".join(text.split()[:words]) for text in texts], domain=column, language=column, source=column)
    return dataclasses.replace(found, origin_tokens={HUMAN_VERIFIED: 50 * len(values), UNKNOWN: 50})


@cache
def human() -> Sample:
    return labelled(pages(240, 1), VALUES)


@cache
def collapsed() -> Sample:
    """Three pages of the most frequent words, shorter than people's, again and again."""
    frequent = {f"w{i}" for i in range(100)}
    texts = [" ".join(word for word in text.split() if word in frequent) for text in pages(3, 2, words=200)]
    return labelled(texts * 80, VALUES[:1], 60)


@cache
def people() -> Reference:
    return Reference(sample(pages(300, 3)), sample(pages(20, 4)), labelled(pages(240, 5), VALUES))


BAD = {
    "nothing": [],
    "one document": pages(1, 0),
    "one word": ["word"],
    "two words": ["two words"],
    "all identical": pages(1, 0) * 300,
    "one word again and again": ["word " * 50] * 300,
    "all empty": [""] * 300,
    "all null": [None] * 300,
    "white space": [" \n\t"] * 300,
    "one word each": [f"w{i}" for i in range(300)],
    "one giant document": [" ".join(pages(400, 0))],
    "nearly all empty": [*[""] * 299, *pages(1, 0)],
    "no letters": ["1 2 3 ... ?!"] * 300,
    "odd characters": ["\x00 \ufeff \ud7ff \U0010ffff"] * 300,
}


def neither_number_nor_null(ours: Sample, theirs: Reference) -> dict[str, float]:
    found = {name: metric.value(ours, theirs) for name, metric in METRICS.items()}
    return {name: value for name, value in found.items() if value is not None and not math.isfinite(value)}


@pytest.mark.parametrize("texts", BAD.values(), ids=list(BAD))
def test_a_bad_sample_gives_numbers_or_null(texts: list[str | None]) -> None:
    assert neither_number_nor_null(sample(texts), people()) == {}


@pytest.mark.parametrize("texts", BAD.values(), ids=list(BAD))
def test_a_bad_reservoir_gives_numbers_or_null(texts: list[str]) -> None:
    assert neither_number_nor_null(human(), reference(texts, texts)) == {}


@EVERY
def test_human_text_is_measured_and_always_alike(metric: Metric) -> None:
    found = metric.value(human(), people())

    assert (found is not None) is (metric.kind in NEVER_NULL)
    assert found == metric.value(labelled(pages(240, 1), VALUES), people())


@EVERY
def test_a_collapsed_sample_moves_a_metric_as_stated(metric: Metric) -> None:
    before, after = (metric.value(one, people()) for one in (human(), collapsed()))

    if metric.kind in NOT_IN_ONE_SAMPLE:
        assert before is after is None
        return
    assert before is not None
    assert after is not None
    assert (metric.kind in FALLS) != (metric.kind in RISES), "say in this file which way it moves"
    assert after < before if metric.kind in FALLS else after > before


@EVERY
def test_a_metric_is_declared_with_a_sentence_a_unit_a_source_and_a_version(metric: Metric) -> None:
    assert metric.summary.endswith(".")
    assert len(metric.summary.split()) > 4
    assert metric.unit
    assert metric.source
    assert metric.version >= 1
    assert metric.family in {*FAMILIES, "whole", "composition"}
    assert metric.scale == ("difference" if metric.family == "composition" else "ratio")
    with pytest.raises(dataclasses.FrozenInstanceError):
        metric.kind = "other"  # type: ignore[misc]


def test_all_metrics_together_say_what_each_says_alone() -> None:
    found = compute(collapsed(), people())

    assert list(found) == list(METRICS)
    assert found == {name: metric.value(collapsed(), people()) for name, metric in METRICS.items()}
