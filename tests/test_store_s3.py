from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta
from unittest import mock

import boto3
import pytest
import s3_servers
from botocore.exceptions import NoCredentialsError, NoRegionError, ProfileNotFound, SSLError
from s3_stub import StubS3, client_error, sha256

from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.store import open_store
from collapse_guard.store.calls import Patience, UnreachableStoreError
from collapse_guard.store.s3 import LARGEST_PUT, Retention, S3Store

CANARY = "CANARY/hidden/0123456789abcdef"
LATER = datetime(2099, 1, 1, tzinfo=UTC)


def every(*faults):
    """A schedule: these faults in turn, then none."""
    left = list(faults)
    return lambda _: left.pop(0) if left else None


def store_with(*faults, tries=8):
    stub = StubS3(every(*faults))
    return S3Store("bucket", "guard", stub, Patience(tries, pause=lambda _: None)), stub


def refusing(error):
    """A store whose every call is refused in the same way."""
    client = mock.Mock(**{f"{name}.side_effect": error for name in ("get_object", "put_object", "list_objects_v2")})
    client.head_object.side_effect = client_error(403, "403")
    return S3Store("bucket", "guard", client, Patience(2, pause=lambda _: None))


def test_a_put_whose_reply_was_lost_is_recognised_as_its_own():
    store, stub = store_with("lost", "503", "503")

    assert store.put_if_absent("a", b"mine") == "created"
    assert stub.calls["put_object"] == 4


def test_after_a_lost_try_an_object_with_other_bytes_is_somebody_elses():
    store, stub = store_with("timeout")
    stub.objects["guard/a"] = b"theirs"

    assert store.put_if_absent("a", b"mine") == "exists"


def test_equal_bytes_that_lay_there_before_the_first_try_exist():
    store, stub = store_with()
    stub.objects["guard/a"] = b"mine"

    assert store.put_if_absent("a", b"mine") == "exists"
    assert stub.calls["head_object"] == 0


def test_a_conflict_or_damage_on_the_way_created_nothing_so_that_equal_bytes_are_somebody_elses():
    store, stub = store_with("409", "wrong")
    stub.objects["guard/a"] = b"mine"

    assert store.put_if_absent("a", b"mine") == "exists"


def test_a_lost_put_is_recognised_where_the_service_keeps_no_checksums():
    store, stub = store_with("lost")
    stub.head_object = lambda **_: {"ContentLength": 4}

    assert store.put_if_absent("a", b"mine") == "created"


def test_a_put_larger_than_one_put_may_be_is_refused_with_both_numbers():
    store, stub = store_with()

    with pytest.raises(UsageError, match="67,108,865 bytes; one put takes at most 67,108,864"):
        store.put_if_absent("a", bytes(LARGEST_PUT + 1))
    assert not stub.calls


def test_waits_double_up_to_a_longest_and_vary_by_chance():
    waits = []
    store = S3Store("bucket", "", StubS3(lambda _: "503"), Patience(6, 1.0, 4.0, waits.append))

    with pytest.raises(UnreachableStoreError, match=r"no proper answer in 6 tries \(last: SlowDown\)"):
        store.read("a")

    assert len(waits) == 5
    assert all(full / 2 <= wait <= full for full, wait in zip([1, 2, 4, 4, 4], waits, strict=True))


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (["wrong"] * 3, "arrived with SHA-256 .* instead of .* in each of 3 tries"),
        (["truncated"] * 3, r"did not arrive whole in 3 tries \(IncompleteReadError\)"),
        (["503", "reset", "broken off"], r"did not arrive whole in 3 tries \(ResponseStreamingError\)"),
    ],
)
def test_bytes_that_never_arrive_as_they_were_stored_are_damaged_data(faults, said):
    store, stub = store_with(*faults, tries=3)
    stub.objects["guard/a"] = b"stored"

    with pytest.raises(DamagedDataError, match=said):
        store.read("a")


def test_a_stored_object_that_no_longer_fits_its_checksum_is_damaged_data():
    store, stub = store_with()
    stub.objects["guard/a"] = b"stored"
    answer = stub.get_object
    stub.get_object = lambda **wanted: answer(**wanted) | {"ChecksumSHA256": sha256(b"other")}

    with pytest.raises(DamagedDataError, match="guard: a arrived with SHA-256"):
        store.read("a")


