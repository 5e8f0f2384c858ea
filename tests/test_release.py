from __future__ import annotations

import base64
import json
import shutil
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import (
    AT,
    KEY,
    OTHER_KEY,
    Made,
    admitted,
    candidate,
    document,
    flipped,
    mixed_rows,
    numbered,
    overwrite,
    policy,
    table,
)
from cryptography.hazmat.primitives import serialization
from judging import GATES, JUDGING
from mixing import mixed
from small_project import pages

from collapse_guard import attestation
from collapse_guard.canonical import canonical_json, sha256_hex
from collapse_guard.errors import DamagedDataError, GateClosed, GuardError, UsageError
from collapse_guard.judge import Judgement, judge
from collapse_guard.metrics import Profile
from collapse_guard.mix.profiled import read_profile
from collapse_guard.policy import Dedup
from collapse_guard.profiling import ROLE
from collapse_guard.release import PREDICATE, open_release, read_chain, release
from collapse_guard.release.chain import TREE, subjects_of
from collapse_guard.snapshot import Snapshot, log, publish, resume, run_key, write_shard
from collapse_guard.store import LocalStore

RULES = policy()
FIRST = "releases/web/00000001.json"
SECOND = "releases/web/00000002.json"


@dataclass
class Guard:
    """A store, and a judge who says what a test wants."""

    store: LocalStore
    reservoir: Any
    state: str = "OK"
    judged: int = 0

    def judge(self, _store, candidate, _reservoir, rules):
        self.judged += 1
        nothing = {"reasons": ("the test says so",), "gates": (), "remedy": None, "metrics": {}, "baseline": {}}
        return Judgement(candidate.digest, rules.digest, self.state, sampled_tokens=9, **nothing)

    def candidate(self, dump="2026-01", count=10):
        """Publish a candidate of two shards of documents."""
        made = Made(self.store, f"web/candidate/{dump}", "candidate")
        tables = [mixed_rows(table(numbered(f"{dump}-{part}-", [3] * count))) for part in "ab"]
        snapshot = candidate(made, tables, corpus="web", dump=dump, tokens_by_origin={"unknown": 6 * count})
        snapshot = replace(snapshot, policy_digest=RULES.digest)
        return resume(self.store, snapshot.name, snapshot.run_key) or publish(self.store, snapshot)

    def release(self, candidate, key=KEY):
        return release(self.store, candidate, self.reservoir, RULES, key=key, at=AT)[0]

    def open(self, **options):
        return open_release(self.store.root, "web", **options)

    def path(self, key):
        return Path(self.store.root) / key


@pytest.fixture
def guard(tmp_path, monkeypatch):
    made = Guard(LocalStore(tmp_path / "guard"), reservoir=None)
    monkeypatch.setattr("collapse_guard.release.publishing.judge", made.judge)
    return made


@pytest.fixture
def released(guard):
    """Two released dumps."""
    for dump in ("2026-01", "2026-02"):
        guard.release(guard.candidate(dump))
    return guard


def ids(corpus):
    return corpus.to_arrow()["id"].to_pylist()


def public_pem(path, key):
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public.key.public_bytes(serialization.Encoding.PEM, kind))
    return path


def test_a_released_corpus_opens_with_exactly_its_documents(guard):
    candidate = guard.candidate()

    entry = guard.release(candidate)

    corpus = guard.open()
    assert (entry.number, entry.corpus, entry.dump, entry.digest) == (1, "web", "2026-01", candidate.digest)
    assert corpus.digest == candidate.digest
    assert corpus.ledger == candidate.ledger.to_json()
    assert ids(corpus) == [f"2026-01-{part}-{number}" for part in "ab" for number in range(10)]
    assert repr(corpus) == f"ReleasedCorpus('web', dump='2026-01', digest='{candidate.digest[:12]}')"


