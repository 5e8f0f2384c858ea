"""Watermarks: the same scores as the reference implementations on the same token ids, and how much faster.

`python -m benchmarks.watermarks` asks the references again for `tests/golden/watermarks.json`. They run in an
environment of their own (6 GB), with their sources as published; nothing of theirs is in this repository.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.children import one_core, run_json
from benchmarks.peers import environment
from benchmarks.rows import Row
from benchmarks.texts import ROOT
from collapse_guard.kernels.watermark.contexts import UNSCORED
from collapse_guard.provenance.watermark.keys import complete
from collapse_guard.provenance.watermark.schemes import Scorer, scan_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from collapse_guard.provenance.watermark.scoring import Statistic

GOLDEN = ROOT / "tests" / "golden" / "watermarks.json"
GOLDEN_FIELDS = ("key", "statistic", "texts", "reference", "none")
PACKAGES = ("torch==2.15.0", "transformers==5.23.0", "numpy==2.3.5", "scipy==1.16.3")
WHEELS = {
    "synthid-wheel": ("synthid-text==0.2.1", ("synthid_text/",)),
    "vllm-wheel": ("vllm==0.33.0", ("vllm/v1/watermarking/", "vllm/config/watermarking.py")),
}
"""Wheels of which only some files are kept, as the whole of them would want other versions of torch."""
SOURCES = {
    "lm-watermarking": ("jwkirchenbauer/lm-watermarking", "fb602de9f5ac4d70099e43d3c0d7ce93616a78b3"),
    "unigram": ("XuandongZhao/Unigram-Watermark", "b96cdb4d52771e3cbd543a9d9aeeaec8d0790ca2"),
    "markllm": ("THU-BPM/MarkLLM", "112fa7419b115efc82f229a59a86fb14c5528c80"),
    "synthid-head": ("google-deepmind/synthid-text", "addb4a158143c7c6851a1308f78b89fceed59683"),
}
VOCABULARIES = (997, 32_000, 50_257, 151_936)
SECRETS = (15_485_863, 2_147_483_629, 1, 10_000_000_000_037)
WORDS = (0xDEADBEEF12345678, 2**64 - 1, 0, 42)
LAYERS: tuple[int, ...] = (
    654,
    400,
    836,
    123,
    340,
    443,
    597,
    160,
    57,
    29,
    590,
    639,
    13,
    715,
    468,
    990,
    966,
    226,
    324,
    585,
)
LAYERS += (118, 504, 421, 521, 129, 669, 732, 225, 90, 960)
GREEN = (
    "kgw_simple_1 kgw_minhash kgw_selfhash kgw_skipgram ff-anchored_minhash_prf-4-True ff-additive_prf-3-False "
    "ff-minskipgram_prf-3-False ff-noncomm_prf-2-True ff-multiplicative_prf-2-False ff-minfunc_prf-3-False "
    "ff-simple_skip_prf-4-False ff-anchored_skipgram_prf-4-False ff-position_prf-3-False hf_lefthash hf_selfhash "
    "unigram exp_markllm dipmark"
).split()
PHILOX, SYNTHID = ("gumbel_philox", "gumbel_philox_dual"), ("synthid_table", "synthid_iv")
ODD: dict[tuple[str, int], dict[str, Any]] = {
    ("kgw_simple_1", 50_257): {"gamma": 0.5},
    ("kgw_selfhash", 32_000): {"gamma": 0.1},
    ("hf_lefthash", 50_257): {"context_width": 2},
    ("hf_selfhash", 997): {"context_width": 3, "gamma": 0.4},
    ("unigram", 997): {"gamma": 0.3},
    ("exp_markllm", 997): {"context_width": 1},
    ("dipmark", 997): {"context_width": 2},
    ("dipmark", 32_000): {"gamma": 0.6},
    ("gumbel_philox", 997): {"context_width": 1},
    ("gumbel_philox", 32_000): {"context_width": 6},
    ("synthid_table", 997): {"context_history_size": 8},
    ("synthid_table", 32_000): {"table_seed": 7, "keys": LAYERS[:7]},
    ("synthid_table", 50_257): {"table_size": 5_000, "ngram_len": 3},
    ("synthid_iv", 997): {"context_history_size": 8},
    ("synthid_iv", 32_000): {"keys": [2**62 + 1, 5, 2**40]},
}
"""Settings that are no defaults, so that each is tested somewhere."""
TEXTS = 250
"""Of which some are too short for a reference."""
MARKED = {997: 400, 32_000: 100, 50_257: 60, 151_936: 40}
"""Marked ids that the marked texts are cut from: some samplers draw forty permutations of the vocabulary for each."""
ROUNDING = 1e-12
EXACT = ("gumbel_philox", "exp_markllm")
"""Whose p-values are exact in the reference; the others' are approximations, or there are none."""
PASSAGES: dict[str, Any] = {"seed": 0, "passages": 50, "length": 200, "sharpness": 10.0}
"""Text that is hard to mark: with logits this sharp, 100 tokens are too few for most."""
FOUND = 1e-5
CORPUS, DOCUMENTS, PART, RUNS = 2_200_000, 500, 40_000, 3
CLAIMS = {
    "kgw_simple_1": (2e6, 100),
    "synthid_table": (30e6, 500),
    "synthid_iv": (None, None),
    "gumbel_philox": (2e6, 20),
    "gumbel_philox_dual": (None, None),
}
"""What is asked of a corpus: tokens per second, times the reference."""


