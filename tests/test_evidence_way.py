"""Evidence on its whole way: from files and a policy to verdicts, and what makes it be looked for again."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from builders import publish_documents
from watermarked import SECRET, WORDS, green, marked_words, plain_words, text_of, write_ring

from collapse_guard.catalogue import load_policy
from collapse_guard.engine import LocalEngine
from collapse_guard.errors import PolicyError
from collapse_guard.explain import explain
from collapse_guard.ingest import ingest
from collapse_guard.measure import measure, measure_snapshot
from collapse_guard.policy import Gate, Policy, Rule
from collapse_guard.provenance.watermark.key_ring import read_keys
from collapse_guard.provenance.watermark.nulls import calibrate
from collapse_guard.sift import sift, sift_snapshot
from collapse_guard.snapshot import Snapshot, read_shard
from collapse_guard.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

RULES = """\
watermarks: {keys: keys.yaml, q: 0.01}
rules:
  - {name: marked, signal: watermark.q_value, low: 0.01, outside: drop}
  - {name: declared, signal: declared.synthetic, high: 0.5, outside: drop}
  - {name: residue, signal: residue.score, high: 0.5, outside: review}
"""
RESIDUE = "As an AI language model, I cannot fulfil this request. "
PLAIN, MARKED = 30, 8


def policy_of(folder: Path, text: str = RULES, name: str = "policy.yaml") -> Policy:
    gates = "gates: {human_share: {low: 0.1, outside: block}}\n"
    (folder / name).write_text(f"name: evidence\ndedup: {{near: null}}\n{gates}{text}", encoding="utf-8")
    return load_policy(folder / name)


def record(number: int, text: str, head: str, captured: str) -> bytes:
    page = f"<!doctype html><html><head>{head}</head><body><p>{text}</p></body></html>"
    block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{page}".encode()
    fields = (
        f"WARC-Type: response\r\nWARC-Target-URI: https://site{number}.example/page\r\nWARC-Date: {captured}\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}"
    )
    return f"WARC/1.0\r\n{fields}\r\n\r\n".encode() + block + b"\r\n\r\n"


def write_crawl(folder: Path) -> Path:
    """Pages in a WARC, one declared, one old, one old and marked; lines, some of which are marked or hold residue."""
    folder.mkdir()
    marked = marked_words(220, 900, green())
    now = "2026-03-01T00:00:00Z"
    declared = '<meta name="ai-generated" content="all">'
    pages = [
        record(0, text_of(plain_words(200, 800)), "", now),
        record(1, text_of(plain_words(200, 801)), declared, now),
        record(2, text_of(plain_words(200, 802)), "", "2019-03-01T00:00:00Z"),
        record(3, text_of(marked), "", "2019-03-01T00:00:00Z"),
    ]
    (folder / "pages.warc").write_bytes(b"".join(pages))
    rows = [{"id": f"plain{seed}", "text": text_of(plain_words(200, seed))} for seed in range(PLAIN)]
    rows += [{"id": f"marked{n}", "text": text_of(marked_words(200, 100 + n, green()))} for n in range(MARKED)]
    rows += [{"id": "residue", "text": RESIDUE + text_of(plain_words(100, 77))}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


class Way(NamedTuple):
    """A folder with a policy and a key ring, the store, and what every step published."""

    folder: Path
    policy: Policy
    store: LocalStore
    documents: Snapshot
    measured: Snapshot
    sifted: Snapshot

    def rows(self, step: Snapshot, role: str) -> pa.Table:
        return pa.concat_tables(read_shard(self.store, shard) for shard in step.with_role(role))


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Way:
    folder = tmp_path_factory.mktemp("way")
    write_ring(folder, green(5), green())
    policy, store = policy_of(folder), LocalStore(folder / "guard")
    documents = ingest(store, "web", "d0", [str(write_crawl(folder / "crawl"))], workers=1)
    measured = measure_snapshot(store, documents, policy)
    return Way(folder, policy, store, documents, measured, sift_snapshot(store, measured, policy))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_ring(tmp_path, green())
    return tmp_path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(PolicyError) as raised:
        policy_of(folder, text, "refused.yaml")
    return str(raised.value)


def test_marked_and_declared_documents_are_dropped_and_residue_goes_to_review(way: Way) -> None:
    assert way.sifted.ledger.dropped == {"marked": MARKED + 1, "declared": 1}
    assert way.sifted.ledger.review == 1
    assert way.sifted.ledger.kept == PLAIN + 2
    for row in way.rows(way.sifted, "sifted").to_pylist():
        if row["rule"] == "marked":
            assert 0 <= row["value"] < 0.01
        if row["rule"] in {"declared", "residue"}:
            assert row["value"] > 0.5
        assert (row["rule"] == "marked") == row["id"].startswith("marked") or not row["id"].startswith(("p", "m", "r"))


def test_origins_follow_from_marks_declarations_residue_and_the_time_of_capture(way: Way) -> None:
    measured = way.rows(way.measured, "measured")
    pages = {row["domain"]: row["origin"] for row in measured.to_pylist() if row["domain"]}

    assert pages == {
        "site0.example": "unknown",
        "site1.example": "synthetic",
        "site2.example": "human_presumed",
        "site3.example": "synthetic",
    }
    assert way.measured.details["evidence"]["origins"]["synthetic"] == MARKED + 3
    assert way.measured.details["evidence"]["watermarks"]["outcomes"]["evidence"] == MARKED + 1


def test_explain_tells_the_key_the_place_and_every_finding(way: Way) -> None:
    (marked,) = explain(way.store, "marked0")["found"]
    (residue,) = explain(way.store, "residue")["found"]

    assert (marked["verdict"], marked["rule"], marked["origin"]) == ("drop", "marked", "synthetic")
    assert marked["evidence"]["watermark"]["outcome"] == "evidence"
    assert marked["evidence"]["watermark"]["key"] == "k1"
    assert marked["evidence"]["watermark"]["end"] - marked["evidence"]["watermark"]["start"] > 600
    assert marked["evidence"]["numbers"]["watermark.log_p"] < -20
    assert residue["verdict"] == "review"
    assert residue["evidence"]["findings"][0]["start"] == 0
    (declared,) = [
        explain(way.store, row["id"])["found"][0]
        for row in way.rows(way.sifted, "sifted").to_pylist()
        if row["rule"] == "declared"
    ]
    assert [finding["name"] for finding in declared["evidence"]["findings"]] == ["meta:ai-generated"]


def test_measuring_in_memory_gives_the_columns_of_the_snapshot(way: Way) -> None:
    documents = way.rows(way.documents, "documents")

    assert measure(documents, way.policy) == way.rows(way.measured, "measured")


def test_a_second_run_and_another_store_give_the_same_digest(way: Way, tmp_path: Path) -> None:
    other = LocalStore(tmp_path / "other")
    documents = ingest(other, "web", "d0", [str(way.folder / "crawl")], workers=2)

    assert measure_snapshot(way.store, way.documents, way.policy).digest == way.measured.digest
    assert measure_snapshot(other, documents, way.policy, LocalEngine(1)).digest == way.measured.digest


@pytest.mark.parametrize("count", [1, 5])
def test_verdicts_do_not_depend_on_the_shards(way: Way, tmp_path: Path, count: int) -> None:
    documents = way.rows(way.documents, "documents")
    cuts = np.linspace(0, documents.num_rows, count + 1).astype(int).tolist()
    store = LocalStore(tmp_path / "guard")
    parts = [documents.slice(start, end - start) for start, end in itertools.pairwise(cuts)]

    measured = measure_snapshot(store, publish_documents(store, parts), way.policy, LocalEngine(2))

    assert len(measured.shards) == count
    assert pa.concat_tables(read_shard(store, each) for each in measured.shards) == way.rows(way.measured, "measured")
    assert sift_snapshot(store, measured, way.policy).ledger == way.sifted.ledger
    expected = way.measured.details["evidence"]
    told = measured.details["evidence"]
    assert told.keys() == expected.keys()
    for row, other in zip(told["watermarks"]["prevalence"], expected["watermarks"]["prevalence"], strict=True):
        assert row == pytest.approx(other)


def test_moving_a_bound_measures_nothing_again(way: Way) -> None:
    first, *others = way.policy.rules
    moved = dataclasses.replace(way.policy, rules=(dataclasses.replace(first, low=1.0), *others))

    assert measure_snapshot(way.store, way.documents, moved).digest == way.measured.digest
    assert sift_snapshot(way.store, way.measured, moved).ledger.dropped["marked"] > MARKED + 1


class Small(NamedTuple):
    """Forty documents, one of them marked, with a ring and a policy of the test's own."""

    folder: Path
    store: LocalStore
    documents: Snapshot

    def measured(self, text: str = RULES, environment: dict[str, str] | None = None) -> Snapshot:
        return measure_snapshot(self.store, self.documents, policy_of(self.folder, text), environment=environment)


