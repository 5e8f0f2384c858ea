from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.kernels.watermark import contexts, mersenne, philox, rows, synthid

WORD = 2**64
LOW = 2**32 - 1
SEEDS = st.integers(0, LOW)
QUICK = settings(max_examples=25, deadline=None)


def draws(seed, count):
    """MT19937 as numpy has it."""
    return np.random.RandomState(seed).randint(0, 2**32, size=count, dtype=np.uint64).astype(np.uint32)


def shuffled(seed, size, count):
    """The first `count` swaps of a shuffle."""
    ids = list(range(size))
    for i, draw in enumerate(draws(seed, count).tolist()):
        j = i + draw % (size - i)
        ids[i], ids[j] = ids[j], ids[i]
    return ids


def reciprocals(size, count):
    return 1.0 / np.arange(size, size - count, -1, dtype=np.float64)


def state():
    return np.empty(mersenne.STATE_SIZE, np.uint32)


def offsets_of(documents):
    return np.concatenate([[0], np.cumsum([len(each) for each in documents])]).astype(np.int64)


def flat(documents):
    return np.array([each for document in documents for each in document], np.int64)


DOCUMENTS = st.lists(st.lists(st.integers(0, 3), max_size=30), max_size=5)


@QUICK
@given(SEEDS)
def test_blocks_are_numpy_s_mersenne_twister(seed):
    words, found = state(), []
    mersenne.seed_state(words, np.uint32(seed))
    for _ in range(3):
        mersenne.next_block(words)
        found += [mersenne.tempered(word) for word in words]
    assert found == draws(seed, 3 * mersenne.STATE_SIZE).tolist()


@QUICK
@given(SEEDS, st.integers(2, 3000), st.data())
def test_swaps_divide_by_multiplying(seed, size, data):
    count = data.draw(st.integers(1, size))
    places = np.empty(count, np.uint32)
    mersenne.swap_places(np.uint32(seed), reciprocals(size, count), state(), places)
    i = np.arange(count, dtype=np.uint64)
    assert (places == i + draws(seed, count) % (size - i)).all()


def test_swaps_of_the_largest_vocabulary_are_exact():
    size = 2**22
    places = np.empty(size, np.uint32)
    mersenne.swap_places(np.uint32(1), reciprocals(size, size), state(), places)
    i = np.arange(size, dtype=np.uint64)
    assert (places == i + draws(1, size) % (size - i)).all()


@QUICK
@given(SEEDS, st.integers(2, 1500), st.data())
def test_following_one_id_agrees_with_the_whole_shuffle(seed, size, data):
    count = data.draw(st.integers(1, size))
    places = np.empty(count, np.uint32)
    mersenne.swap_places(np.uint32(seed), reciprocals(size, count), state(), places)
    early = set(shuffled(seed, size, count)[:count])
    tokens = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20))
    assert [bool(mersenne.ends_early(places, np.uint32(token))) for token in tokens] == [t in early for t in tokens]
    ids = np.arange(size, dtype=np.uint32)
    mersenne.shuffle(places, ids)
    assert ids.tolist() == shuffled(seed, size, count)


def test_pairs_of_one_seed_are_drawn_together_and_agree():
    size, count = 700, 200
    wanted = sorted((seed, token) for seed in (0, 7, LOW) for token in (0, 1, 350, 699))
    pairs = np.array([(seed << 32) | token for seed, token in wanted], np.uint64)
    early = np.empty(pairs.size, np.uint8)
    mersenne.early_pairs(pairs, reciprocals(size, count), state(), np.empty(count, np.uint32), early)
    assert early.tolist() == [token in shuffled(seed, size, count)[:count] for seed, token in wanted]


def test_rows_hold_the_green_ids_and_nothing_else():
    size, count, seeds = 77, 30, np.array([3, LOW, 0], np.uint32)
    bits = np.zeros((3, 10), np.uint8)
    rows.fill_rows(
        seeds, reciprocals(size, count), state(), np.empty(count, np.uint32), np.empty(size, np.uint32), bits
    )
    found = np.unpackbits(bits, axis=1, bitorder="little")
    for n, seed in enumerate(seeds.tolist()):
        assert set(np.flatnonzero(found[n]).tolist()) == set(shuffled(seed, size, count)[:count])


