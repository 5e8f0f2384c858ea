"""Evidence about who wrote a corpus as tables: keys, prevalence, marks, origins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Listing(NamedTuple):
    """A short name, a title, the names of columns, and rows of cells; the first column is text."""

    name: str
    title: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]


def evidence_rows(evidence: Mapping[str, Any]) -> Iterator[Listing]:
    """Say what was found in a corpus.

    Args:
        evidence: What the manifest of measured documents says under `evidence`.

    Yields:
        One table after the other.
    """
    yield Listing("origins", "documents by origin", ("origin", "documents"), _counts(evidence["origins"]))
    if evidence["watermarks"]:
        yield from _watermark_rows(evidence["watermarks"])
    for kind in ("declared", "residue"):
        if evidence[kind]:
            yield Listing(kind, f"{kind}: what was found", ("finding", "documents"), _counts(evidence[kind]))


MARKED = "marked (95 % interval)"
LISTED = 12
"""Groups of each grouping that are listed: those with most findings, then the largest; the manifest has more."""


def _prevalence(grouping: str, rows: Sequence[Mapping[str, Any]]) -> Listing:
    """How many documents are marked under any key, with a 95 % interval."""
    cells = [(row["group"], f"{row['documents']:,}", f"{row['found']:,}", _marked(row)) for row in rows[:LISTED]]
    names = (grouping, "tested", "found", MARKED)
    return Listing(f"prevalence_by_{grouping}", f"share of marked documents by {grouping}", names, cells)


def _watermark_rows(watermarks: Mapping[str, Any]) -> Iterator[Listing]:
    foreign = any(row["outside_vocabulary"] for row in watermarks["keys"])
    keys = [
        (
            row["id"],
            row["scheme"],
            f"{row['documents']:,}",
            f"{row['found']:,}",
            _marked(row["share_of_documents"]),
            *([f"{row['outside_vocabulary']:,}"] if foreign else []),
        )
        for row in watermarks["keys"]
    ]
    yield Listing("outcomes", "documents by outcome", ("outcome", "documents"), _counts(watermarks["outcomes"]))
    names = ("key", "scheme", "tested", "found", MARKED, *(["foreign ids"] if foreign else []))
    yield Listing("keys", "keys that were tested", names, keys)
    if watermarks["unsupported_keys"]:
        unsupported = [(row["id"], row["reason"]) for row in watermarks["unsupported_keys"]]
        yield Listing("unsupported_keys", "keys that could not be tested", ("key", "reason"), unsupported)
    for grouping in dict.fromkeys(row["grouping"] for row in watermarks["prevalence"]):
        yield _prevalence(grouping, [row for row in watermarks["prevalence"] if row["grouping"] == grouping])


def findings_listing(findings: Sequence[Mapping[str, Any]]) -> Listing:
    """The documents that carry evidence, the clearest first."""
    names = ("document", "origin", "key", "q-value", "characters", "declared", "residue")
    return Listing(
        "findings", "documents with evidence, the clearest first", names, [_finding(row) for row in findings]
    )


def _finding(row: Mapping[str, Any]) -> Sequence[str]:
    marks = _mark(row) if row.get("watermark_outcome") == "evidence" else ("", "", "")
    return (row["id"], row["origin"], *marks, row["declared"] or "", row["residue"] or "")


def _mark(row: Mapping[str, Any]) -> tuple[str, str, str]:
    start, end = row["watermark_start"], row["watermark_end"]
    place = "" if start is None else f"{start:,} to {end:,}"
    return row["watermark_key"], f"{row['watermark.q_value@1']:.1e}", place


def images_listing(images: Sequence[Mapping[str, Any]]) -> Listing:
    """What was found in images."""
    names = ("file", "format", "size", "C2PA", "evidence", "problems")
    return Listing("images", "images", names, [_image(image) for image in images])


def _image(image: Mapping[str, Any]) -> Sequence[str]:
    size = f"{image.get('width') or '?'} x {image.get('height') or '?'}"
    found = "; ".join(f"{one['name']} ({one['strength']}, {one['says']})" for one in image["evidence"])
    outcome, problems = image["c2pa"]["outcome"], "; ".join(image["problems"])
    return (image["file"], image.get("format") or "?", size, outcome, found, problems)


def table_of(listing: Listing) -> Table:
    """A listing for a terminal; columns of numbers are aligned to the right."""
    table = Table(title=listing.title, title_justify="left", title_style="bold", box=None)
    for place, name in enumerate(listing.names):
        number = place > 0 and all(row[place][:1].isdigit() for row in listing.rows)
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in listing.rows:
        table.add_row(*row)
    return table


def _counts(counts: Mapping[str, int]) -> list[Sequence[str]]:
    return [(name, f"{count:,}") for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _marked(row: Mapping[str, float | None]) -> str:
    """A share of documents with its interval, such as `43.04% (39.23 to 46.62)`."""
    estimate, low, high = ("-" if row[name] is None else f"{row[name]:.2%}" for name in ("estimate", "low", "high"))
    return f"{estimate} ({low.rstrip('%')} to {high.rstrip('%')})"
