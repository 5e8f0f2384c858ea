from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collapse_guard import spill
from collapse_guard.dedup import EVALUATION_RANK, INDEX, Clusters, clusters, index_of, linking, url_keys
from collapse_guard.document import ORIGINS
from collapse_guard.kernels.minhash import BANDS, NGRAM, ROWS, sign
from collapse_guard.policy import Near

TIMES = [None, datetime(2019, 5, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)]
SOUNDS = [a + b + c for a in "bdfgk" for b in "aeiou" for c in "lmnr"]
ALONE = {"duplicate_of": None, "cluster": None, "match": None, "similarity": None, "kept_rank": None}


def prose(seed: int, changed: int = 0, size: int = 200) -> str:
    """Words of one text; of them `changed` are others, spread out."""
    words = random.Random(seed).choices(SOUNDS, k=size)
    for number in range(changed):
        words[7 + number * 20] = f"x{seed}{'abcdefghij'[number]}"
    return " ".join(words)


TEXTS = [
    *(prose(seed, changed) for seed in range(3) for changed in (0, 1, 2, 4, 8)),
    "too short",
    "so few words",
    "",
]


def document(name, text, origin="unknown", captured_at=None, url=None):
    return {"id": name, "text": text, "origin": origin, "captured_at": captured_at, "url": url}


def index(documents, rank=None):
    texts = pa.array([row["text"] for row in documents], pa.large_string())
    facts = {
        "id": pa.array([row["id"] for row in documents], pa.string()),
        "text_sha256": pa.array([digest(row["text"]) for row in documents], pa.binary()),
        "captured_at": pa.array([row["captured_at"] for row in documents], pa.timestamp("us", tz="UTC")),
        "origin": pa.array([row["origin"] for row in documents], pa.string()),
        "url_key": url_keys(pa.array([row["url"] for row in documents], pa.string())),
    }
    signed = sign(texts)
    return index_of(pa.table({**facts, **{name: signed[name] for name in signed.column_names}}), rank=rank)


def digest(text):
    return None if text is None else hashlib.sha256(text.encode()).digest()


def found_in(shards, scratch=None, rows=None, near=None):
    """What is found about every document, by id."""
    tables = [shard if isinstance(shard, pa.Table) else index(shard) for shard in shards]
    made = Clusters(lambda: iter(tables), rows=rows or 1, near=near, scratch=scratch)
    return {
        name: row
        for place, table in enumerate(tables)
        for name, row in zip(table["id"].to_pylist(), made.in_shard(place, table.num_rows).to_pylist(), strict=True)
    }


def copies(found):
    return {name: row["duplicate_of"] for name, row in found.items() if row["duplicate_of"]}


DOCUMENTS = st.lists(
    st.tuples(st.sampled_from(TEXTS), st.sampled_from(ORIGINS), st.sampled_from(TIMES), st.integers(0, 12)),
    min_size=1,
    max_size=24,
).map(
    lambda rows: [
        document(f"d{place}", text, origin, time, f"https://example.org/{page}" if page < 5 else None)
        for place, (text, origin, time, page) in enumerate(rows)
    ]
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, st.integers(1, 5), st.integers(0, 2**32), st.sampled_from([4, 10**6]), st.booleans())
def test_nothing_depends_on_order_shards_buckets_or_the_disk(
    tmp_path_factory, documents, shards, seed, size, in_memory
):
    expected = found_in([documents])
    shuffled = documents.copy()
    random.Random(seed).shuffle(shuffled)
    parts = [shuffled[start::shards] for start in range(shards)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linking, "ROWS_PER_BUCKET", size)
        patch.setattr(linking, "SIMILAR_PER_BUCKET", size)
        patch.setattr(clusters, "ROWS_PER_BUCKET", size)
        patch.setattr(spill, "RUN_BYTES", 300 * size)
        found = found_in(parts, None if in_memory else tmp_path_factory.mktemp("scratch"), len(documents))

    assert found == expected


