from __future__ import annotations

import datetime as dt
import sys
from enum import Enum, auto
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from canary import SECRET, holds_secret
from hypothesis import given, settings
from hypothesis import strategies as st
from watermarked import WORDS, green, text_of, write_ring

from collapse_guard.errors import UsageError
from collapse_guard.kernels.watermark.draws import words_after
from collapse_guard.kernels.watermark.philox import AT_ONCE, keyed_words
from collapse_guard.provenance.marking.adapters import TransformersMarker, vllm_processor, vllm_v2_processor
from collapse_guard.provenance.marking.generators import GREEN_SCHEMES, SAMPLING_SCHEMES, Marker, current_key
from collapse_guard.provenance.watermark.key_ring import KeyRing, read_keys
from collapse_guard.provenance.watermark.keys import complete
from collapse_guard.provenance.watermark.scan import Scan
from collapse_guard.provenance.watermark.schemes import Scorer, scan_tokens

VOCABULARY, PROMPT = 499, 6
SALTED = ("kgw_selfhash", "hf_selfhash", "ff-noncomm_prf-3-True")
GREEN = (*GREEN_SCHEMES, "ff-noncomm_prf-3-True", "ff-additive_prf-1-False")
SCHEMES = (*GREEN, *SAMPLING_SCHEMES)
TODAY = dt.date(2026, 8, 2)


def entry(scheme, secret=SECRET, **fields):
    secrets = {"keys": [secret + 17 * n for n in range(30)]} if scheme[:3] == "syn" else {"key": secret}
    return {"scheme": scheme, "vocab_size": VOCABULARY, **secrets, **fields}


class Writer:
    """A model of random scores, the same few tokens of which are likely at any time."""

    def __init__(self, seed=0, vocabulary=VOCABULARY) -> None:
        self.random = np.random.default_rng(seed)
        self.likes = self.random.normal(size=vocabulary) * 2

    def scores(self, rows=1):
        return (self.likes + self.random.normal(size=(rows, self.likes.size))).astype(np.float32)

    def draw(self, scores):
        chances = np.exp(scores - scores.max(axis=1, keepdims=True), dtype=np.float64)
        return np.array([self.random.choice(row.size, p=row / row.sum()) for row in chances])

    def prompts(self, rows):
        return self.random.integers(0, self.likes.size, (rows, PROMPT))

    def write(self, marker, tokens, rows=1):
        ids, begins = self.prompts(rows), np.full(rows, PROMPT)
        for _ in range(tokens):
            scores = self.scores(rows)
            marked = marker.mark(ids, scores, begins) if marker else scores
            ids = np.column_stack([ids, self.draw(marked)])
        return ids


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scanner_finds_what_a_marker_wrote_with_and_without_the_prompt(scheme):
    key = entry(scheme)
    for row in Writer(1).write(Marker(complete(key), delta=3.0), 260 if scheme in SALTED else 150, rows=2):
        assert scan_tokens(row[PROMPT:], key).outcome == "evidence"
        assert scan_tokens(row, key).outcome == "evidence" or scheme == "gumbel_philox"
        assert scan_tokens(row[PROMPT:], entry(scheme, secret=99)).log_p > np.log(1e-4)


@pytest.mark.parametrize("scheme", GREEN)
def test_what_is_raised_is_what_the_scanner_calls_green(scheme):
    key, writer = complete(entry(scheme)), Writer(2)
    ids, scores = writer.prompts(1), writer.scores()
    raised = Marker(key, delta=2.5).mark(ids, scores) - scores
    assert set(np.unique(raised).round(3).tolist()) == {0.0, 2.5}
    texts = np.array([[*ids[0], token] for token in range(VOCABULARY)])
    found = Scorer(key).score(texts.ravel(), np.arange(VOCABULARY + 1) * texts.shape[1], "none").values
    green = found.reshape(texts.shape)[:, -1] == 1
    if scheme in SALTED:
        tested = np.argsort(-scores[0])[: 40 if scheme == "hf_selfhash" else 41]
        green &= np.isin(np.arange(VOCABULARY), tested)
    assert np.array_equal(raised[0] > 1, green)


