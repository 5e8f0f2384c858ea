"""What image generators write into the text fields, EXIF and XMP of their files."""

from __future__ import annotations

import html
import re
from itertools import islice
from typing import TYPE_CHECKING

from collapse_guard.provenance.evidence import quoted
from collapse_guard.provenance.vocabulary import IMAGE_TOOLS, Meaning, aigc, declared, names_tool, source_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.provenance.evidence import Evidence
    from collapse_guard.provenance.images.containers import Contents

# Written by AUTOMATIC1111's web UI and its many followers, in PNG text or an EXIF comment.
_PARAMETERS = re.compile(r"\bSteps: \d+,.{0,200}\bSampler: ", re.DOTALL)
# A node graph of ComfyUI: every node of a prompt has a class, every workflow a list of nodes.
_GRAPH = re.compile(r'^\s*(?:(?:prompt|workflow):)?\{.*"(?:class_type|last_node_id|nodes)"', re.DOTALL | re.IGNORECASE)
_OWN_FIELDS = frozenset({"png:Dream", "png:sd-metadata", "png:invokeai_metadata", "png:invokeai_graph"})
_CREATORS = frozenset({"png:Software", "png:Source", "png:Title", "exif:Software", "exif:Make", "exif:Model"})
_AIGC_FIELD = re.compile(r'^\s*\{\s*"(?:AIGC|Label)"')
_MADE = Meaning("synthetic", "strong")

# A scan and no XML parser: a packet is hostile input, and only these properties are asked of it. An attribute, an
# element with a resource, or an element with text; no entity is expanded but those of single characters.
_XMP_NAME = re.compile(r":(DigitalSourceType|CreatorTool|Credit|AIGC|DataMining)\b")
_XMP_VALUE = re.compile(
    r"\s{0,16}(?:=\s{0,16}(?:\"([^\"]{0,4096})\"|'([^']{0,4096})')|"
    r"\s[^<>]{0,256}?resource=[\"']([^\"'<>]{0,256})|[^<>]{0,256}>([^<]{1,4096}))"
)
_MOST_PROPERTIES = 64


def evidence_of_fields(contents: Contents) -> Iterator[Evidence]:
    """Find what a generator wrote, or what another tool declared, in an image's metadata."""
    for name, value in contents.fields:
        yield from _field_evidence(name, value)
    for name, value in _xmp_fields(contents):
        yield from _xmp_evidence(name, value)


def usage_policy_of_fields(contents: Contents) -> dict[str, str]:
    """Give the XMP property `plus:DataMining`: what the image may be used for, never evidence."""
    return {f"plus:{name}": quoted(value) for name, value in _xmp_fields(contents) if name == "DataMining"}


def _field_evidence(name: str, value: str) -> list[Evidence]:
    if name == "png:AIGC" or _AIGC_FIELD.search(value):
        return aigc(name.partition(":")[0], value)
    creator = name in _CREATORS and names_tool(value, IMAGE_TOOLS)
    if creator or name in _OWN_FIELDS or _PARAMETERS.search(value) or _GRAPH.search(value):
        return [declared(name, _MADE, value)]
    return []


def _xmp_fields(contents: Contents) -> Iterator[tuple[str, str]]:
    for packet in contents.xmp:
        for name in islice(_XMP_NAME.finditer(packet), _MOST_PROPERTIES):
            if value := _XMP_VALUE.match(packet, name.end()):
                yield name[1], html.unescape(next(text for text in value.groups() if text is not None)).strip()


def _xmp_evidence(name: str, value: str) -> list[Evidence]:
    if name == "DigitalSourceType":
        return source_type("iptc", value)
    if name == "AIGC":
        return aigc("xmp", value)
    if name in {"CreatorTool", "Credit"} and names_tool(value, IMAGE_TOOLS):
        return [declared(f"xmp:{name}", _MADE, value)]
    return []