def test_the_ways_to_read_a_release_agree(released):
    corpus = released.open()

    whole = corpus.to_arrow()
    assert pa.concat_tables(corpus.tables()) == whole
    assert pa.concat_tables(map(pq.read_table, corpus.files())) == whole
    frame = corpus.to_pandas()
    assert all(isinstance(kind, pd.ArrowDtype) for kind in frame.dtypes)
    assert pa.Table.from_pandas(frame, schema=whole.schema, preserve_index=False).equals(whole)


def test_the_signed_verdict_names_bytes_policy_verdict_and_place_in_the_chain(released):
    first, second = (json.loads(released.store.read(key)) for key in (FIRST, SECOND))

    chain = read_chain(released.store, "web", KEY.public)

    newest = chain[1].statement
    assert newest["snapshot"] == {"name": "web/candidate/2026-02", "digest": chain[1].digest}
    assert newest["previous"] == sha256_hex(canonical_json(first))
    assert newest["judgement"]["policy_digest"] == RULES.digest
    assert newest["judgement"]["passed"] is True
    assert newest["released_at"] == "2026-01-01T00:00:00+00:00"
    assert chain[0].statement["previous"] is None
    statement = attestation.verify(canonical_json(second), KEY.public, "here")
    assert statement.subjects == {"web/candidate/2026-02": chain[1].digest, TREE: newest["documents"]["merkle_root"]}
    assert statement.predicate_type == PREDICATE


@pytest.mark.parametrize("state", ["LATE", "INCONCLUSIVE"])
def test_a_refused_candidate_raises_publishes_nothing_and_leaves_the_previous_release(released, state):
    before = {key: released.store.read(key) for key in released.store.list("releases/web/")}
    earlier = released.open().digest
    candidate = released.candidate("2026-03")
    released.state = state

    with pytest.raises(GateClosed, match=f"candidate {candidate.digest[:12]} is refused: state {state}") as closed:
        released.release(candidate)

    assert closed.value.judgement["state"] == state
    assert {key: released.store.read(key) for key in released.store.list("releases/web/")} == before
    with pytest.warns(UserWarning, match="was not released: opening release 2 of '2026-02' instead"):
        assert released.open(on_closed="last_good").digest == earlier


@pytest.mark.parametrize(("count", "needed"), [(5, "50"), (60, "5,000")])
def test_a_corpus_too_small_to_judge_is_refused(tmp_path, count, needed):
    people = admitted(LocalStore(tmp_path / "reservoir"), numbered("h", [9] * 40))
    store = LocalStore(tmp_path / "guard")
    made = Made(store, "web/candidate/2026-01", "candidate", (people.snapshot.as_parent(),))
    rows = mixed_rows(table(numbered("d", [9] * count)))
    small = candidate(made, [rows], corpus="web", dump="2026-01", tokens_by_origin={})
    small = publish(store, replace(small, policy_digest=RULES.digest))

    with pytest.raises(GateClosed, match=f"state INCONCLUSIVE: .* {needed} are needed"):
        release(store, small, people, RULES, key=KEY, at=AT)

    assert list(store.list("releases/")) == []
    with pytest.raises(GateClosed, match="nothing was released under 'web'"):
        open_release(store.root, "web")


def test_what_was_only_mixed_cannot_be_opened(guard):
    guard.candidate()

    for options in ({}, {"on_closed": "last_good"}, {"dump": "2026-01"}):
        with pytest.raises(GateClosed, match="nothing was released under 'web'"):
            guard.open(**options)


def test_releasing_the_same_candidate_again_finds_the_first_release(guard):
    candidate = guard.candidate()
    first = guard.release(candidate)
    envelope = guard.store.read(FIRST)

    again = release(guard.store, candidate, None, RULES, key=KEY, at=AT.replace(year=2027))[0]

    assert again == first
    assert list(guard.store.list("releases/web/")) == [FIRST]
    assert guard.store.read(FIRST) == envelope


def test_a_candidate_with_damaged_bytes_is_not_released(guard):
    candidate = guard.candidate()
    path = guard.path(candidate.shards[1].key)
    overwrite(path, flipped(path.read_bytes(), 100))

    with pytest.raises(DamagedDataError, match="was changed after it was published"):
        guard.release(candidate)

    assert list(guard.store.list("releases/")) == []


