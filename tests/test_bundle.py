from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from builders import AT, KEY, OTHER_KEY, flipped, overwrite
from provable import Provable, public_pem

from collapse_guard import attestation
from collapse_guard.bundle import export_bundle
from collapse_guard.errors import UsageError
from collapse_guard.recall import recall
from collapse_guard.release import PREDICATE
from collapse_guard.release.chain import subjects_of

VERIFIER = Path(__file__).parents[1] / "docs" / "cg_verify.py"
SECOND = "releases/web/00000002.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A guard with two releases, and a bundle of the second; copied, never changed."""
    patch = pytest.MonkeyPatch()
    guard = Provable(tmp_path_factory.mktemp("guard"))
    patch.setattr("collapse_guard.release.publishing.judge", guard.judge)
    for dump in ("2026-01", "2026-02"):
        guard.release(guard.candidate(dump))
    patch.undo()
    export_bundle(guard.store, guard.chain()[-1], guard.keys(), guard.folder / "bundle")
    public_pem(guard.folder / "key.pem")
    return guard


@pytest.fixture
def bundle(made, tmp_path):
    """A copy of the bundle that a test may change."""
    folder = tmp_path / "bundle"
    subprocess.run(["cp", "-r", made.folder / "bundle", folder], check=True)
    return folder


def check(folder, *arguments, key=None, code=0):
    """Run the single-file verifier as an auditor would: no site packages, no environment."""
    keys = ["--key", str(key)] if key else []
    command = [sys.executable, "-I", str(VERIFIER), str(folder), "web", *keys, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_single_file_verifier_imports_nothing_that_is_not_pythons_own():
    names = "{name.partition('.')[0] for name in sys.modules}"
    code = f"import sys, runpy; runpy.run_path({str(VERIFIER)!r}); print({names} - {{*sys.stdlib_module_names}})"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() in {"set()", "{'__main__'}"}


def test_a_bundle_is_proven_with_every_document(made):
    leaves = (made.folder / "bundle" / "leaves.jsonl").read_text(encoding="utf-8").splitlines()
    said = check(made.folder / "bundle", key=made.folder / "key.pem")

    assert "release 2 of web (2026-02)" in said
    assert f"{len(leaves)} documents" in said
    assert "not proven: that this is the newest release" in said
    for leaf in (leaves[0], leaves[len(leaves) // 2], leaves[-1]):
        told = check(made.folder / "bundle", "--document", json.loads(leaf)["id"], key=made.folder / "key.pem")
        assert leaf in told


def test_the_store_itself_is_proven_as_far_as_it_goes_without_reading_parquet(made):
    said = check(made.store.root, "--release", "1", key=made.folder / "key.pem")

    assert "release 1 of web (2026-01)" in said
    assert "not proven: the documents, their dispositions and the shares" in said
    assert "needs leaves.jsonl" in check(made.store.root, "--document", "h1", key=made.folder / "key.pem", code=1)


def test_a_bundle_holds_no_text_of_what_was_left_out(made):
    names = {path.relative_to(made.folder / "bundle").parts[0] for path in (made.folder / "bundle").rglob("*")}

    assert names == {"keys", "leaves.jsonl", "releases", "shards", "snapshots", "trust"}
    shards = {path.name for path in (made.folder / "bundle" / "shards").rglob("*.parquet")}
    assert shards == {shard.key.rpartition("/")[2] for shard in made.open().snapshot.shards}


def test_a_key_taken_from_the_folder_is_said_to_prove_nothing_about_the_signer(made):
    assert "the key was taken from the folder itself" in check(made.folder / "bundle")


def test_a_release_by_another_key_is_not_proven(made, tmp_path):
    other = public_pem(tmp_path / "other.pem", OTHER_KEY)

    assert "no signature on it is by a key that you trust" in check(made.folder / "bundle", key=other, code=1)


def flip(path, place=0.5):
    data = path.read_bytes()
    overwrite(path, flipped(data, int(len(data) * place)))


def cut_leaves(folder):
    path = folder / "leaves.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


def swap_leaves(folder):
    path = folder / "leaves.jsonl"
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))


def lie_in_a_leaf(folder):
    path = folder / "leaves.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"origin":"unknown"', b'"origin":"human_verified"', 1))


def remove_the_first_release(folder):
    (folder / "releases/web/00000001.json").unlink()


def flip_the_statement(folder):
    flip(folder / SECOND)


def flip_a_manifest(folder):
    flip(next((folder / "snapshots/web/sifted/2026-01").glob("*.json")))


def flip_a_shard(folder):
    flip(min(folder.rglob("*.parquet")))


def remove_a_shard(folder):
    min(folder.rglob("*.parquet")).unlink()


@pytest.mark.parametrize(
    "attack",
    [
        cut_leaves, swap_leaves, lie_in_a_leaf, remove_the_first_release, flip_the_statement, flip_a_manifest,
        flip_a_shard, remove_a_shard,
    ],
)  # fmt: skip
def test_a_changed_bundle_is_not_proven(made, bundle, attack):
    attack(bundle)

    assert "NOT PROVEN: " in check(bundle, key=made.folder / "key.pem", code=1)


def test_signed_shares_that_the_documents_do_not_give_are_not_proven(made, bundle):
    said = {**made.chain()[-1].statement, "shares": {"human_verified": 405}}
    overwrite(bundle / SECOND, attestation.sign(KEY, subjects_of(said), PREDICATE, said))

    assert "the shares are signed as" in check(bundle, key=made.folder / "key.pem", code=1)


def test_a_recall_is_said(tmp_path, monkeypatch):
    guard = Provable(tmp_path)
    monkeypatch.setattr("collapse_guard.release.publishing.judge", guard.judge)
    guard.release(guard.candidate())
    recall(guard.store, "pages.jsonl", reason="takedown", by="the legal desk", key=KEY, at=AT)

    assert "RECALLED: 'pages.jsonl' by the legal desk: takedown" in check(guard.store.root)


def test_a_bundle_goes_into_a_new_folder_only(made):
    with pytest.raises(UsageError, match="is not empty"):
        export_bundle(made.store, made.chain()[-1], made.keys(), made.folder / "bundle")
