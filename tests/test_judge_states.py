from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from judging import finding, findings

from collapse_guard.judge.states import (
    DRIFT_JSD,
    DRIFTING,
    NEEDED,
    collapse_state,
    decide_state,
    drifts,
    lost_families,
    severity,
)
from collapse_guard.metrics import FAMILIES, METRICS

if TYPE_CHECKING:
    from collapse_guard.judge.findings import Finding

CERTAIN, BLUNT = 0.005, 0.2
MIXED = {"missing_mass": 0.45, "rare_coverage": 0.6}
"""Half of the novelty and a fifth of the tail are gone."""
KIND = {"word_jsd": 0.08}

CASES = [
    ({}, "OK"),
    ({"rare_coverage": 1.3, "distinct_2": 1.2}, "OK"),  # richer than people is not collapse
    ({"rare_coverage": 0.85}, "OK"),  # one family may be a matter of taste
    ({"rare_coverage": 0.85, "rare_bigram_coverage": 0.8}, "OK"),  # two metrics of one family are one family
    ({"distinct_2": 0.85, "distinct_3": 0.85, "missing_mass": 0.8}, "OK"),
    ({"self_bleu": 1.5}, "OK"),
    ({"rare_coverage": 0.85, "distinct_2": 0.85}, "EARLY"),
    ({"rare_coverage": 0.85, "self_bleu": 1.5}, "EARLY"),
    ({"repeated_4grams": 2.0, "rare_bigram_coverage": 0.8}, "EARLY"),
    ({"heldout_perplexity": 1.2}, "EARLY"),  # people became harder to predict: enough alone
    ({"heldout_perplexity": 0.8}, "OK"),
    ({"rare_coverage": 0.91, "distinct_2": 0.91}, "OK"),  # certain, but small
    ({"rare_coverage": 0.4}, "EARLY"),  # tail loss is what early collapse means
    ({"rare_coverage": 0.4, "distinct_2": 0.8}, "EARLY"),  # the tail is gone, the core is not
    ({"rare_coverage": 0.4, "distinct_2": 0.4}, "LATE"),
    ({"rare_coverage": 0.4, "vendi": 0.8}, "LATE"),
    ({"rare_coverage": 0.4, "feature_variance": 0.8}, "LATE"),
    ({"rare_coverage": 0.4, "entropy_2": 0.8}, "LATE"),
    ({"vendi": 0.5, "feature_variance": 0.5}, "OK"),  # one topic, with all its tail
    ({"heldout_perplexity": 2.2}, "LATE"),
    (MIXED, "LATE"),
    ({**MIXED, "rare_coverage": 0.85}, "EARLY"),  # single domains of human text are as poor as that in one of the two
    ({**MIXED, "missing_mass": 0.6}, "EARLY"),
    (KIND, "COMPOSITION_DRIFT"),
    ({"psi_domain": 0.5}, "COMPOSITION_DRIFT"),
    ({"psi_language": 0.2}, "COMPOSITION_DRIFT"),
    ({"psi_source": 9.0, "psi_length": 9.0, "jsd_source": 0.9, "jsd_length": 0.9}, "OK"),  # names, and what is matched
    ({"word_jsd": DRIFT_JSD - 0.018}, "OK"),
    ({**KIND, "rare_coverage": 0.72, "missing_mass": 0.75, "distinct_2": 0.85}, "COMPOSITION_DRIFT"),  # a human domain
    ({**KIND, "rare_coverage": 0.4, "vendi": 0.5}, "COMPOSITION_DRIFT"),
    ({**KIND, "heldout_perplexity": 2.5}, "COMPOSITION_DRIFT"),
    ({**KIND, **MIXED}, "LATE"),  # novelty halved: no composition does that
    ({"psi_domain": 2.0, **MIXED}, "LATE"),
]


@pytest.mark.parametrize(
    ("moved", "state"), CASES, ids=[", ".join(f"{k} {v}" for k, v in moved.items()) for moved, _ in CASES]
)
def test_the_state_follows_from_what_families_of_metrics_lost(moved: dict[str, float], state: str) -> None:
    found, reasons = decide_state(findings(CERTAIN, **moved))

    assert found == state
    assert reasons
    if state != "OK":
        assert any(name in reason for name in moved for reason in reasons)


@pytest.mark.parametrize("moved", [moved for moved, state in CASES if state == "COMPOSITION_DRIFT"])
def test_drift_is_told_by_the_composition_alone(moved: dict[str, float]) -> None:
    assert {finding.metric for finding in drifts(findings(CERTAIN, **moved))} == set(moved) & set(DRIFTING)


@pytest.mark.parametrize("missing", NEEDED)
@pytest.mark.parametrize("rest", [{}, KIND, MIXED])
def test_what_was_not_measured_is_inconclusive_and_named(missing: str, rest: dict[str, float]) -> None:
    found = findings(CERTAIN, **rest)
    del found[missing]

    state, reasons = decide_state(found)

    assert state == "INCONCLUSIVE"
    assert missing in reasons[0]


