"""Signed statements: in-toto Statement v1 in a DSSE envelope under Ed25519, and the log of keys that a store trusts."""

from __future__ import annotations

from collapse_guard.attestation.envelopes import PAYLOAD_TYPE, STATEMENT_TYPE, Statement, sign, verify
from collapse_guard.attestation.keys import (
    PublicKey,
    SigningKey,
    create_key,
    key_in,
    load_key,
    load_public_key,
)
from collapse_guard.attestation.trust_log import (
    SIGNED,
    TRUST_KEY,
    TrustEntry,
    rotate,
    trust,
    trust_log,
    trusted_key,
    trusted_keys,
)

__all__ = [
    "PAYLOAD_TYPE",
    "SIGNED",
    "STATEMENT_TYPE",
    "TRUST_KEY",
    "PublicKey",
    "SigningKey",
    "Statement",
    "TrustEntry",
    "create_key",
    "key_in",
    "load_key",
    "load_public_key",
    "rotate",
    "sign",
    "trust",
    "trust_log",
    "trusted_key",
    "trusted_keys",
    "verify",
]