def obvious_copies(documents):
    """Of each text the best is kept: by origin, then time with unknown last, then id."""
    best = {}
    for row in documents:
        time = row["captured_at"]
        place = (ORIGINS.index(row["origin"]), time is None, time or TIMES[1], row["id"])
        best[row["text"]] = min(best.get(row["text"], place), place)
    return {row["id"]: best[row["text"]][-1] for row in documents if best[row["text"]][-1] != row["id"]}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from(ORIGINS), st.sampled_from(TIMES)), min_size=1, max_size=40
    )
)
def test_of_equal_texts_the_obvious_copy_is_kept(rows):
    documents = [document(f"d{place}", *row) for place, row in enumerate(rows)]

    found = found_in([documents[:7], documents[7:]])

    assert copies(found) == obvious_copies(documents)
    assert {row["match"] for row in found.values()} <= {"exact", None}
    assert {row["similarity"] for row in found.values() if row["duplicate_of"]} <= {1.0}


@pytest.mark.parametrize(
    ("kept", "copy"),
    [
        (("z", "human_verified", None), ("a", "human_presumed", TIMES[1])),
        (("z", "unknown", TIMES[2]), ("a", "synthetic", TIMES[1])),
        (("z", "unknown", TIMES[1]), ("a", "unknown", TIMES[2])),
        (("z", "unknown", TIMES[2]), ("a", "unknown", None)),
        (("a", "unknown", TIMES[1]), ("z", "unknown", TIMES[1])),
        (("a", "unknown", None), ("z", "unknown", None)),
    ],
    ids=["verified", "less synthetic", "earlier", "known time", "smaller id", "smaller id without time"],
)
@pytest.mark.parametrize("texts", [("same", "same"), (prose(1), prose(1, changed=1))], ids=["exact", "near"])
def test_the_better_copy_is_kept(kept, copy, texts):
    documents = [document(name, text, *rest) for (name, *rest), text in zip((kept, copy), texts, strict=True)]

    assert copies(found_in([documents])) == copies(found_in([documents[::-1]])) == {copy[0]: kept[0]}


def test_a_document_of_the_evaluation_split_wins_over_verified_human_text():
    reservoir = index([document("a", prose(1), "human_verified", TIMES[1])])
    evaluation = index([document("z", prose(1))], rank=EVALUATION_RANK)

    assert copies(found_in([reservoir, evaluation])) == {"a": "z"}


def test_nearly_the_same_text_is_found_with_its_similarity():
    found = found_in([[document("a", prose(1)), document("b", prose(1, changed=3)), document("c", prose(2))]])

    assert found["c"] == ALONE
    assert found["a"] == {**ALONE, "cluster": found["b"]["cluster"]}
    assert (found["b"]["duplicate_of"], found["b"]["match"]) == ("a", "near")
    assert abs(found["b"]["similarity"] - 0.86) < 0.1  # 15 of 196 n-grams are others


def test_a_cluster_is_named_by_its_smallest_digest():
    texts = [prose(1), prose(1, changed=1), prose(1, changed=2), prose(1)]
    found = found_in([[document(f"d{place}", text) for place, text in enumerate(texts)]])

    assert {row["cluster"] for row in found.values()} == {min(map(digest, texts)).hex()[:16]}
    assert [row["match"] for row in found.values()] == [None, "near", "near", "exact"]


@pytest.mark.parametrize(("least", "joined"), [(0.0, True), (0.7, True), (0.99, False)])
def test_texts_that_share_a_band_are_joined_where_they_are_similar_enough(least, joined):
    documents = [document(str(changed), prose(5, changed)) for changed in (0, 2)]  # similarity about 0.9

    assert bool(copies(found_in([documents], near=Near(min_similarity=least)))) == joined


def test_without_a_least_similarity_all_that_share_a_band_are_joined():
    documents = [document(f"d{changed}", prose(7, changed)) for changed in range(9)]

    assert len(copies(found_in([documents], near=Near(min_similarity=0)))) == 8