def test_a_row_is_read_where_it_is_kept():
    bits, slots = np.array([[0b100]], np.uint8), np.array([0, -1, -1], np.int32)
    ids, new = np.array([0, 2, 0, 1, 2, 0, 2], np.int64), np.array([0, 1, 1, 1, 1, 1, 0], np.uint8)
    values = np.empty(7, np.uint8)
    rows.look_up(ids, new, bits, slots, values)
    unknown, unscored = rows.UNKNOWN, contexts.UNSCORED
    assert values.tolist() == [unscored, 1, unknown, 0, unknown, unknown, unscored]
    counts = np.zeros(3, np.int64)
    rows.count_contexts(ids, new, counts)
    assert counts.tolist() == [2, 1, 2]


@QUICK
@given(SEEDS, st.lists(st.integers(0, 2000), min_size=1, max_size=10, unique=True))
def test_exponentials_come_from_torch_s_uniform_numbers(seed, tokens):
    pairs = np.array(sorted((seed << 32) | token for token in tokens), np.uint64)
    values = np.empty(pairs.size)
    mersenne.exponential_pairs(pairs, state(), values)
    uniforms = (draws(seed, 2001) & 0xFFFFFF) * 2.0**-24
    expected = [math.log(float(np.float32(1 / (1 - uniforms[token])))) for token in sorted(tokens)]
    assert values.tolist() == pytest.approx(expected, rel=1e-14)


def test_bits_are_the_lowest_of_each_draw():
    bits = np.empty(2000, np.uint8)
    mersenne.draw_bits(np.uint32(9), state(), bits)
    assert (bits == draws(9, 2000) % 2).all()


@QUICK
@given(DOCUMENTS, st.integers(0, 4), st.sampled_from([0, 1, 2, 5, 2**31]))
def test_a_place_is_new_where_nothing_within_reach_is_the_same(documents, first, reach):
    offsets, hashes = offsets_of(documents), flat(documents).astype(np.uint64)
    slots = np.empty(1 << contexts.slot_bits(30), np.int32)
    new = np.full(hashes.size, 7, np.uint8)
    contexts.mark_new(hashes, offsets, first, reach, slots, new)
    expected = []
    for document in documents:
        ring = deque(maxlen=min(reach, 1000))
        for place, value in enumerate(document):
            expected.append(place >= first and value not in ring)
            if place >= first:
                ring.append(value)
    assert new.tolist() == expected


@QUICK
@given(DOCUMENTS, st.integers(1, 9), st.integers(0, 1))
def test_windows_have_one_hash_where_they_are_equal(documents, width, lag):
    offsets, ids = offsets_of(documents), flat(documents)
    hashes = np.empty(ids.size, np.uint64)
    contexts.hash_windows(ids, offsets, width, lag, hashes)
    windows = []
    for document in documents:
        padded = [-1] * width + document
        windows += [tuple(padded[end - width : end]) for end in range(width + 1 - lag, len(padded) + 1 - lag)]
    assert len(set(windows)) == len(set(hashes.tolist()))
    assert len(set(zip(windows, hashes.tolist(), strict=True))) == len(set(windows))


def test_totals_leave_out_what_is_not_scored():
    offsets, totals, counts = np.array([0, 3, 3, 5]), np.empty(3), np.empty(3, np.int64)
    contexts.total_documents(np.array([1, 255, 0, 255, 64], np.uint8), offsets, totals, counts)
    assert (totals.tolist(), counts.tolist()) == ([1, 0, 64], [2, 0, 1])
    contexts.total_documents(np.array([0.5, np.nan, 1.0, 16.5, np.nan]), offsets, totals, counts)
    assert (totals.tolist(), counts.tolist()) == ([1.5, 0, 16.5], [2, 0, 1])


