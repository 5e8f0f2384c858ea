"""Marks that a page, its HTTP headers or a row declare: who made the content, and what it may be used for.

The two never mix: a wish not to be trained on says nothing about who wrote the text. Text *about* models is no mark.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pyarrow as pa
from resiliparse.parse.html import HTMLTree

from collapse_guard.provenance.evidence import Evidence, quoted
from collapse_guard.provenance.vocabulary import (
    WRITING_TOOLS,
    Meaning,
    aigc,
    declared,
    disclosure,
    names_tool,
    source_type,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from collapse_guard.provenance.evidence import Says

HEAD_CHARACTERS = 256 * 2**10
"""How far into a page its meta tags are looked for."""

MOST_MARKS = 16
"""Most marks kept of one document."""

WEIGHTS = {"strong": 1.0, "medium": 0.67, "weak": 0.33}
"""`declared.synthetic` by strength."""

ROW_FIELDS = frozenset({"AIGC", "digitalSourceType", "AI-Disclosure", "metadata"})
"""Fields of an input row that can declare who made it; `metadata` is looked into."""

_META = re.compile(r"name\s*=\s*[\"']?((?i:ai-|aigc|tdm-|robots|generator))")
_TAG_CHARACTERS = 4096
_SELECTOR = 'meta[name], script[type*="ld+json" i], [itemprop="digitalSourceType"]'
_MOST_ELEMENTS = 1000
_MOST_NODES = 10_000
_MODE = re.compile(r"(?:^|[,;])\s*mode\s*=\s*\"?([\w-]*)", re.IGNORECASE)
_DISCLOSING = frozenset({"ai-generated", "ai-disclosure", "ai-content-declaration"})
_ROBOTS = frozenset({"robots", "x-robots-tag"})
_NO_AI = re.compile(r"\b(?:noai|noimageai)\b", re.IGNORECASE)
_USAGE = frozenset({"tdm-reservation", "tdm-policy", "content-signal", "content-usage"})
_HEADERS = frozenset({"ai-disclosure", "x-robots-tag", *_USAGE})
_MEDIA_TYPES = re.compile(r"(?:Image|Video|Audio|Media)Object|Photograph|3DModel|AudioRecording|VideoGame")
_MEDIA_KEYS = frozenset({"image", "thumbnail", "logo", "photo", "video", "audio", "primaryImageOfPage", "encoding"})
_WHOLE = frozenset({"@graph", "mainEntity", "mainEntityOfPage"})


class Marks(NamedTuple):
    """What a page or row declares.

    Attributes:
        evidence: Who made its text.
        usage_policy: What it may be used for, by the name of the field that says so; never evidence.
    """

    evidence: tuple[Evidence, ...]
    usage_policy: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Give `marks` and `usage_policy`, each only if there is something in it."""
        told: dict[str, Any] = {}
        if self.evidence:
            told["marks"] = [found.to_json() for found in self.evidence]
        if self.usage_policy:
            told["usage_policy"] = self.usage_policy
        return told


NO_MARKS = Marks((), {})


def marks_of_page(html: str, headers: Mapping[str, str]) -> Marks:
    """Read the marks of a page and of the HTTP response that brought it.

    A page in which no mark can be costs one scan of its text and three of its head. Marks of an image or video inside
    the page say nothing about its text and are left out; a mark of a part of the page says that the page is edited.

    Args:
        html: The page's source; empty where it is no HTML.
        headers: HTTP headers by lower-case name.

    Returns:
        At most 16 marks, each once, in the order of the page.
    """
    elements = _elements(html) if html and _has_trigger(html) else []
    if not elements and _HEADERS.isdisjoint(headers):
        return NO_MARKS
    found = [*_header_evidence(headers), *chain.from_iterable(_element_evidence(element) for element in elements)]
    return Marks(tuple(dict.fromkeys(found))[:MOST_MARKS], _usage_policy([*headers.items(), *_metas(elements)]))