@pytest.fixture
def small(folder: Path) -> Small:
    texts = [*(text_of(plain_words(120, seed)) for seed in range(39)), text_of(marked_words(200, 50, green()))]
    rows = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    store = LocalStore(folder / "guard")
    return Small(folder, store, ingest(store, "web", "d0", [str(folder / "rows.jsonl")], workers=1))


def another_secret(folder: Path) -> str:
    write_ring(folder, green(SECRET - 2))
    return RULES


def another_key(folder: Path) -> str:
    write_ring(folder, green(), green(3))
    return RULES


def another_q(_: Path) -> str:
    return RULES.replace("q: 0.01", "q: 0.05")


def another_calibration(folder: Path) -> str:
    human = pa.array([text_of([7, 8, 9] * 20 + plain_words(100, seed)) for seed in range(210)], pa.large_string())
    calibrate(read_keys(folder / "keys.yaml", {}), [human]).write(folder / "known.parquet")
    return RULES.replace("q: 0.01", "q: 0.01, calibration: known.parquet")


def another_owner(folder: Path) -> str:
    write_ring(folder, green() | {"owner": "another desk", "valid_until": "2027-01-01"})
    return RULES


@pytest.mark.parametrize("change", [another_secret, another_key, another_q, another_calibration])
def test_what_changes_the_evidence_is_measured_again(small: Small, change: Callable[[Path], str]) -> None:
    before = small.measured()

    after = small.measured(change(small.folder))

    assert after.run_key != before.run_key
    assert after.digest != before.digest