@pytest.mark.parametrize("scheme", SAMPLING_SCHEMES)
def test_over_many_contexts_a_sampling_scheme_leaves_the_probabilities_as_they_are(scheme):
    rows = 3000
    scores = np.tile(np.log(np.array([8, 4, 2, 1, 1], np.float32) / 16), (rows, 1))
    ids = np.random.default_rng(4).integers(0, 5000, (rows, 4))
    marked = np.exp(Marker(complete(entry(scheme, vocab_size=5))).mark(ids, scores))
    assert np.allclose(marked.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(marked.mean(axis=0), np.exp(scores[0]), atol=0.035)
    assert marked.max(axis=1).mean() > 0.9


@pytest.mark.parametrize("scheme", SAMPLING_SCHEMES)
def test_temperature_and_top_k_are_those_of_the_sampler_where_a_context_repeats(scheme):
    ids, scores = np.array([[1, 2, 3, 4, 9, 1, 2, 3, 4]]), Writer(3).scores()
    marked = Marker(complete(entry(scheme)), temperature=0.5, top_k=7).mark(ids, scores)
    wanted = np.where(scores >= np.sort(scores)[:, -7:-6], scores / 0.5, -np.inf)
    wanted -= np.log(np.exp(wanted).sum())
    assert np.allclose(marked, wanted, atol=1e-4)
    marker = Marker(complete(entry(scheme)))
    assert not np.allclose(marker.mark(ids[:, :-1], scores), scores - np.log(np.exp(scores).sum()), atol=1e-3)
    assert not np.allclose(marker.mark(ids, scores, np.array([9])), scores - np.log(np.exp(scores).sum()), atol=1e-3)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_of_one_phrase_does_not_repeat_for_ever(scheme):
    marker, ids = Marker(complete(entry(scheme)), delta=1.0), [3] * 20
    writer = Writer(5)
    for _ in range(60):
        ids.append(int(writer.draw(marker.mark(np.array([ids]), writer.scores()))[0]))
    assert len(set(ids[20:])) > 10


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SCHEMES), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_what_must_not_come_stays_impossible_and_types_and_inputs_stay(scheme, length, seed):
    random = np.random.default_rng(seed)
    scores = random.normal(size=(2, VOCABULARY)).astype(np.float16)
    scores[:, random.integers(0, VOCABULARY, 480)] = -np.inf
    ids, before = random.integers(0, VOCABULARY, (2, length)), scores.copy()
    marked = Marker(complete(entry(scheme))).mark(ids, scores)
    assert np.array_equal(scores, before)
    assert marked.dtype == scores.dtype
    assert not np.isnan(marked).any()
    assert (marked[np.isneginf(scores)] == -np.inf).all()
    assert np.isfinite(marked).any(axis=1).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.integers(1, 9), st.integers(0, 1100), st.integers(0, 2**64 - 1))
def test_many_tokens_after_one_context_get_the_bits_that_the_scanner_gives_each(length, width, count, key):
    random = np.random.default_rng(count)
    ids, tokens = random.integers(0, 2**32, length), random.integers(0, 2**32, count)
    ours, theirs = np.empty(count, np.uint32), np.empty(count * (length + 1), np.uint32)
    words_after(ids, tokens, width, np.uint64(key), np.empty((8, AT_ONCE), np.uint64), ours)
    documents = np.column_stack([np.tile(ids, (count, 1)), tokens])
    offsets = np.arange(count + 1) * (length + 1)
    keyed_words(documents.ravel(), offsets, width, np.uint64(key), np.empty((8, AT_ONCE), np.uint64), theirs)
    assert np.array_equal(ours, theirs.reshape(documents.shape)[:, -1])


def test_what_the_current_key_of_a_ring_marked_is_found_in_the_text(tmp_path):
    ring = read_keys(write_ring(tmp_path, green(), {"scheme": "gumbel_philox", "key": 77, "owner": "b"}), {})
    for owner, name in ((None, "k1"), ("b", "k1")):
        marker = Marker(current_key(ring, TODAY, owner=owner))
        ids = Writer(10, len(WORDS)).write(marker, 120)[0, PROMPT:]
        found, _ = Scan(ring).find(pa.table({"text": [text_of(ids.tolist())]}))
        assert found["watermark_key"].to_pylist() == [name]
        assert found["watermark.log_p@1"][0].as_py() < -100


def test_too_little_context_is_left_unmarked():
    scores = Writer(6).scores()
    for scheme in ("kgw_minhash", "kgw_selfhash"):
        assert np.array_equal(Marker(complete(entry(scheme))).mark(np.array([[1, 2]]), scores), scores)


def test_nothing_possible_stays_so_and_no_rows_are_no_rows():
    nothing = np.full((1, VOCABULARY), -np.inf, np.float32)
    for scheme in SCHEMES:
        marker = Marker(complete(entry(scheme)))
        assert np.isneginf(marker.mark(np.ones((1, 9), int), nothing)).all()
        assert marker.mark(np.ones((0, 9), int), nothing[:0]).shape == (0, VOCABULARY)


