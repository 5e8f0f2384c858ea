"""What speaks against documents that somebody offers as human: evidence of a model in the text or its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import feather

from collapse_guard import signals
from collapse_guard.canonical import sha256_hex
from collapse_guard.dedup import SIGNATURE, signed
from collapse_guard.document import EDITED, SYNTHETIC
from collapse_guard.errors import UsageError
from collapse_guard.policy import Gate, Policy, Watermarks
from collapse_guard.provenance.finder import Finder
from collapse_guard.provenance.fusion import AGAINST
from collapse_guard.reservoir.sides import with_digests
from collapse_guard.reservoir.states import NEAR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from collapse_guard.provenance.watermark.scan import Sums
    from collapse_guard.snapshot import Snapshot

REFUSED = "refused:"
_FACTS = ["id", "text_sha256", "captured_at", *SIGNATURE]


@dataclass(frozen=True)
class Checks:
    """What documents are compared with before they are admitted; declared marks and residue always are.

    Attributes:
        keys: A key ring of watermarks to look for.
        synthetic: Text known to be a model's, in the reservoir's store; near-copies of it are refused.
        near_copies: Whether near-copies of what was admitted before are kept, on the side of their cluster, or dropped.
    """

    keys: Path | None = None
    synthetic: Snapshot | None = None
    near_copies: Literal["keep", "drop"] = "keep"

    def finder(self, environment: Mapping[str, str] | None) -> Finder:
        """What finds the evidence."""
        watermarks, folder = None, Path()
        if self.keys:
            try:
                digest = sha256_hex(self.keys.read_bytes())
            except OSError as error:
                raise UsageError(f"{self.keys}: the key ring cannot be read ({error.strerror})") from None
            watermarks, folder = Watermarks(keys=self.keys.name, sha256=digest), self.keys.parent
        gates = {"human_share": Gate(low=0.0, outside="warn")}
        return Finder(Policy(name="admission", watermarks=watermarks, gates=gates, folder=folder), environment)

    def to_json(self, finder: Finder) -> dict[str, Any]:
        """What was compared, as it stands in the state and decides whether a retry finds its own work."""
        return {
            "evidence": finder.asked,
            "synthetic": self.synthetic.digest if self.synthetic else None,
            "near_copies": self.near_copies,
        }


class Examined:
    """Documents that were looked at: what they are compared by, and why each is refused.

    Args:
        tables: Documents, a table per shard.
        finder: Finds the evidence.
        scratch: A folder for what was found.
    """

    def __init__(self, tables: Iterable[pa.Table], finder: Finder, scratch: Path) -> None:
        self._paths: list[Path] = []
        self._reasons: list[pa.Array] = []
        self._condemned: dict[bytes, str] = {}
        self._scratch = scratch
        scratch.mkdir()
        sums = reduce(add, [self._look(table, finder) for table in tables], finder.nothing)
        for path in self._paths:
            self._judge(feather.read_table(path), finder, sums)

    def _look(self, table: pa.Table, finder: Finder) -> Sums:
        """Find what can be found in each document alone, and keep it on disk."""
        table = with_digests(table)
        found, sums = finder.find(table, signals.detect_language(table["text"])["language"])
        signatures = signed(table["text"], NEAR)
        facts = {name: table[name] for name in _FACTS if name in table.column_names} | signatures
        path = self._scratch / f"{len(self._paths)}.arrow"
        feather.write_feather(pa.table({**found, **facts}), path, compression="uncompressed")
        self._paths.append(path)
        return sums

    def _judge(self, found: pa.Table, finder: Finder, sums: Sums) -> None:
        reasons = refusals(found, finder.fuse(found, sums))
        self._reasons.append(reasons)
        against = zip(found["text_sha256"].to_pylist(), reasons.to_pylist(), strict=True)
        self._condemned.update({digest: reason for digest, reason in against if reason})

    def facts(self) -> Iterator[pa.Table]:
        """What documents are compared by, a table per shard."""
        return (feather.read_table(path, columns=_FACTS) for path in self._paths)

    def reasons(self, number: int, digests: pa.ChunkedArray) -> list[str | None]:
        """Why each document of a table is refused; an equal text is refused wherever it stands."""
        own = self._reasons[number].to_pylist()
        return [reason or self._condemned.get(digest) for reason, digest in zip(own, digests.to_pylist(), strict=True)]


def refusals(found: pa.Table, fused: pa.Table) -> pa.Array:
    """Name the evidence that makes a document synthetic or edited.

    Args:
        found: n rows as `Finder.find` gives them.
        fused: The same rows as `Finder.fuse` gives them.

    Returns:
        n reasons, such as `refused:declared`; null where nothing strong speaks against a human author.
    """
    columns = {name: found[name] for name in found.column_names}
    if "watermark_outcome" in fused.column_names:
        columns["watermark.evidence"] = pc.equal(fused["watermark_outcome"], "evidence").cast(pa.float64())
    reasons = np.full(found.num_rows, None, object)
    for line in reversed(AGAINST):
        if line.origin in {SYNTHETIC, EDITED} and line.column in columns:
            values = columns[line.column].to_numpy(zero_copy_only=False)
            reasons[np.nan_to_num(np.asarray(values, np.float64), nan=-np.inf) >= line.low] = line.column
    bad = pc.is_in(fused["origin"], pa.array([SYNTHETIC, EDITED])).to_pylist()
    names = [
        REFUSED + str(reason).partition(".")[0] if wrong else None for reason, wrong in zip(reasons, bad, strict=True)
    ]
    return pa.array(names, pa.string())
