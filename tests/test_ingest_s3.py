"""Input that lies in S3: found, fetched as it was found, and called by its address."""

from __future__ import annotations

import gzip
import json
import uuid

import pytest
import s3_servers
from botocore.exceptions import ClientError

from collapse_guard.errors import UsageError
from collapse_guard.ingest import ingest, matching
from collapse_guard.ingest.inputs import RemoteFile, input_files
from collapse_guard.snapshot import log, read_rows
from collapse_guard.store import LocalStore, s3_inputs
from collapse_guard.store.s3_inputs import list_matching


@pytest.fixture(params=s3_servers.KINDS)
def server(request, monkeypatch):
    for name, value in s3_servers.environment(request.param).items():
        monkeypatch.setenv(name, value)
    return s3_servers.running(request.param)


@pytest.fixture
def bucket(server):
    """A bucket of its own, and how to put objects there."""
    name = f"crawl-{uuid.uuid4()}"
    server.client.create_bucket(Bucket=name)
    return Bucket(server.client, name)


class Bucket:
    def __init__(self, client, name):
        self.client, self.name = client, name
        self.address = f"s3://{name}"

    def put(self, key, data):
        self.client.put_object(Bucket=self.name, Key=key, Body=data)


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "guard")


def lines(*texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def rows(store, snapshot, role):
    return [row for table in read_rows(store, snapshot.with_role(role)) for row in table.to_pylist()]


def scratch_files(store):
    return list(store.list("staging/"))


def test_objects_are_ingested_like_files_and_called_by_their_address(bucket, store, tmp_path):
    bucket.put("crawl/d0/b c+1.jsonl.gz", gzip.compress(lines("the second file", "of two lines")))
    bucket.put("crawl/d0/a.jsonl", lines("the first file") + b"{broken\n")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "z.jsonl").write_bytes(lines("a file of this machine"))

    made = ingest(store, "web", "d0", [f"{bucket.address}/crawl/d0/*", str(tmp_path / "here")], workers=2)

    documents = rows(store, made, "documents")
    assert [row["text"] for row in documents] == [
        "a file of this machine",
        "the first file",
        "the second file",
        "of two lines",
    ]
    first, second = (f"{bucket.address}/crawl/d0/{name}" for name in ("a.jsonl", "b c+1.jsonl.gz"))
    assert [row["source"] for row in documents] == ["z.jsonl", first, second, second]
    assert [(row["file"], row["reason"]) for row in rows(store, made, "quarantine")] == [(first, "bad_json")]
    assert made.ledger.came_in == 5
    assert [name for name, _ in made.details["inputs"]] == ["z.jsonl", first, second]
    assert scratch_files(store) == []


def test_the_same_objects_are_not_fetched_again_and_give_the_same_snapshot(bucket, store, tmp_path, monkeypatch):
    bucket.put("d0/a.jsonl", lines("one", "two"))
    made = ingest(store, "web", "d0", [f"{bucket.address}/d0"])
    elsewhere = ingest(LocalStore(tmp_path / "other"), "web", "d0", [f"{bucket.address}/d0/a.jsonl"])
    monkeypatch.setattr(s3_inputs.ListedObject, "fetch", lambda *_: pytest.fail("it was fetched again"))

    again = ingest(store, "web", "d0", [f"{bucket.address}/d0/**/*.jsonl"])

    assert again == made
    assert elsewhere.digest == made.digest
    assert len(log(store, "web/documents/d0")) == 1


def test_content_that_was_put_again_is_recognised_by_its_digest(bucket, store):
    bucket.put("d0/a.jsonl", lines("one"))
    first = ingest(store, "web", "d0", [f"{bucket.address}/d0"])
    bucket.put("d0/a.jsonl", lines("one, changed"))
    ingest(store, "web", "d0", [f"{bucket.address}/d0"])
    bucket.client.delete_object(Bucket=bucket.name, Key="d0/a.jsonl")
    bucket.put("d0/a.jsonl", lines("one"))

    assert ingest(store, "web", "d0", [f"{bucket.address}/d0"]).digest == first.digest


KEYS = ("d0/a.gz", "d0/b.gz", "d0/deep/c.gz", "d0/.hidden/x.gz", "d0/.y.gz", "d1/a.gz", "odd[1].gz", "d0x.gz")
SHOWN = {"d0/a.gz", "d0/b.gz", "d0/deep/c.gz"}
BELOW = {*SHOWN, "d0/.hidden/x.gz"}
GLOBS = {
    "d0/*.gz": {"d0/a.gz", "d0/b.gz"},
    "*/a.gz": {"d0/a.gz", "d1/a.gz"},
    "d[12]/?.gz": {"d1/a.gz"},
    "**/*.gz": {*SHOWN, "d1/a.gz", "odd[1].gz", "d0x.gz"},
    "d0": BELOW,
    "d0/": BELOW,
    "d*": {*BELOW, "d1/a.gz", "d0x.gz"},
    "d0/**": BELOW,
    "d0/.hidden/x.gz": {"d0/.hidden/x.gz"},
    "odd[1].gz": {"odd[1].gz"},
}


