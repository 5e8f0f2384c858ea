from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from builders import KEY, OTHER_KEY, flipped, overwrite
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.attestation import (
    PAYLOAD_TYPE,
    TRUST_KEY,
    create_key,
    load_key,
    load_public_key,
    sign,
    trust,
    trusted_key,
    verify,
)
from collapse_guard.canonical import canonical_json
from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.store import LocalStore

KIND = "https://example.org/kind/v1"
SUBJECTS = {"b": "1" * 64, "a": "0" * 64}
ENVELOPE = sign(KEY, SUBJECTS, KIND, {"passed": True})
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
