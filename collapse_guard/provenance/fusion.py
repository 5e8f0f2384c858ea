"""From evidence to an origin: one table, in which evidence of synthesis can only move a document away from human."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.document import EDITED, HUMAN_PRESUMED, HUMAN_VERIFIED, ORIGINS, SYNTHETIC, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Columns = Mapping[str, pa.Array | pa.ChunkedArray]


class Line(NamedTuple):
    """One line of the table: where a column is at least so high, the origin is at best this one."""

    column: str
    low: float
    origin: str


HUMAN = (
    Line("admission", 1.0, HUMAN_VERIFIED),
    Line("capture.before_models@1", 1.0, HUMAN_PRESUMED),
)
"""What speaks for a human author; without any of it the origin is unknown, because no evidence is not human."""

AGAINST = (
    Line("watermark.evidence", 1.0, SYNTHETIC),
    Line("declared.synthetic@1", 1.0, SYNTHETIC),
    Line("residue.synthetic", 0.95, SYNTHETIC),
    Line("declared.edited", 0.6, EDITED),
    Line("residue.edited", 0.95, EDITED),
    Line("declared.synthetic@1", 0.3, UNKNOWN),
    Line("residue.score@1", 0.6, UNKNOWN),
    Line("classifier.p_synthetic@1", 0.9, UNKNOWN),
)
"""What speaks against one; the worst line that applies decides. Weak evidence, and a classifier however sure it is,
only take a presumption away."""


def fuse(evidence: Columns, rows: int) -> pa.Array:
    """Fuse the evidence about documents into an origin each.

    Args:
        evidence: Columns of n numbers by the names that the table's lines have; null is no evidence, and a column may
            be missing.
        rows: n.

    Returns:
        n origins. More evidence of synthesis never gives an origin that is nearer to human.
    """
    ranks = np.full(rows, ORIGINS.index(UNKNOWN))
    for line in HUMAN:
        ranks = np.where(_applies(line, evidence, rows), np.minimum(ranks, ORIGINS.index(line.origin)), ranks)
    for line in AGAINST:
        ranks = np.where(_applies(line, evidence, rows), np.maximum(ranks, ORIGINS.index(line.origin)), ranks)
    return pa.array(ORIGINS).take(pa.array(ranks))


def ranks(origins: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The place of every origin in `ORIGINS`, as the signal `origin` gives it."""
    return pc.index_in(origins, pa.array(ORIGINS)).cast(pa.float64())


def depths(origins: pa.Array | pa.ChunkedArray, generations: pa.Array | pa.ChunkedArray) -> pa.Array:
    """How many generations of models lie between a document and people, where it is known.

    Args:
        origins: n origins.
        generations: n numbers: the generation of the corpus whose model wrote the document, as its source states.

    Returns:
        n int32: 0 for human origins; generation + 1 for synthetic and edited documents whose source states one, because
        what is derived from generation g is g + 1; else null.
    """
    human = pc.is_in(origins, pa.array([HUMAN_VERIFIED, HUMAN_PRESUMED]))
    derived = pc.is_in(origins, pa.array([SYNTHETIC, EDITED]))
    known = pc.and_(derived, pc.fill_null(pc.greater_equal(generations, 0), False))  # noqa: FBT003 - a null is not known
    return pc.case_when(pc.make_struct(human, known), pa.scalar(0, pa.int32()), pc.add(generations, 1).cast(pa.int32()))


def _applies(line: Line, evidence: Columns, rows: int) -> NDArray[np.bool_]:
    if line.column not in evidence:
        return np.zeros(rows, bool)
    values = np.asarray(evidence[line.column].to_numpy(zero_copy_only=False), np.float64)
    return np.asarray(np.nan_to_num(values, nan=-np.inf) >= line.low)
