"""The metrics of a sample of 100,000 tokens, one by one; self-BLEU and Vendi beside nltk and vendi-score."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from benchmarks.children import one_core, run_json
from benchmarks.peers import environment
from benchmarks.rows import Row
from benchmarks.texts import OUT, short_texts
from collapse_guard.kernels.metric.counting import count_hashes
from collapse_guard.metrics import Tokens
from collapse_guard.metrics.homogeneity import TopTwo, self_bleu
from collapse_guard.metrics.repeats import cross_document_repeats
from collapse_guard.metrics.richness import chao1, missing_mass, rarefied
from collapse_guard.metrics.spread import (
    Moments,
    compression,
    entropy,
    log_det,
    projections,
    rke,
    simpson,
    trace_variance,
    unit_rows,
    vendi,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

NAME = "metrics"
PEERS = ("nltk==3.10.4", "vendi-score==0.0.3", "numpy>=2", "scipy<1.18")
TOKENS, CHARACTERS = 100_000, 900
DOCUMENTS, ALL, SAMPLED = 10_000, 200, 5
RUNS = 15


def run() -> list[Row]:
    """Time every function on one sample, then those that have a peer beside it."""
    with one_core():
        return [*_functions(), *_beside_peers()]


def _tokens(documents: int) -> Tokens:
    column = pa.chunked_array([pa.array(short_texts(documents, CHARACTERS), pa.large_string())])
    return Tokens.of([column], sum(map(len, short_texts(documents, CHARACTERS))))


def _functions() -> list[Row]:
    tokens = _tokens(1_000).first(TOKENS)
    (words, _), (bigrams, within), (trigrams, third) = tokens.grams()
    grams = [words, bigrams[within], trigrams[third]]
    counts = [count_hashes(hashes)[1] for hashes in grams]
    features = projections(tokens)
    centre = features.mean(axis=0)
    moments, centred = Moments.of(features), Moments.of(unit_rows(features, centre))
    work: dict[str, Callable[[], object]] = {
        "self_bleu": lambda: self_bleu(tokens),
        "cross_document_repeats": lambda: cross_document_repeats(tokens),
        "projections": lambda: projections(tokens),
        "Moments.of, and of unit_rows": lambda: (Moments.of(features), Moments.of(unit_rows(features, centre))),
        "trace_variance, log_det": lambda: (trace_variance(moments), log_det(moments)),
        "vendi, rke": lambda: (vendi(centred), rke(centred)),
        "entropy of words and bigrams, simpson": lambda: (*map(entropy, counts[:2]), simpson(counts[0])),
        "compression": lambda: compression(tokens),
        "rarefied, words to trigrams": lambda: [rarefied(each, int(each.sum()) // 2) for each in counts],
        "missing_mass, chao1": lambda: (missing_mass(counts[1]), chao1(counts[1])),
    }
    note = f"{len(tokens.hashes):,} tokens in {len(tokens.offsets) - 1} documents"
    times = {name: _milliseconds(each) for name, each in work.items()}
    rows = [Row(NAME, name, value, "ms", note=note) for name, value in times.items()]
    return [*rows, Row(NAME, "all of these", sum(times.values()), "ms", high=30, note=note), *_counting(grams)]


def _counting(grams: list[NDArray[np.uint64]]) -> list[Row]:
    return [
        Row(
            NAME,
            f"count_hashes of {name}",
            _milliseconds(lambda hashes=hashes: count_hashes(hashes)),
            "ms",
            peer=_milliseconds(lambda hashes=hashes: np.unique(hashes, return_counts=True)),
            note="peer: numpy's unique",
        )
        for name, hashes in zip(("words", "bigrams", "trigrams"), grams, strict=True)
    ]


def _milliseconds(work: Callable[[], object]) -> float:
    """The fastest of some runs, after one that compiles: what else the machine does only makes a run slower."""
    work()
    return 1_000 * min(_seconds(work) for _ in range(RUNS))


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _beside_peers() -> list[Row]:
    python, trouble = environment("peers-metrics", PEERS)
    if trouble:
        print(f"{NAME}: {trouble}")
        return []
    tokens = _tokens(DOCUMENTS)
    sampled = np.arange(0, DOCUMENTS, DOCUMENTS // SAMPLED)
    features = projections(tokens)[:2_000]
    rows = unit_rows(features, features.mean(axis=0))
    path = OUT / "metrics.npz"
    given = {"all": ALL, "sampled": sampled, "features": rows}
    np.savez(path, offsets=tokens.offsets, hashes=tokens.hashes, **given)
    said = run_json([str(python), str(Path(__file__).with_name("peer_metrics.py")), str(path)])
    return [*_bleu(tokens, sampled, said), *_vendi(rows, said)]


def _bleu(tokens: Tokens, sampled: NDArray[np.int64], said: dict[str, Any]) -> list[Row]:
    ours = _milliseconds(lambda: self_bleu(tokens))
    peer = 1_000 * said["sampled"]["seconds"] * DOCUMENTS / SAMPLED
    errors = np.abs(TopTwo.of(tokens).scores(tokens)[sampled] - said["sampled"]["value"])
    note = f"{DOCUMENTS:,} documents, {len(tokens.hashes):,} tokens; nltk: {SAMPLED} hypotheses, scaled up"
    few = tokens.first(int(tokens.offsets[ALL]))
    mean = math.fsum(said["all"]["value"]) / ALL
    return [
        Row(NAME, "self_bleu", ours, "ms", peer=peer, note=note),
        Row(NAME, "self_bleu: nltk's time divided by ours", peer / ours, "times", low=1_000, note=note),
        Row(NAME, "BLEU: largest difference from nltk", float(errors.max()), "", high=1e-12, note=note),
        Row(
            NAME,
            f"self_bleu of {ALL}",
            _milliseconds(lambda: self_bleu(few)),
            "ms",
            peer=1_000 * said["all"]["seconds"],
        ),
        Row(NAME, f"self_bleu of {ALL}: difference from nltk", abs((self_bleu(few) or 0) - mean), "", high=1e-12),
    ]


def _vendi(rows: NDArray[np.float64], said: dict[str, Any]) -> list[Row]:
    moments = Moments.of(rows)
    ours, note = _milliseconds(lambda: vendi(Moments.of(rows))), f"{len(rows):,} documents, {rows.shape[1]} dimensions"
    found = vendi(moments) or 0.0
    pairs, dual = said["vendi_pairs"], said["vendi_dual"]
    return [
        Row(NAME, "vendi: relative difference, pairs", abs(found / pairs["value"] - 1), "", high=1e-6, note=note),
        Row(NAME, "vendi: relative difference, dual", abs(found / dual["value"] - 1), "", high=1e-6, note=note),
        Row(NAME, "vendi", ours, "ms", peer=1_000 * pairs["seconds"], note=f"{note}; peer: all pairs"),
        Row(NAME, "vendi", ours, "ms", peer=1_000 * dual["seconds"], note=f"{note}; peer: dual"),
    ]
