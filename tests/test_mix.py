from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pyarrow as pa
import pytest
from builders import (
    ADMISSION,
    AT,
    KEY,
    admitted,
    document,
    numbered,
    policy,
    publish_documents,
    publish_measured,
    table,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.document import text_digests
from collapse_guard.errors import DamagedDataError, GateClosed, UsageError
from collapse_guard.mix import CANDIDATE, POOL, SELECTION, mix, pool_of
from collapse_guard.policy import Rule
from collapse_guard.reservoir import EVALUATION, HUMAN, admit, is_evaluation, open_reservoir
from collapse_guard.selection import priorities
from collapse_guard.sift import sift_snapshot
from collapse_guard.snapshot import Ledger, ShardWriter, log, publish, read_rows
from collapse_guard.store import LocalStore

TOKENS = st.lists(st.integers(0, 60), max_size=30)
HUNDREDTHS = st.integers(1, 100).map(lambda hundredths: hundredths / 100)
WANTED = st.tuples(HUNDREDTHS, st.none() | st.integers(1, 1500), st.integers(0, 2**40), st.integers(1, 4))
DUMP = "2026-01"


# Whole mixes, over small snapshots.

PEOPLE = numbered("h", [7, 11, 13, 17, 19, 23, 29, 31] * 8)
PAGES = numbered("p", [5, 10, 15, 20, 25, 30] * 8)


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "guard")


@pytest.fixture
def reservoir(tmp_path):
    return admitted(LocalStore(tmp_path / "reservoir"), PEOPLE)


def sifted(store, tables, rules, dump=DUMP):
    return sift_snapshot(store, publish_measured(store, tables, dump=dump), rules)


def mixed(store, reservoir, tables, rules, dump=DUMP):
    sifted(store, tables, rules, dump)
    return mix(store, reservoir, "web", dump, rules)


def rows_of(store, snapshot, role="documents"):
    return [row for rows in read_rows(store, snapshot.with_role(role)) for row in rows.to_pylist()]


def evaluation_ids(reservoir):
    return {name for rows in reservoir.index(EVALUATION) for name in rows["id"].to_pylist()}


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.333, 0.5, 0.56])
def test_the_share_of_the_written_documents_is_the_target_to_within_one_document(store, reservoir, share):
    candidate = mixed(store, reservoir, [table(PAGES)], policy(human_share=share))

    rows = rows_of(store, candidate)
    human = [row["tokens"] for row in rows if row["stratum"] == HUMAN]
    total, target = sum(row["tokens"] for row in rows), Fraction(str(share))
    assert Fraction(sum(human), total) >= target
    assert Fraction(sum(human) - max(human), total - max(human)) < target
    assert sum(row["tokens"] for row in rows if row["stratum"] == POOL) == sum(row["tokens"] for row in PAGES)


def test_the_manifest_states_what_its_rows_hold(store, reservoir):
    candidate = mixed(store, reservoir, [table(PAGES)], policy(human_share=0.4, tokens=600, seed=5))

    rows, offered = rows_of(store, candidate), rows_of(store, candidate, "selection")
    human = sum(row["tokens"] for row in rows if row["origin"] == "human_verified")
    pool = sum(row["tokens"] for row in rows if row["origin"] == "unknown")
    assert candidate.details == {
        "corpus": "web",
        "dump": DUMP,
        "generation": 0,
        "target_human_share": 0.4,
        "by": "tokens",
        "planned_size": 600,
        "reservoir_epochs": 1,
        "exhausted": None,
        "seed": 5,
        "tokens": human + pool,
        "tokens_by_stratum": {HUMAN: human, POOL: pool},
        "tokens_by_origin": {"human_verified": human, "unknown": pool},
        "tokens_by_role": {"fresh_human": human, "unknown": pool},
        "shares": {HUMAN: human / (human + pool), "unknown": pool / (human + pool)},
        "reservoir_uses": {
            "0": sum(row["rule"] is not None for row in offered if row["stratum"] == HUMAN),
            "1": sum(row["stratum"] == HUMAN for row in rows),
        },
        "reservoir_uses_so_far": candidate.details["reservoir_uses"],
        "profile": {"cut": None},
        "accumulation": None,
        "evaluation_split": {"n": 8, "share": 0.2},
    }
    assert candidate.ledger == Ledger(len(offered), kept=len(rows), dropped={"over_budget": len(offered) - len(rows)})
    assert [parent.name for parent in candidate.parents] == ["reservoir", f"web/sifted/{DUMP}"]
    assert len(offered) == len(PAGES) + len(PEOPLE) - len(evaluation_ids(reservoir))


