"""A reservoir under Object Lock, on two S3 services, and attacks on it with the bucket's own credentials."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from builders import ADMISSION, KEY, OTHER_KEY, document, numbered, publish_documents, table
from s3_servers import KINDS, LOCKED, OPEN, running

from collapse_guard import attestation
from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.reservoir import (
    HUMAN,
    LOG,
    Rules,
    Tombstone,
    admit,
    export_manifest,
    hold,
    lift,
    open_reservoir,
    start,
    tombstone,
    verify,
    writable,
)
from collapse_guard.snapshot import log
from collapse_guard.store import locks

RULES = Rules(object_lock="compliance", retention_days=1)
NOW = datetime.now(UTC)
DOCUMENTS = numbered("a", range(1, 21))


@pytest.fixture(params=KINDS)
def server(request):
    return running(request.param)


@pytest.fixture
def store(server):
    return server.store(LOCKED)


def deliver(store, documents=DOCUMENTS, name="delivery", asked=None, at=NOW):
    offered = publish_documents(store, [table(documents)], corpus="inbox", dump=name)
    return admit(store, offered, ADMISSION, KEY, at, asked=asked)


@pytest.fixture
def locked(store):
    start(store, RULES, KEY, NOW)
    deliver(store)
    return store


def protected_keys(store):
    kept = [shard.key for shard in open_reservoir(store).snapshot.shards]
    return [*kept, *log(store, LOG), *store.list("attestations/"), *store.list("trust/")]


def texts(store):
    return {row["id"]: row["text"] for rows in open_reservoir(store).texts(HUMAN) for row in rows.to_pylist()}


def test_every_object_of_a_reservoir_is_locked_and_read_by_its_version(locked):
    versions = open_reservoir(locked).snapshot.details["versions"]

    for key in protected_keys(locked):
        found = locks.lock_of(locked, key, locks.current_version(locked, key))
        assert found.mode == "COMPLIANCE"
        assert found.until >= NOW + timedelta(days=1)
    assert versions.keys() == {shard.key for shard in open_reservoir(locked).snapshot.shards}
    assert verify(locked)["documents"] == 20


def test_a_locked_version_cannot_be_deleted(locked):
    for key, known in open_reservoir(locked).snapshot.details["versions"].items():
        with pytest.raises(ClientError):
            locked.client.delete_object(**locked.place(key), VersionId=known["version_id"])
    assert verify(locked)["documents"] == 20


def test_overwriting_and_plain_deleting_change_nothing_that_is_read(locked):
    before = texts(locked)
    for shard in open_reservoir(locked).snapshot.shards[:2]:
        locked.client.put_object(**locked.place(shard.key), Body=b"other bytes")
    for shard in open_reservoir(locked).snapshot.shards[2:]:
        with contextlib.suppress(ClientError):  # S3 sets a marker; ministack refuses
            locked.client.delete_object(**locked.place(shard.key))

    assert texts(locked) == before
    assert verify(locked)["documents"] == 20


def test_hiding_the_newest_state_by_a_delete_marker_is_refused_or_detected(locked):
    """S3 and moto set the marker; ministack refuses."""
    newest = log(locked, LOG)[-1]
    try:
        locked.client.delete_object(**locked.place(newest))
    except ClientError:
        assert verify(locked)["states"] == 2
        return

    with pytest.raises(DamagedDataError, match="remove the marker"):
        verify(locked)


def test_a_shortened_retention_is_refused_or_detected(locked):
    """ministack refuses to shorten COMPLIANCE, as S3 does; moto lets it happen, and verifying says so."""
    key, known = next(iter(open_reservoir(locked).snapshot.details["versions"].items()))
    soon = {"Mode": "COMPLIANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(minutes=1)}
    try:
        locked.client.put_object_retention(**locked.place(key), VersionId=known["version_id"], Retention=soon)
    except ClientError:
        assert verify(locked)["documents"] == 20
    else:
        with pytest.raises(DamagedDataError, match="any more; the bucket does not keep its locks"):
            verify(locked)


def test_entries_of_the_logs_are_locked_as_well_and_an_unlocked_one_is_detected(locked):
    attestation.rotate(writable(locked, NOW), KEY, NOW, "a second desk", new=OTHER_KEY)
    assert verify(locked)["states"] == 2
    attestation.rotate(locked, KEY, NOW, "around the rules", retire=OTHER_KEY.public.keyid)

    with pytest.raises(DamagedDataError, match=r"00000003\.json is not locked as COMPLIANCE"):
        verify(locked)


def test_what_was_there_before_the_rules_is_locked_when_they_begin(store):
    attestation.trust(store, KEY.public)

    start(store, RULES, KEY, NOW)

    assert locks.lock_of(store, attestation.TRUST_KEY, locks.current_version(store, attestation.TRUST_KEY))
    deliver(store)
    assert verify(store)["documents"] == 20


def test_a_bucket_without_object_lock_is_refused_before_anything_counts_as_admitted(server):
    store = server.store(OPEN)

    with pytest.raises(UsageError):
        start(store, RULES, KEY, NOW)
    with pytest.raises(UsageError):
        deliver(store, asked=RULES)
    assert list(log(store, LOG)) == []


def test_an_admission_after_a_crash_on_an_earlier_day_prolongs_the_locks(store, monkeypatch):
    start(store, RULES, KEY, NOW)

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("collapse_guard.reservoir.states.append", crash)
        with pytest.raises(KeyboardInterrupt):
            deliver(store)
    state = deliver(store, at=NOW + timedelta(days=2))

    assert all(
        datetime.fromisoformat(one["until"]) >= NOW + timedelta(days=3) for one in state.details["versions"].values()
    )
    assert verify(store)["documents"] == 20


def test_a_hold_is_put_on_every_version_and_read_back(locked):
    state = hold(locked, "the court", "case 7", KEY, NOW)

    assert state.details["event"]["enforced"] is True
    for key, known in state.details["versions"].items():
        said = locked.client.head_object(**locked.place(key), VersionId=known["version_id"])
        assert said["ObjectLockLegalHoldStatus"] == "ON"
    assert verify(locked)["states"] == 3


def holds_on(store, keys, versions):
    """Whether each object is held now."""
    places = {key: versions.get(key, {}).get("version_id") or locks.current_version(store, key) for key in keys}
    heads = {key: store.client.head_object(**store.place(key), VersionId=place) for key, place in places.items()}
    return {key: head.get("ObjectLockLegalHoldStatus") == "ON" for key, head in heads.items()}


def test_a_lifted_hold_frees_what_no_other_hold_covers_and_leaves_retention(locked):
    first = hold(locked, "the court", "case 7", KEY, NOW)
    before = set(protected_keys(locked))
    second = hold(locked, "the court", "case 8", KEY, NOW)
    versions = second.details["versions"]

    lift(locked, second.digest, KEY, NOW, by="the court", because="case 8 is closed")

    now = holds_on(locked, protected_keys(locked), versions)
    covered = {key for key in before if key not in {*list(log(locked, LOG))[2:], f"attestations/{first.digest}.json"}}
    assert {key for key, held in now.items() if held} == {key for key in covered if not key.startswith("trust/")}
    lift(locked, first.digest, KEY, NOW, by="the court", because="case 7 is closed")
    assert not any(holds_on(locked, protected_keys(locked), versions).values())
    assert verify(locked)["states"] == 6


def test_a_lifting_that_was_interrupted_is_finished_by_asking_again(locked, monkeypatch):
    held = hold(locked, "the court", "case 7", KEY, NOW)

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(locks, "lift", crash)
        with pytest.raises(KeyboardInterrupt):
            lift(locked, held.digest, KEY, NOW, by="the court", because="closed")
    state = lift(locked, held.digest, KEY, NOW, by="the court", because="closed")

    assert state.details["event"]["enforced"] is True
    assert not any(holds_on(locked, protected_keys(locked), held.details["versions"]).values())
    assert verify(locked)["states"] == 4


def test_a_tombstone_leaves_the_locked_shards_and_locks_the_new_ones(locked):
    name = next(iter(texts(locked)))
    before = open_reservoir(locked).snapshot

    state = tombstone(locked, [name], Tombstone("privacy", "the desk", "asked for"), KEY, NOW)

    assert name not in texts(locked)
    assert state.details["versions"].items() >= before.details["versions"].items()
    assert verify(locked)["documents"] == 19


def test_the_exported_manifest_names_versions_and_retention(locked):
    envelope = export_manifest(locked, KEY, NOW)

    said = attestation.verify(envelope, attestation.trusted_keys(locked), "here").predicate["objects"]
    assert {row["key"] for row in said} == set(protected_keys(locked))
    assert all(row["version_id"] and row["retention"]["mode"] == "COMPLIANCE" for row in said)


def test_an_unlocked_reservoir_on_s3_works_as_in_a_folder(store):
    deliver(store)
    deliver(store, [document("new")], "more")

    assert verify(store) == {**verify(store), "states": 2, "documents": 21}
    assert open_reservoir(store).snapshot.details["versions"] == {}
