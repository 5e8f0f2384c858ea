"""The whole way, on a folder and on both services: the same bytes under the same names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import s3_servers

from collapse_guard.attestation import load_key
from collapse_guard.canonical import sha256_hex
from collapse_guard.catalogue import load_policy
from collapse_guard.ingest import ingest
from collapse_guard.judge import judge
from collapse_guard.measure import measure_snapshot
from collapse_guard.mix import mix
from collapse_guard.release import open_release, release
from collapse_guard.reservoir import Admission, admit, open_reservoir, verify
from collapse_guard.sift import sift_snapshot
from collapse_guard.snapshot import sweep
from collapse_guard.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from small_project import SmallProject

    from collapse_guard.store import Store

AT = datetime(2026, 1, 5, tzinfo=UTC)
ADMISSION = Admission(by="the tests", licence="CC0-1.0", evidence="generated; stands for human text")
FOLDERS = ("shards/", "snapshots/", "attestations/", "releases/", "trust/", "staging/")


def whole_way(inputs: Path, root: str) -> dict[str, str]:
    """Ingest to release at an address, and open what was released; gives the digest of every object."""
    guard, people = open_store(f"{root}/guard"), open_store(f"{root}/reservoir")
    policy, key = load_policy(inputs / "policy.yaml"), load_key(inputs / "signing.pem")
    admit(people, ingest(people, "inbox", "human", [str(inputs / "human" / "*")], workers=1), ADMISSION, key, AT)
    documents = ingest(guard, "web", "d0", [str(inputs / "crawl" / "d0" / "*")], workers=1)
    sift_snapshot(guard, measure_snapshot(guard, documents, policy), policy)
    reservoir = open_reservoir(people)
    candidate = mix(guard, reservoir, "web", "d0", policy)
    assert judge(guard, candidate, reservoir, policy).passed
    entry, _ = release(guard, candidate, reservoir, policy, key=key, at=AT)
    opened = open_release(f"{root}/guard", "web")
    assert opened.digest == entry.digest
    assert opened.to_arrow().num_rows == candidate.ledger.kept
    assert verify(people)["documents"] > 0
    for store in (guard, people):
        sweep(store)
    return {
        f"{name} {key}": digest
        for name, store in (("guard", guard), ("reservoir", people))
        for key, digest in objects(store)
    }


def objects(store: Store) -> list[tuple[str, str]]:
    return [(key, sha256_hex(store.read(key))) for folder in FOLDERS for key in store.list(folder)]


@pytest.fixture(scope="session")
def on_a_folder(built_project: SmallProject, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return whole_way(built_project.root, str(tmp_path_factory.mktemp("on-a-folder")))


@pytest.mark.parametrize("kind", s3_servers.KINDS)
def test_the_whole_way_on_s3_leaves_the_same_bytes_under_the_same_names(
    kind: str, built_project: SmallProject, on_a_folder: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_servers.environment(kind).items():
        monkeypatch.setenv(name, value)

    assert len(on_a_folder) > 20
    assert whole_way(built_project.root, f"s3://{s3_servers.OPEN}/{kind}-whole-way") == on_a_folder
