from __future__ import annotations

import dataclasses
import sys
import types
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import TypeAdapter, ValidationError

from collapse_guard.signals import Signal, column, compute
from collapse_guard.signals.evidence import EVIDENCE

DECLARATIONS = get_args(get_args(Signal)[0])
ADAPTER = TypeAdapter(Signal)
TEXTS = [
    "",
    " \t\n\n ",
    "x",
    "👩🏽",
    "Some words, and a line.\n" * 40,
    "lorem ipsum " * 87_382,
    None,
    "\x00\u200b",
    "漢字",
]

KNOWN = {  # the columns that evidence is read from, as `measure` leaves them
    **{kind: [0.0, 1.0, 0.5, None, 0.25, 0.0, 1.0, 1.0, 0.0] for kind in EVIDENCE},
    "watermark.log_p": [-0.5, 0.0, -40.0, None, -3.0, -1.0, -1.0, -2.0, -1e4],
    "origin": [0.0, 1.0, 2.0, 3.0, 4.0, 2.0, 2.0, 2.0, 2.0],
}

REQUIRED = {
    "custom": {"name": "own", "function": "tests_of_signals:zeros"},
    "path": {"path": str(Path(__file__).with_name("words.txt"))},
}


def documents():
    """The texts, with addresses and what was found out about who wrote them."""
    found = {f"{kind}@1": pa.array(values, pa.float64()) for kind, values in KNOWN.items()}
    urls = pa.array([f"https://{i}.example/page" if i % 2 else None for i in range(len(TEXTS))])
    return pa.table({"text": TEXTS, "url": urls, **found})


def made(declaration):
    """A signal with its defaults, and an example of what has none."""
    required = [field.name for field in dataclasses.fields(declaration) if field.default is dataclasses.MISSING]
    return declaration(**REQUIRED.get(declaration.kind, REQUIRED["path"]) if required else {})


@pytest.fixture(autouse=True)
def a_module_of_the_user(monkeypatch):
    module = types.ModuleType("tests_of_signals")
    module.zeros = lambda frame: [0.0] * len(frame)
    monkeypatch.setitem(sys.modules, module.__name__, module)


every_signal = pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.kind)


@every_signal
def test_it_says_what_it_is(declaration):
    summary = declaration.__doc__.partition("\n")[0]

    assert summary.endswith(".")
    assert declaration.source
    assert declaration.unit
    assert declaration.version >= 1
    assert column(made(declaration)).partition(":")[0] in {f"{declaration.kind}@{declaration.version}", "own@1"}


@every_signal
def test_it_survives_a_round_trip_through_json(declaration):
    assert ADAPTER.validate_json(ADAPTER.dump_json(made(declaration))) == made(declaration)


@every_signal
def test_it_is_frozen_hashable_and_takes_no_other_parameter(declaration):
    signal = made(declaration)

    assert len({signal, made(declaration)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        signal.kind = "other"
    with pytest.raises(ValidationError, match="unexpected"):
        dataclasses.replace(signal, unheard_of=1)


@every_signal
def test_it_measures_anything_or_says_null(declaration):
    found = compute(documents(), [made(declaration)]).column(0)

    assert found.type == pa.float64()
    assert len(found) == len(TEXTS)
    assert found[TEXTS.index(None)].as_py() is None
    assert len(found.drop_null()) > 0
    assert pc.all(pc.is_finite(found.drop_null())).as_py()


@every_signal
def test_a_row_depends_on_its_document_alone(declaration):
    whole = compute(documents(), [made(declaration)]).column(0).to_pylist()

    for i in range(len(TEXTS)):
        assert compute(documents().slice(i, 1), [made(declaration)]).column(0).to_pylist() == whole[i : i + 1]


@every_signal
def test_its_range_fits_its_unit(declaration):
    found = compute(documents(), [made(declaration)]).column(0).drop_null().to_pylist()

    if declaration.unit.startswith("natural logarithm of a probability"):
        assert max(found) <= 0
    else:
        assert min(found) >= 0
    if declaration.unit.startswith(("share of lines", "share of tokens", "probability")):
        assert max(found) <= 1
