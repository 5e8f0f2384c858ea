"""Canonical JSON (RFC 8785) and the digests that name things."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeAlias

import rfc8785

if TYPE_CHECKING:
    from collections.abc import Mapping

Json: TypeAlias = Any


def canonical_json(value: Mapping[str, Json]) -> bytes:
    """Serialise a JSON object so that equal values have equal bytes (RFC 8785)."""
    return rfc8785.dumps(dict(value))


def sha256_hex(data: bytes | memoryview) -> str:
    """Name bytes by their SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def json_digest(value: Mapping[str, Json]) -> str:
    """Name a JSON object by the SHA-256 of its canonical form."""
    return sha256_hex(canonical_json(value))
