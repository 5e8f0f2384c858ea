from __future__ import annotations

import dataclasses
import json
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from collapse_guard.declared import REQUIRED
from collapse_guard.errors import UsageError
from collapse_guard.provenance.watermark.keys import SCHEMES, UNSUPPORTED, Key, complete, freeform, untestable

CANARY = 7216548093317
IN_HEX = f"{CANARY:x}"
KGW = {"scheme": "kgw_simple_1", "key": CANARY, "vocab_size": 32000}


def whole(scheme: str) -> dict[str, object]:
    secret = {"keys": [CANARY, 5]} if "keys" in SCHEMES[scheme].fields else {"key": 977}
    return {"scheme": scheme, "vocab_size": 997} | secret


def shows_canary(text: str) -> bool:
    return str(CANARY) in text or IN_HEX in text.lower()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_gets_its_defaults(scheme):
    key = complete(whole(scheme))
    wanted = {name: value for name, value in SCHEMES[scheme].fields.items() if value not in {None, REQUIRED}}
    assert {name: getattr(key, name) for name in wanted} == wanted
    assert untestable(key) is None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_refuses_what_it_needs_to_be_missing(scheme):
    for name, value in SCHEMES[scheme].fields.items():
        if value is REQUIRED:
            entry = {each: given for each, given in whole(scheme).items() if each != name}
            with pytest.raises(UsageError, match=rf"key 'key': {name}: it is missing; {scheme} needs it"):
                complete(entry)


def test_a_field_of_another_scheme_is_refused_and_the_right_one_suggested():
    with pytest.raises(UsageError, match=r"gama: kgw_simple_1 has no such field; .*Did you mean 'gamma'\?"):
        complete(KGW | {"gama": 0.5})
    with pytest.raises(UsageError, match="ngram_len: kgw_simple_1 has no such field"):
        complete(KGW | {"ngram_len": 5})


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"gamma": 0}, "gamma"),
        ({"gamma": 1}, "gamma"),
        ({"gamma": float("nan")}, "gamma"),
        ({"gamma": 1e-6}, "gamma"),
        ({"vocab_size": 1}, "vocab_size"),
        ({"vocab_size": 2**22 + 1}, "vocab_size"),
        ({"vocab_size": "32000"}, "vocab_size"),
        ({"context_width": 0}, "context_width"),
        ({"context_width": 65}, "context_width"),
        ({"key": 0}, "key"),
        ({"key": -CANARY}, "key"),
        ({"key": CANARY * 2**40}, "key"),
        ({"key": str(CANARY)}, "key"),
        ({"key": [CANARY]}, "key"),
        ({"key": float(CANARY)}, "key"),
        ({"key": True}, "key"),
        ({"key": {"value": CANARY}}, "key"),
        ({"keys": [CANARY]}, "keys"),
        ({"valid_from": "2026-02-30"}, "valid_from"),
        ({"valid_from": "2026-02-02", "valid_until": "2026-02-01"}, "valid_from"),
        ({"tokenizer_sha256": "abc"}, "tokenizer_sha256"),
        ({"scheme": CANARY}, "scheme"),
        ({"scheme": f"ff-additive_prf-{CANARY}"}, "scheme"),
        ({"scheme": f"ff-additive_prf-3-False-{CANARY}x"}, "scheme"),
        ({"scheme": f"ff-no_prf-3-False-{CANARY}"}, "scheme"),
        ({"scheme": f"ff-additive_prf-3-False-{CANARY + 1}"}, "key"),
        ({"scheme": f"ff-additive_prf-3-False-{CANARY}", "context_width": 4}, "context_width"),
    ],
)
def test_an_impossible_field_is_named_and_no_secret_shown(wrong, place):
    with pytest.raises(UsageError, match=place) as caught:
        complete(KGW | wrong)
    assert not shows_canary(str(caught.value))
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("scheme", "secret"),
    [("unigram", -1), ("gumbel_philox", 2**64), ("gumbel_philox", -1), ("kgw_minhash", 2**63), ("exp_markllm", 2**60)],
)
def test_a_secret_beyond_what_the_reference_takes_is_refused(scheme, secret):
    with pytest.raises(UsageError, match="key: "):
        complete({"scheme": scheme, "key": secret, "vocab_size": 32000})


