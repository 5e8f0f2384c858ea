from __future__ import annotations

import hashlib
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_guard.canonical import canonical_json, json_digest, sha256_hex

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15)  # what JSON says exactly
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT
NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


@given(st.dictionaries(TEXT, NESTED, max_size=5), st.integers(0, 2**32))
def test_equal_values_have_equal_bytes_whatever_the_order_of_keys(value, seed):
    items = list(value.items())
    random.Random(seed).shuffle(items)

    data = canonical_json(dict(items))

    assert data == canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data


def test_keys_are_sorted_numbers_are_shortest_and_nothing_is_escaped_in_vain():
    value = {"b": [1.0, 1e21, 0.1], "a": "é\n", "A": None}

    assert canonical_json(value) == '{"A":null,"a":"é\\n","b":[1,1e+21,0.1]}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, {1: "a"}, b"bytes"])
def test_what_json_cannot_say_exactly_is_refused(value):
    with pytest.raises(ValueError, match=r"."):
        canonical_json({"value": value})


def test_a_digest_names_the_canonical_bytes():
    data = b'{"a":1,"b":2}'

    assert json_digest({"b": 2, "a": 1}) == sha256_hex(data) == hashlib.sha256(data).hexdigest()
    assert sha256_hex(memoryview(data)[:0]) == hashlib.sha256().hexdigest()