def test_short_texts_are_merged_only_with_their_like():
    documents = [
        document(name, text) for name, text in (("a", "a b c"), ("b", "a b d"), ("c", "a b c"), ("d", "A b c"))
    ]

    assert copies(found_in([documents])) == {"c": "a"}


def test_documents_without_a_text_are_copies_of_nothing():
    documents = [
        document(name, text, url="https://example.org/") for name, text in (("a", "x"), ("b", None), ("c", None))
    ]

    assert copies(found_in([documents])) == {}


def test_equal_urls_are_a_match_of_their_own():
    page = "https://example.org/page"
    documents = [
        document("a", prose(1), url=page),
        document("b", prose(2), url="http://www.Example.org/page/#top"),
        document("c", prose(1), url=page),
        document("d", prose(1, changed=1), url=page),
        document("e", prose(1, changed=1)),
        document("f", prose(3)),
        document("g", prose(4)),
    ]

    found = found_in([documents])

    assert [row["match"] for row in found.values()] == [None, "url", "exact", "url", "near", None, None]
    assert set(copies(found).values()) == {"a"}
    assert found["b"]["similarity"] < 0.1
    assert 0.7 < found["d"]["similarity"] < 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a?b=1&c=2",
        "HTTPS://WWW.EXAMPLE.ORG/a?b=1&c=2",
        "https://example.org:443/a?b=1&c=2#part",
        "https://name:word@example.org/a?b=1&c=2&utm_source=x&utm_medium=y",
        " https://example.org/a?gclid=1&b=1&fbclid=2&c=2\n",
    ],
)
def test_spellings_of_one_url_are_equal(url):
    keys = url_keys(pa.array(["https://example.org/a?b=1&c=2", url]))

    assert keys[0] == keys[1]


def test_different_urls_differ_and_no_url_is_null():
    urls = [
        "https://example.org",
        "https://example.org/A",
        "https://example.org/a",
        "https://example.org/a?b=1",
        "https://example.org:8080/a",
        "https://sub.example.org/a",
        "https://example.org/#!/a",
        "urn:a:b",
    ]
    keys = url_keys(pa.chunked_array([[*urls, None, "", "  "]])).to_pylist()

    assert len({*keys[:8]}) == 8
    assert keys[8:] == [None] * 3
    assert url_keys(pa.array([f"{url}/" for url in urls[:3]])).to_pylist() == keys[:3]


def test_an_empty_corpus_has_no_copies(tmp_path):
    assert found_in([]) == {}
    assert found_in([INDEX.empty_table()], tmp_path) == {}


def test_a_corpus_that_is_compared_by_text_alone_needs_no_signatures():
    documents = index([document("a", prose(1)), document("b", prose(1)), document("c", prose(1, changed=1))])
    bare = index_of(documents.select(["id", "text_sha256", "captured_at"]), rank=0)

    assert bare.schema == INDEX
    assert copies(found_in([bare])) == {"b": "a"}


def test_a_policy_compares_by_default_as_the_index_is_made():
    assert Near() == Near(bands=BANDS, rows=ROWS, ngram=NGRAM)
    assert INDEX.field("bands").type.list_size == Near().bands


def test_signatures_of_other_sizes_can_be_compared():
    texts = [prose(1), prose(1, changed=1), prose(2)]
    facts = index([document(name, text) for name, text in zip("abc", texts, strict=True)])
    signed = sign(pa.array(texts), bands=4, rows=3, ngram=2)
    table = facts.drop_columns(signed.column_names)
    for name in signed.column_names:
        table = table.append_column(name, signed[name])

    assert copies(found_in([index_of(table, rank=0)], near=Near(bands=4, rows=3, ngram=2))) == {"b": "a"}


def test_an_index_survives_parquet(tmp_path):
    from pyarrow import parquet  # noqa: PLC0415 - only here

    table = index([document("a", prose(1)), document("b", "short"), document("c", None), document("d", prose(2))])
    parquet.write_table(table, tmp_path / "index.parquet")

    assert parquet.read_table(tmp_path / "index.parquet") == table
