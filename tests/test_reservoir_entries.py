"""Rules, second signatures, quarantine, tombstones and holds of a reservoir, and attacks on them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from builders import ADMISSION, AT, KEY, OTHER_KEY, document, flipped, numbered, overwrite, publish_documents, table

from collapse_guard import attestation
from collapse_guard.canonical import canonical_json
from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.reservoir import (
    EVALUATION,
    HUMAN,
    LOG,
    PREDICATE,
    Rules,
    Sample,
    Tombstone,
    admit,
    check_manifest,
    countersign,
    export_manifest,
    hold,
    lift,
    open_reservoir,
    settle,
    start,
    tombstone,
    verify,
)
from collapse_guard.reservoir.history import read_history
from collapse_guard.reservoir.states import Entry, carried, record, settled
from collapse_guard.snapshot import Ledger, log, read_shard, write_shard
from collapse_guard.store import LocalStore

DAY = timedelta(days=1)
WHY = Tombstone("takedown", "the archive desk", "the author asked for it")
MANY = numbered("a", range(1, 41))
STRICT = Rules(two_signatures=True, quarantine_days=30)


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "store")


@pytest.fixture
def two_keys(store):
    attestation.trust(store, KEY.public)
    attestation.rotate(store, KEY, AT, "a second desk", new=OTHER_KEY)
    return store


def deliver(store, documents=MANY, name="delivery", **asked):
    offered = publish_documents(store, [table(documents)], corpus="inbox", dump=name)
    return admit(store, offered, ADMISSION, KEY, AT, asked=Rules(**asked) if asked else None)


def offered_ids(store, *splits):
    reservoir = open_reservoir(store)
    return {
        name for split in splits or (HUMAN, EVALUATION) for t in reservoir.index(split) for name in t["id"].to_pylist()
    }


def test_a_pending_admission_is_in_no_split_until_another_trusted_key_signs(two_keys):
    state = deliver(two_keys, two_signatures=True)

    assert offered_ids(two_keys) == set()
    assert open_reservoir(two_keys).tokens == state.details["documents"] == 0
    assert len(open_reservoir(two_keys).evaluation()) > 0  # known and guarded before it can be used
    with pytest.raises(UsageError, match="signed this admission before"):
        countersign(two_keys, state.digest, KEY, AT)
    assert settle(two_keys, KEY, AT + DAY) == state

    done = countersign(two_keys, state.digest[:12], OTHER_KEY, AT + DAY)

    assert offered_ids(two_keys) == {row["id"] for row in MANY}
    assert done.details["documents"] == 40
    assert done.ledger.kept == 40
    assert sum(done.details["tokens"].values()) == sum(row["tokens"] for row in MANY)
    assert verify(two_keys)["documents"] == 40


def test_a_quarantine_ends_by_an_entry_after_its_last_day_and_not_before(two_keys):
    state = deliver(two_keys, quarantine_days=30)

    assert state.details["pending"][0]["mixable_from"] == (AT + 30 * DAY).isoformat()
    assert settle(two_keys, KEY, AT + 29 * DAY) == state
    settle(two_keys, KEY, AT + 30 * DAY)

    assert len(offered_ids(two_keys)) == 40
    assert open_reservoir(two_keys).pending == ()
    assert verify(two_keys)["states"] == 2


def test_both_a_second_signature_and_the_end_of_the_quarantine_are_waited_for(two_keys):
    state = deliver(two_keys, two_signatures=True, quarantine_days=30)

    signed = countersign(two_keys, state.digest, OTHER_KEY, AT + DAY)
    assert offered_ids(two_keys) == set()
    assert settle(two_keys, KEY, AT + 2 * DAY) == signed
    settle(two_keys, KEY, AT + 31 * DAY)

    assert len(offered_ids(two_keys)) == 40
    with pytest.raises(UsageError, match="is pending here; pending: none"):
        countersign(two_keys, state.digest, OTHER_KEY, AT + 32 * DAY)


def test_only_a_pending_admission_of_this_reservoir_can_be_countersigned(two_keys):
    state = deliver(two_keys, two_signatures=True)

    for name in ("", state.digest[:7], "0" * 64):
        with pytest.raises(UsageError, match=f"pending: {state.digest[:16]}"):
            countersign(two_keys, name, OTHER_KEY, AT)


def test_copies_of_what_is_pending_are_dropped_too(two_keys):
    deliver(two_keys, two_signatures=True)

    again = deliver(two_keys, [*MANY, document("new")], "more")

    assert again.ledger.to_json()["dropped"] == {"duplicate": 40}
    assert offered_ids(two_keys) == {"new"}


def test_the_rules_that_a_reservoir_began_with_bind_every_admission(store):
    first = start(store, STRICT, KEY, AT)

    state = deliver(store)

    assert first.details["rules"] == STRICT.to_json()
    assert state.details["pending"][0]["two_signatures"]
    assert offered_ids(store) == set()
    with pytest.raises(UsageError, match="is less"):
        deliver(store, numbered("m", [1]), "less", quarantine_days=29)
    assert deliver(store, numbered("m", [1]), "more", quarantine_days=31).details["pending"][-1]["mixable_from"] == (
        (AT + 31 * DAY).isoformat()
    )
    for _ in range(2):
        with pytest.raises(UsageError, match="there is a reservoir already"):
            start(store, Rules(), KEY, AT)


@pytest.mark.parametrize(
    "wrong", [{"quarantine_days": -1}, {"object_lock": "compliance"}, {"retention_days": 9}, {"retention_days": -9}]
)
def test_rules_that_make_no_sense_cannot_be_made(wrong):
    with pytest.raises(UsageError, match="days"):
        Rules(**wrong)


def test_object_lock_is_refused_for_a_folder(store):
    locked = Rules(object_lock="compliance", retention_days=9)

    for ask in (lambda: start(store, locked, KEY, AT), lambda: deliver(store, **vars(locked))):
        with pytest.raises(UsageError, match="a folder has none"):
            ask()
    assert list(log(store, LOG)) == []


def forged(store, kind, event, *, shards=None, key=KEY, at=AT, **details):
    """An entry that a trusted key signs without asking this library."""
    states = [one.state for one in read_history(store)]
    facts = {**carried(states[-1]), **details}
    entry = Entry(kind, event, event, shards or states[-1].shards, Ledger(came_in=0), facts)
    return record(store, states, entry, key, at)


def test_one_signer_cannot_end_the_waiting_by_entries_of_his_own_making(two_keys):
    admission = deliver(two_keys, two_signatures=True, quarantine_days=30)
    [entry] = open_reservoir(two_keys).pending
    now = settled(admission.shards, [entry])
    twice = {**entry.to_json(), "signed_by": [KEY.public.keyid, OTHER_KEY.public.keyid]}
    early = {**entry.to_json(), "mixable_from": AT.isoformat()}
    number = f"snapshots/{LOG}/00000002.json"
    attempts = [
        ("settle", {}, {"shards": now, "pending": []}),
        ("hold", {}, {"shards": now, "pending": []}),
        ("lift", {"hold": "0" * 64}, {"shards": now, "pending": []}),
        ("countersign", {"admission": entry.admission}, {"pending": [twice]}),
        ("countersign", {"admission": entry.admission}, {"pending": [early]}),
        ("settle", {}, {"pending": []}),
        ("admission", {}, {"shards": now, "pending": []}),
        ("tombstone", {"replaced": {}, "ids": []}, {"shards": now, "pending": []}),
    ]
    for kind, event, changes in attempts:
        forged(two_keys, kind, event, at=AT + 40 * DAY, **changes)
        with pytest.raises(DamagedDataError, match="of the reservoir"):
            open_reservoir(two_keys)
        (Path(two_keys.root) / number).unlink()
    assert open_reservoir(two_keys).snapshot == admission


def test_rules_cannot_be_changed_nor_passed_by_an_entry_of_ones_own_making(store):
    start(store, STRICT, KEY, AT)
    rows = table([document("x")])
    shards = tuple(write_shard(store, rows, role) for role in (HUMAN, f"{HUMAN}_index"))
    attempts = [
        ("rules", {"rules": Rules().to_json()}),
        ("admission", {"shards": shards}),
        ("hold", {"shards": shards}),
    ]
    for kind, changes in attempts:
        forged(store, kind, {}, **changes)
        with pytest.raises(DamagedDataError, match="state"):
            open_reservoir(store)
        (Path(store.root) / f"snapshots/{LOG}/00000002.json").unlink()


def test_a_tombstone_takes_a_document_out_of_every_offer_and_out_of_no_shard(store):
    before = deliver(store)
    name = next(iter(offered_ids(store, HUMAN)))

    state = tombstone(store, [name], WHY, KEY, AT)

    reservoir = open_reservoir(store)
    assert offered_ids(store) == {row["id"] for row in MANY} - {name}
    assert name not in {one for t in reservoir.texts(HUMAN) for one in t["id"].to_pylist()}
    assert state.ledger.to_json() == {
        "in": 40,
        "kept": 39,
        "review": 0,
        "dropped": {"tombstone:takedown": 1},
        "quarantined": {},
    }
    assert state.details["documents"] == 39
    assert reservoir.tokens == sum(sum(t["tokens"].to_pylist()) for t in reservoir.index(HUMAN))
    [row] = pa.concat_tables(reservoir.tombstones()).to_pylist()
    assert (row["id"], row["split"], row["reason"], row["by"]) == (name, HUMAN, "takedown", "the archive desk")
    kept = [shard for shard in before.shards if shard.role == HUMAN]
    assert any(name in read_shard(store, shard)["id"].to_pylist() for shard in kept)
    assert {shard.key for shard in before.shards} <= {shard.key for shard in state.shards}
    assert verify(store)["documents"] == 39
    earlier = reservoir.at(before.as_parent())
    assert name in {one for t in earlier.index(HUMAN) for one in t["id"].to_pylist()}


def test_whole_shards_several_documents_and_pending_ones_can_be_tombstoned(two_keys):
    deliver(two_keys, numbered("a", [1] * 3), "one")
    deliver(two_keys, numbered("p", [1] * 3), "two", two_signatures=True)

    state = tombstone(two_keys, ["a0", "a1", "a2", "p0"], WHY, KEY, AT)

    assert offered_ids(two_keys) == set()
    assert state.ledger.to_json()["dropped"] == {"tombstone:takedown": 4}
    pending = read_history(two_keys)[1].state
    done = countersign(two_keys, pending.digest, OTHER_KEY, AT)
    assert offered_ids(two_keys) == {"p1", "p2"}
    assert done.details["documents"] == 2
    assert verify(two_keys)["documents"] == 2


def test_a_tombstoned_text_is_not_admitted_again(store):
    deliver(store)
    tombstone(store, ["a3"], WHY, KEY, AT)

    again = deliver(store, [document("other", text="text of a3"), document("new")], "again")

    assert again.ledger.to_json()["dropped"] == {"tombstoned": 1}
    assert "other" not in offered_ids(store)


def test_a_tombstone_without_a_reason_or_a_document_is_refused_and_changes_nothing(store):
    deliver(store)
    for why in (WHY._replace(by=" "), WHY._replace(because=""), WHY._replace(reason="boredom")):
        with pytest.raises(UsageError, match="must say a reason"):
            tombstone(store, ["a1"], why, KEY, AT)
    with pytest.raises(UsageError, match="zz: not among the documents"):
        tombstone(store, ["a1", "zz"], WHY, KEY, AT)
    assert len(offered_ids(store)) == 40
    assert len(log(store, LOG)) == 1


def test_a_tombstone_that_takes_other_documents_than_it_names_is_detected_by_verify(store):
    deliver(store)
    states = [one.state for one in read_history(store)]
    text, index = (next(s for s in states[0].shards if s.role == role) for role in (HUMAN, f"{HUMAN}_index"))
    rows = read_shard(store, text)
    fewer = [
        write_shard(store, rows.slice(2), HUMAN),
        write_shard(store, read_shard(store, index).slice(2), index.role),
    ]
    name = rows["id"][0].as_py()
    moved = [replace(s, role=f"tombstoned_{s.role}") if s in (text, index) else s for s in states[0].shards]
    event = {"ids": [name], "replaced": {text.key: fewer[0].key, index.key: fewer[1].key}}
    forged(store, "tombstone", event, shards=(*moved, *fewer), documents=38)

    with pytest.raises(DamagedDataError, match="took other documents away"):
        verify(store)


def test_a_hold_in_a_folder_is_a_signed_entry_that_says_that_nothing_enforces_it(store):
    deliver(store)

    state = hold(store, "the court", "case 7", KEY, AT)

    assert state.details["event"]["enforced"] is False
    assert state.details["event"]["objects"] == len(state.shards) + 2
    assert len(offered_ids(store)) == 40
    assert verify(store)["states"] == 2
    with pytest.raises(UsageError, match="who ordered it"):
        hold(store, "", "case 8", KEY, AT)


def test_a_hold_is_lifted_by_a_signed_entry_once(store):
    deliver(store)
    held = hold(store, "the court", "case 7", KEY, AT)
    deliver(store, numbered("m", [1] * 3), "more")

    state = lift(store, held.digest[:8], KEY, AT + DAY, by="the court", because="case 7 is closed")

    event = state.details["event"]
    assert (event["kind"], event["hold"], event["because"]) == ("lift", held.digest, "case 7 is closed")
    assert (event["objects"], event["enforced"]) == (held.details["event"]["objects"], False)
    assert state.ledger.to_json()["kept"] == 43
    assert lift(store, held.digest, KEY, AT + 2 * DAY, by="the court", because="again") == state
    assert verify(store)["states"] == 4


def test_what_another_hold_covers_stays_held(store):
    deliver(store)
    first, second = (hold(store, "the court", f"case {number}", KEY, AT) for number in (7, 8))

    assert lift(store, first.digest, KEY, AT, by="the court", because="closed").details["event"]["objects"] == 0
    later = lift(store, second.digest, KEY, AT, by="the court", because="closed").details["event"]
    assert later["objects"] == second.details["event"]["objects"]


def test_lifting_needs_a_hold_a_name_and_a_reason(store):
    admitted = deliver(store)
    held = hold(store, "the court", "case 7", KEY, AT)

    for name in (admitted.digest, held.digest[:7], "x" * 64):
        with pytest.raises(UsageError, match=f"no hold is named .* holds in force: {held.digest[:16]}"):
            lift(store, name, KEY, AT, by="the court", because="closed")
    for by, because in (("", "closed"), ("the court", " ")):
        with pytest.raises(UsageError, match="who ordered it, and why"):
            lift(store, held.digest, KEY, AT, by=by, because=because)
    with pytest.raises(UsageError, match="signatures here must be by key"):
        lift(store, held.digest, OTHER_KEY, AT, by="the court", because="closed")
    assert len(log(store, LOG)) == 2


@pytest.mark.parametrize("act", [settle, lambda *rest: hold(rest[0], "us", "why", *rest[1:])])
def test_an_entry_needs_a_reservoir_and_a_trusted_key(store, act):
    with pytest.raises(DamagedDataError, match="reservoir admit"):
        act(store, KEY, AT)
    deliver(store)
    with pytest.raises(UsageError, match="signatures here must be by key"):
        act(store, OTHER_KEY, AT)


def test_a_retired_key_admits_no_more_and_what_it_admitted_stays(two_keys):
    deliver(two_keys)
    attestation.rotate(two_keys, OTHER_KEY, AT + DAY, "the desk closed", retire=KEY.public.keyid)

    assert verify(two_keys)["documents"] == 40
    with pytest.raises(UsageError, match="was retired"):
        deliver(two_keys, numbered("m", [1]), "more")
    deliver_by_force = forged(two_keys, "hold", {"at": "earlier"}, at=AT)
    assert deliver_by_force.digest
    with pytest.raises(DamagedDataError, match="after that key was retired"):
        open_reservoir(two_keys)


def test_the_exported_manifest_names_every_object_and_is_signed(two_keys):
    deliver(two_keys)
    tombstone(two_keys, ["a3"], WHY, KEY, AT)

    envelope = export_manifest(two_keys, OTHER_KEY, AT)

    statement = attestation.verify(envelope, attestation.trusted_keys(two_keys), "here")
    named = {row["key"]: row for row in statement.predicate["objects"]}
    kept = {shard.key for shard in open_reservoir(two_keys).snapshot.shards}
    assert set(named) == {*two_keys.list("attestations/"), *two_keys.list("trust/"), *log(two_keys, LOG), *kept}
    assert all(len(two_keys.read(key)) == row["bytes"] for key, row in named.items())
    assert statement.subjects == {LOG: open_reservoir(two_keys).snapshot.digest}
    assert statement.predicate["tombstones"] == 1
    assert json.loads(envelope)["signatures"][0]["keyid"] == OTHER_KEY.public.keyid


def test_a_sample_hashes_some_shards_others_for_another_seed_and_everything_in_time(store):
    for number in range(6):
        deliver(store, numbered(f"d{number}-", [1] * 4), f"d{number}")
    shards = list(open_reservoir(store).snapshot.shards)
    damaged = next(shard for shard in shards if shard.role == HUMAN)
    path = Path(store.root) / damaged.key
    overwrite(path, flipped(path.read_bytes(), 40))

    outcomes = []
    for day in range(40):
        try:
            outcomes.append(verify(store, sample=Sample(0.05, f"day {day}"))["shards"])
        except DamagedDataError:
            outcomes.append(None)

    assert set(outcomes) == {1, None}
    assert set(Sample(1.0, "").of(shards)) == set(shards)
    assert Sample(0.3, "a").of(shards) != Sample(0.3, "b").of(shards)
    with pytest.raises(DamagedDataError, match="was changed after it was published"):
        verify(store)


def test_verifying_tells_how_far_it_is(store):
    deliver(store)
    told = []

    found = verify(store, watch=lambda done, total: told.append((done, total)))

    assert told == [(number, found["shards"]) for number in range(1, found["shards"] + 1)]


def everything_signed_or_kept(store):
    kept = [shard.key for shard in open_reservoir(store).snapshot.shards]
    return [*log(store, LOG), *store.list("attestations/"), *store.list("trust/"), *kept]


@pytest.fixture
def eventful(two_keys):
    """A reservoir with an entry of every kind."""
    start(two_keys, Rules(two_signatures=True), KEY, AT)
    countersign(two_keys, deliver(two_keys).digest, OTHER_KEY, AT)
    tombstone(two_keys, ["a3"], WHY, KEY, AT)
    pending = deliver(two_keys, numbered("m", [1] * 3), "more", quarantine_days=3)
    countersign(two_keys, pending.digest, OTHER_KEY, AT)
    held = hold(two_keys, "the court", "case 7", KEY, AT)
    lift(two_keys, held.digest, OTHER_KEY, AT + DAY, by="the court", because="closed")
    settle(two_keys, KEY, AT + 3 * DAY)
    return two_keys


@pytest.mark.parametrize("change", [lambda data: flipped(data, len(data) // 2), lambda data: data[:-1], lambda _: None])
def test_any_file_of_an_eventful_reservoir_that_is_changed_cut_or_removed_is_detected(eventful, change):
    envelope = export_manifest(eventful, KEY, AT + 4 * DAY)
    newest = log(eventful, LOG)[-1]
    for key in everything_signed_or_kept(eventful):
        path, data = Path(eventful.root) / key, eventful.read(key)
        path.unlink()
        if change(data) is not None:
            path.write_bytes(change(data))
        if key == newest and change(data) is None:
            assert verify(eventful)["states"] == 8  # an older state, which is whole and signed
        else:
            with pytest.raises(DamagedDataError):
                verify(eventful)
        with pytest.raises(DamagedDataError):
            check_manifest(eventful, envelope, "manifest.json")
        path.unlink(missing_ok=True)
        path.write_bytes(data)
    assert verify(eventful)["documents"] == 42


def test_any_two_files_of_a_kind_that_are_swapped_are_detected(eventful):
    keys = everything_signed_or_kept(eventful)
    for one, other in pairwise(keys):
        paths = [Path(eventful.root) / key for key in (one, other)]
        data = [path.read_bytes() for path in paths]
        for path, changed in zip(paths, reversed(data), strict=True):
            overwrite(path, changed)
        with pytest.raises(DamagedDataError):
            verify(eventful)
        for path, original in zip(paths, data, strict=True):
            overwrite(path, original)
    assert verify(eventful)["states"] == 9


def test_a_rollback_is_detected_by_a_manifest_that_was_kept_elsewhere(eventful):
    envelope = export_manifest(eventful, KEY, AT + 4 * DAY)
    assert check_manifest(eventful, envelope, "manifest.json") == len(everything_signed_or_kept(eventful))
    (Path(eventful.root) / log(eventful, LOG)[-1]).unlink()

    assert verify(eventful)["states"] == 8  # an older state, which is whole and signed
    with pytest.raises(DamagedDataError, match="rolled back or changed"):
        check_manifest(eventful, envelope, "manifest.json")
    with pytest.raises(DamagedDataError, match="is no manifest"):
        check_manifest(eventful, eventful.read(next(iter(eventful.list("attestations/")))), "other.json")


def test_a_reservoir_of_the_time_before_rules_is_read_and_goes_on(store):
    """Its states say nothing of entries, rules, what waits, or versions."""
    first = deliver(store)
    old = {name: first.details[name] for name in ("admission", "tokens", "documents")}
    older = replace(first, schema="reservoir@2", details=old)
    path = Path(store.root) / log(store, LOG)[0]
    overwrite(path, canonical_json(older.to_json()))
    said = {**old["admission"], "at": AT.isoformat(), "ledger": older.ledger.to_json()}
    envelope = attestation.sign(KEY, {LOG: older.digest}, PREDICATE, said)
    store.put_if_absent(f"attestations/{older.digest}.json", envelope)

    assert verify(store)["documents"] == 40
    assert deliver(store) == older
    tombstone(store, ["a3"], WHY, KEY, AT)
    deliver(store, [document("new")], "new")
    assert verify(store)["documents"] == 40
