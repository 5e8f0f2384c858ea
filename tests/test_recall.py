from __future__ import annotations

import pytest
from builders import AT, KEY, OTHER_KEY, flipped, overwrite
from provable import Provable, released_twice

from collapse_guard import attestation
from collapse_guard.errors import DamagedDataError, GateClosed, UsageError
from collapse_guard.recall import find, recall
from collapse_guard.release.notices import PREDICATE, read_notices

NOTICE = "recalls/web/00000001.json"
SAID = {"reason": "takedown", "by": "the legal desk", "key": KEY, "at": AT}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Provable:
    """Two released dumps; copied, never changed."""
    return released_twice(tmp_path_factory.mktemp("built"))


@pytest.fixture
def released(built, tmp_path, monkeypatch) -> Provable:
    guard = built.copy(tmp_path / "copy")
    monkeypatch.setattr("collapse_guard.release.publishing.judge", guard.judge)
    return guard


def only_in_the_second(guard):
    first, second = (set(guard.open(dump=dump).to_arrow()["id"].to_pylist()) for dump in ("2026-01", "2026-02"))
    return min(second - first)


def found_in(guard, wanted):
    return [(one.number, one.documents) for one in find(guard.store, wanted, guard.keys())]


def test_every_release_that_contains_a_document_is_found(released):
    shared = released.open(dump="2026-01").to_arrow()["id"].to_pylist()
    both = min(set(shared) & set(released.open().to_arrow()["id"].to_pylist()))

    assert found_in(released, both) == [(1, 1), (2, 1)]
    assert found_in(released, only_in_the_second(released)) == [(2, 1)]
    assert found_in(released, "nobody") == []


def test_a_source_is_found_with_its_number_of_documents(released):
    counts = [
        released.open(dump=dump).to_arrow()["source"].to_pylist().count("pages.jsonl")
        for dump in ("2026-01", "2026-02")
    ]

    assert found_in(released, "pages.jsonl") == [(1, counts[0]), (2, counts[1])]
    assert find(released.store, "pages.jsonl", released.keys(), corpus="other") == []


def test_a_recalled_release_is_refused_and_the_notice_named(released):
    wanted = only_in_the_second(released)

    (notice,) = recall(released.store, wanted, **SAID)

    assert (notice.key, notice.number, notice.wanted) == (NOTICE, 1, wanted)
    with pytest.raises(
        GateClosed, match=rf"release 2 .* was recalled: recall notice {NOTICE}: .*legal desk \(takedown\)"
    ):
        released.open()
    with pytest.warns(UserWarning, match=f"recall notice {NOTICE}.*opening it all the same"):
        assert released.open(on_recalled="warn").release.number == 2
    assert released.open(dump="2026-01").release.number == 1


def test_recalling_again_signs_nothing_new_but_another_reason_to_recall_does(released):
    wanted = only_in_the_second(released)
    recall(released.store, wanted, **SAID)

    assert recall(released.store, wanted, **SAID) == []
    (second,) = recall(released.store, "pages.jsonl", **SAID)

    notices = read_notices(released.store, "web", released.keys())
    assert [notice.number for notice in notices] == [1, 2]
    assert notices[1] == second
    assert len(second.digests) == 2
    (told,) = find(released.store, wanted, released.keys())
    assert told.to_json()["recalled"] == [NOTICE, "recalls/web/00000002.json"]


@pytest.mark.parametrize("empty", ["reason", "by"])
def test_a_recall_needs_a_reason_and_a_name(released, empty):
    with pytest.raises(UsageError, match="must say a reason and who recalls"):
        recall(released.store, "pages.jsonl", **{**SAID, empty: " "})


def test_what_no_release_contains_cannot_be_recalled(released):
    with pytest.raises(UsageError, match="no release contains a document with id or source 'nobody'"):
        recall(released.store, "nobody", **SAID)

    assert list(released.store.list("recalls/")) == []


def test_only_a_trusted_key_recalls(released):
    with pytest.raises(UsageError, match="signatures here must be by key"):
        recall(released.store, "pages.jsonl", **{**SAID, "key": OTHER_KEY})


def test_any_change_to_a_notice_closes_the_release_for_good(released):
    recall(released.store, "pages.jsonl", **SAID)
    path = released.path(NOTICE)
    data = path.read_bytes()

    for place in range(0, len(data), 97):
        overwrite(path, flipped(data, place))
        with pytest.raises(DamagedDataError):
            released.open(on_recalled="warn")


def test_a_removed_notice_is_missed_between_others_and_after_a_later_release(released):
    recall(released.store, only_in_the_second(released), **SAID)
    recall(released.store, "pages.jsonl", **SAID)
    first = released.path(NOTICE).read_bytes()
    released.path(NOTICE).unlink()
    with pytest.raises(DamagedDataError, match="one was removed or moved"):
        released.open()
    overwritten = released.path(NOTICE)
    overwritten.write_bytes(first)

    entry = released.release(released.candidate("2026-03"))
    assert entry.statement["recalls"]["count"] == 2
    for key in list(released.store.list("recalls/")):
        released.path(key).unlink()

    with pytest.raises(DamagedDataError, match="was made after 2 recall notice"):
        released.open()


def test_a_notice_of_another_kind_or_about_other_bytes_is_refused(released):
    digest = released.chain()[0].digest
    entry = {"number": 1, "name": "web/candidate/2026-01", "dump": "2026-01", "digest": digest, "documents": 1}
    said = {"wanted": "w", "reason": "r", "by": "b", "at": AT.isoformat(), "corpus": "web", "number": 1}
    said |= {"previous": None, "releases": [entry]}
    right = {"1: web/candidate/2026-01": digest}

    wrong = (({"1: web/candidate/2026-01": "0" * 64}, PREDICATE), (right, "https://example.org/other/v1"))
    for subjects, kind in wrong:
        released.store.put_if_absent(NOTICE, attestation.sign(KEY, subjects, kind, said))
        with pytest.raises(DamagedDataError, match="one was removed or moved"):
            released.open()
        released.path(NOTICE).unlink()
    released.store.put_if_absent(NOTICE, attestation.sign(KEY, right, PREDICATE, said))
    assert released.open().release.number == 2
