"""Watermark keys: what a scheme needs to be tested, and the key ring that a file holds."""

from __future__ import annotations

import dataclasses
import hashlib
import numbers
import re
from dataclasses import field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from collapse_guard.declared import REQUIRED
from collapse_guard.errors import UsageError
from collapse_guard.policy import EXACT
from collapse_guard.yaml_lines import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

MAX_VOCABULARY = 2**22
_INT64 = 2**63 - 1
_WORD64 = 2**64 - 1
_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)
_Whole = Annotated[int, Field(strict=True)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Key:
    """One watermark key with all that its scheme needs; `complete` makes one from a mapping.

    `repr`, `to_json` and errors never show the secret (`key`, `keys`); `dataclasses.asdict` and pickle do.
    """

    id: Annotated[str, Field(min_length=1)] = "key"
    scheme: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]
    key: Annotated[_Whole | None, Field(exclude=True)] = field(default=None, repr=False)
    keys: Annotated[tuple[_Whole, ...] | None, Field(exclude=True)] = field(default=None, repr=False)
    vocab_size: Annotated[_Whole, Field(ge=2, le=MAX_VOCABULARY)] | None = None
    """Tokens that the sampler chose from: the model's, which a padded embedding makes larger than the tokenizer's."""
    gamma: Annotated[float, Field(gt=0, lt=1)] | None = None
    context_width: Annotated[_Whole, Field(ge=1, le=64)] | None = None
    context_history_size: Annotated[_Whole, Field(ge=1, le=2**20)] | None = None
    ngram_len: Annotated[_Whole, Field(ge=2, le=64)] | None = None
    table_size: Annotated[_Whole, Field(ge=2, le=2**24)] | None = None
    table_seed: Annotated[_Whole, Field(ge=0, lt=EXACT)] | None = None
    device: Annotated[str, Field(min_length=1)] = "cpu"
    """Where the generator drew its random numbers, as torch names it."""
    tokenizer: str | None = None
    tokenizer_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    owner: str | None = None
    unavailable: str | None = field(default=None, compare=False)
    """Why the secret is not here; a key without its secret is `unsupported` in a scan."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.scheme.startswith("ff-") and freeform(self.scheme) is None:
            raise ValueError("`scheme` is no ff-<prf>-<context width>-<True|False>; `complete` takes a key out of it")
        if self.gamma is not None and self.vocab_size is not None and int(self.gamma * self.vocab_size) < 1:
            raise ValueError("`gamma` times `vocab_size` is below 1: no token would be green")
        if self.valid_from is not None and self.valid_until is not None and self.valid_from > self.valid_until:
            raise ValueError(f"`valid_from` {self.valid_from} is after `valid_until` {self.valid_until}")
        return self

    @property
    def secrets(self) -> tuple[int, ...]:
        """The secret, whether the scheme has one number or several."""
        return self.keys or (() if self.key is None else (self.key,))

    @property
    def fingerprint(self) -> str | None:
        """Eight hexadecimal digits that tell secrets of one scheme apart; null without a secret.

        They come from scrypt and not from a plain hash, because many secrets have 32 bits or fewer: a guess costs some
        20 ms here, which is more than it costs to try it on a page of marked text, and such pages are public. A short
        secret can be guessed either way.
        """
        return self.stretched[:8] if self.secrets else None

    @cached_property
    def stretched(self) -> str:
        """The whole of the slow hash behind `fingerprint`, for digests: equal exactly where the secrets are."""
        secret = ",".join(map(str, self.secrets)).encode()
        salt = f"collapse_guard watermark key 1 {self.scheme}".encode()
        return hashlib.scrypt(secret, salt=salt, n=2**13, r=8, p=1, dklen=32).hex()

    def valid_at(self, captured: date | None) -> bool:
        """Say whether a document captured on a day (UTC) can carry the mark.

        Args:
            captured: The day of the capture; without one, any key may have been used.

        Returns:
            False before `valid_from`. True after `valid_until`: a text may be older than its capture, so a key that was
            rotated stays in the ring and is tested.
        """
        return captured is None or self.valid_from is None or captured >= self.valid_from

    def to_json(self) -> dict[str, Any]:
        """What may be shown: every field that is set, and the fingerprint instead of the secret."""
        shown: dict[str, Any] = _keys.dump_python(self, mode="json", exclude_none=True)
        return shown | ({"fingerprint": self.fingerprint} if self.secrets else {})


_keys = TypeAdapter(Key)
_GENERAL = frozenset("id scheme device tokenizer tokenizer_sha256 valid_from valid_until owner".split())
_OPEN = frozenset(each.name for each in dataclasses.fields(Key)) - {"unavailable"}


class Scheme(NamedTuple):
    """What a scheme needs of a key."""

    fields: Mapping[str, Any]
    """Its own fields with their defaults, `REQUIRED` where there is none, null where they may be left out."""
    low: int = 1
    high: int = _INT64
    """The smallest and the largest secret that the reference accepts."""
    on_device: bool = True
    """Whether torch draws its random numbers on the generator's device, whose stream differs from the CPU's."""


def _green(context_width: int) -> dict[str, Any]:
    return {"key": REQUIRED, "vocab_size": REQUIRED, "gamma": 0.25, "context_width": context_width}


_FREEFORM = _green(1) | {"context_width": REQUIRED}
_PHILOX = {"key": REQUIRED, "vocab_size": None, "context_width": 4}
_SYNTHID = {"keys": REQUIRED, "vocab_size": None, "ngram_len": 5, "context_history_size": 1024}

SCHEMES: dict[str, Scheme] = {
    "kgw_simple_1": Scheme(_green(1)),
    "kgw_minhash": Scheme(_green(4)),
    "kgw_selfhash": Scheme(_green(4)),
    "kgw_skipgram": Scheme(_green(5)),
    "hf_lefthash": Scheme(_green(1)),
    "hf_selfhash": Scheme(_green(4)),
    "unigram": Scheme({"key": REQUIRED, "vocab_size": REQUIRED, "gamma": 0.5}, low=0, on_device=False),
    "exp_markllm": Scheme({"key": REQUIRED, "vocab_size": REQUIRED, "context_width": 4}, high=_WORD64, on_device=False),
    "gumbel_philox": Scheme(_PHILOX, low=0, high=_WORD64, on_device=False),
    "gumbel_philox_dual": Scheme(_PHILOX, low=0, high=_WORD64, on_device=False),
    "synthid_table": Scheme(_SYNTHID | {"table_size": 65536, "table_seed": 0}, low=0),
    "synthid_iv": Scheme(_SYNTHID, low=0, on_device=False),
    "dipmark": Scheme({"key": REQUIRED, "vocab_size": REQUIRED, "gamma": 0.5, "context_width": 5}, low=0, high=_WORD64),
}
"""Defaults are the references': lm-watermarking, transformers, MarkLLM (DiPmark's key seeds Python's generator), vLLM
and synthid-text. No secret has a default."""

PRFS = (
    "additive_prf anchored_minhash_prf anchored_skipgram_prf minfunc_prf minhash_prf minskipgram_prf "
    "multiplicative_prf noncomm_prf position_prf simple_skip_prf skipgram_prf"
).split()
"""The functions that lm-watermarking's `ff-` schemes may name."""

