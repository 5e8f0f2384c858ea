from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import UsageError
from collapse_guard.metrics import Tokens
from collapse_guard.metrics.homogeneity import TopTwo, self_bleu

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "human_prose"
QUICK = settings(max_examples=80, deadline=None)
DOCUMENTS = st.lists(st.lists(st.integers(0, 3), max_size=14), min_size=2, max_size=7)


def tokens_of(documents: list[list[int]]) -> Tokens:
    offsets = np.cumsum([0, *map(len, documents)])
    return Tokens(offsets.astype(np.int64), np.array([token for one in documents for token in one], np.uint64))


def grams(document: list[int], order: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(document[i : i + order]) for i in range(len(document) - order + 1))


def slow_bleu(document: list[int], others: list[list[int]]) -> float:
    """BLEU-4 with smoothing method 1, one n-gram after the other; agrees with nltk's sentence_bleu."""
    logs = []
    for order in (1, 2, 3, 4):
        ours, theirs = grams(document, order), [grams(other, order) for other in others]
        found = sum(min(count, max(other[gram] for other in theirs)) for gram, count in ours.items())
        if order == 1 and not found:
            return 0.0
        logs.append(math.log((found or 0.1) / max(1, sum(ours.values()))))
    closest = min((abs(len(other) - len(document)), len(other)) for other in others)[1]
    penalty = 1.0 if len(document) > closest else math.exp(1 - closest / len(document))
    return penalty * math.exp(math.fsum(logs) / 4)


def slow_self_bleu(documents: list[list[int]]) -> float:
    scores = [slow_bleu(one, documents[:place] + documents[place + 1 :]) for place, one in enumerate(documents)]
    return math.fsum(scores) / len(scores)


@QUICK
@given(DOCUMENTS)
def test_self_bleu_is_that_of_every_document_against_all_others(documents: list[list[int]]) -> None:
    assert self_bleu(tokens_of(documents)) == pytest.approx(slow_self_bleu(documents), rel=1e-12, abs=1e-15)


def test_self_bleu_is_what_nltk_says_of_fixed_documents() -> None:
    random = np.random.default_rng(7)
    documents = [random.zipf(1.5, size).tolist() for size in random.integers(0, 40, 60).tolist()]

    assert self_bleu(tokens_of(documents)) == pytest.approx(0.40429058838157417, rel=1e-12)  # nltk 3.10.4


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data/human_prose is not there")
def test_self_bleu_of_human_prose_is_that_of_every_document_against_all_others() -> None:
    texts = pq.read_table(SHARED / "part-006.parquet", columns=["text"])["text"].to_pylist()[:40]
    tokens = Tokens.of([pa.chunked_array([pa.array([text[:1_500] for text in texts], pa.large_string())])], 10**9)
    documents = [tokens.hashes[start:stop].tolist() for start, stop in itertools.pairwise(tokens.offsets.tolist())]

    assert self_bleu(tokens) == pytest.approx(slow_self_bleu(documents), rel=1e-12)


@QUICK
@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_the_order_of_documents_changes_no_bit_of_self_bleu(documents: list[list[int]], random) -> None:
    shuffled = random.sample(documents, len(documents))

    assert self_bleu(tokens_of(shuffled)) == self_bleu(tokens_of(documents))


def test_identical_documents_score_one_and_unrelated_ones_zero() -> None:
    assert self_bleu(tokens_of([[1, 2, 3, 4, 5]] * 3)) == 1.0
    assert self_bleu(tokens_of([[1, 2, 3, 4], [5, 6, 7, 8]])) == 0.0
    assert self_bleu(tokens_of([[], []])) == 0.0


def test_self_bleu_of_fewer_than_two_documents_is_null() -> None:
    assert self_bleu(tokens_of([])) is None
    assert self_bleu(tokens_of([[1, 2, 3, 4, 5]])) is None


def test_a_short_document_is_penalised_by_the_closest_length_of_two_the_shorter() -> None:
    documents = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7, 8, 9]]

    scores = TopTwo.of(tokens_of(documents)).scores(tokens_of(documents))

    assert scores[0] == pytest.approx(math.exp(1 - 7 / 5))
    assert scores[1] == pytest.approx(1.0)  # 5 and 9 are as close; nothing is longer than 5


def states(documents: list[list[int]], cut: int) -> tuple[TopTwo, TopTwo]:
    return TopTwo.of(tokens_of(documents[:cut])), TopTwo.of(tokens_of(documents[cut:]), cut)


def plain(state: TopTwo) -> list[list[int]]:
    columns = [column.tolist() for tops in state.tops for column in (tops.hashes, tops.rows)]
    return [*columns, state.lengths.tolist()]


@QUICK
@given(DOCUMENTS, st.integers(0, 7), st.integers(0, 7))
def test_merged_states_are_the_state_of_all_documents(documents: list[list[int]], one: int, other: int) -> None:
    low, high = sorted((one, other))
    parts = [TopTwo.of(tokens_of(documents[a:b]), a) for a, b in ((0, low), (low, high), (high, len(documents)))]
    whole = plain(TopTwo.of(tokens_of(documents)))

    for a, b, c in itertools.permutations(parts):
        assert plain(a.merged(b).merged(c)) == whole
        assert plain(a.merged(b.merged(c))) == whole


@QUICK
@given(DOCUMENTS, st.integers(0, 7))
def test_scores_of_shards_from_the_merged_state_give_self_bleu_to_the_bit(documents: list[list[int]], cut: int) -> None:
    left, right = states(documents, cut)
    merged = right.merged(left)

    scores = [
        *merged.scores(tokens_of(documents[:cut])).tolist(),
        *merged.scores(tokens_of(documents[cut:]), cut).tolist(),
    ]

    assert math.fsum(scores) / len(scores) == self_bleu(tokens_of(documents))


def test_a_state_refuses_to_score_documents_that_are_not_in_it() -> None:
    state = TopTwo.of(tokens_of([[1, 2, 3, 4], [1, 2, 3]]))

    with pytest.raises(UsageError, match="merge the documents' own state into it"):
        state.scores(tokens_of([[1, 2, 5]]))