def test_nothing_measured_is_inconclusive_and_names_all_that_is_needed() -> None:
    state, reasons = decide_state({})

    assert state == "INCONCLUSIVE"
    assert all(name in reasons[0] for name in NEEDED)


def unsure(**blunt: float) -> dict[str, Finding]:
    """Human text, of which some metrics are measured badly."""
    return {**findings(CERTAIN), **{name: finding(name, effect, BLUNT) for name, effect in blunt.items()}}


def certain(**moved: float) -> dict[str, Finding]:
    return {name: finding(name, effect, CERTAIN) for name, effect in moved.items()}


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (unsure(heldout_perplexity=1.9), "INCONCLUSIVE"),
        (unsure(missing_mass=0.4, rare_coverage=0.5), "INCONCLUSIVE"),  # unknown and unknown
        (unsure(missing_mass=0.4), "OK"),  # unknown and false is false
        ({**unsure(missing_mass=0.4), **certain(rare_coverage=0.6)}, "INCONCLUSIVE"),
        ({**unsure(rare_coverage=0.4), **certain(vendi=0.5)}, "INCONCLUSIVE"),
        ({**unsure(vendi=0.8), **certain(rare_coverage=0.4)}, "INCONCLUSIVE"),
        (unsure(vendi=0.8), "OK"),
        # unknown or true is true
        ({**unsure(heldout_perplexity=1.9), **certain(rare_coverage=0.4, vendi=0.5)}, "LATE"),
        ({**unsure(missing_mass=0.4), **certain(rare_coverage=0.4, vendi=0.5)}, "LATE"),
        ({**unsure(word_jsd=0.05), **certain(rare_coverage=0.4, vendi=0.5)}, "LATE"),  # a drift that is not certain
        ({**unsure(missing_mass=0.4, rare_coverage=0.5), **certain(word_jsd=0.08)}, "COMPOSITION_DRIFT"),
    ],
)
def test_what_is_uncertain_is_decided_only_where_the_answer_does_not_depend_on_it(
    found: dict[str, Finding], state: str
) -> None:
    assert decide_state(found)[0] == state


def truth(name: str, value: bool | None, below: float) -> dict[str, Finding]:
    """A finding that is below a bound, is not, or could be."""
    effect = {True: below - 0.15, False: below + 0.15, None: below - 0.01}[value]
    return {name: finding(name, effect, 0.02)}


def test_late_collapse_follows_kleenes_logic() -> None:
    values = (True, False, None)
    for mass, tail, core in itertools.product(values, repeat=3):
        # The tail's bounds differ: below 0.5 is below 0.8 as well.
        found = {
            **findings(0.02),
            **truth("missing_mass", mass, 0.5),
            **truth("rare_coverage", tail, 0.5),
            **truth("vendi", core, 0.9),
        }
        fifth = found["rare_coverage"].below(0.80)
        expected = {any_of(all_of(mass, fifth), all_of(tail, core))}

        assert {collapse_state(found)[0]} & {"LATE", "INCONCLUSIVE"} == {
            {True: "LATE", None: "INCONCLUSIVE"}[one] for one in expected if one is not False
        }


def all_of(a: bool | None, b: bool | None) -> bool | None:
    """Strong Kleene conjunction: the least of the two, unknown lying in the middle."""
    return {0: False, 1: None, 2: True}[min(ORDER[a], ORDER[b])]


def any_of(a: bool | None, b: bool | None) -> bool | None:
    return {0: False, 1: None, 2: True}[max(ORDER[a], ORDER[b])]


ORDER = {False: 0, None: 1, True: 2}


def test_an_effect_without_evidence_is_no_loss() -> None:
    blunt = findings(0.07, rare_coverage=0.85, distinct_2=0.85, heldout_perplexity=1.2)

    assert decide_state(blunt)[0] == "OK"
    assert lost_families(blunt) == {}


def test_evidence_without_an_effect_is_no_loss() -> None:
    assert lost_families(findings(0.0005, rare_coverage=0.95, distinct_2=0.95, heldout_perplexity=1.05)) == {}


def test_lost_families_name_the_metrics_that_show_it() -> None:
    lost = lost_families(findings(CERTAIN, rare_coverage=0.8, distinct_2=0.95, distinct_3=0.8, self_bleu=1.5))

    assert lost == {"tail": ["rare_coverage"], "novelty": ["distinct_3"], "homogeneity": ["self_bleu"]}


def test_severity_grows_with_the_loss_and_is_0_for_human_text() -> None:
    loss = [severity(findings(CERTAIN, rare_coverage=left, self_bleu=2 - left)) for left in (1, 0.8, 0.5, 0.1, 0)]

    assert loss[0] == 0
    assert loss == sorted(loss)
    assert len(set(loss)) == len(loss), "nothing left is worse than little left"
    assert severity({}) == 0


def test_every_metric_that_decides_exists_and_is_of_a_family_that_counts() -> None:
    assert all(METRICS[name].family == "composition" for name in DRIFTING)
    assert all(METRICS[name].family in FAMILIES for name in NEEDED)
