"""Facts for the public summary of training content that Art. 53(1)(d) of Regulation (EU) 2024/1689 asks for.

Filled from the rows and ledgers of one release; what they do not say is written as unknown, for the provider to answer.
Source: the Commission's template, C(2025) 8311, its three parts: general information, data sources, processing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.document import EDITED, SYNTHETIC
from collapse_guard.release import released_snapshot
from collapse_guard.reservoir import HUMAN
from collapse_guard.sift import aligned_sources
from collapse_guard.snapshot import find_digest, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collapse_guard.release import Release
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

UNKNOWN = "unknown"
ABOUT = (
    "Facts for the public summary of training content (Regulation (EU) 2024/1689, Art. 53(1)(d)), taken from the rows "
    "and ledgers of one release. It is no such summary yet: what is unknown here the provider has to answer, and "
    "nothing here says that any obligation is met."
)
RANGES = (
    (10**9, "less than 1 billion tokens"),
    (10**13, "1 billion to 10 trillion tokens"),
    (None, "more than 10 trillion tokens"),
)
"""The ranges of the template for text, by their upper ends."""
TOP = 10
"""The template asks for the top 10 % of domains by size."""
_COLUMNS = ["text", "tokens", "origin", "stratum", "domain", "language", "captured_at", "text_sha256"]
_MARKS = ("watermark_key", "declared", "residue")


@dataclass
class _Totals:
    """Sums over the released rows."""

    documents: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    domains: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    captured: list[Any] = field(default_factory=list)
    scraped: list[Any] = field(default_factory=list)

    def add(self, table: pa.Table) -> None:
        """Add the rows of a shard; a document counts as scraped where it has a domain."""
        scraped = pc.if_else(pc.is_valid(table["domain"]), "scraped", "without_domain")
        kind = pc.if_else(pc.equal(table["stratum"], HUMAN), "reservoir", scraped)
        table = table.append_column("kind", kind)
        self.documents.update(table["kind"].to_pylist())
        for column, sums in (("kind", self.tokens), ("origin", self.origins), ("language", self.languages)):
            sums.update(_tokens_by(table, column))
        self.domains.update(_tokens_by(table.filter(pc.equal(table["kind"], "scraped")), "domain"))
        self.bytes += pc.sum(pc.binary_length(table["text"])).as_py() or 0
        self.captured += _ends(table)
        self.scraped += _ends(table.filter(pc.equal(table["kind"], "scraped")))


def _ends(table: pa.Table) -> list[Any]:
    """The first and the last time of capture, where any is known."""
    return [time for time in pc.min_max(table["captured_at"]).as_py().values() if time is not None]


def _tokens_by(table: pa.Table, column: str) -> dict[str, int]:
    sums = table.group_by(column).aggregate([("tokens", "sum")])
    names = [name or UNKNOWN for name in sums[column].to_pylist()]
    return dict(zip(names, sums["tokens_sum"].to_pylist(), strict=True))


def eu_summary(store: Store, entry: Release, reservoir: Reservoir | None = None) -> dict[str, Any]:
    """Gather the facts of a release.

    Args:
        store: Where it lies.
        entry: The release, its signature verified.
        reservoir: Where its human documents come from; without it their licences are unknown.

    Returns:
        JSON by the parts of the template: `about, release, general, sources, processing`.

    Raises:
        DamagedDataError: Bytes are not those that were released.
    """
    snapshot, totals = released_snapshot(store, entry), _Totals()
    marked: list[pa.Array] = []
    for table in read_rows(store, snapshot.with_role("documents"), _COLUMNS):
        totals.add(table)
        by_model = pc.is_in(table["origin"], pa.array([SYNTHETIC, EDITED]))
        marked += table.filter(by_model)["text_sha256"].chunks
    sources = {
        "reservoir": _reservoir(totals, snapshot, reservoir),
        "scraped": _scraped(totals),
        "without_domain": _part(totals, "without_domain"),
        "synthetic": _synthetic(store, snapshot, totals, pa.chunked_array(marked, pa.binary())),
        "public_datasets": UNKNOWN,
        "commercially_licensed_datasets": UNKNOWN,
        "user_data": UNKNOWN,
    }
    told = {"corpus": entry.corpus, "dump": entry.dump, "number": entry.number, "digest": entry.digest}
    return {
        "about": ABOUT,
        "release": {**told, "released_at": entry.statement["released_at"]},
        "general": _general(totals),
        "sources": sources,
        "processing": _processing(entry),
    }


def _general(totals: _Totals) -> dict[str, Any]:
    tokens = totals.tokens.total()
    size = next(name for end, name in RANGES if end is None or tokens < end)
    documents = totals.documents.total()
    return {
        "provider": UNKNOWN,
        "model": UNKNOWN,
        "modalities": {"text": {"size": size, "tokens": tokens, "documents": documents, "bytes": totals.bytes}},
        "latest_acquisition": _time(max(totals.captured, default=None)),
        "tokens_by_language": dict(totals.languages.most_common()),
        "tokens_by_origin": dict(totals.origins.most_common()),
    }


def _time(time: Any) -> str:  # noqa: ANN401 - a time or null
    return str(time.isoformat()) if time else UNKNOWN


def _part(totals: _Totals, kind: str) -> dict[str, Any]:
    return {"documents": totals.documents[kind], "tokens": totals.tokens[kind]}


def _scraped(totals: _Totals) -> dict[str, Any]:
    count = -(-len(totals.domains) * TOP // 100)
    ranked = sorted(totals.domains.items(), key=lambda item: (-item[1], item[0]))
    return {
        **_part(totals, "scraped"),
        "collected_from": _time(min(totals.scraped, default=None)),
        "collected_to": _time(max(totals.scraped, default=None)),
        "crawlers": UNKNOWN,
        "domains": len(ranked),
        "top_domains_by_tokens": dict(ranked[:count]),
    }


def _reservoir(totals: _Totals, snapshot: Snapshot, reservoir: Reservoir | None) -> dict[str, Any]:
    if reservoir is None:
        return {**_part(totals, "reservoir"), "tokens_in_the_reservoir_by_licence": UNKNOWN}
    parent = next(parent for parent in snapshot.parents if parent.name == "reservoir")
    licences: Counter[str] = Counter()
    for table in reservoir.at(parent).index(HUMAN):
        licences.update(_tokens_by(table, "licence"))
    return {**_part(totals, "reservoir"), "tokens_in_the_reservoir_by_licence": dict(licences.most_common())}


def _synthetic(store: Store, snapshot: Snapshot, totals: _Totals, marked: pa.ChunkedArray) -> dict[str, Any]:
    """Documents with evidence of a model, and what that evidence names; it seldom names the model itself."""
    found = _marks(store, snapshot, marked) if len(marked) else {}
    return {
        "tokens": totals.origins[SYNTHETIC],
        "edited_tokens": totals.origins[EDITED],
        "documents": len(marked),
        "generators": {name: dict(counts.most_common()) for name, counts in found.items() if counts} or UNKNOWN,
        "undetected": UNKNOWN,
    }


def _marks(store: Store, snapshot: Snapshot, marked: pa.ChunkedArray) -> dict[str, Counter[str]]:
    """How many of some documents each mark was found in, from what was measured of them."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in _MARKS}
    for measured in _measured(store, snapshot):
        for table in read_rows(store, measured.shards):
            rows = table.filter(pc.is_in(table["text_sha256"], marked))
            for name in set(_MARKS).intersection(table.column_names):
                counts[name].update(part for value in rows[name].drop_null().to_pylist() for part in value.split())
    return counts


