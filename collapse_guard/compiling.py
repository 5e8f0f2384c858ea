"""Compile every kernel once for this machine, so that no later process waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from collapse_guard import signals, transforms
from collapse_guard.dedup import Clusters, index_of, signed
from collapse_guard.document import text_digests
from collapse_guard.kernels.overlap import overlap_table, overlaps
from collapse_guard.kernels.quotation.shares import Holders, Slice, count_grams
from collapse_guard.kernels.selection.blake2b import digests
from collapse_guard.kernels.selection.race import waiting_times
from collapse_guard.kernels.tokens import count_tokens, token_hashes
from collapse_guard.metrics import Profile, Reference, Sample, compute
from collapse_guard.metrics.profile import PASSAGE
from collapse_guard.policy import Near
from collapse_guard.provenance.classifier import Settings, train
from collapse_guard.provenance.residue import find_residue
from collapse_guard.provenance.watermark.keys import SCHEMES, complete
from collapse_guard.provenance.watermark.schemes import Scorer
from collapse_guard.provenance.watermark.spans import locate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT = (
    "Two lines of text, one of them (see https://example.org) with marks...\n\nAnd more words, which aren't many. " * 3
)


def steps() -> Iterator[tuple[str, Callable[[], object]]]:
    """Name the work that makes the kernels of each part compile; each part is independent of the others.

    Yields:
        What is compiled, and a call that compiles it and returns when it is done.
    """
    texts = pa.chunked_array([pa.array([TEXT, TEXT + "More.", "é"], pa.large_string())])
    wanted = [found for found in signals.describe() if signals.REQUIRED not in found.parameters.values()]
    yield "tokens", lambda: (count_tokens(texts), token_hashes(texts))
    yield "signals", lambda: signals.compute(texts, [signals.resolve(found.kind) for found in wanted])
    yield "languages", lambda: signals.detect_language(texts)
    yield "duplicates", lambda: _find_copies(texts)
    yield "selection", lambda: waiting_times(digests(texts.chunk(0), b"", b""), np.ones(len(texts)))
    yield "evaluation sets", lambda: overlaps(texts, overlap_table(texts, 13))
    yield (
        "transforms",
        lambda: [transforms.resolve(found.kind).apply(texts.chunk(0)) for found in transforms.describe()],
    )
    yield "watermarks", _test_every_scheme
    yield "residue", lambda: find_residue(texts)
    yield "quotations", lambda: _count_quotations(texts)
    yield "metrics", _compute_every_metric
    yield "classifier", _train_once


def _test_every_scheme() -> None:
    """Score a few tokens under each scheme, and look for the passages."""
    ids, offsets = np.arange(400) % 97, np.array([0, 200, 400])
    for name, scheme in SCHEMES.items():
        secret = {"keys": (3, 5, 7)} if "keys" in scheme.fields else {"key": 11}
        sizes = {"vocab_size": 1000} if "vocab_size" in scheme.fields else {}
        key = complete({"scheme": name, **secret, **sizes})
        scorer = Scorer(key)
        for _ in range(8):  # rows of green lists are built for ids that come often
            scores = scorer.score(ids, offsets)
        locate(scores.values[:200], key)


def _count_quotations(texts: pa.ChunkedArray) -> None:
    cut = Slice(3, 0, 1)
    holders = Holders(count_grams(texts, cut), cut)
    holders.enter(texts)
    holders.add(texts)
    holders.counts(texts, np.ones(len(texts), np.int64))


def _compute_every_metric() -> None:
    """Profile a few documents, and compare them with themselves."""
    rows = {"id": [str(row) for row in range(300)], "text": [f"{TEXT} {row} {row * row}" for row in range(300)]}
    sample = Sample.of(Profile.of(pa.table(rows)), 10**6, PASSAGE)
    compute(sample, Reference(sample, sample, sample))


def _train_once() -> None:
    texts = [f"{TEXT} Number {number}, and {number * number} more of them. " * 2 for number in range(120)]
    table = pa.table({"id": [str(n) for n in range(120)], "text": texts, "domain": [f"d{n % 6}" for n in range(120)]})
    settings = Settings(bits=12, costs=(1.0,), folds=2)
    train(table.slice(0, 60), table.slice(60), settings).score(table["text"])


def _find_copies(texts: pa.ChunkedArray) -> pa.Table:
    ids = pa.array([str(row) for row in range(len(texts))])
    captured = pa.nulls(len(texts), pa.timestamp("us", tz="UTC"))
    facts = {"id": ids, "text_sha256": text_digests(texts), "captured_at": captured, **signed(texts, Near())}
    table = index_of(pa.table(facts), rank=0)
    return Clusters(lambda: [table], rows=len(texts), near=Near()).in_shard(0, len(texts))