def test_another_vocabulary_or_shape_is_refused():
    marker = Marker(complete(entry("kgw_simple_1")))
    with pytest.raises(UsageError, match="300 scores, and key 'key' has a `vocab_size` of 499"):
        marker.mark(np.ones((1, 9), int), np.zeros((1, 300)))
    with pytest.raises(UsageError, match="batch x vocabulary"):
        marker.mark(np.ones(9, int), np.zeros((1, 499)))


@pytest.mark.parametrize(
    ("key", "given", "said"),
    [
        (entry("unigram"), {}, "unigram is read and not written"),
        (entry("gumbel_philox_dual"), {}, "read and not written"),
        (entry("kgw_simple_1", device="cuda"), {}, "was drawn on cuda"),
        (entry("kgw_simple_1"), {"delta": 0.0}, "delta=0.0"),
        (entry("synthid_iv"), {"temperature": 0.0}, "temperature=0.0"),
        (entry("synthid_iv"), {"top_k": 0}, "top_k=0"),
    ],
)
def test_a_key_that_cannot_mark_and_numbers_out_of_range_are_refused(key, given, said):
    with pytest.raises(UsageError, match=said) as refused:
        Marker(complete(key), **given)
    assert not holds_secret(str(refused.value).encode())


def test_no_marker_shows_its_secret():
    for scheme in SCHEMES:
        marker = Marker(complete(entry(scheme)))
        assert not holds_secret(f"{marker!r} {marker.key!r} {TransformersMarker(marker, 3)!r}".encode())


def ring(*entries):
    keys = tuple(complete({"id": f"k{number}", **each}) for number, each in enumerate(entries))
    return KeyRing(Path("keys.yaml"), keys, {})


def test_the_newest_valid_key_marks():
    old = entry("kgw_simple_1", secret=11)
    keys = ring(
        old,
        entry("kgw_simple_1", secret=12, valid_from=dt.date(2026, 1, 1), valid_until=TODAY),
        entry("synthid_iv", valid_from=dt.date(2026, 5, 1), owner="b"),
        entry("kgw_simple_1", secret=13, valid_from=dt.date(2027, 1, 1)),
        entry("unigram", valid_from=dt.date(2026, 6, 1)),
    )
    assert current_key(keys, TODAY).id == "k2"
    assert current_key(keys, TODAY, scheme="kgw_simple_1").id == "k1"
    assert current_key(keys, TODAY, owner="b").id == "k2"
    assert current_key(keys, TODAY + dt.timedelta(days=1), scheme="kgw_simple_1").id == "k0"
    assert current_key(keys, dt.date(2027, 1, 1)).id == "k3"


def test_where_no_key_can_mark_each_one_s_reason_is_told():
    keys = ring(
        entry("kgw_simple_1", valid_from=dt.date(2027, 1, 1)),
        entry("kgw_minhash", valid_until=dt.date(2025, 1, 1)),
        entry("dipmark"),
    )
    reasons = r"k0: it is valid from 2027-01-01 on; k1: it was valid until 2025-01-01; k2: dipmark is read"
    with pytest.raises(UsageError, match=reasons) as refused:
        current_key(keys, TODAY)
    assert not holds_secret(str(refused.value).encode())
    with pytest.raises(UsageError, match="its scheme is kgw_simple_1; k1: its scheme"):
        current_key(keys, TODAY, scheme="synthid_iv")
    with pytest.raises(UsageError, match="another owner's"):
        current_key(keys, TODAY, owner="nobody")


class Tensor:
    """As much of a torch tensor as the adapters use."""

    def __init__(self, array) -> None:
        self.array = np.asarray(array)
        self.detach = self.cpu = lambda: self

    def float(self):
        return Tensor(self.array.astype(np.float32))

    def numpy(self):
        return self.array

    def new_tensor(self, array):
        return Tensor(np.asarray(array).astype(self.array.dtype))

    def copy_(self, other):
        self.array[...] = other.array
        return self

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, place):
        return Tensor(self.array[place])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_transformers_gets_the_same_scores_in_its_own_precision(scheme):
    marker, writer = Marker(complete(entry(scheme))), Writer(7)
    ids, scores = writer.write(None, 5, rows=3), writer.scores(3)
    marked = TransformersMarker(marker, PROMPT)(Tensor(ids), Tensor(scores.astype(np.float16)))
    assert marked.array.dtype == np.float16
    wanted = marker.mark(ids, scores.astype(np.float16).astype(np.float32), np.full(3, PROMPT))
    assert np.array_equal(marked.array, wanted.astype(np.float16))


@pytest.fixture
def engine(monkeypatch):
    class LogitsProcessor:
        pass

    for name in ("vllm.v1.sample.logits_processor", "vllm.v1.worker.gpu.sample.logits_processor"):
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:end]), ModuleType(".".join(parts[:end])))
        sys.modules[name].LogitsProcessor = LogitsProcessor
    return LogitsProcessor


