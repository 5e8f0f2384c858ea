from __future__ import annotations

import json
from datetime import timedelta

import pytest
from builders import AT, KEY, OTHER_KEY, overwrite
from provable import Provable, public_pem, released_twice

from collapse_guard import attestation
from collapse_guard.attestation import rotate
from collapse_guard.canonical import canonical_json, sha256_hex
from collapse_guard.errors import DamagedDataError, GateClosed, UsageError
from collapse_guard.release import PREDICATE, read_chain, trusted_by
from collapse_guard.release.chain import subjects_of
from collapse_guard.snapshot import Snapshot, log
from collapse_guard.verify import UNPROVEN, corpora, find_release, verify_release

FIRST, SECOND = (f"releases/web/{number:08d}.json" for number in (1, 2))


@pytest.fixture
def guard(tmp_path, monkeypatch) -> Provable:
    made = Provable(tmp_path)
    monkeypatch.setattr("collapse_guard.release.publishing.judge", made.judge)
    return made


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Provable:
    """Two released dumps; copied, never changed."""
    return released_twice(tmp_path_factory.mktemp("built"))


@pytest.fixture
def released(built, tmp_path) -> Provable:
    return built.copy(tmp_path / "copy")


def verified(guard, **how):
    return verify_release(guard.store, guard.chain()[-1], guard.keys(), **how)


def test_an_untouched_release_verifies_and_says_what_it_does_not_prove(released):
    found = verified(released)

    told = found.to_json()
    assert (told["number"], told["dump"], told["state"]) == (2, "2026-02", "OK")
    assert told["merkle_root"] == released.chain()[-1].statement["documents"]["merkle_root"]
    assert told["tree_size"] == told["ledger"]["in"] + 24 + 2
    assert told["trusted"] == [KEY.public.keyid]
    assert told["unproven"] == list(UNPROVEN)
    assert "newest release" in UNPROVEN[0]
    assert "written by a human" in UNPROVEN[1]
    assert json.loads(json.dumps(told)) == told


def test_the_statement_says_what_was_looked_at_and_by_which_rules(released):
    said = released.chain()[-1].statement

    assert set(said) == {
        "corpus", "dump", "snapshot", "number", "previous", "recalls", "policy_digest", "judgement", "documents",
        "shares", "ledger", "steps", "parents", "overrides", "code_version", "released_at",
    }  # fmt: skip
    assert said["overrides"] == []
    assert said["shares"] == {"human_verified": 165, "unknown": 240}


def test_a_document_is_proven_with_its_disposition(released):
    kept = released.open().to_arrow()["id"][0].as_py()

    for name, disposition in ((kept, "kept"), ("2026-01-11", "dropped"), ("2026-01-2", "review")):
        found = verified(released, document=name)
        (proof,) = found.to_json()["proofs"]
        assert (proof["document"]["id"], proof["document"]["disposition"]) == (name, disposition)
        assert found.account.proofs[0].holds(found.account.size, found.account.root)
    with pytest.raises(UsageError, match="no document has the id 'nobody'"):
        verified(released, document="nobody")


def test_a_release_is_named_by_number_or_digest(released):
    first, second = released.chain()
    keys = released.keys()

    assert find_release(released.store, "web", keys, "1") == first
    assert find_release(released.store, "web", keys, second.digest[:8]) == second
    for unknown in ("3", "0", second.digest[:5], "web"):
        with pytest.raises(UsageError, match=r"has no release .* there are: 1 \("):
            find_release(released.store, "web", keys, unknown)
    assert corpora(released.store) == ["web"]


def statement_of(guard, number):
    return dict(guard.chain()[number - 1].statement)


def sign_again(guard, said, key=KEY):
    """Put a statement there that the trusted key signed about other facts: only its owner could."""
    overwrite(guard.path(SECOND), attestation.sign(key, subjects_of(said), PREDICATE, said))


@pytest.mark.parametrize(
    "change",
    [
        {"shares": {"human_verified": 405}},
        {"ledger": {"in": 1, "kept": 1, "review": 0, "dropped": {}, "quarantined": {}}},
        {"documents": {"merkle_root": "0" * 64, "tree_size": 144}},
        {"steps": []},
        {"parents": []},
        {"dump": "2026-09"},
    ],
)
def test_a_signed_statement_that_says_something_else_than_the_rows_is_refused(released, change):
    sign_again(released, statement_of(released, 2) | change)

    with pytest.raises(DamagedDataError, match=r"signed as \w+ was .* the rows say"):
        verified(released)


