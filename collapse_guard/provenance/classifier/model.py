"""A trained classifier: what it says about texts, and how it is kept as a table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as declaration

from collapse_guard.canonical import canonical_json
from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.kernels.arrow import chunks
from collapse_guard.kernels.classifier.linear import Scores, Weights, score_texts
from collapse_guard.kernels.classifier.ngrams import MOST_BITS, VERSION
from collapse_guard.provenance.classifier.calibration import Calibration, conformal_p, probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOO_SHORT, LANGUAGE, NOVEL = "too_short", "language", "novel"
COLUMNS = pa.schema(
    [
        pa.field("p_synthetic", pa.float64()),
        pa.field("p_human_conformal", pa.float64()),
        pa.field("abstained", pa.string()),
    ]
)
"""What a model says about one text.

`p_synthetic` is the probability that a model wrote it if half of all texts were synthetic. `p_human_conformal` is the
p-value of "a person wrote this". Both are null where `abstained` gives a reason: `too_short`, `language` (not one of
those that were trained on, or not known) or `novel` (too few of its n-grams were seen in training).
"""
TABLE = pa.schema(
    [
        pa.field("digest", pa.string(), nullable=False),
        pa.field("facts", pa.string(), nullable=False),
        pa.field("buckets", pa.list_(pa.uint32()), nullable=False),
        pa.field("weights", pa.list_(pa.float32()), nullable=False),
        pa.field("human", pa.list_(pa.list_(pa.float64())), nullable=False),
    ]
)
"""A model as one row: its digest, its facts as JSON, the weights that are not 0, and its calibration."""

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


@declaration(frozen=True, config=ConfigDict(extra="forbid"))
class Settings:
    """How a classifier reads texts and is trained.

    Attributes:
        window: Characters of each text that are read, from its beginning.
        bits: N-grams are hashed to 2^bits buckets.
        min_words: Shorter texts are neither trained on nor judged; words after the window do not count.
        novelty: Share of the held-out training texts that count as too novel to be judged.
        cap: The highest probability that is ever given; one minus this is the lowest.
        costs: Costs of an error that are tried; the highest AUC on held-out texts decides, of equals the lowest.
        folds: Parts of the training texts that are held out in turn.
        max_documents: Texts of each class that are used; of more, those whose digest under the seed is lowest.
        seed: Fixes folds, the choice of texts and the order of training.
    """

    window: Annotated[int, Field(ge=100, le=100_000)] = 1_500
    bits: Annotated[int, Field(ge=10, le=MOST_BITS)] = 20
    min_words: Annotated[int, Field(ge=1)] = 50
    novelty: Share = 0.01
    cap: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.99
    costs: Annotated[tuple[Annotated[float, Field(gt=0.0)], ...], Field(min_length=1)] = (1.0, 10.0, 50.0)
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    max_documents: Annotated[int, Field(ge=50)] = 10_000
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


_SETTINGS: TypeAdapter[Settings] = TypeAdapter(Settings)


class Facts(NamedTuple):
    """What a model knows beside its numbers.

    Attributes:
        least_coverage: A text with a smaller share of known n-grams is novel.
        languages: Those of the training texts, sorted; none: languages are not looked at.
        trained_on: SHA-256 of the labels and texts that it was trained on.
        report: How good it is, see `training.train`.
    """

    least_coverage: float
    languages: tuple[str, ...]
    trained_on: str
    report: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Model:
    """A trained classifier; equal training data and settings give an equal digest."""

    settings: Settings
    weights: Weights
    calibration: Calibration
    facts: Facts = field(repr=False)

    def score(self, texts: pa.Array | pa.ChunkedArray, languages: pa.Array | pa.ChunkedArray | None = None) -> pa.Table:
        """Judge texts.

        Args:
            texts: n strings; a null is an empty text.
            languages: n codes, as those of the training texts; by default languages are not looked at.

        Returns:
            n rows of `COLUMNS`.

        Raises:
            UsageError: There are not as many languages as texts.
        """
        if languages is not None and len(languages) != len(texts):
            raise UsageError(f"There are {len(languages)} languages for {len(texts)} texts; give one per text.")
        scores = self.scores(texts)
        reasons = self._reasons(scores, languages)
        silent = reasons != None  # noqa: E711 - element by element
        columns = [
            pa.array(probability(scores.logits, self.calibration, self.settings.cap), mask=silent),
            pa.array(conformal_p(scores.logits, scores.words, self.calibration), mask=silent),
            pa.array(reasons, pa.string()),
        ]
        return pa.table(columns, schema=COLUMNS)

    def scores(self, texts: pa.Array | pa.ChunkedArray) -> Scores:
        """Give the uncalibrated log-odds, the coverage and the words of texts, whatever they are."""
        none: Scores = Scores(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
        parts = [score_texts(chunk, self.weights, self.settings.window) for chunk in chunks(texts)]
        return Scores(*(np.concatenate(columns) for columns in zip(none, *parts, strict=True)))

    def _reasons(self, scores: Scores, languages: pa.Array | pa.ChunkedArray | None) -> NDArray[np.object_]:
        reasons = np.full(scores.logits.size, None, object)
        reasons[~(scores.coverage >= self.facts.least_coverage)] = NOVEL
        if languages is not None and self.facts.languages:
            known = np.isin(np.array(languages.to_pylist(), object), self.facts.languages)
            reasons[~known] = LANGUAGE
        reasons[scores.words < self.settings.min_words] = TOO_SHORT
        return reasons

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that the model is."""
        seen = np.flatnonzero(self.weights.buckets)
        parts = (seen.astype("<u4"), self.weights.buckets[seen], *self.calibration.human)
        state = hashlib.sha256(self._facts())
        for part in parts:
            state.update(part.size.to_bytes(8, "little") + part.tobytes())
        return state.hexdigest()

    def _facts(self) -> bytes:
        return canonical_json(
            {
                **self.facts._asdict(),
                "features": VERSION,
                "settings": _SETTINGS.dump_python(self.settings, mode="json"),
                "intercept": self.weights.intercept,
                "slope": self.calibration.slope,
                "offset": self.calibration.offset,
            }
        )

    def to_table(self) -> pa.Table:
        """The model as a table of one row, see `TABLE`: it is kept and sent as Parquet."""
        buckets = np.flatnonzero(self.weights.buckets)
        row = {
            "digest": [self.digest],
            "facts": [self._facts().decode()],
            "buckets": [buckets.astype(np.uint32)],
            "weights": [self.weights.buckets[buckets]],
            "human": [[people.tolist() for people in self.calibration.human]],
        }
        return pa.table(row, schema=TABLE)

    @staticmethod
    def from_table(table: pa.Table) -> Model:
        """Read a model from what `to_table` gave.

        Args:
            table: One row.

        Returns:
            The model.

        Raises:
            DamagedDataError: The table is no model, or not the one that its digest names.
            UsageError: Its n-grams are those of another version.
        """
        if not table.schema.equals(TABLE) or table.num_rows != 1:
            raise DamagedDataError("The table is no classifier; read the shard of a snapshot of kind `classifier`.")
        try:
            model = _read(table)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DamagedDataError(f"The classifier cannot be read ({error}); train it again.") from error
        if model.digest != (digest := table["digest"][0].as_py()):
            raise DamagedDataError(
                f"The classifier is not the one that its digest {digest[:12]} names; train it again."
            )
        return model


def _read(table: pa.Table) -> Model:
    facts = json.loads(table["facts"][0].as_py())
    if (version := facts.pop("features")) != VERSION:
        raise UsageError(f"The classifier has n-grams of version {version}, this program {VERSION}; train it again.")
    settings = _SETTINGS.validate_python(facts.pop("settings"))
    intercept, slope, offset = (float(facts.pop(name)) for name in ("intercept", "slope", "offset"))
    buckets, weights = (table[name][0].values.to_numpy() for name in ("buckets", "weights"))
    human = tuple(np.array(people, np.float64) for people in table["human"][0].as_py())
    dense = np.zeros(1 << settings.bits, np.float32)
    dense[buckets] = weights
    facts["languages"] = tuple(facts["languages"])
    return Model(settings, Weights(dense, intercept), Calibration(human, slope, offset), Facts(**facts))
