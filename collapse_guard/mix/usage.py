"""How often each document of the reservoir is used: in one candidate, and summed over the generations up to it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.document import DOCUMENT
from collapse_guard.snapshot import ShardWriter, read_rows
from collapse_guard.spill import Spill

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from collapse_guard.snapshot import Shard, Snapshot
    from collapse_guard.store import Store

USAGE = pa.schema(
    [
        DOCUMENT.field("id"),
        pa.field("text_sha256", pa.binary()),
        DOCUMENT.field("tokens"),
        pa.field("uses", pa.int16()),
        pa.field("uses_so_far", pa.int32()),
    ]
)
"""Every document of the reservoir that was offered now or in a generation before: how often it is in the mix, and in
the mixes of all generations up to it. In order of digest."""
DOCUMENTS_PER_BUCKET = 500_000
_KEY = ["text_sha256", "id"]


class Usage:
    """Adds the uses of one mix to those of the generations before.

    Args:
        store: Holds the table of the generation before; receives the new one.
        before: The candidate of the generation before, if any.
        rows: About how many documents the reservoir offers.
        scratch: A folder for what does not fit in memory.
    """

    def __init__(self, store: Store, before: Snapshot | None, rows: int, scratch: Path) -> None:
        shards = before.with_role("usage") if before else ()
        rows = max(rows, sum(shard.rows for shard in shards))
        self._store = store
        self._spill = Spill(scratch, USAGE, -(-rows // DOCUMENTS_PER_BUCKET))
        self._uses, self._so_far = Counter[int](), Counter[int]()
        for table in read_rows(store, shards):
            earlier = table["uses_so_far" if "uses_so_far" in table.column_names else "uses"]
            self._write(table, np.zeros(table.num_rows, np.int16), earlier)

    def add(self, offers: pa.Table, uses: NDArray[np.int16]) -> None:
        """Note how often documents are in this mix; columns `id, text_sha256, tokens`."""
        self._write(offers, uses, pa.array(uses))

    def _write(self, table: pa.Table, uses: NDArray[np.int16], so_far: pa.Array | pa.ChunkedArray) -> None:
        columns = {name: table[name] for name in ("id", "text_sha256", "tokens")}
        columns |= {"uses": pa.array(uses), "uses_so_far": so_far.cast(pa.int32())}
        heads = np.array([int.from_bytes(digest[:2], "big") for digest in table["text_sha256"].to_pylist()], np.int64)
        self._spill.write(pa.table(columns, schema=USAGE), heads * self._spill.buckets >> 16)

    def close(self) -> list[Shard]:
        """Write the table."""
        self._spill.close()
        writer = ShardWriter(self._store, "usage")
        for bucket in range(self._spill.buckets):
            table = _summed(self._spill.read(bucket))
            self._uses.update(table["uses"].to_pylist())
            self._so_far.update(table["uses_so_far"].to_pylist())
            writer.write(table)
        return writer.close()

    def details(self) -> dict[str, dict[str, int]]:
        """How many documents of the table that was written are used how often."""
        counted = {"reservoir_uses": self._uses, "reservoir_uses_so_far": self._so_far}
        return {name: {str(uses): count for uses, count in sorted(found.items())} for name, found in counted.items()}


def _summed(rows: pa.Table) -> pa.Table:
    """One row per document; its tokens are the newest count, which the rows of this mix come with."""
    sums = [("tokens", "last"), ("uses", "sum"), ("uses_so_far", "sum")]
    found = rows.group_by(_KEY, use_threads=False).aggregate(sums)
    found = found.take(pc.sort_indices(found, sort_keys=[(name, "ascending") for name in _KEY]))
    names = {"tokens": "tokens_last", "uses": "uses_sum", "uses_so_far": "uses_so_far_sum"}
    return pa.table({name: found[names.get(name, name)] for name in USAGE.names}).cast(USAGE)