def test_candidate_selection_and_index_have_their_schemas_and_agree(store, reservoir):
    candidate = mixed(store, reservoir, [table(PAGES)], policy(human_share=0.4))

    tables = {
        role: pa.concat_tables(read_rows(store, candidate.with_role(role))) for role in ("documents", "selection")
    }
    index = pa.concat_tables(read_rows(store, candidate.with_role("documents_index")))
    assert tables["documents"].schema == CANDIDATE
    assert tables["selection"].schema == SELECTION
    assert index == tables["documents"].select(index.column_names)
    taken = [row["id"] for row in tables["selection"].to_pylist() if row["rule"] is None]
    assert taken == tables["documents"]["id"].to_pylist()


def test_documents_lie_in_the_order_of_their_priority(store, reservoir):
    candidate = mixed(store, reservoir, [table(PAGES)], policy(human_share=0.4, seed=9))

    names = [row["id"] for row in rows_of(store, candidate)]

    assert names == sorted(names, key=lambda name: int(priorities([name], 9)[0]))


def test_every_taken_document_is_the_one_that_was_offered(store, reservoir):
    candidate = mixed(store, reservoir, [table(PAGES[:20]), table(PAGES[20:])], policy(human_share=0.4))

    known = {row["id"]: row for row in (*PEOPLE, *PAGES)}
    taken = rows_of(store, candidate)
    assert {row["stratum"] for row in taken} > {HUMAN}
    for row in taken:
        assert {name: row[name] for name in known[row["id"]]} == known[row["id"]]
        assert row["dump"] == ("" if row["stratum"] == HUMAN else DUMP)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_shards_of_a_candidate_depend_on_no_order_and_no_sharding_of_the_pool(tmp_path_factory, seed, count):
    folder = tmp_path_factory.mktemp("mix")
    people = admitted(LocalStore(folder / "reservoir"), PEOPLE)
    rules = policy(human_share=0.4, tokens=700, seed=3)
    shuffled = PAGES.copy()
    random.Random(seed).shuffle(shuffled)
    one = mixed(LocalStore(folder / "one"), people, [table(PAGES)], rules)

    other = mixed(LocalStore(folder / "two"), people, [table(shuffled[n::count]) for n in range(count)], rules)

    assert other.shards == one.shards
    assert other.ledger == one.ledger
    assert other.details == one.details


def test_many_buckets_on_disk_give_the_same_shards_as_one(tmp_path, reservoir, monkeypatch):
    rules = policy(human_share=0.4)
    one = mixed(LocalStore(tmp_path / "one"), reservoir, [table(PAGES)], rules)
    monkeypatch.setattr("collapse_guard.mix.writing.BUCKET_BYTES", 2_000)

    many = mixed(LocalStore(tmp_path / "many"), reservoir, [table(PAGES)], rules)

    assert many == one


def test_the_same_mix_again_publishes_nothing(store, reservoir):
    rules = policy(human_share=0.4)
    first = mixed(store, reservoir, [table(PAGES)], rules)

    assert mix(store, reservoir, "web", DUMP, rules) == first
    assert len(log(store, first.name)) == 1
    assert list(store.list("staging/")) == []


def test_raising_the_share_of_a_mix_keeps_every_document(store, reservoir):
    sifted(store, [table(PAGES)], policy())
    taken = [
        {row["id"] for row in rows_of(store, mix(store, reservoir, "web", DUMP, policy(human_share=share)))}
        for share in (0.05, 0.2, 0.4)
    ]

    assert taken[0] < taken[1] < taken[2]
    assert {name for name in taken[2] - taken[0] if name.startswith("p")} == set()


def test_the_evaluation_split_is_never_mixed_though_the_scrape_copies_it(store, reservoir):
    early = datetime(1990, 1, 1, tzinfo=UTC)
    stolen = [document(f"a{row['id']}", row["tokens"], text=row["text"], captured_at=early) for row in PEOPLE]
    rules = policy(human_share=0.5)

    candidate = mixed(store, reservoir, [table([*PAGES, *stolen])], rules)

    rows = rows_of(store, candidate)
    digests = text_digests(pa.chunked_array([[row["text"] for row in rows if row["stratum"] == HUMAN]]))
    assert evaluation_ids(reservoir)
    assert not {row["id"] for row in rows} & {*evaluation_ids(reservoir), *(row["id"] for row in stolen)}
    assert not is_evaluation(pa.chunked_array([digests])).any()
    offered = {row["id"]: row for row in rows_of(store, candidate, "selection")}
    assert all(offered[row["id"]]["rule"] == "duplicate" for row in stolen)
    assert all(offered[f"a{row['id']}"]["duplicate_of"] == row["id"] for row in PEOPLE)
    assert candidate.ledger.dropped["duplicate"] == len(stolen)


