"""A released corpus in a bucket: opened, verified, exported, recalled as in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from builders import AT, KEY
from provable import Provable, public_pem
from s3_servers import KINDS, environment, running

from collapse_guard.bundle import export_bundle
from collapse_guard.errors import DamagedDataError, GateClosed
from collapse_guard.recall import recall
from collapse_guard.release import open_release, read_chain, trusted_by
from collapse_guard.verify import verify_release

VERIFIER = Path(__file__).parents[1] / "docs" / "cg_verify.py"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A folder with two releases; copied, never changed."""
    guard = Provable(tmp_path_factory.mktemp("guard"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collapse_guard.release.publishing.judge", guard.judge)
        for dump in ("2026-01", "2026-02"):
            guard.release(guard.candidate(dump))
    return guard


@pytest.fixture(params=KINDS)
def bucket(request, local, monkeypatch):
    """The same objects in a bucket."""
    for name, value in environment(request.param).items():
        monkeypatch.setenv(name, value)
    store = running(request.param).store()
    for place in ("releases/", "shards/", "snapshots/", "trust/"):
        for key in local.store.list(place):
            store.put_if_absent(key, local.store.read(key))
    return store


def test_a_release_in_a_bucket_is_opened_and_verified_as_in_a_folder(bucket, local):
    corpus, folder = open_release(bucket.root, "web"), local.open()
    entry = read_chain(bucket, "web", trusted_by(bucket))[-1]
    here = verify_release(local.store, local.chain()[-1], local.keys())

    assert corpus.digest == folder.digest
    assert corpus.to_arrow() == folder.to_arrow()
    assert corpus.files() == [f"{bucket.root}/{shard.key}" for shard in corpus.snapshot.with_role("documents")]
    assert verify_release(bucket, entry, trusted_by(bucket)).to_json() == here.to_json()


def test_a_bundle_from_a_bucket_is_proven_and_a_recall_there_is_honoured(bucket, tmp_path):
    keys = trusted_by(bucket, [public_pem(tmp_path / "signer.pem")])
    export_bundle(bucket, read_chain(bucket, "web", keys)[-1], keys, tmp_path / "bundle")
    command = [
        sys.executable,
        "-I",
        str(VERIFIER),
        str(tmp_path / "bundle"),
        "web",
        "--key",
        str(tmp_path / "signer.pem"),
    ]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0

    recall(bucket, "pages.jsonl", reason="takedown", by="the legal desk", key=KEY, at=AT)

    with pytest.raises(GateClosed, match="was recalled"):
        open_release(bucket.root, "web")


def test_a_shard_overwritten_in_the_bucket_is_not_handed_out(bucket):
    corpus = open_release(bucket.root, "web")
    shard = corpus.snapshot.with_role("documents")[0]
    other = corpus.snapshot.with_role("selection")[0]
    bucket.client.put_object(**bucket.place(shard.key), Body=bucket.read(other.key))

    with pytest.raises(DamagedDataError):
        corpus.to_arrow()
