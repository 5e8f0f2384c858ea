"""The key ring: a YAML file of watermark keys whose secrets stand elsewhere."""

from __future__ import annotations

import dataclasses
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from collapse_guard.canonical import json_digest
from collapse_guard.errors import PolicyError, UsageError
from collapse_guard.provenance.watermark.keys import (
    SCHEMES,
    UNSUPPORTED,
    Key,
    RefusedError,
    completed,
    freeform,
    scheme_of,
    untestable,
)
from collapse_guard.provenance.watermark.tokenizing import tokenizer_of, vocabulary_warning
from collapse_guard.yaml_lines import YamlFile, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

VERSION = 1
_SYNTHID_EXAMPLE = (
    "654 400 836 123 340 443 597 160 57 29 590 639 13 715 468 990 966 226 324 585 118 504 421 521 129 669 732 225 90 "
    "960"
)
PUBLISHED = frozenset({0, 1, 42, 15485863, *map(int, _SYNTHID_EXAMPLE.split())})
"""Secrets that references have as defaults or examples: anybody can find such a mark, and forge it."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NUMBER = re.compile(r"-?\d{1,40}|0[xX][0-9a-fA-F]{1,32}")
_VARIABLE = re.compile(r"(?![0-9A-Fa-f]+$)[A-Za-z_][A-Za-z0-9_]*")
_SECRETS = ("key", "keys")
_MAX_SECRET_BYTES = 2**16
_NEVER_MEASURED = {"owner", "valid_until"}
_ELSEWHERE = "a secret stands elsewhere: write `{env: NAME}` or `{file: path}`"


@dataclasses.dataclass(frozen=True)
class KeyRing:
    """The keys of a file, in its order, expired ones included: a crawl holds text older than a rotation."""

    path: Path
    keys: tuple[Key, ...]
    warnings: Mapping[str, tuple[str, ...]]
    """What reading the secrets of a key found strange, by its id."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that a scan depends on, so that a changed secret means to measure again.

        Secrets count through `Key.stretched`, tokenizers through their digest; who owns a key, when marking with it
        should stop, the order and the place of files do not count. Takes some 20 ms for every key.
        """
        return json_digest({"version": VERSION, "keys": sorted(map(_measured, self.keys), key=lambda each: each["id"])})


class KeyCheck(NamedTuple):
    """Whether a key can be tested on this machine."""

    id: str
    scheme: str
    fingerprint: str | None
    testable: bool
    reason: str | None
    warnings: tuple[str, ...]


class _Secret(NamedTuple):
    """What a reference led to: numbers, or why there are none."""

    numbers: tuple[int, ...] = ()
    unavailable: str | None = None
    warning: str | None = None


def read_keys(path: Path, environment: Mapping[str, str]) -> KeyRing:
    """Read a key ring.

    Args:
        path: A YAML file: `version: 1`, and `keys`, a list of entries with the fields of `Key`, of which `id` must be
            there. Secrets are `{env: NAME}` or `{file: path}`, relative to the ring; their content is a decimal or 0x
            number, for `keys` several of them. With `allow_plain_keys: true` they may stand in the ring itself.
            `tokenizer` is relative to the ring, too.
        environment: Where `env` looks.

    Returns:
        The ring. A key whose secret is not there stays in it, as one that cannot be tested.

    Raises:
        PolicyError: The ring, an entry or a secret is malformed, or two entries are the same test. It names file and
            line, and never a value that may be secret.
    """
    file = _read(path)
    if file.content.get("version") != VERSION:
        raise file.error(("version",), f"a key ring of version {VERSION} is expected; write `version: {VERSION}`")
    for name in file.content:
        if name not in {"version", "allow_plain_keys", "keys"}:
            raise file.error((name,), "unknown key; known: allow_plain_keys, keys, version")
    if not file.items("keys"):
        raise file.error(("keys",), "the ring holds no key")
    keys: dict[str, Key] = {}
    warnings: dict[str, tuple[str, ...]] = {}
    for index, entry in enumerate(file.items("keys")):
        key, found = _entry(file, index, entry, environment)
        _refuse_again(file, index, key, keys)
        keys[key.id] = key
        warnings[key.id] = found
    return KeyRing(path, tuple(keys.values()), warnings)


def check_keys(ring: KeyRing, today: date) -> list[KeyCheck]:
    """Say of every key whether it can be tested on this machine, and what looks wrong.

    Args:
        ring: The keys.
        today: Until when `valid_until` and `valid_from` are looked at.

    Returns:
        One check per key, in the order of the ring.
    """
    return [_checked(key, ring.warnings.get(key.id, ()), today) for key in ring.keys]


def _read(path: Path) -> YamlFile:
    """Read the YAML; its errors may quote what somebody put there in plain, so quotes are emptied."""
    try:
        return YamlFile.read(path)
    except PolicyError as error:
        raise PolicyError(re.sub(r"'[^']*'", "'...'", str(error))) from None


def _entry(file: YamlFile, index: int, entry: object, environment: Mapping[str, str]) -> tuple[Key, tuple[str, ...]]:
    place = ("keys", index)
    if not isinstance(entry, dict):
        raise file.error(place, "a mapping was expected, with `id`, `scheme` and the fields of the scheme")
    try:
        _check_names(entry)
        _refuse_secret_in_scheme(str(entry["scheme"]), file)
        secrets = {
            each: _secret(each, entry[each], file, environment) for each in _SECRETS if entry.get(each) is not None
        }
        opened = entry | {each: _shaped(each, secret) for each, secret in secrets.items()}
        unavailable = next((secret.unavailable for secret in secrets.values() if secret.unavailable), None)
        key = completed(opened | _tokenizer(entry, file.path), unavailable)
    except RefusedError as error:
        raise file.error((*place, error.place), str(error)) from None
    return key, tuple(secret.warning for secret in secrets.values() if secret.warning)


def _check_names(entry: Mapping[str, object]) -> None:
    name, scheme = entry.get("id"), entry.get("scheme")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise RefusedError("id", "every key needs one: letters, digits, dots, dashes and underscores, in quotes")
    if not isinstance(scheme, str):
        raise RefusedError("scheme", f"it is missing; {suggest('', SCHEMES)}")
    if scheme.startswith("ff-"):
        return
    if scheme_of(scheme) is None and scheme not in UNSUPPORTED:
        raise RefusedError("scheme", f"this scheme is unknown; {suggest(scheme, [*SCHEMES, *UNSUPPORTED])}")


def _refuse_secret_in_scheme(scheme: str, file: YamlFile) -> None:
    if scheme.startswith("ff-") and freeform(scheme) is None and file.content.get("allow_plain_keys") is not True:
        raise RefusedError("scheme", "it must read ff-<prf>-<context width>-<True|False>; the secret is not part of it")


def _secret(field: str, value: object, file: YamlFile, environment: Mapping[str, str]) -> _Secret:
    if not isinstance(value, dict):
        return _plain_secret(field, value, file)
    if set(value) == {"env"}:
        return _from_environment(field, value["env"], environment)
    if set(value) == {"file"}:
        return _from_file(field, value["file"], file.path.parent)
    raise RefusedError(field, f"{_ELSEWHERE}, one of the two")


def _plain_secret(field: str, value: object, file: YamlFile) -> _Secret:
    if file.content.get("allow_plain_keys") is not True:
        raise RefusedError(field, f"{_ELSEWHERE}; only with `allow_plain_keys: true` may it stand in the ring")
    numbers: list[Any] = value if isinstance(value, list) else [value]
    if not all(type(each) is int for each in numbers):
        raise RefusedError(field, "whole numbers are expected")
    return _Secret(tuple(numbers))


def _from_environment(field: str, name: object, environment: Mapping[str, str]) -> _Secret:
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise RefusedError(field, "`env` is not the name of an environment variable; a secret is its value")
    text = environment.get(name, "")
    if not text.strip():
        return _Secret(unavailable=f"its secret is missing: the environment variable {name} is not set")
    return _Secret(_numbers(field, text, f"the environment variable {name}"))


def _from_file(field: str, name: object, folder: Path) -> _Secret:
    if not isinstance(name, str) or _NUMBER.fullmatch(name.strip()) or not name.strip():
        raise RefusedError(field, "`file` is not a path; a secret is the content of the file")
    path = folder / name
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_SECRET_BYTES)
        wide = path.stat().st_mode & 0o077
    except (OSError, ValueError) as error:
        return _Secret(unavailable=f"its secret is missing: {path} cannot be read ({_why(error)})")
    numbers = _numbers(field, content.decode("utf-8-sig", "replace"), str(path))
    return _Secret(numbers, warning=f"{path} is open to more people than its owner; chmod 600" if wide else None)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "no such path can be"


def _numbers(field: str, text: str, source: str) -> tuple[int, ...]:
    """Read numbers that commas or blanks part, in JSON's brackets or not."""
    inside = text.strip().removeprefix("[").removesuffix("]")
    parts = re.split(r"\s*,\s*|\s+", inside.strip())
    if not all(map(_NUMBER.fullmatch, parts)):
        raise RefusedError(field, f"{source} holds no decimal or 0x number")
    if field == "key" and len(parts) > 1:
        raise RefusedError(field, f"{source} holds {len(parts)} numbers and one is expected")
    return tuple(int(part, 16 if part[:2].lower() == "0x" else 10) for part in parts)


