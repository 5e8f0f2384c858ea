"""The component that retrains the classifier on the reservoir and on known synthetic text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from pydantic import Field

from collapse_guard.classifying import export_classifier, train_classifier
from collapse_guard.components.settings import Place
from collapse_guard.components.showing import WARN, check_spec, failures, markdown, materialised
from collapse_guard.ingest import ingest
from collapse_guard.reservoir import open_reservoir

DISCRIMINATION = ("", "human", "synthetic", "AUC", "found at 1 % false")
SLICES = ("human texts", "number", "flagged at 1 %")


class ProvenanceClassifier(dg.Component, dg.Model, dg.Resolvable):
    """Train, on a schedule, the classifier that may send documents to review; it never drops one."""

    name: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="The asset's name.", examples=["classifier"])
    ] = "classifier"
    root: Annotated[str, Field(description="Where the guard keeps things.", examples=["guard"])]
    reservoir: Annotated[str, Field(description="Root of the human reservoir.", examples=["reservoir"])]
    synthetic: Annotated[str, Field(description="Files that models are known to have written.")]
    path: Annotated[str, Field(description="The file that policies name.", examples=["classifier.parquet"])]
    fields: Annotated[dict[str, str], Field(description="Input column for a field of a document.")] = Field({})
    least_auc: Annotated[float, Field(description="Below it, on held-out texts, the check warns.", ge=0.5, le=1)] = 0.9
    reservoir_asset: Annotated[
        dg.ResolvedAssetKey, Field(description="The asset of the reservoir, for the lineage.")
    ] = dg.AssetKey(["reservoir"])
    schedule: Annotated[str, Field(description="When it is trained again (cron).")] = "0 4 * * 1"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the asset, its check, and the schedule."""
        return self.definitions(Place(context.project_root, context.path))

    def definitions(self, place: Place) -> dg.Definitions:
        """Build them for a project folder."""
        key = dg.AssetKey([self.name])
        text = f"On held-out texts it tells synthetic from human with an AUC of at least {self.least_auc}."
        spec = check_spec("separates", key, text, partitions=None, blocking=False)

        @dg.asset(key=key, deps=[self.reservoir_asset], check_specs=[spec], group_name=self.name, kinds={"model"})
        def classifier() -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
            """A linear model of one's own human and synthetic text; says nothing where it does not know."""
            store = place.store(self.root)
            with failures():
                synthetic = ingest(store, self.name, "all", [place.path(self.synthetic)], fields=self.fields)
                made = train_classifier(store, open_reservoir(place.store(self.reservoir)), synthetic)
                export_classifier(store, made, Path(place.path(self.path)))
            report = made.details["report"]
            auc = report["held_out"]["auc"]
            yield dg.AssetCheckResult(
                check_name="separates",
                asset_key=key,
                passed=auc is not None and auc >= self.least_auc,
                severity=WARN,
                metadata={"collapse_guard/auc": auc},
            )
            yield materialised(made, key, {"collapse_guard/auc": auc, **_report_metadata(report)})

        job = dg.define_asset_job(f"{self.name}_train", selection=[key], description="Train the classifier again.")
        schedule = dg.ScheduleDefinition(name=f"{self.name}_weekly", job=job, cron_schedule=self.schedule)
        return dg.Definitions(assets=[classifier], jobs=[job], schedules=[schedule])


def _report_metadata(report: dict[str, Any]) -> dict[str, Any]:
    kinds = ("domain", "generator")
    left_out = [(f"without {kind} {row[kind]}", row) for kind in kinds for row in report[f"{kind}_left_out"]]
    rows = [
        (name, f"{row['human']:,}", f"{row['synthetic']:,}", _number(row["auc"]), _number(row["found"]))
        for name, row in [("held out", report["held_out"]), *left_out]
    ]
    slices = [
        (f"{row['by']}: {row['value']}", f"{row['texts']:,}", _number(row["share"])) for row in report["human_slices"]
    ]
    return {
        "collapse_guard/held_out": markdown(DISCRIMINATION, rows),
        "collapse_guard/human_slices": markdown(SLICES, slices),
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
