"""A tiny but real guarded project: generated documents, a policy, and the guard's own components over them."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from collapse_guard.components import CorpusGuard, HumanReservoir, TrainingDemo
from collapse_guard.components.settings import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

CORPUS = "web"
RELEASE_JOB = "web_release"
TRAINING_JOB = "web_training"
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
COMMON = (
    "the of and to in a is that for it as was with be by on not he this are or his from at which but have an had they "
    "you were their one all we can her has there been if more when will would who so no out up into about them some"
).split()
STEMS = (
    "paint build walk learn write carry plant count measure gather travel answer border garden window river market "
    "winter summer letter bridge forest harbour village teacher farmer kitchen lantern ladder blanket mirror engine "
    "copper silver marble timber cotton leather paper basket hammer needle anchor pillow candle saddle whistle"
).split()
STARTS = ["", "re", "un", "over", "under", "out", "fore", "mis"]
ENDS = ["", "s", "ing", "ed", "er", "ers", "less", "ful", "like", "wise"]
DEFAULT_POLICY = """\
name: small
packs: [gopher_quality@1]
rules:
  - {name: not_english, signal: {kind: language_probability, languages: [en]}, low: 0.5, outside: drop}
mix: {human_share: SHARE, on_exhausted: fail}
judging: {tokens: 8000, draws: 20}
gates:
  human_share: {low: 0.10, outside: block}
  human_share_target: {metric: human_share, low: 0.30, outside: warn}
  rare_coverage: {relative: true, low: 0.50, outside: block}
  distinct_2: {relative: true, low: 0.50, outside: block}
  heldout_perplexity: {relative: true, high: 2.0, outside: block}
"""
ENOUGH, TOO_LITTLE = 0.3, 0.05


def rare_words() -> list[str]:
    """A long tail of words in the shape of English ones, in a fixed order."""
    words = sorted({start + stem + end for start in STARTS for stem in STEMS for end in ENDS})
    random.Random(5).shuffle(words)
    return words


def pages(count: int, *, seed: int, words: int = 170, vocabulary: int = 4000) -> list[str]:
    """Documents of sentences with a falling word frequency; the same for the same arguments."""
    rng = random.Random(seed)
    tail = rare_words()[:vocabulary]
    weights = [1 / (rank + 3) for rank in range(len(tail))]
    return [_page(rng, tail, weights, words) for _ in range(count)]


def _page(rng: random.Random, tail: list[str], weights: list[float], words: int) -> str:
    drawn = iter(rng.choices(tail, weights, k=words))
    mixed = [rng.choice(COMMON) if rng.random() < 0.5 else next(drawn) for _ in range(words)]
    starts = range(0, words, 12)
    return " ".join(" ".join(mixed[start : start + 12]).capitalize() + "." for start in starts)


def write_pages(path: Path, texts: list[str]) -> None:
    """Write documents as JSON lines, the file appearing whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")


@dataclass(frozen=True)
class SmallProject:
    """A project folder with human documents, an admitted reservoir, crawl dumps and a policy."""

    root: Path

    @property
    def guard(self) -> Path:
        """The guard's root."""
        return self.root / "guard"

    def model(self, dump: str, arm: str = CORPUS) -> Path:
        """Where the demo's training asset leaves the model that it trained on a dump."""
        return self.root / "models" / arm / f"{dump}.npz"

    def write_dump(self, dump: str, *, count: int = 100, seed: int = 100) -> None:
        """Write a crawl dump of text as varied as the reservoir's."""
        write_pages(self.root / "crawl" / dump / "part.jsonl", pages(count, seed=seed))

    def write_policy(self, share: float = ENOUGH, *, near: str = "") -> None:
        """Write the policy; with too small a share every candidate is refused. `near` is how near copies are found."""
        text = DEFAULT_POLICY.replace("SHARE", str(share)) + (f"dedup: {{near: {near}}}\n" if near else "")
        (self.root / "policy.yaml").write_text(text, encoding="utf-8")

    def attributes(self) -> dict[str, Any]:
        """The attributes of the project's `CorpusGuard`."""
        return {
            "name": CORPUS,
            "root": "guard",
            "dumps": "crawl/{dump}/*",
            "reservoir": "reservoir",
            "policy": "policy.yaml",
            "signing_key": "signing.pem",
        }

    def reservoir(self) -> HumanReservoir:
        """The project's reservoir component."""
        return HumanReservoir(
            root="reservoir",
            inputs="human/*",
            by="the tests",
            licence="CC0-1.0",
            evidence="generated; stands for human text",
            signing_key="signing.pem",
        )

    def definitions(self, extra: dg.Definitions | None = None, **guard: Any) -> dg.Definitions:
        """All definitions of the project, as its policy file says now."""
        training = TrainingDemo(
            corpus=CORPUS,
            root="guard",
            dumps="crawl/{dump}/*",
            reservoir="reservoir",
            models="models",
            policy="policy.yaml",
        )
        place = Place(self.root, self.root)
        parts = [CorpusGuard(**{**self.attributes(), **guard}), self.reservoir(), training]
        return dg.Definitions.merge(*(part.definitions(place) for part in parts), extra or dg.Definitions())

    def copy(self, root: Path) -> SmallProject:
        """The same project in another folder, for one test to change."""
        shutil.copytree(self.root, root)
        return SmallProject(root)


def build_project(root: Path) -> SmallProject:
    """Write the inputs of a project with one dump, `d0`, and admit its reservoir."""
    project = SmallProject(root)
    write_pages(root / "human" / "human.jsonl", pages(400, seed=1))
    project.write_policy()
    project.write_dump("d0")
    with dg.DagsterInstance.ephemeral() as instance:
        assert run_job(project.definitions(), "reservoir_verify", instance, None).success
    return project


def run_job(
    definitions: dg.Definitions,
    job: str,
    instance: dg.DagsterInstance,
    dump: str | None,
    selection: list[dg.AssetKey] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run a job in this process; a failed run is a result, not an error."""
    if dump is not None:
        instance.add_dynamic_partitions(f"{CORPUS}_dumps", [dump])
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance,
        partition_key=dump,
        asset_selection=selection,
        raise_on_error=False,
        run_config=SILENT,
        tags=dict(tags or {}),
    )
