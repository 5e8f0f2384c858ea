"""What metrics are computed from: some documents at a fixed budget of words, and the human text beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.metrics.counts import Counts, Tokens
from collapse_guard.metrics.heldout import cross_entropy
from collapse_guard.metrics.profile import LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from collapse_guard.metrics.profile import Profile
    from collapse_guard.metrics.spread import Moments

DIMENSIONS = 64
COMMON_WORDS = 300
TAIL_COUNTS = (2, 5)
TAIL_BIGRAM_COUNT = 2
HUMAN_STRATUM = "human"
"""What a mix calls the documents that it took from the reservoir."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Passages of documents at a fixed budget, what these documents are, and the tokens of the whole corpus by origin.

    `bytes_per_word` is that of the whole documents.
    """

    tokens: Tokens
    labels: pa.Table
    bytes_per_word: float
    origin_tokens: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, profile: Profile, budget: int, length: int, origin_tokens: Mapping[str, int] | None = None) -> Sample:
        """Take the first documents of a profile, each cut to so many words, up to a budget.

        Args:
            profile: What the corpus is known by.
            budget: Words at most; the last document is cut there.
            length: Words of one document at most.
            origin_tokens: Tokens of the whole corpus by origin.

        Returns:
            The sample; smaller where the profile holds less.
        """
        tokens = profile.tokens
        cut = tokens.passages(np.zeros(len(tokens), np.int64), length).first(budget)
        rows = profile.rows.slice(0, len(cut))
        words = np.asarray(rows["words"].to_numpy(), np.int64)
        share = float(rows["bytes"].to_numpy().sum() / max(words.sum(), 1))
        labels = rows.select(LABELS).append_column("length", length_bins(words))
        return cls(cut, labels, share, origin_tokens or {})

    @cached_property
    def grams(self) -> tuple[Counts, Counts, Counts]:
        """Counts of words, bigrams and trigrams."""
        one, two, three = (Counts.of(hashes[within]) for hashes, within in self.tokens.grams())
        return one, two, three

    @cached_property
    def features(self) -> NDArray[np.float64]:
        """Projected word counts, shape (documents, DIMENSIONS)."""
        from collapse_guard.metrics.spread import projections  # noqa: PLC0415 - reading a policy needs no kernel

        return projections(self.tokens, DIMENSIONS)

    @cached_property
    def moments(self) -> Moments:
        """Moments of the features."""
        from collapse_guard.metrics.spread import Moments  # noqa: PLC0415 - reading a policy needs no kernel

        return Moments.of(self.features)

    def heldout_entropy(self, reference: Reference) -> float | None:
        """Nats per word that a trigram model of the sample needs for the held-out text; kept for the next metric."""
        if reference not in self._entropies:
            self._entropies[reference] = cross_entropy(self.grams, reference.heldout.tokens)
        return self._entropies[reference]

    @cached_property
    def _entropies(self) -> dict[Reference, float | None]:
        return {}

    @property
    def words(self) -> int:
        """Words in the sample."""
        return len(self.tokens.hashes)

    def shares(self, label: str) -> dict[str, float]:
        """The share of the sampled words that documents of each value have; documents without one do not count."""
        rows = pa.table({"value": self.labels[label], "words": self.tokens.lengths}).drop_null()
        sums = rows.group_by("value").aggregate([("words", "sum")])
        total = float(rows["words"].to_numpy().sum())
        pairs = zip(sums["value"].to_pylist(), sums["words_sum"].to_pylist(), strict=True)
        return {str(value): count / total for value, count in pairs} if total else {}

    def outside(self) -> Tokens:
        """The documents that a mix did not take from the reservoir."""
        return self.tokens.take(np.flatnonzero(self._outside))

    @cached_property
    def _outside(self) -> NDArray[np.bool_]:
        found = pc.fill_null(pc.not_equal(self.labels["stratum"], HUMAN_STRATUM), fill_value=True)
        return np.asarray(found.to_numpy(zero_copy_only=False), bool)

    def known(self, label: str, values: set[str]) -> float:
        """The share of the words from outside the reservoir whose document has one of some values."""
        found = pc.is_in(self.labels[label], pa.array(sorted(values), pa.string())).to_numpy()
        words = self.tokens.lengths
        return float(words[self._outside & found].sum() / max(words[self._outside].sum(), 1))

    def labelled(self, label: str) -> float:
        """The share of the sampled words whose document has a value."""
        known = self.labels[label].is_valid().to_numpy()
        return float(self.tokens.lengths[known].sum() / self.words) if self.words else 0.0


def length_bins(words: NDArray[np.int64]) -> pa.Array:
    """The length of each document as the power of two that its words reach, from 2^4 to 2^14."""
    powers = np.clip(np.floor(np.log2(np.maximum(words, 1))), 4, 14).astype(np.int64)
    return pa.array([f"2^{power:02d}" for power in powers.tolist()], pa.string())


@dataclass(frozen=True, eq=False)
class Reference:
    """The human text that a corpus is compared with, from a frozen state of the reservoir.

    `text` is a part of the reservoir from which no human-only draw comes: it says which types are rare, and makes the
    model of human text. `heldout` is the evaluation split, which no mix ever contains. `plain` is all that draws come
    from: composition is compared with it.
    """

    text: Sample
    heldout: Sample
    plain: Sample

    @cached_property
    def rare_words(self) -> NDArray[np.uint64]:
        """Words that occur two to five times; those that occur once are often slips."""
        return self.text.grams[0].between(*TAIL_COUNTS)

    @cached_property
    def rare_bigrams(self) -> NDArray[np.uint64]:
        """Bigrams that occur twice."""
        return self.text.grams[1].between(TAIL_BIGRAM_COUNT, TAIL_BIGRAM_COUNT)

    @cached_property
    def common_words(self) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
        """The most frequent words and their shares of all words."""
        counts = self.text.grams[0]
        order = np.argsort(-counts.counts, kind="stable")[:COMMON_WORDS]
        return counts.hashes[order], counts.counts[order] / max(counts.total, 1)

    @cached_property
    def centre(self) -> NDArray[np.float64]:
        """The mean of the features, shape (DIMENSIONS,)."""
        features = self.text.features
        return np.asarray(features.sum(axis=0) / max(len(features), 1), np.float64)


def rare_types(tokens: Tokens) -> NDArray[np.uint64]:
    """The words of a text that occur in it two to five times."""
    return Counts.of(tokens.hashes).between(*TAIL_COUNTS)
