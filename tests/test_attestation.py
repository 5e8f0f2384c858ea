from __future__ import annotations

import base64
import hashlib
import json
import shutil
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders import KEY, OTHER_KEY, flipped, overwrite
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.attestation import (
    PAYLOAD_TYPE,
    TRUST_KEY,
    SigningKey,
    create_key,
    load_key,
    load_public_key,
    rotate,
    sign,
    trust,
    trust_log,
    trusted_key,
    trusted_keys,
    verify,
)
from collapse_guard.canonical import canonical_json
from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.store import LocalStore

KIND = "https://example.org/kind/v1"
SUBJECTS = {"b": "1" * 64, "a": "0" * 64}
ENVELOPE = sign(KEY, SUBJECTS, KIND, {"passed": True})
THIRD_KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"\x03" * 32))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PEM, SPKI = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "store")


def encoded(payload):
    return b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)


def resigned(**changes):
    """An envelope by the right key over a statement of somebody's own making."""
    value = json.loads(ENVELOPE)
    return canonical_json({**value, **changes})


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=5), st.text("0123456789abcdef", min_size=64, max_size=64), max_size=4))
def test_what_was_signed_is_read_back(subjects):
    statement = verify(sign(KEY, subjects, KIND, {"n": 1}), KEY.public, "here")

    assert (statement.subjects, statement.predicate_type, statement.predicate) == (subjects, KIND, {"n": 1})


def test_the_envelope_is_dsse_around_an_in_toto_statement():
    value = json.loads(ENVELOPE)
    payload = base64.b64decode(value["payload"])

    assert value["payloadType"] == PAYLOAD_TYPE
    assert [entry["keyid"] for entry in value["signatures"]] == [KEY.public.keyid]
    assert json.loads(payload) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": SUBJECTS[name]}} for name in ("a", "b")],
        "predicateType": KIND,
        "predicate": {"passed": True},
    }
    KEY.public.key.verify(base64.b64decode(value["signatures"][0]["sig"]), encoded(payload))


def test_signing_the_same_statement_twice_gives_the_same_bytes():
    assert sign(KEY, dict(reversed(SUBJECTS.items())), KIND, {"passed": True}) == ENVELOPE


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on this machine")
def test_openssl_alone_can_check_a_signature(tmp_path):
    value = json.loads(ENVELOPE)
    files = {
        "key.pem": KEY.public.key.public_bytes(PEM, SPKI),
        "signed": encoded(base64.b64decode(value["payload"])),
        "signature": base64.b64decode(value["signatures"][0]["sig"]),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)

    command = "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in signed -sigfile signature"
    found = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False)

    assert found.returncode == 0, found.stderr


def test_any_changed_byte_is_refused():
    for place in range(len(ENVELOPE)):
        for mask in (1, 2, 4, 8, 16, 32, 64, 128):
            with pytest.raises(DamagedDataError, match=r"^here"):
                verify(flipped(ENVELOPE, place, mask), KEY.public, "here")


def test_any_truncation_is_refused():
    for length in range(len(ENVELOPE)):
        with pytest.raises(DamagedDataError, match=r"^here"):
            verify(ENVELOPE[:length], KEY.public, "here")


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"payload": 3}',
        b"\xff\xfe",
        b"[" * 50,
        resigned(payload="!"),
        resigned(payload=None),
        resigned(signatures=[]),
        resigned(signatures={}),
        resigned(signatures=[3]),
        resigned(signatures=[{"keyid": KEY.public.keyid, "sig": ""}]),
        resigned(payloadType="text/plain"),
        resigned(extra=1),
        ENVELOPE + b"\n",
        json.dumps(json.loads(ENVELOPE), indent=1).encode(),
    ],
)
def test_what_is_not_exactly_a_signed_statement_is_refused(envelope):
    with pytest.raises(DamagedDataError, match=r"^releases/web/1.json"):
        verify(envelope, KEY.public, "releases/web/1.json")


def test_another_keys_signature_is_refused_even_under_the_trusted_keys_name():
    forged = json.loads(sign(OTHER_KEY, SUBJECTS, KIND, {"passed": True}))
    renamed = {**forged, "signatures": [{**forged["signatures"][0], "keyid": KEY.public.keyid}]}

    for envelope in (forged, renamed, {**renamed, "signatures": [*renamed["signatures"], *forged["signatures"]]}):
        with pytest.raises(DamagedDataError, match=f"by the trusted key {KEY.public.keyid[:16]}"):
            verify(canonical_json(envelope), KEY.public, "here")


