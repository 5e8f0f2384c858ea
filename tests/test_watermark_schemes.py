from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from collapse_guard.errors import UsageError
from collapse_guard.provenance.watermark.keys import Key, complete
from collapse_guard.provenance.watermark.schemes import Scorer, scan_tokens, score_batch, unsupported_reason
from collapse_guard.provenance.watermark.seeding import seeding_of, seeds
from collapse_guard.provenance.watermark.synthid import fair_chances, layer_weights, sum_chances

GOLDEN = json.loads((Path(__file__).parent / "golden" / "watermarks.json").read_text())["cases"]
SECRET = 7777777777777
SCHEMES = (
    "kgw_simple_1 kgw_minhash kgw_selfhash kgw_skipgram hf_lefthash hf_selfhash unigram exp_markllm gumbel_philox "
    "gumbel_philox_dual synthid_table synthid_iv dipmark ff-noncomm_prf-3-True ff-additive_prf-1-False"
).split()
MODES = ("strict", "reference", "none")


def entry(scheme, **fields):
    if scheme.startswith("synthid"):
        return {"scheme": scheme, "keys": [SECRET + 17 * n for n in range(20)], **fields}
    return {"scheme": scheme, "key": SECRET, "vocab_size": 997, **fields}


def golden(scheme, mode):
    return [
        (case["key"], case.get("statistic", "mean"), ids, expected)
        for case in GOLDEN
        if case["key"]["scheme"].startswith(scheme)
        for ids, expected in zip(case["texts"], case[mode], strict=True)
        if expected is not None
    ]


def batch(documents):
    return (
        np.array([each for document in documents for each in document], np.int64),
        np.cumsum([0, *map(len, documents)]),
    )


def random_documents(count, size, vocabulary=997, seed=0):
    return np.random.default_rng(seed).zipf(1.3, (count, size)) % vocabulary


@pytest.mark.parametrize("mode", ["reference", "none"])
@pytest.mark.parametrize("scheme", [*SCHEMES[:13], "ff-"])
def test_scores_and_counts_are_the_reference_s(scheme, mode):
    cases = golden(scheme, mode)
    assert cases
    for key, statistic, ids, (score, count, _) in cases:
        found = scan_tokens(ids, key, mode, statistic=statistic)
        rounded = scheme.startswith("gumbel") or statistic == "weighted"
        assert found.scored_tokens == count
        assert found.score == pytest.approx(score, rel=1e-13 if rounded else 0, abs=0)


@pytest.mark.parametrize("scheme", ["gumbel_philox", "exp_markllm"])
def test_p_values_are_the_reference_s_where_those_are_exact(scheme):
    for key, _, ids, (_, _, p) in golden(scheme, "none"):
        if key["scheme"] == scheme and p is not None and p > 1e-300:
            assert scan_tokens(ids, key, "none").log_p == pytest.approx(math.log(p), rel=1e-9, abs=1e-13)


def test_dipmark_does_not_count_the_first_token_for_a_p_value():
    key, _, ids, (_, count, _) = golden("dipmark", "reference")[0]
    assert scan_tokens(ids, key).scored_tokens == count - 1


@pytest.mark.parametrize("scheme", [each for each in SCHEMES if not each.startswith(("synthid", "gumbel", "exp"))])
def test_green_lists_have_the_binomial_tail_of_the_share_that_is_green(scheme):
    key = complete(entry(scheme))
    ids = random_documents(1, 300)[0]
    scores = score_batch(ids, np.array([0, 300]), key)
    green = int((scores.values == 1).sum())
    share = int(key.gamma * 997) / 997 if scheme != "dipmark" else 1 - 498 / 997
    assert scores.scored_tokens[0] == (scores.values < 2).sum()
    assert scores.log_p[0] == pytest.approx(stats.binom.logsf(green - 1, scores.scored_tokens[0], share), rel=1e-9)


def test_sums_have_the_tails_of_their_distributions():
    ids, one = random_documents(1, 300)[0], np.array([0, 300])
    scores = score_batch(ids, one, complete(entry("gumbel_philox")))
    assert scores.log_p[0] == pytest.approx(stats.gamma.logsf(scores.score[0], scores.scored_tokens[0]), rel=1e-9)
    scores = score_batch(ids, one, complete(entry("synthid_iv")))
    n = 20 * scores.scored_tokens[0]
    assert scores.log_p[0] == pytest.approx(stats.binom.logsf(round(scores.score[0] * n) - 1, n, 0.5), rel=1e-9)


