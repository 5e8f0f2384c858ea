from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_guard.document import EDITED, HUMAN_PRESUMED, HUMAN_VERIFIED, ORIGINS, SYNTHETIC, UNKNOWN
from collapse_guard.provenance.fusion import AGAINST, HUMAN, depths, fuse, ranks

AGAINST_NAMES = sorted({line.column for line in AGAINST})
HUMAN_NAMES = sorted({line.column for line in HUMAN})
STRENGTHS = st.one_of(st.none(), st.sampled_from([0.0, 0.33, 0.67, 0.9, 1.0]), st.floats(0, 1))


def fused(**evidence: float | None) -> str:
    columns = {name: pa.array([value], pa.float64()) for name, value in evidence.items()}
    return str(fuse(columns, 1)[0].as_py())


def test_without_evidence_nobody_is_human() -> None:
    assert fused() == UNKNOWN


def test_a_null_and_a_nan_are_no_evidence() -> None:
    assert fused(**{"capture.before_models@1": None}) == UNKNOWN
    assert fused(admission=float("nan")) == UNKNOWN


@pytest.mark.parametrize(
    ("evidence", "origin"),
    [
        ({"admission": 1}, HUMAN_VERIFIED),
        ({"capture.before_models@1": 1}, HUMAN_PRESUMED),
        ({"capture.before_models@1": 0}, UNKNOWN),
        ({"watermark.evidence": 1}, SYNTHETIC),
        ({"declared.synthetic@1": 1}, SYNTHETIC),
        ({"declared.edited": 1}, EDITED),
        ({"residue.synthetic": 1}, SYNTHETIC),
        ({"residue.edited": 1}, EDITED),
        ({"residue.score@1": 1}, UNKNOWN),
        ({"admission": 1, "watermark.evidence": 1}, SYNTHETIC),
        ({"capture.before_models@1": 1, "declared.synthetic@1": 0.33}, UNKNOWN),
        ({"capture.before_models@1": 1, "classifier.p_synthetic@1": 0.99}, UNKNOWN),
        ({"classifier.p_synthetic@1": 1.0}, UNKNOWN),
        ({"capture.before_models@1": 1, "classifier.p_synthetic@1": 0.5}, HUMAN_PRESUMED),
    ],
)
def test_the_table_says_which_origin_evidence_gives(evidence: dict[str, float], origin: str) -> None:
    assert fused(**evidence) == origin


@given(
    st.dictionaries(st.sampled_from(AGAINST_NAMES + HUMAN_NAMES), STRENGTHS),
    st.sampled_from(AGAINST_NAMES),
    st.floats(0, 1),
)
def test_more_evidence_against_never_leads_nearer_to_human(
    evidence: dict[str, float | None], name: str, more: float
) -> None:
    stronger = {**evidence, name: max(more, evidence.get(name) or 0.0)}

    assert ORIGINS.index(fused(**stronger)) >= ORIGINS.index(fused(**evidence))


def test_every_row_is_fused_alone() -> None:
    columns = {"admission": pa.array([1.0, None, 1.0]), "watermark.evidence": pa.array([None, 1.0, 1.0])}

    assert fuse(columns, 3).to_pylist() == [HUMAN_VERIFIED, SYNTHETIC, SYNTHETIC]


def test_ranks_are_places_in_the_list_of_origins() -> None:
    np.testing.assert_array_equal(ranks(pa.array(ORIGINS)).to_numpy(), np.arange(len(ORIGINS), dtype=float))


def test_what_is_derived_from_generation_g_is_one_deeper() -> None:
    origins = pa.array([HUMAN_VERIFIED, HUMAN_PRESUMED, SYNTHETIC, EDITED, UNKNOWN, SYNTHETIC, SYNTHETIC])
    generations = pa.array([3, None, 0, 2, 1, None, -1], pa.int32())

    assert depths(origins, generations).to_pylist() == [0, 0, 1, 3, None, None, None]
