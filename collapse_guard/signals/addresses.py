"""Signals about where a document was found: its web address against lists that the user gives.

A document without an address counts as not listed, because a list of unwanted addresses says nothing about it; with
`without_url: "null"` it cannot be measured instead, and so is never inside a bound.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field
from pydantic.dataclasses import dataclass

from collapse_guard.kernels.counts import Family
from collapse_guard.signals.declaration import STRICT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.signals.batch import Batch

Path = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
WithoutUrl = Literal["zero", "null"]

_PARTS = r"(?s)^(?:(?:[A-Za-z][A-Za-z0-9+.-]*:)?//)?(?P<host>[^/?#]*)(?P<rest>.*)$"
_PREFIX_ENDS = re.compile(r"[/?#&]")
_MOST_PREFIXES = 256


@dataclass(frozen=True, config=STRICT)
class _Listed:
    """A list of the user's, and what an address that is missing counts as."""

    path: Path
    sha256: Sha256 = None
    without_url: WithoutUrl = "zero"
    version: ClassVar[int] = 1
    family: ClassVar[Family] = Family.WORDS


@dataclass(frozen=True, config=STRICT)
class ListedDomain(_Listed):
    """Whether the document's host, or a domain above it, is in a list of yours (1 or 0)."""

    kind: Literal["listed_domain"] = "listed_domain"
    unit: ClassVar[str] = "0 or 1"
    source: ClassVar[str] = "datatrove 0.10, URLFilter, with all domains above the host instead of the registered one"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Look at the host in column `url`, or at column `domain` where there is no address."""
        from collapse_guard.signals.domains import hosts, per_host  # noqa: PLC0415 - its list takes time to load

        listed = frozenset(entry.lower().strip(".") for entry in batch.listed(self.path, self.sha256))
        names = pc.coalesce(hosts(batch.column("url")), hosts(batch.column("domain")))
        return _filled(per_host(names, lambda host: float(_above(host, listed)), pa.float64()), self.without_url)


@dataclass(frozen=True, config=STRICT)
class ListedUrl(_Listed):
    """Whether the document's address, or a part of it up to a slash, is in a list of yours (1 or 0)."""

    kind: Literal["listed_url"] = "listed_url"
    unit: ClassVar[str] = "0 or 1"
    source: ClassVar[str] = "datatrove 0.10, URLFilter, with prefixes; scheme, `www.` and a final slash do not matter"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Look at column `url`."""
        listed = frozenset(_bare(pa.array(batch.listed(self.path, self.sha256), pa.string())).to_pylist())
        found = [None if url is None else float(_begins(url, listed)) for url in _urls(batch).to_pylist()]
        return _filled(pa.array(found, pa.float64()), self.without_url)


@dataclass(frozen=True, config=STRICT)
class UrlWords(_Listed):
    """How many words of a list of yours are in the document's address.

    One hard word condemns with `high: 0`; with a list of soft words two do, with `high: 1`. A word is a run of ASCII
    letters and digits; with `match: substring`, entries are looked for in the address without anything else, and the
    value is 1 or 0.
    """

    match: Literal["word", "substring"] = "word"
    kind: Literal["url_words"] = "url_words"
    unit: ClassVar[str] = "different words"
    source: ClassVar[str] = "datatrove 0.10, URLFilter, with the address in lower case"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Look at column `url`."""
        plain = (re.sub(r"[^a-z0-9]", "", entry.lower()) for entry in batch.listed(self.path, self.sha256))
        entries = sorted({entry for entry in plain if entry})
        urls = _urls(batch)
        found = _substrings(urls, entries) if self.match == "substring" else _distinct_words(urls, entries)
        return _filled(pc.if_else(urls.is_null(), None, found), self.without_url)


def _urls(batch: Batch) -> pa.Array:
    return _bare(batch.column("url").cast(pa.string()))


def _bare(urls: pa.Array) -> pa.Array:
    """Drop what does not tell addresses apart: case of the host, scheme, `www.`, a final slash."""
    parts = pc.extract_regex(pc.utf8_trim_whitespace(urls), _PARTS)
    host = pc.replace_substring_regex(pc.utf8_lower(pc.struct_field(parts, "host")), r"^www\.", "")
    return pc.utf8_rtrim(pc.binary_join_element_wise(host, pc.struct_field(parts, "rest"), ""), "/")


def _above(host: str, listed: frozenset[str]) -> bool:
    labels = host[-253:].split(".")
    return any(".".join(labels[k:]) in listed for k in range(len(labels)))


def _begins(url: str, listed: frozenset[str]) -> bool:
    if url in listed:
        return True
    ends = zip(range(_MOST_PREFIXES), _PREFIX_ENDS.finditer(url), strict=False)
    return any(url[: end.start()] in listed for _, end in ends)


def _distinct_words(urls: pa.Array, entries: list[str]) -> pa.Array:
    words = pc.split_pattern_regex(pc.utf8_lower(urls), r"[^a-z0-9]+")
    rows = np.asarray(pc.list_parent_indices(words))
    places = pc.index_in(words.flatten(), value_set=pa.array(entries, pa.string()))
    listed = np.asarray(places.is_valid())
    pairs = np.unique(rows[listed] * np.int64(max(1, len(entries))) + np.asarray(places.drop_null(), np.int64))
    counts = np.bincount(pairs // max(1, len(entries)), minlength=len(urls))
    return pa.array(counts.astype(np.float64))


def _substrings(urls: pa.Array, entries: list[str]) -> pa.Array:
    from collapse_guard.kernels.wordlist import (  # noqa: PLC0415 - a policy is read without the compiler
        CHARACTERS,
        count_listed,
    )

    plain = pc.replace_substring_regex(pc.utf8_lower(urls), r"[^a-z0-9]+", "")
    found = count_listed(plain.cast(pa.large_string()), tuple(entries), CHARACTERS)
    return pa.array((found[:, 0] > 0).astype(np.float64))


def _filled(values: pa.Array, without_url: WithoutUrl) -> NDArray[np.float64]:
    found: NDArray[np.float64] = values.to_numpy(zero_copy_only=False).astype(np.float64)
    return np.nan_to_num(found, nan=0.0) if without_url == "zero" else found
