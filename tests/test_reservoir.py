from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from builders import ADMISSION, AT, KEY, OTHER_KEY, admitted, document, flipped, numbered, publish_documents, table

from collapse_guard import attestation
from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.reservoir import (
    ADMITTED,
    EVALUATION,
    HUMAN,
    LOG,
    admit,
    is_evaluation,
    open_reservoir,
    verify,
)
from collapse_guard.snapshot import Parent, append, latest, log
from collapse_guard.store import LocalStore

ARCHIVE = numbered("a", range(1, 41))
LETTERS = numbered("l", range(5, 35))


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "store")


def offered(store, documents, name="admission"):
    return publish_documents(store, [table(documents)], corpus="reservoir", dump=name)


def everything(reservoir):
    rows = pa.concat_tables([*reservoir.texts(HUMAN), *reservoir.texts(EVALUATION)])
    return {row["id"]: row for row in rows.to_pylist()}


@pytest.fixture
def two_admissions(store):
    admitted(store, ARCHIVE)
    admit(store, offered(store, LETTERS, "letters"), ADMISSION, KEY, AT)
    return store


def test_every_admitted_document_can_be_read_with_its_licence(two_admissions):
    reservoir = open_reservoir(two_admissions)

    found = everything(reservoir)

    assert set(found) == {row["id"] for row in (*ARCHIVE, *LETTERS)}
    assert {row["licence"] for row in found.values()} == {"CC0-1.0"}
    assert all(found[row["id"]]["text"] == row["text"] for row in ARCHIVE)
    assert {rows.schema for rows in reservoir.texts(HUMAN)} == {ADMITTED}


def test_the_counts_are_those_of_the_rows(two_admissions):
    reservoir = open_reservoir(two_admissions)

    tokens = {split: sum(sum(t["tokens"].to_pylist()) for t in reservoir.index(split)) for split in (HUMAN, EVALUATION)}

    assert reservoir.snapshot.details["tokens"] == tokens
    assert reservoir.snapshot.details["documents"] == 70
    assert reservoir.tokens == tokens[HUMAN]
    assert sum(tokens.values()) == sum(row["tokens"] for row in (*ARCHIVE, *LETTERS))


def test_an_admission_is_signed_with_who_when_why_and_licence(store):
    documents = offered(store, ARCHIVE)

    state = admit(store, documents, ADMISSION, KEY, AT)

    envelope = store.read(f"attestations/{state.digest}.json")
    statement = attestation.verify(envelope, KEY.public, "here")
    assert statement.subjects == {LOG: state.digest}
    assert statement.predicate == {
        "by": "the archive desk",
        "licence": "CC0-1.0",
        "evidence": "scanned from print of 1987",
        "at": "2026-01-01T00:00:00+00:00",
        "documents": documents.digest,
        "ledger": state.ledger.to_json(),
    }


@pytest.mark.parametrize("missing", ["by", "licence", "evidence"])
def test_an_admission_without_who_why_or_licence_cannot_be_made(missing):
    with pytest.raises(UsageError, match=f"must say {missing}"):
        replace(ADMISSION, **{missing: " \t"})


def test_exact_copies_are_dropped_at_admission_and_counted(store):
    first = admitted(store, ARCHIVE)
    copies = [document("copy1", text="text of a3"), document("new", text="new"), document("again", text="new")]

    state = admit(store, offered(store, copies, "copies"), ADMISSION, KEY, AT)

    assert state.ledger.to_json() == {"in": 3, "kept": 1, "review": 0, "dropped": {"duplicate": 2}, "quarantined": {}}
    assert set(everything(open_reservoir(store))) == {*everything(first), "again"}


def test_a_copy_that_looks_older_does_not_replace_what_was_admitted(store):
    admitted(store, [document("z", text="the text", captured_at=None)])

    admit(store, offered(store, [document("a", text="the text", captured_at=AT)], "older"), ADMISSION, KEY, AT)

    assert set(everything(open_reservoir(store))) == {"z"}


