"""The component that takes a corpus from crawl dumps to signed releases."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from pydantic import Field

from collapse_guard.audit import audit
from collapse_guard.canonical import json_digest
from collapse_guard.components.expectations import (
    GATES_CHECK,
    GATES_TEXT,
    gates_result,
    suite_checks,
    suite_results,
)
from collapse_guard.components.scaffolding import GuardScaffolder
from collapse_guard.components.settings import Place
from collapse_guard.components.showing import (
    ERROR,
    WARN,
    audit_metadata,
    check_spec,
    evidence_metadata,
    failures,
    gate_checks,
    judgement_metadata,
    materialised,
    mix_metadata,
    origins_metadata,
    plot_metadata,
    ranks_metadata,
    signal_metadata,
    state_check,
)
from collapse_guard.errors import GateClosed
from collapse_guard.gx import render_docs, require_expectations, run_expectations, validate_gates
from collapse_guard.ingest import ingest, matching
from collapse_guard.judge import Judgement, apply_remedy, history, judge
from collapse_guard.measure import measure_snapshot, measured_columns
from collapse_guard.mix import Leaks, find_leaks, mix
from collapse_guard.release import Override, release
from collapse_guard.report.generations import candidate_frequencies, origins
from collapse_guard.reservoir import Reservoir, open_reservoir
from collapse_guard.sift import sift_snapshot
from collapse_guard.snapshot import Snapshot, latest, rows_agree
from collapse_guard.store import Store
from collapse_guard.version import __version__

Events = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]
STEPS = ("documents", "measured", "sifted", "candidate", "release")
KEPT_OUT, ENOUGH = "evaluation_split_is_kept_out", "reservoir_is_enough"
MAX_QUARANTINED = 0.05
"""Above this share of the input, the check on `documents` warns."""


@dg.scaffold_with(GuardScaffolder)
class CorpusGuard(dg.Component, dg.Model, dg.Resolvable):
    """Guard one corpus: documents, measured, sifted, candidate and release, partitioned by crawl dump."""

    name: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="The corpus; prefix of its assets.", examples=["web"])
    ]
    root: Annotated[str, Field(description="Where the guard keeps things.", examples=["guard"])]
    dumps: Annotated[
        str,
        Field(
            description="Input files of a dump, here or in S3, with {dump} for its name.",
            examples=["crawl/{dump}/*.warc.gz"],
        ),
    ]
    reservoir: Annotated[str, Field(description="Root of the human reservoir.", examples=["reservoir"])]
    policy: Annotated[str, Field(description="A YAML file beside this one, or `default`.")] = "default"
    reservoir_asset: Annotated[
        dg.ResolvedAssetKey, Field(description="The asset of the reservoir, for the lineage.")
    ] = dg.AssetKey(["reservoir"])
    signing_key: Annotated[str | None, Field(description="Ed25519 private key (PEM), made on first use.")] = None
    fields: Annotated[Mapping[str, str], Field(description="Input column for a field of a document.")] = Field({})
    apply_remedy: Annotated[
        bool,
        Field(description="Mix again as the remedy says where the state is not OK; that only raises the human share."),
    ] = False
    data_docs: Annotated[
        str | None, Field(description="A folder for pages of Great Expectations about gates and suites.")
    ] = None
    schedule: Annotated[str, Field(description="When the newest dump is judged again (cron).")] = "0 5 * * *"

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What the UI shows about this component."""
        return dg.ComponentTypeSpec(description="From crawl dumps to signed releases.", tags=["training-data", "llm"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the assets, checks, job, schedule and sensor."""
        return self.definitions(Place(context.project_root, context.path))

    def definitions(self, place: Place) -> dg.Definitions:
        """Build them for a project folder."""
        guard = _Guard(self, place)
        job = dg.define_asset_job(
            f"{self.name}_release",
            selection=[dg.AssetKey([self.name, step]) for step in STEPS],
            description=f"Take one dump of {self.name} from its files to a release, or to a refusal.",
        )
        return dg.Definitions(
            assets=[*guard.assets(), guard.crawl()],
            jobs=[job],
            sensors=[guard.new_dumps(job.name)],
            schedules=[guard.newest_again(job.name)],
        )


class _Guard:
    """The definitions of one `CorpusGuard`; every op calls one function of the core."""

    def __init__(self, component: CorpusGuard, place: Place) -> None:
        self.component = component
        self.place = place
        self.policy = place.policy(component.policy)
        self.partitions = dg.DynamicPartitionsDefinition(name=f"{component.name}_dumps")

    def key(self, step: str) -> dg.AssetKey:
        return dg.AssetKey([self.component.name, step])

    @property
    def store(self) -> Store:
        return self.place.store(self.component.root)

    def files(self, dump: str) -> str:
        return self.place.path(self.component.dumps).replace("{dump}", dump)

    def known(self, step: str, dump: str) -> Snapshot:
        found = latest(self.store, f"{self.component.name}/{step}/{dump}")
        if found is None:
            raise dg.Failure(f"dump {dump!r} has no {step}; materialise {step} first", allow_retries=False)
        return found

    def crawl(self) -> dg.AssetSpec:
        return dg.AssetSpec(
            self.key("crawl"),
            description=f"Files of the crawl: `{self.component.dumps}`.",
            group_name=self.component.name,
            partitions_def=self.partitions,
            kinds={"warc"},
        )

    def assets(self) -> list[dg.AssetsDefinition]:
        return [self.documents(), self.measured(), self.sifted(), self.candidate(), self.release()]

    def declare(self, step: str, upstream: list[dg.AssetKey], checks: dict[str, tuple[str, bool]], version: str) -> Any:  # noqa: ANN401 - dagster's decorator
        key = self.key(step)
        specs = [
            check_spec(name, key, text, partitions=self.partitions, blocking=blocking)
            for name, (text, blocking) in checks.items()
        ]
        return dg.asset(
            key=key,
            deps=upstream,
            partitions_def=self.partitions,
            check_specs=specs,
            group_name=self.component.name,
            kinds={"parquet"},
            code_version=version,
            output_required=True,
        )

    def documents(self) -> dg.AssetsDefinition:
        key = self.key("documents")
        checks = {
            "ledger_balances": ("Every record that came in is kept, dropped or quarantined.", True),
            "quarantine_is_small": (f"At most {MAX_QUARANTINED:.0%} of the records are quarantined.", False),
        }

        @self.declare("documents", [self.key("crawl")], checks, __version__)  # type: ignore[untyped-decorator]
        def documents(context: dg.AssetExecutionContext) -> Events:
            """Every record of the dump that could be read; the rest is in quarantine."""
            with failures():
                snapshot = ingest(
                    self.store,
                    self.component.name,
                    context.partition_key,
                    [self.files(context.partition_key)],
                    fields=self.component.fields,
                )
            share = snapshot.ledger.quarantined_share
            balanced = rows_agree(snapshot, "documents", snapshot.ledger.kept)
            yield dg.AssetCheckResult(check_name="ledger_balances", asset_key=key, passed=balanced, severity=ERROR)
            yield dg.AssetCheckResult(
                check_name="quarantine_is_small",
                asset_key=key,
                passed=share <= MAX_QUARANTINED,
                severity=WARN,
                metadata={"collapse_guard/quarantined_share": share},
            )
            yield materialised(snapshot, key, {"collapse_guard/quarantined_share": share})

        return documents  # type: ignore[no-any-return]

    def measured(self) -> dg.AssetsDefinition:
        key = self.key("measured")
        columns = measured_columns(self.policy)
        checks = {
            "every_document_measured": ("There is one row of signals for every document.", True),
            "no_signal_raised": (
                "No signal of your own raised; where one did, it is null, and null never keeps.",
                False,
            ),
        }
        if self.policy.watermarks:
            text = "Every watermark key could be tested; under one that cannot, nothing is ever found."
            checks["every_key_tested"] = (text, False)
        checks |= suite_checks(self.policy, "measured")
        version = json_digest({"columns": columns, "sifting": self.policy.sifting})[:16]

        @self.declare("measured", [self.key("documents")], checks, version)  # type: ignore[untyped-decorator]
        def measured(context: dg.AssetExecutionContext) -> Events:
            """A column per signal, beside the documents."""
            documents = self.known("documents", context.partition_key)
            with failures():
                snapshot = measure_snapshot(self.store, documents, self.policy, environment=self.place.environment)
            complete = rows_agree(snapshot, "measured", documents.ledger.kept)
            yield dg.AssetCheckResult(
                check_name="every_document_measured", asset_key=key, passed=complete, severity=ERROR
            )
            yield dg.AssetCheckResult(
                check_name="no_signal_raised",
                asset_key=key,
                passed=not snapshot.details["failures"],
                severity=WARN,
                metadata={"collapse_guard/failures": snapshot.details["failures"]},
                description="\n".join(snapshot.details["first_failures"]) or None,
            )
            evidence = snapshot.details["evidence"]
            if evidence["watermarks"]:
                yield _keys_check(evidence["watermarks"]["unsupported_keys"], key)
            yield from self.suites(snapshot, key)
            transforms = snapshot.details.get("transforms")
            edits = {"collapse_guard/transforms": transforms} if transforms else {}
            columns = signal_metadata(self.policy)
            yield materialised(snapshot, key, {**evidence_metadata(evidence), **columns, **edits})

        return measured  # type: ignore[no-any-return]

    def sifted(self) -> dg.AssetsDefinition:
        key = self.key("sifted")
        checks = {
            "ledger_balances": ("Every measured document has a verdict.", True),
            "something_is_kept": ("The policy does not drop everything.", False),
        }

        @self.declare("sifted", [self.key("measured")], checks, self.policy.digest[:16])  # type: ignore[untyped-decorator]
        def sifted(context: dg.AssetExecutionContext) -> Events:
            """Keep, review or drop, with the rule and the value that decided."""
            measured = self.known("measured", context.partition_key)
            with failures():
                snapshot = sift_snapshot(self.store, measured, self.policy)
                bias = audit_metadata(audit(self.store, snapshot, self.policy))
            balanced = rows_agree(snapshot, "sifted", measured.ledger.came_in)
            kept = snapshot.ledger.kept > 0
            yield dg.AssetCheckResult(check_name="ledger_balances", asset_key=key, passed=balanced, severity=ERROR)
            yield dg.AssetCheckResult(check_name="something_is_kept", asset_key=key, passed=kept, severity=WARN)
            yield materialised(snapshot, key, bias)

        return sifted  # type: ignore[no-any-return]

    def candidate(self) -> dg.AssetsDefinition:
        key = self.key("candidate")
        gates = {
            f"gate_{name}": (f"{self.policy.gate_metric(name)} is inside its bound.", gate.outside == "block")
            for name, gate in self.policy.gates.items()
        }
        checks = {
            **gates,
            "state": ("The corpus has not collapsed.", True),
            KEPT_OUT: (
                "No document of the reservoir's evaluation split, no copy and no near-copy of one is mixed.",
                True,
            ),
            ENOUGH: ("The reservoir met the share without repeats and without a smaller mix.", False),
            **({GATES_CHECK: (GATES_TEXT, False)} if self.component.data_docs else {}),
            **suite_checks(self.policy, "candidate"),
        }
        upstream = [self.key("sifted"), self.component.reservoir_asset]

        @self.declare("candidate", upstream, checks, self.policy.digest[:16])  # type: ignore[untyped-decorator]
        def candidate(context: dg.AssetExecutionContext) -> Events:
            """The pool of all dumps so far, mixed with the reservoir, and judged."""
            with failures():
                reservoir = open_reservoir(self.place.store(self.component.reservoir))
                snapshot, judgement = self.mixed(reservoir, context.partition_key)
                leaks = find_leaks(self.store, snapshot, reservoir.at(snapshot.parents[0]), self.policy)
                curves = candidate_frequencies(self.store, snapshot, reservoir, self.policy)
            known = self.history
            yield from gate_checks(judgement, key, known)
            yield state_check(judgement, key, known)
            yield from _mix_checks(snapshot, leaks, key)
            yield from self.suites(snapshot, key, judgement)
            name = self.component.name
            plots = {
                **plot_metadata(known, f"{name}, dump by dump"),
                **ranks_metadata(curves, f"{name} {context.partition_key}: words by rank, as many of each"),
                **origins_metadata(origins(self.store, name), f"{name}: who wrote it"),
            }
            yield materialised(snapshot, key, {**plots, **judgement_metadata(judgement), **mix_metadata(snapshot)})

        return candidate  # type: ignore[no-any-return]

    def release(self) -> dg.AssetsDefinition:
        key = self.key("release")
        checks = {
            "release_gate": ("Every gate is open for exactly these bytes.", True),
            "state": ("The corpus has not collapsed.", True),
        }

        @self.declare("release", [self.key("candidate")], checks, self.policy.digest[:16])  # type: ignore[untyped-decorator]
        def released(context: dg.AssetExecutionContext) -> Events:
            """The candidate with a signed verdict; the only thing that a training run can open."""
            candidate = self.known("candidate", context.partition_key)
            with failures():
                reservoir = open_reservoir(self.place.store(self.component.reservoir))
                signing_key, now = self.place.key(self.component.signing_key), datetime.now(UTC)
                try:
                    require_expectations(self.store, candidate, self.policy)
                    entry, judgement = release(self.store, candidate, reservoir, self.policy, key=signing_key, at=now)
                except GateClosed as closed:
                    yield dg.AssetCheckResult(
                        check_name="release_gate", asset_key=key, passed=False, severity=ERROR, description=str(closed)
                    )
                    if closed.judgement:
                        yield state_check(Judgement.from_json(closed.judgement), key, self.history)
                    raise
            yield _gate_check(entry.overrides, now, key)
            yield state_check(judgement, key, self.history)
            facts = {
                "collapse_guard/release": entry.number,
                "collapse_guard/signed_by": signing_key.public.keyid[:16],
                "collapse_guard/merkle_root": entry.statement["documents"]["merkle_root"],
            }
            yield materialised(candidate, key, {**judgement_metadata(judgement), **facts})

        return released  # type: ignore[no-any-return]

    def mixed(self, reservoir: Reservoir, dump: str) -> tuple[Snapshot, Judgement]:
        """The candidate of a dump and its judgement, mixed again by its remedy where that is asked for."""
        candidate = mix(self.store, reservoir, self.component.name, dump, self.policy)
        judgement = judge(self.store, candidate, reservoir, self.policy)
        if not (self.component.apply_remedy and judgement.remedy and judgement.remedy.feasible):
            return candidate, judgement
        remedied = apply_remedy(self.store, candidate, judgement, reservoir, self.policy)
        return remedied, judge(self.store, remedied, reservoir, self.policy)

    def suites(
        self, snapshot: Snapshot, key: dg.AssetKey, judgement: Judgement | None = None
    ) -> Iterator[dg.AssetCheckResult]:
        """The policy's suites of expectations over a snapshot, and the gates as one; with their pages, where wanted."""
        found = list(run_expectations(self.store, snapshot, self.policy))
        yield from suite_results(found, key)
        if self.component.data_docs is None:
            return
        validations = [validation for _, validation in found]
        if judgement:
            gates = validate_gates(judgement.to_json(), self.policy)
            validations.append(gates)
            yield gates_result(gates, key)
        if validations:
            folder = Path(self.place.path(self.component.data_docs)) / snapshot.name
            render_docs(validations, folder, datetime.now(UTC))

    @property
    def history(self) -> list[dict[str, Any]]:
        """How each dump was judged, oldest first."""
        return history(self.store, self.component.name)

    def dumps(self) -> list[str]:
        """The dumps whose files lie there now."""
        pattern = self.place.path(self.component.dumps)
        named = re.compile(re.escape(pattern).replace(r"\{dump\}", "(?P<dump>[^/]+)").replace(r"\*", "[^/]*"))
        found = (named.fullmatch(path) for path in matching(pattern.replace("{dump}", "*")))
        return sorted({match["dump"] for match in found if match})

    def new_dumps(self, job: str) -> dg.SensorDefinition:
        @dg.sensor(name=f"{self.component.name}_new_dumps", job_name=job, minimum_interval_seconds=60)
        def new_dumps(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
            """Register every new dump and take it through to a release."""
            known = set(context.instance.get_dynamic_partitions(str(self.partitions.name)))
            new = [dump for dump in self.dumps() if dump not in known]
            if not new:
                return dg.SkipReason(f"no new dump under {self.component.dumps}; {len(known)} known")
            return dg.SensorResult(
                run_requests=[dg.RunRequest(run_key=dump, partition_key=dump) for dump in new],
                dynamic_partitions_requests=[self.partitions.build_add_request(new)],
            )

        return new_dumps

    def newest_again(self, job: str) -> dg.ScheduleDefinition:
        @dg.schedule(name=f"{self.component.name}_newest_again", job_name=job, cron_schedule=self.component.schedule)
        def newest_again(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
            """Judge the newest dump again, against the reservoir as it is now; unchanged input publishes nothing."""
            known = context.instance.get_dynamic_partitions(str(self.partitions.name))
            return dg.RunRequest(partition_key=max(known)) if known else dg.SkipReason("no dump is known yet")

        return newest_again


def _keys_check(unsupported: list[dict[str, str]], asset: dg.AssetKey) -> dg.AssetCheckResult:
    told = "\n".join(f"{key['id']}: {key['reason']}" for key in unsupported)
    passed = not unsupported
    return dg.AssetCheckResult(
        check_name="every_key_tested", asset_key=asset, passed=passed, severity=WARN, description=told or None
    )


def _gate_check(overrides: Sequence[Override], now: datetime, key: dg.AssetKey) -> dg.AssetCheckResult:
    """Whether every gate was open, or somebody signed for one that was not."""
    return dg.AssetCheckResult(
        check_name="release_gate",
        asset_key=key,
        passed=not overrides,
        severity=WARN if overrides else ERROR,
        description="\n".join(one.told(now) for one in overrides) or None,
        metadata={"collapse_guard/overrides": [one.to_json(now) for one in overrides]} if overrides else None,
    )


def _mix_checks(candidate: Snapshot, leaks: Leaks, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    """What the rows of a candidate say about the evaluation split, and whether the reservoir was enough."""
    yield dg.AssetCheckResult(
        check_name=KEPT_OUT, asset_key=key, passed=not leaks.count, severity=ERROR, description=leaks.sentence
    )
    exhausted = candidate.details["exhausted"]
    told = exhausted and f"{exhausted['missing']:,} {candidate.details['by']} were missing: {exhausted['action']}"
    yield dg.AssetCheckResult(
        check_name=ENOUGH, asset_key=key, passed=exhausted is None, severity=WARN, description=told
    )
