"""The component that watches a model by what its generations write."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import dagster as dg
from pydantic import Field

from collapse_guard.components.settings import Place
from collapse_guard.components.showing import (
    ERROR,
    WARN,
    check_spec,
    failures,
    gate_checks,
    judgement_metadata,
    markdown,
    materialised,
    plot_metadata,
    state_check,
)
from collapse_guard.errors import UsageError
from collapse_guard.monitor import Watched, applicable_gates, find_samples, monitor
from collapse_guard.policy import Policy
from collapse_guard.reservoir import open_reservoir

Events = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]
MAX_QUARANTINED = 0.05
"""Above this share of the samples, a check warns."""


class GenerationMonitor(dg.Component, dg.Model, dg.Resolvable):
    """Watch what each generation of a model writes, beside human text and beside the generations before it."""

    name: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="The model; prefix of its assets.", examples=["writer"])
    ]
    root: Annotated[str, Field(description="Where the guard keeps things.", examples=["guard"])]
    samples: Annotated[
        str,
        Field(
            pattern=r"\{generation\}",
            description="Files of samples, with {generation} for the generation's number.",
            examples=["samples/gen{generation}.jsonl.zst"],
        ),
    ]
    reservoir: Annotated[str, Field(description="Root of the human reservoir.", examples=["reservoir"])]
    policy: Annotated[str, Field(description="A YAML file beside this one, or `default`.")] = "default"
    reservoir_asset: Annotated[
        dg.ResolvedAssetKey, Field(description="The asset of the reservoir, for the lineage.")
    ] = dg.AssetKey(["reservoir"])
    model_asset: Annotated[
        dg.ResolvedAssetKey | None, Field(description="The asset that trains the model, for the lineage.")
    ] = None
    fields: Annotated[Mapping[str, str], Field(description="Input column for a field of a document.")] = Field({})

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What the UI shows about this component."""
        return dg.ComponentTypeSpec(description="Watch a model's own output.", tags=["training-data", "llm"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the assets, checks, job and sensor."""
        return self.definitions(Place(context.project_root, context.path))

    def definitions(self, place: Place) -> dg.Definitions:
        """Build them for a project folder."""
        watch = _Watch(self, place)
        job = dg.define_asset_job(
            f"{self.name}_monitor",
            selection=[watch.key],
            description=f"Judge what one generation of {self.name} writes.",
        )
        return dg.Definitions(
            assets=[watch.samples(), watch.monitored()], jobs=[job], sensors=[watch.new_generations(job.name)]
        )


class _Watch:
    """The definitions of one `GenerationMonitor`; the op calls one function of the core."""

    def __init__(self, component: GenerationMonitor, place: Place) -> None:
        self.component = component
        self.place = place
        self.policy = place.policy(component.policy)
        self.partitions = dg.DynamicPartitionsDefinition(name=f"{component.name}_generations")
        self.key = dg.AssetKey([component.name, "monitored"])

    def samples(self) -> dg.AssetSpec:
        trained = self.component.model_asset
        return dg.AssetSpec(
            dg.AssetKey([self.component.name, "samples"]),
            deps=[trained] if trained else [],
            description=f"What each generation writes: `{self.component.samples}`.",
            group_name=self.component.name,
            partitions_def=self.partitions,
            kinds={"json"},
        )

    def found(self) -> dict[int, list[str]]:
        """The files of every generation that lie there now."""
        return find_samples([self.place.path(self.component.samples)])

    def watch(self, generation: str) -> list[Watched]:
        """Judge a generation and all before it, whichever were judged already: the order of runs does not matter."""
        found = self.found()
        if generation not in map(str, found):
            raise UsageError(f"generation {generation!r} has no samples under {self.component.samples}")
        upto = {number: files for number, files in found.items() if number <= int(generation)}
        reservoir = open_reservoir(self.place.store(self.component.reservoir))
        store = self.place.store(self.component.root)
        return monitor(store, self.component.name, upto, reservoir, self.policy, fields=self.component.fields)

    def monitored(self) -> dg.AssetsDefinition:
        specs = [
            check_spec(name, self.key, text, partitions=self.partitions, blocking=blocking)
            for name, (text, blocking) in _checks(self.policy).items()
        ]

        @dg.asset(
            key=self.key,
            deps=[dg.AssetKey([self.component.name, "samples"]), self.component.reservoir_asset],
            partitions_def=self.partitions,
            check_specs=specs,
            group_name=self.component.name,
            kinds={"parquet"},
            code_version=self.policy.digest[:16],
        )
        def monitored(context: dg.AssetExecutionContext) -> Events:
            """What one generation writes, beside human text and beside the generations before it."""
            with failures():
                watched = self.watch(context.partition_key)
            newest = watched[-1]
            history = [{**one.judgement.to_json(), "dump": str(one.generation)} for one in watched]
            yield from gate_checks(newest.judgement, self.key, history)
            yield state_check(newest.judgement, self.key, history)
            yield from _own_checks(newest, self.key)
            trend = plot_metadata(history, f"{self.component.name}, generation by generation")
            yield materialised(
                newest.snapshot, self.key, {**trend, **judgement_metadata(newest.judgement), **_trends(newest)}
            )

        return monitored

    def new_generations(self, job: str) -> dg.SensorDefinition:
        @dg.sensor(name=f"{self.component.name}_new_generations", job_name=job, minimum_interval_seconds=60)
        def new_generations(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
            """Register every new generation and judge what it writes."""
            known = set(context.instance.get_dynamic_partitions(str(self.partitions.name)))
            try:
                new = [name for name in map(str, self.found()) if name not in known]
            except UsageError as nothing:
                return dg.SkipReason(str(nothing))
            if not new:
                return dg.SkipReason(f"no new generation under {self.component.samples}; {len(known)} known")
            return dg.SensorResult(
                run_requests=[dg.RunRequest(run_key=name, partition_key=name) for name in new],
                dynamic_partitions_requests=[self.partitions.build_add_request(new)],
            )

        return new_generations


def _checks(policy: Policy) -> dict[str, tuple[str, bool]]:
    gates = {
        f"gate_{name}": (f"{policy.gate_metric(name)} is inside its bound.", policy.gates[name].outside == "block")
        for name in applicable_gates(policy)
    }
    return {
        **gates,
        "state": ("What the model writes has not collapsed.", True),
        "decline": ("No metric has been declining over the generations.", True),
        "quarantine_is_small": (f"At most {MAX_QUARANTINED:.0%} of the samples could not be read.", False),
    }


def _own_checks(newest: Watched, key: dg.AssetKey) -> Events:
    judgement, share = newest.judgement, newest.snapshot.ledger.quarantined_share
    yield dg.AssetCheckResult(
        check_name="decline",
        asset_key=key,
        passed=not newest.declined,
        severity=ERROR,
        description=f"declining: {', '.join(newest.declined)}" if newest.declined else "nothing has been declining",
        metadata={f"collapse_guard/{name}": log_e for name, log_e in judgement.decline.items()},
    )
    yield dg.AssetCheckResult(
        check_name="quarantine_is_small",
        asset_key=key,
        passed=share <= MAX_QUARANTINED,
        severity=WARN,
        metadata={"collapse_guard/quarantined_share": share},
    )


def _trends(newest: Watched) -> dict[str, Any]:
    """How the newest generation stands to the first, what is gone for good, and which gates were skipped."""
    since = {f"collapse_guard/{name}_of_first": change.ratio for name, change in newest.since_first.items()}
    per = {f"collapse_guard/{name}_per_generation": change.ratio for name, change in newest.per_generation.items()}
    words = {f"collapse_guard/missing_of_{name}": lost["since"][-1] for name, lost in newest.lost.items()}
    words["collapse_guard/new_since_first"] = newest.lost["first"]["new"]
    rows = [
        (name, *(f"{value:.3f}" for value in (*newest.since_first[name], *change)))
        for name, change in newest.per_generation.items()
    ]
    header = ("metric", "of first", "low", "high", "per generation", "low", "high")
    changes = {"collapse_guard/changes": markdown(header, rows)} if rows else {}
    skipped = {"collapse_guard/gates_skipped": ", ".join(newest.skipped)} if newest.skipped else {}
    gone = {"collapse_guard/gone": markdown(GONE_NAMES, _gone(newest))}
    facts = {"collapse_guard/tokens": newest.snapshot.details["tokens"], **words, **gone}
    return {**since, **per, **facts, **changes, **skipped}


GONE_NAMES = ("never written again from generation", "rare words of the first", "rare words of the reservoir")


def _gone(newest: Watched) -> list[tuple[str, ...]]:
    columns = [[f"{count:,} of {lost['types']:,}" for count in lost["since"]] for lost in newest.lost.values()]
    return [
        (str(number), *told) for number, *told in zip(newest.snapshot.details["generations"], *columns, strict=True)
    ]
