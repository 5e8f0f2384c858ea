"""The command `collapse-guard demo`: two arms over generations, run through Dagster with the components' own assets."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
import zstandard

from collapse_guard.catalogue import BUILT_IN_POLICIES
from collapse_guard.components.corpus_guard import CorpusGuard
from collapse_guard.components.human_reservoir import HumanReservoir
from collapse_guard.components.settings import Place
from collapse_guard.components.training_demo import UNGUARDED, TrainingDemo, model_file
from collapse_guard.errors import GuardError, UsageError
from collapse_guard.judge import history
from collapse_guard.judge.findings import OPEN
from collapse_guard.simulate.human_text import read_human_text
from collapse_guard.simulate.language_model import NgramModel
from collapse_guard.simulate.marking import KEYS_NAME, Mark, write_ring
from collapse_guard.simulate.scrape import write_scrape
from collapse_guard.snapshot import latest, read_rows
from collapse_guard.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collapse_guard.snapshot import Ledger, Snapshot

CORPUS = "web"
MARKER = "demo.json"
RESERVOIR_SHARE = 0.55
FIRST_SHARE = 0.70
"""Of the human documents, this share becomes the reservoir; of the rest, this share is the first scrape."""
SYNTHETIC_PAGES = 700
MARKED_SHARE = 0.5
"""Of the synthetic pages, this share comes from a vendor that marks what it writes."""
PAGE_WORDS = 150
SHARPNESS = 2
"""Models are sampled a little sharper than they learnt, as with a temperature below one."""
THRIFTY_SHARE = 0.05
SECOND_SEED = 500
THRIFTY_GENERATION = 1
"""In this generation somebody first tries to save reservoir: the gate refuses, and the remedy is followed."""
COMPARED = {"documents": ["id", "url"], "measured": ["id", "watermark_outcome"]}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAGSTER_YAML = "telemetry: {enabled: false}\nnux: {enabled: false}\n"
FIRST_DUMP = datetime(2026, 1, 5, tzinfo=UTC)
POLICY_FOLDER, POLICY_NAME = "policy", "policy.yaml"
MARKED_RULE = f"""\
watermarks: {{keys: {KEYS_NAME}}}  # the vendor's key, which tells its pages from all others

rules:
  - {{name: marked, signal: watermark.q_value, low: 0.01, outside: drop}}
"""


@dataclass(frozen=True)
class Components:
    """The demo project's components with their places."""

    reservoir: HumanReservoir
    guard: CorpusGuard
    training: TrainingDemo

    def definitions(self, place: Place) -> dg.Definitions:
        """All their definitions."""
        parts = (component.definitions(place) for component in (self.reservoir, self.guard, self.training))
        return dg.Definitions.merge(*parts)


def policy_in(out: Path) -> str:
    """The policy that a demo left in its folder; `default` where none has run yet, so that the project loads."""
    path = out.resolve() / POLICY_FOLDER / POLICY_NAME
    return str(path) if path.is_file() else "default"


@dg.template_var
def demo_policy(context: dg.ComponentLoadContext) -> Callable[[str], str]:
    """For the project's YAML: `demo_policy(folder)` names the policy of the demo in that folder."""
    return lambda out: policy_in(context.project_root / out)


def components(out: str, store: str | None = None) -> Components:
    """The same components as the YAML in the project's `collapse_guard/defs/`.

    Args:
        out: The folder that everything lies below.
        store: Where guard and reservoir lie instead, such as `s3://bucket/prefix`.

    Returns:
        The components.
    """
    guard, reservoir, key = f"{store or out}/guard", f"{store or out}/reservoir", f"{out}/signing.pem"
    return Components(
        HumanReservoir(
            root=reservoir,
            inputs=f"{out}/human/*.jsonl.zst",
            by="the demo",
            licence="see each document",
            evidence="documentation that came with the Python installation; presumed human for the demo",
            signing_key=key,
        ),
        CorpusGuard(
            name=CORPUS,
            root=guard,
            dumps=f"{out}/crawl/{CORPUS}/{{dump}}/*",
            reservoir=reservoir,
            signing_key=key,
            policy=policy_in(Path(out)),
        ),
        TrainingDemo(
            corpus=CORPUS,
            root=guard,
            dumps=f"{out}/crawl/{UNGUARDED}/{{dump}}/*",
            reservoir=reservoir,
            models=f"{out}/models",
        ),
    )