def forged(store, candidate, profile, *, cut=None):
    """The candidate as somebody publishes it who wants it to be judged by another profile."""
    shards = (*candidate.with_role("documents"), write_shard(store, profile, ROLE))
    details = {**candidate.details, "profile": {"cut": cut}}
    return publish(store, replace(candidate, shards=shards, details=details, run_key="forged"))


def of_other_documents(rows):
    return Profile.of(mixed_rows(table(numbered("other", [3] * rows.num_rows)))).rows


def without_a_document(rows):
    return rows.slice(1)


def with_a_document_twice(rows):
    return pa.concat_tables([rows.slice(0, 1), rows])


def with_passages_exchanged(rows):
    return with_column(rows, "passage", rows["passage"].take(list(reversed(range(rows.num_rows)))))


def with_other_origins(rows):
    return with_column(rows, "origin", pa.array(["human_verified"] * rows.num_rows))


def with_more_words(rows):
    return with_column(rows, "words", pa.array([99] * rows.num_rows))


def without_rows(rows):
    return rows.slice(0, 0)


def with_column(rows, name, values):
    return rows.set_column(rows.column_names.index(name), rows.schema.field(name), values)


@pytest.mark.parametrize(
    "forge",
    [
        of_other_documents,
        without_a_document,
        with_a_document_twice,
        with_passages_exchanged,
        with_other_origins,
        with_more_words,
        without_rows,
    ],
)
def test_a_candidate_whose_profile_was_forged_is_not_released(released, forge):
    before = list(released.store.list("releases/web/"))
    candidate = released.candidate("2026-03")
    profile = forge(read_profile(released.store, candidate).rows)

    with pytest.raises(DamagedDataError, match="profile by which it is judged is not that of its documents"):
        released.release(forged(released.store, candidate, profile))

    assert list(released.store.list("releases/web/")) == before


def test_a_candidate_whose_profile_was_taken_away_is_not_released(released):
    before = list(released.store.list("releases/web/"))
    candidate = released.candidate("2026-03")
    bare = replace(candidate, shards=candidate.with_role("documents"), run_key="forged")

    with pytest.raises(DamagedDataError, match="has no profile"):
        released.release(publish(released.store, bare))

    assert list(released.store.list("releases/web/")) == before


def test_the_profile_of_healthy_text_under_collapsed_documents_fools_the_judge_and_not_the_release(tmp_path):
    rules = replace(RULES, judging=JUDGING, gates={**RULES.gates, **GATES}, dedup=Dedup(near=None))
    same = [" ".join(["same", f"p{n}"] * 60) for n in range(200)]
    texts = {"human": pages(600, seed=1), "good": pages(200, seed=3), "bad": same}
    rows = {name: [document(f"{name}{n}", 120, text=text) for n, text in enumerate(of)] for name, of in texts.items()}
    people = admitted(LocalStore(tmp_path / "reservoir"), rows["human"])
    store = LocalStore(tmp_path / "guard")
    elsewhere = LocalStore(tmp_path / "elsewhere")
    profile = read_profile(elsewhere, mixed(elsewhere, people, rows["good"], rules))
    bad = mixed(store, people, rows["bad"], rules)
    others = [shard for shard in bad.shards if shard.role != ROLE]
    lie = replace(bad, shards=(*others, write_shard(store, profile.rows, ROLE)), run_key="forged")

    fooled = judge(store, publish(store, lie), people, rules)
    assert fooled.passed, fooled.refusal()
    with pytest.raises(GateClosed, match="is refused"):
        release(store, bad, people, rules, key=KEY, at=AT)
    with pytest.raises(DamagedDataError, match="profile by which it is judged is not that of its documents"):
        release(store, lie, people, rules, key=KEY, at=AT)

    assert list(store.list("releases/")) == []


def test_another_key_cannot_release(released):
    before = list(released.store.list("releases/web/"))

    with pytest.raises(UsageError, match="signatures here must be by key"):
        released.release(released.candidate("2026-03"), key=OTHER_KEY)

    assert list(released.store.list("releases/web/")) == before


