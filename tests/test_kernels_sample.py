from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.kernels.sample import WINDOW, WINDOWS, spread_sample


def sample(*texts: str | None) -> list[str]:
    found = spread_sample(pa.array(texts, pa.large_string()))
    found.validate(full=True)
    return found.to_pylist()


def test_a_short_text_is_kept_whole():
    assert sample("", None, "short", "x" * WINDOW * WINDOWS) == ["", "", "short", "x" * WINDOW * WINDOWS]


def test_a_long_text_is_read_from_its_beginning_to_its_end():
    text = "".join(f"{i:07d} " for i in range(10_000))

    pieces = sample(text)[0].splitlines()

    assert [len(piece) for piece in pieces] == [WINDOW] * WINDOWS
    assert text.startswith(pieces[0])
    assert text.endswith(pieces[-1])
    assert [text.index(piece) for piece in pieces] == [(len(text) - WINDOW) * k // 7 for k in range(WINDOWS)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("aé漢👩"), st.integers(0, 2100)).map(lambda x: x[0] * x[1]), max_size=5))
def test_no_character_is_cut_and_no_sample_is_long(texts):
    for text, found in zip(texts, sample(*texts), strict=True):
        assert set(found) - {"\n"} <= set(text)
        assert len(found.encode()) <= WINDOWS * (WINDOW + 4)
        assert len(text.encode()) > WINDOWS * WINDOW or found == text
