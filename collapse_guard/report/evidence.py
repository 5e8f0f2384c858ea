"""Evidence about who wrote a corpus as tables: keys, prevalence, marks, origins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Listing(NamedTuple):
    """A title, the names of columns, and rows of cells; the first column is text."""

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
    yield Listing("documents by origin", ("origin", "documents"), _counts(evidence["origins"]))
    if evidence["watermarks"]:
        yield from _watermark_rows(evidence["watermarks"])
    for kind in ("declared", "residue"):
        if evidence[kind]:
            yield Listing(f"{kind}: what was found", ("finding", "documents"), _counts(evidence[kind]))


def prevalence_rows(watermarks: Mapping[str, Any]) -> list[Sequence[str]]:
    """How many documents are marked under any key, by source and domain, with a 95 % interval.

    Args:
        watermarks: What the manifest says about them.

    Returns:
        Rows for the columns of `PREVALENCE`: of each grouping the groups with most findings, then the largest.
    """
    groupings = dict.fromkeys(row["grouping"] for row in watermarks["prevalence"])
    listed = [
        row
        for grouping in groupings
        for row in [row for row in watermarks["prevalence"] if row["grouping"] == grouping][:LISTED]
    ]
    return [
        (
            f"{row['grouping']}: {row['group']}",
            f"{row['documents']:,}",
            f"{row['found']:,}",
            _share(row["estimate"]),
            f"{_share(row['low'])} to {_share(row['high'])}",
        )
        for row in listed
    ]


LISTED = 15
PREVALENCE = ("group", "tested", "found", "marked", "95 % interval")


def _watermark_rows(watermarks: Mapping[str, Any]) -> Iterator[Listing]:
    keys = [
        (
            row["id"],
            row["scheme"],
            f"{row['documents']:,}",
            f"{row['found']:,}",
            _share(row["share_of_documents"]["estimate"]),
            f"{_share(row['share_of_documents']['low'])} to {_share(row['share_of_documents']['high'])}",
            f"{row['outside_vocabulary']:,}",
        )
        for row in watermarks["keys"]
    ]
    yield Listing("documents by outcome", ("outcome", "documents"), _counts(watermarks["outcomes"]))
    names = ("key", "scheme", "tested", "found", "marked", "95 % interval", "foreign ids")
    yield Listing("keys that were tested", names, keys)
    if watermarks["unsupported_keys"]:
        unsupported = [(row["id"], row["reason"]) for row in watermarks["unsupported_keys"]]
        yield Listing("keys that could not be tested", ("key", "reason"), unsupported)
    yield Listing("share of marked documents", PREVALENCE, prevalence_rows(watermarks))


def tables(evidence: Mapping[str, Any]) -> Iterator[Table]:
    """The same for a terminal."""
    for title, names, rows in evidence_rows(evidence):
        table = Table(title=title, title_justify="left", title_style="bold", box=None)
        for place, name in enumerate(names):
            left = place == 0 or name in {"scheme", "reason"}
            table.add_column(name, justify="left" if left else "right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        yield table


def _counts(counts: Mapping[str, int]) -> list[Sequence[str]]:
    return [(name, f"{count:,}") for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