def test_a_checksum_of_an_upload_in_parts_is_not_taken_for_that_of_the_bytes():
    store, stub = store_with()
    stub.objects["guard/a"] = b"stored"
    answer = stub.get_object
    stub.get_object = lambda **wanted: answer(**wanted) | {"ChecksumSHA256": sha256(b"parts") + "-2"}

    assert store.read("a") == b"stored"


def test_another_part_than_the_one_asked_for_is_refused():
    store, stub = store_with(tries=2)
    stub.objects["guard/a"] = b"0123456789"
    answer = stub.get_object
    stub.get_object = lambda **wanted: answer(**wanted) | {"ContentRange": "bytes 0-2/10"}

    with pytest.raises(DamagedDataError, match="arrived as bytes 0-2 instead of 3-5 in each of 2 tries"):
        store.read_range("a", 3, 3)


def test_a_service_without_ranges_sends_everything_and_the_part_is_cut_from_it():
    store, stub = store_with()
    stub.objects["guard/a"] = b"0123456789"
    answer = stub.get_object
    stub.get_object = lambda Range=None, **wanted: answer(**wanted)  # noqa: ARG005, N803 - boto3's name

    assert store.read_range("a", 3, 4) == b"3456"


def test_a_list_without_its_end_is_never_taken_for_the_whole():
    store, stub = store_with(*["cut"] * 8)
    stub.objects["guard/snapshots/1.json"] = b"x"

    with pytest.raises(DamagedDataError, match="arrived as a list without its end"):
        list(store.list("snapshots/"))


def test_a_list_of_many_pages_is_complete_and_sorted():
    store, stub = store_with()
    names = [f"logs/{number}" for number in range(20)]
    stub.objects |= {f"guard/{name}": b"" for name in reversed(names)}

    assert list(store.list("logs/")) == sorted(names)
    assert stub.calls["list_objects_v2"] == 7


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (client_error(404, "NoSuchBucket"), "there is no such bucket; create it"),
        (client_error(403, "AccessDenied"), "access is denied; allow these credentials s3:GetObject"),
        (client_error(403, "InvalidAccessKeyId"), "the credentials are not accepted; renew them"),
        (client_error(403, "SignatureDoesNotMatch"), "the credentials are not accepted"),
        (client_error(400, "ExpiredToken"), "the credentials are not accepted"),
        (client_error(403, "RequestTimeTooSkewed"), "this machine's clock differs too much"),
        (client_error(301, "PermanentRedirect"), "another region than was asked; set AWS_DEFAULT_REGION"),
        (client_error(400, "AuthorizationHeaderMalformed", Region="eu-central-1"), "region, eu-central-1"),
        (client_error(501, "NotImplemented"), "lacks something that this needs .* verify-store"),
        (client_error(418, "ShortAndStout"), r"refused the request; .* \(ShortAndStout\)"),
        (NoCredentialsError(), "no credentials were found; set AWS_PROFILE"),
        (ProfileNotFound(profile=CANARY), "the profile that AWS_PROFILE names is not in ~/.aws"),
        (NoRegionError(), "set AWS_DEFAULT_REGION"),
        (SSLError(endpoint_url=CANARY, error=CANARY), "certificate is not trusted; set AWS_CA_BUNDLE"),
    ],
)
@pytest.mark.parametrize("use", ["read", "head", "list", "put_if_absent"])
def test_a_refusal_says_what_to_do_at_once(error, said, use):
    store = refusing(error)
    data = [b"x"] if use == "put_if_absent" else []

    with pytest.raises(UsageError, match=f"s3://bucket/guard: a/?: .*{said}") as caught:
        list(getattr(store, use)("a/" if use == "list" else "a", *data))

    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_head_that_is_refused_although_the_list_is_not_is_no_missing_object():
    store, stub = store_with()
    stub.head_object = mock.Mock(side_effect=client_error(403, "403"))

    with pytest.raises(UsageError, match="access is denied"):
        store.head("a")


@pytest.mark.parametrize("use", ["put_if_absent", "list"])
def test_an_address_where_there_is_no_s3_is_a_sentence_too(use):
    store = refusing(client_error(404, ""))

    with pytest.raises(UsageError, match=r"nothing is there \(404\); check the root and AWS_ENDPOINT_URL"):
        list(getattr(store, use)("a", *[b"x"] * (use == "put_if_absent")))


def test_deleting_what_is_gone_is_done_even_where_a_service_minds():
    store, stub = store_with()
    stub.delete_object = mock.Mock(side_effect=client_error(404, "NoSuchKey"))

    store.delete("staging/a")