def test_a_signature_of_one_statement_does_not_carry_over_to_another():
    other = json.loads(sign(KEY, SUBJECTS, KIND, {"passed": False}))

    with pytest.raises(DamagedDataError, match="over these bytes"):
        verify(resigned(payload=other["payload"]), KEY.public, "here")


def test_a_new_key_is_private_and_is_read_back(tmp_path):
    path = tmp_path / "keys" / "signing.pem"

    made = create_key(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path).public == made.public
    with pytest.raises(FileExistsError):
        create_key(path)
    assert load_key(path).public.keyid == made.public.keyid


def test_a_key_never_shows_its_secret():
    secret = KEY.private.private_bytes_raw()

    assert repr(KEY) == f"SigningKey({KEY.public.keyid})"
    assert secret.hex() not in repr(KEY)


@pytest.fixture
def wrong_files(tmp_path):
    other_kind = Ed448PrivateKey.generate()
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    locked = serialization.BestAvailableEncryption(b"password")
    files = {
        "empty": b"",
        "text": b"no key at all",
        "ed448": other_kind.private_bytes(PEM, pkcs8, plain),
        "ed448.pub": other_kind.public_key().public_bytes(PEM, SPKI),
        "locked": KEY.private.private_bytes(PEM, pkcs8, locked),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return [tmp_path, tmp_path / "missing", *(tmp_path / name for name in files)]


def test_a_file_without_the_right_key_is_refused_by_name(wrong_files):
    for path in wrong_files:
        for load in (load_key, load_public_key):
            with pytest.raises(UsageError, match=f"^{path}: "):
                load(path)


def test_a_public_key_is_read_from_pem(tmp_path):
    (tmp_path / "key.pem").write_bytes(KEY.public.key.public_bytes(PEM, SPKI))

    assert load_public_key(tmp_path / "key.pem").keyid == KEY.public.keyid


def test_a_store_trusts_the_first_key_and_no_other(store):
    trust(store, KEY.public)
    trust(store, KEY.public)

    with pytest.raises(UsageError, match=f"by key {KEY.public.keyid[:16]}, not by {OTHER_KEY.public.keyid[:16]}"):
        trust(store, OTHER_KEY.public)
    assert trusted_key(store).keyid == KEY.public.keyid


def test_a_new_store_trusts_nobody(store):
    with pytest.raises(DamagedDataError, match="no key is trusted here"):
        trusted_key(store)


def test_any_change_of_the_trusted_key_is_noticed(store):
    trust(store, KEY.public)
    data, path = store.read(TRUST_KEY), Path(store.root) / TRUST_KEY

    changes = [flipped(data, place, 1 << place % 8) for place in range(len(data))]
    for changed in (*changes, b"", b"{}", b"[]", data[:-1], data + b" "):
        overwrite(path, changed)
        with pytest.raises(DamagedDataError, match="was changed"):
            trusted_key(store)


def statement(at, *keys):
    first, *more = keys
    return sign(first, SUBJECTS, KIND, {"at": at.isoformat()}, also=more)


def stored(store, name, envelope):
    store.put_if_absent(f"attestations/{name}.json", envelope)
    return envelope


def test_an_envelope_by_several_keys_needs_as_many_trusted_ones_as_asked():
    both = sign(KEY, SUBJECTS, KIND, {}, also=[OTHER_KEY])
    keys = (KEY.public, OTHER_KEY.public)

    assert verify(both, keys, "here", threshold=2).signers == (KEY.public.keyid, OTHER_KEY.public.keyid)
    assert verify(ENVELOPE, keys, "here").signers == (KEY.public.keyid,)
    for one in (ENVELOPE, sign(KEY, SUBJECTS, KIND, {}, also=[KEY])):
        with pytest.raises(DamagedDataError, match="2 signatures by trusted keys are needed and 1 count"):
            verify(one, keys, "here", threshold=2)


def test_a_signature_written_twice_counts_as_none():
    value = json.loads(ENVELOPE)

    with pytest.raises(DamagedDataError, match="no signature on it"):
        verify(resigned(signatures=value["signatures"] * 2), KEY.public, "here", threshold=2)


def test_any_changed_byte_of_an_envelope_by_two_keys_is_refused_though_one_would_do():
    both = sign(KEY, SUBJECTS, KIND, {}, also=[OTHER_KEY])

    for place in range(len(both)):
        with pytest.raises(DamagedDataError):
            verify(flipped(both, place), (KEY.public, OTHER_KEY.public), "here")


def test_a_strangers_signature_beside_a_trusted_one_is_refused():
    with pytest.raises(DamagedDataError, match="no signature on it"):
        verify(sign(KEY, SUBJECTS, KIND, {}, also=[OTHER_KEY]), KEY.public, "here")


def test_after_a_rotation_both_keys_count_and_the_first_entry_stays_as_it_was(store):
    trust(store, KEY.public)
    first = store.read(TRUST_KEY)

    rotate(store, KEY, NOW, "a second desk", new=OTHER_KEY)

    assert store.read(TRUST_KEY) == first
    assert [key.keyid for key in trusted_keys(store)] == [KEY.public.keyid, OTHER_KEY.public.keyid]
    trust(store, OTHER_KEY.public, NOW)
    for key in (KEY, OTHER_KEY):
        assert verify(statement(NOW + DAY, key), trusted_keys(store), "here").signers == (key.public.keyid,)
    assert [(entry.number, entry.by, entry.because) for entry in trust_log(store)] == [
        (1, None, ""),
        (2, KEY.public.keyid, "a second desk"),
    ]


def test_a_key_counts_from_the_time_on_that_its_entry_says(store):
    trust(store, KEY.public)
    rotate(store, KEY, NOW, "next year", new=OTHER_KEY, valid_from=NOW + 9 * DAY)

    keys = trusted_keys(store)

    assert verify(statement(NOW + 9 * DAY, OTHER_KEY), keys, "here")
    for early in (statement(NOW + 8 * DAY, OTHER_KEY), sign(OTHER_KEY, SUBJECTS, KIND, {"at": "soon"})):
        with pytest.raises(DamagedDataError, match="not valid yet, or for none"):
            verify(early, keys, "here")
    with pytest.raises(UsageError, match="is trusted from"):
        trust(store, OTHER_KEY.public, NOW)


def test_what_a_retired_key_signed_before_stays_valid_and_nothing_else_it_signs_does(store):
    trust(store, KEY.public)
    before = stored(store, "before", statement(NOW, KEY))
    rotate(store, KEY, NOW + DAY, "the laptop was stolen", new=OTHER_KEY, retire=KEY.public.keyid[:8])

    keys = trusted_keys(store)

    assert verify(before, keys, "here").signers == (KEY.public.keyid,)
    backdated = stored(store, "backdated", statement(NOW - DAY, KEY))
    with pytest.raises(DamagedDataError, match="after that key was retired"):
        verify(backdated, keys, "here")
    with pytest.raises(UsageError, match="which was retired"):
        trust(store, KEY.public)
    assert verify(statement(NOW + 2 * DAY, KEY, OTHER_KEY), keys, "here").signers == (OTHER_KEY.public.keyid,)


def test_a_retired_or_unknown_key_can_change_no_trust(store):
    trust(store, KEY.public)
    rotate(store, KEY, NOW, "new desk", new=OTHER_KEY, retire=KEY.public.keyid)

    for key in (KEY, THIRD_KEY):
        with pytest.raises(UsageError, match="signatures here must be by key"):
            rotate(store, key, NOW + DAY, "mine", new=SigningKey(Ed25519PrivateKey.generate()))
    with pytest.raises(UsageError, match="is in the log already"):
        rotate(store, OTHER_KEY, NOW + DAY, "back again", new=KEY)
    with pytest.raises(UsageError, match="no key would be left"):
        rotate(store, OTHER_KEY, NOW + DAY, "closing", retire=OTHER_KEY.public.keyid)
    for unknown in ("", "abc", THIRD_KEY.public.keyid, KEY.public.keyid):
        with pytest.raises(UsageError, match=r"nothing would change|names none of the keys"):
            rotate(store, OTHER_KEY, NOW + DAY, "tidying", retire=unknown)


def trust_entry(*keys, previous, **predicate):
    said = {"number": 2, "key": None, "valid_from": None, "retire": None, "signed": None, "at": NOW.isoformat()}
    first, *more = keys
    kind = "https://collapse-guard.dev/trust/v1"
    return sign(first, {"trust": previous}, kind, {**said, "because": "", **predicate}, also=more)


def test_a_forged_entry_of_the_log_is_refused(tmp_path):
    key = {"keyid": OTHER_KEY.public.keyid, "ed25519": base64.b64encode(OTHER_KEY.public.raw).decode()}
    new = {"key": key, "valid_from": NOW.isoformat()}
    forgeries = {
        "by the key that it adds": ([OTHER_KEY], new),
        "without the new key's own signature": ([KEY], new),
        "at another place": ([KEY, OTHER_KEY], {**new, "number": 3}),
        "retiring nobody known": ([KEY], {"retire": THIRD_KEY.public.keyid, "signed": []}),
        "by strangers": ([THIRD_KEY, OTHER_KEY], new),
    }
    for number, (keys, said) in enumerate(forgeries.values()):
        store = LocalStore(tmp_path / str(number))
        trust(store, KEY.public)
        digest = hashlib.sha256(store.read(TRUST_KEY)).hexdigest()
        store.put_if_absent("trust/00000002.json", trust_entry(*keys, previous=digest, **said))
        with pytest.raises(DamagedDataError):
            trusted_keys(store)


@pytest.fixture
def rotated(store):
    trust(store, KEY.public)
    rotate(store, KEY, NOW, "a second desk", new=OTHER_KEY)
    rotate(store, OTHER_KEY, NOW + DAY, "the first desk closed", retire=KEY.public.keyid)
    rotate(store, OTHER_KEY, NOW + DAY, "a third desk", new=THIRD_KEY)
    return store


def test_any_change_of_the_log_of_trusted_keys_is_noticed(rotated):
    for name in rotated.list("trust/"):
        data, path = rotated.read(name), Path(rotated.root) / name
        for changed in (*(flipped(data, place, 1 << place % 8) for place in range(0, len(data), 7)), b"", data + b" "):
            overwrite(path, changed)
            with pytest.raises(DamagedDataError):
                trusted_keys(rotated)
        path.unlink()
        if not name.endswith("4.json"):  # without an anchor outside, a log that lost its newest entry looks whole
            with pytest.raises(DamagedDataError):
                trusted_keys(rotated)
        path.write_bytes(data)
    assert len(trusted_keys(rotated)) == 3


def test_a_pinned_key_vouches_for_the_log_that_holds_it_and_for_no_other(rotated, tmp_path):
    names = [key.keyid for key in trusted_keys(rotated)]
    for key in (KEY, OTHER_KEY, THIRD_KEY):
        assert [one.keyid for one in trusted_keys(rotated, key.public)] == names
    stranger = SigningKey(Ed25519PrivateKey.from_private_bytes(b"\x04" * 32)).public
    assert trusted_keys(rotated, stranger) == (stranger,)
    assert trusted_keys(LocalStore(tmp_path / "empty"), stranger) == (stranger,)


def test_a_log_that_was_rolled_back_is_noticed_by_who_pinned_a_newer_key(rotated):
    for name in list(rotated.list("trust/"))[1:]:
        (Path(rotated.root) / name).unlink()

    assert verify(statement(NOW, KEY), trusted_keys(rotated), "here")
    with pytest.raises(DamagedDataError, match=f"by the trusted key {THIRD_KEY.public.keyid[:16]}"):
        verify(statement(NOW, KEY), trusted_keys(rotated, THIRD_KEY.public), "here")


def test_of_two_rotations_at_once_one_is_refused(store):
    trust(store, KEY.public)

    class Slow(LocalStore):
        def put_if_absent(self, key, data):
            if key.endswith("2.json"):
                rotate(store, KEY, NOW, "faster", new=OTHER_KEY)
            return super().put_if_absent(key, data)

    with pytest.raises(UsageError, match="somebody else changed the trusted keys"):
        rotate(Slow(Path(store.root)), KEY, NOW, "slower", new=THIRD_KEY)
    assert len(trusted_keys(store)) == 2
