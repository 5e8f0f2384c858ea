"""What a mix must know of the reservoir beyond its index: tokens of the policy's tokenizer, and languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard import signals
from collapse_guard.measure import count_tokens_of
from collapse_guard.reservoir import HUMAN
from collapse_guard.snapshot import Ledger, Snapshot, find_run, publish, read_shard, run_key, write_shard
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collapse_guard.policy import Policy
    from collapse_guard.reservoir import Reservoir
    from collapse_guard.snapshot import Shard
    from collapse_guard.store import Store

LOG = "reservoir_counts"


def reservoir_counts(store: Store, reservoir: Reservoir, policy: Policy) -> Snapshot | None:
    """Count the reservoir's tokens with the policy's tokenizer, and tell its languages where strata ask for them.

    Done once for each state of the reservoir, and kept as a snapshot.

    Args:
        store: Keeps the snapshot.
        reservoir: What to count.
        policy: Its `tokens` and `mix.strata`.

    Returns:
        A snapshot with a shard (`tokens, language`) for each text shard that may be mixed; null where the reservoir's
        own index says all that the policy asks for.
    """
    by_language = "language" in policy.mix.strata
    if policy.tokens is None and not by_language:
        return None
    parents = (reservoir.snapshot.as_parent(),)
    details = {"tokenizer": policy.tokens.sha256 if policy.tokens else None, "languages": by_language}
    key = run_key(LOG, parents, None, details)
    earlier = find_run(store, LOG, key)
    if earlier is not None:
        return earlier
    shards = tuple(write_shard(store, _counted(reservoir, text, policy), HUMAN) for text, _ in reservoir.shards(HUMAN))
    rows = sum(shard.rows for shard in shards)
    ledger = Ledger(came_in=rows, kept=rows)
    return publish(store, Snapshot(LOG, LOG, f"{LOG}@1", parents, shards, ledger, None, __version__, key, details))


def mixable_tokens(store: Store, reservoir: Reservoir, policy: Policy) -> int:
    """Tokens of the reservoir that can be mixed, each document once, as the policy counts them."""
    counted = reservoir_counts(store, reservoir, policy) if policy.tokens else None
    if counted is None:
        return reservoir.tokens
    tables = (read_shard(store, shard, ["tokens"]) for shard in counted.shards)
    return sum(pc.sum(table["tokens"]).as_py() or 0 for table in tables)


def _counted(reservoir: Reservoir, text: Shard, policy: Policy) -> pa.Table:
    documents = read_shard(reservoir.store, text, ["text", "tokens"])
    tokens = count_tokens_of(documents, policy)
    languages = "language" in policy.mix.strata
    language = (
        signals.detect_language(documents["text"])["language"] if languages else pa.nulls(len(tokens), pa.string())
    )
    return pa.table({"tokens": tokens, "language": language})
