from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from builders import admitted, numbered, policy
from mixing import mixed, rows_of, sifted

from collapse_guard import sift as module
from collapse_guard.errors import GateClosed
from collapse_guard.mix import mix
from collapse_guard.snapshot import log
from collapse_guard.store import LocalStore

PEOPLE = numbered("h", [20] * 60)
PAGES = numbered("p", [10] * 40)
FIRST, SECOND, THIRD = "2026-01", "2026-02", "2026-03"
RULES = policy(human_share=0.3)


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "guard")


@pytest.fixture
def reservoir(tmp_path):
    return admitted(LocalStore(tmp_path / "reservoir"), PEOPLE)


def test_the_pool_of_a_generation_holds_that_of_the_one_before(store, reservoir):
    first = mixed(store, reservoir, PAGES[:20], RULES, FIRST)

    second = mixed(store, reservoir, PAGES[20:30], RULES, SECOND)
    third = mixed(store, reservoir, PAGES[30:], RULES, THIRD)

    assert first.details["accumulation"] is None
    assert second.details["accumulation"] == {"before": 20, "now": 30, "new": 10, "left": {}}
    assert third.details["accumulation"] == {"before": 30, "now": 40, "new": 10, "left": {}}
    assert second.parents[-1] == first.as_parent()
    assert third.parents[-1] == second.as_parent()


def test_a_dump_without_a_candidate_is_no_gap_in_the_comparison(store, reservoir):
    first = mixed(store, reservoir, PAGES[:20], RULES, FIRST)
    sifted(store, PAGES[20:30], RULES, SECOND)

    third = mixed(store, reservoir, PAGES[30:], RULES, THIRD)

    assert third.details["accumulation"] == {"before": 20, "now": 40, "new": 20, "left": {}}
    assert third.parents[-1] == first.as_parent()


def test_a_document_that_is_gone_since_before_a_gap_stops_the_mix(store, reservoir):
    mixed(store, reservoir, PAGES[:20], RULES, FIRST)
    sifted(store, PAGES[2:20], RULES, FIRST)
    sifted(store, PAGES[20:30], RULES, SECOND)

    with pytest.raises(GateClosed, match="2 of 20 documents"):
        mixed(store, reservoir, PAGES[30:], RULES, THIRD)


def test_what_a_later_rule_drops_is_named_with_the_rule(store, reservoir, monkeypatch):
    mixed(store, reservoir, PAGES[:20], RULES, FIRST)
    sifted(store, PAGES[20:], RULES, SECOND)
    resifted(store, monkeypatch, {"p3", "p7"})

    second = mix(store, reservoir, "web", SECOND, RULES)

    assert second.details["accumulation"] == {"before": 20, "now": 38, "new": 20, "left": {"rule:stricter": 2}}
    left = rows_of(store, second, "left")
    assert [(row["dump"], row["id"], row["reason"]) for row in left] == [
        (FIRST, "p3", "rule:stricter"),
        (FIRST, "p7", "rule:stricter"),
    ]


def resifted(store, monkeypatch, dropped):
    """Sift the first dump once more, as if a rule had changed."""
    original = module.apply_rules

    def stricter(measured, policy):
        verdicts = original(measured, policy)
        out = [name in dropped for name in verdicts["id"].to_pylist()]
        said = pa.array(["drop" if gone else "keep" for gone in out], pa.string())
        rule = pa.array(["stricter" if gone else None for gone in out], pa.string())
        return verdicts.set_column(1, "verdict", said).set_column(2, "rule", rule)

    monkeypatch.setattr(module, "apply_rules", stricter)
    monkeypatch.setattr(module, "__version__", "another")
    monkeypatch.setattr(module, "resume", lambda *_: None)
    monkeypatch.setattr(module, "run_key", lambda *_: "another run")
    sifted(store, PAGES[:20], RULES, FIRST)
    monkeypatch.undo()


def test_a_document_that_is_gone_without_a_tombstone_stops_the_mix(store, reservoir):
    mixed(store, reservoir, PAGES[:20], RULES, FIRST)
    sifted(store, PAGES[2:20], RULES, FIRST)
    sifted(store, PAGES[20:], RULES, SECOND)

    with pytest.raises(GateClosed) as closed:
        mix(store, reservoir, "web", SECOND, RULES)

    assert "2 of 20 documents that the pool of the generation before held are gone" in str(closed.value)
    assert "(first: p0, p1)" in str(closed.value)
    assert "`mix.tombstones`" in str(closed.value)
    assert log(store, f"web/candidate/{SECOND}") == []


def test_a_tombstone_explains_a_document_that_is_gone(store, reservoir, tmp_path):
    mixed(store, reservoir, PAGES[:20], RULES, FIRST)
    sifted(store, PAGES[2:20], RULES, FIRST)
    sifted(store, PAGES[20:], RULES, SECOND)
    (tmp_path / "gone.csv").write_text("id,reason\np0,takedown\np1,privacy\n")
    rules = replace(policy(human_share=0.3, tombstones="gone.csv"), folder=tmp_path)

    second = mix(store, reservoir, "web", SECOND, rules)

    assert second.details["accumulation"] == {
        "before": 20,
        "now": 38,
        "new": 20,
        "left": {"tombstone:privacy": 1, "tombstone:takedown": 1},
    }


def test_a_text_that_changed_under_its_id_is_a_document_that_is_gone(store, reservoir):
    mixed(store, reservoir, PAGES[:20], RULES, FIRST)
    sifted(store, [{**PAGES[0], "text": "another text"}, *PAGES[1:20]], RULES, FIRST)
    sifted(store, PAGES[20:], RULES, SECOND)

    with pytest.raises(GateClosed, match="1 of 20 documents"):
        mix(store, reservoir, "web", SECOND, RULES)


def test_tokens_are_told_apart_by_what_they_are_to_this_generation(store, reservoir):
    rules = policy(human_share=0.3)
    mixed(store, reservoir, PAGES[:20], rules, FIRST, ["synthetic"] * 20)

    origins = ["synthetic"] * 5 + ["edited"] * 2 + ["human_presumed"] * 4 + ["unknown"] * 9
    second = mixed(store, reservoir, PAGES[20:], rules, SECOND, origins)

    human = second.details["tokens_by_stratum"]["human"]
    assert second.details["tokens_by_role"] == {
        "fresh_human": human + 40,
        "pool": 200,
        "previous_model": 70,
        "unknown": 90,
    }


def test_many_buckets_find_the_same_as_one(store, reservoir, monkeypatch):
    monkeypatch.setattr("collapse_guard.mix.accumulation.DOCUMENTS_PER_BUCKET", 3)
    mixed(store, reservoir, PAGES[:20], RULES, FIRST)
    sifted(store, PAGES[2:20], RULES, FIRST)
    sifted(store, PAGES[20:], RULES, SECOND)

    with pytest.raises(GateClosed, match=r"2 of 20 documents.*first: p0, p1|first: p1, p0"):
        mix(store, reservoir, "web", SECOND, RULES)
