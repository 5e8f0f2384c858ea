from __future__ import annotations

import functools
import json
import sys
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
import s3_servers
from botocore.exceptions import ClientError
from s3_stub import client_error

from collapse_guard import cli
from collapse_guard.errors import UsageError
from collapse_guard.store import LocalStore
from collapse_guard.store.calls import Patience
from collapse_guard.store.probing import LOCKS, NEEDED, verify_store
from collapse_guard.store.s3 import S3Store

PROMISES = [
    "conditional_create",
    "read_after_write",
    "range_reads",
    "checksums",
    "versioning",
    "object_lock",
    "locked_delete",
    "locked_shorten",
    "multipart_condition",
]
WRONG = {
    "ministack": {},
    "moto": {
        "checksums": "accepts an object whose bytes do not fit its SHA-256",
        "locked_shorten": "shortens a COMPLIANCE lock",
    },
}
"""What each service is known to get wrong; strict, so that a mended service is noticed."""
WRONG_BESIDE = {
    "ministack": {
        "suspending versions of a locked bucket is refused": "suspends them",
        "a lock given to an upload in parts is kept": "drops it",
        "a locked object can be hidden by a delete marker": "refuses, so that a test of hiding proves nothing",
        "a lock in a bucket without Object Lock is refused": "ignores it",
    },
    "moto": {
        "suspending versions of a locked bucket is refused": "suspends them",
        "a lock given to an upload in parts is kept": "drops it",
        "GetObjectRetention gives the lock": "answers with the object itself",
    },
}
"""What each gets wrong beyond the probes, on buckets that are made for it: nobody's own bucket is asked so."""


def cases(promises, wrong):
    return [case(kind, promise, wrong[kind].get(promise)) for kind in s3_servers.KINDS for promise in promises]


def case(kind, promise, known):
    marks = [pytest.mark.xfail(reason=f"{kind} {known}", strict=True)] if known else []
    return pytest.param(kind, promise, marks=marks, id=f"{kind}-{promise}")


@functools.cache
def probed(kind, bucket=s3_servers.LOCKED):
    store = s3_servers.running(kind).store(bucket)
    return store, verify_store(store, at=datetime.now(UTC), require_object_lock=True)


@pytest.mark.parametrize(("kind", "promise"), cases(PROMISES, WRONG))
def test_each_promise_holds_on_each_service_but_for_what_is_known(kind, promise):
    _, found = probed(kind)

    assert [probe.name for probe in found.probes] == PROMISES
    assert {probe.name: probe.outcome for probe in found.probes}[promise] == "ok"


def lock():
    until = datetime.now(UTC) + timedelta(minutes=5)
    return {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}


def bucket_of_its_own(client, name):
    name = f"{name}-{datetime.now(UTC).timestamp()}".replace(".", "-")
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def suspend(client):
    bucket = bucket_of_its_own(client, "suspended")
    with pytest.raises(ClientError):
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


def lock_parts(client):
    place = {"Bucket": bucket_of_its_own(client, "parts"), "Key": "a"}
    upload = place | {"UploadId": client.create_multipart_upload(**place, **lock())["UploadId"]}
    tag = client.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]
    client.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"ETag": tag, "PartNumber": 1}]})
    assert client.head_object(**place).get("ObjectLockMode") == "GOVERNANCE"


def hide(client):
    place = {"Bucket": bucket_of_its_own(client, "hidden"), "Key": "a"}
    client.put_object(**place, Body=b"x", **lock())
    assert client.delete_object(**place)["DeleteMarker"]


def lock_without(client):
    with pytest.raises(ClientError):
        client.put_object(Bucket=s3_servers.OPEN, Key="never-locked", Body=b"x", **lock())


def get_retention(client):
    place = {"Bucket": bucket_of_its_own(client, "retention"), "Key": "a"}
    version = client.put_object(**place, Body=b"x", **lock())["VersionId"]
    assert client.get_object_retention(**place, VersionId=version)["Retention"]["Mode"] == "GOVERNANCE"


BESIDE = {
    "suspending versions of a locked bucket is refused": suspend,
    "a lock given to an upload in parts is kept": lock_parts,
    "a locked object can be hidden by a delete marker": hide,
    "a lock in a bucket without Object Lock is refused": lock_without,
    "GetObjectRetention gives the lock": get_retention,
}


@pytest.mark.parametrize(("kind", "promise"), cases(BESIDE, WRONG_BESIDE))
def test_each_service_does_as_s3_does_but_for_what_is_known(kind, promise):
    BESIDE[promise](s3_servers.running(kind).client)


