"""An interpolated n-gram model of words: small enough to train in a second, and it collapses as large ones do."""

from __future__ import annotations

import math
import re
import zipfile
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from collapse_guard.errors import DamagedDataError, UsageError
from collapse_guard.simulate.marking import DRAWS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    from collapse_guard.simulate.marking import Mark, Pen

    Ints: TypeAlias = npt.NDArray[np.int64]

START, END, BREAK = 0, 1, 2
MARKS = ("", "", "\n\n")
PAGE_SPREAD = 0.2
SHORTEST_PAGE, LONGEST_PAGE = 0.6, 1.4  # of the wanted words
SENTENCE_ROOM = 30  # words in which a page may still look for the end of its sentence; an eighth is for breaks

BLANK_LINE = re.compile(r"\n\s*\n")
SENTENCE_END = re.compile(r"[.!?][\"')\]\u201d\u2019]*$")


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """All n-grams of one length, sorted; the words that may follow a context lie side by side.

    `codes[i]` is (rank of the n-gram without its last word, one level down) x (number of tokens) + last word.
    `before[i]` counts how often the n-grams before i were seen, so a draw by frequency is one binary search.
    `bounds[c]` is the same for the first n-gram of the context of rank c.
    """

    codes: Ints
    before: Ints
    bounds: Ints

    @classmethod
    def of(cls, codes: Ints, before: Ints, contexts: int, tokens: int) -> _Level:
        """Look up once where every context begins, so that a draw need not."""
        return cls(codes, before, before[np.searchsorted(codes, np.arange(contexts + 1) * tokens)])

    def find(self, codes: Ints) -> Ints:
        """Give the rank of every code, or -1 where it was never seen; shape as `codes`."""
        ranks = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        return np.where(self.codes[ranks] == codes, ranks, -1)

    def follow(self, contexts: Ints) -> tuple[Ints, Ints]:
        """Give the range of `before` that belongs to every context; empty for a context of rank -1."""
        first = self.bounds[contexts]
        return first, np.where(contexts < 0, first, self.bounds[contexts + 1])

    def draw(self, first: Ints, last: Ints, uniform: npt.NDArray[np.float64]) -> Ints:
        """Draw one n-gram of every range by frequency, or the most frequent of several draws.

        Args:
            first: Where the range of each page begins, shape (pages,).
            last: Where it ends.
            uniform: Random numbers in [0, 1), shape (draws, pages).

        Returns:
            Ranks of n-grams, shape (pages,).
        """
        positions = first + (uniform * (last - first)).astype(np.int64)
        ranks = np.minimum(np.searchsorted(self.before, positions, side="right") - 1, len(self.codes) - 1)
        best = np.argmax(self.before[ranks + 1] - self.before[ranks], axis=0)
        chosen: Ints = np.take_along_axis(ranks, best[None], axis=0)[0]
        return chosen


