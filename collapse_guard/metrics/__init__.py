"""A number per corpus: declarations of metrics, computed from one mergeable profile at a fixed budget of words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from collapse_guard.document import HUMAN_VERIFIED
from collapse_guard.metrics.composition import label_divergence, label_psi, word_divergence
from collapse_guard.metrics.counts import Counts, Tokens
from collapse_guard.metrics.heldout import cross_entropy
from collapse_guard.metrics.profile import Profile
from collapse_guard.metrics.sample import Reference, Sample, rare_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from collapse_guard.metrics.spread import Moments

    Value = Callable[["Sample", "Reference"], float | None]

__all__ = [
    "COMPOSITION",
    "FAMILIES",
    "METRICS",
    "Counts",
    "Metric",
    "Profile",
    "Reference",
    "Sample",
    "Tokens",
    "compute",
    "rare_types",
]

Family = Literal["whole", "composition", "tail", "novelty", "spread", "homogeneity", "heldout"]
FAMILIES: tuple[Family, ...] = ("tail", "novelty", "spread", "homogeneity", "heldout")
"""The families that tell whether a corpus collapses; each counts once, however many metrics it has."""


@dataclass(frozen=True)
class Metric:
    """One declaration: what a metric says, in which unit, where it comes from, and the function that computes it.

    `scale` is `ratio` where a value is compared with human text by division, `difference` where by subtraction.
    """

    kind: str
    family: Family
    unit: str
    source: str
    summary: str
    value: Value
    version: int = 1
    scale: Literal["ratio", "difference"] = "ratio"


_DECLARED: list[Metric] = []


def _metric(
    family: Family, unit: str, source: str, *, version: int = 1, scale: Literal["ratio", "difference"] = "ratio"
) -> Callable[[Value], Value]:
    def declare(value: Value) -> Value:
        summary = (value.__doc__ or "").split("\n", 1)[0]
        _DECLARED.append(Metric(value.__name__, family, unit, source, summary, value, version, scale))
        return value

    return declare


OWN = "this project"
JELINEK = "Jelinek and Mercer 1980 (interpolation); Shumailov et al. 2024 (held-out risk)"


@_metric("whole", "share of tokens", "Gerstgrasser et al. 2024 (accumulate); shares by tokens: this project")
def human_share(sample: Sample, reference: Reference) -> float | None:
    """Share of the corpus' tokens that come from verified human documents."""
    del reference
    total = sum(sample.origin_tokens.values())
    return sample.origin_tokens.get(HUMAN_VERIFIED, 0) / total if total else None


@_metric("whole", "log of an e-value", "Shin, Ramdas and Rinaldo 2023 (e-detector); Robbins 1970 (normal mixture)")
def decline(sample: Sample, reference: Reference) -> float | None:
    """Evidence that a metric has been declining over the generations, against one frozen baseline; 4.6 is 100 to 1."""
    del sample, reference  # it is known to the judge alone, who knows the generations
    return None


@_metric("whole", "words", f"definition: {OWN}; what is lost from both cannot be brought back by mixing")
def lost_types(sample: Sample, reference: Reference) -> float | None:
    """Rare words of the reservoir's first state that neither the reservoir nor the sampled corpus holds any more."""
    del sample, reference  # it is known to the judge alone, who knows the first state
    return None


def _covered(sample: Sample, order: int, types: NDArray[np.uint64]) -> float | None:
    return float((sample.grams[order].lookup(types) > 0).mean()) if len(types) and sample.words else None


@_metric("tail", "share of types", f"Shumailov et al. 2024 (tails vanish first); definition: {OWN}", version=2)
def rare_coverage(sample: Sample, reference: Reference) -> float | None:
    """Share of the reservoir's rare words (two to five occurrences) that occur in the sample."""
    return _covered(sample, 0, reference.rare_words)


@_metric("tail", "share of types", f"as rare_coverage, for bigrams: {OWN}")
def rare_bigram_coverage(sample: Sample, reference: Reference) -> float | None:
    """Share of the reservoir's rare bigrams (two occurrences) that occur in the sample."""
    return _covered(sample, 1, reference.rare_bigrams)


@_metric("tail", "share of domains", f"Gambetta et al. 2024 (what is rare goes first); definition: {OWN}")
def domain_coverage(sample: Sample, reference: Reference) -> float | None:
    """Share of the domains of a human sample of the same size that occur in the sample; null where none compare."""
    theirs, ours = reference.plain.shares("domain"), sample.shares("domain")
    compared = sample.known("domain", set(theirs)) > 0 and len(theirs) > 1
    return sum(value in ours for value in theirs) / len(theirs) if compared else None


