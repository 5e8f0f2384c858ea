"""Watermarks for a model that writes: its scores for the next token in, marked scores out.

Every keyed number comes from the kernels and classes that the scanner uses. What has been said before is found again in
the ids that are given, so nothing is kept from one token to the next, and rows may come in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from collapse_guard.errors import UsageError
from collapse_guard.kernels.watermark.draws import words_after
from collapse_guard.kernels.watermark.philox import AT_ONCE, exponentials
from collapse_guard.kernels.watermark.synthid import AT_ONCE as HASHES_AT_ONCE
from collapse_guard.kernels.watermark.synthid import sum_by_hash, sum_by_remainder
from collapse_guard.provenance.watermark.green import Lists, row_bytes
from collapse_guard.provenance.watermark.gumbel import Philox
from collapse_guard.provenance.watermark.keys import freeform, untestable
from collapse_guard.provenance.watermark.scoring import new_places, paired, required, window_hashes
from collapse_guard.provenance.watermark.seeding import seeding_of, seeds
from collapse_guard.provenance.watermark.synthid import HashedSynthId, TableSynthId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    from numpy.typing import NDArray

    from collapse_guard.provenance.watermark.key_ring import KeyRing
    from collapse_guard.provenance.watermark.keys import Key
    from collapse_guard.provenance.watermark.scoring import Bytes, Floats, Ids

    Scores: TypeAlias = NDArray[np.floating[Any]]

GREEN_SCHEMES = "kgw_simple_1 kgw_minhash kgw_selfhash kgw_skipgram hf_lefthash hf_selfhash".split()
SAMPLING_SCHEMES = "gumbel_philox synthid_table synthid_iv".split()
HISTORY = 8192
"""Contexts that Philox looks back for one that it has marked already; vLLM's default."""
_KGW_CANDIDATES, _HF_CANDIDATES = 41, 40
"""Tokens that self-salted schemes test, the likeliest first: as many as their references."""


class _Scheme(Protocol):
    def mark(self, ids: Ids, begin: int, scores: Scores) -> Scores:
        """Mark the scores of the token after `ids`, of which those from `begin` on were generated."""
        ...


class Marker:
    """Marks the scores of next tokens under one key.

    Green lists add `delta` to scores. Gumbel and SynthID sample: they turn scores into log-probabilities at
    `temperature`, over the `top_k` likeliest tokens where it is given, so a sampler after them must not change the
    temperature again. Gumbel leaves a single token possible. Both leave a token unmarked after a context that was
    there before, or else text that repeats itself would repeat for ever.

    Args:
        key: Of `GREEN_SCHEMES`, of an `ff-` scheme, or of `SAMPLING_SCHEMES`.
        delta: What is added to the scores of green tokens; the larger, the clearer the mark and the poorer the text.
        temperature: Above 0.
        top_k: At least 1.

    Raises:
        UsageError: The key cannot mark, or a number is out of range.
    """

    def __init__(self, key: Key, *, delta: float = 2.0, temperature: float = 1.0, top_k: int | None = None) -> None:
        if reason := unmarkable(key):
            raise UsageError(f"key {key.id!r} cannot mark: {reason}")
        if not (0 < delta < np.inf and 0 < temperature < np.inf) or (top_k is not None and top_k < 1):
            raise UsageError(f"{delta=}, {temperature=}, {top_k=}: all must be above 0, and finite")
        self.key, self.temperature = key, temperature
        self.samples = key.scheme in SAMPLING_SCHEMES
        """Whether the scheme takes the sampler's place."""
        sample = _Sample(temperature, top_k)
        self._scheme = _SAMPLERS[key.scheme](key, sample) if self.samples else _Green(key, delta)

    def mark(
        self, context_ids: NDArray[np.integer], scores: Scores, begins: NDArray[np.integer] | None = None
    ) -> Scores:
        """Mark a batch.

        Args:
            context_ids: Batch by length: the ids so far, prompts included.
            scores: Batch by vocabulary: logits or logarithms of probabilities; tokens that must not come have -inf.
            begins: Where in each row the generated ids begin; at its start by default.

        Returns:
            New scores of the same shape and type.

        Raises:
            UsageError: The shapes do not fit each other or the key's vocabulary.
        """
        rows = len(context_ids)
        starts = np.zeros(rows, np.int64) if begins is None else np.asarray(begins)
        if context_ids.ndim != 2 or scores.ndim != 2 or not len(scores) == rows == starts.size:  # noqa: PLR2004 - a batch
            shapes = f"{context_ids.shape}, {scores.shape} and {starts.shape}"
            raise UsageError(f"ids, scores and begins have shapes {shapes}; batch x length, batch x vocabulary, batch")
        marked = [self.mark_row(*row) for row in zip(context_ids, scores, starts.tolist(), strict=True)]
        return np.stack(marked) if marked else scores

    def mark_row(self, ids: NDArray[np.integer], scores: Scores, begin: int = 0) -> Scores:
        """Mark the scores of one next token; as `mark` with a batch of one.

        Returns:
            New scores; the ones given where there is too little context.

        Raises:
            UsageError: The vocabulary is another than the key's, whose marks nobody would find.
        """
        if self.key.vocab_size not in {None, scores.size}:
            raise UsageError(
                f"there are {scores.size} scores, and key {self.key.id!r} has a `vocab_size` of {self.key.vocab_size}; "
                "write the size of the model's output into the key ring"
            )
        return self._scheme.mark(np.asarray(ids, np.int64), begin, scores).astype(scores.dtype, copy=False)