def test_batches_rows_and_examples_give_every_document_once(released):
    corpus = released.open()
    expected = corpus.to_arrow().to_pylist()

    assert [row for batch in corpus.batches(3) for row in batch.to_pylist()] == expected
    assert max(batch.num_rows for batch in corpus.batches(3)) == 3
    assert list(corpus.rows()) == expected
    assert list(corpus.rows(["id"])) == [{"id": row["id"]} for row in expected]
    examples = corpus.examples(["id", "text"])
    assert list(examples) == list(examples) == [{"id": row["id"], "text": row["text"]} for row in expected]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_several_workers_share_the_documents(released, workers):
    corpus = released.open()

    parts = [list(corpus.rows(worker=worker, workers=workers)) for worker in range(workers)]
    nested = [list(corpus.examples(worker=0, workers=2).shard(0, 2)), list(corpus.examples().shard(1, 2))]

    assert sorted(row["id"] for part in parts for row in part) == sorted(ids(corpus))
    assert sorted(row["id"] for part in nested for row in part) == sorted(ids(corpus))
    with pytest.raises(UsageError, match="workers are counted from 0"):
        corpus.tables(worker=workers, workers=workers)


def test_a_dump_is_opened_by_name_and_the_newest_by_default(released):
    assert released.open().release.dump == "2026-02"
    assert released.open(dump="2026-01").release.number == 1
    with pytest.raises(GateClosed, match="dump '2026-09' of 'web' was not released"):
        released.open(dump="2026-09")


def test_a_dump_released_late_does_not_displace_a_newer_one(guard):
    for dump in ("2026-02", "2026-01"):
        guard.release(guard.candidate(dump))

    assert guard.open().release.dump == "2026-02"


def test_a_newer_candidate_that_was_not_released_closes_the_corpus_unless_asked_otherwise(released):
    first = released.open(dump="2026-01").digest
    released.candidate("2026-01", count=3)

    with pytest.raises(
        GateClosed, match=r"newest candidate 'web/candidate/2026-01' was not released; pass on_closed='last_good'"
    ):
        released.open(dump="2026-01")
    with pytest.warns(UserWarning, match="opening release 1 of '2026-01' instead"):
        assert released.open(dump="2026-01", on_closed="last_good").digest == first


@pytest.mark.parametrize("second_released", [False, True])
def test_going_back_to_a_released_candidate_opens_it_again(guard, second_released):
    first = guard.candidate()
    guard.release(first)
    second = guard.candidate(count=3)  # mixed under another policy, say
    if second_released:
        guard.release(second)

    guard.release(guard.candidate())

    assert guard.open().digest == first.digest


def test_an_open_gate_warns_of_nothing(released):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        released.open(on_closed="last_good")


def test_a_release_that_follows_in_the_same_dump_is_opened_instead(released):
    newer = released.candidate("2026-02", count=3)
    released.release(newer)

    assert released.open().digest == newer.digest


def test_any_flipped_byte_of_a_signed_release_is_noticed(released):
    for key in (FIRST, SECOND):
        data = released.store.read(key)
        for place in range(len(data)):
            overwrite(released.path(key), flipped(data, place, 1 << place % 8))
            with pytest.raises(DamagedDataError):
                read_chain(released.store, "web", KEY.public)
        overwrite(released.path(key), data)
    assert len(read_chain(released.store, "web", KEY.public)) == 2


def remove_first(guard):
    guard.path(FIRST).unlink()


def remove_newest(guard):
    guard.path(SECOND).unlink()


def swap_two(guard):
    first, second = (guard.store.read(key) for key in (FIRST, SECOND))
    overwrite(guard.path(FIRST), second)
    overwrite(guard.path(SECOND), first)


def truncate(guard):
    overwrite(guard.path(SECOND), guard.store.read(SECOND)[:-1])


def empty(guard):
    overwrite(guard.path(SECOND), b"")