_MODEL = "its test needs the model that wrote the text"
_NETWORK = "its test needs a trained network"
UNSUPPORTED: dict[str, str] = {
    "sweet": f"{_MODEL}, for the entropy of every token",
    "ewd": f"{_MODEL}, for the entropy of every token",
    "unbiased": f"{_MODEL}, for the likelihood ratio",
    "exp_edit": "its test permutes an alignment, and its p-values cannot be small enough for a corpus",
    "its": "its test permutes an alignment, and its p-values cannot be small enough for a corpus",
    "its_edit": "its test permutes an alignment, and its p-values cannot be small enough for a corpus",
    "three_bricks": "its hash table is drawn without a seed, so that nobody else can draw it again",
    "gemini": "its hash is not published",
    "sbw": "no released version of its reference exists to agree with",
    "ts": _NETWORK,
    "upv": _NETWORK,
    "sir": _NETWORK,
    "xsir": _NETWORK,
    "adaptive": _NETWORK,
    "morphmark": "no reference test of it is agreed with yet",
    "pf": "no reference test of it is agreed with yet",
    "semstamp": "its test needs sentence embeddings",
    "k_semstamp": "its test needs sentence embeddings",
}
"""Schemes that are known and cannot be tested, with the reason."""


_FREEFORM_NAME = re.compile(r"ff-(?P<prf>[a-z_]+)-(?P<width>\d{1,2})-(?P<salt>True|False)(?:-(?P<key>\d{1,20}))?")


class Freeform(NamedTuple):
    """lm-watermarking's `ff-<prf>-<context width>-<self salt>`, taken apart."""

    prf: str
    context_width: int
    self_salt: bool

    @property
    def scheme(self) -> str:
        """The scheme's id, without a key in it."""
        return f"ff-{self.prf}-{self.context_width}-{self.self_salt}"