def test_paperwork_about_a_key_measures_nothing_again(small: Small) -> None:
    before = small.measured()

    assert small.measured(another_owner(small.folder)).digest == before.digest


def test_a_secret_that_changes_behind_a_policy_is_noticed(small: Small) -> None:
    policy = policy_of(small.folder)
    before = measure_snapshot(small.store, small.documents, policy)
    (small.folder / "k0.secret").write_text("12345", encoding="utf-8")

    assert measure_snapshot(small.store, small.documents, policy).run_key != before.run_key


def test_a_calibration_that_a_policy_made_in_python_names_is_part_of_the_run(small: Small) -> None:
    another_calibration(small.folder)
    policy = policy_of(small.folder)
    assert policy.watermarks
    named = dataclasses.replace(policy.watermarks, calibration="known.parquet")
    by_hand = dataclasses.replace(policy, watermarks=named)
    before = measure_snapshot(small.store, small.documents, by_hand)
    human = pa.array([text_of([4, 5, 6] * 20 + plain_words(100, seed)) for seed in range(210)], pa.large_string())
    calibrate(read_keys(small.folder / "keys.yaml", {}), [human]).write(small.folder / "known.parquet")

    assert measure_snapshot(small.store, small.documents, by_hand).run_key != before.run_key


def test_a_ring_that_changed_since_the_policy_was_read_is_refused(small: Small) -> None:
    policy = policy_of(small.folder)
    another_key(small.folder)

    with pytest.raises(PolicyError, match=r"keys\.yaml: it changed since the policy was read"):
        measure_snapshot(small.store, small.documents, policy)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"key": {"env": "NOBODY_SET_THIS"}}, "NOBODY_SET_THIS is not set"),
        ({"device": "cuda"}, "drawn on cuda"),
        ({"tokenizer_sha256": "0" * 64}, "another tokenizer or version"),
        ({"vocab_size": len(WORDS) - 1}, "has 1000 ids and `vocab_size` is 999"),
        ({"tokenizer": "gone.txt"}, "gone.txt"),
    ],
)
def test_a_key_that_cannot_be_tested_fails_closed_where_it_is_alone(
    small: Small, wrong: dict[str, Any], reason: str
) -> None:
    write_ring(small.folder, green() | wrong)

    measured = small.measured()
    sifted = sift_snapshot(small.store, measured, policy_of(small.folder))

    watermarks = measured.details["evidence"]["watermarks"]
    assert watermarks["outcomes"] == {"unsupported": 40}
    assert [key["id"] for key in watermarks["unsupported_keys"]] == ["k0"]
    assert reason in watermarks["unsupported_keys"][0]["reason"]
    assert read_shard(small.store, measured.shards[0])["watermark.q_value@1"].null_count == 40
    assert sifted.ledger.dropped == {"marked": 40}


def test_a_key_that_cannot_be_tested_costs_the_others_nothing(small: Small) -> None:
    write_ring(small.folder, green(), green(6) | {"key": {"env": "NOBODY_SET_THIS"}})

    assert small.measured().details["evidence"]["watermarks"]["outcomes"]["evidence"] == 1


