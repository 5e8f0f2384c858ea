"""Profiles of documents and of a reservoir as snapshots: a shard of profile for each shard of documents."""

from __future__ import annotations

from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from collapse_guard.engine import LocalEngine
from collapse_guard.metrics.counts import Counts, Tokens
from collapse_guard.metrics.profile import CAPACITY, PASSAGE, Profile
from collapse_guard.reservoir import EVALUATION, HUMAN
from collapse_guard.signals import detect_language
from collapse_guard.snapshot import (
    Ledger,
    Snapshot,
    find_run,
    publish,
    read_shard,
    run_key,
    write_shard,
)
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collapse_guard.engine import Engine
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Parent, Shard
    from collapse_guard.store import Store

ROLE, TYPES = "profile", "types"
LOG = "reservoir_profile"
SCHEMA = "profile@1"
RESERVOIR_CAPACITY = 4 * CAPACITY
"""Words of each shard of the reservoir: draws are better the more there is to draw from."""

Profiled = tuple["Shard", "int | None"]
"""A shard of profile, and the priority from which on it may lack documents."""


def profile_shard(
    store: Store, documents: pa.Table, language: pa.ChunkedArray, role: str = ROLE, capacity: int = CAPACITY
) -> Profiled:
    """Profile the documents of one shard, and write that.

    Args:
        store: Receives the profile.
        documents: With the columns of a document.
        language: What each is written in, as was detected; what the input says is a claim.
        role: Of the new shard.
        capacity: Words to hold.

    Returns:
        The shard, and where it was cut.
    """
    labels = [name for name in ("id", "text", "source", "domain", "licence") if name in documents.column_names]
    profile = Profile.of(documents.select(labels).append_column("language", language), capacity)
    return write_shard(store, profile.rows, role), profile.cut


def find_profile(store: Store, documents: Snapshot) -> Snapshot | None:
    """Find the profile of a snapshot of documents, if it was taken."""
    return find_run(store, documents.sibling(ROLE), _key((documents.as_parent(),), CAPACITY))


def publish_profile(store: Store, documents: Snapshot, profiled: Sequence[Profiled]) -> Snapshot:
    """Publish the profile of a snapshot of documents, which was taken shard by shard."""
    parents = (documents.as_parent(),)
    return _publish(store, documents.sibling(ROLE), parents, profiled, CAPACITY)


def profile_documents(store: Store, documents: Snapshot, engine: Engine | None = None) -> Snapshot:
    """Profile a snapshot of documents, once; measuring it does the same on the way.

    Args:
        store: Holds the documents; receives the profile.
        documents: What to profile.
        engine: Where to run; threads on this machine by default.

    Returns:
        The snapshot, new or found.
    """
    known = find_profile(store, documents)
    if known is not None:
        return known
    work = partial(_profile_text, store, store, ROLE, CAPACITY)
    done = list((engine or LocalEngine()).map(work, documents.with_role("documents")))
    return publish_profile(store, documents, done)


def profile_reservoir(store: Store, reservoir: Reservoir) -> Snapshot:
    """Profile both splits of a reservoir's state, once.

    Args:
        store: Receives the profile.
        reservoir: The state.

    Returns:
        A snapshot with a shard for each shard of documents, in the same order, with the role of their split; and one
        with the role `types`: how often each word occurs in all documents that may be mixed.
    """
    parents = (reservoir.snapshot.as_parent(),)
    known = find_run(store, LOG, _key(parents, RESERVOIR_CAPACITY))
    if known is not None:
        return known
    done: list[Profiled] = []
    for split in (HUMAN, EVALUATION):
        work = partial(_profile_text, store, reservoir.store, split, RESERVOIR_CAPACITY)
        done += LocalEngine().map(work, [text for text, _ in reservoir.shards(split)])
    done.append((write_shard(store, _count_types(reservoir), TYPES), None))
    return _publish(store, LOG, parents, done, RESERVOIR_CAPACITY)


def read_types(store: Store, profile: Snapshot) -> Counts:
    """How often each word occurs in the reservoir that was profiled, in all of its text that may be mixed."""
    table = read_shard(store, profile.with_role(TYPES)[0])
    return Counts(table["hash"].to_numpy(), table["count"].to_numpy())


def profile_first(store: Store, reservoir: Reservoir) -> Snapshot:
    """Profile the first state of a reservoir that held text to mix: what has been lost since is lost."""
    first = next((state for state in reservoir.states() if state.details["tokens"][HUMAN]), reservoir.snapshot)
    return profile_reservoir(store, reservoir.at(first.as_parent()))


def profile_shards(snapshot: Snapshot, role: str = ROLE) -> list[Profiled]:
    """The shards of a profile, or of one split of a reservoir's, each with where it was cut."""
    cuts = (None if cut is None else int(cut) for cut in snapshot.details["cuts"])
    return [(shard, cut) for shard, cut in zip(snapshot.shards, cuts, strict=True) if shard.role == role]


def read_profiles(store: Store, snapshot: Snapshot, role: str = ROLE) -> Iterator[Profile]:
    """Read a profile, or one split of a reservoir's, shard by shard."""
    return (Profile(read_shard(store, shard), cut) for shard, cut in profile_shards(snapshot, role))


def _count_types(reservoir: Reservoir) -> pa.Table:
    counted = LocalEngine().map(partial(_count_words, reservoir), [text for text, _ in reservoir.shards(HUMAN)])
    counts = reduce(Counts.merged, counted, Counts.of(np.empty(0, np.uint64)))
    return pa.table({"hash": counts.hashes, "count": counts.counts})


def _count_words(reservoir: Reservoir, text: Shard) -> Counts:
    return Counts.of(Tokens.of([read_shard(reservoir.store, text, ["text"])["text"]]).hashes)


def _profile_text(store: Store, source: Store, role: str, capacity: int, text: Shard) -> Profiled:
    documents = read_shard(source, text)
    language = detect_language(documents["text"])["language"]
    return profile_shard(store, documents, language, role, capacity)


def _key(parents: tuple[Parent, ...], capacity: int) -> str:
    return run_key(ROLE, parents, None, {"capacity": capacity, "passage": PASSAGE, "schema": SCHEMA})


def _publish(
    store: Store, name: str, parents: tuple[Parent, ...], profiled: Sequence[Profiled], capacity: int
) -> Snapshot:
    shards = tuple(shard for shard, _ in profiled)
    # JSON's numbers are too small for a priority.
    details = {"cuts": [None if cut is None else str(cut) for _, cut in profiled]}
    rows = sum(shard.rows for shard in shards)
    ledger = Ledger(came_in=rows, kept=rows)
    key = _key(parents, capacity)
    return publish(store, Snapshot(name, ROLE, SCHEMA, parents, shards, ledger, None, __version__, key, details))
