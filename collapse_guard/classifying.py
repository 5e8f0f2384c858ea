"""Train the classifier that a policy may name: on the reservoir's own human text and known synthetic text."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard import signals
from collapse_guard.provenance.classifier import Model, Settings, train
from collapse_guard.reservoir import HUMAN
from collapse_guard.selection import priorities
from collapse_guard.snapshot import Ledger, Snapshot, publish, read_rows, read_shard, resume, run_key, write_shard
from collapse_guard.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collapse_guard.reservoir import Reservoir
    from collapse_guard.store import Store

SCHEMA = "classifier@1"
_COLUMNS = ["id", "text", "domain"]


def train_classifier(
    store: Store, reservoir: Reservoir, synthetic: Snapshot, settings: Settings | None = None
) -> Snapshot:
    """Train a classifier and publish it; the same documents and settings give the same model.

    Args:
        store: Holds the synthetic documents; receives the model.
        reservoir: Whose human split stands for people.
        synthetic: Documents that models are known to have written. Where their metadata names a `generator`, errors on
            generators that were left out are reported too.
        settings: How to train.

    Returns:
        The published snapshot; its only shard is the model, its details hold the report.

    Raises:
        UsageError: There are too few documents of one kind.
    """
    settings = settings or Settings()
    name = synthetic.sibling("classifier")
    parents = (reservoir.snapshot.as_parent(), synthetic.as_parent())
    key = run_key("classifier", parents, None, asdict(settings))
    earlier = resume(store, name, key)
    if earlier is not None:
        return earlier
    human = _Chosen(settings).of(reservoir.texts(HUMAN))
    other = _Chosen(settings).of(read_rows(store, synthetic.with_role("documents")))
    model = train(human.table, other.table, settings)
    removed = {reason: count for reason, count in model.facts.report["removed"].items() if count}
    removed["not_chosen"] = human.left_out + other.left_out
    rows = human.table.num_rows + other.table.num_rows + removed["not_chosen"]
    ledger = Ledger(came_in=rows, kept=rows - sum(removed.values()), dropped=removed)
    details = {"model": model.digest, "settings": asdict(settings), "report": model.facts.report}
    shards = (write_shard(store, model.to_table(), "model"),)
    return publish(
        store, Snapshot(name, "classifier", SCHEMA, parents, shards, ledger, None, __version__, key, details)
    )


def load_classifier(store: Store, snapshot: Snapshot) -> Model:
    """Read a published classifier; DamagedDataError where its bytes are not what was published."""
    return Model.from_table(read_shard(store, snapshot.with_role("model")[0]))


def export_classifier(store: Store, snapshot: Snapshot, path: Path) -> None:
    """Write the file that a policy's `classifier.path` names; it changes in one step."""
    data = store.read(snapshot.with_role("model")[0].key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    Path(file.name).replace(path)


class _Chosen:
    """The documents that are trained on: those whose hash under the seed is lowest, so that order decides nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.table = pa.table({name: pa.array([], pa.string()) for name in (*_COLUMNS, "generator", "language")})
        self.left_out = 0

    def of(self, tables: Iterable[pa.Table]) -> _Chosen:
        """Choose among tables of documents, a bounded number of which is held at any time."""
        for table in tables:
            self._take(self._described(table))
        return self

    def _take(self, table: pa.Table) -> None:
        both = pa.concat_tables([self.table.cast(table.schema), table])
        order = priorities(both["id"].to_pylist(), self._settings.seed).argsort(kind="stable")
        chosen = order[: self._settings.max_documents]
        self.left_out += both.num_rows - len(chosen)
        self.table = both.take(pa.array(chosen))

    @staticmethod
    def _described(table: pa.Table) -> pa.Table:
        language = signals.detect_language(table["text"])["language"]
        generator = pa.array([_generator(value) for value in table["metadata"].to_pylist()], pa.string())
        columns: dict[str, Any] = {name: table[name] for name in _COLUMNS}
        columns["domain"] = pc.fill_null(columns["domain"], "(none)")
        return pa.table({**columns, "generator": generator, "language": language})


def _generator(metadata: str | None) -> str | None:
    """What the metadata of a document says wrote it."""
    said = orjson.loads(metadata) if metadata else None
    found = said.get("generator") if isinstance(said, dict) else None
    return found if isinstance(found, str) else None
