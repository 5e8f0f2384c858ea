"""The classifier on pairs of human and synthetic texts: how well it tells them apart, whom it wrongs, how fast it is.

The two halves of a pair share their beginnings, and human texts recur: texts that begin alike are held out together.
"""

from __future__ import annotations

import hashlib
import itertools
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.children import one_core, run_json
from benchmarks.peers import environment
from benchmarks.rows import Row
from benchmarks.texts import OUT, PROSE, SHARED, documents, origin
from collapse_guard.provenance.classifier import Model, Settings, train
from collapse_guard.provenance.classifier.evaluation import discrimination
from collapse_guard.provenance.classifier.examples import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SKLEARN = ("scikit-learn==1.7.2", "pyarrow>=25")
FILES = ("fast_detect_gpt.parquet", "chatgpt_essays.parquet")
ASSISTANTS = ("chatgpt", "gpt-3.5-turbo", "gpt-4")
ANY_LENGTH = Settings(min_words=20)
FIXED = Settings(costs=(10.0,))
START = 8
SIZE = 60_000_000
RUNS = 5
CUTS = 3
BOUND = 0.01


def run() -> list[Row]:
    """Train on the pairs of assistants, look at all others, and time it."""
    if not (SHARED / "detection").exists():
        print("classifier: no ../shared/data/detection, so nothing is measured")
        return []
    pairs = _pairs()
    human, synthetic = _of(pairs, ASSISTANTS)
    model = train(human, synthetic)
    cut = [_without_start(table) for table in (human, synthetic)]
    rows = [
        *_discrimination("held out", model.facts.report["held_out"], low=0.97),
        *_report(model),
        *_discrimination(
            "held out, ≥ 20 words", train(human, synthetic, ANY_LENGTH).facts.report["held_out"], low=0.97
        ),
        *_discrimination(
            "held out, shared start cut off, ≥ 20 words", train(*cut, ANY_LENGTH).facts.report["held_out"]
        ),
        *_halves(human, synthetic),
        *_others(model, pairs),
        *_all_generators(pairs),
    ]
    return [*rows, *_prose(model), *_beside_sklearn(human, synthetic), *_speed(model)]


def _pairs() -> pa.Table:
    """All texts, with an id, the group that must not be split, and how many first words a pair shares."""
    table = pa.concat_tables([pq.read_table(SHARED / "detection" / name) for name in FILES])
    rows = table.to_pylist()
    human = {row["pair_id"]: row["text"] for row in rows if row["label"] == "human"}
    synthetic = {row["pair_id"]: row["text"] for row in rows if row["label"] == "synthetic"}
    shared: dict[str, int] = {}
    for pair, text in human.items():
        shared[text] = max(shared.get(text, 0), _shared(text, synthetic[pair]))
    columns = {
        "id": [f"{row['label']}/{row['pair_id']}" for row in rows],
        "group": [_group(row["pair_id"], human[row["pair_id"]]) for row in rows],
        "shared": [shared[human[row["pair_id"]]] for row in rows],
    }
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


def _shared(one: str, other: str) -> int:
    words = zip(one.split(), other.split(), strict=False)
    return next((place for place, (a, b) in enumerate(words) if a != b), 0)


def _group(pair: str, human: str) -> str:
    """The essays of a pair answer the same question but share no words."""
    return pair if pair.startswith("essay/") else " ".join(human.lower().split()[:START])


def _of(pairs: pa.Table, generators: tuple[str, ...]) -> tuple[pa.Table, pa.Table]:
    """The texts of some generators, and the human texts that begin as they do."""
    synthetic = pairs.filter(pc.is_in(pairs["generator"], pa.array(generators)))
    paired = pc.is_in(pairs["group"], synthetic["group"].combine_chunks())
    return pairs.filter(pc.and_(pc.equal(pairs["label"], "human"), paired)), synthetic


def _without_start(table: pa.Table) -> pa.Table:
    texts = zip(table["text"].to_pylist(), table["shared"].to_pylist(), strict=True)
    cut = pa.array([" ".join(text.split()[words:]) for text, words in texts])
    return table.set_column(table.column_names.index("text"), "text", cut)


def _discrimination(name: str, found: dict[str, Any], low: float | None = None) -> list[Row]:
    note = f"{found['human']:,} human, {found['synthetic']:,} synthetic"
    if found["auc"] is None:
        return []
    rate = Row("classifier", f"{name}: found at 1 % false positives", 100 * found["found"], "%", note=note)
    return [Row("classifier", f"{name}: AUC", found["auc"], "", low=low, note=note), rate]


def _report(model: Model) -> Iterator[Row]:
    report = model.facts.report
    for entry in report["by_length"]:
        yield from _discrimination(f"held out, {entry['words']} words", entry)
    for what in ("domain", "generator"):
        for entry in report[f"{what}_left_out"]:
            yield from _discrimination(f"{what} {entry[what]} left out", entry)
    for entry in report["human_slices"]:
        note = f"{entry['flagged']} of {entry['texts']:,} human texts, held out"
        yield Row("classifier", f"flagged at 1 %: {entry['by']} {entry['value']}", 100 * entry["share"], "%", note=note)


def _halves(human: pa.Table, synthetic: pa.Table) -> Iterator[Row]:
    """Train on one half of the groups and look at the other, both ways, for several ways to cut."""
    p: dict[str, list[float]] = {"false positives": [], "found": []}
    for cut, half in itertools.product(range(CUTS), (0, 1)):
        inside = [_halved(table, cut) == half for table in (human, synthetic)]
        model = train(human.filter(pa.array(inside[0])), synthetic.filter(pa.array(inside[1])), FIXED)
        for name, table, rows in zip(p, (human, synthetic), inside, strict=True):
            tested = pc.unique(table.filter(pa.array(~rows))["text"])
            p[name] += model.score(tested)["p_human_conformal"].drop_null().to_pylist()
    for name, values in p.items():
        flagged = np.array(values) <= BOUND
        note = f"{flagged.sum()} of {flagged.size:,} judgements, trained on other halves, {CUTS} cuts"
        yield Row("classifier", f"p of human ≤ 1 %: {name}", 100 * float(flagged.mean()), "%", note=note)


