from __future__ import annotations

import math
from dataclasses import replace

import pytest

from collapse_guard.judge import Finding, GateResult, Judgement
from collapse_guard.report.judged import (
    bound,
    compared_with,
    evidence,
    finding_rows,
    gate_numbers,
    gate_rows,
    gate_trend,
    human_band,
    interval,
    number,
    state_trend,
)

FINDING = Finding("rare_coverage", "tail", 0.4, 0.5, 0.01, 0.8, 0.75, 0.85, -10.0, 0.01, 43.0)
DRIFT = Finding("word_jsd", "composition", 0.05, 0.01, 0.001, 0.04, 0.037, 0.043, 40.0, 0.01, 0.0)
GATE = GateResult(
    name="tail",
    metric="rare_coverage",
    value=0.8,
    low=0.75,
    high=None,
    passed=False,
    outside="block",
    relative=True,
    measured=0.4,
    baseline=0.5,
    outcome="undecided",
    interval=(0.75, 0.85),
    words_to_decide=123_456,
)
SHARE = GateResult(
    name="human",
    metric="human_share",
    value=0.2,
    low=0.3,
    high=None,
    passed=False,
    outside="warn",
    relative=False,
    measured=0.2,
    baseline=None,
    outcome="outside",
    interval=(0.2, 0.2),
)
AGAINST = {"words": 60_000, "documents": 480, "words_per_document": 128, "strata": {"by": "domain", "twentieths": {}}}
JUDGEMENT = Judgement(
    "d", "p", "EARLY", ("first", "second"), (GATE, SHARE), None, {}, {}, 60_000, (FINDING, DRIFT), AGAINST
)


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "-"), (0.0, "0"), (0.123456, "0.1235"), (-0.5, "-0.5"), (12345.6, "12,346"), (1e-7, "1e-07")],
)
def test_a_number_has_four_digits_and_no_more_than_people_read(value: float | None, said: str) -> None:
    assert number(value) == said


def test_what_is_known_exactly_has_no_interval() -> None:
    assert interval(None) == interval((0.2, 0.2)) == "-"
    assert interval((0.75, 0.85)) == "0.75 to 0.85"


def test_odds_are_words_and_end_at_a_million() -> None:
    assert [evidence(math.log(odds)) for odds in (0.5, 1, 120, 1e7)] == [
        "none",
        "none",
        "120 to 1",
        "> 1,000,000 to 1",
    ]


def test_a_bound_says_what_it_is_relative_to() -> None:
    assert bound(GATE) == "at least 0.75 x human text"
    assert bound(SHARE) == "at least 0.3"
    assert bound(replace(SHARE, high=0.6)) == "at least 0.3 and at most 0.6"
    assert bound(replace(GATE, metric="word_jsd", low=None, high=0.02)) == "at most 0.02 above human text"


def test_a_row_of_a_finding_says_effect_interval_and_evidence() -> None:
    assert finding_rows(JUDGEMENT) == [
        ("tail", "rare_coverage", "0.4", "0.5", "0.8 x", "0.75 to 0.85", "> 1,000,000 to 1"),
        ("composition", "word_jsd", "0.05", "0.01", "+0.04", "0.037 to 0.043", "none"),
    ]


def test_a_row_of_a_gate_says_the_outcome_in_words_what_would_decide_and_what_follows() -> None:
    assert gate_rows(JUDGEMENT) == [
        (
            "tail",
            "0.8",
            "0.75 to 0.85",
            "at least 0.75 x human text",
            "too close to tell; 123,456 words would tell (blocks)",
        ),
        ("human", "0.2", "-", "at least 0.3", "OUTSIDE the bound (warns)"),
    ]


def test_the_band_of_human_text_holds_95_of_100_draws() -> None:
    assert human_band(10.0, 1.0) == pytest.approx((8.04, 11.96), abs=1e-3)


def test_the_numbers_of_a_gate_leave_out_what_is_not_known() -> None:
    told = gate_numbers(JUDGEMENT, GATE)

    assert told["observed"] == 0.8
    assert told["measured"] == 0.4
    assert (told["baseline_low"], told["baseline_high"]) == human_band(0.5, 0.01)
    assert "high" not in told
    assert gate_numbers(JUDGEMENT, SHARE).keys() == {
        "observed",
        "interval_low",
        "interval_high",
        "low",
        "measured",
        "outcome",
    }


def test_the_trend_of_a_gate_names_the_newest_ten_generations() -> None:
    history = [{**JUDGEMENT.to_json(), "dump": f"d{day:02d}"} for day in range(12)]

    rows = gate_trend(history, "tail")

    assert [row[0] for row in rows] == [f"d{day:02d}" for day in range(2, 12)]
    assert rows[-1] == ("d11", "0.8", "0.75 to 0.85", "0.5", "too close to tell")
    assert gate_trend(history, "another") == []
    assert state_trend(history)[-1] == ("d11", "EARLY", "first; second")


def test_what_a_corpus_was_compared_with_is_one_sentence() -> None:
    assert compared_with(JUDGEMENT) == (
        "compared with human text at 60,000 words of 480 documents, at most 128 words of each, domains as in the corpus"
    )
    assert compared_with(replace(JUDGEMENT, against={})) == ""
