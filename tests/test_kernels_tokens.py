from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.kernels import tokens
from collapse_guard.kernels.tokens import (
    ALPHABETIC,
    IDEOGRAPH,
    PUNCTUATION,
    SPACE,
    count_tokens,
    hash_token,
    token_hashes,
)

TEXTS = st.lists(
    st.text(
        st.one_of(
            st.characters(exclude_categories=["Cs"]),
            st.sampled_from("ab THE'_ .…#-•\n\n\r\t\x00\u200b\u200d\u3000漢かハ한é\u2019\uff0c👩🏽\U00020000"),
        ),
        max_size=40,
    ),
    max_size=6,
)


def class_of(character: str) -> int:
    code = ord(character)
    if code < 0x10000:
        return int(tokens.CLASSES[code])
    if 0x20000 <= code <= 0x3FFFF:
        return tokens.IDEOGRAPH
    return tokens.SYMBOL if 0x1F000 <= code <= 0x1FAFF or code >= 0xE0000 else tokens.LETTER


def split(text: str) -> list[str]:
    """Tokens, slowly."""
    found: list[str] = []
    before = SPACE
    for character in text:
        kind = class_of(character)
        if kind == PUNCTUATION:
            joins = before == PUNCTUATION and character.isascii() and found[-1].isascii()
        else:
            joins = before > PUNCTUATION
        if kind != SPACE:
            found[len(found) - joins :] = [found[-1] + character] if joins else [character]
        before = kind
    return found


def is_word(token: str) -> bool:
    return class_of(token[0]) > PUNCTUATION


def lower(token: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in token)


def pieces(text: str) -> int:
    """Word pieces, slowly."""
    total = run = 0
    for character in text + " ":
        kind = class_of(character)
        if kind > PUNCTUATION and kind != IDEOGRAPH:
            run += 1
            continue
        total += -(-run // 6) + (kind != SPACE)
        run = 0
    return total


def hashes_of(texts: pa.Array | pa.ChunkedArray) -> list[list[int]]:
    offsets, hashes = token_hashes(texts)
    return [hashes[a:b].tolist() for a, b in pairwise(offsets)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Don't stop.", ["Don't", "stop", "."]),
        ("wait... (now)!?", ["wait", "...", "(", "now", ")!?"]),
        ("a—b “c”", ["a", "—", "b", "“", "c", "”"]),
        ("one\u00a0two\u3000three\x00four", ["one", "two", "three", "four"]),
        ("naïve_2 👩‍💻", ["naïve_2", "👩‍💻"]),
        ("漢字、かな。", ["漢字", "、", "かな", "。"]),
    ],
)
def test_a_token_is_a_word_or_punctuation(text, expected):
    assert split(text) == expected
    assert hashes_of(pa.array([text])) == [[hash_token(lower(token)) for token in expected if is_word(token)]]


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_hashes_are_those_of_the_slow_definition(texts):
    expected = [[hash_token(lower(token)) for token in split(text) if is_word(token)] for text in texts]

    assert hashes_of(pa.array(texts, pa.large_string())) == expected


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_token_counts_are_those_of_the_slow_definition(texts):
    assert count_tokens(pa.array(texts, pa.string())).tolist() == [pieces(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("word", 1), ("strange", 2), ("a, b.", 4), ("漢字かな한글", 6), ("ab漢cd", 3)]
)
def test_token_counts_of_known_texts(text, count):
    assert count_tokens(pa.array([text])).tolist() == [count]


def test_the_hash_never_changes():
    assert f"{hash_token(''):016x} {hash_token('the'):016x} {hash_token('é'):016x}" == (
        "efd01f60ba992926 cb3ff435b889fb31 9d55ccb9ba86763b"
    )


@pytest.mark.parametrize("function", [hashes_of, lambda texts: count_tokens(texts).tolist()])
@settings(max_examples=40, deadline=None)
@given(texts=TEXTS, cut=st.integers(0, 6))
def test_slices_chunks_types_and_nulls_change_nothing(function, texts, cut):
    whole = function(pa.array(texts, pa.string()))

    assert function(pa.array(texts, pa.large_string())) == whole
    assert function(pa.array(["x y", None, *texts], pa.string()).slice(2)) == whole
    assert function(pa.chunked_array([texts[:cut], texts[cut:]], pa.string())) == whole
    assert function(pa.array([None, *texts], pa.string())) == function(pa.array(["", *texts], pa.string()))


def test_threads_change_nothing():
    texts = pa.array([f"The {i}th text, number {i * i}." for i in range(400)])
    whole = hashes_of(texts)

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: hashes_of(texts.slice(start, 50)), range(0, 400, 50)))

    assert [row for part in parts for row in part] == whole


def test_a_column_without_texts_gives_no_tokens():
    for empty in (pa.array([], pa.string()), pa.chunked_array([], pa.string()), pa.array([None, None], pa.string())):
        offsets, hashes = token_hashes(empty)
        assert offsets.tolist() == [0] * (len(empty) + 1)
        assert hashes.dtype == np.uint64
        assert hashes.size == 0
        assert count_tokens(empty).tolist() == [0] * len(empty)


def test_a_null_that_kept_its_bytes_is_an_empty_text():
    hidden = pa.Array.from_buffers(
        pa.string(), 2, [pa.py_buffer(b"\x02"), pa.py_buffer(np.array([0, 4, 8], np.int32)), pa.py_buffer(b"aaaabbbb")]
    )

    assert count_tokens(hidden).tolist() == [0, 1]


def test_other_columns_are_refused():
    with pytest.raises(TypeError, match="type int64 cannot be measured; give string"):
        count_tokens(pa.array([1]))


def test_a_broken_character_at_the_end_is_not_read_beyond():
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 3], np.int32)), pa.py_buffer(b"ab\xf0")]
    )

    assert count_tokens(broken).tolist() == [1]


def test_classes_agree_with_unicode_where_the_table_claims_to_know():
    for code in range(0x2E00):
        kind, category = int(tokens.CLASSES[code]), unicodedata.category(chr(code))
        if chr(code).isspace() or category == "Cc":
            assert kind == SPACE, hex(code)
        if kind == PUNCTUATION and code > 0x7F:
            assert category[0] in "PSC", hex(code)
        if chr(code).isalpha() and code < 0x2000:
            assert kind & ALPHABETIC, hex(code)