def _halved(table: pa.Table, cut: int) -> NDArray[np.int64]:
    """Say in which half each text is, by its group."""
    keys = (hashlib.sha256(f"{cut} {group}".encode()).digest() for group in table["group"].to_pylist())
    return np.array([key[0] % 2 for key in keys])


def _others(model: Model, pairs: pa.Table) -> Iterator[Row]:
    """What the model says about generators that are no assistants: it must not be trusted there."""
    for generator in sorted(set(pairs["generator"].drop_null().to_pylist()) - set(ASSISTANTS)):
        said = model.score(pairs.filter(pc.equal(pairs["generator"], generator))["text"])
        judged = said["p_human_conformal"].drop_null().to_numpy()
        note = f"{said.num_rows} completions, {said.num_rows - judged.size} abstained"
        share = 100 * float((judged <= BOUND).mean())
        yield Row("classifier", f"found at 1 %: {generator}, never trained on", share, "%", note=note)


def _all_generators(pairs: pa.Table) -> Iterator[Row]:
    """Train on every generator, base models too."""
    human, synthetic = (pairs.filter(pc.equal(pairs["label"], label)) for label in ("human", "synthetic"))
    started = time.process_time()
    report = train(human, synthetic, FIXED).facts.report
    seconds = time.process_time() - started
    yield from _discrimination("all generators, held out", report["held_out"])
    for entry in report["generator_left_out"]:
        yield from _discrimination(f"all generators but {entry['generator']}", entry)
    note = f"{sum(report['texts'].values()):,} texts, one cost, everything left out in turn"
    yield Row("classifier", "training with its report", seconds, "s", note=note)


def _prose(model: Model) -> Iterator[Row]:
    """What the model says about human texts of other domains."""
    if not PROSE.exists():
        return
    table = pq.read_table(PROSE / "part-006.parquet", columns=["text"])
    said = model.score(table["text"])
    judged = said["p_human_conformal"].drop_null().to_numpy()
    counts = {entry["values"]: entry["counts"] for entry in said["abstained"].value_counts().to_pylist()}
    note = ", ".join(f"{count:,} {reason or 'judged'}" for reason, count in counts.items())
    yield Row("classifier", "other human prose: abstained", 100 * (1 - judged.size / said.num_rows), "%", note=note)
    wrong = judged <= BOUND
    note = f"{wrong.sum()} of {wrong.size} judged"
    yield Row("classifier", "other human prose: p of human ≤ 1 %", 100 * float(wrong.mean()), "%", note=note)


def _beside_sklearn(human: pa.Table, synthetic: pa.Table) -> list[Row]:
    """Compare with scikit-learn on the same texts and folds."""
    python, trouble = environment("peers-sklearn", SKLEARN)
    examples = prepare(human, synthetic, Settings())
    both = pa.concat_tables([table.select(["id", "text"]) for table in (human, synthetic)])
    texts = dict(zip(both["id"].to_pylist(), both["text"].to_pylist(), strict=True))
    chosen = [texts[name] for name in examples.table["id"].to_pylist()]
    path = OUT / "classifier.parquet"
    pq.write_table(pa.table({"text": chosen, "synthetic": examples.synthetic, "fold": examples.folds}), path)
    ours = train(human, synthetic, FIXED)
    with one_core():
        speed = _speed_of(ours, pa.array(chosen, pa.large_string()))[0]
        said = {} if trouble else run_json([str(python), str(Path(__file__).with_name("peer_sklearn.py")), str(path)])
    peer = discrimination(np.array(said["logits"]), examples.synthetic) if said else {"auc": None, "found": None}
    mine, size = ours.facts.report["held_out"], sum(len(text.encode()) for text in chosen)
    note = trouble or "peer: scikit-learn, same folds, cost 10"
    theirs = size / 1e6 / said["seconds"] if said else None
    found = None if peer["found"] is None else 100 * peer["found"]
    return [
        Row("classifier", "held out, cost 10: AUC", mine["auc"], "", peer=peer["auc"], note=note),
        Row("classifier", "held out, cost 10: found at 1 %", 100 * mine["found"], "%", peer=found, note=note),
        Row("classifier", "scoring, these texts", speed, "MB/s", peer=theirs, note=note),
    ]


def _speed(model: Model) -> list[Row]:
    texts = pa.array([document.text for document in documents(SIZE)], pa.large_string())
    with one_core():
        whole, read = _speed_of(model, texts)
    note = f"{SIZE / 1e6:.0f} MB of {origin()}, one core; of the {model.settings.window:,} characters read"
    return [
        Row("classifier", "scoring, whole texts", whole, "MB/s", low=20, note=note),
        Row("classifier", "scoring, characters that are read", read, "M characters/s", note=note),
    ]


def _speed_of(model: Model, texts: pa.LargeStringArray) -> tuple[float, float]:
    """Megabytes per second, of whole texts and of what is read of them."""
    taken = []
    for _ in range(RUNS + 1):
        started = time.process_time()
        model.score(texts)
        taken.append(time.process_time() - started)
    seconds = 1e6 * statistics.median(taken[1:])
    read = pc.sum(pc.min_element_wise(pc.utf8_length(texts), model.settings.window)).as_py()
    return pc.sum(pc.binary_length(texts)).as_py() / seconds, read / seconds