class Paging:
    """A client that lists two objects at a time."""

    def __init__(self, client):
        self.client = client

    def list_objects_v2(self, **names):
        return self.client.list_objects_v2(**names, MaxKeys=2)


def test_globs_mean_what_they_mean_in_a_folder_however_long_the_listing(bucket, tmp_path, monkeypatch):
    for key in KEYS:
        bucket.put(f"crawl/{key}", b"x")
        (tmp_path / "crawl" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "crawl" / key).write_bytes(b"x")
    bucket.put("crawl/d0/", b"")
    opened = s3_inputs.open_s3(bucket.address)
    opened.client = Paging(opened.client)
    monkeypatch.setattr(s3_inputs, "open_s3", lambda _: opened)

    for pattern, found in GLOBS.items():
        there = {item.key for item in list_matching(f"{bucket.address}/crawl/{pattern}")}
        here = {path.relative_to(tmp_path).as_posix() for path in input_files([str(tmp_path / "crawl" / pattern)])}
        assert (pattern, there) == (pattern, {f"crawl/{key}" for key in found})
        assert (pattern, here) == (pattern, there)
    assert matching(f"{bucket.address}/nothing/*") == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://no-such-bucket-here/crawl/*", "there is no such bucket"),
        ("{bucket}/nothing/*.jsonl", "matches no file"),
        ("{bucket}", "give s3://bucket/key, or a glob"),
        ("s3://NOT_A_BUCKET/x", "give s3://bucket/prefix"),
    ],
)
def test_what_cannot_be_found_is_one_sentence(bucket, store, address, said):
    with pytest.raises(UsageError, match=said):
        ingest(store, "web", "d0", [address.format(bucket=bucket.address)])

    assert log(store, "web/documents/d0") == []


def change(bucket, key):
    bucket.put(key, lines("something else"))


def vanish(bucket, key):
    bucket.client.delete_object(Bucket=bucket.name, Key=key)


@pytest.mark.parametrize(("does", "said"), [(change, "was changed since"), (vanish, "was listed and is gone since")])
def test_an_object_that_is_not_what_was_listed_stops_the_step_and_nothing_is_published(
    bucket, store, monkeypatch, does, said
):
    bucket.put("d0/a.jsonl", lines("the first"))
    bucket.put("d0/b.jsonl", lines("the second"))
    listed = list_matching(f"{bucket.address}/d0")
    does(bucket, "d0/b.jsonl")
    monkeypatch.setattr(s3_inputs, "list_matching", lambda _: listed)

    with pytest.raises(UsageError, match=f"{bucket.address}/d0/b.jsonl: it {said}.*nothing was published"):
        ingest(store, "web", "d0", [f"{bucket.address}/d0"])

    assert log(store, "web/documents/d0") == []
    assert scratch_files(store) == []


class Denying:
    """A client whose every call is refused, as S3 refuses credentials without the right."""

    def __getattr__(self, _name):
        def refuse(**_):
            raise ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "x")

        return refuse


@pytest.mark.usefixtures("server")
def test_denied_access_is_one_sentence(store, monkeypatch):
    denied = s3_inputs.open_s3("s3://some-bucket")
    denied.client = Denying()
    monkeypatch.setattr(s3_inputs, "open_s3", lambda _: denied)

    with pytest.raises(UsageError, match=r"s3://some-bucket/crawl/: access is denied; allow .*s3:ListBucket"):
        ingest(store, "web", "d0", ["s3://some-bucket/crawl/*"])


class Cutting:
    """A client whose bodies arrive short the first times."""

    def __init__(self, client, cuts):
        self.client, self.cuts = client, cuts

    def get_object(self, **names):
        answer = self.client.get_object(**names)
        if self.cuts:
            self.cuts -= 1
            answer["Body"].close()
            answer["Body"] = Short()
        return answer


class Short:
    def iter_chunks(self, _size):
        yield b"{"

    def close(self):
        pass


def test_a_body_that_arrives_short_is_asked_for_again(bucket, tmp_path, monkeypatch):
    bucket.put("a.jsonl", lines("whole"))
    [found] = list_matching(f"{bucket.address}/a.jsonl")
    opened = s3_inputs.open_s3(bucket.address)
    opened.client = Cutting(opened.client, 2)
    monkeypatch.setattr(s3_inputs, "open_s3", lambda _: opened)
    monkeypatch.setattr(s3_inputs, "Patience", lambda: s3_servers.QUICK)

    found.fetch(tmp_path / "a.jsonl")

    assert (tmp_path / "a.jsonl").read_bytes() == lines("whole")


def test_a_copy_lies_in_the_scratch_folder_only_while_it_is_read(bucket, store):
    bucket.put("a/very  odd?name.jsonl", lines("x"))
    [file] = input_files([f"{bucket.address}/a"], store)

    assert isinstance(file, RemoteFile)
    with file.local() as path:
        assert path.name == "very__odd_name.jsonl"
        assert path.read_bytes() == lines("x")
    assert not path.exists()
