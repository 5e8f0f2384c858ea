from __future__ import annotations

import json
from dataclasses import replace

import pytest
from builders import AT, KEY, OTHER_KEY, Made, candidate, mixed_rows, numbered, policy, table

from collapse_guard.canonical import canonical_json
from collapse_guard.errors import UsageError
from collapse_guard.judge import GateResult, Judgement, Remedy
from collapse_guard.release import release
from collapse_guard.snapshot import publish
from collapse_guard.store import LocalStore

RULES = policy()
GATE = GateResult("human_share", "human_share", 0.3, 0.1, None, True, "block", False, 0.3, None)  # noqa: FBT003
REMEDY = Remedy(7, 9, 0.3, 1.5, feasible=True)


class WatchedStore(LocalStore):
    """Notes every key that is read."""

    def __init__(self, folder):
        super().__init__(folder)
        self.keys = []

    def read(self, key):
        self.keys.append(key)
        return super().read(key)


def judgement(digest="d", rules=RULES):
    metrics = {"human_share": 0.3, "distinct_2": None}
    return Judgement(digest, rules.digest, "EARLY", ("why",), (GATE,), REMEDY, metrics, {"distinct_2": 0.5}, 10)


@pytest.fixture
def store(tmp_path):
    return WatchedStore(tmp_path)


@pytest.fixture
def judged(monkeypatch):
    """The candidates that were judged, in order."""
    seen = []

    def judge(_store, candidate, _reservoir, rules):
        seen.append(candidate.digest)
        return judgement(candidate.digest, rules)

    monkeypatch.setattr("collapse_guard.release.publishing.judge", judge)
    return seen


def publish_candidate(store):
    made = Made(store, "web/candidate/d1", "candidate")
    rows = mixed_rows(table(numbered("a", [3, 3])))
    snapshot = candidate(made, [rows], corpus="web", dump="d1", tokens_by_origin={"unknown": 6})
    return publish(store, replace(snapshot, policy_digest=RULES.digest))


def release_it(store, rules=RULES, key=KEY):
    return release(store, publish_candidate(store), None, rules, key=key, at=AT)


@pytest.mark.parametrize("remedy", [None, REMEDY])
def test_a_judgement_comes_back_from_its_json(remedy):
    said = replace(judgement(), remedy=remedy)

    assert Judgement.from_json(json.loads(canonical_json(said.to_json()))) == said


def test_a_second_release_of_the_same_bytes_judges_nothing_and_reads_no_shard(store, judged):
    first = release_it(store)
    store.keys.clear()

    assert release_it(store) == first
    assert len(judged) == 1
    assert not [key for key in store.keys if key.startswith("shards/")]


def test_under_another_policy_the_same_bytes_are_judged_again(store, judged):
    release_it(store)

    release_it(store, rules=replace(RULES, name="other"))

    assert len(judged) == 2


def test_a_second_release_by_another_key_is_refused(store, judged):
    release_it(store)

    with pytest.raises(UsageError, match="must be by key"):
        release_it(store, key=OTHER_KEY)
    assert len(judged) == 1
