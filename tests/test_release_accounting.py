from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
from builders import flipped, overwrite
from hypothesis import given
from hypothesis import strategies as st
from provable import Provable

from collapse_guard.canonical import canonical_json
from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.merkle import leaf_hashes, root_of
from collapse_guard.release.accounting import LEAF, leaf_lines, take_account
from collapse_guard.snapshot import Ledger, read_rows, write_shard

TEXT = st.none() | st.text(max_size=6)
ROW = st.fixed_dictionaries(
    {name: st.none() | st.integers(0, 2**40) if name == "tokens" else TEXT for name in LEAF.names}
)


@pytest.fixture(scope="module")
def guard(tmp_path_factory):
    made = Provable(tmp_path_factory.mktemp("guard"))
    made.candidate("2026-01")
    return made


@pytest.fixture(scope="module")
def candidate(guard):
    return guard.candidate("2026-02")


@given(st.lists(ROW, max_size=5))
def test_a_leaf_is_the_canonical_json_of_its_row(rows):
    assert leaf_lines(pa.Table.from_pylist(rows, schema=LEAF)) == [canonical_json(row) for row in rows]


def leaves_of(guard, candidate):
    found = []
    return take_account(guard.store, candidate, each=found.extend), [json.loads(leaf) for leaf in found], found


def test_every_document_that_came_in_is_one_leaf_with_what_became_of_it(guard, candidate):
    account, rows, leaves = leaves_of(guard, candidate)

    counts = Counter((row["disposition"], row["reason"]) for row in rows)
    ledger = candidate.ledger
    assert counts == {
        ("kept", None): ledger.kept,
        ("dropped", "over_budget"): ledger.dropped["over_budget"],
        ("dropped", "word_count"): 8,
        ("dropped", "duplicate"): 8,
        ("review", "mean_word_length"): 8,
        ("quarantined", "bad_json"): 2,
    }
    assert account.size == len(rows) == ledger.came_in + 24 + 2
    assert account.root == root_of(leaf_hashes(leaves))


def test_a_leaf_names_text_source_and_reason(guard, candidate):
    _, rows, _ = leaves_of(guard, candidate)
    documents = pa.concat_tables(read_rows(guard.store, candidate.with_role("documents"))).to_pylist()

    released = [{name: row[name] for name in ("id", "tokens", "origin", "source")} for row in rows[: len(documents)]]
    assert released == [{name: row[name] for name in ("id", "tokens", "origin", "source")} for row in documents]
    assert [row["sha256"] for row in rows[: len(documents)]] == [row["text_sha256"].hex() for row in documents]
    sources = {row["source"] for row in rows if row["reason"] == "over_budget"}
    assert sources == {"pages.jsonl", "b\\c.jsonl"}
    lost = next(row for row in rows if row["disposition"] == "quarantined")
    assert (lost["id"], lost["source"]) == ('crawl/a "quoted".jsonl:17', 'crawl/a "quoted".jsonl')
    assert lost["sha256"] == "ab" * 32


def test_shares_and_ledgers_are_counted_from_rows(guard, candidate):
    account = take_account(guard.store, candidate)

    documents = pa.concat_tables(read_rows(guard.store, candidate.with_role("documents"))).to_pylist()
    shares = Counter()
    for row in documents:
        shares[row["origin"]] += row["tokens"]
    assert account.shares == shares == candidate.details["tokens_by_origin"]
    assert [step["name"] for step in account.steps] == [
        "web/candidate/2026-02",
        *(f"web/{step}/{dump}" for dump in ("2026-01", "2026-02") for step in ("sifted", "measured", "documents")),
    ]
    assert account.steps[3]["ledger"]["quarantined"] == {"bad_json": 2}