class Demo:
    """One run of the demo: writes the scrapes, materialises the assets, reads what they left."""

    def __init__(self, out: Path, seed: int, store: str | None = None) -> None:
        self.out = out
        self._store = store or str(out)
        self._seed = seed
        self._place = Place(out, out)
        self._guard = open_store(f"{self._store}/guard")
        home = out / "dagster"
        home.mkdir(parents=True)
        (home / "dagster.yaml").write_text(DAGSTER_YAML, encoding="utf-8")
        self._instance = dg.DagsterInstance.from_config(str(home))

    def close(self) -> None:
        """Let go of Dagster's storage."""
        self._instance.dispose()

    def prepare(self, generations: int) -> None:
        """Read this machine's documentation, admit a part to the reservoir, keep the rest for the scrapes."""
        rows = read_human_text().to_pylist()
        folder = self.out / POLICY_FOLDER
        self._mark = Mark(write_ring(folder, (row["text"] for row in rows), self._seed))
        (folder / POLICY_NAME).write_text(_policy(), encoding="utf-8")
        self._components = components(str(self.out), self._store)
        held = int(len(rows) * RESERVOIR_SHARE)
        _write_rows(self.out / "human" / "documentation.jsonl.zst", rows[:held])
        texts = [row["text"] for row in rows[held:]]
        first = int(len(texts) * FIRST_SHARE)
        later = (len(texts) - first) // max(generations - 1, 1)
        self._human = [texts[:first]]
        self._human += [texts[first + later * index : first + later * (index + 1)] for index in range(generations - 1)]
        self.human_bytes = sum(len(row["text"].encode()) for row in rows)
        self._materialise("reservoir_verify", None)

    def generation(self, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Scrape, then run both arms; returns the rows of the unguarded and the guarded arm."""
        dump = f"dump-{number:02d}"
        self._scrape(UNGUARDED, number, dump)
        marked = self._scrape(CORPUS, number, dump)
        self._instance.add_dynamic_partitions(f"{CORPUS}_dumps", [dump])
        self._materialise(f"{UNGUARDED}_training", dump)
        refusals = [self._thrifty(dump)] if number == THRIFTY_GENERATION else []
        released = self._materialise(f"{CORPUS}_training", dump)
        guarded = self._row(CORPUS, number, dump, "candidate", released=released)
        guarded |= {"watermark": self._watermark(dump, marked), "refusals": refusals}
        return self._row(UNGUARDED, number, dump, "documents", released=False), guarded

    def release(self) -> dict[str, Any]:
        """Where the newest release is."""
        from collapse_guard.release import open_release  # noqa: PLC0415 - the line that a reader of the demo types

        root = f"{self._store}/guard"
        opened = open_release(root, CORPUS)
        return {"root": root, "name": CORPUS, "dump": opened.release.dump, "digest": opened.digest}

    def _scrape(self, arm: str, number: int, dump: str) -> frozenset[str]:
        """Write what a crawl would find, and give the addresses of the pages that carry the vendor's mark."""
        plain, marked = self._pages(arm, number)
        report = write_scrape(
            self.out / "crawl" / arm,
            dump=dump,
            human=self._human[number],
            synthetic=[*plain, *marked],
            captured_at=FIRST_DUMP + timedelta(days=28 * number),
            seed=self._seed * 1000 + number,
            marked=marked,
        )
        return report.marked_urls

    def _pages(self, arm: str, number: int) -> tuple[list[str], list[str]]:
        """Let an arm's newest model write pages, without and with the mark."""
        models = [model_file(self.out / "models", arm, f"dump-{earlier:02d}") for earlier in range(number)]
        newest = next((path for path in reversed(models) if path.is_file()), None)
        if newest is None:
            return [], []
        write = partial(NgramModel.load(newest).write_pages, words=PAGE_WORDS, sharpness=SHARPNESS)
        count, seed = round(MARKED_SHARE * SYNTHETIC_PAGES), self._seed * 1000 + number
        return write(SYNTHETIC_PAGES - count, seed=seed), write(count, seed=seed + SECOND_SEED, mark=self._mark)

    def _thrifty(self, dump: str) -> dict[str, Any]:
        policy = self.out / POLICY_FOLDER / "thrifty.yaml"
        policy.write_text(_policy(human_share=THRIFTY_SHARE), encoding="utf-8")
        thrifty = self._components.guard.model_copy(update={"policy": str(policy)})
        self._materialise(f"{CORPUS}_release", dump, dataclasses.replace(self._components, guard=thrifty))
        judged = history(self._guard, CORPUS)[-1]
        return {"why": _closed(judged), "remedy": judged["remedy"]}

    def _materialise(self, job: str, dump: str | None, parts: Components | None = None) -> bool:
        definitions = (parts or self._components).definitions(self._place)
        run = definitions.resolve_job_def(job).execute_in_process(
            instance=self._instance, partition_key=dump, raise_on_error=False, run_config=QUIET
        )
        return bool(run.success)

    def _row(self, arm: str, number: int, dump: str, step: str, *, released: bool) -> dict[str, Any]:
        judged = history(self._guard, arm, step)[-1]
        names = ("human_share", "rare_coverage", "distinct_2", "heldout_perplexity")
        return {
            "generation": number,
            "dump": dump,
            "ledger": self._ledger(arm, dump).to_json(),
            **{name: judged["metrics"][name] for name in names},
            "state": judged["state"],
            "released": released,
            "why": "" if released else _closed(judged),
            "remedy": judged["remedy"],
        }

    def _watermark(self, dump: str, marked: frozenset[str]) -> dict[str, int]:
        """Compare what the rule found with what is marked, of the documents that could be read."""
        documents, measured = (self._rows(step, dump, names) for step, names in COMPARED.items())
        told = dict(zip(measured["id"].to_pylist(), measured["watermark_outcome"].to_pylist(), strict=True))
        outcomes = Counter(
            (url in marked, told[name])
            for name, url in zip(documents["id"].to_pylist(), documents["url"].to_pylist(), strict=True)
        )
        return {
            "marked": sum(count for (true, _), count in outcomes.items() if true),
            "found": outcomes[True, "evidence"],
            "inconclusive": outcomes[True, "inconclusive"],
            "false": outcomes[False, "evidence"],
        }

    def _rows(self, step: str, dump: str, names: list[str]) -> pa.Table:
        snapshot = self._known(CORPUS, step, dump)
        return pa.concat_tables(read_rows(self._guard, snapshot.with_role(step), names))

    def _known(self, arm: str, step: str, dump: str) -> Snapshot:
        found = latest(self._guard, f"{arm}/{step}/{dump}")
        if found is None:
            raise GuardError(f"the demo's {arm} arm has no {step} for {dump}; see the run in `make ui`")
        return found

    def _ledger(self, arm: str, dump: str) -> Ledger:
        read = self._known(arm, "documents", dump).ledger
        sifted = latest(self._guard, f"{arm}/sifted/{dump}")
        return read.then(sifted.ledger) if sifted else read


def _policy(human_share: float = 0.30) -> str:
    """The default policy, and a rule against marked pages."""
    text = BUILT_IN_POLICIES["default"].read_text(encoding="utf-8")
    text = text.replace("human_share: 0.30 ", f"human_share: {human_share:.2f} ")
    return text.replace("name: default\n", "name: demo\n").replace("rules:\n", MARKED_RULE)


def _closed(judged: dict[str, Any]) -> str:
    """Why a corpus may not be released, short enough for a line of the table."""
    said = [_short(gate) for gate in judged["gates"] if gate["outside"] == "block" and not gate["passed"]]
    return "; ".join([*said, *([] if judged["state"] in OPEN else [f"state {judged['state']}"])])


def _short(gate: dict[str, Any]) -> str:
    value, low, high = gate["value"], gate["low"], gate["high"]
    if value is None:
        return f"{gate['name']} not measured"
    if low is not None and value < low:
        return f"{gate['name']} {value:.2f} < {low:g}"
    if high is not None and value > high:
        return f"{gate['name']} {value:.2f} > {high:g}"
    return f"{gate['name']} {value:.2f} too near its bound"


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True)
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    path.write_bytes(zstandard.compress(lines))


