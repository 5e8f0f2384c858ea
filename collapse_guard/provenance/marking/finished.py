"""Marks for finished tables and pages: sidecar columns, meta tags, linked data.

Marks of others stay. One that says that no model took part is a contradiction, which nobody but its author can settle.
"""

from __future__ import annotations

import hashlib
import html as markup
import json
import re
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
from resiliparse.parse.html import HTMLTree

from collapse_guard.errors import UsageError
from collapse_guard.provenance.declared import HEAD_CHARACTERS, Marks, marks_of_page, marks_of_row
from collapse_guard.provenance.evidence import quoted
from collapse_guard.provenance.marking.statement import Marked, aigc_field, disclosure_header, structured_string

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.provenance.marking.statement import Statement

_DENYING = frozenset({"ai-generated", "ai-disclosure", "ai-content-declaration"})
# A page is cut only behind tags that any parser ends at the same place, so never inside of one or of a comment. Tags
# that may declare an encoding are passed: it must stand in the first 1,024 bytes.
_VALUE = r"\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'=<>`/]+)"
_ATTRIBUTES = rf"(?:\s+[^\s\"'<>/=]+(?:{_VALUE})?)*+\s*/?>"
_COMMENT = r"<!--(?:-?>|.*?--!?>)"
_BEFORE_HEAD = rf"\ufeff?(?:\s++|{_COMMENT}|<!doctype\b[^>]*>|<\?[^>]*>|<html{_ATTRIBUTES})*+"
_HEAD = rf"(?:\s++|{_COMMENT}|<(?:meta|link|base){_ATTRIBUTES}|<(title|style|script){_ATTRIBUTES}[^<]*</\1\s*>)*+"
_PLACE = re.compile(rf"{_BEFORE_HEAD}(?:<head{_ATTRIBUTES})?+{_HEAD}", re.IGNORECASE | re.DOTALL)
_TAGS = r"(?:<meta name=\"[^\"<>]*\" content=\"[^\"<>]*\"/>|<script[^<>]*>[^<]*</script>)*"


def mark_rows(table: pa.Table, statement: Statement) -> Marked[pa.Table]:
    """Add columns that declare each row: `AIGC`, `digitalSourceType`, `AI-Disclosure`, `generation`.

    An ingest of the table as Parquet, JSON lines or CSV reads them back. `generation` is left as it is where the
    statement has none.

    Args:
        table: Rows; those with an `id` are called by it in `AIGC`, the others by the content id and their number.
        statement: What is declared of all of them.

    Returns:
        The table with the columns filled. A row of another producer keeps what says the same; in its `AIGC` we are
        named as who passed it on.

    Raises:
        UsageError: A row declares something else; says which.
    """
    notes = []
    for name, (kind, ours) in _columns(table, statement).items():
        theirs = table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
        settled = [_settled(name, row, *both, statement) for row, both in enumerate(zip(theirs, ours, strict=True))]
        if kept := sum(foreign for _, foreign in settled):
            notes.append(f"{kept} of {table.num_rows} rows keep another producer's {name}, which says the same")
        column = pa.array([value for value, _ in settled], kind)
        at = table.schema.get_field_index(name)
        table = table.append_column(name, column) if at < 0 else table.set_column(at, name, column)
    return Marked(table, tuple(notes))


def _columns(table: pa.Table, statement: Statement) -> dict[str, tuple[pa.DataType, list[Any]]]:
    """What we would say of every row."""
    rows = table.num_rows
    names = table["id"].to_pylist() if "id" in table.column_names else [None] * rows
    ids = [f"{statement.content_id}-{row}" if name in {None, ""} else str(name) for row, name in enumerate(names)]
    return {
        "AIGC": (pa.string(), [aigc_field(statement, name) for name in ids]),
        "digitalSourceType": (pa.string(), [statement.source_type] * rows),
        "AI-Disclosure": (pa.string(), [disclosure_header(statement)] * rows),
        "generation": (pa.int32(), [statement.generation] * rows),
    }


def _settled(name: str, row: int, theirs: Any, ours: Any, statement: Statement) -> tuple[Any, bool]:  # noqa: ANN401 - a cell
    """Choose the value of a cell, and say whether it is another producer's."""
    if theirs is None or theirs in ("", {}):
        return ours, False
    if name == "generation":
        if str(theirs) != str(theirs if ours is None else ours):
            raise UsageError(f"row {row} has generation {theirs}, and the statement says {ours}; one of them is wrong")
        return _generation(row, theirs), False
    text = theirs if isinstance(theirs, str) else json.dumps(theirs, ensure_ascii=False)
    if ours is not None and _is_from(name, text, statement.producer):
        return ours, False
    if {found.says for found in marks_of_row({name: text}).evidence} != {statement.mode}:
        said = f"row {row} has {name} {quoted(text)!r}"
        raise UsageError(f"{said}, which is not to say {statement.mode!r}; whoever wrote it must change it")
    return (_passed_on(text, ours, statement) if name == "AIGC" else text), text != ours


