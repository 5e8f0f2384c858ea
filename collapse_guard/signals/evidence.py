"""Signals about who wrote a document: columns of evidence, which `measure` finds together and fuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic.dataclasses import dataclass

from collapse_guard.kernels.counts import Family
from collapse_guard.signals.declaration import STRICT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.signals.batch import Batch


class _Evidence:
    """What these signals share: a q-value needs every document of a dump, so no batch can compute them."""

    kind: Any
    version: ClassVar[int] = 1
    family: ClassVar[Family] = Family.WORDS

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """Read what was found before; NaN where nobody looked."""
        found = batch.column(f"{self.kind}@{self.version}")
        return np.asarray(found.cast("float64").to_numpy(zero_copy_only=False), np.float64)


@dataclass(frozen=True, config=STRICT)
class WatermarkLogP(_Evidence):
    """Natural logarithm of the probability of such a mark by chance, over all keys that could be tested.

    Šidák's correction for the number of keys; null where no key could be tested.
    """

    kind: Literal["watermark.log_p"] = "watermark.log_p"
    unit: ClassVar[str] = "natural logarithm of a probability"
    source: ClassVar[str] = "exact nulls of each scheme; Šidák 1967"


@dataclass(frozen=True, config=STRICT)
class WatermarkQValue(_Evidence):
    """Smallest false discovery rate at which the document would be found to carry a mark, over the whole dump.

    Null where no key could be tested.
    """

    kind: Literal["watermark.q_value"] = "watermark.q_value"
    unit: ClassVar[str] = "expected share of false findings"
    source: ClassVar[str] = "Benjamini and Hochberg 1995"


@dataclass(frozen=True, config=STRICT)
class DeclaredSynthetic(_Evidence):
    """How plainly the document's own markup or metadata declares a model as its author, from 0 to 1.

    Null where the metadata cannot be read.
    """

    kind: Literal["declared.synthetic"] = "declared.synthetic"
    unit: ClassVar[str] = "strength: 1 strong, 0.67 medium, 0.33 weak, 0 none"
    source: ClassVar[str] = "IPTC digitalSourceType; GB 45438-2025; draft-abaris-aicdh"


@dataclass(frozen=True, config=STRICT)
class ResidueScore(_Evidence):
    """How much a chat interface left behind in the text: citation tokens, templates, refusals, hidden characters."""

    kind: Literal["residue.score"] = "residue.score"
    unit: ClassVar[str] = "strength: 0 none to 1"
    source: ClassVar[str] = "own definition, after Wikipedia's signs of AI writing"


@dataclass(frozen=True, config=STRICT)
class CapturedBeforeModels(_Evidence):
    """Whether the document was captured before 2022-11-30, when chat models became public: 1 or 0.

    Null where the time of capture is unknown or impossible.
    """

    kind: Literal["capture.before_models"] = "capture.before_models"
    unit: ClassVar[str] = "1 before, 0 after"
    source: ClassVar[str] = "public release of ChatGPT, 2022-11-30"


@dataclass(frozen=True, config=STRICT)
class ClassifierSynthetic(_Evidence):
    """How probable the policy's own classifier finds a synthetic author; it may send to review, never drop.

    Null where the classifier abstains: too short, or unlike what it was trained on.
    """

    kind: Literal["classifier.p_synthetic"] = "classifier.p_synthetic"
    unit: ClassVar[str] = "calibrated probability"
    source: ClassVar[str] = "trained on the user's reservoir"


@dataclass(frozen=True, config=STRICT)
class OriginRank(_Evidence):
    """Rank of the origin: 0 human_verified, 1 human_presumed, 2 unknown, 3 edited, 4 synthetic.

    A bound may name the origin instead: `high: unknown`.
    """

    kind: Literal["origin"] = "origin"
    unit: ClassVar[str] = "rank, 0 to 4"
    source: ClassVar[str] = "own definition: the table in provenance/fusion.py"


EVIDENCE = frozenset(
    str(member.kind)
    for member in (
        WatermarkLogP,
        WatermarkQValue,
        DeclaredSynthetic,
        ResidueScore,
        CapturedBeforeModels,
        ClassifierSynthetic,
        OriginRank,
    )
)
"""The kinds of these signals."""