def _measured(store: Store, snapshot: Snapshot) -> Iterator[Snapshot]:
    for parent in snapshot.parents:
        if parent.name.split("/")[1:2] == ["sifted"]:
            yield aligned_sources(store, find_digest(store, parent))[0]


def _processing(entry: Release) -> dict[str, Any]:
    said = entry.statement
    dropped: Counter[str] = Counter()
    for step in said["steps"]:
        dropped.update(step["ledger"]["dropped"])
    return {
        "rights_reservations": UNKNOWN,
        "illegal_content": UNKNOWN,
        "policy_digest": said["policy_digest"],
        "documents_left_out_by_reason": dict(dropped.most_common()),
        "records_not_readable": sum(sum(step["ledger"]["quarantined"].values()) for step in said["steps"]),
        "state": said["judgement"]["state"],
        "gates": [
            {name: gate[name] for name in ("name", "value", "low", "high", "passed")}
            for gate in said["judgement"]["gates"]
        ],
    }


def markdown(facts: Mapping[str, Any]) -> str:
    """The same facts as Markdown, a section for each part."""
    titles = {
        "release": "Release",
        "general": "1. General information",
        "sources": "2. Data sources",
        "processing": "3. Processing",
    }
    lines = ["# Training content: facts from one release", "", str(facts["about"]), ""]
    for name, title in titles.items():
        lines += [f"## {title}", "", *_listed(facts[name], 0), ""]
    return "\n".join(lines).rstrip()


def _listed(value: Mapping[str, Any], depth: int) -> Iterator[str]:
    for name, inner in value.items():
        label = f"{'  ' * depth}- {_plain(str(name))}:"
        if isinstance(inner, dict) and inner:
            yield label
            yield from _listed(inner, depth + 1)
        elif isinstance(inner, list) and inner:
            yield label
            for item in inner:
                yield f"{'  ' * (depth + 1)}- " + ", ".join(f"{key} {_said(part)}" for key, part in item.items())
        else:
            yield f"{label} {_said(inner)}"


def _said(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return _plain(str(value)) if value not in (None, {}, []) else "none"


def _plain(text: str) -> str:
    """Words with blanks, and nothing that Markdown or a page could run: domains and marks come from the corpus."""
    shown = "".join(char if char.isprintable() else "?" for char in text.replace("_", " "))
    return "".join(f"\\{char}" if char in "\\`*[]<>#|!" else char for char in shown)
