"""The demo, unchanged, with guard and reservoir in a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from s3_servers import KINDS, OPEN, environment

from collapse_guard.components.demonstration import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", KINDS)
def test_the_demo_runs_unchanged_on_s3(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, long: bool
) -> None:
    if not long:
        pytest.skip("two generations take a minute: run with --long, as `make faults` does")
    for name, value in environment(kind).items():
        monkeypatch.setenv(name, value)

    result = run(tmp_path / "demo", 2, 0, lambda *_: None, store=f"s3://{OPEN}/demo")

    assert [row["released"] for row in result["arms"]["guarded"]] == [True, True]
    assert result["release"]["root"] == f"s3://{OPEN}/demo/guard"
    assert not (tmp_path / "demo" / "guard").exists()
