"""The demo's two models: one trained on what the guard released, one on whatever was scraped."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
import pyarrow.compute as pc
from pydantic import Field

from collapse_guard.components.corpus_guard import STEPS
from collapse_guard.components.settings import Place
from collapse_guard.components.showing import (
    check_spec,
    failures,
    gate_checks,
    judgement_metadata,
    materialised,
    plot_metadata,
    ranks_metadata,
)
from collapse_guard.document import UNKNOWN
from collapse_guard.ingest import ingest
from collapse_guard.judge import Corpus, Yardstick, history, judge_profile, keep_judgement
from collapse_guard.metrics import Profile
from collapse_guard.profiling import profile_documents, read_profiles
from collapse_guard.release import open_release
from collapse_guard.report.generations import rank_frequency
from collapse_guard.reservoir import open_reservoir
from collapse_guard.simulate.language_model import NgramModel
from collapse_guard.snapshot import read_rows

UNGUARDED = "unguarded"


def model_file(folder: str | Path, arm: str, dump: str) -> Path:
    """Where the model that an arm trained on a dump lies."""
    return Path(folder) / arm / f"{dump}.npz"


class TrainingDemo(dg.Component, dg.Model, dg.Resolvable):
    """Train a small language model on each release, and beside it one on the unguarded scrape, to compare."""

    corpus: Annotated[str, Field(description="The guarded corpus.", examples=["web"])]
    root: Annotated[str, Field(description="The guard's root.")]
    dumps: Annotated[str, Field(description="The unguarded scrape's files, with {dump} for its name.")]
    reservoir: Annotated[str, Field(description="Root of the human reservoir.")]
    models: Annotated[str, Field(description="Where models go.")]
    policy: Annotated[str, Field(description="The policy whose gates are shown.")] = "default"
    reservoir_asset: dg.ResolvedAssetKey = dg.AssetKey(["reservoir"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the assets."""
        return self.definitions(Place(context.project_root, context.path))

    def definitions(self, place: Place) -> dg.Definitions:
        """Build them for a project folder."""
        partitions = dg.DynamicPartitionsDefinition(name=f"{self.corpus}_dumps")
        scrape, model = dg.AssetKey([UNGUARDED, "scrape"]), dg.AssetKey([UNGUARDED, "trained_model"])
        assets = [
            self._guarded_model(place, partitions),
            self._scrape(place, partitions, scrape),
            self._unguarded_model(place, partitions, scrape, model),
        ]
        guarded = [dg.AssetKey([self.corpus, step]) for step in (*STEPS, "trained_model")]
        jobs = [
            dg.define_asset_job(f"{UNGUARDED}_training", selection=[scrape, model]),
            dg.define_asset_job(f"{self.corpus}_training", selection=guarded),
        ]
        return dg.Definitions(assets=assets, jobs=jobs)

    def _guarded_model(self, place: Place, partitions: dg.PartitionsDefinition[Any]) -> dg.AssetsDefinition:
        key = dg.AssetKey([self.corpus, "trained_model"])

        @dg.asset(
            key=key,
            deps=[dg.AssetKey([self.corpus, "release"])],
            partitions_def=partitions,
            group_name=self.corpus,
            kinds={"model"},
        )
        def guarded_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            """A model trained on the released corpus; it can read nothing else."""
            with failures():
                corpus = open_release(
                    place.path(self.root), self.corpus, dump=context.partition_key, at=datetime.now(UTC)
                )
                texts = corpus.to_arrow()["text"].to_pylist()
            return self._train(place, self.corpus, context.partition_key, texts)

        return guarded_model

    def _train(self, place: Place, arm: str, dump: str, texts: list[str]) -> dg.MaterializeResult[Any]:
        model = NgramModel.train(texts)
        path = model_file(place.path(self.models), arm, dump)
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
        return dg.MaterializeResult(
            metadata={"collapse_guard/documents": len(texts), "collapse_guard/vocabulary": model.words}
        )

    def _scrape(self, place: Place, partitions: dg.PartitionsDefinition[Any], key: dg.AssetKey) -> dg.AssetsDefinition:
        policy = place.policy(self.policy)
        specs = [
            check_spec(f"gate_{name}", key, "What the guard would say.", partitions=partitions, blocking=False)
            for name in policy.gates
        ]

        @dg.asset(
            key=key,
            deps=[self.reservoir_asset],
            partitions_def=partitions,
            check_specs=specs,
            group_name=UNGUARDED,
            kinds={"warc"},
        )
        def scrape(context: dg.AssetExecutionContext) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
            """Whatever was scraped, as it is; judged for comparison, but nothing stops it."""
            dump, store = context.partition_key, place.store(self.root)
            with failures():
                inputs = place.path(self.dumps).replace("{dump}", dump)
                documents = ingest(store, UNGUARDED, dump, [inputs])
                reservoir = open_reservoir(place.store(self.reservoir))
                tables = read_rows(store, documents.with_role("documents"), ["tokens"])
                tokens = {UNKNOWN: sum(pc.sum(table["tokens"]).as_py() for table in tables)}
                earlier = [judged for judged in history(store, UNGUARDED, "documents") if judged["dump"] < dump]
                profile = Profile.merged(read_profiles(store, profile_documents(store, documents)))
                yardstick = Yardstick.of(store, reservoir, policy.judging)
                corpus = Corpus(documents.digest, profile, tokens, earlier)
                judgement = judge_profile(store, corpus, yardstick, policy)
                keep_judgement(store, documents, judgement)
            known = history(store, UNGUARDED, "documents")
            yield from gate_checks(judgement, key, known, may_block=False)
            ranks = rank_frequency(corpus.profile, yardstick)
            plots = {
                **plot_metadata(known, f"{UNGUARDED}, dump by dump"),
                **ranks_metadata(ranks, f"{UNGUARDED} {dump}: words by rank, as many of each"),
            }
            yield materialised(documents, key, {**plots, **judgement_metadata(judgement)})

        return scrape

    def _unguarded_model(
        self, place: Place, partitions: dg.PartitionsDefinition[Any], scrape: dg.AssetKey, key: dg.AssetKey
    ) -> dg.AssetsDefinition:
        @dg.asset(key=key, deps=[scrape], partitions_def=partitions, group_name=UNGUARDED, kinds={"model"})
        def unguarded_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            """A model trained on the scrape itself: each generation replaces the one before."""
            dump, store = context.partition_key, place.store(self.root)
            with failures():
                documents = ingest(store, UNGUARDED, dump, [place.path(self.dumps).replace("{dump}", dump)])
                tables = read_rows(store, documents.with_role("documents"), ["text"])
                texts = [text for table in tables for text in table["text"].to_pylist()]
            return self._train(place, UNGUARDED, dump, texts)

        return unguarded_model
