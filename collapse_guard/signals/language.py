"""Signals about the language of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from collapse_guard.kernels.counts import Family
from collapse_guard.signals.declaration import STRICT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from collapse_guard.signals.batch import Batch

CODES = frozenset(
    (
        "af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr ht hu hy "
        "id ig is it ja jv ka kk km kn ko ku ky la lg ln lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps pt qu "
        "ro ru sa si sk sl so sq sr sv sw ta te th tl tr ug uk ur uz vi xh yo zh zu zxx ace bcl dz ext gcf gom grc "
        "gug hbo kik nso pcm rw se sn st an ary crh fo fuv gcr guw kab lb lij ltg uzs wa sdh arz ba mt nn oc tg tk tt "
        "vec vo wuu yue "
    ).split()
)
"""The languages that py3langid's model tells apart: ISO 639 codes, `zxx` for no language."""


def _known(code: str) -> str:
    if code not in CODES:
        raise ValueError(f"language {code!r} is unknown; codes are such as 'en', 'de' or 'zh' (ISO 639)")
    return code


Code = Annotated[str, AfterValidator(_known)]


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