def unmarkable(key: Key) -> str | None:
    """Say why no generator can mark with a key; null where one can."""
    if key.scheme in GREEN_SCHEMES or key.scheme in SAMPLING_SCHEMES or freeform(key.scheme):
        return untestable(key)
    return (
        f"{key.scheme} is read and not written; use {', '.join([*GREEN_SCHEMES, *SAMPLING_SCHEMES])} or an ff- scheme"
    )


def current_key(ring: KeyRing, today: date, scheme: str | None = None, owner: str | None = None) -> Key:
    """Choose the key to mark with: of those valid today the one with the latest `valid_from`.

    Args:
        ring: The keys; of equally new ones the last in the file is taken.
        today: The day (UTC) of the marking.
        scheme: Which scheme it must have.
        owner: Whose key it must be.

    Returns:
        The key.

    Raises:
        UsageError: No key can mark; says why of each.
    """
    chosen, against = None, []
    for key in ring.keys:
        if reason := _unfit(key, today, scheme, owner):
            against.append(f"{key.id}: {reason}")
        elif chosen is None or _since(key) >= _since(chosen):
            chosen = key
    if chosen is None:
        raise UsageError(f"no key in {ring.path.name} can mark on {today}: {'; '.join(against)}")
    return chosen


def _since(key: Key) -> str:
    return key.valid_from.isoformat() if key.valid_from else ""


def _unfit(key: Key, today: date, scheme: str | None, owner: str | None) -> str | None:
    if scheme not in {None, key.scheme}:
        return f"its scheme is {key.scheme}"
    if owner not in {None, key.owner}:
        return "it is another owner's"
    if key.valid_from is not None and today < key.valid_from:
        return f"it is valid from {key.valid_from} on"
    if key.valid_until is not None and today > key.valid_until:
        return f"it was valid until {key.valid_until}"
    return unmarkable(key)


class _Green:
    """lm-watermarking and transformers: green tokens are favoured."""

    def __init__(self, key: Key, delta: float) -> None:
        self._delta, self._secret, self._seeding = delta, required(key.key, "key", key), seeding_of(key)
        self._vocabulary = required(key.vocab_size, "vocab_size", key)
        self._lists = Lists(self._vocabulary, int(self._vocabulary * (key.gamma or 0.0)))
        self._candidates = _HF_CANDIDATES if key.scheme.startswith("hf_") else _KGW_CANDIDATES

    def mark(self, ids: Ids, begin: int, scores: Scores) -> Scores:  # noqa: ARG002 - prompts are context, too
        before = self._seeding.ngram - 1
        if ids.size < before:
            return scores
        context = ids[ids.size - before :]
        green = self._tested(context, scores) if self._seeding.salted else self._listed(context)
        marked = scores.copy()
        marked[green] += np.asarray(self._delta, scores.dtype)
        return marked

    def _listed(self, context: Ids) -> NDArray[np.bool_]:
        rows = np.zeros((1, row_bytes(self._vocabulary)), np.uint8)
        self._lists.fill(seeds(self._seeding, self._secret, np.append(context, 0))[-1:], rows)
        return np.unpackbits(rows[0], count=self._vocabulary, bitorder="little").astype(bool)

    def _tested(self, context: Ids, scores: Scores) -> Ids:
        """Ask of the likeliest tokens whether each is in the list that it seeds itself."""
        likeliest = top(scores, self._candidates)
        rows = np.column_stack([np.tile(context, (likeliest.size, 1)), likeliest])
        found = seeds(self._seeding, self._secret, rows.ravel()).reshape(rows.shape)[:, -1]
        green: Ids = likeliest[self._lists.has(paired(found, likeliest)) == 1]
        return green


def top(scores: Scores, count: int) -> Ids:
    """The possible ids with the highest scores, in no order."""
    possible: Ids = np.flatnonzero(scores > -np.inf)
    if possible.size <= count:
        return possible
    likeliest: Ids = possible[np.argpartition(-scores[possible], count - 1)[:count]]
    return likeliest