def _distinct(sample: Sample, order: int) -> float | None:
    from collapse_guard.metrics.richness import rarefied  # noqa: PLC0415 - reading a policy needs no kernel

    counts = sample.grams[order].counts
    half = int(counts.sum()) // 2
    return rarefied(counts, half) / half if half else None


RAREFACTION = "Li et al. 2016 (distinct-n); Hurlbert 1971 (rarefaction, which makes it independent of the order)"


@_metric("novelty", "share of words", RAREFACTION)
def distinct_1(sample: Sample, reference: Reference) -> float | None:
    """Distinct words expected among half of the sample's words, divided by their number."""
    del reference
    return _distinct(sample, 0)


@_metric("novelty", "share of bigrams", RAREFACTION, version=2)
def distinct_2(sample: Sample, reference: Reference) -> float | None:
    """Distinct bigrams expected among half of the sample's bigrams, divided by their number."""
    del reference
    return _distinct(sample, 1)


@_metric("novelty", "share of trigrams", RAREFACTION)
def distinct_3(sample: Sample, reference: Reference) -> float | None:
    """Distinct trigrams expected among half of the sample's trigrams, divided by their number."""
    del reference
    return _distinct(sample, 2)


@_metric("novelty", "probability", "Good 1953 (missing mass f1/N), on bigrams")
def missing_mass(sample: Sample, reference: Reference) -> float | None:
    """Good-Turing probability that the next bigram of the corpus is new."""
    from collapse_guard.metrics.richness import missing_mass as estimate  # noqa: PLC0415

    del reference
    counts = sample.grams[1].counts
    return estimate(counts) if len(counts) else None


@_metric("novelty", "share of 4-grams", f"Shaib et al. 2024 (self-repetition); across documents: {OWN}")
def repeated_4grams(sample: Sample, reference: Reference) -> float | None:
    """Share of the 4-grams of documents that occur in another document too."""
    from collapse_guard.metrics.repeats import cross_document_repeats  # noqa: PLC0415

    del reference
    return cross_document_repeats(sample.tokens, 4)


@_metric("spread", "bits", "Shannon 1948; bias: Miller 1955, Madow 1948")
def entropy_1(sample: Sample, reference: Reference) -> float | None:
    """Entropy of the words, with the Miller-Madow correction."""
    from collapse_guard.metrics.spread import entropy  # noqa: PLC0415

    del reference
    return entropy(sample.grams[0].counts) if sample.words else None


@_metric("spread", "bits", "Shannon 1948; bias: Miller 1955, Madow 1948")
def entropy_2(sample: Sample, reference: Reference) -> float | None:
    """Entropy of the bigrams, with the Miller-Madow correction."""
    from collapse_guard.metrics.spread import entropy  # noqa: PLC0415

    del reference
    return entropy(sample.grams[1].counts) if sample.grams[1].total else None


@_metric("spread", "probability", "Simpson 1949")
def simpson(sample: Sample, reference: Reference) -> float | None:
    """Probability that two words of the sample differ."""
    from collapse_guard.metrics.spread import simpson as unlike  # noqa: PLC0415

    del reference
    return unlike(sample.grams[0].counts)


@_metric("spread", "variance", "Shumailov et al. 2024 (variance shrinks); Johnson and Lindenstrauss 1984 (projection)")
def feature_variance(sample: Sample, reference: Reference) -> float | None:
    """Sum of the variances of the documents' projected word counts."""
    from collapse_guard.metrics.spread import trace_variance  # noqa: PLC0415

    del reference
    return trace_variance(sample.moments)


@_metric("spread", "variance", "Wilks 1932 (generalised variance)")
def generalised_variance(sample: Sample, reference: Reference) -> float | None:
    """Geometric mean of the variances along the principal directions of the projected word counts."""
    from collapse_guard.metrics.spread import log_det  # noqa: PLC0415

    del reference
    found = log_det(sample.moments)
    return None if found is None else math.exp(found / sample.features.shape[1])


def _alike(sample: Sample, reference: Reference) -> Moments:
    """Moments of the documents' directions from the middle of human text."""
    from collapse_guard.metrics.spread import Moments, unit_rows  # noqa: PLC0415 - reading a policy needs no kernel

    return Moments.of(unit_rows(sample.features, reference.centre))


