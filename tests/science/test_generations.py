"""A regression test of the promise: a model retrained on its own output trips the judge, a mixed one does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from collapse_guard.document import HUMAN_VERIFIED
from collapse_guard.judge import decide_state
from collapse_guard.metrics import Profile, Reference, Tokens, compute, rare_types
from collapse_guard.simulate.human_text import read_human_text
from collapse_guard.simulate.language_model import NgramModel

if TYPE_CHECKING:
    from collections.abc import Sequence

BUDGET = 60_000
SEVERITY = {"OK": 0, "EARLY": 1, "LATE": 2}


def tokens_of(texts: Sequence[str], budget: int = 10**9) -> Tokens:
    return Tokens.of([pa.chunked_array([pa.array(texts, pa.large_string())])], budget)


@pytest.fixture(scope="module")
def human() -> list[str]:
    texts: list[str] = read_human_text(2_500_000)["text"].to_pylist()
    return texts


def generations(human: list[str], seed: int, *, human_share: float, rounds: int = 4) -> list[str]:
    """Train on human text, then on the model's own pages with a share of human documents; the state of each round."""
    held, tail, pool, start = (human[part::4] for part in range(4))
    reference = Reference(tokens_of(held, 50_000), rare_types(tokens_of(tail)))
    draws = [draw(tokens_of(pool), number, reference) for number in range(20)]
    baseline = {name: float(np.mean([one[name] for one in draws])) for name in draws[0]}
    corpus, states = start, []
    for number in range(rounds):
        metrics = compute(Profile.of(tokens_of(corpus, BUDGET), {}), reference)
        states.append(decide_state(metrics, baseline)[0])
        count = round(len(start) * (1 - human_share))
        model = NgramModel.train(corpus)
        written = model.write_pages(count, words=180, seed=seed * 100 + number, sharpness=2)
        corpus = [*interleave(written, start[: len(start) - count])]
    return states


def draw(pool: Tokens, number: int, reference: Reference) -> dict[str, float | None]:
    order = np.random.default_rng(number).permutation(len(pool.offsets) - 1)
    return compute(Profile.of(pool.drawn(order, BUDGET), {HUMAN_VERIFIED: 1}), reference)


def interleave(written: list[str], kept: list[str]) -> list[str]:
    mixed = [*written, *kept]
    return [mixed[i] for i in np.random.default_rng(len(kept)).permutation(len(mixed))]


def test_a_model_trained_on_its_own_output_collapses_and_a_mixed_one_holds(human: list[str], long: bool) -> None:
    for seed in range(10 if long else 1):
        alone = generations(human, seed, human_share=0.0)
        mixed = generations(human, seed, human_share=0.6)

        assert alone[0] == mixed[0] == "OK", f"seed {seed}"
        assert [SEVERITY[state] for state in alone] == sorted(SEVERITY[state] for state in alone), (
            f"seed {seed}: {alone}"
        )
        assert alone[1] != "OK", f"seed {seed}: {alone}"
        assert alone[-1] == "LATE", f"seed {seed}: {alone}"
        assert mixed[-1] != "LATE", f"seed {seed}: {mixed}"
        assert sum(map(SEVERITY.get, mixed)) < sum(map(SEVERITY.get, alone)), f"seed {seed}: {mixed}"