def test_admitting_the_same_again_changes_nothing(two_admissions):
    before = sorted(two_admissions.list("snapshots/")), sorted(two_admissions.list("shards/"))
    first = admit(two_admissions, offered(two_admissions, ARCHIVE), ADMISSION, KEY, AT + timedelta(days=9))

    assert (sorted(two_admissions.list("snapshots/")), sorted(two_admissions.list("shards/"))) == before
    assert first.details["documents"] == 40


def test_the_same_documents_with_another_reason_are_a_state_of_their_own(store):
    admitted(store, ARCHIVE)

    state = admit(store, offered(store, ARCHIVE), replace(ADMISSION, evidence="read again"), KEY, AT)

    assert state.ledger.kept == 0
    assert len(log(store, LOG)) == 2
    assert verify(store)["states"] == 2


def test_admission_in_one_step_or_two_gives_the_same_documents(tmp_path):
    once = admitted(LocalStore(tmp_path / "once"), [*ARCHIVE, *LETTERS])
    stepwise = LocalStore(tmp_path / "stepwise")
    admitted(stepwise, LETTERS)
    admit(stepwise, offered(stepwise, ARCHIVE, "archive"), ADMISSION, KEY, AT)
    twice = open_reservoir(stepwise)

    for split in (HUMAN, EVALUATION):
        ids = [{name for t in reservoir.index(split) for name in t["id"].to_pylist()} for reservoir in (once, twice)]
        assert ids[0] == ids[1]
    assert once.snapshot.details["tokens"] == twice.snapshot.details["tokens"]


def test_the_evaluation_split_is_about_a_tenth_and_a_fact_of_the_text(store):
    reservoir = admitted(store, numbered("d", [1] * 2000))

    texts = {split: pa.concat_tables(reservoir.texts(split)) for split in (HUMAN, EVALUATION)}

    assert 140 <= texts[EVALUATION].num_rows <= 260
    assert texts[EVALUATION].num_rows + texts[HUMAN].num_rows == 2000
    assert is_evaluation(texts[EVALUATION]["text_sha256"]).all()
    assert not is_evaluation(texts[HUMAN]["text_sha256"]).any()


def test_the_evaluation_split_stays_as_it_was_cut():
    digests = pa.chunked_array([[b"\0" * 28 + number.to_bytes(4, "big") for number in (0, 5, 10, 2**32 - 6)]])

    assert is_evaluation(digests).tolist() == [True, False, True, True]


def test_a_second_key_is_refused_and_nothing_changes(two_admissions):
    more = offered(two_admissions, numbered("m", [1, 2]), "more")
    before = list(two_admissions.list("snapshots/reservoir/"))

    with pytest.raises(UsageError, match="signatures here must be by key"):
        admit(two_admissions, more, ADMISSION, OTHER_KEY, AT)

    assert list(two_admissions.list("snapshots/reservoir/")) == before


def test_a_reservoir_signed_by_another_key_than_the_pinned_one_is_refused(two_admissions):
    for check in (open_reservoir, verify):
        with pytest.raises(DamagedDataError, match=f"by the trusted key {OTHER_KEY.public.keyid[:16]}"):
            check(two_admissions, OTHER_KEY.public)
        check(two_admissions, KEY.public)


def test_an_empty_reservoir_says_how_to_start(store):
    for check in (open_reservoir, lambda store: verify(store, KEY.public)):
        with pytest.raises(DamagedDataError, match="reservoir admit"):
            check(store)


def test_verify_counts_what_it_verified(two_admissions):
    shards = open_reservoir(two_admissions).snapshot.shards

    assert verify(two_admissions) == {
        "states": 2,
        "shards": len(shards),
        "documents": 70,
        "bytes": sum(shard.bytes for shard in shards),
    }


def protected_files(store):
    """Everything that a verified reservoir rests on; its inputs are not."""
    signed = [*store.list("attestations/"), *store.list("trust/")]
    return [*log(store, LOG), *signed, *(shard.key for shard in open_reservoir(store).snapshot.shards)]


