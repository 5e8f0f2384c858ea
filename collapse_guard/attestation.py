"""Signed statements: in-toto Statement v1 in a DSSE envelope under Ed25519, checkable with openssl alone.

Sources: in-toto Attestation Framework v1 (Statement); DSSE protocol v1 (pre-authentication encoding); RFC 8032.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from collapse_guard.canonical import canonical_json, sha256_hex
from collapse_guard.errors import DamagedDataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from collapse_guard.store import Store

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
TRUST_KEY = "trust/00000001.json"


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 private key; it never appears in a message, a log or a manifest."""

    private: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """The key that verifies this key's signatures."""
        return PublicKey(self.private.public_key())

    def __repr__(self) -> str:
        return f"SigningKey({self.public.keyid})"


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key, named by the SHA-256 of its raw bytes."""

    key: Ed25519PublicKey

    @property
    def raw(self) -> bytes:
        """The 32 bytes of the key."""
        return self.key.public_bytes_raw()

    @property
    def keyid(self) -> str:
        """SHA-256 of the raw bytes, in hexadecimal."""
        return sha256_hex(self.raw)


def key_in(home: Path) -> Path:
    """Where a user's signing key lies unless another file is named."""
    return home / ".config" / "collapse_guard" / "signing.pem"


def create_key(path: Path) -> SigningKey:
    """Make a signing key and write it to a new file that only its owner can read (PEM, PKCS #8)."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(pem)
    return SigningKey(key)


def load_key(path: Path) -> SigningKey:
    """Read a signing key.

    Args:
        path: An unencrypted PEM file with an Ed25519 private key.

    Returns:
        The key.

    Raises:
        UsageError: The file is missing or holds no such key.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        raise UsageError(f"{path}: no Ed25519 private key in PEM form can be read here; give another file") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path}: the private key is not an Ed25519 key; make one with `openssl genpkey`")
    return SigningKey(key)


def load_public_key(path: Path) -> PublicKey:
    """Read a trusted public key from a PEM file; UsageError where it holds none."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError):
        raise UsageError(f"{path}: no public key in PEM form can be read here; give another file") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path}: the public key is not an Ed25519 key")
    return PublicKey(key)


def trust(store: Store, key: PublicKey) -> None:
    """Make this key the one that a new store trusts, or confirm that it is.

    Raises:
        UsageError: The store already trusts another key.
    """
    if store.put_if_absent(TRUST_KEY, _trust_entry(key)) == "created":
        return
    trusted = trusted_key(store)
    if trusted.keyid != key.keyid:
        raise UsageError(
            f"{store.root}: signatures here must be by key {trusted.keyid[:16]}, not by {key.keyid[:16]}; "
            "sign with the key that the store was started with"
        )


def trusted_key(store: Store) -> PublicKey:
    """The key that a store trusts.

    Args:
        store: Whose key to read.

    Returns:
        The key that the store was started with.

    Raises:
        DamagedDataError: The store names no key, or its entry was changed.
    """
    if store.head(TRUST_KEY) is None:
        raise DamagedDataError(f"{store.root}: no key is trusted here, so nothing in it can be verified")
    entry = store.read(TRUST_KEY)
    try:
        raw = base64.b64decode(json.loads(entry)["ed25519"], validate=True)
        key = PublicKey(Ed25519PublicKey.from_public_bytes(raw))
    except (ValueError, KeyError, TypeError):
        raise DamagedDataError(f"{store.root}: {TRUST_KEY} was changed and names no key") from None
    if _trust_entry(key) != entry:
        raise DamagedDataError(f"{store.root}: {TRUST_KEY} was changed: key and name do not belong together")
    return key


def _trust_entry(key: PublicKey) -> bytes:
    return canonical_json({"keyid": key.keyid, "ed25519": base64.b64encode(key.raw).decode()})


def sign(key: SigningKey, subjects: Mapping[str, str], predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """Sign a statement about digests.

    Args:
        key: Who signs.
        subjects: SHA-256 by name.
        predicate_type: A URI that says what the predicate means.
        predicate: What is stated.

    Returns:
        The DSSE envelope as canonical JSON.
    """
    payload = canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects.items())],
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
    )
    return _envelope(payload, key.private.sign(_encode(payload)), key.public)


def _envelope(payload: bytes, signature: bytes, key: PublicKey) -> bytes:
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": key.keyid, "sig": base64.b64encode(signature).decode()}],
        }
    )


@dataclass(frozen=True)
class Statement:
    """A statement whose signature was verified."""

    subjects: Mapping[str, str]
    predicate_type: str
    predicate: Mapping[str, Any]


def verify(envelope: bytes, key: PublicKey, where: str) -> Statement:
    """Verify an envelope and read its statement.

    Args:
        envelope: A DSSE envelope.
        key: The only key whose signature counts.
        where: The envelope's place, for the error.

    Returns:
        The statement.

    Raises:
        DamagedDataError: The envelope is malformed, or is not exactly what this key signs.
    """
    try:
        value = json.loads(envelope)
        payload = base64.b64decode(value["payload"], validate=True)
        signature = base64.b64decode(value["signatures"][0]["sig"], validate=True)
    except (ValueError, KeyError, TypeError, IndexError):
        raise DamagedDataError(f"{where} is no signed statement") from None
    # Compared whole, because nothing else covers the key's name and the spare bits of Base64.
    if _envelope(payload, signature, key) != envelope or not _is_valid(key, signature, payload):
        raise DamagedDataError(f"{where}: no signature on it is by the trusted key {key.keyid[:16]} over these bytes")
    statement = json.loads(payload)
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    return Statement(subjects, statement["predicateType"], statement["predicate"])


def _is_valid(key: PublicKey, signature: bytes, payload: bytes) -> bool:
    try:
        key.key.verify(signature, _encode(payload))
    except InvalidSignature:
        return False
    return True


def _encode(payload: bytes) -> bytes:
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
