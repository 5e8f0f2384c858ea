from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_project import pages, write_pages
from test_cli import Shell, admit, policy

from collapse_guard import open_release
from collapse_guard.snapshot import latest
from collapse_guard.store import LocalStore

PAGE = (Path(__file__).parents[1] / "docs" / "proof.md").read_text(encoding="utf-8")
VERIFIER = Path(__file__).parents[1] / "docs" / "cg_verify.py"
WEB = ("--corpus", "web")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, capsys, monkeypatch)


@pytest.fixture
def released(shell: Shell) -> Shell:
    """A folder in which one dump was ingested, mixed and released."""
    where = [*WEB, "--dump", "d0"]
    write_pages(shell.folder / "crawl" / "c.jsonl", [*pages(80, seed=2), "too short"])
    (shell.folder / "crawl" / "broken.jsonl").write_text('{"text": "cut o', encoding="utf-8")
    admit(shell)
    shell("ingest", "crawl", *where)
    for step in ("sift", "mix", "release"):
        assert shell(step, *where, "--policy", policy(shell))[0] == 0
    return shell


def test_verify_says_what_is_proven_and_what_is_not(released: Shell) -> None:
    code, out, _ = released("verify", *WEB)
    told = released.json("verify", "1", *WEB)

    assert code == 0
    assert "proven      release 1 of 'web' (d0)" in out
    assert "not proven  that a text was written by a human" in out
    assert f"Merkle root {told['merkle_root']}" in out
    assert told["steps"][1]["ledger"]["dropped"] == {"gopher_quality@1:too_short": 1}
    assert sum(told["steps"][3]["ledger"]["quarantined"].values()) == 1
    assert told["tree_size"] == told["ledger"]["in"] + 2
    assert told["unproven"]


def test_a_document_is_proven_on_the_command_line(released: Shell) -> None:
    bundle = released.folder / "bundle"
    released("verify", *WEB, "--export-bundle", str(bundle))
    rows = [json.loads(line) for line in (bundle / "leaves.jsonl").read_text(encoding="utf-8").splitlines()]

    for disposition in ("kept", "dropped", "quarantined"):
        row = next(row for row in rows if row["disposition"] == disposition)
        (proof,) = released.json("verify", *WEB, "--document", row["id"])["proofs"]
        assert proof["document"] == row
    assert released("verify", *WEB, "--document", "nobody")[0] == 2


def test_the_bundle_of_a_real_release_is_proven_by_the_single_file(released: Shell) -> None:
    bundle = released.folder / "bundle"
    code, out, _ = released("verify", *WEB, "--export-bundle", str(bundle))
    done = subprocess.run(
        [sys.executable, "-I", str(VERIFIER), str(bundle), "web"], capture_output=True, text=True, check=False
    )

    assert code == 0
    assert "cg_verify.py" in out
    assert done.returncode == 0, done.stdout
    assert "their dispositions" in done.stdout


def test_verify_of_damaged_bytes_exits_3_and_of_an_unknown_release_2(released: Shell) -> None:
    assert released("verify", "7", *WEB)[0] == 2
    (first, *_) = latest(LocalStore(released.folder / "guard"), "web/candidate/d0").with_role("documents")
    shard = released.folder / "guard" / first.key
    shard.chmod(0o644)
    shard.write_bytes(shard.read_bytes()[:-1])

    code, _, err = released("verify", *WEB)

    assert code == 3
    assert "was changed after it was published" in err


def test_recall_lists_then_closes_and_verify_says_so(released: Shell) -> None:
    source = "c.jsonl"
    listed = released.json("recall", source)
    assert [one["number"] for one in listed["releases"]] == [1]
    assert listed["notices"] == []
    assert released("recall", source, "--reason", "takedown")[0] == 2

    closed = released.json("recall", source, "--reason", "takedown", "--by", "the legal desk")
    code, _, err = released("verify", *WEB)

    assert closed["notices"] == ["recalls/web/00000001.json"]
    assert closed["releases"][0]["recalled"] == closed["notices"]
    assert code == 1
    assert "was recalled: recall notice recalls/web/00000001.json" in err
    assert "RECALLED" in released("verify", "1", *WEB)[1]
    assert "no release contains 'nobody'" in released("recall", "nobody")[1]


def test_reports_are_written_as_markdown_and_json(released: Shell) -> None:
    code, page, _ = released("report", *WEB, "--eu-summary", "--reservoir", "reservoir")
    facts = released.json("report", *WEB, "--eu-summary")
    released("report", *WEB, "--croissant", "--out", "croissant.json")

    assert code == 0
    assert page.startswith("# Training content")
    assert "CC0-1.0" in page
    assert facts["general"]["provider"] == "unknown"
    written = json.loads((released.folder / "croissant.json").read_text(encoding="utf-8"))
    assert written["@type"] == "sc:Dataset"
    assert released("report", *WEB)[0] == 2


def test_the_page_names_every_part_of_a_statement(released: Shell) -> None:
    said = open_release(released.folder / "guard", "web").release.statement

    left = {name for name in said if f"`{name}`" not in PAGE}
    assert left == {"corpus", "dump", "snapshot"}


def test_a_signature_is_checked_by_hand_as_the_page_says(released: Shell) -> None:
    released("verify", *WEB, "--export-bundle", "bundle")
    key = next((released.folder / "bundle" / "keys").glob("*.pem"))
    (released.folder / "signer.pem").write_bytes(key.read_bytes())
    script = next(block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "openssl" in block)

    def by_hand() -> subprocess.CompletedProcess[str]:
        script_here = script.replace("python -", f"{sys.executable} -")
        return subprocess.run(
            ["bash", "-c", script_here], cwd=released.folder, capture_output=True, text=True, check=False
        )

    assert "Signature Verified Successfully" in by_hand().stdout
    envelope = released.folder / "bundle" / "releases" / "web" / "00000001.json"
    said = json.loads(envelope.read_bytes())
    said["payload"] = base64.b64encode(
        base64.b64decode(said["payload"]).replace(b'"passed":true', b'"passed":1234')
    ).decode()
    envelope.write_text(json.dumps(said), encoding="utf-8")
    assert by_hand().returncode != 0


def test_the_python_of_the_page_runs(released: Shell) -> None:
    code = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "open_release" in block)
    released("verify", *WEB, "--export-bundle", "bundle")
    key = next((released.folder / "bundle" / "keys").glob("*.pem"))
    (released.folder / "signer.pem").write_bytes(key.read_bytes())

    exec(code, {})  # noqa: S102 - our own page