def repeat(guard):
    guard.store.put_if_absent("releases/web/00000003.json", guard.store.read(SECOND))


def forge(guard):
    """Release the newest candidate under a key of one's own."""
    guard.path(SECOND).unlink()
    said = dict(json.loads(base64_payload(guard.store.read(FIRST)))["predicate"])
    newest = newest_candidate(guard)
    said |= {"number": 2, "previous": sha256_hex(guard.store.read(FIRST)), "dump": "2026-02"}
    said["snapshot"] = vars(newest.as_parent())
    envelope = attestation.sign(OTHER_KEY, subjects_of(said), PREDICATE, said)
    guard.store.put_if_absent(SECOND, envelope)


def rewrite_history(guard):
    """Put another first release there, signed by the trusted key, than the one that the second follows."""
    first = read_chain(guard.store, "web", KEY.public)[0]
    said = {**first.statement, "released_at": "2025-12-31T00:00:00+00:00"}
    envelope = attestation.sign(KEY, subjects_of(said), PREDICATE, said)
    overwrite(guard.path(FIRST), envelope)


def name_other_bytes(guard):
    """State a release of the newest candidate, but sign other bytes."""
    second = read_chain(guard.store, "web", KEY.public)[1]
    subjects = {**subjects_of(second.statement), second.snapshot.name: "0" * 64}
    envelope = attestation.sign(KEY, subjects, PREDICATE, second.statement)
    overwrite(guard.path(SECOND), envelope)


def borrow_a_signature(guard):
    """Put a statement there that the trusted key signed, but not as a release."""
    newest = newest_candidate(guard)
    envelope = attestation.sign(KEY, {newest.name: newest.digest}, "https://example.org/other/v1", {"number": 2})
    overwrite(guard.path(SECOND), envelope)


def edit_manifest(guard):
    newest = newest_candidate(guard)
    edited = replace(newest, shards=newest.shards[1:])
    overwrite(guard.path(log(guard.store, newest.name)[-1]), canonical_json(edited.to_json()))


def flip_manifest(guard):
    path = guard.path(log(guard.store, newest_candidate(guard).name)[-1])
    overwrite(path, flipped(path.read_bytes(), 200))


def remove_manifest(guard):
    guard.path(log(guard.store, newest_candidate(guard).name)[-1]).unlink()


def remove_all_manifests(guard):
    shutil.rmtree(guard.path("snapshots"))


def swap_shards(guard):
    first, second = (guard.path(shard.key) for shard in newest_candidate(guard).with_role("documents"))
    data = first.read_bytes(), second.read_bytes()
    overwrite(first, data[1])
    overwrite(second, data[0])


def cut_shard(guard):
    path = guard.path(newest_candidate(guard).with_role("documents")[-1].key)
    overwrite(path, path.read_bytes()[:-1])


def remove_shard(guard):
    guard.path(newest_candidate(guard).with_role("documents")[-1].key).unlink()


def remove_trust(guard):
    guard.path(attestation.TRUST_KEY).unlink()


def replace_trust(guard):
    remove_trust(guard)
    attestation.trust(guard.store, OTHER_KEY.public)


def base64_payload(envelope):
    return base64.b64decode(json.loads(envelope)["payload"])


def newest_candidate(guard):
    return Snapshot.from_bytes(guard.store.read(log(guard.store, "web/candidate/2026-02")[-1]), "newest")


ATTACKS = [
    remove_first,
    remove_newest,
    swap_two,
    truncate,
    empty,
    repeat,
    forge,
    rewrite_history,
    name_other_bytes,
    borrow_a_signature,
    edit_manifest,
    flip_manifest,
    remove_manifest,
    remove_all_manifests,
    swap_shards,
    cut_shard,
    remove_shard,
    remove_trust,
    replace_trust,
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_tampered_release_is_never_handed_out(released, attack):
    attack(released)

    for read in (ids, lambda corpus: corpus.files(), lambda corpus: corpus.to_pandas()):
        with pytest.raises(GuardError):
            read(released.open())


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack is not remove_newest])
def test_asking_for_the_last_good_release_does_not_open_a_tampered_one(released, attack):
    attack(released)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DamagedDataError):
            ids(released.open(on_closed="last_good"))


