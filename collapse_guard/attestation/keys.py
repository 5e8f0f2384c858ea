"""Ed25519 keys: who signs, and whose signatures count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from collapse_guard.canonical import sha256_hex
from collapse_guard.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


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
    """An Ed25519 public key, named by the SHA-256 of its raw bytes, and which of its signatures count.

    Attributes:
        key: The key.
        valid_from: Statements that say an earlier time, or none, do not count; null where every time does.
        signed: Where the key was retired: SHA-256 of the envelopes that existed then, which alone still count.
    """

    key: Ed25519PublicKey
    valid_from: datetime | None = None
    signed: frozenset[str] | None = None

    @property
    def raw(self) -> bytes:
        """The 32 bytes of the key."""
        return self.key.public_bytes_raw()

    @property
    def keyid(self) -> str:
        """SHA-256 of the raw bytes, in hexadecimal."""
        return sha256_hex(self.raw)

    @property
    def retired(self) -> bool:
        """Whether the key may sign nothing new."""
        return self.signed is not None

    def may_sign_at(self, at: datetime | None) -> bool:
        """Whether a statement of this time counts; under a key that has a `valid_from`, one without a time does not."""
        return self.valid_from is None or (at is not None and at >= self.valid_from)


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
