"""Test the documents of a corpus under every key of a ring, with the errors of a whole corpus in mind."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.kernels.arrow import chunks
from collapse_guard.provenance.watermark.discovery import Histogram, q_values
from collapse_guard.provenance.watermark.nulls import Calibration, ngram_width
from collapse_guard.provenance.watermark.prevalence import Tally, share_of_documents, share_of_tokens, tally
from collapse_guard.provenance.watermark.schemes import MEMORY, Scorer, unsupported_reason
from collapse_guard.provenance.watermark.spans import locate, passage_log_p
from collapse_guard.provenance.watermark.statistics import effect_of, sidak
from collapse_guard.provenance.watermark.tokenizing import by_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from numpy.typing import NDArray

    from collapse_guard.provenance.watermark.key_ring import KeyRing
    from collapse_guard.provenance.watermark.keys import Key
    from collapse_guard.provenance.watermark.scoring import Scores
    from collapse_guard.provenance.watermark.statistics import Effect
    from collapse_guard.provenance.watermark.tokenizing import Encoded, Tokenizer

    Columns = dict[str, pa.Array]

GROUPINGS = ("source", "domain")
MAX_GROUPS = 20_000
"""So many sources and domains are counted by themselves; the smallest beyond them together, as `REST`."""
REST = "(all others)"
NOTHING = "(none)"
_WORTH_A_LOOK = math.log(1e-3)
"""Passages are looked for in documents with such a p-value or a smaller one."""
_ROWS = 4096
_ALL_KEYS = 2**31
"""Bytes of green lists that all keys of a ring may keep together."""


@dataclass(frozen=True)
class KeySums:
    """One key over many documents."""

    tally: Tally = field(default_factory=Tally)
    outside: int = 0
    """Documents with ids that its vocabulary does not have."""

    def __add__(self, other: KeySums) -> KeySums:
        return KeySums(self.tally + other.tally, self.outside + other.outside)


@dataclass(frozen=True)
class Sums:
    """What some documents add to the findings about a corpus; adds up."""

    histogram: Histogram = field(default_factory=Histogram)
    groups: Mapping[str, Mapping[str, Tally]] = field(default_factory=dict)
    keys: Mapping[str, KeySums] = field(default_factory=dict)

    def __add__(self, other: Sums) -> Sums:
        groups = {name: _bounded(_added(self.groups.get(name, {}), found)) for name, found in other.groups.items()}
        return Sums(self.histogram + other.histogram, {**self.groups, **groups}, _added(self.keys, other.keys))


class _Best(NamedTuple):
    """The smallest p-value of each of n documents, and the key that gave it."""

    log_p: NDArray[np.float64]
    key: NDArray[np.int64]
    tokens: NDArray[np.int64]
    tests: NDArray[np.int64]
    """Keys under which the document is long enough."""
    candidates: NDArray[np.int64]
    """Keys that were in use when it was captured, and whose vocabulary has its ids."""
    supported: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: int) -> _Best:
        """Nothing yet."""
        tokens, tests, candidates = (np.zeros(rows, np.int64) for _ in range(3))
        return cls(np.zeros(rows), np.full(rows, -1), tokens, tests, candidates, np.zeros(rows, bool))


class Scan:
    """A ring, ready for many batches; several threads may use it at once.

    Args:
        ring: The keys. One that cannot be tested here is told with its reason; the others are tested all the same.
        calibration: What is common in human text, and how keys score there; by default nothing is known.
    """

    def __init__(self, ring: KeyRing, calibration: Calibration | None = None) -> None:
        self._calibration = calibration or Calibration()
        self.unsupported: dict[str, str] = {}
        self.keys: list[Key] = []
        self._scorers: list[Scorer] = []
        self._effects: list[Effect] = []
        self._tokenizers: list[tuple[Tokenizer, list[int]]] = []
        self._memory = min(MEMORY, _ALL_KEYS // max(len(ring.keys), 1))
        for group in by_tokenizer(ring.keys):
            self._add(group.keys, group.tokenizer, group.reason)

    def _add(self, keys: tuple[Key, ...], tokenizer: Tokenizer | None, reason: str | None) -> None:
        numbers = []
        for key in keys:
            against = unsupported_reason(key) or reason
            if against is not None:
                self.unsupported[key.id] = against
                continue
            numbers.append(len(self.keys))
            self.keys.append(key)
            self._scorers.append(Scorer(key, self._memory))
            self._effects.append(effect_of(key))
        if tokenizer is not None and numbers:
            self._tokenizers.append((tokenizer, numbers))

    def find(self, documents: pa.Table) -> tuple[Columns, Sums]:
        """Test documents.

        Args:
            documents: n rows with `text`, and `captured_at`, `source` and `domain` where they are known.

        Returns:
            n rows of `watermark.log_p@1`, `watermark_outcome` (`evidence` is for `judged` to say), `watermark_key`,
            `watermark_tokens`, `watermark_start` and `watermark_end`; and what they add to the corpus.
        """
        if not documents.num_rows:
            return self._part(pa.array([], pa.large_string()), documents)
        parts, sums, start = [], Sums(), 0
        for chunk in chunks(documents["text"]):
            for first in range(0, len(chunk), _ROWS):
                texts = chunk.slice(first, _ROWS)
                found, added = self._part(texts, documents.slice(start, len(texts)))
                parts.append(found)
                sums += added
                start += len(texts)
        return _joined(parts), sums

    def _part(self, texts: pa.LargeStringArray, documents: pa.Table) -> tuple[Columns, Sums]:
        best, keys, encodings = _Best.of(len(texts)), {}, []
        days = _Days.of(documents)
        for tokenizer, numbers in self._tokenizers:
            encoded = tokenizer.encode(texts)
            encodings.append(encoded)
            widths = {ngram_width(self.keys[number]): self.keys[number] for number in numbers}
            common = {width: self._calibration.common(key, encoded) for width, key in widths.items()}
            for number in numbers:
                key = self.keys[number]
                keys[key.id] = self._test(number, encoded, common[ngram_width(key)], days, best)
        log_p = np.where(best.tests > 0, sidak(best.log_p, np.maximum(best.tests, 1)), 0.0)
        log_p[~best.supported] = np.nan
        conclusive = best.tests > 0
        histogram = Histogram.of(np.where(conclusive, log_p, np.nan))
        groups = {name: self._group(documents, name, best, log_p) for name in GROUPINGS}
        spans = dict(self._spans(texts, encodings, best))
        return self._columns(spans, best, log_p), Sums(histogram, groups, keys)

    def _test(
        self, number: int, encoded: Encoded, common: NDArray[np.bool_] | None, days: _Days, best: _Best
    ) -> KeySums:
        """Test one key and keep what it found where it is the best so far."""
        key, scorer = self.keys[number], self._scorers[number]
        scores = scorer.score(*encoded, skip=common)
        totals, counts, whole = self._calibration.adjusted(scorer, scores)
        log_p = _either(whole, scores, encoded, key)
        inside = ~scores.outside
        candidate = inside & days.in_use(key)
        tested = candidate & (counts >= scorer.minimum)
        best.supported[inside] = True
        best.candidates[candidate] += 1
        best.tests[tested] += 1
        better = tested & ((log_p < best.log_p) | (best.key < 0))
        best.log_p[better], best.key[better], best.tokens[better] = log_p[better], number, counts[better]
        tally = Tally.of(totals[tested], counts[tested], log_p[tested], self._effects[number])
        return KeySums(tally, int(scores.outside.sum()))

    def _group(self, documents: pa.Table, name: str, best: _Best, log_p: NDArray[np.float64]) -> dict[str, Tally]:
        """Add up the documents of each source or domain, under whichever key fits each best."""
        if name not in documents.column_names:
            return {}
        names = pc.fill_null(documents[name], NOTHING).to_pylist()
        rows_of: dict[Effect, list[int]] = {}
        for row in np.flatnonzero(best.key >= 0).tolist():
            rows_of.setdefault(self._effects[best.key[row]], []).append(row)
        found: dict[str, Tally] = {}
        for effect, rows in rows_of.items():
            here = [names[row] for row in rows]
            found = _added(found, tally(here, np.zeros(len(rows)), best.tokens[rows], log_p[rows], effect))
        return found

    def _columns(self, spans: dict[int, tuple[int, int]], best: _Best, log_p: NDArray[np.float64]) -> Columns:
        outcome = np.select(
            [~best.supported, (best.tests == 0) & (best.candidates > 0)],
            ["unsupported", "inconclusive"],
            "none_under_keys",
        )
        ids = pa.array([*(key.id for key in self.keys), None], pa.string())
        starts, ends = ([spans.get(row, (None, None))[at] for row in range(log_p.size)] for at in (0, 1))
        return {
            "watermark.log_p@1": pa.array(log_p, from_pandas=True),
            "watermark_outcome": pa.array(outcome, pa.string()),
            "watermark_key": ids.take(pa.array(np.where(best.key < 0, len(self.keys), best.key))),
            "watermark_tokens": pa.array(best.tokens, mask=best.key < 0),
            "watermark_start": pa.array(starts, pa.int64()),
            "watermark_end": pa.array(ends, pa.int64()),
        }

    def _spans(
        self, texts: pa.LargeStringArray, encodings: list[Encoded], best: _Best
    ) -> Iterator[tuple[int, tuple[int, int]]]:
        """The characters of the clearest passage of each document that is worth a look."""
        owner = {number: at for at, (_, numbers) in enumerate(self._tokenizers) for number in numbers}
        for row in np.flatnonzero((best.key >= 0) & (best.log_p <= _WORTH_A_LOOK)).tolist():
            number = int(best.key[row])
            at = owner[number]
            ids = encodings[at].ids[slice(*encodings[at].offsets[row : row + 2])]
            scores = self._scorers[number].score(ids, np.array([0, ids.size]))
            passages = locate(scores.values, self.keys[number])
            if passages:  # only now look where its tokens stand, which takes as long as reading it again
                clearest = min(passages, key=lambda passage: passage.log_p)
                located = self._tokenizers[at][0].locate(texts[row].as_py())
                yield row, (int(located.starts[clearest.start]), int(located.ends[clearest.stop - 1]))


def _either(whole: NDArray[np.float64], scores: Scores, encoded: Encoded, key: Key) -> NDArray[np.float64]:
    """Choose between each document as a whole and its clearest passage.

    Unigram's null is the rate of a key in human text, which passages do not know: only the whole counts there.

    Returns:
        Logarithms of the smaller p-values, corrected for the choice.
    """
    if key.scheme == "unigram":
        return whole
    passage = passage_log_p(scores.values, encoded.offsets, scores.scored_tokens, key)
    return np.minimum(np.minimum(whole, passage) + math.log(2), 0.0)


def judged(measured: pa.Table, sums: Sums, q: float) -> Columns:
    """Say which documents carry evidence, now that all are known.

    Args:
        measured: Columns that `Scan.find` gave for n documents.
        sums: Of all documents.
        q: False discovery rate.

    Returns:
        `watermark.q_value@1`, 1 for documents that are too short, null where no key could be tested; and
        `watermark_outcome`.
    """
    log_p = measured["watermark.log_p@1"].to_numpy()
    before = np.asarray(measured["watermark_outcome"].to_pylist(), dtype=str)
    inconclusive = before == "inconclusive"
    values = q_values(np.where(_tested(measured), log_p, np.nan), sums.histogram)
    values = np.where(np.isnan(values) & (before != "unsupported"), 1.0, values)
    outcome = np.where((values <= q) & ~inconclusive, "evidence", before)
    return {
        "watermark.q_value@1": pa.array(values, from_pandas=True),
        "watermark_outcome": pa.array(outcome, pa.string()),
    }


def _tested(measured: pa.Table) -> NDArray[np.bool_]:
    return np.asarray(pc.is_valid(measured["watermark_key"]))


def told(scan: Scan, sums: Sums) -> dict[str, Any]:
    """What the manifest of measured documents says about marks."""
    keys = [
        {
            "id": key.id,
            "scheme": key.scheme,
            "documents": found.tally.documents,
            "found": found.tally.found,
            "outside_vocabulary": found.outside,
            "share_of_documents": share_of_documents(found.tally)._asdict(),
            "share_of_tokens": share_of_tokens(found.tally, effect_of(key))._asdict(),
        }
        for key in scan.keys
        for found in [sums.keys.get(key.id, KeySums())]
    ]
    unsupported = [{"id": name, "reason": reason} for name, reason in sorted(scan.unsupported.items())]
    prevalence = [row for name in GROUPINGS for row in _prevalence(name, sums.groups.get(name, {}))]
    return {"keys": keys, "unsupported_keys": unsupported, "tested": sums.histogram.documents, "prevalence": prevalence}


MAX_TOLD = 50
"""Groups of each grouping that a manifest tells: those with most findings, then the largest."""


def _prevalence(grouping: str, groups: Mapping[str, Tally]) -> list[dict[str, Any]]:
    order = sorted(groups.items(), key=lambda item: (-item[1].found, -item[1].documents, item[0]))[:MAX_TOLD]
    return [
        {
            "grouping": grouping,
            "group": name,
            "documents": tally.documents,
            "found": tally.found,
            **share_of_documents(tally)._asdict(),
        }
        for name, tally in order
    ]


def _added(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    both = left.keys() & right.keys()
    return {**left, **right, **{name: left[name] + right[name] for name in both}}


def _bounded(groups: dict[str, Tally]) -> dict[str, Tally]:
    if len(groups) <= MAX_GROUPS:
        return groups
    order = sorted(groups, key=lambda name: (name == REST, -groups[name].documents, name))
    rest = [groups[name] for name in order[MAX_GROUPS - 1 :]]
    return {**{name: groups[name] for name in order[: MAX_GROUPS - 1]}, REST: sum(rest, Tally())}


class _Days(NamedTuple):
    """The day (UTC) of each capture; NaT where it is unknown."""

    different: list[np.datetime64]
    of_row: NDArray[np.int64]

    @classmethod
    def of(cls, documents: pa.Table) -> _Days:
        """Read the days."""
        days = np.full(documents.num_rows, np.datetime64("NaT"), "datetime64[D]")
        if "captured_at" in documents.column_names:
            days = documents["captured_at"].cast(pa.timestamp("us")).to_numpy().astype("datetime64[D]")
        different, of_row = np.unique(days, return_inverse=True)
        return cls(list(different), of_row)

    def in_use(self, key: Key) -> NDArray[np.bool_]:
        """Say of each row whether a key was in use when it was captured."""
        known = [key.valid_at(None if np.isnat(day) else _date(day)) for day in self.different]
        return np.array(known, bool)[self.of_row]


def _date(day: np.datetime64) -> date:
    found: date = day.astype(object)
    return found


def _joined(parts: list[Columns]) -> Columns:
    return {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}
