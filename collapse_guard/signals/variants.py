"""The Gopher rules in the forms of Dolma and DCLM, over white-space words.

They differ from those of datatrove in what a word, a symbol, a bullet and a duplicate is: here every copy of a repeated
line or n-gram counts, the first as well. `rules` says whose form it is. Where nothing can repeat, the share is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from collapse_guard.kernels.counts import Family
from collapse_guard.signals.declaration import GOPHER, STRICT, quotient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.signals.batch import Batch

DOLMA = "dolma 1.2 (tagger gopher_v1)"
DCLM = "DCLM (Li et al. 2024, baselines/mappers)"
Rules = Literal["dolma", "dclm"]
_PART = {"dolma": 0, "dclm": 1}
_WORDS: dict[str, Literal["spaced", "segmented"]] = {"dolma": "spaced", "dclm": "segmented"}
_SHORTEST_TOP, _SHORTEST = 2, 5


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide; 0 where there is nothing to divide by."""
    return quotient(part, np.maximum(whole, 1))


def _whole(part: NDArray[np.int64], whole: NDArray[np.int64], rules: Rules) -> NDArray[np.float64]:
    """Divide; where there is nothing to divide by, Dolma says 0, and DCLM drops the document."""
    return _share(part, whole) if rules == "dolma" else quotient(part, whole)


class _Variant:
    """What these signals share."""

    version: ClassVar[int] = 1
    family: ClassVar[Family] = Family.WORDS


class _Dolma(_Variant):
    source: ClassVar[str] = f"{GOPHER}, as {DOLMA} counts"


class _Dclm(_Variant):
    source: ClassVar[str] = f"{GOPHER}, as {DCLM} counts"


class _Either(_Variant):
    source: ClassVar[str] = f"{GOPHER}, as {DOLMA} or {DCLM} counts"


@dataclass(frozen=True, config=STRICT)
class CharacterCount(_Variant):
    """Characters of the text."""

    kind: Literal["character_count"] = "character_count"
    unit: ClassVar[str] = "characters"
    source: ClassVar[str] = "Unicode code points"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text."""
        return batch.counts["characters"].astype(np.float64)


@dataclass(frozen=True, config=STRICT)
class SpacedWordCount(_Either):
    """Words between white space; for DCLM only those that begin with a letter or number."""

    kind: Literal["spaced_word_count"] = "spaced_word_count"
    rules: Rules = "dolma"
    unit: ClassVar[str] = "words"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text."""
        name = "words" if self.rules == "dolma" else "alphanumeric_words"
        return batch.spaced[name].astype(np.float64)


@dataclass(frozen=True, config=STRICT)
class MedianWordLength(_Dolma):
    """Median length of the words between white space; 0 where there are none."""

    kind: Literal["median_word_length"] = "median_word_length"
    unit: ClassVar[str] = "characters per word"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text."""
        return batch.spaced["median_length"].copy()


@dataclass(frozen=True, config=STRICT)
class SpacedMeanWordLength(_Dclm):
    """Mean length of the words between white space, with their punctuation."""

    kind: Literal["spaced_mean_word_length"] = "spaced_mean_word_length"
    unit: ClassVar[str] = "characters per word"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; NaN where it has no words."""
        return quotient(batch.spaced["word_characters"], batch.spaced["words"])


@dataclass(frozen=True, config=STRICT)
class SymbolWordShare(_Dolma):
    """Share of the words between white space that hold a number sign or an ellipsis character."""

    kind: Literal["symbol_word_share"] = "symbol_word_share"
    unit: ClassVar[str] = "share of words"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; 0 where it has no words."""
        return _share(batch.spaced["symbol_words"], batch.spaced["words"])


@dataclass(frozen=True, config=STRICT)
class SymbolRatio(_Dclm):
    """Number signs and ellipses, spaced ones too, per word between white space."""

    kind: Literal["symbol_ratio"] = "symbol_ratio"
    unit: ClassVar[str] = "symbols per word"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; NaN where it has no words."""
        return quotient(batch.spaced["symbols"], batch.spaced["words"])


@dataclass(frozen=True, config=STRICT)
class SpacedAlphabeticWordShare(_Either):
    """Share of the words between white space that hold a letter."""

    kind: Literal["spaced_alphabetic_word_share"] = "spaced_alphabetic_word_share"
    unit: ClassVar[str] = "share of words"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; NaN where it has no words."""
        return quotient(batch.spaced["alphabetic_words"], batch.spaced["words"])


@dataclass(frozen=True, config=STRICT)
class StopWordOccurrences(_Either):
    """How often the words the, be, to, of, and, that, have, with occur, each time counted.

    For Dolma in lower case only, for DCLM in any case.
    """

    kind: Literal["stop_word_occurrences"] = "stop_word_occurrences"
    rules: Rules = "dolma"
    unit: ClassVar[str] = "occurrences"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text."""
        name = "stop_words" if self.rules == "dolma" else "folded_stop_words"
        return batch.spaced[name].astype(np.float64)


