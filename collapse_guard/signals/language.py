"""Signals about the language of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic.dataclasses import dataclass

from collapse_guard.kernels.counts import Family
from collapse_guard.signals.declaration import STRICT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from collapse_guard.signals.batch import Batch

Code = Annotated[str, StringConstraints(pattern="^[a-z]{2,3}$")]


def _in_order(codes: tuple[str, ...]) -> tuple[str, ...]:
    """Make two tuples of the same languages equal, so that their columns have one name."""
    return tuple(sorted(set(codes)))


@dataclass(frozen=True, config=STRICT)
class LanguageProbability:
    """Probability that the text is in one of the languages."""

    kind: Literal["language_probability"] = "language_probability"
    languages: Annotated[tuple[Code, ...], Field(min_length=1), AfterValidator(_in_order)] = ("en",)
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "probability"
    source: ClassVar[str] = (
        "Lui & Baldwin 2012, with the weights of py3langid 0.4, on eight pieces of 256 bytes of the text"
    )
    family: ClassVar[Family] = Family.WORDS

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Measure every text; NaN where it has no letters, or none that tell a language."""
        return batch.probability_of(self.languages)