def _shaped(field: str, secret: _Secret) -> object:
    if secret.unavailable:
        return None
    if field == "key" and len(secret.numbers) != 1:
        raise RefusedError(field, "one number is expected")
    return secret.numbers[0] if field == "key" else secret.numbers


def _tokenizer(entry: Mapping[str, object], ring: Path) -> dict[str, object]:
    name = entry.get("tokenizer")
    if name is None:
        return {}
    if not isinstance(name, str):
        raise RefusedError("tokenizer", "the path of a tokenizer.json or a .txt is expected")
    if not entry.get("tokenizer_sha256"):
        raise RefusedError("tokenizer_sha256", f"it is missing; write the SHA-256 of {name}")
    return {"tokenizer": str(ring.parent / name)}


def _refuse_again(file: YamlFile, index: int, key: Key, earlier: Mapping[str, Key]) -> None:
    if key.id in earlier:
        raise file.error(("keys", index, "id"), f"{key.id!r} is there already; every key needs its own")
    same = next((each.id for each in earlier.values() if key.secrets and _test(each) == _test(key)), None)
    if same is not None:
        raise file.error(("keys", index), f"{key.id!r} is the same key as {same!r}; keep one of them")


def _test(key: Key) -> Key:
    """The key without all that changes no score."""
    tokenizer = None if key.tokenizer_sha256 else key.tokenizer
    return dataclasses.replace(key, id="key", owner=None, valid_from=None, valid_until=None, tokenizer=tokenizer)


