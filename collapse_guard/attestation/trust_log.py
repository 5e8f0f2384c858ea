"""The keys that a store trusts: a log that begins with one key and grows by entries signed by a key trusted before.

What a retired key signed before counts by the digest of each envelope, listed in the entry that retires it, not by
the time that a statement says: whoever holds a stolen key can write any time into it.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from collapse_guard.attestation.envelopes import sign, verify
from collapse_guard.attestation.keys import PublicKey
from collapse_guard.canonical import canonical_json, sha256_hex
from collapse_guard.errors import DamagedDataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collapse_guard.attestation.envelopes import Statement
    from collapse_guard.attestation.keys import SigningKey
    from collapse_guard.store import Store

TRUST_KEY = "trust/00000001.json"
PREDICATE = "https://collapse-guard.dev/trust/v1"
LOG = "trust"
SIGNED = ("attestations/", "releases/", "recalls/")
"""Where signed statements lie whose keys this log governs."""


@dataclass(frozen=True)
class TrustEntry:
    """One entry of the log.

    Attributes:
        number: Its place, from 1.
        added: The key that it made trusted, if any.
        retired: The key that it retired, if any, by name.
        by: The key that signed it; null for the first entry, which needs no signature.
        at: When it says that it was signed.
        because: Why, as given.
    """

    number: int
    added: PublicKey | None
    retired: str | None
    by: str | None
    at: datetime | None
    because: str

    def to_json(self) -> dict[str, object]:
        """The entry in the form of `trust list --json`."""
        start = self.added.valid_from if self.added else None
        return {
            "number": self.number,
            "added": self.added.keyid if self.added else None,
            "valid_from": start.isoformat() if start else None,
            "retired": self.retired,
            "by": self.by,
            "at": self.at.isoformat() if self.at else None,
            "because": self.because,
        }


def trust(store: Store, key: PublicKey, at: datetime | None = None) -> None:
    """Make this key the one that a new store trusts, or confirm that it may sign.

    Args:
        store: Whose log to read or begin.
        key: Who wants to sign.
        at: When; by default any time will do.

    Raises:
        UsageError: The store trusts other keys, retired this one, or trusts it only from a later time on.
    """
    if store.put_if_absent(TRUST_KEY, _first_entry(key)) == "created":
        return
    trusted = trusted_keys(store)
    found = next((one for one in trusted if one.keyid == key.keyid), None)
    if found is None or found.retired:
        names = " or ".join(one.keyid[:16] for one in trusted if not one.retired)
        more = " (which was retired)" if found else ""
        raise UsageError(
            f"{store.root}: signatures here must be by key {names}, not by {key.keyid[:16]}{more}; "
            "sign with a key that the store trusts"
        )
    if at is not None and not found.may_sign_at(at):
        raise UsageError(f"{store.root}: key {key.keyid[:16]} is trusted from {found.valid_from} on; sign after that")


def trusted_key(store: Store) -> PublicKey:
    """The key that a store was started with; DamagedDataError where it names none, or its entry was changed."""
    return _read_first(store)


def trusted_keys(store: Store, pinned: PublicKey | None = None) -> tuple[PublicKey, ...]:
    """Every key that a store trusts or trusted.

    Args:
        store: Whose log to read.
        pinned: A key that a reader trusts of his own. The store's log counts only if it holds this key: each key that
            was added later signed the entry, and with it the log so far. Else the pinned key alone is trusted.

    Returns:
        The keys, oldest first, each with what of it counts.

    Raises:
        DamagedDataError: The store names no key, or its log was changed.
    """
    if pinned is not None and store.head(TRUST_KEY) is None:
        return (pinned,)
    keys = _Log(store).keys
    return tuple(keys.values()) if pinned is None or pinned.keyid in keys else (pinned,)


def trust_log(store: Store) -> list[TrustEntry]:
    """Every entry of the log, oldest first, each verified; DamagedDataError where one was changed or is missing."""
    return _Log(store).entries


def rotate(
    store: Store,
    by: SigningKey,
    at: datetime,
    because: str,
    *,
    new: SigningKey | None = None,
    valid_from: datetime | None = None,
    retire: str | None = None,
) -> TrustEntry:
    """Make another key trusted, or retire one, or both, by an entry that a trusted key signs.

    Args:
        store: Whose log grows.
        by: A key that is trusted now.
        at: When.
        because: Why, for whoever reads the log.
        new: The key to trust from now on; it signs too, so that nobody can enter a key that he does not hold.
        valid_from: From when its signatures count; by default from `at` on.
        retire: The key (its name, or the first 8 or more digits of it) that may sign nothing more. What it signed and
            is in the store by now stays valid.

    Returns:
        The entry.

    Raises:
        UsageError: The key may not sign, nothing would change, no key would be left, or somebody else was faster.
    """
    log = _Log(store)
    trust(store, by.public, at)
    gone = log.find(retire) if retire else None
    _check_change(store, log, new, gone)
    predicate = {
        "number": len(log.entries) + 1,
        "key": _key_json(new.public) if new else None,
        "valid_from": (valid_from or at).isoformat() if new else None,
        "retire": gone,
        "signed": sorted(_signed_so_far(store)) if gone else None,
        "at": at.isoformat(),
        "because": because,
    }
    envelope = sign(by, {LOG: log.digest}, PREDICATE, predicate, also=[new] if new else [])
    if store.put_if_absent(_entry_key(len(log.entries) + 1), envelope) != "created":
        raise UsageError(f"{store.root}: somebody else changed the trusted keys meanwhile; look at them and try again")
    return _Log(store).entries[len(log.entries)]


def _check_change(store: Store, log: _Log, new: SigningKey | None, gone: str | None) -> None:
    if not new and not gone:
        raise UsageError("name a new key, or one to retire: nothing would change")
    if new and new.public.keyid in log.keys:
        raise UsageError(f"{store.root}: key {new.public.keyid[:16]} is in the log already; make another one")
    left = {keyid for keyid, key in log.keys.items() if not key.retired} - {gone}
    if not left and not new:
        raise UsageError(f"{store.root}: no key would be left that can sign; add a new one in the same step")


def _signed_so_far(store: Store) -> Iterable[str]:
    return (sha256_hex(store.read(key)) for place in SIGNED for key in store.list(place))


class _Log:
    """The log, read and verified from its first entry on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        first = _read_first(store)
        self.keys = {first.keyid: first}
        self.entries = [TrustEntry(1, first, None, None, None, "")]
        self.digest = sha256_hex(store.read(TRUST_KEY))
        for number, name in enumerate(sorted(store.list(f"{LOG}/"))[1:], start=2):
            if name != _entry_key(number):
                raise self._damaged(name)
            self._follow(number, name)

    def _follow(self, number: int, name: str) -> None:
        envelope = self._store.read(name)
        where = f"{self._store.root}: {name}"
        added = _added(envelope, where)
        known = {**({added.keyid: added} if added else {}), **self.keys}
        statement = verify(envelope, [replace(key, valid_from=None) for key in known.values()], where)
        by = next((keyid for keyid in statement.signers if self._may_sign(keyid, statement)), None)
        if by is None or not self._is_next(statement, number, added):
            raise self._damaged(name)
        self.entries.append(self._taken(statement, number, added, by))
        self.digest = sha256_hex(envelope)

    def _may_sign(self, keyid: str, statement: Statement) -> bool:
        key = self.keys.get(keyid)
        return key is not None and not key.retired and key.may_sign_at(statement.at)

    def _is_next(self, statement: Statement, number: int, added: PublicKey | None) -> bool:
        said = statement.predicate
        right = (statement.predicate_type, statement.subjects, said.get("number")) == (
            PREDICATE,
            {LOG: self.digest},
            number,
        )
        vouched = added is None or (added.keyid in statement.signers and added.keyid not in self.keys)
        return right and vouched and (said["retire"] is None or said["retire"] in self.keys)

    def _taken(self, statement: Statement, number: int, added: PublicKey | None, by: str) -> TrustEntry:
        said = statement.predicate
        if added:
            self.keys[added.keyid] = added
        if said["retire"]:
            before = self.keys[said["retire"]]
            allowed = frozenset(said["signed"]) & (before.signed if before.signed is not None else {*said["signed"]})
            self.keys[said["retire"]] = replace(before, signed=frozenset(allowed))
        return TrustEntry(number, added, said["retire"], by, statement.at, said["because"])

    def _damaged(self, name: str) -> DamagedDataError:
        return DamagedDataError(
            f"{self._store.root}: {name} does not follow the entry before it by a key that was trusted then: an entry "
            "was changed, removed or forged"
        )

    def find(self, name: str) -> str:
        """The whole name of a key of which the beginning is given; UsageError where it is not one that can sign."""
        found = [keyid for keyid, key in self.keys.items() if keyid.startswith(name) and not key.retired]
        if len(name) < 8 or len(found) != 1:  # noqa: PLR2004 - the chance of two such beginnings is nil
            names = ", ".join(keyid[:16] for keyid, key in self.keys.items() if not key.retired)
            raise UsageError(f"{self._store.root}: {name!r} names none of the keys that may sign here: {names}")
        return found[0]


