"""What a producer declares of its output, in the words of each standard."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar
from urllib.parse import quote

from collapse_guard.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

_MODES = {"synthetic": "trainedAlgorithmicMedia", "edited": "compositeWithTrainedAlgorithmicMedia"}
_IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_MOST_CHARACTERS, _INT32 = 200, 2**31
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")

Content = TypeVar("Content")


class Marked(NamedTuple, Generic[Content]):
    """Marked content.

    Attributes:
        content: With the marks.
        notes: Which marks of others were there and were kept, in sentences.
    """

    content: Content
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """Who made some content, with what, when.

    Attributes:
        producer: Who answers for it.
        content_id: What the producer calls it.
        produced_at: When it was made, with a time zone.
        mode: `synthetic`: a model made it; `edited`: a model changed what a person had made.
        model: Which model.
        generation: Of the corpus that the model learnt from, 0 for one of human text: what it wrote is one deeper.

    Raises:
        UsageError: A name is empty, longer than 200 characters or has control characters, the time has no zone, or the
            generation is negative.
    """

    producer: str
    content_id: str
    produced_at: datetime
    mode: Literal["synthetic", "edited"] = "synthetic"
    model: str | None = None
    generation: int | None = None

    def __post_init__(self) -> None:
        for name in ("producer", "content_id", "model"):
            value = getattr(self, name)
            if value is not None and (_CONTROL.search(value) or not 0 < len(value.strip()) <= _MOST_CHARACTERS):
                raise UsageError(f"`{name}` needs 1 to {_MOST_CHARACTERS} characters without control characters")
        if self.produced_at.tzinfo is None:
            raise UsageError(f"`produced_at` is {self.produced_at.isoformat()}; give it a time zone")
        if self.mode not in _MODES:
            raise UsageError(f"`mode` is {self.mode!r}; it must be 'synthetic' or 'edited'")
        if self.generation is not None and not 0 <= self.generation < _INT32:
            raise UsageError(f"`generation` is {self.generation}; it must be 0 or more")

    @property
    def source_type(self) -> str:
        """IPTC's digital source type, as a URI."""
        return _IPTC + _MODES[self.mode]

    @property
    def schema_source_type(self) -> str:
        """schema.org's digital source type, as a URI."""
        name = _MODES[self.mode]
        return f"https://schema.org/{name[0].upper()}{name[1:]}DigitalSource"


def aigc_field(statement: Statement, content_id: str) -> str | None:
    """Write the metadata field AIGC of GB 45438-2025 as JSON.

    Args:
        statement: What is declared.
        content_id: What the producer calls this piece of it.

    Returns:
        JSON in ASCII; null for edited content, as the standard has no word for it and would call all of it generated.
    """
    if statement.mode == "edited":
        return None
    given = {"Label": "1", "ContentProducer": statement.producer, "ProduceID": content_id}
    return json.dumps(given | dict.fromkeys(("ReservedCode1", "ContentPropagator", "PropagateID", "ReservedCode2"), ""))


def disclosure_header(statement: Statement) -> str:
    """Write the value of the HTTP header `AI-Disclosure`, a structured field (RFC 9651; draft-abaris-aicdh-01)."""
    mode = "ai-originated" if statement.mode == "synthetic" else "ai-modified"
    model = f", model={structured_string(statement.model)}" if statement.model else ""
    at = int(statement.produced_at.timestamp())
    return f"mode={mode}{model}, provider={structured_string(statement.producer)}, date=@{at}"


def structured_string(value: str) -> str:
    """Write a string of a structured field; one that is not ASCII is a display string (RFC 9651, section 3.3.8)."""
    if _PRINTABLE.fullmatch(value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    safe = "".join(map(chr, range(0x20, 0x7F))).replace("%", "").replace('"', "")
    return '%"' + re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quote(value, safe=safe)) + '"'