@_metric("spread", "documents", "Friedman and Dieng 2023 (Vendi score), from the d x d moments")
def vendi(sample: Sample, reference: Reference) -> float | None:
    """Effective number of unlike documents: exponential of the entropy of their similarity's spectrum."""
    from collapse_guard.metrics.spread import vendi as effective  # noqa: PLC0415

    return effective(_alike(sample, reference))


@_metric("spread", "documents", "Jalali et al. 2023 (RKE: Renyi kernel entropy of order 2)")
def rke(sample: Sample, reference: Reference) -> float | None:
    """Effective number of modes: the inverse of the mean squared similarity of two documents."""
    from collapse_guard.metrics.spread import rke as modes  # noqa: PLC0415

    return modes(_alike(sample, reference))


@_metric("spread", "bits per word", "Shaib et al. 2024 (compression as diversity)")
def compression(sample: Sample, reference: Reference) -> float | None:
    """Compressed size of the sample as a sequence of words, in one order and with one compressor."""
    from collapse_guard.metrics.spread import compression as bits  # noqa: PLC0415

    del reference
    return bits(sample.tokens)


@_metric("homogeneity", "BLEU", "Zhu et al. 2018 (self-BLEU-4 as in nltk, exact), of the first 200 documents")
def self_bleu(sample: Sample, reference: Reference) -> float | None:
    """Mean BLEU-4 of each document with all others as references: how alike documents are."""
    from collapse_guard.metrics.homogeneity import self_bleu as alike  # noqa: PLC0415

    del reference
    return (
        alike(sample.tokens.take(np.arange(SELF_BLEU_DOCUMENTS))) if len(sample.tokens) >= SELF_BLEU_DOCUMENTS else None
    )


SELF_BLEU_DOCUMENTS = 200
"""Self-BLEU grows with the number of documents, so that is fixed."""


@_metric("heldout", "perplexity per word", JELINEK, version=2)
def heldout_perplexity(sample: Sample, reference: Reference) -> float | None:
    """Perplexity of held-out human text under a trigram model of the sample."""
    found = sample.heldout_entropy(reference)
    return None if found is None else math.exp(found)


@_metric("heldout", "bits per byte", JELINEK)
def heldout_bits_per_byte(sample: Sample, reference: Reference) -> float | None:
    """Bits that a trigram model of the sample needs for a byte of held-out human text."""
    found = sample.heldout_entropy(reference)
    size = reference.heldout.bytes_per_word
    return None if found is None or not size else found / math.log(2) / size


@_metric("heldout", "perplexity per word", f"{JELINEK}; its sign follows the sampler, so it is two-sided")
def reverse_perplexity(sample: Sample, reference: Reference) -> float | None:
    """Perplexity of what is not from the reservoir under a trigram model of the reservoir."""
    found = cross_entropy(reference.text.grams, sample.outside())
    return None if found is None else math.exp(found)


@_metric("composition", "bits", "Lin 1991 (Jensen-Shannon divergence)", scale="difference")
def word_jsd(sample: Sample, reference: Reference) -> float | None:
    """Divergence between the shares of the 300 most frequent human words: text of another kind, not a poorer one."""
    return word_divergence(sample, reference)


LABELLED = ("domain", "language", "source", "length")


def _by_label(label: str) -> Iterable[Metric]:
    """PSI and Jensen-Shannon divergence over one label."""

    def stability(sample: Sample, reference: Reference) -> float | None:
        return label_psi(sample, reference, label)

    def divergence(sample: Sample, reference: Reference) -> float | None:
        return label_divergence(sample, reference, label)

    told = f"between the shares of words by {label}, here and in human text; null where labels do not compare"
    index, bits = f"Population stability index {told}.", f"Jensen-Shannon divergence {told}."
    yield Metric(
        f"psi_{label}", "composition", "index", "Siddiqi 2006 (0.1 and 0.25)", index, stability, 2, "difference"
    )
    yield Metric(f"jsd_{label}", "composition", "bits", "Lin 1991", bits, divergence, 1, "difference")


METRICS: Mapping[str, Metric] = {
    metric.kind: metric for metric in (*_DECLARED, *(metric for label in LABELLED for metric in _by_label(label)))
}
COMPOSITION = tuple(kind for kind, metric in METRICS.items() if metric.family == "composition")


def compute(sample: Sample, reference: Reference, kinds: Iterable[str] = tuple(METRICS)) -> dict[str, float | None]:
    """Compute metrics; null where one could not be measured."""
    values = {kind: METRICS[kind].value(sample, reference) for kind in kinds}
    return {kind: value if value is not None and math.isfinite(value) else None for kind, value in values.items()}
