"""The profile of a candidate, taken while its documents are written, and checked before they are released."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.errors import DamagedDataError
from collapse_guard.metrics.profile import CAPACITY, PROFILE, SEED, Profile
from collapse_guard.profiling import ROLE
from collapse_guard.selection import priorities
from collapse_guard.signals import detect_language
from collapse_guard.snapshot import read_shard, write_shard

if TYPE_CHECKING:
    from collapse_guard.snapshot import Shard, Snapshot
    from collapse_guard.store import Store

_ROW = PROFILE.field("row")
_LABELS = ["id", "text", "origin", "stratum", "source", "domain"]


class CandidateProfile:
    """Takes the profile of documents as they are written, whatever the order and the parts they come in.

    Args:
        capacity: Words to hold.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._profile = Profile(PROFILE.empty_table())

    def add(self, documents: pa.Table) -> None:
        """Add documents of a candidate; texts of those that are not sampled are not looked at."""
        sampled = _sampled(documents, self._profile.cut, self._capacity)
        self._profile = Profile.merged([self._profile, sampled], self._capacity)

    @property
    def profile(self) -> Profile:
        """The profile of all documents so far."""
        return self._profile

    def write(self, store: Store) -> tuple[Shard, dict[str, Any]]:
        """Write it; gives the shard and what the candidate's manifest says about it."""
        shard, cut = write_shard(store, self._profile.rows, ROLE), self._profile.cut
        return shard, {"profile": {"cut": None if cut is None else str(cut)}}


def _sampled(documents: pa.Table, cut: int | None, capacity: int) -> Profile:
    """The profile of the documents before a priority, each in the language that is detected in it."""
    documents = documents.select(_LABELS)
    if cut is not None:
        before = pc.less(pa.array(priorities(documents["id"], SEED)), pa.scalar(cut, pa.uint64()))
        documents = documents.filter(before)
    language = detect_language(documents["text"])["language"]
    profile = Profile.of(documents.append_column("language", language), capacity)
    # Where a document lay is no fact about the mix, whose bytes depend on no sharding.
    at = PROFILE.get_field_index("row")
    rows = profile.rows.set_column(at, _ROW, pa.nulls(profile.rows.num_rows, _ROW.type))
    return Profile(rows, profile.cut)


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
    said, found = read_profile(store, candidate), CandidateProfile()
    for shard in candidate.with_role("documents"):
        found.add(read_shard(store, shard, _LABELS))
    if found.profile.cut != said.cut or not found.profile.rows.equals(said.rows):
        raise DamagedDataError(
            f"{candidate.name}: the profile by which it is judged is not that of its documents; mix it again"
        )
