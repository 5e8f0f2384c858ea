from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from small_project import pages

from collapse_guard.audit import REST, Audit, audit, worst
from collapse_guard.ingest import ingest
from collapse_guard.measure import measure_snapshot
from collapse_guard.policy import Gate, Policy, Rule
from collapse_guard.sift import sift_snapshot
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

    from collapse_guard.snapshot import Snapshot

GATES = {"human_share": Gate(low=0.1, outside="block")}
SHORT = Rule(name="too_short", signal="word_count", low=100, outside="drop")
ALL = Rule(name="everything", signal="word_count", low=1_000_000, outside="review")
NONE = Rule(name="nothing", signal="word_count", low=0, outside="drop")


def policy(*rules: Rule) -> Policy:
    return Policy(name="p", rules=rules, gates=GATES)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "guard")


def sifted(store: LocalStore, folder: Path, rules: Policy) -> Snapshot:
    """Long common pages from one site; short ones, which hold all the rare words, from another."""
    common = [
        {"text": " ".join(["the of and to in a"] * 40 + [str(n)]), "url": "https://long.example.org/"}
        for n in range(40)
    ]
    rare = [{"text": text, "url": "https://short.example.org/"} for text in pages(40, seed=3, words=60)]
    path = folder / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (*common, *rare)), encoding="utf-8")
    documents = ingest(store, "web", "d0", [str(path)])
    return sift_snapshot(store, measure_snapshot(store, documents, rules), rules)


def test_each_rule_is_counted_as_if_it_were_alone(store: LocalStore, tmp_path: Path) -> None:
    rules = policy(SHORT, ALL, NONE)

    found = audit(store, sifted(store, tmp_path, rules), rules)

    assert found.documents == 80
    assert {rule.rule: rule.documents for rule in found.rules} == {"too_short": 40, "everything": 80, "nothing": 0}


def test_a_rule_that_hits_one_site_is_shown_with_how_many_times_harder(store: LocalStore, tmp_path: Path) -> None:
    rules = policy(SHORT)

    found = audit(store, sifted(store, tmp_path, rules), rules)

    assert ("too_short", "domain", "short.example.org", 40, 40, 2.0) in list(worst(found))
    assert [group for _, _, group, *_ in worst(found)] == ["short.example.org"]


def test_a_rule_that_drops_the_rare_words_costs_more_of_the_tail_than_chance(store: LocalStore, tmp_path: Path) -> None:
    rules = policy(SHORT)

    effect = audit(store, sifted(store, tmp_path, rules), rules).rules[0].effect

    assert effect.tail is not None
    assert effect.tail_at_random is not None
    assert effect.tail < 0.2 < effect.tail_at_random
    assert effect.distinct_2 is not None
    assert effect.distinct_2_at_random is not None
    assert effect.distinct_2 < effect.distinct_2_at_random


def test_a_rule_that_drops_nothing_or_everything_has_no_effect_to_compare(store: LocalStore, tmp_path: Path) -> None:
    rules = policy(ALL, NONE)

    found = audit(store, sifted(store, tmp_path, rules), rules)

    assert {(rule.effect.tail, rule.effect.distinct_2_at_random) for rule in found.rules} == {(None, None)}


def test_groups_beyond_the_largest_are_summed_up(store: LocalStore, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    rows = [{"text": f"text number {n}", "url": f"https://site{n}.example.org/"} for n in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    rules = policy(SHORT)
    documents = ingest(store, "web", "d0", [str(path)])

    found = audit(store, sift_snapshot(store, measure_snapshot(store, documents, rules), rules), rules)

    assert sum(found.groups["domain"].values()) == 30
    assert found.groups["domain"][REST] == 18


def test_an_audit_is_made_once_and_read_back_the_same(store: LocalStore, tmp_path: Path) -> None:
    rules = policy(SHORT)
    snapshot = sifted(store, tmp_path, rules)

    first = audit(store, snapshot, rules)
    for shard in snapshot.shards:
        (tmp_path / "guard" / shard.key).chmod(0o200)

    assert audit(store, snapshot, rules) == first == Audit.from_json(json.loads(json.dumps(first.to_json())))