def test_a_document_is_proven_wherever_it_is(guard, candidate):
    _, rows, leaves = leaves_of(guard, candidate)
    for place in (0, len(rows) // 2, len(rows) - 1):
        account = take_account(guard.store, candidate, document=rows[place]["id"])
        assert place in [proof.index for proof in account.proofs]
        assert all(proof.holds(account.size, account.root) for proof in account.proofs)
        assert all(proof.leaf == leaves[proof.index] for proof in account.proofs)


def lie_in_the_ledger(candidate):
    told = candidate.ledger
    return replace(
        candidate, ledger=Ledger(told.came_in, told.kept - 1, 0, {"over_budget": told.dropped["over_budget"] + 1})
    )


def lie_in_the_reasons(candidate):
    return replace(candidate, ledger=Ledger(candidate.ledger.came_in, candidate.ledger.kept, 0, {"duplicate": 63}))


def lie_in_the_shares(candidate):
    shares = {"human_verified": sum(candidate.details["tokens_by_origin"].values())}
    return replace(candidate, details={**candidate.details, "tokens_by_origin": shares})


def leave_documents_out(candidate):
    return replace(candidate, shards=tuple(shard for shard in candidate.shards if shard.role != "documents"))


def name_a_dump_less(candidate):
    return replace(candidate, shards=tuple(shard for shard in candidate.shards if shard.role != "selection"))


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (lie_in_the_ledger, "tells of other documents than there are"),
        (lie_in_the_reasons, "tells of other documents than there are"),
        (lie_in_the_shares, "its rows have"),
        (leave_documents_out, "its rows have"),
        (name_a_dump_less, "must be taken or left out by name"),
    ],
)
def test_a_manifest_that_says_something_else_than_its_rows_is_refused(guard, candidate, lie, message):
    with pytest.raises(DamagedDataError, match=message):
        take_account(guard.store, lie(candidate))


def with_rows(guard, candidate, role, rows):
    """The candidate with other rows in its only shard of a role."""
    others = [shard for shard in candidate.shards if shard.role != role]
    return replace(candidate, shards=(write_shard(guard.store, rows, role), *others))


def test_a_selection_that_names_others_as_taken_than_the_candidate_holds_is_refused(guard, candidate):
    (rows,) = read_rows(guard.store, candidate.with_role("selection"))
    rules = rows["rule"].to_pylist()
    taken, left = rules.index(None), rules.index("over_budget")
    rules[taken], rules[left] = rules[left], rules[taken]
    swapped = rows.set_column(rows.column_names.index("rule"), "rule", pa.array(rules, pa.string()))

    with pytest.raises(DamagedDataError, match="took other documents than the candidate holds"):
        take_account(guard.store, with_rows(guard, candidate, "selection", swapped))


def test_a_candidate_of_an_older_mix_has_to_be_mixed_again(guard, candidate):
    (rows,) = read_rows(guard.store, candidate.with_role("selection"))

    with pytest.raises(UsageError, match="does not say where the documents that were left out came from; mix it again"):
        take_account(guard.store, with_rows(guard, candidate, "selection", rows.drop_columns("source")))


def test_a_document_under_the_digest_of_another_text_is_refused(guard, candidate):
    (shard,) = candidate.with_role("documents")
    (rows,) = read_rows(guard.store, [shard])
    texts = rows["text"].to_pylist()
    swapped = rows.set_column(
        1, rows.schema.field("text"), pa.array([texts[1], texts[0], *texts[2:]], pa.large_string())
    )
    forged = write_shard(guard.store, swapped, "documents")
    others = [one for one in candidate.shards if one != shard]

    with pytest.raises(DamagedDataError, match="by the digest of another text"):
        take_account(guard.store, replace(candidate, shards=(forged, *others)))


def test_every_shard_of_every_step_is_read(tmp_path):
    guard = Provable(tmp_path)
    candidate = guard.candidate()
    keys = sorted(guard.store.list("shards/"))
    assert take_account(guard.store, candidate).shards == len(keys)

    for key in keys:
        data = guard.store.read(key)
        overwrite(guard.path(key), flipped(data, len(data) // 2))
        with pytest.raises(DamagedDataError, match="was changed after it was published"):
            take_account(guard.store, candidate)
        overwrite(guard.path(key), data)


def test_progress_is_told_up_to_all_bytes(guard, candidate):
    seen = []

    account = take_account(guard.store, candidate, progress=lambda done, total: seen.append((done, total)))

    assert seen[-1] == (account.bytes, account.bytes)
