"""Models that train on what models wrote, generation after generation, with a dial for every source of error."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import count, islice
from typing import TYPE_CHECKING

import numpy as np

from collapse_guard.errors import UsageError
from collapse_guard.simulate.language_model import NgramModel, check_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray


class Workflow(StrEnum):
    """What becomes of the corpus of the generation before; names of Kazdan et al. 2025, arXiv 2410.16713."""

    REPLACE = "replace"
    """It is thrown away."""
    ACCUMULATE = "accumulate"
    """It is kept, and the new pages are added."""
    ACCUMULATE_SUBSAMPLE = "accumulate_subsample"
    """It is kept in a pool; a model learns from as many pages of the pool as ever."""


@dataclass(frozen=True, slots=True)
class Dials:
    """One dial for every source of error of recursive training.

    Source:
        The three errors of Shumailov et al. 2024, Nature 631:755.
    """

    pages: int = 600
    """New pages of each generation. Statistical error: fewer pages hold fewer of the rare things."""
    order: int = 3
    """Length of the longest n-grams. Expressivity: a shorter memory cannot say what people say."""
    weights: tuple[float, ...] = (0.05, 0.15, 0.80)
    """Share of draws from each order. Approximation: the shorter orders blur what the longest learned."""
    sharpness: int = 1
    """Draws per word, of which the most frequent is written. Approximation: above 1, as careful decoding is."""


@dataclass(frozen=True, slots=True)
class Page:
    """One document of a corpus."""

    text: str
    human: bool


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """What one generation of models learns from; generation 0 learns from people alone."""

    number: int
    pages: tuple[Page, ...]
    """The corpus, in an order drawn by chance, so that every prefix is a fair sample of it."""
    written: tuple[str, ...]
    """What the model of the generation before wrote for this one; it is in the corpus, or in its pool."""

    @property
    def texts(self) -> list[str]:
        """Give the texts of the corpus."""
        return [page.text for page in self.pages]

    @property
    def human_share(self) -> float:
        """Give the share of human tokens in the corpus, where tokens are what white space separates."""
        human, everything = (
            sum(len(page.text.split()) for page in pages)
            for pages in ([page for page in self.pages if page.human], self.pages)
        )
        return human / everything


def cut_pages(texts: Iterable[str], words: int) -> Iterator[str]:
    """Cut texts into pages of exactly so many words, on one line each; what is left of a text is dropped."""
    for text in texts:
        split = text.split()
        yield from (" ".join(split[i : i + words]) for i in range(0, len(split) - words + 1, words))


def recurse(
    human: Sequence[str], dials: Dials, *, workflow: Workflow, human_share: float, rounds: int, seed: int
) -> Iterator[Generation]:
    """Train a model on human pages, the next on what it writes, and so on.

    Written pages have as many words as human pages of the first corpus that are drawn by chance, so that no metric
    sees a change of length. Human pages come in an order drawn by chance; none is used twice.

    Args:
        human: Human pages, for the first corpus and the fresh share of each later one.
        dials: How large each error is.
        workflow: What becomes of earlier pages.
        human_share: Share of the new pages of each later generation that are human and fresh, from 0 to 1.
        rounds: Generations after the first.
        seed: Same arguments and seed: same generations.

    Returns:
        Generations 0 to `rounds`, one by one as they are trained.

    Raises:
        UsageError: A number is out of range, the dials fit no model, or the human pages are too few.
    """
    _check(dials, human_share, rounds)
    fresh = round(human_share * dials.pages)
    if (needed := dials.pages + rounds * fresh) > len(human):
        raise UsageError(
            f"{needed} human pages are needed, {dials.pages} to begin with and {fresh} in each of {rounds} rounds, but "
            f"there are {len(human)}: give {needed - len(human)} more, or ask for fewer pages, rounds or a lower share"
        )
    if not all(map(str.strip, human)):
        raise UsageError("a human page without a word cannot be learned from: give pages with words only")
    generations = _generations(human, dials, Workflow(workflow), fresh, np.random.default_rng(seed))
    return islice(generations, rounds + 1)


def _check(dials: Dials, human_share: float, rounds: int) -> None:
    if not 0 <= human_share <= 1 or min(dials.pages, dials.sharpness, rounds + 1) < 1:
        raise UsageError(
            f"human share {human_share}, {dials.pages} pages, sharpness {dials.sharpness} and {rounds} rounds are no "
            "simulation: give a share from 0 to 1, 0 or more rounds, and at least 1 of the others"
        )
    check_weights(dials.order, dials.weights)


def _generations(
    human: Sequence[str], dials: Dials, workflow: Workflow, fresh: int, random: np.random.Generator
) -> Iterator[Generation]:
    unused = (Page(human[i], human=True) for i in random.permutation(len(human)))
    pool = [next(unused) for _ in range(dials.pages)]
    lengths = np.array([len(page.text.split()) for page in pool])
    yield (last := Generation(0, tuple(pool), ()))
    for number in count(1):
        written = _write(last, dials, random.choice(lengths, dials.pages - fresh), random)
        new = [*(Page(text, human=False) for text in written), *(next(unused) for _ in range(fresh))]
        pool = new if workflow is Workflow.REPLACE else [*pool, *new]
        size = dials.pages if workflow is Workflow.ACCUMULATE_SUBSAMPLE else len(pool)
        corpus = tuple(pool[i] for i in random.permutation(len(pool))[:size])
        yield (last := Generation(number, corpus, tuple(written)))


def _write(last: Generation, dials: Dials, lengths: NDArray[np.int64], random: np.random.Generator) -> list[str]:
    if not len(lengths):
        return []
    model = NgramModel.train(last.texts, order=dials.order, weights=dials.weights)
    return model.write_lengths(lengths, seed=int(random.integers(2**63)), sharpness=dials.sharpness)