class Direction(Enum):
    UNIDIRECTIONAL = auto()
    SWAP = auto()


def update(removed=(), added=(), moved=()):
    return SimpleNamespace(removed=removed, added=added, moved=moved)


@pytest.mark.parametrize("scheme", ["kgw_selfhash", "gumbel_philox", "synthid_iv"])
def test_vllm_s_rows_are_followed_as_they_come_move_and_go(scheme, engine):
    marker, writer = Marker(complete(entry(scheme))), Writer(8)
    processor = vllm_processor(marker)(None, None, False)  # noqa: FBT003 - as the engine calls it
    assert isinstance(processor, engine)
    assert processor.is_argmax_invariant() == marker.samples
    prompts, outputs = writer.prompts(3).tolist(), [[1, 2], [], [5, 6, 7]]

    def expect(order):
        scores = writer.scores(3)
        marked = processor.apply(Tensor(scores.copy())).array
        for row, request in enumerate(order):
            wanted = scores[row]
            if request is not None:
                ids = np.array([*prompts[request], *outputs[request]])
                wanted = marker.mark_row(ids, scores[row], PROMPT)
            assert np.array_equal(marked[row], wanted)

    processor.update_state(update(added=[(n, None, prompts[n], outputs[n]) for n in range(3)]))
    expect([0, 1, 2])
    outputs[1].append(8)  # the engine appends to its own list
    processor.update_state(None)
    expect([0, 1, 2])
    processor.update_state(update(moved=[(0, 2, Direction.SWAP)]))
    expect([2, 1, 0])
    processor.update_state(update(removed=[1], moved=[(2, 1, Direction.UNIDIRECTIONAL)]))
    expect([2, 0, None])
    outputs[2].append(-1)  # a placeholder of asynchronous scheduling
    prompts.append([])
    outputs.append([4, 4, 4, 4])
    processor.update_state(update(added=[(2, None, None, outputs[3])]))
    scores = writer.scores(3)
    marked = processor.apply(Tensor(scores.copy())).array
    assert np.array_equal(marked[0], scores[0])
    assert np.array_equal(marked[2], marker.mark_row(np.array(outputs[3]), scores[2]))


@pytest.mark.parametrize("scheme", ["kgw_selfhash", "gumbel_philox", "synthid_iv"])
def test_vllm_s_second_runner_names_slots_and_has_rows_for_drafts(scheme, engine):
    marker, writer = Marker(complete(entry(scheme))), Writer(9)
    committed = np.zeros((4, 32), int)
    committed[2, :9], committed[0, :7] = writer.random.integers(0, VOCABULARY, 9), range(7)
    states = SimpleNamespace(
        all_token_ids=SimpleNamespace(gpu=Tensor(committed)), prompt_len=SimpleNamespace(gpu=Tensor([5, 0, PROMPT, 0]))
    )
    processor = vllm_v2_processor(marker)(None, states)
    assert isinstance(processor, engine)
    assert processor.add_request(2, SimpleNamespace(temperature=0.5))
    assert processor.add_request(0, SimpleNamespace(temperature=0.0)) != marker.samples
    scores = writer.scores(4)
    draft = [int(committed[2, 8]), 77, 78, int(committed[0, 6])]
    layout = {"expanded_idx_mapping": [2, 2, 2, 0], "expanded_local_pos": [0, 1, 2, 0], "pos": [8, 9, 10, 6]}
    context = SimpleNamespace(input_ids=Tensor(draft), **{name: Tensor(given) for name, given in layout.items()})
    marked = processor.apply(Tensor(scores.copy()), context).array
    temperature = np.float32(0.5 if marker.samples else 1)
    for row, drafted in enumerate(([], [77], [77, 78])):
        ids = np.array([*committed[2, :9], *drafted])
        wanted = marker.mark_row(ids, scores[row] / temperature, PROMPT) * temperature
        assert np.array_equal(marked[row], wanted)
    greedy = scores[3] if marker.samples else marker.mark_row(committed[0, :7], scores[3], 5)
    assert np.array_equal(marked[3], greedy)


@pytest.mark.usefixtures("engine")
def test_without_vllm_or_with_a_temperature_no_processor_is_made(monkeypatch):
    key = complete(entry("synthid_iv"))
    with pytest.raises(UsageError, match=r"temperature of 0\.7"):
        vllm_processor(Marker(key, temperature=0.7))
    monkeypatch.setitem(sys.modules, "vllm.v1.sample.logits_processor", None)
    with pytest.raises(UsageError, match="install a vLLM"):
        vllm_processor(Marker(key))