@pytest.mark.parametrize("weights", [(1,) * 7, (20, 17, 14, 11, 8, 5, 2)])
def test_chances_of_sums_are_those_of_all_hashes(weights):
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2, 64).astype(np.uint8)
    keys = tuple(rng.integers(0, 2**63, 7).tolist())
    words = rng.integers(0, 2**64, 400_000, dtype=np.uint64)
    for table in (bits, bits[:50], np.resize(bits, 3 * 2**20)):
        sums = np.zeros(words.size, np.int64)
        for key, weight in zip(keys, weights, strict=True):
            words_with_key = ((words + np.uint64(key)) * np.uint64(6364136223846793005) + np.uint64(1)).view(np.int64)
            sums += weight * table[words_with_key % table.size]
        chances = sum_chances(table, keys, np.array(weights))
        observed = np.bincount(sums, minlength=chances.size) / words.size
        assert chances.sum() == pytest.approx(1, abs=1e-12)
        assert np.abs(observed - chances).max() < 5 * math.sqrt(0.25 / words.size)


@pytest.mark.parametrize("layers", [1, 2, 7, 10, 30, 64])
def test_layers_weigh_ten_times_as_much_at_first_as_at_last(layers):
    weights = layer_weights(layers, "weighted")
    line = np.linspace(10, 1, layers)
    assert weights / weights.sum() == pytest.approx(line / line.sum(), rel=1e-14)
    assert np.gcd.reduce(weights) == 1
    assert layer_weights(layers, "mean").tolist() == [1] * layers


def test_chances_of_weighted_fair_bits_are_counted():
    weights = np.array([20, 11, 2])
    expected = np.bincount([np.dot(weights, [n >> 2, n >> 1 & 1, n & 1]) for n in range(8)]) / 8
    assert fair_chances(weights).tolist() == expected.tolist()


@pytest.mark.parametrize("scheme", ["synthid_table", "synthid_iv"])
def test_a_weighted_mean_of_one_layer_is_the_mean(scheme):
    ids, key = random_documents(1, 200)[0], {"scheme": scheme, "keys": [SECRET]}
    assert scan_tokens(ids, key, statistic="weighted") == scan_tokens(ids, key)


@pytest.mark.parametrize("size", [2**16, 5_000])
def test_a_weighted_mean_weighs_the_means_of_its_layers(size):
    ids, key = random_documents(1, 300)[0], entry("synthid_table", table_size=size)
    layers = [scan_tokens(ids, key | {"keys": [each]}).score for each in key["keys"]]
    found = scan_tokens(ids, key, statistic="weighted")
    assert found.score == pytest.approx(np.average(layers, weights=np.linspace(10, 1, 20)), rel=1e-13)
    assert found.scored_tokens == scan_tokens(ids, key).scored_tokens


@pytest.mark.parametrize("fields", [{"scheme": "synthid_iv"}, {"scheme": "synthid_table", "table_size": 64}])
@pytest.mark.parametrize("length", [6, 9])
def test_a_weighted_mean_has_the_tail_of_all_that_could_be_drawn(fields, length):
    keys = [SECRET, 5, 2**40, 77]
    key = complete({**fields, "keys": keys})
    scorer = Scorer(key, statistic="weighted")
    weights = layer_weights(4, "weighted")
    one = fair_chances(weights)
    if "table_size" in fields:
        scores = scorer.score(np.arange(200_000) * 7919 % 2**30, np.array([0, 200_000]), "none")
        drawn = np.rint(scores.values[4:] * (weights.sum() / 4)).astype(np.int64)
        one = np.bincount(drawn, minlength=one.size) / drawn.size
    ids = random_documents(1, length)[0]
    found = scan_tokens(ids, key, "none", statistic="weighted")
    many = one
    for _ in range(found.scored_tokens - 1):
        many = np.convolve(many, one)
    total = round(found.score * found.scored_tokens * int(weights.sum()))
    assert math.exp(found.log_p) == pytest.approx(many[total:].sum(), rel=1e-9 if "table_size" not in fields else 0.03)


