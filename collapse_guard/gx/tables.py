"""The tables that suites run over: one row per gate, or a fixed sample of documents with their signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.selection import priorities
from collapse_guard.snapshot import find_digest, read_rows, read_shard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from collapse_guard.snapshot import Snapshot
    from collapse_guard.store import Store

TEXTS = ("gate", "metric", "outside", "outcome", "state")
NUMBERS = ("value", "low", "high", "measured", "baseline", "interval_low", "interval_high")
FLAGS = ("relative", "passed", "judgement_passed")
_ORDER = ("priority", "id", "text_sha256", "epoch", "dump", "source")


def metric_table(judgement: Mapping[str, Any]) -> pd.DataFrame:
    """Write a judgement as a table with one row per gate.

    Args:
        judgement: What `Judgement.to_json` gave.

    Returns:
        Texts `gate, metric, outside, outcome, state`, numbers `value, low, high, measured, baseline, interval_low,
        interval_high` (NaN where there is none), and flags `relative, passed, judgement_passed`.
    """
    import pandas as pd  # noqa: PLC0415 - takes a while to import

    rows = [_row(gate, judgement) for gate in judgement.get("gates") or []]
    frame = pd.DataFrame(rows, columns=[*TEXTS, *NUMBERS, *FLAGS], dtype=object)
    return frame.astype(dict.fromkeys(NUMBERS, "float64"))


def _row(gate: Mapping[str, Any], judgement: Mapping[str, Any]) -> dict[str, Any]:
    low, high = gate.get("interval") or (None, None)
    said = {**gate, "gate": gate.get("name"), "interval_low": low, "interval_high": high}
    whole = {"state": judgement.get("state"), "judgement_passed": judgement.get("passed")}
    numbers = {name: _number(said.get(name)) for name in NUMBERS}
    return {**{name: said.get(name) for name in (*TEXTS, *FLAGS)}, **whole, **numbers}


def _number(value: object) -> float:
    """A number as it is; whatever else stands in its place was not measured."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def documents_frame(store: Store, snapshot: Snapshot, rows: int, seed: int) -> pd.DataFrame:
    """Sample the documents of a snapshot, by a hash of seed and id, so that sharding and order do not matter.

    Args:
        store: Holds the snapshot.
        snapshot: Of kind `measured`: documents beside their columns of signals and evidence, which replace what the
            documents claim under the same name. Of kind `candidate`: the documents of the mix, with origin and stratum.
        rows: How many at most.
        seed: Fixes the sample.

    Returns:
        The documents first in the order of their hashes; columns of bytes and lists are left out.

    Raises:
        UsageError: The snapshot is of another kind.
    """
    chosen = pa.table({})
    for table in _documents(store, snapshot):
        found = _first(_plain(table).append_column("priority", pa.array(priorities(table["id"], seed))), rows)
        chosen = _first(pa.concat_tables([chosen, found]), rows) if chosen.num_columns else found
    shown = [name for name in chosen.column_names if name not in {"priority", "text_sha256"}]
    frame: pd.DataFrame = chosen.select(shown).to_pandas()
    return frame


def _plain(table: pa.Table) -> pa.Table:
    """The columns that a data frame shows as numbers, texts and times, and the digest that orders equal ids."""
    kept = [field.name for field in table.schema if field.name == "text_sha256" or not _is_raw(field.type)]
    return table.select(kept)


def _is_raw(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _first(table: pa.Table, rows: int) -> pa.Table:
    order = [(name, "ascending") for name in _ORDER if name in table.column_names]
    return table.sort_by(order).slice(0, rows)


def _documents(store: Store, snapshot: Snapshot) -> Iterator[pa.Table]:
    if snapshot.kind == "candidate":
        return read_rows(store, snapshot.with_role("documents"))
    if snapshot.kind == "measured":
        return _joined(store, snapshot)
    raise UsageError(
        f"{snapshot.name}: expectations run on measured documents or on a candidate, not on {snapshot.kind}"
    )


def _joined(store: Store, measured: Snapshot) -> Iterator[pa.Table]:
    documents = find_digest(store, measured.parents[0]).with_role("documents")
    for texts, columns in zip(documents, measured.with_role("measured"), strict=True):
        known, found = read_shard(store, texts), read_shard(store, columns)
        if known["id"] != found["id"]:
            raise DamagedDataError(f"{measured.name}: its rows are not those of its documents; measure them again")
        claims = known.drop_columns([name for name in known.column_names if name in found.column_names])
        yield pa.table([*found.columns, *claims.columns], [*found.column_names, *claims.column_names])
