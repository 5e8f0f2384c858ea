"""Signals about repeated n-grams."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic.dataclasses import dataclass

from collapse_guard.kernels.counts import TOP_NGRAMS, Family
from collapse_guard.signals.declaration import DATATROVE, GOPHER, STRICT, quotient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.signals.batch import Batch


@dataclass(frozen=True, config=STRICT)
class TopNgramCharacters:
    """Characters of the most common n-gram of tokens times its occurrences, per character of the text.

    An n-gram that occurs once counts too, and occurrences that overlap count in full, so the value can exceed 1.
    """

    kind: Literal["top_ngram_characters"] = "top_ngram_characters"
    n: Literal[2, 3, 4] = 2
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "share of characters"
    source: ClassVar[str] = f"{GOPHER}, {DATATROVE}: joined by spaces, of all characters of the text"
    family: ClassVar[Family] = Family.NGRAMS

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; NaN where it has fewer than n tokens."""
        characters = batch.counts["top_ngram_characters"][:, TOP_NGRAMS.index(self.n)]
        enough = batch.counts["tokens"] >= self.n
        return quotient(characters, np.where(enough, batch.counts["characters"], 0))