@pytest.mark.parametrize("statistic", ["mean", "weighted"])
def test_a_table_of_equal_bits_says_nothing(statistic):
    ids, key = random_documents(1, 200)[0], entry("synthid_table", table_size=2)
    found = [scan_tokens(ids, key | {"table_seed": seed}, statistic=statistic) for seed in range(8)]
    assert {each.score for each in found if each.log_p == 0} >= {0.0, 1.0}


@pytest.mark.parametrize("scheme", ["synthid_table", "synthid_iv"])
def test_unmarked_text_has_a_large_weighted_mean_as_often_as_it_should(scheme):
    documents = batch(random_documents(300, 300, vocabulary=32_000))
    log_p = Scorer(complete(entry(scheme)), statistic="weighted").score(*documents).log_p
    assert 0.02 <= np.mean(log_p <= math.log(0.05)) <= 0.09


def test_a_weighted_mean_is_the_same_alone_and_in_any_batch():
    documents = [each.tolist() for each in random_documents(4, 40)] + [[], [5], [1, 2, 3, 4, 5, 6]]
    for key in (entry("synthid_table"), entry("synthid_table", table_size=5_000), entry("synthid_iv")):
        together = Scorer(complete(key), statistic="weighted").score(*batch(documents))
        for n, document in enumerate(documents):
            alone = scan_tokens(document, key, statistic="weighted")
            assert alone[:3] == (together.score[n], together.scored_tokens[n], together.log_p[n])


@pytest.mark.parametrize("scheme", [each for each in SCHEMES if not each.startswith("synthid")])
def test_only_synthid_has_a_weighted_mean(scheme):
    with pytest.raises(UsageError, match=r"weighted.*SynthID"):
        scan_tokens([1, 2, 3], entry(scheme), statistic="weighted")


def test_an_unknown_statistic_is_refused():
    with pytest.raises(UsageError, match="'mean' or 'weighted'"):
        scan_tokens([1, 2, 3], entry("synthid_iv"), statistic="bayesian")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("mode", MODES)
def test_a_document_scores_the_same_alone_and_in_any_batch(scheme, mode):
    documents = [each.tolist() for each in random_documents(4, 40)] + [[], [5], [0] * 30, [1, 2, 3, 4, 5, 6]]
    scorer = Scorer(complete(entry(scheme)), memory=2000)
    together = scorer.score(*batch(documents), mode)
    for n, document in enumerate(documents):
        alone = scan_tokens(document, entry(scheme), mode)
        assert (alone.score, alone.scored_tokens, alone.log_p) == (
            together.score[n],
            together.scored_tokens[n],
            together.log_p[n],
        )
    assert np.isfinite(together.score).all()
    assert (together.log_p <= 0).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_unmarked_text_is_evidence_as_often_as_it_should_be(scheme):
    log_p = [
        score_batch(*batch(random_documents(60, 150, seed=n)), complete(entry(scheme) | secrets(scheme, n))).log_p
        for n in range(5)
    ]
    assert 0 <= np.mean(np.concatenate(log_p) <= math.log(0.05)) <= 0.09


def secrets(scheme, n):
    drawn = np.random.default_rng(n).integers(1, 2**40, 20).tolist()
    return {"keys": drawn} if scheme.startswith("synthid") else {"key": drawn[0]}


@pytest.mark.parametrize("scheme", ["kgw_minhash", "kgw_selfhash", "exp_markllm", "gumbel_philox", "synthid_iv"])
def test_text_that_repeats_itself_counts_once(scheme):
    once = random_documents(1, 60)[0].tolist()
    found = scan_tokens(once * 20, entry(scheme))
    assert found.scored_tokens <= scan_tokens(once * 2, entry(scheme)).scored_tokens <= len(once) + 8
    assert scan_tokens(once * 20, entry(scheme), "none").scored_tokens > 19 * len(once)


