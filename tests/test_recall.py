from __future__ import annotations

import pytest
from builders import AT, KEY, OTHER_KEY, Made, document, flipped, measured, overwrite, table
from provable import Provable, released_twice

from collapse_guard import attestation
from collapse_guard.errors import DamagedDataError, GateClosed, UsageError
from collapse_guard.recall import find, recall
from collapse_guard.release.notices import PREDICATE, find_held, read_notices
from collapse_guard.snapshot import read_rows
from collapse_guard.store import LocalStore
from collapse_guard.verify import verify_release

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


def released_ids(guard, dump="2026-02"):
    return set(guard.open(dump=dump).to_arrow()["id"].to_pylist())


def only_in_the_second(guard):
    return min(released_ids(guard) - released_ids(guard, "2026-01"))


def found_in(guard, wanted):
    return [(one.number, one.documents) for one in find(guard.store, wanted, guard.keys())]


def test_every_release_that_contains_a_document_is_found(released):
    both = min(released_ids(released) & released_ids(released, "2026-01"))

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
    gone = sorted(released_ids(released) - released_ids(released, "2026-01"))[:2]
    for wanted in gone:
        recall(released.store, wanted, **SAID)
    first = released.path(NOTICE).read_bytes()
    released.path(NOTICE).unlink()
    with pytest.raises(DamagedDataError, match="one was removed or moved"):
        released.open()
    overwritten = released.path(NOTICE)
    overwritten.write_bytes(first)

    released.bury(gone)
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


def in_the_pool(guard):
    """A document of the pool that both releases contain, and so will the next one unless it is taken out."""
    return min(name for name in released_ids(guard) & released_ids(guard, "2026-01") if name.startswith("2026-01-"))


def releases(guard):
    return list(guard.store.list("releases/web/"))


def test_a_later_candidate_that_holds_a_recalled_document_is_refused_until_it_is_taken_out(released):
    wanted = in_the_pool(released)
    recall(released.store, wanted, **SAID)
    candidate = released.candidate("2026-03")

    with pytest.raises(GateClosed) as refused:
        released.release(candidate)

    for part in (candidate.digest[:12], f"1 document(s) (first: {wanted})", NOTICE, "legal desk", "`mix.tombstones`"):
        assert part in str(refused.value)
    assert candidate.digest not in released.judged
    assert len(releases(released)) == 2
    with pytest.raises(GateClosed, match="was not released"):
        released.open()
    released.bury([wanted])
    assert released.release(released.candidate("2026-03")).number == 3
    assert wanted not in released_ids(released, "2026-03")


def test_a_later_candidate_that_holds_anything_of_a_recalled_source_is_refused(released):
    recall(released.store, "pages.jsonl", **SAID)
    candidate = released.candidate("2026-03")
    (rows,) = read_rows(released.store, candidate.with_role("documents"))
    count = rows["source"].to_pylist().count("pages.jsonl")

    with pytest.raises(GateClosed, match=rf"holds what was recalled: {count} document\(s\) \(first: "):
        released.release(candidate)


def test_recalled_bytes_are_not_released_again(released):
    candidate = released.open().snapshot
    recall(released.store, only_in_the_second(released), **SAID)

    with pytest.raises(GateClosed, match="holds what was recalled"):
        released.release(candidate)


@pytest.fixture
def unlooked(released, monkeypatch):
    """A third release that was signed without a look at the notices, as an older version would."""
    wanted = in_the_pool(released)
    recall(released.store, wanted, **SAID)
    with monkeypatch.context() as patch:
        patch.setattr("collapse_guard.release.publishing.find_held", lambda *_: [])
        released.release(released.candidate("2026-03"))
    return released


def test_a_release_that_was_signed_without_a_look_at_the_notices_is_refused_when_it_is_opened(unlooked):
    with pytest.raises(GateClosed, match=rf"release 3 .* was recalled: recall notice {NOTICE}: .*release without it"):
        unlooked.open()

    found = verify_release(unlooked.store, unlooked.chain()[-1], unlooked.keys())
    assert [notice.key for notice in found.notices] == [NOTICE]


def test_opening_reads_no_texts_and_without_a_notice_no_rows(released, monkeypatch):
    read = LocalStore.read
    seen = []
    monkeypatch.setattr(LocalStore, "read", lambda store, key: seen.append(key) or read(store, key))
    snapshot = released.open(dump="2026-01").snapshot
    assert not [key for key in seen if key.startswith("shards/")]

    recall(released.store, only_in_the_second(released), **SAID)
    seen.clear()
    assert released.open(dump="2026-01").release.number == 1

    rows = {key for key in seen if key.startswith("shards/")}
    assert rows == {shard.key for shard in snapshot.with_role("selection")}


def test_a_recalled_text_is_found_under_another_id_and_another_text_of_the_same_source_is_not(released):
    wanted = in_the_pool(released)
    rows = released.open(dump="2026-01").to_arrow()
    (notice,) = recall(released.store, wanted, **SAID)
    text = rows["text"][rows["id"].to_pylist().index(wanted)].as_py()
    named = table([document("copy", 7, text=text), document("other", 7), document(wanted, 7, text="another one")])
    named = named.append_column("text_sha256", measured(named)["text_sha256"])
    candidate = Made(released.store, "web/candidate/2026-03", "candidate").of([named], "documents")

    (held,) = find_held(released.store, candidate, [notice])

    assert (held.documents, held.first) == (2, ("copy", wanted))
    assert find_held(released.store, candidate, []) == []