def _added(envelope: bytes, where: str) -> PublicKey | None:
    """The key that an entry adds, as it says itself; nothing is verified yet."""
    try:
        said = json.loads(base64.b64decode(json.loads(envelope)["payload"]))["predicate"]
        if said["key"] is None:
            return None
        return replace(_key_of(said["key"]), valid_from=datetime.fromisoformat(said["valid_from"]))
    except (ValueError, KeyError, TypeError):
        raise DamagedDataError(f"{where} is no entry of trusted keys") from None


def _entry_key(number: int) -> str:
    return f"{LOG}/{number:08d}.json"


def _key_json(key: PublicKey) -> dict[str, str]:
    return {"keyid": key.keyid, "ed25519": base64.b64encode(key.raw).decode()}


def _key_of(value: dict[str, str]) -> PublicKey:
    key = PublicKey(Ed25519PublicKey.from_public_bytes(base64.b64decode(value["ed25519"], validate=True)))
    if _key_json(key) != value:
        raise ValueError("key and name do not belong together")
    return key


def _first_entry(key: PublicKey) -> bytes:
    return canonical_json(_key_json(key))


def _read_first(store: Store) -> PublicKey:
    if store.head(TRUST_KEY) is None:
        raise DamagedDataError(f"{store.root}: no key is trusted here, so nothing in it can be verified")
    entry = store.read(TRUST_KEY)
    try:
        key = _key_of(json.loads(entry))
    except (ValueError, KeyError, TypeError):
        raise DamagedDataError(f"{store.root}: {TRUST_KEY} was changed and names no key") from None
    if _first_entry(key) != entry:
        raise DamagedDataError(f"{store.root}: {TRUST_KEY} was changed: key and name do not belong together")
    return key
