"""Signals about source code among prose, and about the shape of source code.

A line looks like code when it ends in a brace, begins with `//`, lies in a comment between `/*` and `*/`, or is an
element of markup; when it ends in a semicolon and has any other sign or few words; when it begins with a keyword and
is short or stays open at its end; or when a tenth of it are signs that Markdown does not write prose with. A line
that ends like a sentence or holds a Markdown link is none of the last two. Blank lines do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic.dataclasses import dataclass

from collapse_guard.kernels.counts import Family
from collapse_guard.signals.declaration import STRICT, quotient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.signals.batch import Batch


@dataclass(frozen=True, config=STRICT)
class CodeLineShare:
    """Share of the lines that look like source code or markup."""

    kind: Literal["code_line_share"] = "code_line_share"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "share of lines that are not blank"
    source: ClassVar[str] = "own heuristic, measured on prose and on the sources of programs"
    family: ClassVar[Family] = Family.WORDS

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; NaN where all of it is blank."""
        found = batch.code_lines()
        return quotient(found[:, 0], found[:, 1])


class _Shape:
    """What signals about the shape of source code share."""

    version: ClassVar[int] = 1
    source: ClassVar[str] = "bigcode-dataset, preprocessing filters (The Stack, Kocetkov et al. 2022, section 3.2)"
    family: ClassVar[Family] = Family.WORDS


@dataclass(frozen=True, config=STRICT)
class LongestLine(_Shape):
    """Length of the longest line."""

    kind: Literal["longest_line"] = "longest_line"
    unit: ClassVar[str] = "characters"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; NaN where it is empty."""
        found = batch.line_lengths
        return np.where(found[:, 1] > 0, found[:, 2].astype(np.float64), np.nan)


@dataclass(frozen=True, config=STRICT)
class MeanLineLength(_Shape):
    """Mean length of the lines; empty lines count."""

    kind: Literal["mean_line_length"] = "mean_line_length"
    unit: ClassVar[str] = "characters per line"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; NaN where it is empty."""
        found = batch.line_lengths
        return quotient(found[:, 0], found[:, 1])


@dataclass(frozen=True, config=STRICT)
class AlphanumericShare(_Shape):
    """Share of the characters that are letters or digits; outside ASCII, combining marks count as letters."""

    kind: Literal["alphanumeric_share"] = "alphanumeric_share"
    unit: ClassVar[str] = "share of characters"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; NaN where it is empty."""
        found = batch.alphanumerics()
        return quotient(found[:, 0], found[:, 1])
