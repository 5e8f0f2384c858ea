from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest
from provable import Provable

from collapse_guard.report.croissant import FIELDS, croissant
from collapse_guard.snapshot import read_shard

VALIDATE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlcroissant
dataset = mlcroissant.Dataset(jsonld=sys.argv[1])
issues = dataset.metadata.issues
rows = [row["documents/id"].decode() for row in dataset.records("documents")]
print(json.dumps({"errors": sorted(issues.errors), "warnings": sorted(issues.warnings), "ids": rows}))
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    guard = Provable(tmp_path_factory.mktemp("guard"))
    patch = pytest.MonkeyPatch()
    patch.setattr("collapse_guard.release.publishing.judge", guard.judge)
    entry = guard.release(guard.candidate())
    patch.undo()
    return guard, entry, croissant(guard.store, entry)


def test_every_released_file_is_named_by_digest(released):
    guard, _, facts = released
    shards = guard.open().snapshot.with_role("documents")

    files = [one for one in facts["distribution"] if one["@type"] == "cr:FileObject"]
    assert [(one["contentUrl"], one["sha256"], one["contentSize"]) for one in files] == [
        (shard.key, shard.sha256, f"{shard.bytes} B") for shard in shards
    ]


def test_every_described_column_is_in_every_file(released):
    guard, _, facts = released

    names = [one["name"] for one in facts["recordSet"][0]["field"]]
    assert names == list(FIELDS)
    for shard in guard.open().snapshot.with_role("documents"):
        assert set(names) <= set(read_shard(guard.store, shard).column_names)


def test_the_description_says_shares_root_and_what_is_unknown(released):
    _, entry, facts = released

    assert entry.statement["documents"]["merkle_root"] in facts["description"]
    assert f"{entry.statement['shares']['human_verified']} human_verified" in facts["description"]
    assert facts["license"] == "unknown"
    assert facts["conformsTo"].endswith("/croissant/1.1")


@pytest.mark.skipif(importlib.util.find_spec("mlcroissant") is None, reason="mlcroissant is not installed")
def test_mlcroissant_accepts_it_and_reads_the_released_rows(released):
    guard, _, facts = released
    path = guard.path("croissant.json")
    path.write_text(json.dumps(facts), encoding="utf-8")

    done = subprocess.run([sys.executable, "-c", VALIDATE, str(path)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["errors"], told["warnings"]) == ([], [])
    assert told["ids"] == guard.open().to_arrow()["id"].to_pylist()