def test_text_that_the_scrape_claims_is_human_counts_for_nothing(store, reservoir):
    claims = [{**row, "claimed_origin": "human_verified"} for row in PAGES]

    candidate = mixed(store, reservoir, [table(claims)], policy(human_share=0.4))

    assert {row["origin"] for row in rows_of(store, candidate) if row["stratum"] == POOL} == {"unknown"}


def test_an_exhausted_reservoir_mixes_nothing(store, reservoir):
    rules = policy(human_share=0.95)
    sifted(store, [table(PAGES)], rules)

    with pytest.raises(GateClosed, match="nothing was mixed"):
        mix(store, reservoir, "web", DUMP, rules)

    assert log(store, f"web/candidate/{DUMP}") == []
    assert list(store.list("staging/")) == []


def test_shrinking_drops_pool_documents_as_over_budget(store, reservoir):
    candidate = mixed(store, reservoir, [table(PAGES)], policy(human_share=0.8, on_exhausted="shrink_synthetic"))

    tokens = candidate.details["tokens_by_origin"]
    assert tokens["human_verified"] <= reservoir.tokens
    assert Fraction(tokens["human_verified"], candidate.details["tokens"]) >= Fraction(4, 5)
    assert {row["stratum"] for row in rows_of(store, candidate, "selection") if row["rule"]} >= {POOL}


def test_repeats_are_marked_by_epoch_and_bounded(store, reservoir):
    rules = policy(human_share=0.75, on_exhausted="repeat", max_epochs=4)

    candidate = mixed(store, reservoir, [table(PAGES)], rules)

    uses = {}
    for row in rows_of(store, candidate):
        uses.setdefault(row["id"], []).append(row["epoch"])
    epochs = candidate.details["reservoir_epochs"]
    assert 1 < epochs <= 4
    assert {len(found) for name, found in uses.items() if name.startswith("h")} <= {epochs, epochs - 1}
    assert all(sorted(found) == list(range(len(found))) for found in uses.values())
    assert all(found == [0] for name, found in uses.items() if name.startswith("p"))


def test_the_pool_of_a_dump_holds_the_dumps_before_it(store, reservoir):
    rules = policy(human_share=0.3)
    dumps = {"2026-01": PAGES[:20], "2026-02": PAGES[20:40], "2026-03": PAGES[40:]}
    for dump, pages in dumps.items():
        sifted(store, [table(pages)], rules, dump)

    second = mix(store, reservoir, "web", "2026-02", rules)

    taken = {(row["id"], row["dump"]) for row in rows_of(store, second) if row["stratum"] == POOL}
    assert taken == {(row["id"], dump) for dump in ("2026-01", "2026-02") for row in dumps[dump]}
    assert second.details["generation"] == 1
    assert [parent.name for parent in second.parents[1:]] == ["web/sifted/2026-01", "web/sifted/2026-02"]


def test_a_text_that_comes_again_in_a_later_dump_is_a_copy_of_the_first(store, reservoir):
    rules = policy(human_share=0.3)
    sifted(store, [table(PAGES)], rules, "2026-01")
    again = [{**row, "url": "http://mirror.example/"} for row in PAGES[:10]]

    candidate = mixed(store, reservoir, [table([*again, document("new", 9)])], rules, "2026-02")

    dropped = [row for row in rows_of(store, candidate, "selection") if row["rule"] == "duplicate"]
    assert [row["dump"] for row in dropped] == ["2026-02"] * 10
    assert all(row["duplicate_of"] == row["id"] for row in dropped)


def test_what_sifting_dropped_or_sent_to_review_is_never_offered(store, reservoir):
    rules = policy(human_share=0.3)
    measured = publish_measured(store, [table(PAGES)])
    whole = sift_snapshot(store, measured, rules)
    verdicts = pa.concat_tables(read_rows(store, whole.shards))
    words = [("keep", "drop", "review")[number % 3] for number in range(len(PAGES))]
    changed = verdicts.set_column(1, "verdict", pa.array(words, pa.string()))
    shard = ShardWriter(store, "sifted")
    shard.write(changed)
    ledger = Ledger(len(PAGES), words.count("keep"), words.count("review"), {"rule": words.count("drop")})
    publish(store, replace(whole, shards=tuple(shard.close()), ledger=ledger, run_key="by hand"))

    candidate = mix(store, reservoir, "web", DUMP, rules)

    offered = {row["id"] for row in rows_of(store, candidate, "selection") if row["stratum"] == POOL}
    assert offered == {row["id"] for row, word in zip(PAGES, words, strict=True) if word == "keep"}


