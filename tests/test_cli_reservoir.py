"""The commands about the reservoir and about trusted keys."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives import serialization
from small_project import pages, write_pages
from test_cli import Shell
from watermarked import green, write_ring

from collapse_guard.attestation import load_key
from collapse_guard.reservoir import HUMAN, open_reservoir
from collapse_guard.store import LocalStore

SAID = ("--by", "us", "--licence", "CC0-1.0", "--evidence", "scanned from print")
RESIDUE = "As an AI language model, I cannot share personal opinions about this. The market opens at nine."


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    write_pages(tmp_path / "human" / "h.jsonl", pages(12, seed=1))
    return Shell(tmp_path, capsys, monkeypatch)


def admit(shell, *more, code=0):
    return shell.json("reservoir", "admit", "human", *SAID, *more, code=code)


def test_refused_documents_are_counted_and_shown(shell, tmp_path):
    (tmp_path / "human" / "r.jsonl").write_text(json.dumps({"id": "r", "text": RESIDUE}), encoding="utf-8")
    write_pages(tmp_path / "models" / "m.jsonl", pages(12, seed=1)[:2])
    ring = str(write_ring(tmp_path, green()))

    found = admit(shell, "--keys", ring, "--synthetic", "models")

    assert found["ledger"]["dropped"] == {"refused:residue": 1, "refused:near_synthetic": 2}
    assert found["ledger"]["kept"] == 10


def test_two_people_and_a_tombstone_from_the_first_entry_to_verify(shell):
    assert shell.json("reservoir", "init", "--require-two")["rules"]["two_signatures"] is True
    code, _, said = shell("reservoir", "admit", "human", *SAID)
    assert code == 0
    assert "in no split yet" in said
    [pending] = shell.json("reservoir", "list")["admissions"]
    assert shell("reservoir", "countersign", pending["digest"])[0] == 2
    rotated = shell.json("trust", "rotate", "--root", "reservoir", "--new", "second.pem", "--because", "second desk")
    signed = shell.json("reservoir", "countersign", pending["digest"][:16], "--key", "second.pem")

    name = documents(shell)[0]
    gone = shell.json("reservoir", "tombstone", name, "--reason", "privacy", "--by", "a reader", "--because", "asked")
    listed = shell.json("reservoir", "list")

    assert rotated["number"] == 2
    assert signed["details"]["documents"] == 12
    assert gone["ledger"]["dropped"] == {"tombstone:privacy": 1}
    assert [row["id"] for row in listed["tombstones"]] == [name]
    assert [entry["kind"] for entry in listed["entries"]] == ["rules", "admission", "countersign", "tombstone"]
    assert shell.json("reservoir", "verify")["documents"] == 11
    assert "a reader: asked" in shell("reservoir", "list")[1]


def documents(shell):
    reservoir = open_reservoir(LocalStore(shell.folder / "reservoir"))
    return [name for table in reservoir.index(HUMAN) for name in table["id"].to_pylist()]


def test_a_quarantine_waits_and_settling_too_early_changes_nothing(shell):
    admitted = admit(shell, "--quarantine-days", "30")

    assert shell.json("reservoir", "settle")["digest"] == admitted["digest"]
    assert shell.json("reservoir", "list")["tokens"] == {"human": 0, "evaluation": 0}
    assert shell.json("reservoir", "list")["pending"][0]["mixable_from"]


def test_less_than_the_rules_demand_is_wrong_use(shell):
    shell.json("reservoir", "init", "--quarantine-days", "30")

    for wrong in (["--quarantine-days", "10"], ["--object-lock", "compliance", "--retention-days", "9"]):
        assert "error" in admit(shell, *wrong, code=2)
    assert shell("reservoir", "init")[0] == 2


def test_a_manifest_shows_a_rollback_and_a_sample_is_said_to_be_one(shell):
    admit(shell)
    shell.json("reservoir", "hold", "--by", "the court", "--because", "case 7")
    shell.json("reservoir", "export-manifest", "kept.json")

    assert shell.json("reservoir", "verify", "--manifest", "kept.json")["listed"] > 4
    assert "sampled" in shell("reservoir", "verify", "--sample", "0.05")[1]
    assert "a folder cannot hold" in shell("reservoir", "hold", "--by", "us", "--because", "why")[1]
    for newest in sorted((shell.folder / "reservoir/snapshots/reservoir").iterdir())[1:]:
        newest.unlink()
    assert shell("reservoir", "verify")[0] == 0
    assert shell("reservoir", "verify", "--manifest", "kept.json")[0] == 3


def test_a_hold_is_lifted_by_name(shell):
    admit(shell)
    held = shell.json("reservoir", "hold", "--by", "the court", "--because", "case 7")
    lifting = ["reservoir", "hold", "--by", "the court", "--because", "closed", "--lift"]

    assert "no hold is named" in shell.json(*lifting, "deadbeef", code=2)["error"]
    assert shell.json(*lifting, held["digest"][:12])["hold"] == held["digest"]
    assert "the lifting is recorded" in shell(*lifting, held["digest"])[1]
    assert [entry["kind"] for entry in shell.json("reservoir", "list")["entries"]] == ["admission", "hold", "lift"]


def test_keys_are_listed_added_and_retired(shell):
    admit(shell)
    where = ["--root", "reservoir"]
    old = shell.json("trust", "list", *where)["keys"][0]["keyid"]
    shell.json("trust", "rotate", *where, "--new", "new.pem", "--retire", old[:8], "--because", "laptop stolen")

    keys = shell.json("trust", "list", *where)["keys"]
    assert [key["retired"] for key in keys] == [True, False]
    assert "may sign" in shell("trust", "list", *where)[1]
    assert shell.json("reservoir", "verify")["documents"] == 12
    assert "was retired" in shell.json("reservoir", "settle", code=2)["error"]
    later = ["--key", "new.pem", "--new", "third.pem", "--valid-from", "2031-01-01", "--because", "next year"]
    assert "2031" in shell("trust", "rotate", *where, *later)[1]
    assert "is trusted from" in shell.json("reservoir", "settle", "--key", "third.pem", code=2)["error"]


def test_a_pinned_key_must_be_among_those_of_the_reservoir(shell):
    admit(shell)
    pem, spki = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    for name in ("key.pem", "stranger.pem"):
        if name == "stranger.pem":
            shell.json("trust", "rotate", "--root", "other", "--key", "key.pem", "--because", "x", code=3)
            shell.json("reservoir", "settle", "--root", "reservoir", "--key", name, code=2)
        public = load_key(shell.folder / name).public.key.public_bytes(pem, spki)
        (shell.folder / f"{name}.pub").write_bytes(public)

    assert shell("reservoir", "verify", "--trusted", "key.pem.pub")[0] == 0
    assert shell("reservoir", "verify", "--trusted", "stranger.pem.pub")[0] == 3