def use(store):
    everything(open_reservoir(store, KEY.public))


def put_back(path, data):
    path.unlink(missing_ok=True)
    path.write_bytes(data)


CHANGES = {
    "changed": lambda data: flipped(data, len(data) // 2),
    "first byte": lambda data: flipped(data, 0),
    "last byte": lambda data: flipped(data, len(data) - 1),
    "truncated": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"\n",
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_file_is_detected_by_verify(two_admissions, change):
    for key in protected_files(two_admissions):
        path, data = Path(two_admissions.root) / key, two_admissions.read(key)
        put_back(path, change(data))
        with pytest.raises(DamagedDataError):
            verify(two_admissions)
        put_back(path, data)
    assert verify(two_admissions)["states"] == 2


def test_a_removed_file_is_detected_by_verify_unless_it_is_the_newest_state(two_admissions):
    newest = log(two_admissions, LOG)[-1]
    for key in protected_files(two_admissions):
        path, data = Path(two_admissions.root) / key, two_admissions.read(key)
        path.unlink()
        if key == newest:
            assert verify(two_admissions)["states"] == 1  # an older state, which is whole and signed
        else:
            with pytest.raises(DamagedDataError):
                verify(two_admissions)
        put_back(path, data)


def test_a_changed_or_removed_file_is_detected_before_its_documents_are_used(two_admissions):
    reservoir = open_reservoir(two_admissions)
    head = f"attestations/{reservoir.snapshot.digest}.json"
    texts = [shard.key for split in (HUMAN, EVALUATION) for shard, _ in reservoir.shards(split)]
    for key in (*log(two_admissions, LOG), head, *texts):
        path, data = Path(two_admissions.root) / key, two_admissions.read(key)
        for change in CHANGES.values():
            put_back(path, change(data))
            with pytest.raises(DamagedDataError):
                use(two_admissions)
        put_back(path, data)
    Path(two_admissions.root, log(two_admissions, LOG)[0]).unlink()
    with pytest.raises(DamagedDataError, match="state before"):
        use(two_admissions)


def swap(store, one, other):
    paths = [Path(store.root) / key for key in (one, other)]
    data = [path.read_bytes() for path in paths]
    for path, changed in zip(paths, reversed(data), strict=True):
        put_back(path, changed)


def test_two_swapped_files_are_detected(two_admissions):
    shards = open_reservoir(two_admissions).snapshot.with_role(HUMAN)
    for pair in (log(two_admissions, LOG), list(two_admissions.list("attestations/")), [s.key for s in shards[:2]]):
        swap(two_admissions, *pair)
        for check in (verify, use):
            with pytest.raises(DamagedDataError):
                check(two_admissions)
        swap(two_admissions, *pair)
    use(two_admissions)


def test_a_forged_state_is_refused_whoever_signed_it(two_admissions):
    head = open_reservoir(two_admissions).snapshot
    forged = replace(head, parents=(head.as_parent(),), details={**head.details, "documents": 10**6})
    assert append(two_admissions, forged, 3)

    with pytest.raises(DamagedDataError, match="is missing"):
        open_reservoir(two_admissions)

    envelope = attestation.sign(OTHER_KEY, {LOG: forged.digest}, "https://collapse-guard.dev/admission/v1", {})
    two_admissions.put_if_absent(f"attestations/{forged.digest}.json", envelope)
    for check in (verify, use):
        with pytest.raises(DamagedDataError, match="by the trusted key"):
            check(two_admissions)


def test_a_signature_about_something_else_admits_nothing(two_admissions):
    head = open_reservoir(two_admissions).snapshot
    forged = replace(head, parents=(head.as_parent(),))
    assert append(two_admissions, forged, 3)
    envelope = attestation.sign(KEY, {LOG: forged.digest}, "https://collapse-guard.dev/release/v1", {})
    two_admissions.put_if_absent(f"attestations/{forged.digest}.json", envelope)

    with pytest.raises(DamagedDataError, match="about something else"):
        open_reservoir(two_admissions)


def test_a_signed_state_without_earlier_documents_is_detected_by_verify(two_admissions):
    head = open_reservoir(two_admissions).snapshot
    shorter = replace(head, parents=(head.as_parent(),), shards=head.shards[2:])
    envelope = attestation.sign(KEY, {LOG: shorter.digest}, "https://collapse-guard.dev/admission/v1", {})
    two_admissions.put_if_absent(f"attestations/{shorter.digest}.json", envelope)
    assert append(two_admissions, shorter, 3)

    with pytest.raises(DamagedDataError, match="dropped earlier documents"):
        verify(two_admissions)


def test_an_earlier_state_can_be_opened_and_is_verified(store):
    first = admitted(store, ARCHIVE)
    admit(store, offered(store, LETTERS, "letters"), ADMISSION, KEY, AT)

    earlier = open_reservoir(store).at(first.snapshot.as_parent())

    assert earlier.snapshot == first.snapshot
    assert earlier.tokens == first.tokens
    with pytest.raises(DamagedDataError, match="missing or was changed"):
        earlier.at(Parent(LOG, "0" * 64))
    Path(store.root, f"attestations/{first.snapshot.digest}.json").unlink()
    with pytest.raises(DamagedDataError, match="is missing"):
        open_reservoir(store).at(first.snapshot.as_parent())


class Meanwhile(LocalStore):
    """A store where somebody else admits documents just before a state is appended."""

    def __init__(self, folder, action):
        super().__init__(folder)
        self._actions = [action]

    def put_if_absent(self, key, data):
        if key.startswith("snapshots/reservoir/0") and self._actions:
            self._actions.pop()()
        return super().put_if_absent(key, data)


def test_of_two_admissions_at_once_one_is_refused_and_nothing_is_lost(store):
    ours, theirs = offered(store, ARCHIVE, "ours"), offered(store, LETTERS, "theirs")
    slow = Meanwhile(Path(store.root), lambda: admit(store, theirs, ADMISSION, KEY, AT))

    with pytest.raises(UsageError, match="somebody else admitted documents meanwhile"):
        admit(slow, ours, ADMISSION, KEY, AT)

    assert verify(store)["documents"] == 30
    admit(slow, ours, ADMISSION, KEY, AT)
    assert verify(store)["documents"] == 70


def test_many_admissions_at_once_all_arrive_in_the_end(store):
    parts = [offered(store, numbered(f"p{number}-", [1] * 5), f"p{number}") for number in range(4)]
    errors = []

    def admit_until_done(documents):
        for _ in range(20):
            try:
                admit(store, documents, ADMISSION, KEY, AT)
            except UsageError as error:
                errors.append(str(error))
            else:
                return

    threads = [threading.Thread(target=admit_until_done, args=[part]) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert verify(store) == {**verify(store), "states": 4, "documents": 20}
    assert all("admit again" in error for error in errors)


def test_a_crash_between_signature_and_state_is_repaired_by_admitting_again(store, monkeypatch):
    documents = offered(store, ARCHIVE)

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("collapse_guard.reservoir.states.append", crash)
        with pytest.raises(KeyboardInterrupt):
            admit(store, documents, ADMISSION, KEY, AT)
    with pytest.raises(DamagedDataError, match="no document was ever admitted"):
        open_reservoir(store)

    admit(store, documents, ADMISSION, KEY, AT + timedelta(days=1))

    assert verify(store)["documents"] == 40


def test_documents_changed_before_admission_are_refused(store):
    documents = offered(store, ARCHIVE)
    put_back(Path(store.root) / documents.shards[0].key, b"other bytes")

    with pytest.raises(DamagedDataError, match="was changed after it was published"):
        admit(store, documents, ADMISSION, KEY, AT)

    assert latest(store, LOG) is None
