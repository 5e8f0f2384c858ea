"""What a mix counts, and by what it tells documents apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
from builders import admitted, document, numbered, policy
from mixing import ids, mixed, rows_of

from collapse_guard.errors import GateClosed, PolicyError
from collapse_guard.policy import ShareBound, Stratum
from collapse_guard.reservoir import HUMAN
from collapse_guard.store import LocalStore

PEOPLE = numbered("h", [7, 11, 13, 17, 19, 23, 29, 31] * 12)
PAGES = numbered("p", [5, 10, 15, 20, 25, 30] * 8)
ORIGINS = ["synthetic", "edited", "unknown", "human_presumed"] * 12


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "guard")


@pytest.fixture
def reservoir(tmp_path):
    return admitted(LocalStore(tmp_path / "reservoir"), PEOPLE)


def taken_of(rows, stratum):
    return [row for row in rows if row["stratum"] == stratum]


@pytest.mark.parametrize(
    ("by", "size_of"),
    [
        ("tokens", lambda row: row["tokens"]),
        ("documents", lambda _: 1),
        ("bytes", lambda row: len(row["text"].encode())),
    ],
)
def test_a_share_is_of_what_the_policy_counts(store, reservoir, by, size_of):
    candidate = mixed(store, reservoir, PAGES, policy(human_share=0.4, by=by))

    rows = rows_of(store, candidate)
    human, total = (sum(map(size_of, part)) for part in (taken_of(rows, HUMAN), rows))
    largest = max(map(size_of, taken_of(rows, HUMAN)))
    assert Fraction(human, total) >= Fraction(2, 5) > Fraction(human - largest, total - largest)
    assert candidate.details["shares"][HUMAN] == pytest.approx(human / total)


def test_a_size_in_documents_is_met(store, reservoir):
    candidate = mixed(store, reservoir, PAGES, policy(human_share=0.5, by="documents", size=20))

    assert candidate.ledger.kept == candidate.details["planned_size"] == 20


def test_edited_text_counts_as_synthetic_and_what_is_beyond_its_share_says_so(store, reservoir):
    rules = policy(human_share=0.4, shares={"synthetic": ShareBound(high=0.1)})

    candidate = mixed(store, reservoir, PAGES, rules, origins=ORIGINS)

    offered = rows_of(store, candidate, "selection")
    by_origin = Counter()
    for row in rows_of(store, candidate):
        by_origin[row["origin"]] += row["tokens"]
    made_up = by_origin["synthetic"] + by_origin["edited"]
    assert 0 < made_up <= 0.1 * candidate.details["planned_size"]
    refused = [row for row in offered if row["rule"] == "over_share"]
    assert refused
    assert {row["origin"] for row in refused} <= {"synthetic", "edited"}
    assert candidate.ledger.dropped["over_share"] == len(refused)


def test_a_floor_is_met_from_the_reservoir_first_and_then_from_the_pool(store, tmp_path):
    people = [*PEOPLE, *(document(f"g{n}", 10, domain="rare.example") for n in range(8))]
    people_of_it = admitted(LocalStore(tmp_path / "r"), people)
    pages = [*PAGES, *(document(f"s{n}", 10, domain="rare.example") for n in range(8))]
    plain = policy(human_share=0.3, tokens=600)
    rules = policy(human_share=0.3, tokens=600, strata={"domain": {"rare.example": Stratum(floor=0.2)}})

    def rare_tokens(wanted):
        rows = rows_of(store, mixed(store, people_of_it, pages, wanted))
        found = [row for row in rows if row["domain"] == "rare.example"]
        return sum(row["tokens"] for row in found), {row["id"] for row in found}

    tokens, names = rare_tokens(rules)

    in_reservoir = {name for rows in people_of_it.index(HUMAN) for name in rows["id"].to_pylist() if name[0] == "g"}
    assert rare_tokens(plain)[0] < 120 <= tokens < 120 + 20
    assert names > in_reservoir


def test_floors_by_licence_are_met_by_the_reservoir_alone(store, reservoir):
    """What a scraped page says about its licence is a claim."""
    rules = policy(human_share=0.3, strata={"licence": {"CC0-1.0": Stratum(floor=0.3)}})
    unmet = policy(human_share=0.3, strata={"licence": {"CC0-1.0": Stratum(floor=0.5)}})

    assert mixed(store, reservoir, PAGES, rules).details["shares"][HUMAN] >= 0.3
    with pytest.raises(GateClosed, match="only the reservoir has"):
        mixed(store, reservoir, PAGES, unmet)


def test_heavier_origins_come_first_and_equal_weights_change_nothing(store, reservoir):
    def taken(**weights):
        rules = policy(human_share=0.3, tokens=250, weights=weights, seed=4)
        return ids(rows_of(store, mixed(store, reservoir, PAGES, rules, origins=ORIGINS)))

    heavy = taken(human_presumed=1000.0, unknown=0.001, synthetic=0.001, edited=0.001)

    pool = {name for name in heavy if name.startswith("p")}
    assert {ORIGINS[int(name[1:])] for name in pool} == {"human_presumed"}
    assert taken(human_presumed=2.0, unknown=2.0, synthetic=2.0, edited=2.0) == taken()


def test_weights_do_not_move_documents_within_the_mix(store, reservoir):
    rules = policy(human_share=0.3, weights={"unknown": 3.0})

    weighted, plain = (rows_of(store, mixed(store, reservoir, PAGES, r)) for r in (rules, policy(human_share=0.3)))

    assert [row["id"] for row in weighted] == [row["id"] for row in plain]


def tombstones(tmp_path, content):
    (tmp_path / "gone.csv").write_text(content)
    wanted = policy(human_share=0.3, tombstones="gone.csv")
    return replace(wanted, folder=tmp_path)


def test_a_document_under_a_tombstone_is_never_mixed_and_says_why(store, reservoir, tmp_path):
    rules = tombstones(tmp_path, "id,reason\np3,takedown\np5,licence\n")

    candidate = mixed(store, reservoir, PAGES, rules)

    assert not {"p3", "p5"} & ids(rows_of(store, candidate))
    assert candidate.ledger.dropped == {
        "tombstone:takedown": 1, "tombstone:licence": 1, "over_budget": candidate.ledger.dropped["over_budget"]
    }  # fmt: skip


@pytest.mark.parametrize("content", ["name,reason\np3,takedown\n", "id,reason\np3,\n"])
def test_a_tombstone_without_id_or_reason_is_refused_with_its_line(store, reservoir, tmp_path, content):
    with pytest.raises(PolicyError, match="line 2: a tombstone needs `id` and `reason`"):
        mixed(store, reservoir, PAGES, tombstones(tmp_path, content))


def test_tombstones_that_changed_since_the_policy_was_read_are_refused(store, reservoir, tmp_path):
    rules = tombstones(tmp_path, "id,reason\np3,takedown\n")
    rules = replace(rules, mix=replace(rules.mix, tombstones_sha256="0" * 64))

    with pytest.raises(PolicyError, match="it changed since the policy was read"):
        mixed(store, reservoir, PAGES, rules)