class _Sample:
    """The tokens that a sampler chooses from, and their chances."""

    def __init__(self, temperature: float, top_k: int | None) -> None:
        self._temperature, self._top_k = temperature, top_k

    def of(self, scores: Scores) -> tuple[Ids, Floats]:
        """Give the ids and the logarithms of their probabilities."""
        ids = top(scores, self._top_k or scores.size)
        logits = scores[ids].astype(np.float64) / self._temperature
        if ids.size:
            logits -= logits.max()
            logits -= np.log(np.exp(logits).sum())
        return ids, logits

    @staticmethod
    def spread(ids: Ids, values: Floats, size: int) -> Floats:
        """Put values at their ids, and -inf everywhere else."""
        scores = np.full(size, -np.inf)
        scores[ids] = values
        return scores


class _Philox(Philox):
    """vLLM's Gumbel sampling: of p, the id with the largest ln p - ln(-ln u) is drawn; prompts are no context."""

    def __init__(self, key: Key, sample: _Sample) -> None:
        super().__init__(key)
        self._sample = sample

    def mark(self, ids: Ids, begin: int, scores: Scores) -> Scores:
        tokens, log_p = self._sample.of(scores)
        said = ids[begin:]
        if tokens.size and self._is_new(said):
            best = int(np.argmax(log_p - np.log(-np.log(self._uniforms(said, tokens)))))
            tokens, log_p = tokens[best : best + 1], np.zeros(1)
        return self._sample.spread(tokens, log_p, scores.size)

    def _is_new(self, said: Ids) -> bool:
        offsets = np.array([0, said.size + 1])
        hashes = window_hashes(np.append(said, 0), offsets, self._width, 1)
        return bool(new_places(hashes, offsets, 0, HISTORY)[-1])

    def _uniforms(self, said: Ids, tokens: Ids) -> Floats:
        words, drawn = np.empty(tokens.size, np.uint32), np.empty(tokens.size)
        scratch = np.empty((8, AT_ONCE), np.uint64)
        words_after(said, tokens, self._width, np.uint64(self._secret), scratch, words)
        exponentials(words, np.ones(tokens.size, np.uint8), drawn)
        return -np.expm1(-drawn)


class _Layers(Protocol):
    """A variant of SynthID."""

    def hashed(self, ids: Ids) -> tuple[NDArray[np.uint64], Bytes]:
        """Hash the context of each place of a document, and mark the places whose context is new."""
        ...

    def layers(self, tokens: Ids, contexts: NDArray[np.uint64]) -> Iterator[Bytes]:
        """Give g of each token after its context, layer by layer."""
        ...


class _TableLayers(TableSynthId):
    def hashed(self, ids: Ids) -> tuple[NDArray[np.uint64], Bytes]:
        return self._contexts.hashed(ids, np.array([0, ids.size]), "reference")

    def layers(self, tokens: Ids, contexts: NDArray[np.uint64]) -> Iterator[Bytes]:
        every = np.ones(tokens.size, np.uint8)
        for layer in range(self._secrets.size):
            g = np.empty(tokens.size, np.uint8)
            sum_by_remainder(tokens, contexts, every, self._secrets[layer : layer + 1], self._bits, g)
            yield g


class _HashedLayers(HashedSynthId):
    def hashed(self, ids: Ids) -> tuple[NDArray[np.uint64], Bytes]:
        return self._contexts.hashed(ids, np.array([0, ids.size]), "reference")

    def layers(self, tokens: Ids, contexts: NDArray[np.uint64]) -> Iterator[Bytes]:
        scratch = np.empty(HASHES_AT_ONCE, np.int64)
        for layer in range(self._secrets.size):
            g = np.empty(tokens.size, np.uint8)
            sum_by_hash(tokens, contexts, self._secrets[layer : layer + 1], scratch, g)
            yield g


class _SynthId:
    """Tournament sampling: in each layer a token of g = 1 wins against one of g = 0."""

    def __init__(self, key: Key, sample: _Sample) -> None:
        self._sample, self._width = sample, required(key.ngram_len, "ngram_len", key) - 1
        self._variant: _Layers = (_TableLayers if key.scheme == "synthid_table" else _HashedLayers)(key)

    def mark(self, ids: Ids, begin: int, scores: Scores) -> Scores:
        tokens, log_p = self._sample.of(scores)
        said = np.append(ids[max(0, begin - self._width) :], 0)
        if said.size > self._width:
            hashes, new = self._variant.hashed(said)
            if new[-1]:
                log_p = self._played(tokens, np.full(tokens.size, hashes[-1]), log_p)
        return self._sample.spread(tokens, log_p, scores.size)

    def _played(self, tokens: Ids, contexts: NDArray[np.uint64], log_p: Floats) -> Floats:
        chances = np.exp(log_p)
        for g in self._variant.layers(tokens, contexts):
            winning = g * chances  # no product of BLAS, whose threads wait for each other on a busy machine
            chances = winning + max(0.0, 1 - winning.sum()) * chances
        with np.errstate(divide="ignore"):
            return np.log(chances)


_SAMPLERS: dict[str, Callable[[Key, _Sample], _Scheme]] = {
    "gumbel_philox": _Philox,
    "synthid_table": _SynthId,
    "synthid_iv": _SynthId,
}
