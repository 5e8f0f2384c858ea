"""What `dg scaffold defs collapse_guard.components.CorpusGuard NAME` writes."""

from __future__ import annotations

import shutil

import dagster as dg
from pydantic import BaseModel, Field

from collapse_guard.catalogue import BUILT_IN_POLICIES


class GuardParams(BaseModel):
    """What the scaffold may be told."""

    name: str = Field("web", description="The corpus' name.")
    dumps: str = Field("crawl/{dump}/*.warc.gz", description="Input files of a dump.")


class GuardScaffolder(dg.Scaffolder[GuardParams]):
    """Writes the component's YAML and a copy of the default policy beside it, to change."""

    @classmethod
    def get_scaffold_params(cls) -> type[GuardParams]:
        """The parameters' type."""
        return GuardParams

    def scaffold(self, request: dg.ScaffoldRequest[GuardParams]) -> None:
        """Write the files."""
        attributes = {**request.params.model_dump(), "root": "guard", "reservoir": "reservoir", "policy": "policy.yaml"}
        dg.scaffold_component(request, attributes)
        shutil.copyfile(BUILT_IN_POLICIES["default"], request.target_path / "policy.yaml")
