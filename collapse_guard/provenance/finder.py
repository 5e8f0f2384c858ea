"""Look for every kind of evidence in documents, then fuse it when all documents are known."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collapse_guard.canonical import sha256_hex
from collapse_guard.errors import DamagedDataError, PolicyError
from collapse_guard.provenance.capture import capture_prior
from collapse_guard.provenance.classifier import Model
from collapse_guard.provenance.declared import declared_columns
from collapse_guard.provenance.fusion import depths, fuse, ranks
from collapse_guard.provenance.residue import find_residue
from collapse_guard.provenance.watermark.key_ring import read_keys
from collapse_guard.provenance.watermark.nulls import Calibration
from collapse_guard.provenance.watermark.scan import Scan, Sums, judged, told

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from collapse_guard.policy import Policy, Watermarks

_COUNTED = ("origin", "watermark_outcome", "declared", "residue")
_FUSED = ("watermark.evidence", "declared.edited", "residue.synthetic", "residue.edited")
"""Columns that only the fusion needs."""


class Finder:
    """Finds the evidence that a policy asks for; several threads may use it at once.

    Args:
        policy: Its `watermarks` and `classifier`; marks, residue and the time of capture are always looked at.
        environment: Where secrets are taken from that the key ring refers to by name.

    Raises:
        PolicyError: A file that the policy names is not what it was when the policy was read.
    """

    def __init__(self, policy: Policy, environment: Mapping[str, str] | None = None) -> None:
        self._scan: Scan | None = None
        self._classifier: Model | None = None
        self._q = 0.0
        self.nothing = Sums()
        self.asked: dict[str, Any] = {}
        if policy.watermarks:
            self._read_keys(policy.watermarks, policy.folder, environment or {})
        if policy.classifier:
            path, _ = _unchanged(policy.folder / policy.classifier.path, policy.classifier.sha256)
            self._classifier = _model(path)
            self.asked["classifier"] = self._classifier.digest

    def _read_keys(self, wanted: Watermarks, folder: Path, environment: Mapping[str, str]) -> None:
        path, _ = _unchanged(folder / wanted.keys, wanted.sha256)
        ring = read_keys(path, environment)
        known, digest = None, None
        if wanted.calibration:
            path, digest = _unchanged(folder / wanted.calibration, wanted.calibration_sha256)
            known = Calibration.read(path)
        self._scan, self._q = Scan(ring, known), wanted.q
        self.asked["watermarks"] = {
            "ring": ring.digest,
            "unsupported": self._scan.unsupported,
            "calibration": digest,
            "q": wanted.q,
        }

    def find(self, documents: pa.Table, languages: pa.ChunkedArray) -> tuple[dict[str, pa.Array], Sums]:
        """Find what can be found in each document alone.

        Args:
            documents: n documents, with whatever columns of a document are known.
            languages: n languages, as detected.

        Returns:
            Columns of n rows, and what the documents add to the corpus.
        """
        residue = find_residue(documents["text"], languages)
        columns = {
            **_declared(documents),
            "residue.score@1": residue.score,
            "residue.synthetic": residue.synthetic,
            "residue.edited": residue.edited,
            "residue": residue.names,
            "capture.before_models@1": capture_prior(documents["captured_at"])["capture.before_models"],
            "generation": _column(documents, "generation", pa.int32()),
        }
        if self._classifier:
            said = self._classifier.score(documents["text"], languages)
            columns["classifier.p_synthetic@1"] = said["p_synthetic"]
            columns["classifier_p_human"] = said["p_human_conformal"]
            columns["classifier_abstained"] = said["abstained"]
        if self._scan is None:
            return columns, self.nothing
        marks, sums = self._scan.find(documents)
        return {**columns, **marks}, sums

    def fuse(self, measured: pa.Table, sums: Sums) -> pa.Table:
        """Add what only all documents together can tell: q-values, and the origins that follow.

        Args:
            measured: n rows with the columns of `find`.
            sums: Of all documents.

        Returns:
            The rows with `watermark.q_value@1`, `origin`, its rank and `depth`.
        """
        columns = {name: measured[name] for name in measured.column_names}
        if self._scan:
            columns |= judged(measured, sums, self._q)
            evidence = pc.equal(columns["watermark_outcome"], "evidence").cast(pa.float64())
            columns["watermark.evidence"] = evidence
        origins = fuse(columns, measured.num_rows)
        depth = depths(origins, columns.pop("generation"))
        for name in _FUSED:
            columns.pop(name, None)
        return pa.table({**columns, "origin": origins, "origin@1": ranks(origins), "depth": depth})

    def count(self, measured: pa.Table) -> Counter[tuple[str, str]]:
        """Count documents by origin, outcome of the watermark test, declared mark and residue."""
        counts: Counter[tuple[str, str]] = Counter()
        for name in set(_COUNTED).intersection(measured.column_names):
            found = measured[name].drop_null().to_pylist()
            counts.update((name, part) for value in found for part in set(value.split()))
        return counts

    def told(self, sums: Sums, counts: Counter[tuple[str, str]]) -> dict[str, Any]:
        """What the manifest says about evidence."""
        by_name = {
            name: {value: count for (column, value), count in sorted(counts.items()) if column == name}
            for name in _COUNTED
        }
        watermarks = {"outcomes": by_name["watermark_outcome"], **told(self._scan, sums)} if self._scan else None
        marks = {name: by_name[name] for name in ("declared", "residue")}
        return {"origins": by_name["origin"], "watermarks": watermarks, **marks}


def _declared(documents: pa.Table) -> dict[str, pa.Array]:
    if "metadata" not in documents.column_names:
        documents = documents.append_column("metadata", pa.nulls(documents.num_rows, pa.string()))
    found = declared_columns(documents)
    return {"declared.synthetic@1": found.pop("declared.synthetic"), **found}


def _column(documents: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    if name not in documents.column_names:
        return pa.chunked_array([pa.nulls(documents.num_rows, kind)])
    return documents[name].cast(kind)


def _unchanged(path: Path, sha256: str | None) -> tuple[Path, str]:
    """The path and digest of a file that a policy names, if it holds what it held when the policy was read."""
    try:
        found = sha256_hex(path.read_bytes())
    except OSError as error:
        raise PolicyError(f"{path}: it cannot be read ({error.strerror}), and the policy names it") from None
    if sha256 is not None and found != sha256:
        raise PolicyError(f"{path}: it changed since the policy was read ({found[:12]}, not {sha256[:12]}); load again")
    return path, found


def _model(path: Path) -> Model:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        message = f"{path} is no classifier ({error}); make one with `collapse-guard classifier train`"
        raise DamagedDataError(message) from None
    return Model.from_table(table)