def test_one_keyed_draw_counts_once_although_the_ngrams_differ():
    key = complete(entry("kgw_minhash"))
    ids = random_documents(1, 400)[0]
    seeded = seeds(seeding_of(key), SECRET, ids)[4:].tolist()
    draws = set(zip(seeded, ids[4:].tolist(), strict=True))
    ngrams = {tuple(ids[n : n + 5].tolist()) for n in range(396)}
    assert scan_tokens(ids, key).scored_tokens == len(draws) < len(ngrams)
    assert scan_tokens(ids, key, "reference").scored_tokens == len(ngrams)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 996), min_size=6, max_size=12),
    st.integers(1, 2**63 - 1),
    st.sampled_from(["additive_prf", "multiplicative_prf", "minfunc_prf"]),
)
def test_seeds_that_the_reference_computes_in_python_never_overflow(ids, secret, prf):
    key = complete({"scheme": f"ff-{prf}-5-False", "key": secret, "vocab_size": 997})
    factor = {"additive_prf": sum, "multiplicative_prf": math.prod, "minfunc_prf": min}[prf]
    expected = [(secret * factor(ids[n : n + 5])) % (2**64 - 1) % 2**32 for n in range(len(ids) - 5)]
    assert seeds(seeding_of(key), secret, np.array(ids))[5:].tolist() == expected


def test_kept_green_lists_change_no_score_however_many_fit():
    documents = batch(random_documents(20, 300, seed=3))
    key = complete(entry("kgw_simple_1"))
    expected = Scorer(key, memory=0).score(*documents)
    for memory in (125, 3000, 10**6):
        scorer = Scorer(key, memory)
        for _ in range(3):
            scores = scorer.score(*documents)
            assert (scores.values == expected.values).all()
            assert (scores.log_p == expected.log_p).all()


def test_threads_share_a_scorer():
    shards = [batch(random_documents(10, 200, seed=n)) for n in range(12)]
    key = complete(entry("hf_lefthash", vocab_size=32000))
    scorer = Scorer(key, memory=10**6)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda shard: scorer.score(*shard).values, shards))
    for shard, values in zip(shards, together, strict=True):
        assert (values == Scorer(key, memory=0).score(*shard).values).all()


def marked(scheme, count):
    """Of sixteen ids at a time, take the one that the key likes best after what there is."""
    scorer, rng = Scorer(complete(entry(scheme, vocab_size=32000))), np.random.default_rng(0)
    ids = rng.integers(0, 32000, 8).tolist()
    while len(ids) < count:
        candidates = rng.integers(0, 32000, 16).tolist()
        flat_ids, offsets = batch([[*ids[-7:], each] for each in candidates])
        liked = scorer.score(flat_ids, offsets, "none").values[offsets[1:] - 1]
        ids.append(candidates[int(np.argmax(liked))])
    return ids


@pytest.mark.parametrize("scheme", SCHEMES)
def test_marked_text_is_evidence_under_its_key_once_it_is_long_enough(scheme):
    ids, key = marked(scheme, 190), entry(scheme, vocab_size=32000)
    assert scan_tokens(ids, key).outcome == "evidence"
    assert scan_tokens(ids[:50], key).outcome == "inconclusive"
    assert scan_tokens(ids, key | secrets(scheme, 1)).outcome == "none_under_keys"
    assert scan_tokens(np.random.default_rng(1).integers(0, 32000, 190), key).outcome == "none_under_keys"


def test_evidence_stays_finite_far_below_the_smallest_float():
    lists = np.flatnonzero(
        Scorer(complete(entry("unigram", vocab_size=50257))).score(np.arange(50257), np.array([0, 50257])).values
    )
    found = scan_tokens(lists, entry("unigram", vocab_size=50257))
    assert -math.inf < found.log_p < -10_000
    assert found.outcome == "evidence"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("ids", [[], [1]])
def test_hardly_any_token_is_inconclusive(scheme, ids):
    found = scan_tokens(ids, entry(scheme))
    assert found.outcome == "inconclusive"
    assert found.log_p <= 0
    assert scan_tokens([], entry(scheme)) == (0.0, 0, 0.0, "inconclusive")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("wrong", [-1, 997, 2**40, 2**63, 2**80])
def test_an_id_outside_the_vocabulary_is_unsupported(scheme, wrong):
    key = entry(scheme) if "gumbel" not in scheme and "synthid" not in scheme else entry(scheme, vocab_size=997)
    assert scan_tokens([1, 2, 3, wrong, 5, 6] * 40, key) == (0.0, 0, 0.0, "unsupported")


