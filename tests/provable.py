"""A small guard whose candidate comes from the real mix, with documents of every disposition behind it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from builders import AT, KEY, Made, admitted, document, measured, numbered, table
from cryptography.hazmat.primitives import serialization

from collapse_guard import attestation
from collapse_guard.document import QUARANTINE
from collapse_guard.judge import Judgement
from collapse_guard.mix import mix
from collapse_guard.policy import Gate, Mix, Policy, Rule
from collapse_guard.release import open_release, read_chain, release
from collapse_guard.reservoir import open_reservoir
from collapse_guard.sift import sift_snapshot
from collapse_guard.snapshot import Ledger, publish, write_shard
from collapse_guard.store import LocalStore

RULES = Policy(
    name="small",
    rules=(
        Rule(signal="word_count", low=50, outside="drop"),
        Rule(signal="mean_word_length", high=10, outside="review"),
    ),
    mix=Mix(human_share=0.4, tokens=400),
    gates={"human_share": Gate(low=0.1, outside="block")},
)
QUARANTINED = {"file": 'crawl/a "quoted".jsonl', "offset": 17, "bytes": 4, "reason": "bad_json", "detail": "no JSON"}


def dump_tables(dump: str, count: int) -> tuple[pa.Table, pa.Table]:
    """Documents and what was measured: of every ten one is too short, one too odd, and one a copy."""
    rows = numbered(f"{dump}-", [7] * count)
    for row in rows[3::10]:
        row["text"] = rows[0]["text"]
    texts = table([*rows, document(f'{dump}-"odd"\n', 9, source="b\\c.jsonl")])
    numbers = range(texts.num_rows)
    facts = measured(texts)
    facts = facts.append_column("word_count@2", pa.array([10.0 if n % 10 == 1 else 90.0 for n in numbers]))
    return texts, facts.append_column("mean_word_length@2", pa.array([40.0 if n % 10 == 2 else 5.0 for n in numbers]))


@dataclass
class Provable:
    """A guard, its reservoir, and a judge who says OK."""

    folder: Path
    reservoir: Any = None
    judged: list[str] = field(default_factory=list)
    rules: Policy = RULES

    def __post_init__(self):
        self.store = LocalStore(self.folder / "guard")
        people = LocalStore(self.folder / "reservoir")
        there = (self.folder / "reservoir").exists()
        self.reservoir = open_reservoir(people) if there else admitted(people, numbered("h", [11] * 60))

    def copy(self, folder):
        """The same guard in another folder, for one test to change."""
        shutil.copytree(self.folder, folder)
        return Provable(folder)

    def judge(self, _store, candidate, _reservoir, rules):
        self.judged.append(candidate.digest)
        nothing = {"reasons": ("the test says so",), "gates": (), "remedy": None, "metrics": {}, "baseline": {}}
        return Judgement(candidate.digest, rules.digest, "OK", sampled_tokens=9, **nothing)

    def candidate(self, dump="2026-01", count=40):
        texts, facts = dump_tables(dump, count)
        entry = {**QUARANTINED, "records": 2, "sha256": "ab" * 32, "data": b'{"a"'}
        documents = Made(self.store, f"web/documents/{dump}", "documents").of([texts], "documents", dump=dump)
        lost = write_shard(self.store, pa.Table.from_pylist([entry], schema=QUARANTINE), "quarantine")
        ledger = Ledger(texts.num_rows + 5, texts.num_rows, 0, {"not_a_page": 3}, {"bad_json": 2})
        documents = publish(self.store, replace(documents, shards=(*documents.shards, lost), ledger=ledger))
        made = Made(self.store, f"web/measured/{dump}", "measured", (documents.as_parent(),))
        sift_snapshot(self.store, publish(self.store, made.of([facts], "measured", corpus="web", dump=dump)), RULES)
        return mix(self.store, self.reservoir, "web", dump, self.rules)

    def bury(self, ids):
        """Let no later mix contain these documents."""
        lines = [f'"{name.replace(chr(34), chr(34) * 2)}",takedown' for name in ids]
        (self.folder / "gone.csv").write_text("\n".join(["id,reason", *lines, ""]), encoding="utf-8")
        self.rules = replace(RULES, mix=replace(RULES.mix, tombstones="gone.csv"), folder=self.folder)

    def release(self, candidate, key=KEY, at=AT):
        return release(self.store, candidate, self.reservoir, self.rules, key=key, at=at)[0]

    def open(self, **options):
        return open_release(self.store.root, "web", **options)

    def keys(self):
        return attestation.trusted_keys(self.store)

    def chain(self):
        return read_chain(self.store, "web", self.keys())

    def path(self, key):
        return Path(self.store.root) / key


def public_pem(path, key=KEY):
    """Write a public key as its owner would hand it out."""
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public.key.public_bytes(serialization.Encoding.PEM, kind))
    return path


def released_twice(folder: Path) -> Provable:
    """A guard with two released dumps."""
    made = Provable(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collapse_guard.release.publishing.judge", made.judge)
        for dump in ("2026-01", "2026-02"):
            made.release(made.candidate(dump))
    return made