def test_no_secret_of_the_configuration_comes_into_a_message(monkeypatch):
    settings = {"AWS_ACCESS_KEY_ID": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY, "AWS_SESSION_TOKEN": CANARY}
    for name, value in {**settings, "AWS_ENDPOINT_URL": f"http://user:{CANARY.replace('/', '')}@127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    store = open_store("s3://bucket/guard")
    quick = S3Store(store.bucket, "guard", store.client, Patience(2, pause=lambda _: None))

    with pytest.raises(UnreachableStoreError) as caught:
        quick.read("a")

    shown = "".join(traceback.format_exception(caught.value)) + repr(store) + store.root
    assert CANARY not in shown
    assert CANARY.replace("/", "") not in shown


@pytest.mark.parametrize(
    "root", [f"s3://key:{CANARY}@bucket/guard", f"s3://bucket/guard?secret={CANARY}", "s3://", "s3://B/x"]
)
def test_a_root_that_is_no_bucket_is_refused_and_not_repeated(root):
    with pytest.raises(UsageError, match="give s3://bucket/prefix") as caught:
        open_store(root)

    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("root", "bucket", "name"),
    [("s3://bucket", "bucket", "a/b"), ("s3://bucket/", "bucket", "a/b"), ("s3://b.c-1/x/y/", "b.c-1", "x/y/a/b")],
)
def test_a_root_is_a_bucket_and_a_prefix(root, bucket, name, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = open_store(root)

    assert store.place("a/b") == {"Bucket": bucket, "Key": name}
    assert store.root == root.rstrip("/")


def test_a_prefix_that_leaves_its_place_is_refused(monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(UsageError, match=r"key 'a/\.\./b'"):
        open_store("s3://bucket/a/../b")


def test_boto3s_own_settings_apply_and_its_retries_do_not(monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "9")

    client = open_store("s3://bucket/guard").client

    assert client.meta.endpoint_url == "http://127.0.0.1:9"
    assert client.meta.region_name == "eu-north-1"
    assert client.meta.config.request_checksum_calculation == "when_required"
    assert client.meta.config.retries["total_max_attempts"] == 1


def test_a_wrong_configuration_is_a_sentence(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", CANARY)

    with pytest.raises(UsageError, match=r"s3://bucket: the profile that AWS_PROFILE names is not in ~/\.aws"):
        open_store("s3://bucket/guard")


@pytest.mark.parametrize("kind", s3_servers.KINDS)
def test_a_locked_object_is_a_version_that_is_locked_so(kind):
    server = s3_servers.running(kind)
    store, now = server.store(s3_servers.LOCKED), datetime.now(UTC)
    retention = Retention("GOVERNANCE", now + timedelta(minutes=5))

    first, second = store.put_locked("a", b"x", retention), store.put_locked("a", b"y", retention)

    assert (first.put, second.put) == ("created", "exists")
    assert first.version_id == second.version_id
    assert store.read_version("a", first.version_id) == b"x"
    with pytest.raises(UsageError, match="is not locked as COMPLIANCE"):
        store.put_locked("a", b"x", Retention("COMPLIANCE", retention.until))
    with pytest.raises(UsageError, match="is not locked as GOVERNANCE until"):
        store.put_locked("a", b"x", Retention("GOVERNANCE", now + timedelta(minutes=6)))


@pytest.mark.parametrize("kind", s3_servers.KINDS)
def test_a_bucket_without_object_lock_protects_nothing_and_says_so(kind):
    store = s3_servers.running(kind).store()

    with pytest.raises(UsageError, match="Object Lock"):
        store.put_locked("a", b"x", Retention("COMPLIANCE", datetime.now(UTC) + timedelta(minutes=1)))


@pytest.mark.parametrize("kind", s3_servers.KINDS)
def test_a_bucket_that_is_not_there_is_an_error_for_every_use(kind):
    store = s3_servers.running(kind).store("no-such-bucket")

    for use in (store.head, store.read, lambda key: list(store.list(key)), lambda key: store.put_if_absent(key, b"")):
        with pytest.raises(UsageError, match="there is no such bucket"):
            use("a")


def test_a_service_that_is_not_there_is_said_to_be_unreachable():
    client = boto3.session.Session().client("s3", endpoint_url="http://127.0.0.1:9", **s3_servers.KEYS)

    with pytest.raises(UnreachableStoreError, match=r"EndpointConnectionError.*check the network and AWS_ENDPOINT_URL"):
        S3Store("bucket", "", client, Patience(1)).read("a")
