from __future__ import annotations

import dataclasses
import math

import pytest
from judging import pages, reference, sample

from collapse_guard.document import HUMAN_VERIFIED, UNKNOWN
from collapse_guard.metrics import COMPOSITION, FAMILIES, METRICS, SELF_BLEU_DOCUMENTS, Metric, compute

HELDOUT = pages(10, 99)


def test_rare_coverage_is_the_share_of_the_rare_words_that_occur() -> None:
    human = reference(["a a b b c c d d", "once", "common " * 6], HELDOUT)

    assert compute(sample(["a a c x once common"]), human)["rare_coverage"] == 0.5


def test_rare_bigram_coverage_is_the_share_of_bigrams_that_people_used_twice() -> None:
    human = reference(["a b", "a b", "c d", "c d", "e f"], HELDOUT)

    assert compute(sample(["x a b", "c e d"]), human)["rare_bigram_coverage"] == 0.5


def test_domain_coverage_is_the_share_of_human_domains_that_occur() -> None:
    domains = ["law", "blog", "code", "news"]
    human = reference(pages(4, 0), HELDOUT)
    human = dataclasses.replace(human, plain=sample(pages(4, 0), domain=domains))

    assert compute(sample(pages(4, 1), domain=["law", "blog", "law", None]), human)["domain_coverage"] == 0.5
    assert compute(sample(pages(4, 1), domain="other"), human)["domain_coverage"] is None
    assert (
        compute(sample(pages(4, 1), domain="law"), reference(pages(4, 0), HELDOUT, domain="law"))["domain_coverage"]
        is None
    ), "one domain has no tail"


def test_human_share_counts_tokens_of_verified_documents_only() -> None:
    tokens = {HUMAN_VERIFIED: 30, UNKNOWN: 60, "human_presumed": 10}
    found = dataclasses.replace(sample(["one"]), origin_tokens=tokens)

    assert compute(found, reference(["one"], HELDOUT))["human_share"] == 0.3
    assert compute(sample(["one"]), reference(["one"], HELDOUT))["human_share"] is None


def test_distinct_words_are_those_expected_in_half_of_the_sample() -> None:
    human = reference(["a"], HELDOUT)

    assert compute(sample(["a b c d"]), human)["distinct_1"] == 1
    assert compute(sample(["a a a a"]), human)["distinct_1"] == 0.5
    assert compute(sample(["a a b b"]), human)["distinct_1"] == pytest.approx((1 * 2 / 6 + 2 * 4 / 6) / 2)


def test_missing_mass_is_the_share_of_bigrams_that_occur_once() -> None:
    assert compute(sample(["a b a b c"]), reference(["a"], HELDOUT))["missing_mass"] == 2 / 4


def test_repeated_4grams_are_those_of_more_than_one_document() -> None:
    human = reference(["a"], HELDOUT)

    assert compute(sample(["a b c d a b c d"]), human)["repeated_4grams"] == 0
    assert compute(sample(["a b c d x", "a b c d y"]), human)["repeated_4grams"] == 0.5


def test_self_bleu_is_that_of_the_first_documents_or_of_none() -> None:
    texts, human = pages(SELF_BLEU_DOCUMENTS + 20, 0), reference(["a"], HELDOUT)
    taken = sample(texts)
    first = dataclasses.replace(taken, tokens=taken.tokens.first(int(taken.tokens.offsets[SELF_BLEU_DOCUMENTS])))

    assert compute(taken, human, ["self_bleu"]) == compute(first, human, ["self_bleu"])
    assert compute(sample(texts[: SELF_BLEU_DOCUMENTS - 1]), human, ["self_bleu"]) == {"self_bleu": None}


def test_bits_per_byte_and_perplexity_say_the_same_in_two_units() -> None:
    human = reference(pages(20, 0), HELDOUT)
    found = compute(sample(pages(20, 1)), human)

    size = sum(len(text.encode()) for text in HELDOUT) / sum(len(text.split()) for text in HELDOUT)
    assert found["heldout_bits_per_byte"] == pytest.approx(math.log2(found["heldout_perplexity"] or 0) / size)


def test_an_empty_corpus_measures_nothing() -> None:
    assert set(compute(sample([]), reference([""], [""])).values()) == {None}


def test_what_is_not_finite_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (math.nan, math.inf, -math.inf):
        odd = dataclasses.replace(METRICS["distinct_1"], value=lambda _, __, value=value: value)
        monkeypatch.setitem(METRICS, "distinct_1", odd)  # type: ignore[arg-type]
        assert compute(sample(["a b"]), reference(["a"], HELDOUT), ["distinct_1"]) == {"distinct_1": None}


def test_text_that_repeats_itself_is_less_distinct_and_covers_less() -> None:
    human = reference(pages(60, 3), pages(10, 2))
    rich, poor = (compute(sample(texts), human) for texts in (pages(40, 1), pages(4, 1) * 10))

    assert poor["distinct_2"] < 0.25 * rich["distinct_2"]
    assert poor["rare_coverage"] < rich["rare_coverage"]
    assert poor["heldout_perplexity"] > rich["heldout_perplexity"]


def test_families_hold_all_metrics_but_those_of_the_whole_and_of_composition() -> None:
    def of(*families: str) -> set[str]:
        return {name for name, metric in METRICS.items() if metric.family in families}

    assert all(of(family) for family in FAMILIES)
    assert of(*FAMILIES) | of("whole") | set(COMPOSITION) == set(METRICS)
    assert of("whole") == {"human_share", "decline", "lost_types"}
    assert set(METRICS) == {metric.kind for metric in METRICS.values()}
    assert all(isinstance(metric, Metric) for metric in METRICS.values())