def test_an_id_outside_the_vocabulary_costs_its_document_alone():
    documents = [[1, 2, 3] * 50, [1, 2, 997] * 50, [], [4, 5, 6] * 50]
    for scheme in ("kgw_simple_1", "exp_markllm", "unigram"):
        scorer = Scorer(complete(entry(scheme)))
        scores = scorer.score(*batch(documents))
        assert scores.outside.tolist() == [False, True, False, False]
        assert scorer.outcomes(scores)[1] == "unsupported"
        assert scores.scored_tokens[1] == 0 < scores.scored_tokens[3]
        assert not (scores.values[150:300] < 255).any()


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (entry("kgw_simple_1", device="cuda"), "cuda"),
        (entry("hf_selfhash", device="cuda:0"), "cuda:0"),
        (entry("synthid_table", device="cuda"), "cuda"),
        (entry("dipmark", gamma=1 / 997), "favoured"),
        ({"scheme": "sweet", "key": SECRET}, "model"),
    ],
)
def test_what_cannot_be_tested_is_unsupported_and_says_why(key, reason):
    assert scan_tokens([1, 2, 3] * 100, key) == (0.0, 0, 0.0, "unsupported")
    assert reason in (unsupported_reason(complete(key)) or "")
    with pytest.raises(UsageError, match=reason) as error:
        Scorer(complete(key))
    assert str(SECRET) not in str(error.value)


def test_a_device_matters_only_to_generators_that_differ_on_it():
    for scheme in ("gumbel_philox", "gumbel_philox_dual", "synthid_iv", "unigram", "exp_markllm"):
        assert unsupported_reason(complete(entry(scheme, device="cuda"))) is None


@pytest.mark.parametrize("ids", [[1.0, 2.0], ["1"], [True, False], [[1, 2], [3, 4]], 7, [None], [1, 2**80, "x"]])
def test_what_is_no_sequence_of_whole_numbers_is_refused(ids):
    with pytest.raises(UsageError, match="whole numbers"):
        scan_tokens(ids, entry("unigram"))


@pytest.mark.parametrize("mode", ["", "unique", None])
def test_an_unknown_way_to_count_is_refused(mode):
    with pytest.raises(UsageError, match="dedupe"):
        scan_tokens([1, 2], entry("unigram"), mode)


def test_a_key_that_was_not_completed_is_refused_without_its_secret():
    with pytest.raises(ValueError, match="context_width") as error:
        Scorer(Key(scheme="gumbel_philox", key=SECRET))
    assert str(SECRET) not in str(error.value)


@pytest.mark.parametrize("secret", [0, 2**64 - 1])
def test_the_smallest_and_the_largest_secret_are_tested(secret):
    found = scan_tokens(random_documents(1, 200)[0], {"scheme": "gumbel_philox_dual", "key": secret})
    assert found.scored_tokens > 100


@pytest.mark.parametrize("kind", [np.int32, np.uint64, np.int8, list, tuple])
def test_ids_of_any_whole_type_are_the_same_ids(kind):
    ids = random_documents(1, 120, vocabulary=100)[0]
    given_ids = ids.astype(kind) if isinstance(kind, type) and issubclass(kind, np.generic) else kind(ids.tolist())
    assert scan_tokens(given_ids, entry("kgw_simple_1")) == scan_tokens(ids, entry("kgw_simple_1"))


def test_ten_million_tokens_are_one_document():
    ids = np.random.default_rng(0).integers(0, 32000, 10**7, dtype=np.uint16)
    found = scan_tokens(ids, entry("synthid_table"))
    assert found.scored_tokens > 9_900_000
    assert found.outcome == "none_under_keys"


@pytest.mark.parametrize("scheme", ["kgw_simple_1", "gumbel_philox", "synthid_table"])
def test_skipped_tokens_are_not_scored_and_change_nothing_else(scheme):
    documents = batch(random_documents(3, 100))
    scorer = Scorer(complete(entry(scheme)))
    skip = np.arange(300) % 3 == 0
    scores, all_scores = scorer.score(*documents, skip=skip), scorer.score(*documents)
    assert not (scores.values[skip] < 255).any()
    assert np.array_equal(scores.values[~skip], all_scores.values[~skip], equal_nan=scheme.startswith("gumbel"))
    assert (scorer.log_p(scores.totals, scores.scored_tokens) == scores.log_p).all()
    assert scorer.log_p(np.zeros(1), np.zeros(1, np.int64)).tolist() == [0.0]
