"""Every single bit of what a release stands on, flipped: all of them with `--long`, one in ten without."""

from __future__ import annotations

from random import Random

import pytest
from builders import AT, KEY, flipped, overwrite
from provable import Provable

from collapse_guard.errors import GuardError
from collapse_guard.recall import recall
from collapse_guard.snapshot import log

STATEMENT, NOTICE = "releases/web/00000002.json", "recalls/web/00000001.json"
MANIFEST = "web/candidate/2026-02"


@pytest.fixture(scope="module")
def guard(tmp_path_factory):
    """Two releases, of which the first was recalled."""
    made = Provable(tmp_path_factory.mktemp("guard"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collapse_guard.release.publishing.judge", made.judge)
        made.release(made.candidate("2026-01"))
        recalled = made.open().to_arrow()["id"][0].as_py()
        recall(made.store, recalled, reason="takedown", by="the legal desk", key=KEY, at=AT)
        made.bury([recalled])
        made.release(made.candidate("2026-02"))
    return made


@pytest.mark.parametrize("what", ["manifest with its ledger", "statement", "recall notice", "trusted key"])
def test_every_flipped_bit_is_noticed(guard, what, long):
    places = {
        "manifest with its ledger": log(guard.store, MANIFEST)[-1],
        "statement": STATEMENT,
        "recall notice": NOTICE,
        "trusted key": "trust/00000001.json",
    }
    path, data = guard.path(places[what]), guard.store.read(places[what])
    bits = range(8 * len(data))
    chosen = bits if long else Random(5).sample(bits, len(bits) // 10)

    unnoticed = []
    for bit in chosen:
        overwrite(path, flipped(data, bit // 8, 1 << bit % 8))
        try:
            guard.open()
        except GuardError:
            continue
        unnoticed.append(bit)

    overwrite(path, data)
    assert len(bits) > 1_000
    assert unnoticed == []
    assert guard.open().release.number == 2
