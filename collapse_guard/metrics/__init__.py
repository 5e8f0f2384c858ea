"""A number per corpus: declarations of metrics, and the one function that computes each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as declaration

from collapse_guard.document import HUMAN_VERIFIED
from collapse_guard.metrics.profile import Counts, Profile, Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

STRICT = ConfigDict(extra="forbid")
TAIL_COUNTS = (2, 5)
VOCABULARY = 30_000
WEIGHTS = (0.2, 0.3, 0.5)
"""Weights of unigram, bigram and trigram in the held-out model."""


@dataclass(frozen=True)
class Reference:
    """What a corpus is compared with.

    `heldout` is the reservoir's evaluation split, which no mix ever contains; `tail` holds the hashes of the rare types
    of a half of the reservoir that the human-only draws do not come from.
    """

    heldout: Tokens
    tail: NDArray[np.uint64]


def rare_types(tokens: Tokens) -> NDArray[np.uint64]:
    """The types of a text that occur in it two to five times; types that occur once are often slips."""
    types = Counts.of(tokens.hashes)
    low, high = TAIL_COUNTS
    return types.hashes[(types.counts >= low) & (types.counts <= high)]


@declaration(frozen=True, kw_only=True, config=STRICT)
class HumanShare:
    """Share of the corpus' tokens that come from verified human documents."""

    kind: Literal["human_share"] = "human_share"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "share of tokens"
    source: ClassVar[str] = "Gerstgrasser et al. 2024 (accumulate); shares by tokens: this project"

    def value(self, profile: Profile, reference: Reference) -> float | None:
        """Compute it from the whole corpus, not the sample."""
        del reference
        total = sum(profile.origin_tokens.values())
        return profile.origin_tokens.get(HUMAN_VERIFIED, 0) / total if total else None


@declaration(frozen=True, kw_only=True, config=STRICT)
class DistinctBigrams:
    """Distinct bigrams divided by all bigrams, at a fixed budget of tokens."""

    kind: Literal["distinct_2"] = "distinct_2"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "share of bigrams"
    source: ClassVar[str] = "Li et al. 2016 (distinct-n)"

    def value(self, profile: Profile, reference: Reference) -> float | None:
        """Compute it from the sample."""
        del reference
        bigrams = profile.grams[1]
        return len(bigrams.hashes) / bigrams.total if bigrams.total else None


@declaration(frozen=True, kw_only=True, config=STRICT)
class RareCoverage:
    """Share of the reservoir's rare word types that occur in the corpus, at a fixed budget of tokens."""

    kind: Literal["rare_coverage"] = "rare_coverage"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "share of types"
    source: ClassVar[str] = "Shumailov et al. 2024 (tails vanish first); definition: this project"

    def value(self, profile: Profile, reference: Reference) -> float | None:
        """Compute it from the sample."""
        if not len(reference.tail) or not profile.sampled:
            return None
        return float((profile.grams[0].lookup(reference.tail) > 0).mean())


@declaration(frozen=True, kw_only=True, config=STRICT)
class HeldOutPerplexity:
    """Perplexity of held-out human text under a trigram model of the corpus, at a fixed budget of tokens."""

    kind: Literal["heldout_perplexity"] = "heldout_perplexity"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "perplexity per token"
    source: ClassVar[str] = "Jelinek and Mercer 1980 (interpolation); Shumailov et al. 2024 (held-out risk)"

    def value(self, profile: Profile, reference: Reference) -> float | None:
        """Compute it from the sample."""
        if not profile.sampled or not len(reference.heldout.hashes):
            return None
        return math.exp(-float(np.log(_probabilities(profile, reference.heldout)).mean()))


Metric = Annotated[
    HumanShare | DistinctBigrams | RareCoverage | HeldOutPerplexity,
    Field(discriminator="kind"),
]
METRICS: Mapping[str, Metric] = {
    metric.kind: metric for metric in (HumanShare(), RareCoverage(), DistinctBigrams(), HeldOutPerplexity())
}


def compute(profile: Profile, reference: Reference) -> dict[str, float | None]:
    """Compute every metric; null where it could not be measured."""
    values = {name: metric.value(profile, reference) for name, metric in METRICS.items()}
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}


def _probabilities(profile: Profile, text: Tokens) -> NDArray[np.float64]:
    """The probability of each token of a text under the interpolated trigram model of a profile.

    An unseen context passes its weight on to the next shorter one.

    Args:
        profile: Counts of the model.
        text: What to score.

    Returns:
        One probability per token.
    """
    counts = [
        np.where(within, gram.lookup(hashes), 0)
        for gram, (hashes, within) in zip(profile.grams, text.grams(), strict=True)
    ]
    firsts = text.offsets[:-1][np.diff(text.offsets) > 0]
    contexts = [_shifted(counts[0], firsts), _shifted(counts[1], firsts)]
    unigram = (counts[0] + 0.5) / (profile.grams[0].total + 0.5 * VOCABULARY)
    bigram = np.where(contexts[0] > 0, counts[1] / np.maximum(contexts[0], 1), unigram)
    trigram = np.where(contexts[1] > 0, counts[2] / np.maximum(contexts[1], 1), bigram)
    return np.asarray(WEIGHTS[0] * unigram + WEIGHTS[1] * bigram + WEIGHTS[2] * trigram, np.float64)


def _shifted(counts: NDArray[np.int64], firsts: NDArray[np.int64]) -> NDArray[np.int64]:
    shifted = np.concatenate([np.zeros(1, np.int64), counts[:-1]])
    shifted[firsts] = 0
    return shifted


__all__ = ["METRICS", "Counts", "Metric", "Profile", "Reference", "Tokens", "compute", "rare_types"]
