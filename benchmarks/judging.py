"""What the judge costs: the profile on top of measuring, and a judgement of ten thousand merged shards."""

from __future__ import annotations

import tempfile
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from benchmarks.rows import Row
from benchmarks.texts import sample
from collapse_guard.catalogue import load_policy
from collapse_guard.document import HUMAN_VERIFIED
from collapse_guard.judge import Corpus, Yardstick, judge_profile
from collapse_guard.measure import measure, policy_signals
from collapse_guard.metrics import Profile
from collapse_guard.policy import Judging
from collapse_guard.signals import compute
from collapse_guard.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME = "judging"
SHARDS = 10_000
DISTINCT = 200
DOCUMENTS = 20
"""Documents of one small shard."""
RUNS = 3
DOCUMENTS_MEASURED = 6_000


def run() -> list[Row]:
    texts = sample(DOCUMENTS_MEASURED)
    return [*_profile_cost(texts), *_merging(texts)]


def _profile_cost(texts: Sequence[str]) -> list[Row]:
    policy = load_policy("default")
    table = _table(texts)
    signals = _seconds(lambda: compute(table, policy_signals(policy)))
    profile = _seconds(lambda: Profile.of(table))
    whole = _seconds(lambda: measure(table["text"].to_pylist(), policy))
    size = sum(len(text.encode()) for text in texts) / 1e6
    note = f"{size:.0f} MB in {len(texts):,} documents, processor time"
    return [
        Row(NAME, "profile beside the default policy's signals", profile / signals, "share", high=0.25, note=note),
        Row(NAME, "profile beside all that measuring does", profile / whole, "share", note=note),
    ]


def _merging(texts: Sequence[str]) -> list[Row]:
    pages = [text[:1200] for text in texts if len(text) > 400]  # noqa: PLR2004 - a page, not a line
    random = np.random.default_rng(0)
    made = [
        Profile.of(_table([pages[at] for at in random.integers(0, len(pages), DOCUMENTS)], f"{n}-"))
        for n in range(DISTINCT)
    ]
    shards = [made[number % DISTINCT] for number in range(SHARDS)]
    merged: list[Profile] = []
    seconds = _seconds(lambda: merged.append(Profile.merged(shards)))
    half = len(pages) // 2
    judging = Judging(tokens=100_000, draws=200)
    yardstick = Yardstick.from_profiles(
        Profile.of(_table(pages[:half], "h-"), 10**9), Profile.of(_table(pages[half : half + 300], "e-")), judging
    )
    policy, store = load_policy("default"), open_store(tempfile.mkdtemp(prefix="judging-"))
    corpus = Corpus("x", merged[0], {HUMAN_VERIFIED: 1})
    first = _seconds(lambda: judge_profile(store, corpus, yardstick, policy), runs=1)
    again = _seconds(lambda: judge_profile(store, corpus, yardstick, policy))
    words = int(sum(len(shard.tokens.hashes) for shard in made) * SHARDS / DISTINCT)
    note = f"{SHARDS:,} profiles of {DOCUMENTS} documents, {words:,} words"
    return [
        Row(NAME, "merge the profiles of 10^4 shards", seconds, "s", note=note),
        Row(NAME, "judge them, baseline known", again, "s", note="100,000 words"),
        Row(NAME, "merge and judge 10^4 shard profiles", seconds + again, "s", high=2.0, note=note),
        Row(NAME, "first judgement, with 200 human-only draws", first, "s", note="once per state of the reservoir"),
    ]


def _table(texts: Sequence[str], prefix: str = "") -> pa.Table:
    ids = [f"{prefix}{number}" for number in range(len(texts))]
    return pa.table({"id": ids, "text": pa.array(texts, pa.large_string())})


def _seconds(work: Callable[[], object], runs: int = RUNS) -> float:
    """The shortest processor time of some runs, after one that warms up where there are several."""
    if runs > 1:
        work()
    found = []
    for _ in range(runs):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)