def test_a_secret_in_the_environment_is_used_when_it_is_there(small: Small) -> None:
    write_ring(small.folder, green() | {"key": {"env": "THE_KEY"}})
    missing = small.measured()

    found = small.measured(environment={"THE_KEY": str(SECRET)})

    assert missing.run_key != found.run_key
    assert found.details["evidence"]["watermarks"]["outcomes"]["evidence"] == 1


def test_an_expired_key_still_finds_what_was_written_under_it(small: Small) -> None:
    write_ring(small.folder, green() | {"valid_from": "2023-01-01", "valid_until": "2024-01-01"})

    assert small.measured().details["evidence"]["watermarks"]["outcomes"]["evidence"] == 1


def test_no_documents_have_the_columns_of_many(folder: Path) -> None:
    policy = policy_of(folder)

    nothing = measure([], policy)

    assert nothing.num_rows == 0
    assert nothing.schema.names == measure(["some words"], policy).schema.names
    assert sift(nothing, policy).ledger.came_in == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules:\n  - {signal: watermark.q_value, low: 0.01, outside: drop}", "5: rules.0.signal"),
        ("rules: [{signal: word_count, low: 1, outside: drop, where: {signal: watermark.log_p, low: -9}}]", "4: rules"),
        ("signals: {own: {kind: classifier.p_synthetic}}", "4: signals.own"),
        ("packs: [own.yaml]", "4: packs.0: watermark.q_value"),
    ],
)
def test_evidence_that_nothing_collects_is_refused_with_its_line(folder: Path, text: str, said: str) -> None:
    pack = "name: own\nversion: 1\nsource: ours\nrules: [{signal: watermark.q_value, low: 0.01, outside: drop}]\n"
    (folder / "own.yaml").write_text(pack, encoding="utf-8")

    told = refused(folder, text)

    assert f"refused.yaml:{said}" in told
    assert "is never measured, because the policy has no `" in told


def test_evidence_that_nothing_collects_is_refused_in_a_policy_made_in_python_too() -> None:
    gates = {"human_share": Gate(low=0.1, outside="block")}
    policy = Policy(name="own", rules=(Rule(signal="watermark.q_value", low=0.01, outside="drop"),), gates=gates)

    with pytest.raises(PolicyError, match=r"policy 'own': watermark\.q_value is never measured"):
        measure(["some words"], policy)


def test_an_origin_is_a_bound_and_a_misspelt_one_a_mistake_with_its_line(folder: Path) -> None:
    policy = policy_of(folder, "rules: [{signal: origin, high: unknown, outside: drop}]")
    texts = [text_of(plain_words(100, 1)), RESIDUE + text_of(plain_words(100, 2))]

    assert sift(measure(texts, policy), policy).verdicts["verdict"].to_pylist() == ["keep", "drop"]
    assert "4: rules.0.high" in (told := refused(folder, "rules: [{signal: origin, high: unkown, outside: drop}]"))
    assert "Did you mean 'unknown'?" in told


@pytest.mark.parametrize(
    "text",
    [
        "rules: [{signal: declared.synthetic, high: unknown, outside: drop}]",
        "rules: [{signal: word_count, low: 1, outside: drop, where: {signal: word_count, high: unknown}}]",
        "packs: [{pack: c4@1, where: {signal: word_count, high: unknown}}]",
    ],
)
def test_an_origin_bounds_nothing_else(folder: Path, text: str) -> None:
    assert "is a number, not an origin" in refused(folder, text)


class Watching:
    """An engine that notes how much Arrow holds whenever a shard is done."""

    def __init__(self) -> None:
        self.held: list[int] = []

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            done = function(item)
            self.held.append(pa.total_allocated_bytes())
            yield done
            del done


def test_memory_does_not_grow_with_the_shards_that_wait_for_one_another(folder: Path) -> None:
    store, policy, engine = LocalStore(folder / "guard"), policy_of(folder), Watching()
    rows = [{"id": str(n), "text": text_of(plain_words(60, n))} for n in range(400)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    whole = ingest(store, "one", "d0", [str(folder / "rows.jsonl")], workers=1)
    documents = read_shard(store, whole.with_role("documents")[0])
    parts = [documents.slice(start, 20) for start in range(0, 400, 20)]
    gc.collect()

    measured = measure_snapshot(store, publish_documents(store, parts), policy, engine)

    first, second = engine.held[:20], engine.held[20:]
    largest = max(read_shard(store, shard).nbytes for shard in measured.shards)
    for held in (first, second):
        assert max(held[1:]) - held[0] < 3 * largest
    assert list((folder / "guard" / "staging").glob("*")) == []