@pytest.mark.parametrize("kind", s3_servers.KINDS)
def test_only_what_is_locked_is_left_behind_and_it_is_said(kind):
    store, found = probed(kind)
    listed = store.client.list_object_versions(Bucket=store.bucket, Prefix=store.place("staging")["Key"])

    (version,) = listed["Versions"]
    assert found.left == (f"s3://{store.bucket}/{version['Key']} version {version['VersionId']} (AccessDenied)",)
    assert not listed.get("DeleteMarkers")


@pytest.mark.parametrize("kind", s3_servers.KINDS)
def test_a_bucket_without_locks_is_enough_unless_they_are_needed(kind):
    store, found = probed(kind, s3_servers.OPEN)

    outcomes = {probe.name: probe.outcome for probe in found.probes}
    assert {outcomes[name] for name in (*LOCKS, "versioning")} == {"not available"}
    assert set(found.broken) == LOCKS | set(WRONG[kind]) - {"locked_shorten"}
    assert found.left == ()
    assert list(store.list("staging/")) == []


def test_a_folder_keeps_what_a_folder_can_and_stays_empty(tmp_path):
    found = verify_store(LocalStore(tmp_path), at=datetime.now(UTC))

    assert [probe.name for probe in found.probes] == PROMISES
    assert {probe.outcome for probe in found.probes[:3]} == {"ok"}
    assert found.broken == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert set(verify_store(LocalStore(tmp_path), at=datetime.now(UTC), require_object_lock=True).broken) == LOCKS


class Careless(LocalStore):
    """Overwrites what is there, as services do that ignore the condition."""

    def put_if_absent(self, key, data):
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return "created"


def test_a_store_that_ignores_the_condition_is_found(tmp_path):
    found = verify_store(Careless(tmp_path), at=datetime.now(UTC))

    assert found.broken == ["conditional_create"]
    assert found.probes[0].finding == "16 of 16 writers of one name were told that they created it"


class Refusing:
    """A client that refuses some calls, and hands all others on."""

    def __init__(self, client, error, *names):
        self._client, self._error, self._names = client, error, names

    def __getattr__(self, name):
        return mock.Mock(side_effect=self._error) if name in self._names else getattr(self._client, name)


def verified_with(error, *names):
    server = s3_servers.running("ministack")
    client = Refusing(server.client, error, *names)
    return verify_store(server.store(s3_servers.LOCKED, client=client), at=datetime.now(UTC), require_object_lock=True)


def test_what_credentials_may_not_do_is_no_proof_of_a_lock_and_the_finding_says_so():
    found = verified_with(client_error(403, "AccessDenied"), "delete_object", "put_object_retention")

    findings = {probe.name: probe.finding for probe in found.probes}
    for name in ("locked_delete", "locked_shorten"):
        assert "these credentials may not do so to any version" in findings[name]
    assert len(found.left) > 1


def test_a_service_that_fails_is_no_service_that_refuses():
    found = verified_with(client_error(503, "SlowDown"), "complete_multipart_upload", "put_object_retention")

    outcomes = {probe.name: (probe.outcome, probe.finding) for probe in found.probes}
    for name in ("multipart_condition", "locked_shorten"):
        assert outcomes[name][0] == "not ok"
        assert "no proper answer" in outcomes[name][1]


def test_versions_that_may_not_be_listed_are_deleted_as_objects():
    server = s3_servers.running("ministack")
    client = Refusing(server.client, client_error(403, "AccessDenied"), "list_object_versions")
    store = server.store(client=client)

    assert verify_store(store, at=datetime.now(UTC)).left == ()
    assert list(store.list("staging/")) == []


def test_a_bucket_that_is_not_there_is_wrong_use_and_no_finding():
    client = s3_servers.running("ministack").client

    with pytest.raises(UsageError, match="there is no such bucket"):
        verify_store(S3Store("no-such-bucket", "", client, Patience(1)), at=datetime.now(UTC))


def run(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["collapse-guard", "verify-store", *words])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, capsys.readouterr()


def test_the_command_prints_a_table_and_writes_what_it_found(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    code, printed = run(monkeypatch, capsys, "guard")

    assert code == 0
    assert all(promise in printed.out for promise in PROMISES)
    written = json.loads((tmp_path / "capabilities.json").read_text(encoding="utf-8"))
    assert {probe["name"] for probe in written["probes"] if probe["needed"]} == NEEDED - {"checksums"}


@pytest.mark.parametrize(("kind", "expected"), [("ministack", 0), ("moto", 1)])
def test_the_command_fails_where_a_needed_promise_does_not_hold(kind, expected, tmp_path, monkeypatch, capsys):
    for name, value in s3_servers.environment(kind).items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "found.json"

    code, printed = run(monkeypatch, capsys, f"s3://{s3_servers.OPEN}/cli", "--json", "--capabilities", str(path))

    assert code == expected
    assert json.loads(printed.out) == json.loads(path.read_text(encoding="utf-8"))
    assert json.loads(printed.out)["broken"] == (["checksums"] if expected else [])