def test_a_dump_that_was_sifted_by_other_rules_is_refused_by_name(store, reservoir):
    sifted(store, [table(PAGES[:5])], policy(), "2026-01")
    sifted(store, [table(PAGES[5:])], policy(), "2026-02")
    stricter = replace(policy(), rules=(Rule(signal="word_count", low=3, outside="drop"),))

    with pytest.raises(UsageError, match="web/sifted/2026-01, web/sifted/2026-02: sifted by other rules"):
        mix(store, reservoir, "web", "2026-02", stricter)


def test_another_share_or_gate_sifts_nothing_again(store, reservoir):
    sifted(store, [table(PAGES)], policy(human_share=0.3))

    candidates = [mix(store, reservoir, "web", DUMP, policy(human_share=share)) for share in (0.2, 0.3)]

    assert candidates[0].parents == candidates[1].parents
    assert candidates[0].policy_digest != candidates[1].policy_digest


def test_an_unknown_dump_is_refused_with_the_known_ones(store, reservoir):
    sifted(store, [table(PAGES)], policy(), "2026-01")

    with pytest.raises(UsageError, match=r"dump '2026-02' of 'web' was not sifted; sift it first \(known: 2026-01\)"):
        mix(store, reservoir, "web", "2026-02", policy())
    assert [snapshot.name for snapshot in pool_of(store, "web", "2026-01")] == ["web/sifted/2026-01"]


def test_an_empty_dump_gives_an_empty_candidate(store, reservoir):
    candidate = mixed(store, reservoir, [table([])], policy(human_share=0.3))

    assert rows_of(store, candidate) == []
    assert candidate.details["tokens"] == 0
    assert candidate.ledger.came_in == len(PEOPLE) - len(evaluation_ids(reservoir))


def test_a_grown_reservoir_gives_a_new_candidate_and_leaves_the_old_one(store, reservoir):
    rules = policy(human_share=0.3)
    first = mixed(store, reservoir, [table(PAGES)], rules)
    more = publish_documents(reservoir.store, [table(numbered("m", [10] * 20))], corpus="reservoir", dump="more")
    admit(reservoir.store, more, ADMISSION, KEY, AT)

    second = mix(store, open_reservoir(reservoir.store), "web", DUMP, rules)

    assert second.parents[0] != first.parents[0]
    assert len(log(store, first.name)) == 2
    assert mix(store, reservoir, "web", DUMP, rules) == first


def test_damaged_documents_are_never_mixed(store, reservoir):
    rules = policy(human_share=0.3)
    sifted(store, [table(PAGES)], rules)
    texts = publish_documents(store, [table(PAGES)])
    store.delete(texts.shards[0].key)

    with pytest.raises(DamagedDataError, match="is missing"):
        mix(store, reservoir, "web", DUMP, rules)

    assert log(store, f"web/candidate/{DUMP}") == []


def test_every_use_of_every_reservoir_document_is_in_the_usage(store, reservoir):
    rules = policy(human_share=0.75, on_exhausted="repeat", max_epochs=4)

    candidate = mixed(store, reservoir, [table(PAGES)], rules)

    used = Counter(row["id"] for row in rows_of(store, candidate) if row["stratum"] == HUMAN)
    usage = {row["id"]: row["uses"] for row in rows_of(store, candidate, "usage")}
    assert usage.keys() == {name for rows in reservoir.index(HUMAN) for name in rows["id"].to_pylist()}
    assert {name: uses for name, uses in usage.items() if uses} == used
    assert candidate.details["reservoir_uses"] == {str(n): count for n, count in Counter(usage.values()).items()}


@pytest.mark.parametrize("action", ["repeat", "shrink_synthetic"])
def test_an_exhausted_reservoir_is_said_in_the_manifest(store, reservoir, action):
    enough, short = (
        mixed(store, reservoir, [table(PAGES)], policy(human_share=share, on_exhausted=action)) for share in (0.2, 0.75)
    )

    pool = sum(row["tokens"] for row in PAGES)
    assert enough.details["exhausted"] is None
    assert short.details["exhausted"] == {"action": action, "missing": pool * 3 - reservoir.tokens}


def test_a_candidate_has_its_tables_and_no_other(store, reservoir):
    candidate = mixed(store, reservoir, [table(PAGES)], policy(human_share=0.4))

    assert candidate.schema == "candidate@4"
    assert {shard.role for shard in candidate.shards} == {
        "documents",
        "documents_index",
        "selection",
        "usage",
        "profile",
    }