def _has_trigger(html: str) -> bool:
    """Say whether a mark may be there; must be fast, for most pages have none."""
    if "igitalSourceType" in html:
        return True
    end = html.find("</head", 0, HEAD_CHARACTERS)
    end = end if end >= 0 else HEAD_CHARACTERS
    if html.find("ContentProduc", 0, end) >= 0:
        return True
    if html.find("<META", 0, _TAG_CHARACTERS) >= 0:
        html = html[:end].lower()
    return any(_worth_reading(found, html) for found in _META.finditer(html, 0, end))


def _worth_reading(found: re.Match[str], html: str) -> bool:
    """Say whether a tag can hold a mark; most tags of robots and generators do not."""
    name = found[1].lower()
    if name not in {"robots", "generator"}:
        return True
    start = max(html.rfind("<", 0, found.start()), found.start() - _TAG_CHARACTERS, 0)
    end = html.find(">", found.end(), found.end() + _TAG_CHARACTERS)
    tag = html[start : end if end >= 0 else found.end() + _TAG_CHARACTERS]
    return "noai" in tag.lower() if name == "robots" else names_tool(tag, WRITING_TOOLS)


def _elements(html: str) -> list[Any]:
    """Give the elements that can hold a mark, in the order of the page."""
    try:
        document = HTMLTree.parse(html).document
    except ValueError:
        return []
    found = document.query_selector_all(_SELECTOR) if document else ()
    return [element for element, _ in zip(found, range(_MOST_ELEMENTS), strict=False)]


def _metas(elements: list[Any]) -> list[tuple[str, str]]:
    """Give name, in lower case, and content of the meta tags."""
    tags = [element for element in elements if element.tag == "meta" and element.hasattr("name")]
    return [(tag.getattr("name").strip().lower(), (tag.getattr("content") or "").strip()) for tag in tags]


def _element_evidence(element: Any) -> Iterable[Evidence]:  # noqa: ANN401 - the parser has no types
    if element.tag == "script":
        return _linked_data(element.text)
    if metas := _metas([element]):
        return _meta_evidence(*metas[0])
    return _microdata(element)


def _meta_evidence(name: str, content: str) -> list[Evidence]:
    if name in _DISCLOSING:
        return disclosure(f"meta:{name}", _mode(content))
    if name == "aigc":
        return aigc("meta", content)
    if name == "generator" and names_tool(content, WRITING_TOOLS):
        return [declared("meta:generator", Meaning("synthetic", "medium"), content)]
    return []


def _header_evidence(headers: Mapping[str, str]) -> list[Evidence]:
    value = headers.get("ai-disclosure")
    return disclosure("header:ai-disclosure", _mode(value)) if value else []


def _mode(value: str) -> str:
    """Take the mode out of a structured field such as `mode=ai-originated, model="m"`, or the bare word."""
    found = _MODE.search(value)
    return found[1] if found else value.partition(",")[0].partition(";")[0].strip().strip('"')


def _linked_data(text: str) -> Iterator[Evidence]:
    try:
        value = orjson.loads(text.strip().removeprefix("<![CDATA[").removesuffix("]]>"))
    except orjson.JSONDecodeError:
        return
    yield from _walk(value)


def _walk(value: Any) -> Iterator[Evidence]:  # noqa: ANN401 - any JSON value
    """Find the marks of nodes that are text: strong for the page's own node, edited for nodes inside it."""
    todo: list[tuple[Any, bool, bool]] = [(value, True, False)]
    for _ in range(_MOST_NODES):
        if not todo:
            return
        node, whole, media = todo.pop()
        if isinstance(node, list):
            todo += [(item, whole, media) for item in reversed(node)]
        elif isinstance(node, dict):
            media = _is_media(node, inherited=media)
            if not media:
                yield from (found if whole else _of_a_part(found) for found in _node_evidence(node))
            todo += [(item, whole and key in _WHOLE, key in _MEDIA_KEYS) for key, item in reversed(node.items())]


def _is_media(node: Mapping[str, Any], *, inherited: bool) -> bool:
    kind = node.get("@type", node.get("type"))
    kinds = [name for name in (kind if isinstance(kind, list) else [kind]) if isinstance(name, str)]
    return any(_MEDIA_TYPES.search(name) for name in kinds) if kinds else inherited