class RefusedError(ValueError):
    """A field of an entry is wrong: `place` names it, and the message never holds a secret."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place = place


def freeform(scheme: str) -> Freeform | None:
    """Take an `ff-` scheme without a key in it apart; null where it is none."""
    found = _FREEFORM_NAME.fullmatch(scheme)
    if found is None or found["prf"] not in PRFS or found["key"]:
        return None
    return Freeform(found["prf"], int(found["width"]), found["salt"] == "True")


def scheme_of(name: str) -> Scheme | None:
    """What a scheme needs of its keys; null where it cannot be tested."""
    return Scheme(_FREEFORM) if freeform(name) else SCHEMES.get(name)


def untestable(key: Key) -> str | None:
    """Say why a key is `unsupported` whatever the text: its secret, its scheme or its device; null where it is not."""
    scheme = scheme_of(key.scheme)
    if scheme is None:
        return f"{key.scheme} cannot be tested: {UNSUPPORTED.get(key.scheme, 'no such scheme is known here')}"
    if scheme.on_device and key.device != "cpu":
        return f"{key.scheme} was drawn on {key.device}, whose random numbers cannot be drawn again on a CPU"
    return key.unavailable


def complete(entry: Mapping[str, object]) -> Key:
    """Make a key of a key-ring entry, with the defaults of its scheme.

    Args:
        entry: The fields of `Key`, secrets as numbers. `ff-` schemes may carry the secret at their end.

    Returns:
        The key. One whose scheme cannot be tested is a key too, with `unsupported` as its outcome.

    Raises:
        UsageError: A field is missing, not one of the scheme, or impossible; no message shows a secret.
    """
    try:
        return completed(entry)
    except RefusedError as error:
        name = entry.get("id", "key")
        raise UsageError(f"key {name!r}: {error.place}: {error}") from None


def completed(entry: Mapping[str, object], unavailable: str | None = None) -> Key:
    """Make a key as `complete` does; with a reason why its secret is unavailable, also without one.

    Raises:
        RefusedError: A field is missing, not one of the scheme, or impossible.

    Returns:
        The key.
    """
    given = _opened({name: _plain(value) for name, value in entry.items() if value is not None})
    name = str(given.get("scheme", ""))
    scheme = scheme_of(name)
    if scheme is None:
        _refuse_foreign(given, _OPEN, "watermark keys")
        return _validated(given, unavailable)
    _refuse_foreign(given, _GENERAL | set(scheme.fields), name)
    defaults = {each: value for each, value in scheme.fields.items() if value is not None}
    filled = {**defaults, **given}
    for each, value in filled.items():
        if value is REQUIRED and not (unavailable and each in {"key", "keys"}):
            raise RefusedError(each, f"it is missing; {name} needs it")
    key = _validated({each: value for each, value in filled.items() if value is not REQUIRED}, unavailable)
    _check_secrets(key, scheme)
    return key


def _plain(value: object) -> object:
    """Turn numpy's whole numbers into Python's."""
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else value


def _opened(given: dict[str, object]) -> dict[str, object]:
    """Take the secret and the context width out of an `ff-` scheme's name."""
    scheme = given.get("scheme")
    if not isinstance(scheme, str) or not scheme.startswith("ff-"):
        return given
    found = _FREEFORM_NAME.fullmatch(scheme)
    form = freeform(scheme.removesuffix(f"-{found['key']}")) if found else None
    if found is None or form is None:
        form_wanted = "ff-<prf>-<context width>-<True|False>[-<key>]"
        raise RefusedError("scheme", f"it must read {form_wanted}, the prf one of {', '.join(PRFS)}")
    inside = {"context_width": form.context_width} | ({"key": int(found["key"])} if found["key"] else {})
    for each, value in inside.items():
        if given.get(each, value) != value:
            raise RefusedError(each, "it is not the one in the scheme's name; give it once")
    return given | inside | {"scheme": form.scheme}


def _refuse_foreign(given: Mapping[str, object], known: frozenset[str], owner: str) -> None:
    for each in given:
        if each not in known:
            raise RefusedError(str(each), f"{owner} has no such field; {suggest(str(each), sorted(known))}")


def _validated(given: Mapping[str, object], unavailable: str | None) -> Key:
    try:
        return _keys.validate_python({**given, "unavailable": unavailable})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = str(first["loc"][0]) if first["loc"] else "entry"
        raise RefusedError(place, str(first["msg"]).removeprefix("Value error, ")) from None


def _check_secrets(key: Key, scheme: Scheme) -> None:
    place = "keys" if "keys" in scheme.fields else "key"
    if key.keys is not None and not 1 <= len(key.keys) <= 64:  # noqa: PLR2004 - as many layers as fit a word
        raise RefusedError("keys", f"1 to 64 secrets are needed, not {len(key.keys)}")
    if not all(scheme.low <= secret <= scheme.high for secret in key.secrets):
        raise RefusedError(place, f"{key.scheme} takes secrets from {scheme.low} to {scheme.high}")
    if key.scheme == "exp_markllm" and any(secret * ((key.vocab_size or 1) - 1) > _WORD64 for secret in key.secrets):
        raise RefusedError(place, "the secret times `vocab_size` is beyond 64 bits, where the reference stops")
    if key.scheme.startswith("ff-minskipgram_prf") and key.context_width == 1:
        raise RefusedError("context_width", "minskipgram_prf pairs tokens of the context, so 2 are needed at least")
