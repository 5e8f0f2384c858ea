from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from builders import admitted, numbered, table
from hypothesis import given, settings
from hypothesis import strategies as st
from mixing import DUMP, mixed

from collapse_guard.errors import DamagedDataError
from collapse_guard.metrics.profile import Profile
from collapse_guard.mix.profiled import CandidateProfile, check_profile, read_profile
from collapse_guard.policy import Gate, Mix, Policy
from collapse_guard.profiling import profile_documents, profile_reservoir, read_profiles, read_types
from collapse_guard.snapshot import latest, publish, read_rows, write_shard
from collapse_guard.store import LocalStore

RULES = Policy(name="p", mix=Mix(human_share=0.4, tokens=600), gates={"human_share": Gate(low=0.1, outside="block")})


@pytest.fixture
def made(tmp_path):
    store = LocalStore(tmp_path / "guard")
    reservoir = admitted(LocalStore(tmp_path / "reservoir"), numbered("h-", [9] * 60))
    return store, reservoir, mixed(store, reservoir, numbered("w-", [7] * 80), RULES)


def forged(store, candidate, rows):
    shards = tuple(shard for shard in candidate.shards if shard.role != "profile")
    return publish(store, replace(candidate, shards=(*shards, write_shard(store, rows, "profile")), run_key="forged"))


def test_the_profile_of_a_candidate_is_that_of_its_documents(made):
    store, _, candidate = made
    tables = read_rows(store, candidate.with_role("documents"), ["id"])
    ids = {name for table in tables for name in table["id"].to_pylist()}

    profile = read_profile(store, candidate)

    check_profile(store, candidate)
    assert set(profile.rows["id"].to_pylist()) == ids
    assert set(profile.rows["stratum"].to_pylist()) == {"human", "pool"}
    assert set(profile.rows["origin"].to_pylist()) == {"human_verified", "unknown"}


@pytest.mark.parametrize("forge", ["fewer", "swapped", "origin"])
def test_a_profile_of_other_documents_is_noticed(made, forge):
    store, _, candidate = made
    rows = read_profile(store, candidate).rows
    if forge == "fewer":
        rows = rows.slice(1)
    if forge == "swapped":
        at = rows.schema.get_field_index("passage")
        rows = rows.set_column(at, rows.schema.field(at), rows["passage"].take(list(reversed(range(rows.num_rows)))))
    if forge == "origin":
        at = rows.schema.get_field_index("origin")
        rows = rows.set_column(at, rows.schema.field(at), [["human_verified"] * rows.num_rows])

    with pytest.raises(DamagedDataError, match="not that of its documents"):
        check_profile(store, forged(store, candidate, rows))


def test_a_shorter_profile_with_the_cut_that_fits_it_is_noticed(made):
    store, _, candidate = made
    rows = read_profile(store, candidate).rows
    shards = tuple(shard for shard in candidate.shards if shard.role != "profile")
    details = {**candidate.details, "profile": {"cut": str(rows["priority"][10].as_py())}}
    short = write_shard(store, rows.slice(0, 10), "profile")
    chosen = publish(store, replace(candidate, shards=(*shards, short), details=details, run_key="chosen"))

    with pytest.raises(DamagedDataError, match="not that of its documents"):
        check_profile(store, chosen)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 900), st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_profile_depends_on_no_order_and_no_parts_even_where_it_is_full(sizes, capacity, random):
    documents = table(numbered("d-", [7] * sum(sizes)))
    documents = documents.append_column("origin", pa.array(["unknown"] * documents.num_rows))
    documents = documents.append_column("stratum", pa.array(["pool"] * documents.num_rows))
    whole, parts = CandidateProfile(capacity), CandidateProfile(capacity)
    order = random.sample(range(documents.num_rows), documents.num_rows)

    whole.add(documents)
    for size in sizes:
        parts.add(documents.take(order[:size]))
        del order[:size]

    assert parts.profile.cut == whole.profile.cut
    assert parts.profile.rows.equals(whole.profile.rows)


def test_a_candidate_without_a_profile_cannot_be_judged(made):
    store, _, candidate = made
    bare = replace(candidate, shards=tuple(shard for shard in candidate.shards if shard.role != "profile"))

    with pytest.raises(DamagedDataError, match="has no profile"):
        read_profile(store, bare)


def test_documents_and_a_reservoir_are_profiled_once_for_each_shard(made):
    store, reservoir, _ = made
    documents = latest(store, f"web/documents/{DUMP}")

    twice = [profile_documents(store, documents) for _ in range(2)]
    people = [profile_reservoir(store, reservoir) for _ in range(2)]

    assert twice[0] == twice[1]
    assert people[0] == people[1]
    assert Profile.merged(read_profiles(store, twice[0])).rows.num_rows == documents.ledger.kept
    assert int(read_types(store, people[0]).counts.sum()) > 0