def _node_evidence(node: Mapping[str, Any]) -> Iterator[Evidence]:
    for key, value in node.items():
        name = re.split(r"[/:]", key)[-1]
        if name == "digitalSourceType":
            for item in value if isinstance(value, list) else [value]:
                word = item.get("@id", "") if isinstance(item, dict) else item
                yield from source_type("schema", word) if isinstance(word, str) else ()
        elif name == "AIGC":
            yield from aigc("schema", value)


def _of_a_part(found: Evidence) -> Evidence:
    return found._replace(says="edited", strength="weak" if found.strength == "weak" else "medium")


def _microdata(element: Any) -> list[Evidence]:  # noqa: ANN401 - the parser has no types
    value = element.getattr("content") or element.getattr("href") or element.text
    node = element
    while node and not (node.type == 1 and node.hasattr("itemscope")):
        node = node.parent
    kind = (node.getattr("itemtype") or "") if node else ""
    return [] if _MEDIA_TYPES.search(kind) else source_type("schema", value)


def _usage_policy(fields: list[tuple[str, str]]) -> dict[str, str]:
    """Read what a page may be used for out of headers and meta tags; of a field that occurs twice the first counts."""
    found: dict[str, str] = {}
    for name, value in fields:
        if name in _USAGE and value.strip():
            found.setdefault(name, quoted(value))
        elif name in _ROBOTS and _NO_AI.search(value):
            found.setdefault("noai", quoted(value))
    return found


def marks_of_row(row: Mapping[str, Any]) -> Marks:
    """Read the marks that a row of JSON lines, CSV or Parquet declares in fields of its own or under `metadata`."""
    if ROW_FIELDS.isdisjoint(row):
        return NO_MARKS
    inner = row.get("metadata")
    found = [*_row_evidence(row), *_row_evidence(_mapping(inner))]
    return Marks(tuple(dict.fromkeys(found))[:MOST_MARKS], {})


def _mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, str) and any(field in value for field in ROW_FIELDS):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return value if isinstance(value, dict) else {}


def _row_evidence(row: Mapping[str, Any]) -> Iterator[Evidence]:
    if row.get("AIGC") is not None:
        yield from aigc("row", row["AIGC"])
    if isinstance(value := row.get("digitalSourceType"), str):
        yield from source_type("row", value)
    if isinstance(value := row.get("AI-Disclosure"), str):
        yield from disclosure("row:AI-Disclosure", _mode(value))


def declared_columns(documents: pa.Table) -> dict[str, pa.Array]:
    """Read the marks that documents carry in their metadata.

    Args:
        documents: Documents of an ingest.

    Returns:
        `declared.synthetic`: 1, 0.67 or 0.33 for the strongest mark that says synthetic, 0 without one, null where the
        metadata is no JSON object; `declared.edited`: the same for marks that say edited; `declared`: the names of all
        marks joined by blanks, null where there is none.
    """
    told = [_told(value) for value in documents["metadata"].to_pylist()]
    synthetic, edited, names = zip(*told, strict=True) if told else ((), (), ())
    return {
        "declared.synthetic": pa.array(synthetic, pa.float64()),
        "declared.edited": pa.array(edited, pa.float64()),
        "declared": pa.array(names, pa.string()),
    }


def _told(metadata: str | None) -> tuple[float | None, float | None, str | None]:
    if metadata is None:
        return 0.0, 0.0, None
    try:
        value = orjson.loads(metadata)
    except orjson.JSONDecodeError:
        return None, None, None
    if not isinstance(value, dict):
        return None, None, None
    marks = value.get("marks")
    marks = [mark for mark in marks if isinstance(mark, dict)] if isinstance(marks, list) else []
    names = " ".join(str(mark.get("name")) for mark in marks) or None
    return _strongest(marks, "synthetic"), _strongest(marks, "edited"), names


def _strongest(marks: list[dict[str, Any]], says: Says) -> float:
    return max((WEIGHTS.get(str(mark.get("strength")), 0.0) for mark in marks if mark.get("says") == says), default=0.0)
