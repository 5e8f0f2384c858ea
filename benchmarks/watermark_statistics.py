"""What watermark p-values are worth: errors on human text, false discoveries, intervals of prevalence, spans.

Human text is tokenised with a vocabulary that is trained on other parts of it, split into halves by source: one half
calibrates, the other is tested.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.rows import Row
from benchmarks.texts import OUT, PROSE
from collapse_guard.canonical import sha256_hex
from collapse_guard.kernels.watermark.contexts import UNSCORED
from collapse_guard.provenance.watermark.calibration import CommonNgrams, Null, decoy_z, decoys
from collapse_guard.provenance.watermark.discovery import Histogram, q_values
from collapse_guard.provenance.watermark.keys import Key, complete
from collapse_guard.provenance.watermark.prevalence import Tally, share_of_documents, share_of_tokens
from collapse_guard.provenance.watermark.schemes import Scorer
from collapse_guard.provenance.watermark.spans import locate
from collapse_guard.provenance.watermark.statistics import (
    binomial_log_sf,
    effect_of,
    sidak,
)
from collapse_guard.provenance.watermark.tokenizing import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NAME = "watermark statistics"
VOCABULARY = 32_000
FEWEST, MOST = 100, 2_000
"""Tokens of a document: shorter ones are not tested, longer ones are cut."""
SCORED = 50
"""Fewest scored tokens of a tested document."""
NOMINAL = 0.01
KEYS = {
    "kgw_simple_1": complete({"id": "kgw_simple_1", "scheme": "kgw_simple_1", "key": 1, "vocab_size": VOCABULARY}),
    "unigram": complete({"id": "unigram", "scheme": "unigram", "key": 1, "vocab_size": VOCABULARY}),
    "gumbel_philox": complete({"id": "gumbel_philox", "scheme": "gumbel_philox", "key": 1}),
    "synthid_table": complete({"id": "synthid_table", "scheme": "synthid_table", "keys": [*range(1, 31)]}),
}
WIDTHS = {"kgw_simple_1": 2, "unigram": 1, "gumbel_philox": 5, "synthid_table": 5}
"""Ids of an n-gram: context and token."""


class Effort(NamedTuple):
    """How much is measured."""

    documents: int
    keys: int
    corpora: int
    corpus: int
    intervals: int
    passages: int


FULL = Effort(documents=4_000, keys=50, corpora=100, corpus=100_000, intervals=200, passages=500)
SHORT = Effort(documents=800, keys=10, corpora=10, corpus=20_000, intervals=50, passages=100)


def run() -> list[Row]:
    """Measure everything."""
    return _run(FULL)


def run_short() -> list[Row]:
    """Measure everything on less."""
    return _run(SHORT)


def _run(effort: Effort) -> list[Row]:
    return [*_on_human_text(effort), *_discoveries(effort), *_coverage(effort), *_spans(effort)]


class Human(NamedTuple):
    """Token ids of human documents."""

    ids: Ints
    offsets: Ints
    calibrating: NDArray[np.bool_]


def _on_human_text(effort: Effort) -> Iterator[Row]:
    if not PROSE.exists() or importlib.util.find_spec("tokenizers") is None:
        print("human text is not here, or the package tokenizers: errors on it are not measured", file=sys.stderr)
        return
    human = _human(effort.documents)
    for scheme, key in KEYS.items():
        yield from _errors(human, scheme, decoys(key, effort.keys, seed=1))


def _human(documents: int) -> Human:
    """Tokenise documents of all domains, of some sources for calibration and of the others for the test."""
    shards = sorted(PROSE.glob("part-*.parquet"))
    path = OUT / f"bpe-{VOCABULARY}.json"
    if not path.exists():
        _train(pq.read_table(shards[0], columns=["text"])["text"].to_pylist()[::2], str(path))
    table = pa.concat_tables(pq.read_table(shard, columns=["text", "source"]) for shard in shards[1:])
    table = table.take(np.random.default_rng(0).permutation(table.num_rows)[: 3 * documents])
    texts = pa.array([text[: 6 * MOST] for text in table["text"].to_pylist()], pa.large_string())
    flat, offsets, *_ = load_tokenizer(path, sha256_hex(path.read_bytes())).encode(texts)
    long = np.flatnonzero(np.diff(offsets) >= FEWEST)[:documents]
    parts = [flat[offsets[n] : min(offsets[n + 1], offsets[n] + MOST)] for n in long]
    sources = np.asarray(table["source"].to_pylist())[long]
    names = np.random.default_rng(0).permutation(np.unique(sources))
    bounds = np.concatenate([[0], np.cumsum([part.size for part in parts])])
    return Human(np.concatenate(parts), bounds, np.isin(sources, names[::2]))


def _train(texts: list[str], path: str) -> None:
    import tokenizers  # noqa: PLC0415 - an extra

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts, trainer)
    made.save(path)


class Tested(NamedTuple):
    """K keys on n documents."""

    totals: Floats
    counts: Ints
    log_p: Floats


def _errors(human: Human, scheme: str, keys: list[Key]) -> Iterator[Row]:
    half = np.flatnonzero(human.calibrating)
    parts = [human.ids[human.offsets[n] : human.offsets[n + 1]] for n in half]
    offsets = np.concatenate([[0], np.cumsum([part.size for part in parts])])
    common = CommonNgrams.of(np.concatenate(parts), offsets, WIDTHS[scheme])
    places = common.places(human.ids, human.offsets)
    bare, without = _score(human, keys, places)
    calibrated = _calibrated(without, human, keys)
    recommended = calibrated if scheme == "unigram" else without
    ways = {
        "exact p": bare,
        "common n-grams left out": without,
        "and the key's own rate": calibrated,
        "beside decoys": _beside_decoys(bare),
    }
    for name, tested in ways.items():
        yield from _rates(f"{scheme}, {name}", tested, human, asked=tested is recommended)
    yield Row(NAME, f"{scheme}: tokens left out", 100 * float(places.mean()), "%", note=f"{len(common)} n-grams")
    found = _found(recommended.log_p[:20][:, ~human.calibrating], NOMINAL)
    note = f"{min(20, len(keys))} keys, {found.size} documents"
    yield Row(NAME, f"{scheme}: human documents found at q = {NOMINAL}", int(found.sum()), "", high=0, note=note)


def _score(human: Human, keys: list[Key], common: NDArray[np.bool_]) -> tuple[Tested, Tested]:
    """Test every key on every document, with common n-grams and without."""
    rows: tuple[list[Tested], list[Tested]] = ([], [])
    for key in keys:
        scorer = Scorer(key)
        values = scorer.score(human.ids, human.offsets).values
        numbers = values.astype(np.float64)
        numbers[~(values < UNSCORED)] = np.nan
        for row, left_out in zip(rows, (np.zeros_like(common), common), strict=True):
            scored = ~np.isnan(numbers) & ~left_out
            totals = np.add.reduceat(np.where(scored, numbers, 0.0), human.offsets[:-1])
            counts = np.add.reduceat(scored.astype(np.int64), human.offsets[:-1])
            row.append(Tested(totals, counts, scorer.log_p(totals, counts)))
    bare, without = (Tested(*(np.stack(column) for column in zip(*row, strict=True))) for row in rows)
    return bare, without


def _calibrated(tested: Tested, human: Human, keys: list[Key]) -> Tested:
    rows = []
    for key, totals, counts in zip(keys, tested.totals, tested.counts, strict=True):
        effect, enough = effect_of(key), human.calibrating & (counts >= SCORED)
        null = Null.of(totals[enough], counts[enough])
        adjusted, worth = null.adjust(totals, counts, effect.null_mean, effect.null_sd**2)
        rows.append(Scorer(key, memory=0).log_p(adjusted, worth))
    return tested._replace(log_p=np.stack(rows))


def _beside_decoys(tested: Tested) -> Tested:
    """Each key beside all others; p by the normal distribution."""
    others = [np.delete(tested.totals, k, axis=0) for k in range(len(tested.totals))]
    z = np.stack([decoy_z(real, rest) for real, rest in zip(tested.totals, others, strict=True)])
    with np.errstate(divide="ignore"):
        p = np.log(0.5 * np.vectorize(math.erfc)(np.nan_to_num(z) / math.sqrt(2)))
    return tested._replace(log_p=p)


def _rates(name: str, tested: Tested, human: Human, *, asked: bool) -> Iterator[Row]:
    enough = (tested.counts >= SCORED) & ~human.calibrating
    found = enough & (tested.log_p <= math.log(NOMINAL))
    worst = float((found.sum(axis=1) / enough.sum(axis=1)).max())
    pooled, note = found.sum() / enough.sum(), f"{len(found)} keys, {int(enough[0].sum())} documents"
    low, high, most = (0.5, 1.5, 3.0) if asked else (None, None, None)
    yield Row(NAME, f"{name}: false positives at 1 %", 100 * float(pooled), "%", low=low, high=high, note=note)
    yield Row(NAME, f"{name}: worst key", 100 * worst, "%", high=most)


def _found(log_p: Floats, q: float) -> NDArray[np.bool_]:
    """Discoveries among n documents under K keys: Šidák over keys, Benjamini-Hochberg over documents."""
    one = sidak(log_p.min(axis=0), len(log_p))
    return q_values(one, Histogram.of(one)) <= q


def _discoveries(effort: Effort) -> Iterator[Row]:
    """Draw corpora of green counts, the null exact, and look for marks under 20 keys."""
    random = np.random.default_rng(2)
    lengths = np.unique(np.clip(random.lognormal(6, 0.7, 60), FEWEST, 4_000).astype(np.int64))
    tables = [binomial_log_sf(np.arange(n + 1), n, 0.25) for n in lengths]
    quiet = [
        not _found(_drawn(random, lengths, tables, np.zeros(effort.corpus)), NOMINAL).any()
        for _ in range(effort.corpora)
    ]
    note = f"{effort.corpora} corpora of {effort.corpus} documents, 20 keys"
    yield Row(
        NAME, "human corpora without a discovery at q = 0.01", 100 * float(np.mean(quiet)), "%", low=95, note=note
    )
    for name, rate in (("weak", 0.40), ("strong", 0.50)):
        false, power, repeated = [], [], max(effort.corpora // 5, 2)
        note = f"{repeated} corpora of {effort.corpus} documents, 20 keys"
        for _ in range(repeated):
            marked = random.random(effort.corpus) < 0.01  # noqa: PLR2004 - the prevalence
            found = _found(_drawn(random, lengths, tables, np.where(marked, rate, 0.0)), NOMINAL)
            false.append((found & ~marked).sum() / max(found.sum(), 1))
            power.append((found & marked).sum() / marked.sum())
        yield Row(NAME, f"1 % of {name} marks: false discoveries", 100 * float(np.mean(false)), "%", high=2, note=note)
        yield Row(
            NAME, f"1 % of {name} marks: found", 100 * float(np.mean(power)), "%", note=f"green {rate}, gamma 0.25"
        )


def _drawn(random: np.random.Generator, lengths: Ints, tables: list[Floats], rates: Floats) -> Floats:
    """Draw ln p of 20 keys; a rate above 0 is that of green tokens under the first key."""
    log_p = np.empty((20, rates.size))
    of = random.integers(0, lengths.size, rates.size)
    for n, length in enumerate(lengths.tolist()):
        here = np.flatnonzero(of == n)
        green = random.binomial(length, 0.25, (20, here.size))
        marked = rates[here] > 0
        green[0, marked] = random.binomial(length, rates[here][marked])
        log_p[:, here] = tables[n][green]
    return log_p


def _coverage(effort: Effort) -> Iterator[Row]:
    """How often the intervals of prevalence hold the truth, in the worst of several groups."""
    random, effect = np.random.default_rng(3), effect_of(KEYS["kgw_simple_1"])
    covered = {}
    for documents in (50, 500, 5_000):
        for truth in (0.0, 0.0005, 0.01, 0.1, 0.5):
            held = [_held(random, documents, truth) for _ in range(effort.intervals)]
            covered[documents, truth] = np.mean(held, axis=0)
    for n, name in enumerate(("documents", "tokens")):
        group = min(covered, key=lambda each: covered[each][n])
        note = f"worst of {len(covered)}: {group[0]} documents, truth {group[1]}; {effort.intervals} draws each"
        mean = 100 * float(np.mean([each[n] for each in covered.values()]))
        yield Row(
            NAME,
            f"intervals of marked {name} that hold the truth",
            100 * float(covered[group][n]),
            "%",
            low=90,
            note=note,
        )
        yield Row(NAME, f"intervals of marked {name}, all groups", mean, "%", low=90, note=f"null {effect.null_mean}")


def _held(random: np.random.Generator, documents: int, truth: float) -> tuple[bool, bool]:
    effect = effect_of(KEYS["kgw_simple_1"])
    counts = np.clip(random.lognormal(6, 0.6, documents), FEWEST, 5_000).astype(np.int64)
    rates = np.where(random.random(documents) < truth, effect.marked_mean, effect.null_mean)
    totals = random.binomial(counts, rates)
    group = Tally.of(totals, counts, binomial_log_sf(totals, counts, effect.null_mean), effect)
    shares = share_of_documents(group), share_of_tokens(group, effect)
    return shares[0].low <= truth <= shares[0].high, shares[1].low <= truth <= shares[1].high


def _spans(effort: Effort) -> Iterator[Row]:
    """Find 200 marked tokens among 2,000 human ones, and nothing in 2,200 human ones."""
    random = np.random.default_rng(4)
    for name in ("kgw_simple_1", "gumbel_philox", "synthid_table"):
        overlaps, false = [], 0
        for _ in range(effort.passages):
            values, start = _values(random, name, 2_200, marked=False), int(random.integers(0, 2_000))
            false += bool(locate(values, KEYS[name]))
            values[start : start + 200] = _values(random, name, 200, marked=True)
            found = locate(values, KEYS[name])
            overlaps.append(max((_overlap(span.start, span.stop, start) for span in found), default=0.0))
        note = f"{effort.passages} passages"
        yield Row(
            NAME, f"{name}: mean overlap of a passage of 200 in 2,200", float(np.mean(overlaps)), "", low=0.7, note=note
        )
        share = 100 * float(np.mean(np.array(overlaps) >= 0.7))  # noqa: PLR2004 - what is asked
        yield Row(NAME, f"{name}: passages with an overlap of 0.7", share, "%", low=90)
        yield Row(NAME, f"{name}: unmarked texts with a span", 100 * false / effort.passages, "%", high=1)


def _overlap(start: int, stop: int, truth: int) -> float:
    both = max(0, min(stop, truth + 200) - max(start, truth))
    return both / (stop - start + 200 - both)


def _values(random: np.random.Generator, name: str, count: int, *, marked: bool) -> NDArray[np.generic]:
    if name == "kgw_simple_1":
        return (random.random(count) < (0.5 if marked else 0.25)).astype(np.uint8)
    if name == "synthid_table":
        return random.binomial(30, 0.55 if marked else 0.5, count).astype(np.uint8)
    drawn = random.exponential(size=count)
    chosen = -np.log1p(-random.beta(4, 1, count))  # a token of probability 1/4
    return np.where(random.random(count) < 0.5, chosen, drawn) if marked else drawn  # noqa: PLR2004 - half of them