def test_a_release_forged_under_another_key_is_refused(released):
    sign_again(released, statement_of(released, 2), key=OTHER_KEY)

    with pytest.raises(DamagedDataError, match="no signature on it is by the trusted key"):
        verified(released)


def test_a_swapped_shard_is_refused(released):
    snapshot = newest_manifest(released)
    first, second = (released.path(shard.key) for shard in snapshot.shards[:2])
    data = first.read_bytes(), second.read_bytes()
    overwrite(first, data[1])
    overwrite(second, data[0])

    with pytest.raises(DamagedDataError, match="was changed after it was published"):
        verified(released)


def newest_manifest(guard) -> Snapshot:
    return Snapshot.from_bytes(guard.store.read(log(guard.store, "web/candidate/2026-02")[-1]), "newest")


def test_a_rollback_is_not_noticed_without_a_copy_kept_elsewhere(released):
    """What this cannot prove, on purpose as a test: the newest release and its candidate taken away together."""
    anchor = released.chain()[-1].digest
    released.path(SECOND).unlink()
    for key in log(released.store, "web/candidate/2026-02"):
        released.path(key).unlink()

    assert verified(released).release.number == 1
    assert released.open().release.dump == "2026-01"
    with pytest.raises(UsageError, match="has no release"):  # with the digest written down elsewhere it is noticed
        find_release(released.store, "web", released.keys(), anchor[:16])


def test_a_key_that_nobody_trusts_cannot_sign_a_release(released, tmp_path):
    pinned = public_pem(tmp_path / "other.pem", OTHER_KEY)

    with pytest.raises(DamagedDataError, match="no signature on it is by the trusted key"):
        released.open(trusted=pinned)
    assert released.open(trusted=[pinned, public_pem(tmp_path / "own.pem")]).release.number == 2


def test_after_a_rotation_the_new_key_signs_and_old_releases_stay_valid(guard):
    guard.release(guard.candidate("2026-01"))
    later = AT + timedelta(days=9)
    rotate(guard.store, KEY, later, "yearly", new=OTHER_KEY, retire=KEY.public.keyid)

    guard.release(guard.candidate("2026-02"), key=OTHER_KEY, at=later)

    assert [entry.number for entry in guard.chain()] == [1, 2]
    assert verified(guard).release.number == 2
    assert guard.open().release.dump == "2026-02"


def test_a_retired_key_signs_no_release_any_more(guard):
    guard.release(guard.candidate("2026-01"))
    later = AT + timedelta(days=9)
    rotate(guard.store, KEY, later, "stolen", new=OTHER_KEY, retire=KEY.public.keyid)
    candidate = guard.candidate("2026-02")

    with pytest.raises(UsageError, match="was retired"):
        guard.release(candidate, key=KEY, at=later)

    said = statement_of(guard, 1)
    said |= {"number": 2, "previous": sha256_hex(guard.store.read(FIRST)), "dump": "2026-02"}
    said["snapshot"] = vars(candidate.as_parent())
    guard.store.put_if_absent(SECOND, attestation.sign(KEY, subjects_of(said), PREDICATE, said))  # dated before that
    with pytest.raises(DamagedDataError, match="after that key was retired"):
        guard.chain()


def test_a_key_signs_nothing_before_it_is_valid(guard):
    candidate = guard.candidate("2026-01")
    guard.release(candidate)
    later = AT + timedelta(days=9)
    rotate(guard.store, KEY, later, "yearly", new=OTHER_KEY, valid_from=later)

    with pytest.raises(UsageError, match="is trusted from"):
        guard.release(guard.candidate("2026-02"), key=OTHER_KEY, at=AT)


def test_a_refused_corpus_is_not_verified_as_the_one_that_opens(released):
    released.candidate("2026-03")

    with pytest.raises(GateClosed, match="was not released"):
        released.open()
    assert verified(released).release.number == 2


def test_trusted_keys_of_ones_own_vouch_for_the_log_that_holds_them(released, tmp_path):
    own = public_pem(tmp_path / "own.pem")

    assert trusted_by(released.store, [own]) == released.keys() == trusted_by(released.store)
    assert read_chain(released.store, "web", trusted_by(released.store, [own]))
    assert canonical_json(verified(released).to_json())