def test_a_corpus_forged_from_the_ground_up_is_refused_under_a_pinned_key(guard, tmp_path):
    guard.release(guard.candidate(), key=OTHER_KEY)
    pinned = public_pem(tmp_path / "pinned.pem", KEY)

    with pytest.raises(DamagedDataError, match=f"by the trusted key {KEY.public.keyid[:16]}"):
        guard.open(trusted=pinned)


def test_a_pinned_key_opens_what_it_signed(released, tmp_path):
    pinned = public_pem(tmp_path / "pinned.pem", KEY)

    assert ids(released.open(trusted=pinned)) == ids(released.open())


def test_a_release_judged_under_another_policy_than_it_was_mixed_under_is_refused(guard):
    candidate = guard.candidate()
    guard.release(candidate)
    entry = read_chain(guard.store, "web", KEY.public)[0]
    other = {**entry.statement, "judgement": {**entry.statement["judgement"], "policy_digest": "0" * 64}}
    overwrite(guard.path(FIRST), attestation.sign(KEY, subjects_of(other), PREDICATE, other))

    with pytest.raises(DamagedDataError, match="judged under another policy"):
        guard.open()


def test_a_signed_refusal_is_no_release(guard):
    candidate = guard.candidate()
    guard.release(candidate)
    entry = read_chain(guard.store, "web", KEY.public)[0]
    refused = {**entry.statement, "judgement": {**entry.statement["judgement"], "passed": False}}
    overwrite(guard.path(FIRST), attestation.sign(KEY, subjects_of(refused), PREDICATE, refused))

    with pytest.raises(DamagedDataError, match="not as a release"):
        guard.open()


def test_a_file_changed_after_opening_is_noticed_when_it_is_read(released):
    corpus = released.open()
    tables = corpus.tables()
    next(tables)

    cut_shard(released)

    with pytest.raises(DamagedDataError, match="was changed after it was published"):
        next(tables)


class Meanwhile(LocalStore):
    """A store where somebody else releases just before an entry is put."""

    def __init__(self, folder, action):
        super().__init__(folder)
        self._actions = [action]

    def put_if_absent(self, key, data):
        if key.startswith("releases/") and self._actions:
            self._actions.pop()()
        return super().put_if_absent(key, data)


def test_two_releases_at_once_stand_one_after_the_other(guard):
    ours, theirs = guard.candidate("2026-01"), guard.candidate("2026-02")
    quiet = guard.store
    guard.store = Meanwhile(Path(quiet.root), lambda: release(quiet, theirs, None, RULES, key=KEY, at=AT))

    entry = guard.release(ours)

    assert entry.number == 2
    assert [found.digest for found in read_chain(quiet, "web", KEY.public)] == [theirs.digest, ours.digest]


def test_two_releases_of_one_candidate_at_once_are_one(guard):
    candidate, quiet = guard.candidate(), guard.store
    guard.store = Meanwhile(Path(quiet.root), lambda: release(quiet, candidate, None, RULES, key=KEY, at=AT))

    entry = guard.release(candidate)

    assert entry.number == 1
    assert len(read_chain(quiet, "web", KEY.public)) == 1


def test_corpora_do_not_share_a_chain(released):
    made = Made(released.store, "other/candidate/2026-01", "candidate")
    rows = mixed_rows(table(numbered("o", [1])))
    said = {"corpus": "other", "dump": "2026-01", "tokens_by_origin": {"unknown": 1}}
    other = candidate(made, [rows], **said)
    other = replace(other, policy_digest=RULES.digest, run_key=run_key("other", (), None, {}))
    entry = released.release(publish(released.store, other))

    assert entry.number == 1
    assert ids(open_release(released.store.root, "other")) == ["o0"]
    assert len(read_chain(released.store, "web", KEY.public)) == 2
