"""Signed statements: in-toto Statement v1 in a DSSE envelope under Ed25519, checkable with openssl alone.

Sources: in-toto Attestation Framework v1 (Statement); DSSE protocol v1 (pre-authentication encoding); RFC 8032.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from cryptography.exceptions import InvalidSignature

from collapse_guard.attestation.keys import PublicKey
from collapse_guard.canonical import canonical_json, sha256_hex
from collapse_guard.errors import DamagedDataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapse_guard.attestation.keys import SigningKey

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
TIMES = ("at", "released_at")
"""Where a predicate says when it was signed."""

Keys: TypeAlias = PublicKey | Sequence[PublicKey]


def sign(
    key: SigningKey,
    subjects: Mapping[str, str],
    predicate_type: str,
    predicate: Mapping[str, Any],
    *,
    also: Sequence[SigningKey] = (),
) -> bytes:
    """Sign a statement about digests.

    Args:
        key: Who signs.
        subjects: SHA-256 by name.
        predicate_type: A URI that says what the predicate means.
        predicate: What is stated; its time, where it has one, as `at` or `released_at`.
        also: Who else signs the same bytes.

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
    keys = {one.public.keyid: one for one in (key, *also)}
    return _envelope(payload, [(keyid, one.private.sign(_encode(payload))) for keyid, one in keys.items()])


def _envelope(payload: bytes, signatures: Sequence[tuple[str, bytes]]) -> bytes:
    signed = [{"keyid": keyid, "sig": base64.b64encode(signature).decode()} for keyid, signature in signatures]
    return canonical_json(
        {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE, "signatures": signed}
    )


@dataclass(frozen=True)
class Statement:
    """A statement whose signatures were verified; `signers` names the keys that count, in the order of the envelope."""

    subjects: Mapping[str, str]
    predicate_type: str
    predicate: Mapping[str, Any]
    signers: tuple[str, ...] = ()

    @property
    def at(self) -> datetime | None:
        """When it says that it was signed; null where it says no time with a zone."""
        said = next((self.predicate[name] for name in TIMES if name in self.predicate), None)
        try:
            at = datetime.fromisoformat(str(said))
        except ValueError:
            return None
        return at if at.tzinfo else None


def verify(envelope: bytes, keys: Keys, where: str, *, threshold: int = 1) -> Statement:
    """Verify an envelope and read its statement.

    Every signature on it must hold and be by one of the keys, so that no byte of it can be changed unnoticed. A key
    that was not yet valid at the time that the statement says, or that was retired before the envelope was made, does
    not count.

    Args:
        envelope: A DSSE envelope.
        keys: The only keys whose signatures count.
        where: The envelope's place, for the error.
        threshold: How many of them must have signed.

    Returns:
        The statement.

    Raises:
        DamagedDataError: The envelope is malformed, or is not exactly what enough of these keys sign.
    """
    known = {key.keyid: key for key in ([keys] if isinstance(keys, PublicKey) else keys)}
    payload, signatures = _parts(envelope, where)
    # Compared whole, because nothing else covers the keys' names and the spare bits of Base64.
    whole = _envelope(payload, signatures) == envelope and len(dict(signatures)) == len(signatures)
    if not whole or not all(_is_valid(known.get(keyid), signature, payload) for keyid, signature in signatures):
        raise DamagedDataError(f"{where}: no signature on it is by the trusted key {_named(known)} over these bytes")
    statement = json.loads(payload)
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    said = Statement(subjects, statement["predicateType"], statement["predicate"])
    signers = tuple(keyid for keyid, _ in signatures if _counts(known[keyid], envelope, said.at))
    if len(signers) < threshold:
        raise DamagedDataError(_too_few(where, [known[keyid] for keyid, _ in signatures], len(signers), threshold))
    return Statement(said.subjects, said.predicate_type, said.predicate, signers)


def _parts(envelope: bytes, where: str) -> tuple[bytes, list[tuple[str, bytes]]]:
    try:
        value = json.loads(envelope)
        payload = base64.b64decode(value["payload"], validate=True)
        signatures = [(entry["keyid"], base64.b64decode(entry["sig"], validate=True)) for entry in value["signatures"]]
        signatures[0]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        raise DamagedDataError(f"{where} is no signed statement") from None
    return payload, [(str(keyid), signature) for keyid, signature in signatures]


def _counts(key: PublicKey, envelope: bytes, at: datetime | None) -> bool:
    return key.may_sign_at(at) and (key.signed is None or sha256_hex(envelope) in key.signed)


def _named(keys: Mapping[str, PublicKey]) -> str:
    return ", ".join(keyid[:16] for keyid in keys) or "(none)"


def _too_few(where: str, signed: Sequence[PublicKey], count: int, threshold: int) -> str:
    retired = [key.keyid[:16] for key in signed if key.retired]
    early = [key.keyid[:16] for key in signed if not key.retired]
    if count == 0 and retired:
        return f"{where}: it was signed by key {retired[0]} after that key was retired; sign it again with a valid key"
    if count == 0:
        return f"{where}: it was signed by key {early[0]} for a time at which that key was not valid yet, or for none"
    return f"{where}: {threshold} signatures by trusted keys are needed and {count} count"


def _is_valid(key: PublicKey | None, signature: bytes, payload: bytes) -> bool:
    if key is None:
        return False
    try:
        key.key.verify(signature, _encode(payload))
    except InvalidSignature:
        return False
    return True


def _encode(payload: bytes) -> bytes:
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
