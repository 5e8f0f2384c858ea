"""One document of 50 MB: the memory that each kernel needs beside the text, and its seconds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.children import one_core
from benchmarks.measuring import run_measuring
from benchmarks.rows import Row
from benchmarks.texts import OUT, documents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SIZE = 50_000_000
KERNELS: Mapping[str, Sequence[str | Mapping[str, object]]] = {
    "all packs": [],
    "tokens": ["word_count"],
    "lines": ["duplicate_line_share"],
    "most common n-grams": ["top_ngram_characters"],
    "duplicate n-grams": ["duplicate_ngram_characters"],
    "white-space words": ["spaced_word_count"],
    "n-grams of white-space words": ["repeated_ngram_characters"],
    "n-grams of segments": [{"kind": "repeated_ngram_characters", "rules": "dclm"}],
    "line rules of C4": ["c4_sentence_count"],
    "line rules of RefinedWeb": ["refinedweb_removed_share"],
    "personal data": ["personal_data"],
    "language": ["language_probability"],
}


def run() -> list[Row]:
    """Measure a document of prose, and one of single letters, which has a token for every second byte."""
    rows = []
    for name, text in (("prose", _prose()), ("letters", _letters())):
        path = OUT / f"long-{name}.parquet"
        pq.write_table(pa.table({"text": pa.array([text], pa.large_string())}), path)
        with one_core():
            rows += [_row(name, path, kernel) for kernel in KERNELS]
    return rows


def _prose() -> str:
    return "\n".join(document.text for document in documents(SIZE))


def _letters() -> str:
    letters = np.random.default_rng(0).integers(ord("a"), ord("i"), SIZE // 2, np.uint8)
    return " ".join(letters.tobytes().decode())


def _row(name: str, path: Path, kernel: str) -> Row:
    said = run_measuring("long", parquet=str(path), kinds=KERNELS[kernel])
    megabytes = said["own_mb"] - said["before_mb"]
    note = f"{megabytes:,.0f} MB and {said['work_seconds']:.1f} s at {SIZE / 1e6:.0f} MB"
    print(f"long: {kernel}, {name}: {note}", file=sys.stderr)
    return Row("long", f"{kernel}, {name}", megabytes * 1e6 / SIZE, "bytes per byte", note=note)
