"""The component that admits human documents and watches over them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import dagster as dg
from pydantic import Field

from collapse_guard.components.settings import Place
from collapse_guard.components.showing import ERROR, check_spec, failures, materialised
from collapse_guard.errors import DamagedDataError
from collapse_guard.ingest import ingest
from collapse_guard.reservoir import Admission, admit, verify


class HumanReservoir(dg.Component, dg.Model, dg.Resolvable):
    """Admit human documents by signature, and verify every byte of them on a schedule."""

    name: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="The asset's name.", examples=["reservoir"])
    ] = "reservoir"
    root: Annotated[str, Field(description="Where the reservoir lies.", examples=["reservoir"])]
    inputs: Annotated[str, Field(description="Files to admit.", examples=["human/*.jsonl.zst"])]
    by: Annotated[str, Field(description="Who vouches for these documents.")]
    licence: Annotated[str, Field(description="Under which licence they may be used.")]
    evidence: Annotated[str, Field(description="Why they are known to be human.")]
    signing_key: Annotated[str | None, Field(description="Ed25519 private key (PEM), made on first use.")] = None
    schedule: Annotated[str, Field(description="When everything is verified (cron).")] = "0 3 * * *"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the asset, its check, and the schedule."""
        return self.definitions(Place(context.project_root, context.path))

    def definitions(self, place: Place) -> dg.Definitions:
        """Build them for a project folder."""
        key = dg.AssetKey([self.name])
        spec = check_spec(
            "verified", key, "Every document is what was admitted and signed.", partitions=None, blocking=True
        )

        @dg.asset(key=key, check_specs=[spec], group_name=self.name, kinds={"parquet"})
        def reservoir() -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
            """Verified human documents: append-only, each admission signed; a tenth is kept for evaluation."""
            store = place.store(self.root)
            admission = Admission(self.by, self.licence, self.evidence)
            with failures():
                documents = ingest(store, "inbox", self.name, [place.path(self.inputs)])
                signing_key = place.key(self.signing_key)
                snapshot = admit(store, documents, admission, signing_key, datetime.now(UTC))
                try:
                    counts = verify(store)
                except DamagedDataError as error:
                    yield dg.AssetCheckResult(
                        check_name="verified", asset_key=key, passed=False, severity=ERROR, description=str(error)
                    )
                    raise
            yield dg.AssetCheckResult(
                check_name="verified",
                asset_key=key,
                passed=True,
                severity=ERROR,
                metadata={f"collapse_guard/{name}": count for name, count in counts.items()},
            )
            tokens = {f"collapse_guard/tokens_{split}": count for split, count in snapshot.details["tokens"].items()}
            yield materialised(snapshot, key, tokens)

        job = dg.define_asset_job(f"{self.name}_verify", selection=[key], description="Admit what is new, verify all.")
        schedule = dg.ScheduleDefinition(name=f"{self.name}_daily", job=job, cron_schedule=self.schedule)
        return dg.Definitions(assets=[reservoir], jobs=[job], schedules=[schedule])