@dataclass(frozen=True, slots=True, eq=False)
class NgramModel:
    """A mixture of n-gram distributions of orders 1 to n over words and paragraph breaks.

    Every error that makes recursive training collapse has its dial (the three errors of Shumailov et al. 2024,
    Nature 631:755): the order and the smoothing weights are the expressivity of the model, the sharpness of
    `write_pages` its approximation error, and the number of pages that the next generation learns from the
    statistical error.
    """

    weights: tuple[float, ...]
    vocabulary: tuple[str, ...]
    levels: tuple[_Level, ...]

    @property
    def order(self) -> int:
        """Give the length of the longest n-grams."""
        return len(self.levels)

    @property
    def words(self) -> int:
        """Count the word types that the model can write."""
        return len(self.vocabulary) - len(MARKS)

    @classmethod
    def train(
        cls, texts: Iterable[str], *, order: int = 3, weights: tuple[float, ...] = (0.05, 0.15, 0.80)
    ) -> NgramModel:
        """Count the n-grams of texts; the order of the texts makes no difference.

        Args:
            texts: Training documents; words are what white space separates, a blank line is a paragraph break.
            order: Length of the longest n-grams, 1 or more.
            weights: Share of draws from orders 1 to n; a context that was never seen falls back to the next lower.

        Returns:
            The model.

        Raises:
            UsageError: The weights are no distribution over the orders, or the texts hold no word.
        """
        check_weights(order, weights)
        streams = [split for text in texts if (split := _split(text))]
        if not streams:
            raise UsageError(
                "an n-gram model was asked for, but the training texts hold no word: pass texts with words"
            )
        words = sorted(set(chain.from_iterable(streams)) - {MARKS[BREAK]})
        vocabulary = (*MARKS, *words)
        ids = {word: rank for rank, word in enumerate(words, start=len(MARKS))} | {MARKS[BREAK]: BREAK}
        pad = [START] * max(order - 1, 1)
        padded = ((*pad, *(ids[word] for word in words_of_text), END) for words_of_text in streams)
        stream = np.array([*chain.from_iterable(padded), *pad], dtype=np.int64)
        return cls(weights, vocabulary, _count(stream, order, len(vocabulary)))

    def write_pages(
        self, count: int, *, words: int, seed: int, sharpness: int = 1, mark: Mark | None = None
    ) -> list[str]:
        """Write synthetic pages, each of about so many words, that end with a sentence where one ends in time.

        Args:
            count: Number of pages.
            words: Mean number of words of a page; single pages have 0.6 to 1.4 times as many.
            seed: Same model, arguments and seed: same pages.
            sharpness: Draws per word, of which the most frequent in its context is taken; 1 is pure sampling.
            mark: What the pages are marked with: of several words drawn so, its key chooses one.

        Returns:
            One text per page, paragraphs separated by blank lines.

        Raises:
            UsageError: A count, length or sharpness below 1.
        """
        if min(count, words, sharpness) < 1:
            raise UsageError(f"count {count}, words {words} and sharpness {sharpness} must all be at least 1")
        random = np.random.default_rng(seed)
        low, high = int(SHORTEST_PAGE * words), int(LONGEST_PAGE * words) + 1
        lengths = np.clip(random.normal(words, PAGE_SPREAD * words, count).astype(np.int64), max(low, 1), high)
        pen = mark.pen(self.vocabulary[len(MARKS) :], count) if mark else None
        tokens = self._sample(count, high + high // 8 + SENTENCE_ROOM, sharpness, random, pen)
        ends = np.array([bool(SENTENCE_END.search(word)) for word in self.vocabulary])
        ends[[END, BREAK]] = True
        return [self._page(row, length, ends) for row, length in zip(tokens, lengths.tolist(), strict=True)]

    def write_lengths(self, lengths: Ints, *, seed: int, sharpness: int = 1) -> list[str]:
        """Write one page of exactly so many words for each length, cut where the words are enough.

        Args:
            lengths: Words of each page, each 1 or more; fewer where nearly all that the model writes is breaks.
            seed: Same model, arguments and seed: same pages.
            sharpness: As of `write_pages`.

        Returns:
            One text per length, paragraphs separated by blank lines.

        Raises:
            UsageError: There is no length, or a length or the sharpness is below 1.
        """
        if min(len(lengths), int(lengths.min(initial=1)), sharpness) < 1:
            raise UsageError(f"{len(lengths)} lengths, each of them and sharpness {sharpness} must all be at least 1")
        random, longest = np.random.default_rng(seed), int(lengths.max())
        tokens = self._sample(len(lengths), longest + longest // 8 + SENTENCE_ROOM, sharpness, random, None)
        anywhere = np.ones(len(self.vocabulary), dtype=np.bool_)
        return [self._page(row, length, anywhere) for row, length in zip(tokens, lengths.tolist(), strict=True)]

    def save(self, path: Path) -> None:
        """Write the model as one npz file without pickle; the same training texts give the same bytes."""
        arrays: dict[str, npt.NDArray[Any]] = {
            f"codes_{n}": level.codes for n, level in enumerate(self.levels, start=1)
        }
        arrays |= {f"before_{n}": level.before for n, level in enumerate(self.levels, start=1)}
        arrays["words"] = np.frombuffer("\n".join(self.vocabulary[len(MARKS) :]).encode(), dtype=np.uint8)
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, weights=np.array(self.weights), **arrays)

    @classmethod
    def load(cls, path: Path) -> NgramModel:
        """Read a model that `save` wrote.

        Returns:
            The same model.

        Raises:
            DamagedDataError: The file is no such model.
        """
        try:
            with path.open("rb") as source, np.load(source, allow_pickle=False) as file:
                weights = tuple(file["weights"].tolist())
                vocabulary = (*MARKS, *file["words"].tobytes().decode().split("\n"))
                levels: list[_Level] = []
                for n in range(1, len(weights) + 1):
                    contexts = len(levels[-1].codes) if levels else 1
                    levels.append(_Level.of(file[f"codes_{n}"], file[f"before_{n}"], contexts, len(vocabulary)))
                return cls(weights, vocabulary, tuple(levels))
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DamagedDataError(f"{path} is no saved n-gram model ({error}): train and save it again") from error

    def _sample(self, pages: int, steps: int, sharpness: int, random: np.random.Generator, pen: Pen | None) -> Ints:
        """Draw all pages word by word, side by side; shape (pages, steps). A page that ends starts another text."""
        start = self._start(pages)
        suffixes = start
        draws = DRAWS if pen else 1
        tokens = np.empty((pages, steps), dtype=np.int64)
        for step in range(steps):
            order = 1 + np.searchsorted(np.cumsum(self.weights)[:-1], random.random(pages), side="right")
            contexts = [np.tile(suffix, draws) for suffix in suffixes]
            drawn = self._next(contexts, np.tile(order, draws), random.random((sharpness, draws * pages)))
            words = drawn.reshape(draws, pages) - len(MARKS)
            tokens[:, step] = (pen.choose(words) if pen else words[0]) + len(MARKS)
            ended = tokens[:, step] == END
            moved = self._move(suffixes, tokens[:, step])
            suffixes = [np.where(ended, old, new) for old, new in zip(start, moved, strict=True)]
        return tokens

    def _start(self, pages: int) -> list[Ints]:
        """Give the contexts before the first word: the ranks of the last 0, 1, ... tokens."""
        empty = [np.zeros(pages, dtype=np.int64)] + [np.full(pages, -1)] * (self.order - 1)
        suffixes = empty
        for _ in range(self.order - 1):
            suffixes = self._move(suffixes, np.full(pages, START))
        return suffixes

    def _move(self, suffixes: list[Ints], tokens: Ints) -> list[Ints]:
        """Append a token to every context; a context that was never seen has rank -1."""
        longer = [
            np.where(suffix < 0, -1, level.find(suffix * len(self.vocabulary) + tokens))
            for suffix, level in zip(suffixes[:-1], self.levels, strict=False)
        ]
        return [suffixes[0], *longer]

    def _next(self, suffixes: list[Ints], order: Ints, uniform: npt.NDArray[np.float64]) -> Ints:
        """Draw the next token of every page at its order, or at the highest below whose context was seen."""
        tokens = np.full(len(order), -1)
        for n in range(self.order, 0, -1):
            level = self.levels[n - 1]
            first, last = level.follow(suffixes[n - 1])
            here = (tokens < 0) & (order >= n) & (last > first)
            ranks = level.draw(first[here], last[here], uniform[:, here])
            tokens[here] = level.codes[ranks] % len(self.vocabulary)
        return tokens

    def _page(self, tokens: Ints, length: int, ends: npt.NDArray[np.bool_]) -> str:
        """Cut one row of tokens at the first sentence end after so many words, and join it."""
        counts = np.cumsum(tokens > BREAK)
        long_enough = counts >= length
        stops = np.flatnonzero(long_enough & ends[tokens])
        stop = int(stops[0]) if len(stops) else int(np.searchsorted(counts, length))
        kept = tokens[: stop + 1].tolist()
        paragraphs = " ".join(MARKS[BREAK] if token <= BREAK else self.vocabulary[token] for token in kept)
        return "\n\n".join(filter(None, (part.strip() for part in paragraphs.split(MARKS[BREAK]))))


def check_weights(order: int, weights: tuple[float, ...]) -> None:
    """Refuse weights that are no distribution over the orders.

    Raises:
        UsageError: They are not.
    """
    fits = len(weights) == order >= 1 and min(weights) >= 0 and math.isclose(sum(weights), 1)
    if not fits:
        raise UsageError(
            f"weights {weights} do not fit order {order}: give one weight of 0 or more per order, 1 in sum"
        )


def _split(text: str) -> list[str]:
    """Give words and paragraph breaks; a break stands between paragraphs only."""
    paragraphs = [words for part in BLANK_LINE.split(text) if (words := part.split())]
    return [word for words in paragraphs for word in (MARKS[BREAK], *words)][1:]


def _count(stream: Ints, order: int, tokens: int) -> tuple[_Level, ...]:
    """Count the n-grams of all lengths; those that would write a start of text count as never seen."""
    levels: list[_Level] = []
    ranks = np.zeros(len(stream), dtype=np.int64)  # of the n-gram that ends before each token, one level down
    for n in range(1, order + 1):
        here = slice(n - 1, None)
        codes, inverse, counts = np.unique(
            ranks[n - 1 :] * tokens + stream[here], return_inverse=True, return_counts=True
        )
        counts[codes % tokens == START] = 0
        contexts = len(levels[-1].codes) if levels else 1
        levels.append(_Level.of(codes, np.concatenate([[0], np.cumsum(counts)]), contexts, tokens))
        ranks = np.concatenate([np.zeros(n, dtype=np.int64), inverse[:-1]])
    return tuple(levels)