class Said(NamedTuple):
    """How ours and a reference agree on some texts."""

    identical: int
    texts: int
    refused: int
    """Texts besides that are too short for the reference, and for ours."""
    score: float
    """The largest difference, relative where a score is above 1."""
    log_p: float | None


def run() -> list[Row]:
    """Compare every scheme at every size of vocabulary, then time some on a corpus."""
    python, trouble = peer()
    if trouble:
        return [Row("watermarks", "schemes compared", 0, "", low=1, note=trouble)]
    with one_core():
        rows = [row for scheme in (*GREEN, *PHILOX, *SYNTHID) for row in _agreement(python, scheme)]
        rows += [row for scheme in SYNTHID for row in _agreement(python, scheme, "weighted")]
        rows += [row for scheme in SYNTHID for row in _needed(python, scheme)]
        return rows + [row for scheme in CLAIMS for row in _speed(python, scheme)]


def key_of(scheme: str, vocabulary: int) -> dict[str, Any]:
    """A key of a scheme, a different one for every size of vocabulary."""
    place = VOCABULARIES.index(vocabulary)
    secret: dict[str, Any] = {"key": (WORDS if scheme in PHILOX else SECRETS)[place]}
    if scheme in SYNTHID:
        secret = {"keys": LAYERS}
    return {"scheme": scheme, **secret, "vocab_size": vocabulary, **ODD.get((scheme, vocabulary), {})}


def peer() -> tuple[Path, str]:
    """The Python that has what the references need, and why it could not be made, if so."""
    python, trouble = environment("peers-watermarks", PACKAGES)
    if trouble:
        return python, trouble
    try:
        for name in (*WHEELS, *SOURCES):
            _fetch(name, _references(python) / name)
    except subprocess.CalledProcessError as error:
        return python, f"a reference could not be fetched: {error.stderr.strip()[-100:]}"
    return python, ""


def _references(python: Path) -> Path:
    return python.parents[1] / "references"


def _fetch(name: str, folder: Path) -> None:
    """Bring the sources of a reference, unless they are there."""
    if folder.exists():
        return
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        if name in WHEELS:
            _unpack(*WHEELS[name], Path(scratch))
        else:
            _clone(*SOURCES[name], Path(scratch))
        shutil.copytree(scratch, folder, ignore=shutil.ignore_patterns("*.whl", ".git"))


def _unpack(package: str, wanted: tuple[str, ...], folder: Path) -> None:
    _command(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder, [each for each in wheel.namelist() if each.startswith(wanted)])


def _clone(repository: str, commit: str, folder: Path) -> None:
    _command("git", "clone", "--quiet", "--no-checkout", f"https://github.com/{repository}", str(folder))
    _command("git", "-C", str(folder), "checkout", "--quiet", commit)


def _command(*words: str) -> None:
    subprocess.run(words, capture_output=True, text=True, check=True)


