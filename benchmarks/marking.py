"""Marking: the same marked scores as the references, texts that they find too, and how long a text must be."""

from __future__ import annotations

import json
import math
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.children import one_core, run_json
from benchmarks.rows import Row
from benchmarks.texts import ROOT
from benchmarks.watermarks import ask, key_of, peer
from collapse_guard.provenance.marking.generators import Marker
from collapse_guard.provenance.watermark.keys import complete
from collapse_guard.provenance.watermark.schemes import EVIDENCE, Scorer, scan_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SCHEMES = (
    "kgw_simple_1 kgw_minhash kgw_selfhash hf_lefthash hf_selfhash gumbel_philox synthid_table synthid_iv"
).split()
VOCABULARIES = (997, 32_000)
TOKENS = 200
TEXTS, LONGEST, SIZE, TOP_K = 15, 400, 4096, 100
STEEPNESS = 1.3
"""Of the power law that likely tokens follow after any context; at temperature 1 some 10 tokens are worth a guess."""
TEMPERATURES = (1.0, 0.7)


def run() -> list[Row]:
    """Compare with the references, then write texts with the defaults."""
    with one_core():
        python, trouble = peer()
        rows = [Row("marking", "schemes compared", 0, "", low=1, note=trouble)] if trouble else _agreement(python)
        return rows + [_needed(scheme, temperature) for scheme in SCHEMES for temperature in TEMPERATURES]


def _agreement(python: Path) -> list[Row]:
    jobs = [{"key": key_of(scheme, size), "tokens": TOKENS} for scheme in SCHEMES for size in VOCABULARIES]
    written = marked_beside(python, jobs)
    found = ask(python, [{"key": job["key"], "texts": [said["text"]]} for job, said in zip(jobs, written, strict=True)])
    return [row for each in zip(jobs, written, found, strict=True) for row in _rows(*each)]


def marked_beside(python: Path, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `peer_marking.py` says: it imports this library, and what that needs, beside the references' torch."""
    script, references = Path(__file__).with_name("peer_marking.py"), python.parents[1] / "references"
    ours = [str(ROOT), sysconfig.get_paths()["purelib"]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.json"
        path.write_text(json.dumps(jobs))
        answers: Any = run_json([str(python), "-W", "ignore", str(script), str(references), str(path), *ours])
    return list(answers)


def _rows(job: dict[str, Any], written: dict[str, Any], found: dict[str, Any]) -> list[Row]:
    key, (score, count, p) = job["key"], found["reference"][0]
    ours = scan_tokens(written["text"], key)
    name = f"{key['scheme']}, {key['vocab_size']:,} ids"
    note = f"{written['identical']} of {written['compared']} steps; largest difference {written['difference']:.0e}"
    theirs = f"theirs: {score:.3g} over {count} tokens" + ("" if p is None else f", p {p:.0e}")
    share = 100 * written["identical"] / written["compared"]
    took, peers = (1e3 * written[who] / job["tokens"] for who in ("ours", "theirs"))
    return [
        Row("marking", f"{name}, agreement", share, "%", low=100, note=note),
        Row("marking", f"{name}, found", -ours.log_p / math.log(10), "-log10 p", low=5, note=theirs),
        Row(
            "marking",
            f"{name}, time",
            took,
            "ms/token",
            peer=peers,
            note="one sequence; ours as a processor of torch's scores",
        ),
    ]


def _needed(scheme: str, temperature: float) -> Row:
    """How many tokens of a text with the default strength are evidence, and how often as many as were written are."""
    key = key_of(scheme, 32_000) | {"vocab_size": SIZE}
    lengths, entropy = [], []
    for seed in range(TEXTS):
        ids, bits = _text(key, temperature, seed)
        lengths.append(_first_evidence(key, ids))
        entropy.append(bits)
    missing = sum(math.isinf(length) for length in lengths)
    note = f"of {TEXTS} texts, {missing} need more than {LONGEST}; entropy {np.mean(entropy):.1f} bits a token"
    median = min(float(np.median(lengths)), float(LONGEST))
    return Row("marking", f"{scheme}, median length at temperature {temperature:g}", median, "tokens", note=note)


def _text(key: dict[str, Any], temperature: float, seed: int) -> tuple[NDArray[np.int64], float]:
    """Write a text, and say how uncertain its next token was before the mark."""
    random, logits = np.random.default_rng(seed), -STEEPNESS * np.log(np.arange(1, SIZE + 1))
    marker = Marker(complete(key))
    if marker.samples:
        marker = Marker(complete(key), temperature=temperature, top_k=TOP_K)
    ids = random.integers(0, SIZE, 8)
    for _ in range(LONGEST):
        scores = marker.mark_row(ids, random.permutation(logits), 8).astype(np.float64)
        ids = np.append(ids, _drawn(scores if marker.samples else scores / temperature, random))
    chances = _chances(np.sort(logits)[-TOP_K:] / temperature)
    return ids[8:], float(-(chances @ np.log2(chances)))


def _chances(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    chances: NDArray[np.float64] = np.exp(scores - scores.max())
    chances /= chances.sum()
    return chances


def _drawn(scores: NDArray[np.float64], random: np.random.Generator) -> int:
    """Draw one of the likeliest tokens."""
    top = np.argpartition(-scores, TOP_K)[:TOP_K]
    return int(random.choice(top, p=_chances(scores[top])))


def _first_evidence(key: dict[str, Any], ids: NDArray[np.int64]) -> float:
    """The length of the shortest beginning whose p-value is evidence."""
    beginnings = [ids[:length] for length in range(1, ids.size + 1)]
    offsets = np.cumsum([0, *map(len, beginnings)])
    log_p = Scorer(complete(key)).score(np.concatenate(beginnings), offsets).log_p
    found = np.flatnonzero(log_p <= math.log(EVIDENCE))
    return float(found[0] + 1) if found.size else math.inf
