"""What a corpus was made of, generation by generation, and how its word frequencies fall beside human text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from collapse_guard.judge import Yardstick
from collapse_guard.metrics import Sample
from collapse_guard.mix.profiled import read_profile
from collapse_guard.snapshot import latest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.metrics import Profile
    from collapse_guard.policy import Policy
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

RANKS = 120
"""Points of a curve, equally far apart on a logarithmic scale."""


class Frequencies(NamedTuple):
    """How often words occur by their rank; rank 1 is the most frequent word.

    `ranks` and `shares` (of all words of the sample) have the same length; the last rank is the number of words.
    """

    ranks: NDArray[np.int64]
    shares: NDArray[np.float64]


def rank_frequency(profile: Profile, yardstick: Yardstick) -> dict[str, Frequencies]:
    """Rank the words of a corpus and of human text at the same budget.

    Args:
        profile: Of the corpus.
        yardstick: Human text.

    Returns:
        Two curves, `corpus` and `reservoir`; none where there is nothing to compare.

    Source:
        Zipf 1949; a corpus that loses its tail has a curve that falls early and ends at a lower rank.
    """
    match = yardstick.match(profile)
    sides = {"corpus": profile, "reservoir": yardstick.pool}
    samples = {name: Sample.of(side, match.budget, match.length) for name, side in sides.items()}
    if not all(sample.words for sample in samples.values()):
        return {}
    return {name: _ranked(sample) for name, sample in samples.items()}


def _ranked(sample: Sample) -> Frequencies:
    counts = np.sort(sample.grams[0].counts)[::-1]
    ranks = np.unique(np.geomspace(1, len(counts), RANKS).round().astype(np.int64))
    return Frequencies(ranks, counts[ranks - 1] / sample.words)


def candidate_frequencies(
    store: Store, candidate: Snapshot, reservoir: Reservoir, policy: Policy
) -> dict[str, Frequencies]:
    """Rank the words of a candidate and of the state of the reservoir that it was mixed from.

    Args:
        store: Holds the candidate and its profile.
        candidate: What was mixed.
        reservoir: The reservoir that it was mixed from, or a later state.
        policy: The policy that it was mixed under.

    Returns:
        As `rank_frequency`.
    """
    yardstick = Yardstick.of(store, reservoir.at(candidate.parents[0]), policy.judging)
    return rank_frequency(read_profile(store, candidate), yardstick)


def origins(store: Store, corpus: str) -> list[dict[str, Any]]:
    """The tokens of each dump's newest candidate by origin, as its manifest says, oldest dump first.

    Args:
        store: Holds the candidates.
        corpus: Their corpus.

    Returns:
        For each dump: `dump`, and `tokens` by origin.
    """
    prefix = f"snapshots/{corpus}/candidate/"
    dumps = sorted({key.removeprefix(prefix).partition("/")[0] for key in store.list(prefix)})
    newest = [(dump, latest(store, f"{corpus}/candidate/{dump}")) for dump in dumps]
    return [{"dump": dump, "tokens": found.details["tokens_by_origin"]} for dump, found in newest if found]
