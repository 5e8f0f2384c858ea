from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import UsageError
from collapse_guard.provenance.watermark.calibration import CommonNgrams, Null, decoy_p, decoy_z, decoys
from collapse_guard.provenance.watermark.keys import complete
from collapse_guard.provenance.watermark.statistics import binomial_log_sf

KGW = complete({"id": "ours", "scheme": "kgw_simple_1", "key": 4242, "vocab_size": 1_000})
SYNTHID = complete({"id": "ours", "scheme": "synthid_iv", "keys": [11, 22, 33]})


def test_decoys_differ_in_nothing_but_their_secrets():
    made = decoys(KGW, 5, seed=1)

    assert len({key.key for key in made} | {KGW.key}) == 6
    assert {(key.scheme, key.vocab_size, key.gamma) for key in made} == {(KGW.scheme, KGW.vocab_size, KGW.gamma)}
    assert [key.id for key in made] == [f"ours-decoy-{n}" for n in range(1, 6)]


def test_the_same_seed_gives_the_same_decoys():
    assert decoys(SYNTHID, 3, seed=1) == decoys(SYNTHID, 3, seed=1) != decoys(SYNTHID, 3, seed=2)
    assert all(len(key.keys) == 3 for key in decoys(SYNTHID, 3, seed=1))


@pytest.mark.parametrize("scheme", ["exp_markllm", "gumbel_philox", "unigram", "kgw_minhash"])
def test_decoys_are_keys_that_the_scheme_takes(scheme):
    known = complete({"scheme": scheme, "key": 7, "vocab_size": 150_000})

    for key in decoys(known, 20, seed=3):
        complete({"scheme": scheme, "key": key.key, "vocab_size": 150_000})


def test_a_scheme_that_cannot_be_tested_has_no_decoys():
    with pytest.raises(UsageError, match="no decoys"):
        decoys(complete({"scheme": "sweet"}), 1, seed=1)


def test_a_p_value_beside_decoys_is_never_zero():
    assert decoy_p([9.0, 0.0], np.zeros((99, 2))).tolist() == [0.01, 1.0]


def test_a_p_value_beside_decoys_is_uniform_if_the_key_is_one_of_them():
    scores = np.random.default_rng(0).normal(size=(100, 2_000))

    assert np.mean(decoy_p(scores[0], scores[1:]) <= 0.05) == pytest.approx(0.05, abs=0.015)


def test_standing_beside_decoys_that_agree_is_not_measured():
    assert np.isnan(decoy_z([1.0], np.ones((5, 1)))).all()
    assert decoy_z([3.0], [[0.0], [2.0]])[0] == pytest.approx(2 / math.sqrt(2))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 100)), min_size=2, max_size=20), st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_fits_of_shards_add_up(documents, cut):
    totals, counts = np.array(documents).T

    whole = Null.of(totals, counts)
    parts = Null.of(totals[:cut], counts[:cut]) + Null.of(totals[cut:], counts[cut:])

    assert parts.to_json() == pytest.approx(whole.to_json())
    assert Null.from_json(whole.to_json()) == whole


def test_a_key_with_a_rate_of_its_own_is_brought_to_its_nominal_error():
    random = np.random.default_rng(0)
    counts = random.integers(100, 900, 8_000)
    rates = random.normal(0.27, 0.02, 8_000)
    green = random.binomial(counts, rates)

    null = Null.of(green[:4_000], counts[:4_000])
    adjusted, worth = null.adjust(green[4_000:], counts[4_000:], 0.25, 0.1875)
    bare = np.mean(binomial_log_sf(green[4_000:], counts[4_000:], 0.25) <= math.log(0.01))
    calibrated = np.mean(binomial_log_sf(adjusted, worth, 0.25) <= math.log(0.01))

    assert bare > 0.05
    assert 0.003 < calibrated < 0.015


def test_without_human_text_there_is_no_calibration():
    assert math.isnan(Null().mean)
    assert Null().dispersion(1.0) == 1
    with pytest.raises(UsageError, match="no token was scored"):
        Null().adjust([1.0], [1], 0.25, 0.2)


def test_documents_without_scored_tokens_stay_so():
    adjusted, worth = Null.of([30], [100]).adjust([0.0, 30.0], [0, 100], 0.25, 0.1875)

    assert worth.tolist() == [0, 100]
    assert adjusted.tolist() == pytest.approx([0.0, 25.0])


@given(
    documents=st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=1, max_size=8),
    width=st.integers(1, 3),
    share=st.sampled_from([0.1, 0.3, 0.5]),
)
@settings(max_examples=100, deadline=None)
def test_common_ngrams_are_those_that_counting_finds(documents, width, share):
    flat = np.array(list(itertools.chain(*documents)), np.int64)
    offsets = np.cumsum([0, *map(len, documents)])
    ngrams = [
        [tuple(one[i - width + 1 : i + 1]) if i >= width - 1 else None for i in range(len(one))] for one in documents
    ]
    having = Counter(ngram for one in ngrams for ngram in set(one) - {None})

    common = CommonNgrams.of(flat, offsets, width, share)

    expected = [ngram is not None and having[ngram] > share * len(documents) for one in ngrams for ngram in one]
    assert common.places(flat, offsets).tolist() == expected
    assert len(common) == sum(count > share * len(documents) for count in having.values())