@dataclass(frozen=True, config=STRICT)
class SpacedBulletLineShare(_Either):
    """Share of the lines that begin with a bullet.

    For Dolma `*` and `-` at the very start, and empty lines count; for DCLM `●` and `•` too, and only lines with text.
    """

    kind: Literal["spaced_bullet_line_share"] = "spaced_bullet_line_share"
    rules: Rules = "dolma"
    unit: ClassVar[str] = "share of lines"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; 0 where it has no lines."""
        part = _PART[self.rules]
        return _share(batch.spaced["bullet_lines"][:, part], batch.spaced["lines"][:, part])


@dataclass(frozen=True, config=STRICT)
class SpacedEllipsisLineShare(_Either):
    """Share of the lines that end with an ellipsis.

    For Dolma the character `…` at the very end, and empty lines count; for DCLM three dots too, and only lines with
    text.
    """

    kind: Literal["spaced_ellipsis_line_share"] = "spaced_ellipsis_line_share"
    rules: Rules = "dolma"
    unit: ClassVar[str] = "share of lines"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; 0 where it has no lines."""
        part = _PART[self.rules]
        return _share(batch.spaced["ellipsis_lines"][:, part], batch.spaced["lines"][:, part])


@dataclass(frozen=True, config=STRICT)
class RepeatedLineShare(_Either):
    """Share of the lines that occur more than once, every copy counted.

    For Dolma empty lines count; for DCLM lines are stripped, and only those with text count.
    """

    kind: Literal["repeated_line_share"] = "repeated_line_share"
    rules: Rules = "dolma"
    unit: ClassVar[str] = "share of lines"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; for DCLM NaN where no line has text."""
        lines = batch.spaced["lines"][:, _PART[self.rules]]
        return _whole(batch.spaced["repeated_lines"][:, _PART[self.rules]], lines, self.rules)


@dataclass(frozen=True, config=STRICT)
class RepeatedLineCharacterShare(_Either):
    """Characters of lines that occur more than once, every copy counted, per character.

    For Dolma of all words, so the value can exceed 1; for DCLM of all stripped lines.
    """

    kind: Literal["repeated_line_character_share"] = "repeated_line_character_share"
    rules: Rules = "dolma"
    unit: ClassVar[str] = "share of characters"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; for DCLM NaN where no line has text."""
        spaced, part = batch.spaced, _PART[self.rules]
        of_words = self.rules == "dolma"
        whole = spaced["word_characters"] if of_words else spaced["line_characters"][:, part]
        return _whole(spaced["repeated_line_characters"][:, part], whole, self.rules)


@dataclass(frozen=True, config=STRICT)
class RepeatedParagraphShare(_Dclm):
    """Share of the paragraphs between double newlines that occur more than once, every copy counted."""

    kind: Literal["repeated_paragraph_share"] = "repeated_paragraph_share"
    unit: ClassVar[str] = "share of paragraphs"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; NaN where it has none."""
        return quotient(batch.spaced["repeated_paragraphs"], batch.spaced["paragraphs"])


@dataclass(frozen=True, config=STRICT)
class RepeatedParagraphCharacterShare(_Dclm):
    """Share of the characters in paragraphs that occur more than once, every copy counted."""

    kind: Literal["repeated_paragraph_character_share"] = "repeated_paragraph_character_share"
    unit: ClassVar[str] = "share of characters"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; NaN where it has none."""
        return quotient(batch.spaced["repeated_paragraph_characters"], batch.spaced["paragraph_characters"])


@dataclass(frozen=True, config=STRICT)
class RepeatedTopNgramCharacters(_Either):
    """Characters of the most common n-gram times its occurrences, per character of the words.

    For Dolma n-grams are of white-space words, and one that occurs once counts too. For DCLM they are of the words of
    Unicode Annex 29 that begin with a letter or number, the longest of equally common ones counts, and the value is 0
    where nothing repeats. Occurrences that overlap count in full, so the value can exceed 1.
    """

    kind: Literal["repeated_top_ngram_characters"] = "repeated_top_ngram_characters"
    n: Literal[2, 3, 4] = 2
    rules: Rules = "dolma"
    unit: ClassVar[str] = "share of characters"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; 0 where it has fewer than n words."""
        found = batch.repeats(_WORDS[self.rules])
        top = found["top" if self.rules == "dolma" else "longest_top"][:, self.n - _SHORTEST_TOP]
        return _share(top, found["characters"])


@dataclass(frozen=True, config=STRICT)
class RepeatedNgramCharacters(_Either):
    """Share of the characters that stand in n-grams that occur more than once.

    For Dolma every copy of a repeated n-gram counts, of the characters of all n-grams; for DCLM every word of one
    counts once, of the characters of all words (of Unicode Annex 29, that begin with a letter or number).
    """

    kind: Literal["repeated_ngram_characters"] = "repeated_ngram_characters"
    n: Annotated[int, Field(ge=5, le=10)] = 5
    rules: Rules = "dolma"
    unit: ClassVar[str] = "share of characters"

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; 0 where it has fewer than n words."""
        found, q = batch.repeats(_WORDS[self.rules]), self.n - _SHORTEST
        if self.rules == "dolma":
            return _share(found["copies"][:, q], found["whole"][:, q])
        return _share(found["covered"][:, q], found["characters"])
