"""The one type of evidence: a finding about who wrote a document."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Strength = Literal["strong", "medium", "weak"]
Says = Literal["synthetic", "edited", "human"]

DETAIL_CHARACTERS = 120
"""Most characters of a value that evidence quotes."""

_BLANKS = re.compile(r"\s+")


class Evidence(NamedTuple):
    """One finding about who wrote a document.

    Attributes:
        kind: declared, residue, watermark, capture, classifier or admission.
        name: What was found, such as `meta:ai-generated`.
        strength: How much it weighs.
        says: What it speaks for.
        start: First character of the text that it lies on; None where it is not of the text.
        end: The character behind the last one.
        detail: The value found, quoted and cut.
    """

    kind: str
    name: str
    strength: Strength
    says: Says
    start: int | None
    end: int | None
    detail: str

    def to_json(self) -> dict[str, str | int]:
        """Give the fields that are there as a JSON object."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def quoted(value: str) -> str:
    """Quote a value found: one line, cut to 120 characters."""
    line = _BLANKS.sub(" ", value[: 4 * DETAIL_CHARACTERS]).strip()
    return line if len(line) <= DETAIL_CHARACTERS else line[: DETAIL_CHARACTERS - 1] + "…"
