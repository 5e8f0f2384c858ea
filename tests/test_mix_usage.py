"""How often a document of the reservoir is used, in one generation and in all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from builders import admitted, numbered, policy
from mixing import mixed, rows_of

from collapse_guard.mix import mix, usage
from collapse_guard.mix.usage import USAGE, Usage
from collapse_guard.reservoir import HUMAN
from collapse_guard.snapshot import read_rows, write_shard
from collapse_guard.store import LocalStore

PEOPLE = numbered("h", [20] * 60)
PAGES = numbered("p", [10] * 90)
DUMPS = ("2026-01", "2026-02", "2026-04")
RULES = policy(human_share=0.3)


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "guard")


@pytest.fixture
def reservoir(tmp_path):
    return admitted(LocalStore(tmp_path / "reservoir"), PEOPLE)


def generations(store, reservoir, rules=RULES):
    return [mixed(store, reservoir, PAGES[30 * n : 30 * n + 30], rules, dump) for n, dump in enumerate(DUMPS)]


def uses(store, candidate, name="uses"):
    return {row["id"]: row[name] for row in rows_of(store, candidate, "usage")}


def in_the_rows(store, candidate):
    return Counter(row["id"] for row in rows_of(store, candidate) if row["stratum"] == HUMAN)


def test_uses_are_summed_over_the_generations(store, reservoir):
    made = generations(store, reservoir)

    total = sum((in_the_rows(store, candidate) for candidate in made), Counter())
    so_far = uses(store, made[-1], "uses_so_far")
    assert so_far == {name: total[name] for name in so_far}
    assert max(so_far.values()) == 3
    assert made[-1].details["reservoir_uses_so_far"] == {
        str(n): count for n, count in sorted(Counter(so_far.values()).items())
    }
    assert uses(store, made[-1]) == {name: in_the_rows(store, made[-1])[name] for name in so_far}


def test_mixing_a_dump_again_does_not_count_twice(store, reservoir):
    once = generations(store, reservoir)[-1]
    again = mix(store, reservoir, "web", DUMPS[-1], replace(RULES, mix=replace(RULES.mix, seed=7)))
    back = mix(store, reservoir, "web", DUMPS[-1], RULES)

    before = uses(store, once, "uses_so_far")
    for candidate in (again, back):
        now, so_far = uses(store, candidate), uses(store, candidate, "uses_so_far")
        earlier = {name: before[name] - uses(store, once)[name] for name in before}
        assert so_far == {name: earlier[name] + now[name] for name in earlier}
    assert back.digest == once.digest


def table_of(store, shards):
    return [row for rows in read_rows(store, shards) for row in rows.to_pylist()]


def usage_row(name, so_far):
    digest = bytes([ord(name)]) * 32
    return {"id": name, "text_sha256": digest, "tokens": 7, "uses": 1, "uses_so_far": so_far}


@pytest.mark.parametrize("per_bucket", [1, 500_000])
def test_what_the_reservoir_no_longer_offers_keeps_its_sum(store, reservoir, tmp_path, monkeypatch, per_bucket):
    monkeypatch.setattr(usage, "DOCUMENTS_PER_BUCKET", per_bucket)
    candidate = mixed(store, reservoir, PAGES[:30], RULES, DUMPS[0])
    earlier = pa.Table.from_pylist([usage_row(name, 5) for name in "dab"], schema=USAGE)
    before = replace(candidate, shards=(write_shard(store, earlier, "usage"),))
    now = Usage(store, before, 2, tmp_path / "usage")
    offered = pa.Table.from_pylist([{**usage_row(name, 0), "tokens": 8} for name in "bc"], schema=USAGE)

    now.add(offered, np.array([2, 1], np.int16))

    found = [(row["id"], row["tokens"], row["uses"], row["uses_so_far"]) for row in table_of(store, now.close())]
    assert found == [("a", 7, 0, 5), ("b", 8, 2, 7), ("c", 8, 1, 1), ("d", 7, 0, 5)]
    assert now.details() == {
        "reservoir_uses": {"0": 2, "1": 1, "2": 1},
        "reservoir_uses_so_far": {"1": 1, "5": 2, "7": 1},
    }