def fresh_folder(out: Path) -> Path:
    """Empty the demo's folder; refuses a folder that holds something else.

    Args:
        out: The folder.

    Returns:
        Its absolute path.

    Raises:
        UsageError: The folder was not made by the demo.
    """
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).is_file():
            raise UsageError(f"{out} holds something that the demo did not make; give an empty folder with --root")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    return out.resolve()


def run(
    out: Path,
    generations: int,
    seed: int,
    show: Callable[[int, dict[str, Any], dict[str, Any]], None],
    *,
    store: str | None = None,
) -> dict[str, Any]:
    """Run the demo.

    Args:
        out: Where it leaves everything.
        generations: Training rounds; round 0 is trained on human pages alone.
        seed: Fixes everything that is random.
        show: Called after each generation with the rows of the unguarded and the guarded arm.
        store: Where guard and reservoir lie, such as `s3://bucket/prefix`; by default below `out`.

    Returns:
        `arms.guarded`, `arms.unguarded` (a row per generation) and `release`.
    """
    out = fresh_folder(out)
    (out / MARKER).write_text(json.dumps({"generations": generations, "seed": seed}), encoding="utf-8")
    demo = Demo(out, seed, store)
    try:
        demo.prepare(generations)
        arms: dict[str, list[dict[str, Any]]] = {"guarded": [], "unguarded": []}
        for number in range(generations):
            unguarded, guarded = demo.generation(number)
            arms["unguarded"].append(unguarded)
            arms["guarded"].append(guarded)
            show(number, unguarded, guarded)
        return {"arms": arms, "release": demo.release(), "human_bytes": demo.human_bytes}
    finally:
        demo.close()