@pytest.mark.parametrize(
    ("words", "key", "expected"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([LOW] * 4, [LOW] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_known_answers(words, key, expected):
    assert list(philox.philox(tuple(map(np.uint64, words)), *map(np.uint64, key))) == expected


def slow_word(key, context, token):
    """vLLM's 32 bits of a token after a context."""
    mixed = [0x574D4358, len(context), 0, 0]
    for start in range(0, len(context), 4):
        block = list(context[start : start + 4])
        block += [LOW - i for i in range(len(block), 4)]
        counter = [left ^ (right & LOW) for left, right in zip(mixed, block, strict=True)]
        mixed = mix(counter, (key & LOW) ^ start, key >> 32)
    return mix([token >> 2, *mixed[:3]], (key & LOW) ^ mixed[3], (key >> 32) ^ 0x574D544B)[token & 3]


def mix(words, key_0, key_1):
    return [int(word) for word in philox.philox(tuple(map(np.uint64, words)), np.uint64(key_0), np.uint64(key_1))]


@QUICK
@given(st.lists(st.lists(st.integers(0, LOW), max_size=12), max_size=3), st.integers(1, 9), st.integers(0, WORD - 1))
def test_words_follow_the_context_with_its_padding(documents, width, key):
    ids, words = flat(documents), np.empty(sum(map(len, documents)), np.uint32)
    philox.keyed_words(
        ids, offsets_of(documents), width, np.uint64(key), np.empty((8, philox.AT_ONCE), np.uint64), words
    )
    expected = [
        slow_word(key, ([-1] * width + document)[place : place + width], token)
        for document in documents
        for place, token in enumerate(document)
    ]
    assert words.tolist() == expected


def test_a_document_of_several_parts_is_one_document():
    ids = np.random.default_rng(0).integers(0, 50000, 3 * philox.AT_ONCE + 5)
    words, scratch = np.empty(ids.size, np.uint32), np.empty((8, philox.AT_ONCE), np.uint64)
    philox.keyed_words(ids, np.array([0, ids.size]), 3, np.uint64(99), scratch, words)
    for place in (philox.AT_ONCE - 1, philox.AT_ONCE, philox.AT_ONCE + 1, ids.size - 1):
        assert words[place] == slow_word(99, ids[place - 3 : place].tolist(), int(ids[place]))


def test_the_exponential_of_any_word_is_finite():
    values = np.empty(4)
    words, new = np.array([0, LOW, 2**31, 5], np.uint32), np.array([1, 1, 1, 0], np.uint8)
    philox.exponentials(words, new, values)
    assert np.isfinite(values[:3]).all()
    assert (values[:3] > 0).all()
    assert values[2] == pytest.approx(math.log(2), rel=1e-6)
    assert np.isnan(values[3])


def slow_hash(value, data):
    for each in data:
        value = ((value + each) * synthid.MULTIPLIER + 1) % WORD
    return value


def signed(value):
    return value - WORD if value >= WORD // 2 else value


def hashed(ids, begin, width):
    powers = [pow(synthid.MULTIPLIER, width - k, WORD) for k in range(width)]
    zeros = slow_hash(begin, [0] * width)
    hashes = np.zeros(ids.size, np.uint64)
    synthid.hash_contexts(ids, np.array(powers, np.uint64), np.uint64(zeros), hashes)
    return hashes


@pytest.mark.parametrize("width", [1, 4])
def test_contexts_are_hashed_id_by_id(width):
    ids = np.random.default_rng(1).integers(0, 152000, 2 * synthid.AT_ONCE + 7)
    hashes, tokens = hashed(ids, 12345678901234567890, width), ids.tolist()
    for place in [*range(width, 40), synthid.AT_ONCE + width, ids.size - 1]:
        assert hashes[place] == slow_hash(12345678901234567890, tokens[place - width : place])


def test_sums_of_g_agree_with_the_reference_s_steps():
    rng = np.random.default_rng(2)
    ids, keys = rng.integers(0, 152000, 60), [0, 5, 2**62 + 3, 2**63 - 1]
    hashes, tokens, new = hashed(ids, 1, 4), ids.tolist(), np.ones(60, np.uint8)
    words = [signed(slow_hash(1, tokens[place - 4 : place + 1])) for place in range(4, 60)]
    values = np.empty(60, np.uint8)
    synthid.sum_by_hash(ids, hashes, np.array(keys), np.empty(synthid.AT_ONCE, np.int64), values)
    assert values[4:].tolist() == [sum(slow_bit(word, key) for key in keys) for word in words]
    bits = rng.integers(0, 2, 5000).astype(np.uint8)
    synthid.sum_by_remainder(ids, hashes, new, np.array(keys), bits, values)
    with_keys = [[signed(slow_hash(word, [key])) for key in keys] for word in words]
    assert values[4:].tolist() == [sum(int(bits[each % 5000]) for each in some) for some in with_keys]


def slow_bit(word, key):
    word = signed(slow_hash(word, [key]))
    for _ in range(12):
        word = signed(slow_hash(word, [1])) >> 5
    return (word >> 30) % 2


def test_sums_from_a_table_go_by_the_low_bits():
    ids, hashes = np.array([3, 4], np.int64), np.array([10, WORD - 1], np.uint64)
    sums, values = np.arange(8, dtype=np.uint8), np.empty(2, np.uint8)
    synthid.sum_by_table(ids, hashes, np.array([1, 1], np.uint8), sums, values)
    assert values.tolist() == [slow_hash(int(value), [int(each)]) % 8 for value, each in zip(hashes, ids, strict=True)]
    synthid.sum_by_table(ids, hashes, np.array([0, 1], np.uint8), sums, values)
    assert values[0] == contexts.UNSCORED
