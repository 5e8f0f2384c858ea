"""The component that admits human documents and watches over them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import Field

from collapse_guard.components.settings import Place
from collapse_guard.components.showing import ERROR, check_spec, failures, materialised
from collapse_guard.errors import DamagedDataError
from collapse_guard.ingest import ingest
from collapse_guard.reservoir import Admission, Checks, Rules, Sample, admit, settle, verify
from collapse_guard.store import Store


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
    keys: Annotated[str | None, Field(description="A key ring: documents with one of its watermarks are refused.")] = (
        None
    )
    synthetic: Annotated[str | None, Field(description="Files of model text whose near-copies are refused.")] = None
    second_signature: Annotated[bool, Field(description="Wait for `collapse-guard reservoir countersign`.")] = False
    quarantine_days: Annotated[int, Field(ge=0, description="Days before admitted documents can be mixed.")] = 0
    object_lock: Annotated[
        Literal["governance", "compliance"] | None, Field(description="Lock every object (S3 with Object Lock).")
    ] = None
    retention_days: Annotated[int, Field(ge=0, description="For how many days objects are locked.")] = 0
    sample: Annotated[float, Field(gt=0, le=1, description="Share of the shards re-hashed by any other run.")] = 0.05
    schedule: Annotated[str, Field(description="When everything is verified (cron).")] = "0 3 * * *"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the asset, its check, and the schedule."""
        return self.definitions(Place(context.project_root, context.path))

    def definitions(self, place: Place) -> dg.Definitions:
        """Build them for a project folder."""
        key = dg.AssetKey([self.name])
        every_byte = f"{self.name}_verify"
        spec = check_spec(
            "verified", key, "Every document is what was admitted and signed.", partitions=None, blocking=True
        )

        @dg.asset(key=key, check_specs=[spec], group_name=self.name, kinds={"parquet"})
        def reservoir(
            context: dg.AssetExecutionContext,
        ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
            """Verified human documents: append-only, each admission signed; a tenth is kept for evaluation."""
            now = datetime.now(UTC)
            store = place.store(self.root)
            sample = None if context.run.job_name == every_byte else Sample(self.sample, now.date().isoformat())
            with failures():
                self._admit(place, store, now)
                head = settle(store, place.key(self.signing_key), now)
                try:
                    counts = verify(store, sample=sample)
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
                description=f"{'some' if sample else 'all'} shards re-hashed, all signatures and entries checked",
                metadata={f"collapse_guard/{name}": count for name, count in counts.items()},
            )
            tokens = {f"collapse_guard/tokens_{split}": count for split, count in head.details["tokens"].items()}
            pending = {"collapse_guard/pending": len(head.details["pending"])}
            yield materialised(head, key, {**tokens, **pending})

        job = dg.define_asset_job(every_byte, selection=[key], description="Admit what is new, verify every byte.")
        schedule = dg.ScheduleDefinition(name=f"{self.name}_daily", job=job, cron_schedule=self.schedule)
        return dg.Definitions(assets=[reservoir], jobs=[job], schedules=[schedule])

    def _admit(self, place: Place, store: Store, now: datetime) -> None:
        """Admit what the inputs hold; what was admitted before is found again."""
        known = ingest(store, "known_synthetic", self.name, [place.path(self.synthetic)]) if self.synthetic else None
        admit(
            store,
            ingest(store, "inbox", self.name, [place.path(self.inputs)]),
            Admission(self.by, self.licence, self.evidence),
            place.key(self.signing_key),
            now,
            checks=Checks(Path(place.path(self.keys)) if self.keys else None, known),
            asked=Rules(self.second_signature, self.quarantine_days, self.object_lock, self.retention_days),
            environment=place.environment,
        )
