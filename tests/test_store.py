from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from collapse_guard.errors import UsageError
from collapse_guard.store import LocalStore, open_store

KILLED = 9
DYING_PUT = """
import os, sys
from pathlib import Path
from collapse_guard.store import LocalStore
setattr(os, sys.argv[1], lambda *args, **kwargs: os._exit(9))
LocalStore(Path(sys.argv[2])).put_if_absent("snapshots/web/1.json", b"x" * 100_000)
"""


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("dies_at", ["fchmod", "link"])
def test_a_put_killed_before_its_link_leaves_only_a_staged_file(tmp_path, dies_at):
    store = LocalStore(tmp_path)

    killed = subprocess.run([sys.executable, "-c", DYING_PUT, dies_at, str(tmp_path)], check=False)

    assert killed.returncode == KILLED
    assert [name.partition("/")[0] for name in files_below(tmp_path)] == ["staging"]
    assert store.put_if_absent("snapshots/web/1.json", b"again") == "created"
    assert store.read("snapshots/web/1.json") == b"again"


def test_a_put_killed_after_its_link_has_created_the_whole_object(tmp_path):
    killed = subprocess.run([sys.executable, "-c", DYING_PUT, "unlink", str(tmp_path)], check=False)

    assert killed.returncode == KILLED
    assert LocalStore(tmp_path).read("snapshots/web/1.json") == b"x" * 100_000


def test_a_put_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    store = LocalStore(tmp_path)
    (tmp_path / "shards").mkdir()

    with pytest.raises(OSError, match="No space"):
        store.put_if_absent("shards/a", b"x")

    assert files_below(tmp_path) == []


def test_objects_are_read_only_files_and_nothing_stays_staged(tmp_path):
    store = LocalStore(tmp_path)

    store.put_if_absent("shards/aa/a.parquet", b"x")
    store.put_if_absent("shards/aa/a.parquet", b"y")

    assert stat.S_IMODE((tmp_path / "shards/aa/a.parquet").stat().st_mode) == 0o444
    assert files_below(tmp_path) == ["shards/aa/a.parquet"]


def test_opening_a_store_writes_nothing(tmp_path):
    store = open_store(tmp_path / "new")

    assert store.root == str(tmp_path / "new")
    assert store.head("trust/00000001.json") is None
    assert list(store.list("snapshots/")) == []
    assert not (tmp_path / "new").exists()


def test_a_kind_of_root_that_there_is_not_is_refused_in_words():
    with pytest.raises(UsageError, match="root gs://…: give a folder on this machine or s3://bucket/prefix"):
        open_store("gs://bucket/guard")


@pytest.mark.parametrize("root", [Path("s3://bucket/guard"), "s3:/bucket/guard"])
def test_an_address_that_lost_a_slash_is_refused_instead_of_being_a_folder(root):
    with pytest.raises(UsageError, match="lost a slash, perhaps as a path; pass s3://bucket/prefix as text"):
        open_store(root)


def test_a_folder_is_opened_without_any_cloud_client():
    code = "import sys; from collapse_guard.store import open_store; open_store('x'); print('botocore' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"
