from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from builders import AT, KEY, OTHER_KEY, flipped, overwrite
from provable import Provable, public_pem

from collapse_guard import attestation
from collapse_guard.attestation import rotate
from collapse_guard.bundle import export_bundle
from collapse_guard.canonical import sha256_hex
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


THIRD = "releases/web/00000003.json"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def rotated(made, tmp_path_factory):
    """A guard whose second key, trusted a day later, signed the third release and retired the first key."""
    guard = made.copy(tmp_path_factory.mktemp("rotated") / "guard")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collapse_guard.release.publishing.judge", guard.judge)
        rotate(guard.store, KEY, AT + DAY, "a second desk", new=OTHER_KEY)
        rotate(guard.store, OTHER_KEY, AT + 2 * DAY, "laptop stolen", retire=KEY.public.keyid)
        guard.release(guard.candidate("2026-03"), key=OTHER_KEY, at=AT + 3 * DAY)
    public_pem(guard.folder / "old.pem", KEY)
    public_pem(guard.folder / "new.pem", OTHER_KEY)
    export_bundle(guard.store, guard.chain()[-1], guard.keys(), guard.folder / "new")
    return guard


@pytest.mark.parametrize("key", ["old.pem", "new.pem", None])
def test_a_key_of_the_log_leads_to_the_others(rotated, key):
    said = check(rotated.folder / "new", key=key and rotated.folder / key)

    assert "release 3 of web (2026-03)" in said
    assert "the chain of 3 release(s)" in said


def test_what_a_retired_key_signed_before_counts_and_nothing_else(rotated, tmp_path):
    guard = rotated.copy(tmp_path / "copy")
    assert "release 2 of web" in check(guard.store.root, "--release", "2", key=guard.folder / "new.pem")

    said = {**guard.chain()[-1].statement, "released_at": AT.isoformat()}
    overwrite(guard.path(THIRD), attestation.sign(KEY, subjects_of(said), PREDICATE, said))

    told = check(guard.store.root, key=guard.folder / "new.pem", code=1)
    assert f"it was signed by key {KEY.public.keyid[:16]} after that was retired" in told


def test_a_key_counts_for_no_time_before_it_was_trusted(rotated, tmp_path):
    guard = rotated.copy(tmp_path / "copy")
    said = {**guard.chain()[-1].statement, "released_at": AT.isoformat()}
    overwrite(guard.path(THIRD), attestation.sign(OTHER_KEY, subjects_of(said), PREDICATE, said))

    assert "or before it was valid" in check(guard.store.root, key=guard.folder / "old.pem", code=1)


def test_a_release_by_a_key_that_the_log_does_not_know_is_not_proven(rotated, tmp_path):
    guard = rotated.copy(tmp_path / "copy")
    stranger = attestation.create_key(tmp_path / "stranger.pem")
    said = guard.chain()[-1].statement
    overwrite(guard.path(THIRD), attestation.sign(stranger, subjects_of(said), PREDICATE, said))

    assert "no signature on it is by a key that you trust" in check(guard.store.root, code=1)


def without_the_second_entry(folder):
    (folder / "trust/00000002.json").unlink()


def without_the_rotation(folder):
    without_the_second_entry(folder)
    (folder / "trust/00000003.json").unlink()


def flip_an_entry(folder):
    flip(folder / "trust/00000003.json")


def flip_the_first_entry(folder):
    flip(folder / "trust/00000001.json", 0.1)


def no_json(folder):
    overwrite(folder / "trust/00000001.json", b"no json")


def nothing_signed(folder):
    overwrite(folder / "trust/00000002.json", b'{"payload":"e30=","payloadType":"x","signatures":[]}')


def a_key_that_did_not_sign(folder):
    """An entry that adds a key which nobody shows to hold."""
    key = {
        "keyid": OTHER_KEY.public.keyid,
        "ed25519": json.loads((folder / "trust/00000001.json").read_text())["ed25519"],
    }
    said = {"number": 2, "key": key, "valid_from": AT.isoformat(), "retire": None, "signed": None, "at": AT.isoformat()}
    before = sha256_hex((folder / "trust/00000001.json").read_bytes())
    kind = "https://collapse-guard.dev/trust/v1"
    overwrite(folder / "trust/00000002.json", attestation.sign(KEY, {"trust": before}, kind, said))


@pytest.mark.parametrize(
    "attack",
    [
        without_the_second_entry, without_the_rotation, flip_an_entry, flip_the_first_entry, no_json, nothing_signed,
        a_key_that_did_not_sign,
    ],
)  # fmt: skip
def test_a_changed_log_of_keys_is_not_proven(rotated, tmp_path, attack):
    guard = rotated.copy(tmp_path / "copy")
    attack(Path(guard.store.root))

    for key in ("old.pem", None):
        assert "NOT PROVEN: " in check(guard.store.root, key=key and guard.folder / key, code=1)


def test_a_recalled_document_in_a_release_that_no_notice_names_is_said(made, tmp_path, monkeypatch):
    guard = made.copy(tmp_path / "copy")
    monkeypatch.setattr("collapse_guard.release.publishing.judge", guard.judge)
    wanted = next(name for name in guard.open(dump="2026-01").to_arrow()["id"].to_pylist() if name.startswith("h"))
    recall(guard.store, wanted, reason="takedown", by="the legal desk", key=KEY, at=AT)
    monkeypatch.setattr("collapse_guard.release.publishing.find_held", lambda *_: [])
    entry = guard.release(guard.candidate("2026-03"))
    export_bundle(guard.store, entry, guard.keys(), tmp_path / "bundle")

    assert f"RECALLED: {wanted!r} by the legal desk: takedown" in check(tmp_path / "bundle")