def test_synthid_takes_one_to_sixty_four_secrets():
    for count in (1, 30, 64):
        assert len(complete({"scheme": "synthid_iv", "keys": list(range(count))}).secrets) == count
    for count in (0, 65):
        with pytest.raises(UsageError, match="keys: 1 to 64 secrets are needed"):
            complete({"scheme": "synthid_iv", "keys": list(range(count))})


def test_the_largest_philox_key_is_taken_and_needs_no_vocabulary():
    key = complete({"scheme": "gumbel_philox_dual", "key": 2**64 - 1})
    assert (key.key, key.vocab_size, key.context_width) == (2**64 - 1, None, 4)


def test_numbers_of_numpy_are_whole_numbers():
    key = complete({"scheme": "synthid_table", "keys": list(np.arange(3)), "ngram_len": np.int64(4)})
    assert key.keys == (0, 1, 2)
    assert type(key.ngram_len) is int


def test_a_key_inside_a_schemes_name_is_taken_out_of_it():
    key = complete({"scheme": f"ff-anchored_minhash_prf-4-True-{CANARY}", "vocab_size": 997})
    assert (key.scheme, key.key, key.context_width, key.gamma) == ("ff-anchored_minhash_prf-4-True", CANARY, 4, 0.25)
    assert freeform(key.scheme) == ("anchored_minhash_prf", 4, True)
    with pytest.raises(ValidationError) as caught:
        Key(scheme=f"ff-additive_prf-3-False-{CANARY}", key=CANARY)
    assert not shows_canary(str(caught.value))


def test_pairs_of_a_context_need_two_tokens():
    with pytest.raises(UsageError, match="2 are needed"):
        complete({"scheme": "ff-minskipgram_prf-1-False-7", "vocab_size": 997})


@pytest.mark.parametrize("scheme", [*UNSUPPORTED, "of_tomorrow"])
def test_a_scheme_without_a_test_is_a_key_that_is_unsupported_with_a_reason(scheme):
    reason = untestable(complete({"scheme": scheme, "key": 5}))
    assert reason is not None
    assert reason.startswith(f"{scheme} cannot be tested: ")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_gpus_random_numbers_are_unsupported_where_torch_drew_them_there(scheme):
    reason = untestable(complete(whole(scheme) | {"device": "cuda"}))
    assert (reason is not None) == SCHEMES[scheme].on_device


def test_nothing_that_is_shown_holds_the_secret():
    for entry in (KGW, whole("synthid_iv"), {"scheme": f"ff-additive_prf-2-False-{CANARY}", "vocab_size": 997}):
        key = complete(entry)
        shown = [repr(key), str(key), f"{key}", repr([key]), json.dumps(key.to_json())]
        shown += [str(TypeAdapter(Key).dump_json(key)), str(key.fingerprint), key.stretched]
        assert not any(map(shows_canary, shown))


def test_a_fingerprint_tells_secrets_apart_and_nothing_else():
    same = complete(KGW | {"vocab_size": 997, "owner": "us"})
    assert complete(KGW).fingerprint == same.fingerprint
    assert complete(KGW | {"key": CANARY + 1}).fingerprint != same.fingerprint
    assert len(str(same.fingerprint)) == 8
    assert complete({"scheme": "sweet"}).fingerprint is None
    assert "fingerprint" not in complete({"scheme": "sweet"}).to_json()


def test_a_decoy_differs_in_the_secret_only():
    decoy = dataclasses.replace(complete(KGW), key=7)
    assert decoy == complete(KGW | {"key": 7})


@given(captured=st.dates(), start=st.dates())
def test_a_document_cannot_carry_a_mark_from_the_future(captured: date, start: date):
    key = Key(scheme="unigram", valid_from=start, valid_until=start)
    assert key.valid_at(captured) == (captured >= start)
    assert key.valid_at(None)
    assert Key(scheme="unigram", valid_until=start).valid_at(captured)
