"""What human text looks like to the keys of a ring, as one file that a policy can name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.provenance.watermark.calibration import COMMON_SHARE, CommonNgrams, Null
from collapse_guard.provenance.watermark.keys import freeform
from collapse_guard.provenance.watermark.schemes import Scorer, unsupported_reason
from collapse_guard.provenance.watermark.statistics import effect_of
from collapse_guard.provenance.watermark.tokenizing import by_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from collapse_guard.provenance.watermark.key_ring import KeyRing
    from collapse_guard.provenance.watermark.keys import Key
    from collapse_guard.provenance.watermark.scoring import Scores
    from collapse_guard.provenance.watermark.tokenizing import Encoded

SCHEMA = "watermark_calibration@1"
FEWEST = 200
"""Documents of human text below which nothing is known about it."""
DOCUMENTS = 5_000
"""So many are enough."""
SINGLE_SHARE = 0.1
"""As `COMMON_SHARE`, where a draw is decided by one token alone: at 0.05 two thirds of the tokens would be left out."""


@dataclass(frozen=True)
class Calibration:
    """N-grams that are common in human text, by tokenizer and width, and how single tokens score under each key.

    Attributes:
        ngrams: By digest of a tokenizer and width.
        nulls: By fingerprint of a key, for schemes whose draws are single tokens.
        documents: Documents of human text that it was made of.
    """

    ngrams: Mapping[tuple[str, int], CommonNgrams] = field(default_factory=dict)
    nulls: Mapping[str, Null] = field(default_factory=dict)
    documents: int = 0

    def common(self, key: Key, encoded: Encoded) -> NDArray[np.bool_] | None:
        """Say which tokens end an n-gram that is common in human text; null where nothing is known about that."""
        known = self.ngrams.get((key.tokenizer_sha256 or "", ngram_width(key)))
        return known.places(*encoded) if known else None

    def adjusted(
        self, scorer: Scorer, scores: Scores
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Totals, scored tokens and p-values of documents, with what the key adds to human text taken off."""
        totals = scores.totals
        null = self.nulls.get(scorer.key.fingerprint or "") if self.nulls else None
        if null is None:
            return totals, scores.scored_tokens, scores.log_p
        effect = effect_of(scorer.key)
        adjusted, worth = null.adjust(totals, scores.scored_tokens, effect.null_mean, effect.null_sd**2)
        return adjusted, worth, scorer.log_p(adjusted, worth)

    def write(self, path: Path) -> None:
        """Write it as one Parquet file; it holds hashes and sums, and no text."""
        rows = [(tokenizer, width, found) for (tokenizer, width), each in self.ngrams.items() for found in each.hashes]
        told = {
            "schema": SCHEMA,
            "documents": self.documents,
            "ngrams": [list(place) for place in self.ngrams],
            "nulls": {name: null.to_json() for name, null in self.nulls.items()},
        }
        columns = zip(*rows, strict=True) if rows else ((), (), ())
        kinds = (pa.string(), pa.int32(), pa.uint64())
        arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
        table = pa.table(dict(zip(("tokenizer", "width", "ngram"), arrays, strict=True)))
        pq.write_table(table.replace_schema_metadata({"calibration": json.dumps(told)}), path)

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read what `write` wrote; DamagedDataError where it is something else."""
        try:
            table = pq.read_table(path)
            told = json.loads(table.schema.metadata[b"calibration"])
            tokenizers, widths = (table[name].to_numpy(zero_copy_only=False) for name in ("tokenizer", "width"))
            ngrams = table["ngram"].to_numpy()
            known = {
                (tokenizer, width): CommonNgrams(width, np.sort(ngrams[(tokenizers == tokenizer) & (widths == width)]))
                for tokenizer, width in told["ngrams"]
            }
            nulls = {name: Null.from_json(null) for name, null in told["nulls"].items()}
            return cls(known, nulls, int(told["documents"]))
        except (pa.ArrowInvalid, KeyError, TypeError, ValueError, OSError) as error:
            message = f"{path} is no calibration ({error}); make one with `collapse-guard keys calibrate`"
            raise DamagedDataError(message) from None


def calibrate(ring: KeyRing, texts: Iterable[pa.LargeStringArray]) -> Calibration:
    """Learn from human text what keys would otherwise take for a mark.

    Args:
        ring: The keys.
        texts: Human text, in parts; the first `DOCUMENTS` documents are read.

    Returns:
        The calibration, for every key that can be tested here.

    Raises:
        UsageError: There are too few documents.
    """
    human = _first(texts)
    if len(human) < FEWEST:
        raise UsageError(f"{len(human)} documents of human text are too few to calibrate on; give {FEWEST} or more")
    ngrams: dict[tuple[str, int], CommonNgrams] = {}
    nulls: dict[str, Null] = {}
    for group in by_tokenizer(key for key in ring.keys if unsupported_reason(key) is None):
        if group.tokenizer is None:
            continue
        encoded = group.tokenizer.encode(human)
        for key in group.keys:
            place = (group.tokenizer.digest, ngram_width(key))
            if place not in ngrams:
                share = SINGLE_SHARE if place[1] == 1 else COMMON_SHARE
                ngrams[place] = CommonNgrams.of(*encoded, place[1], share)
            if key.scheme == "unigram" and key.fingerprint:
                nulls[key.fingerprint] = _null(key, encoded, ngrams[place])
    return Calibration(ngrams, nulls, len(human))


def _first(texts: Iterable[pa.LargeStringArray]) -> pa.LargeStringArray:
    parts: list[pa.LargeStringArray] = []
    wanted = DOCUMENTS
    for part in texts:
        parts.append(part.slice(0, wanted).cast(pa.large_string()))
        wanted -= len(parts[-1])
        if not wanted:
            break
    return pa.concat_arrays(parts) if parts else pa.array([], pa.large_string())


def _null(key: Key, encoded: Encoded, common: CommonNgrams) -> Null:
    scores = Scorer(key).score(*encoded, skip=common.places(*encoded))
    return Null.of(scores.totals, scores.scored_tokens)


def ngram_width(key: Key) -> int:
    """How many ids decide one draw of a scheme, the token itself included."""
    if key.scheme == "unigram":
        return 1
    if key.ngram_len is not None:
        return key.ngram_len
    form = freeform(key.scheme)
    salted = form.self_salt if form else key.scheme.endswith("_selfhash")
    return (key.context_width or 0) + (not salted)