def ask(python: Path, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the references say; `peer_watermarks.py` tells the form of both."""
    script = Path(__file__).with_name("peer_watermarks.py")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.json"
        path.write_text(json.dumps(jobs))
        answers: Any = run_json([str(python), "-W", "ignore", str(script), str(_references(python)), str(path)])
    return list(answers)


def _agreement(python: Path, scheme: str, statistic: Statistic = "mean") -> list[Row]:
    jobs: list[dict[str, Any]] = [
        {"key": key_of(scheme, size), "seed": place, "count": TEXTS, "marked": MARKED[size], **_asking(statistic)}
        for place, size in enumerate(VOCABULARIES)
    ]
    rows = []
    for job, answer in zip(jobs, ask(python, jobs), strict=True):
        said, tokens = compare(job["key"], answer, statistic), sum(map(len, answer["texts"]))
        p = "" if said.log_p is None else f", log p {said.log_p:.0e}"
        name = f"{scheme}{', weighted mean' * (statistic == 'weighted')}, {job['key']['vocab_size']:,} ids"
        note = f"{said.identical} of {said.texts} texts identical, {said.refused} refused by the reference"
        note += f"; largest difference {said.score:.0e}{p}"
        rows.append(Row("watermarks", f"{name}, agreement", 100 * said.identical / said.texts, "%", low=100, note=note))
        speed = tokens / _seconds(job["key"], *_flat(answer["texts"]), statistic)
        note = f"{tokens:,} tokens"
        rows.append(
            Row("watermarks", name, speed / 1e6, "M tokens/s", peer=tokens / answer["seconds"] / 1e6, note=note)
        )
    return rows


def _asking(statistic: Statistic) -> dict[str, Statistic]:
    return {"statistic": statistic} if statistic == "weighted" else {}


def compare(key: dict[str, Any], answer: dict[str, Any], statistic: Statistic = "mean") -> Said:
    """Scan the same texts, with the reference's deduplication and without."""
    far, unlikely, same, refused = [0.0], [0.0], [], 0
    for place, ids in enumerate(answer["texts"]):
        good = True
        for mode in ("reference", "none"):
            ours, theirs = scan_tokens(ids, key, dedupe=mode, statistic=statistic), answer[mode][place]
            if theirs is None:
                # Self-salted schemes have one n-gram in a text as long as their context, which their references refuse.
                good &= ours.scored_tokens <= 1
                continue
            score, count, p = theirs
            far.append(abs(ours.score - score) / max(1.0, abs(score)))
            good &= far[-1] <= ROUNDING and ours.scored_tokens == count
            if p and p > sys.float_info.min:
                unlikely.append(abs(ours.log_p - math.log(p)) / max(1.0, -math.log(p)))
        if good and answer["none"][place] is None:
            refused += 1
        else:
            same.append(good)
    exact = max(unlikely) if key["scheme"] in EXACT else None
    return Said(sum(same), len(same), refused, max(far), exact)


def _flat(texts: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return np.array([each for ids in texts for each in ids], dtype=np.int64), offsets


def _seconds(
    key: dict[str, Any], ids: NDArray[np.int64], offsets: NDArray[np.int64], statistic: Statistic = "mean"
) -> float:
    """Seconds of processor time of a scorer that has seen no text before, made beforehand; the median after one."""
    taken = []
    for _ in range(RUNS + 1):
        scorer = Scorer(complete(key), statistic=statistic)
        started = time.process_time()
        scorer.score(ids, offsets, "strict")
        taken.append(time.process_time() - started)
    return float(np.median(taken[1:]))


def _needed(python: Path, scheme: str) -> list[Row]:
    """How many tokens of text that the reference has marked each of the two means needs."""
    key = {**key_of(scheme, 151_936), "vocab_size": 997}
    passages = ask(python, [{"key": key, **PASSAGES}])[0]["texts"]
    rows = []
    statistics: tuple[Statistic, ...] = ("mean", "weighted")
    for statistic in statistics:
        scorer = Scorer(complete(key), statistic=statistic)
        logs = np.array([_log_p_of_beginnings(scorer, ids) for ids in passages])
        found = logs <= math.log(FOUND)
        first = np.where(found.any(axis=1), found.argmax(axis=1) + 1, PASSAGES["length"] + 1)
        note = ", ".join(f"{100 * found[:, size - 1].mean():.0f} % of passages of {size}" for size in (100, 200))
        note = f"at p ≤ {FOUND:g}: {note}; {len(passages)} passages by the reference"
        name = f"{scheme}, {'weighted ' * (statistic == 'weighted')}mean finds half of the passages"
        rows.append(Row("watermarks", name, float(np.median(first)), "tokens", note=note))
    return rows


def _log_p_of_beginnings(scorer: Scorer, ids: Sequence[int]) -> NDArray[np.float64]:
    """Give ln p of the first token, of the first two, and so on."""
    scores = scorer.score(np.array(ids), np.array([0, len(ids)]))
    scored = np.isfinite(scores.values) & (scores.values < UNSCORED)
    totals = np.cumsum(np.where(scored, scores.values, 0), dtype=np.float64)
    return scorer.log_p(totals, np.cumsum(scored))


def _corpus(vocabulary: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids by Zipf's law in documents of the same length."""
    chances = 1 / np.arange(1, vocabulary + 1)
    dice = np.random.default_rng(0)
    ids = dice.choice(vocabulary, CORPUS, p=chances / chances.sum())
    return ids.astype(np.int64), np.linspace(0, CORPUS, DOCUMENTS + 1).astype(np.int64)


def _speed(python: Path, scheme: str) -> list[Row]:
    """Time a corpus, and the reference on the first documents of it."""
    key = {"scheme": scheme, **key_of(scheme, 151_936), "vocab_size": 32_000}
    ids, offsets = _corpus(32_000)
    part = offsets[offsets <= PART]
    texts = [ids[start:end].tolist() for start, end in pairwise(part)]
    answer = ask(python, [{"key": key, "texts": texts}])[0]
    speed, theirs = CORPUS / _seconds(key, ids, offsets) / 1e6, int(part[-1]) / answer["seconds"] / 1e6
    asked, times = CLAIMS[scheme]
    note = f"{CORPUS:,} ids by Zipf's law, {DOCUMENTS} documents; the reference reads {part[-1]:,} of them"
    name = f"{scheme}, corpus"
    return [
        Row("watermarks", name, speed, "M tokens/s", low=asked and asked / 1e6, peer=theirs, note=note),
        Row("watermarks", f"{name}, times the reference", speed / theirs, "x", low=times),
    ]


def main() -> None:
    """Make the golden file: three short texts for every scheme and size of vocabulary."""
    python, trouble = peer()
    if trouble:
        raise SystemExit(trouble)
    jobs = [
        _golden(scheme, size, 10 * number)
        for number, scheme in enumerate((*GREEN, *PHILOX, *SYNTHID))
        for size in VOCABULARIES
    ]
    weighted = [_golden(scheme, size, 1_000) for scheme in SYNTHID for size in (32_000, 50_257)]
    jobs += [{**job, "statistic": "weighted"} for job in weighted]
    answers = ask(python, jobs)
    lines = [
        json.dumps(
            {name: {**said, **job}[name] for name in GOLDEN_FIELDS if name in {**said, **job}}, separators=(",", ":")
        )
        for job, said in zip(jobs, answers, strict=True)
    ]
    made_with = [*PACKAGES, *(package for package, _ in WHEELS.values()), *(f"{r}@{c}" for r, c in SOURCES.values())]
    head = json.dumps({"made_with": made_with, "columns": ["score", "scored_tokens", "p"]})
    cases = ",\n".join(lines)
    GOLDEN.write_text(f'{head[:-1]},\n"cases": [\n{cases}\n]}}\n')
    print(f"{GOLDEN.relative_to(ROOT)}: {len(lines)} cases")


def _golden(scheme: str, vocabulary: int, seed: int) -> dict[str, Any]:
    place = VOCABULARIES.index(vocabulary)
    lengths = [75, (4, 40, 9, 25)[place], 90]
    return {"key": key_of(scheme, vocabulary), "seed": seed + place, "marked": 40, "lengths": lengths}


if __name__ == "__main__":
    main()