def _generation(row: int, value: int | str) -> int:
    """Read a generation as CSV has it, too."""
    try:
        return int(value)
    except (TypeError, ValueError):
        raise UsageError(f"row {row} has generation {quoted(str(value))!r}; a whole number is expected") from None


def _is_from(name: str, text: str, producer: str) -> bool:
    if name == "AIGC":
        return _field(text).get("ContentProducer") == producer
    return f"provider={structured_string(producer)}" in text


def _field(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _passed_on(text: str, ours: str | None, statement: Statement) -> str:
    """Name us as who passed the content on, where nobody is."""
    field = _field(text)
    if ours is None or "Label" not in field or field.get("ContentPropagator"):
        return text
    added = {"ContentPropagator": statement.producer, "PropagateID": _field(ours)["ProduceID"]}
    return json.dumps(field | added, ensure_ascii=False)


def mark_html(html: str, statement: Statement) -> Marked[str]:
    """Declare a page in its head: the meta tags `ai-disclosure` and `AIGC`, and linked data of schema.org.

    Everything added is ASCII. A file whose encoding is not known, but has ASCII in it, may be given decoded as
    Latin-1 and encoded so again.

    Args:
        html: A page, or a part of one; without a head it gets one in the eyes of any parser.
        statement: What is declared; an earlier one by the same producer is replaced.

    Returns:
        The page. Marks of others are kept.

    Raises:
        UsageError: A meta tag of the page says that no model took part.
    """
    digest = hashlib.sha256(statement.producer.encode()).hexdigest()[:8]
    html = re.sub(rf"<!--ai-marks:{digest}-->{_TAGS}<!--/ai-marks-->", "", html)
    if denial := next(_denials(html), None):
        raise UsageError(f"the page has {denial}, which is not to say {statement.mode!r}; take it out first")
    found = _PLACE.match(html, 0, HEAD_CHARACTERS // 2)
    at = found.end() if found else 0
    block = f"<!--ai-marks:{digest}-->{''.join(_tags(statement))}<!--/ai-marks-->"
    return Marked(html[:at] + block + html[at:], _notes(marks_of_page(html, {})))


def _notes(marks: Marks) -> tuple[str, ...]:
    if not marks.evidence:
        return ()
    names = ", ".join(dict.fromkeys(found.name for found in marks.evidence))
    return (f"the page has marks of somebody else, which are kept: {names}",)


def _denials(html: str) -> Iterator[str]:
    """Find disclosures that disclose nothing."""
    document = HTMLTree.parse(html).document
    for tag in document.query_selector_all("meta[name]") if document else ():
        name, content = (tag.getattr("name") or "").strip().lower(), (tag.getattr("content") or "").strip()
        if name in _DENYING and content and not marks_of_page(_meta(name, content), {}).evidence:
            yield f"a meta tag {name!r} with {quoted(content)!r}"


def _tags(statement: Statement) -> Iterator[str]:
    yield _meta("ai-disclosure", disclosure_header(statement))
    field = aigc_field(statement, statement.content_id)
    if field is not None:
        yield _meta("AIGC", field)
    written = json.dumps(_linked_data(statement))
    for character in "<>&":
        written = written.replace(character, f"\\u{ord(character):04x}")
    yield f'<script type="application/ld+json">{written}</script>'


def _meta(name: str, content: str) -> str:
    escaped = markup.escape(content).encode("ascii", "xmlcharrefreplace").decode()
    return f'<meta name="{name}" content="{escaped}"/>'


def _linked_data(statement: Statement) -> dict[str, Any]:
    told: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": "CreativeWork",
        "identifier": statement.content_id,
        "digitalSourceType": statement.schema_source_type,
        "dateCreated": statement.produced_at.isoformat(),
        "creator": {"@type": "Organization", "name": statement.producer},
    }
    if statement.model:
        told["instrument"] = {"@type": "SoftwareApplication", "name": statement.model}
    if statement.generation is not None:
        value = {"@type": "PropertyValue", "name": "generation", "value": statement.generation}
        told["additionalProperty"] = value
    return told
