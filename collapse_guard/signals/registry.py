"""Which signals there are, how they are referred to, and how their columns are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from collapse_guard.declared import Union, first_line
from collapse_guard.signals.addresses import ListedDomain, ListedUrl, UrlWords
from collapse_guard.signals.c4 import C4ForbiddenLines, C4SentenceCount, LongLineCount
from collapse_guard.signals.code import AlphanumericShare, CodeLineShare, LongestLine, MeanLineLength
from collapse_guard.signals.custom import Custom, load_function
from collapse_guard.signals.damage import DamagedCharacterShare
from collapse_guard.signals.evaluation import EvaluationOverlap
from collapse_guard.signals.evidence import (
    CapturedBeforeModels,
    ClassifierSynthetic,
    DeclaredSynthetic,
    OriginRank,
    ResidueScore,
    WatermarkLogP,
    WatermarkQValue,
)
from collapse_guard.signals.language import LanguageProbability
from collapse_guard.signals.lines import (
    BulletLineShare,
    DuplicateLineCharacterShare,
    DuplicateLineShare,
    DuplicateNonblankLineCharacterShare,
    EllipsisLineShare,
    LinePunctuationShare,
    ShortLineShare,
)
from collapse_guard.signals.listed import ListedWordRatio
from collapse_guard.signals.paragraphs import DuplicateParagraphCharacterShare, DuplicateParagraphShare
from collapse_guard.signals.personal import PersonalData
from collapse_guard.signals.refined import RefinedWebLineShare, RefinedWebRemovedShare
from collapse_guard.signals.repetition import DuplicateNgramCharacters, TopNgramCharacters
from collapse_guard.signals.variants import (
    CharacterCount,
    MedianWordLength,
    RepeatedLineCharacterShare,
    RepeatedLineShare,
    RepeatedNgramCharacters,
    RepeatedParagraphCharacterShare,
    RepeatedParagraphShare,
    RepeatedTopNgramCharacters,
    SpacedAlphabeticWordShare,
    SpacedBulletLineShare,
    SpacedEllipsisLineShare,
    SpacedMeanWordLength,
    SpacedWordCount,
    StopWordOccurrences,
    SymbolRatio,
    SymbolWordShare,
)
from collapse_guard.signals.words import (
    AlphabeticWordShare,
    EllipsisRatio,
    HashRatio,
    MeanWordLength,
    NewlineRatio,
    StopWordCount,
    WordCount,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

AnySignal = (
    WordCount
    | MeanWordLength
    | HashRatio
    | EllipsisRatio
    | AlphabeticWordShare
    | StopWordCount
    | BulletLineShare
    | EllipsisLineShare
    | DuplicateLineShare
    | DuplicateLineCharacterShare
    | DuplicateParagraphShare
    | DuplicateParagraphCharacterShare
    | TopNgramCharacters
    | DuplicateNgramCharacters
    | LinePunctuationShare
    | ShortLineShare
    | DuplicateNonblankLineCharacterShare
    | NewlineRatio
    | LanguageProbability
    | EvaluationOverlap
    | C4SentenceCount
    | C4ForbiddenLines
    | LongLineCount
    | RefinedWebRemovedShare
    | RefinedWebLineShare
    | CharacterCount
    | SpacedWordCount
    | MedianWordLength
    | SpacedMeanWordLength
    | SymbolWordShare
    | SymbolRatio
    | SpacedAlphabeticWordShare
    | StopWordOccurrences
    | SpacedBulletLineShare
    | SpacedEllipsisLineShare
    | RepeatedLineShare
    | RepeatedLineCharacterShare
    | RepeatedParagraphShare
    | RepeatedParagraphCharacterShare
    | RepeatedTopNgramCharacters
    | RepeatedNgramCharacters
    | ListedDomain
    | ListedUrl
    | UrlWords
    | ListedWordRatio
    | PersonalData
    | DamagedCharacterShare
    | CodeLineShare
    | LongestLine
    | MeanLineLength
    | AlphanumericShare
    | WatermarkLogP
    | WatermarkQValue
    | DeclaredSynthetic
    | ResidueScore
    | CapturedBeforeModels
    | ClassifierSynthetic
    | OriginRank
    | Custom
)

Signal = Annotated[AnySignal, Field(discriminator="kind")]
"""A number per document. To be a member of this union is to be registered."""

_SIGNALS: Union[AnySignal] = Union("Signal", Signal)


class Description(NamedTuple):
    """One signal as listings show it."""

    kind: str
    version: int
    unit: str
    summary: str
    source: str
    parameters: Mapping[str, Any]


def describe() -> list[Description]:
    """List all signals with the defaults of their parameters."""
    return [
        Description(kind, found.version, found.unit, first_line(found), found.source, _SIGNALS.defaults(kind))
        for kind, found in _SIGNALS.kinds.items()
    ]


def described(signal: Signal) -> Description:
    """Describe one signal with its own parameters; a user's own by its name and its function's first line."""
    summary, kind = first_line(signal), str(signal.kind)
    if isinstance(signal, Custom):
        summary, kind = first_line(load_function(signal.function)) or summary, signal.name
    return Description(kind, signal.version, signal.unit, summary, signal.source, _SIGNALS.parameters(signal))


def column(signal: Signal) -> str:
    """Name the column of a signal: kind, version, and a digest of the parameters that are not the default.

    A user's own signal has its own name and revision.

    Returns:
        The name, such as `word_count@2` or `top_ngram_characters@2:1f3a9c02`.
    """
    name = f"{signal.name}@{signal.revision}" if isinstance(signal, Custom) else f"{signal.kind}@{signal.version}"
    return _SIGNALS.title(signal, name)


def resolve(reference: str | Mapping[str, object]) -> Signal:
    """Turn what a policy writes into a signal; see `declared.Union.resolve`."""
    return _SIGNALS.resolve(reference)
