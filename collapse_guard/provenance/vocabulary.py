"""What declared values say: disclosure modes, digital source types, the AIGC field, names of writing tools.

Whoever declares that a model made a thing admits it, so such a value is evidence without any signature. A value that
says a person made it is only a claim, and gives nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from collapse_guard.provenance.evidence import Evidence, quoted

if TYPE_CHECKING:
    from collapse_guard.provenance.evidence import Says, Strength


class Meaning(NamedTuple):
    """What a value speaks for, and how much it weighs."""

    says: Says
    strength: Strength


_MADE = Meaning("synthetic", "strong")
_HELPED = Meaning("edited", "medium")
_MALFORMED = Meaning("edited", "weak")

DISCLOSURES: dict[str, Meaning | None] = {
    **dict.fromkeys(
        "machine-generated ai-originated ai-generated autonomous generated all fully full true yes 1".split(), _MADE
    ),
    **dict.fromkeys("ai-modified ai-assisted ai-enhanced assisted partially partial mixed".split(), _HELPED),
    **dict.fromkeys("none no false 0 human human-generated human-only unknown".split()),
}
"""Values of `AI-Disclosure` (draft-abaris-aicdh-01), of the HTML attribute `ai-disclosure` (W3C AI Content Disclosure)
and of the meta tag `ai-generated` (WHATWG html#9479)."""

SOURCE_TYPES: dict[str, Meaning | None] = {
    "trainedalgorithmicmedia": _MADE,
    "compositewithtrainedalgorithmicmedia": Meaning("edited", "strong"),
    "algorithmicmedia": Meaning("synthetic", "medium"),  # a program's work, but no model learnt it from samples
    "compositesynthetic": _HELPED,
    "algorithmicallyenhanced": Meaning("edited", "weak"),
    "virtualrecording": Meaning("edited", "weak"),
    **dict.fromkeys(
        "digitalcapture computationalcapture multiframecomputationalcapture negativefilm positivefilm print "
        "humanedits minorhumanedits compositecapture composite datadrivenmedia digitalart digitalcreation "
        "softwareimage screencapture".split()
    ),
}
"""IPTC digital source types in lower case; schema.org's have the suffix `DigitalSource`."""

_LABELS: dict[str, Strength] = {"1": "strong", "2": "medium", "3": "weak"}

WRITING_TOOLS = (
    *("chatgpt openai gpt-3 gpt-3.5 gpt-3.5-turbo gpt-4 gpt-4-turbo gpt-4o gpt-4o-mini gpt-4.1 gpt-5".split()),
    *("copy.ai writesonic rytr jasper.ai seowriting.ai zimmwriter koalawriter autoblogging.ai byword.ai".split()),
    *("contentbot.ai", "jasper ai", "article forge"),
)
"""Tools whose name in a generator tag means that a model wrote the text; no builder of sites is among them."""

IMAGE_TOOLS = (
    *("firefly dall-e dall·e midjourney sdxl novelai invokeai comfyui automatic1111 fooocus ideogram".split()),
    *("leonardo.ai dreamstudio openai chatgpt gpt-image-1".split()),
    *("stable diffusion", "stable-diffusion", "stablediffusion", "stable diffusion xl", "bing image creator"),
    "made with google ai",
)
"""Tools whose name as creator, software or credit means that a model made the image."""


def names_tool(text: str, tools: tuple[str, ...]) -> bool:
    """Say whether a text names one of the tools, as a word and not as part of one, in any case."""
    text = text.lower()
    return any(tool in text and re.search(rf"(?<![\w.-]){re.escape(tool)}(?![\w-])", text) for tool in tools)


def declared(name: str, meaning: Meaning, value: str) -> Evidence:
    """Make evidence of a declared mark."""
    return Evidence("declared", name, meaning.strength, meaning.says, None, None, quoted(value))


def malformed(name: str, value: str) -> Evidence:
    """Make evidence of a mark that is there and cannot be read."""
    return declared(f"{name}:malformed", _MALFORMED, value)


def disclosure(name: str, value: str) -> list[Evidence]:
    """Read a disclosure mode; one that says that no model took part, or nothing, gives nothing."""
    word = re.sub(r"[\s_]+", "-", value.strip().lower())
    if not word:
        return []
    if word not in DISCLOSURES:
        return [malformed(name, value)]
    meaning = DISCLOSURES[word]
    return [declared(name, meaning, value)] if meaning else []


def source_type(place: str, value: str) -> list[Evidence]:
    """Read a digital source type, as IPTC's URI or name or as schema.org's.

    Args:
        place: Where it stands, such as `iptc`; the evidence is named `iptc:trainedAlgorithmicMedia`.
        value: What stands there.

    Returns:
        Nothing for a type that no algorithm made, and for an empty value.
    """
    name = re.split(r"[/#:]", value.strip().rstrip("/"))[-1].removesuffix("DigitalSource")
    if not name:
        return []
    if name.lower() not in SOURCE_TYPES:
        return [malformed(f"{place}:digitalSourceType", value)]
    meaning = SOURCE_TYPES[name.lower()]
    return [declared(f"{place}:{name[0].lower()}{name[1:]}", meaning, value)] if meaning else []


def aigc(place: str, value: object) -> list[Evidence]:
    """Read the field AIGC of GB 45438-2025: label 1 is confirmed, 2 possible, 3 suspected.

    Args:
        place: Where it stands, such as `meta`; the evidence is named `meta:AIGC`.
        value: The field: an object, or one written as JSON.

    Returns:
        Nothing for an empty value; weak evidence of a malformed mark for one without a label.
    """
    if value in ("", None):
        return []
    found = _object(value)
    found = _object(found["AIGC"]) if found and "AIGC" in found else found
    told = ", ".join(f"{key}: {item}" for key, item in (found or {}).items() if isinstance(item, (str, int)))
    label = (found or {}).get("Label")
    if strength := _LABELS.get(str(label) if isinstance(label, (str, int)) else ""):
        return [declared(f"{place}:AIGC", Meaning("synthetic", strength), told)]
    return [malformed(f"{place}:AIGC", told or (value if isinstance(value, str) else type(value).__name__))]


def _object(value: object) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    return value if isinstance(value, dict) else None
