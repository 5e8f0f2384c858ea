"""Choosing a mix from ten million documents: ids, digests and token counts only, without their text.

Facts are read from Parquet as the mix reads them; the plan has shares of kinds and floors of strata, or none; every
document is then asked whether it is taken.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.children import run_json
from benchmarks.rows import Row
from benchmarks.texts import OUT
from collapse_guard.mix import POOL, make_plan
from collapse_guard.policy import POOL_KINDS, Mix, ShareBound, Stratum
from collapse_guard.reservoir import HUMAN
from collapse_guard.selection import priorities, weighted
from collapse_guard.spill import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SMALL, LARGE = 1_000_000, 10_000_000
ROWS = 50_000
"""Documents per shard: about as many as 16 MiB of text hold at 300 bytes each."""
MOST_SECONDS = 60
TOKENS = 100
"""How large a mix with bounds is, in tokens per document; the documents have 240 on average."""
MIXES = {
    "share alone": Mix(human_share=0.3),
    "share, bounds of kinds, floors": Mix(
        human_share=0.3,
        shares={"synthetic": ShareBound(high=0.1), "human_presumed": ShareBound(low=0.05)},
        strata={"language": {"de": Stratum(floor=0.05), "fr": Stratum(floor=0.02)}},
    ),
    "weights": Mix(human_share=0.3, weights={"human_presumed": 2.0}),
}


def run() -> list[Row]:
    """Choose from both sizes, each mix in a process of its own."""
    rows = []
    for name in MIXES:
        small, large = (_chosen(name, count) for count in (SMALL, LARGE))
        parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in large["parts"].items())
        peaks = f"{small['peak_mb']:.0f} MB at 10^6, {large['peak_mb']:.0f} MB at 10^7"
        rows += [
            Row("mixing", f"10^7 documents, {name}", large["seconds"], "s", high=MOST_SECONDS, note=parts),
            Row("mixing", f"peak memory, 10^6 to 10^7, {name}", large["peak_mb"] / small["peak_mb"], "x", note=peaks),
        ]
    return rows


def _chosen(name: str, count: int) -> dict[str, Any]:
    folder = OUT / f"mixing-{count}"
    if not (folder / "done").exists():
        _write_facts(folder, count)
    return run_json([sys.executable, "-m", "benchmarks.mixing", name, str(folder)])


def _write_facts(folder: Path, count: int) -> None:
    """Write facts about documents; four in ten are the reservoir's."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number, start in enumerate(range(0, count, ROWS)):
        rows = min(ROWS, count - start)
        side = HUMAN if number % 5 < 2 else POOL  # noqa: PLR2004 - four in ten
        digests = draw.bytes(32 * rows)
        facts = {
            "id": pa.array([digests[32 * row : 32 * row + 16].hex() for row in range(rows)], pa.string()),
            "text_sha256": pa.array([digests[32 * row : 32 * row + 32] for row in range(rows)], pa.binary()),
            "tokens": pa.array(np.minimum(draw.lognormal(5, 1, rows), 10_000).astype(np.int64)),
            "kind": pa.array(draw.choice(len(POOL_KINDS), rows, p=(0.1, 0.6, 0.3)).astype(np.int8)),
            "language": pa.array(draw.choice(["en", "de", "fr"], rows, p=(0.96, 0.03, 0.01))),
        }
        pq.write_table(pa.table(facts), folder / f"{number:05}-{side}.parquet", compression="zstd", compression_level=1)
    (folder / "done").touch()


class Facts:
    """The documents of a folder as choices of a plan."""

    def __init__(self, folder: Path, wanted: Mix, scratch: Path) -> None:
        self._wanted = wanted
        self._paths = sorted(folder.glob("*.parquet"))
        self._tables = Replay((self._ranked(path) for path in self._paths), scratch)

    def _ranked(self, path: Path) -> pa.Table:
        table = pq.read_table(path)
        ranks = priorities(table["id"], self._wanted.seed)
        if self._wanted.weights and POOL in path.name:
            weights = np.array([self._wanted.weights.get(kind, 1.0) for kind in POOL_KINDS])  # type: ignore[call-overload]
            ranks = weighted(ranks, weights[table["kind"].to_numpy()])
        floors = [value for _, value, _ in self._wanted.floors]
        place = table["language"].to_numpy(zero_copy_only=False)
        found = (
            np.select([place == value for value in floors], range(len(floors)), len(floors)) if floors else 0 * ranks
        )
        columns = {name: table[name] for name in ("id", "text_sha256", "kind")}
        more = {"size": table["tokens"], "floor": pa.array(found.astype(np.int32)), "priority": pa.array(ranks)}
        return pa.table({**columns, **more}).combine_chunks()

    def rows(self, stratum: str, epoch: int = 0) -> Iterator[pa.Table]:
        """One pass; see `collapse_guard.mix.plan.Choices`."""
        for index, path in enumerate(self._paths):
            if stratum in path.name:
                table = self._tables[index]
                if epoch:
                    ranks = pa.array(priorities(table["id"], self._wanted.seed, epoch))
                    table = table.set_column(table.column_names.index("priority"), "priority", ranks)
                yield table

    def supply(self, stratum: str) -> NDArray[np.int64]:
        """How much there is."""
        found = np.zeros((len(POOL_KINDS), len(self._wanted.floors) + 1), np.int64)
        for rows in self.rows(stratum):
            np.add.at(found, (rows["kind"].to_numpy(), rows["floor"].to_numpy()), rows["size"].to_numpy())
        return found


def main() -> None:
    """Choose once; print seconds, peak memory, and what was chosen."""
    wanted, folder = MIXES[sys.argv[1]], Path(sys.argv[2])
    if wanted != MIXES["share alone"]:
        wanted = replace(wanted, tokens=TOKENS * int(folder.name.rpartition("-")[2]))
    priorities(["one"], 0)  # loads the machine code
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    times = [time.perf_counter()]
    facts = Facts(folder, wanted, scratch)
    times.append(time.perf_counter())
    plan = make_plan(facts, wanted)
    times.append(time.perf_counter())
    taken = [int(plan.pool.chooses(rows).sum()) for rows in facts.rows(POOL)]
    for epoch, choice in enumerate(plan.reservoir):
        taken += [int(choice.chooses(rows).sum()) for rows in facts.rows(HUMAN, epoch)]
    times.append(time.perf_counter())
    shutil.rmtree(scratch)
    parts = dict(zip(("rank", "plan", "mark"), np.diff(times).tolist(), strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    human = sum(choice.size for choice in plan.reservoir) / plan.size
    said = {"seconds": times[-1] - times[0], "parts": parts, "peak_mb": peak, "taken": sum(taken), "human": human}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