def _measured(key: Key) -> dict[str, Any]:
    ignored = _NEVER_MEASURED | {"fingerprint", "unavailable"} | ({"tokenizer"} if key.tokenizer_sha256 else set())
    shown = {name: value for name, value in key.to_json().items() if name not in ignored}
    return shown | {"secret": key.stretched if key.secrets else None}


def _checked(key: Key, found: tuple[str, ...], today: date) -> KeyCheck:
    warnings = [*found, *_date_warnings(key, today)]
    if key.secrets and PUBLISHED.issuperset(key.secrets):
        warnings.append("its secret is one that reference code publishes: anybody can find and forge this mark")
    reason = untestable(key)
    if reason is None:
        try:
            warnings += filter(None, [vocabulary_warning(key, tokenizer_of(key))])
        except UsageError as error:
            reason = str(error)
    return KeyCheck(key.id, key.scheme, key.fingerprint, reason is None, reason, tuple(warnings))


def _date_warnings(key: Key, today: date) -> list[str]:
    if key.valid_until is not None and key.valid_until < today:
        return [f"it expired on {key.valid_until}: marking should use a newer key; old text is still looked at"]
    if key.valid_from is not None and key.valid_from > today:
        return [f"it is not valid before {key.valid_from}: no document captured so far is looked at"]
    return []
