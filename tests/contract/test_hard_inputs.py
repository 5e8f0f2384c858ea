from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from test_every_signal import DECLARATIONS, made

from collapse_guard.catalogue import Catalogue, load_pack
from collapse_guard.kernels.counts import Family
from collapse_guard.signals import column, compute, resolve
from collapse_guard.signals.evidence import EVIDENCE
from collapse_guard.transforms import describe
from collapse_guard.transforms import resolve as transform

SHARED = Path(__file__).parents[3] / "shared" / "data" / "bad_input"
LONG = 10_000_000
COMPUTED = [declaration for declaration in DECLARATIONS if declaration.kind not in {*EVIDENCE, "custom"}]
TEXTS = {
    "a line of 10 MB": "x" * LONG,
    "a line of 10 MB of words": "a word, and 12 more; " * (LONG // 21),
    "NUL bytes": "\0" * 1000 + "word\0and\0word" * 100,
    "replacements": "\ufffd" * 3000 + " \ufffd\ufffd word\ufffd",
    "bidi controls": "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c abc \u202eabc\u202c"
    * 50,
    "lone combining marks": "\u0301\u0308\u20dd\u094d \u0301 a\u0301\u0301 \n\u0300" * 100,
    "one letter under 10,000 marks": "a" + "\u0301" * 10_000,
    "separators": "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\u00a0\u3000\t " * 200,
    "what is no character": "".join(map(chr, (0xFDD0, 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF, 0xE000, 0xFEFF))) * 50,
    "every character of the first planes": "".join(chr(code) for code in range(1, 0x20000, 7) if code >> 11 != 27),
    "open brackets": "([{<" * 5000,
    "a text": "The cat sat on the mat. It was [1] the policy of use.\n" * 3,
    "nothing": "",
    "no text": None,
}


def naughty():
    """Every naughty string, and every other file of bad input that can be read as text."""
    strings = json.loads(next((SHARED / "naughty_strings").glob("*.json")).read_text(encoding="utf-8"))
    files = sorted(path for path in SHARED.rglob("*") if path.is_file() and path.stat().st_size < 100_000)
    return [*strings, *(path.read_bytes().decode(errors="replace") for path in files)]


def in_any_order_and_batch(texts, measured):
    """The rows of a table, measured in parts of odd sizes, out of order, each behind another text."""
    rows = list(range(len(texts)))
    random.Random(0).shuffle(rows)
    found = [None] * len(texts)
    while rows:
        part = [rows.pop() for _ in range(min(len(rows), 1 + len(rows) % 5))]
        chunk = pa.array(["another text\n", *(texts[row] for row in part)], pa.large_string()).slice(1)
        for row, values in zip(part, measured(chunk), strict=True):
            found[row] = values
    return found


@pytest.fixture(scope="module")
def signals():
    """Every signal with its defaults, and as the packs of the library use it."""
    packs = [load_pack(title) for title in Catalogue().built_in_packs()]
    used = [resolve(rule.signal) for pack in packs for rule in pack.rules]
    return list({column(signal): signal for signal in (*map(made, COMPUTED), *used)}.values())


def check_signals(texts, signals):
    found = compute(pa.array(texts, pa.large_string()), signals)

    assert not [name for name in found.column_names if not pc.all(pc.is_finite(found[name].drop_null())).as_py()]
    assert not [name for name in found.column_names if found[name][texts.index(None)].is_valid]
    rows = found.to_pylist()
    assert in_any_order_and_batch(texts, lambda part: compute(part, signals).to_pylist()) == rows


def test_the_signals_are_those_that_are_declared(signals):
    assert {signal.kind for signal in signals} == {found.kind for found in COMPUTED}
    assert {Family.WORDS, Family.LINES, Family.TOP_NGRAMS, Family.DUPLICATE_NGRAMS} == {one.family for one in signals}


def test_hard_texts_are_measured_or_null_in_any_batch(signals):
    check_signals(list(TEXTS.values()), signals)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder shared/data does not lie beside this checkout")
def test_naughty_strings_are_measured_or_null_in_any_batch(signals):
    check_signals([*naughty(), None], signals)


every_transform = pytest.mark.parametrize("kind", [found.kind for found in describe()])


def check_transform(texts, kind):
    edit = transform(kind)
    column_of = pa.array(texts, pa.large_string())
    edited, changes = edit.apply(column_of)
    counts = np.asarray(changes)

    edited.validate(full=True)
    assert edited.is_null().equals(column_of.is_null())
    assert counts.min() >= 0
    assert pc.all(pc.or_(pc.equal(edited, column_of), pa.array(counts > 0))).as_py()
    pairs = in_any_order_and_batch(texts, lambda part: applied(edit, part))
    assert pairs == list(zip(edited.to_pylist(), counts.tolist(), strict=True))


def applied(edit, part):
    edited, changes = edit.apply(part)
    return zip(edited.to_pylist(), np.asarray(changes).tolist(), strict=True)


@every_transform
def test_hard_texts_are_edited_alike_in_any_batch(kind):
    check_transform(list(TEXTS.values()), kind)


@every_transform
@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder shared/data does not lie beside this checkout")
def test_naughty_strings_are_edited_alike_in_any_batch(kind):
    check_transform([*naughty(), None], kind)
