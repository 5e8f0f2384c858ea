"""The profile of a candidate, put together from those of its sources' shards: no text is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import DamagedDataError
from collapse_guard.metrics.profile import PROFILE, SEED, Profile, with_labels
from collapse_guard.profiling import ROLE
from collapse_guard.selection import priorities
from collapse_guard.snapshot import read_shard, write_shard

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from collapse_guard.mix.offers import Source
    from collapse_guard.snapshot import Shard, Snapshot
    from collapse_guard.store import Store

_ROW = PROFILE.field("row")


class CandidateProfile:
    """Puts the profile of a candidate together from those of its sources' shards.

    Args:
        store: Holds them; receives the candidate's.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._profile = Profile(PROFILE.empty_table())

    def add(self, source: Source, offers: pa.Table, taken: NDArray[np.bool_]) -> None:
        """Add the documents that are taken from one shard.

        Args:
            source: The shard.
            offers: What it offers, with the `row` and the `origin` of each document.
            taken: Which of these are in the mix.
        """
        if source.profile is None:
            return
        profile = Profile(read_shard(self._store, source.profile), source.cut)
        mixed = offers.filter(pa.array(taken))
        places = pc.index_in(profile.rows["row"], mixed["row"])
        rows = profile.rows.filter(pc.is_valid(places))
        # Where a document lay in its shard is no fact about the mix, whose bytes depend on no sharding.
        rows = rows.set_column(rows.schema.get_field_index("row"), _ROW, pa.nulls(rows.num_rows, _ROW.type))
        labels = pa.table(
            {
                "origin": mixed["origin"].take(places.drop_null()),
                "stratum": pa.repeat(pa.scalar(source.stratum), rows.num_rows),
            }
        )
        self._profile = Profile.merged([self._profile, Profile(with_labels(rows, labels), profile.cut)])

    def close(self) -> tuple[Shard, dict[str, Any]]:
        """Write it; gives the shard and what the candidate's manifest says about it."""
        shard, cut = write_shard(self._store, self._profile.rows, ROLE), self._profile.cut
        return shard, {"profile": {"cut": None if cut is None else str(cut)}}


def read_profile(store: Store, candidate: Snapshot) -> Profile:
    """Read the profile of a candidate.

    Args:
        store: Holds it.
        candidate: What was mixed.

    Returns:
        The profile.

    Raises:
        DamagedDataError: The candidate has none.
    """
    shards = candidate.with_role(ROLE)
    if not shards:
        raise DamagedDataError(f"{candidate.name}: the candidate has no profile, so it cannot be judged; mix it again")
    cut = candidate.details["profile"]["cut"]
    return Profile(read_shard(store, shards[0]), None if cut is None else int(cut))


def check_profile(store: Store, candidate: Snapshot) -> None:
    """Make sure that the profile by which a candidate is judged is that of its documents.

    Args:
        store: Holds both.
        candidate: What was mixed.

    Raises:
        DamagedDataError: The profile is another than the documents give.
    """
    said = read_profile(store, candidate)
    shards = candidate.with_role("documents")
    found = Profile.merged(_profiled(store, shard, said.cut) for shard in shards)
    if not found.rows.select(_PROVEN).equals(said.rows.select(_PROVEN)):
        raise DamagedDataError(
            f"{candidate.name}: the profile by which it is judged is not that of its documents; mix it again"
        )


_PROVEN = ["id", "priority", "words", "bytes", "passage", "origin", "stratum", "source", "domain"]


def _profiled(store: Store, shard: Shard, cut: int | None) -> Profile:
    documents = read_shard(store, shard, ["id", "text", "origin", "stratum", "source", "domain"])
    if cut is not None:
        sampled = pc.less(pa.array(priorities(documents["id"], SEED)), pa.scalar(cut, pa.uint64()))
        documents = documents.filter(sampled)
    return Profile.of(documents)
