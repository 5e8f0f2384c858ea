from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pipeline
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from small_project import SmallProject


@dataclass(frozen=True)
class Undisturbed:
    """What the pipeline leaves when nothing disturbs it."""

    inputs: Path
    root: Path
    digests: dict[str, str]
    tree: dict[str, str]


@pytest.fixture(scope="session")
def undisturbed(built_project: SmallProject, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The pipeline's result without faults, which a run with faults must reach after a restart."""
    root = tmp_path_factory.mktemp("undisturbed")
    digests = pipeline.run(built_project.root, root)
    return Undisturbed(built_project.root, root, digests, pipeline.tree(root))
