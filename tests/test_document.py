from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from collapse_guard.document import DOCUMENT, QUARANTINE, derive_id, text_digests

WHEN = datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT, st.none() | TEXT, st.none() | st.datetimes(timezones=st.just(UTC)))
def test_an_id_is_a_digest_of_address_time_and_text(text, url, captured_at):
    said = [url, captured_at.isoformat() if captured_at else None, text]

    expected = hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()[:32]

    assert derive_id(text, url, captured_at) == expected


def test_an_id_changes_with_everything_that_makes_a_document():
    ids = {
        derive_id("text", "http://a.example", WHEN),
        derive_id("text ", "http://a.example", WHEN),
        derive_id("text", "http://b.example", WHEN),
        derive_id("text", "http://a.example", WHEN.replace(year=2022)),
        derive_id("text", None, WHEN),
        derive_id("text", "", WHEN),
        derive_id("text", "http://a.example", None),
        derive_id("", None, None),
    }

    assert len(ids) == 8


def test_parts_of_a_document_cannot_be_shifted_into_each_other():
    assert derive_id('b", "c', "a", None) != derive_id("c", 'a", null, "b', None)


def test_an_id_stays_the_same_from_version_to_version():
    assert derive_id("Some text.", "http://a.example/1", WHEN) == "2715e27e39b71a2670e9472d03d33df3"


@given(st.lists(st.none() | TEXT), st.integers(0, 5))
def test_texts_are_digested_one_by_one_in_any_chunks(texts, cut):
    chunks = pa.chunked_array([texts[:cut], texts[cut:]], pa.large_string())

    expected = [None if text is None else hashlib.sha256(text.encode()).digest() for text in texts]

    assert text_digests(chunks).to_pylist() == expected


def test_the_schema_says_what_may_be_missing():
    required = [field.name for field in DOCUMENT if not field.nullable]

    assert required == ["id", "text", "tokens", "source"]
    assert not any(field.nullable for field in QUARANTINE)
