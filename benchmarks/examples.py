"""Every signal beside its slow, obvious version in `tests/slow_signals.py`, on very many texts made by hypothesis.

`python -m benchmarks.examples [--texts N] [--seconds N] [--seed N]` compares other texts than the first ones.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.parity import EQUAL, own_tokens
from benchmarks.rows import Row, table
from benchmarks.texts import ROOT
from collapse_guard import signals

if TYPE_CHECKING:
    from types import ModuleType

TEXTS, SECONDS = 100_000, 1_800
ROUND, AT_ONCE = 1_000, 10
"""Texts per seed, and per example of hypothesis, so that a call measures more than one short text."""
MOST_SHOWN = 20
PIECES = (
    *(
        "\n",
        "\n\n",
        "\n\n\n",
        " ",
        " ",
        "  ",
        "\t",
        "\r\n",
        "\u00a0",
        "\u2003",
        "\u2028",
        "\x0b",
        "\x85",
        "\u200b",
        "\x00",
    ),
    *(
        "the",
        "be",
        "to",
        "of",
        "and",
        "The",
        "word",
        "word",
        "a",
        "naïve",
        "日本",
        "कला",
        "don't",
        "12",
        "$3.50",
        "x-ray",
    ),
    *(".", "...", "…", ". ", ", ", "!", "?", "#", "-", "•", "- ", "• ", "(", ")", '"', "।", "🎉", "e\u0301"),
    *("the same line again.\n", "the same line again.\n\n", "one two three four five ", "https://example.org/a "),
)
TEXT = st.one_of(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.text(max_size=40))


@dataclass
class Tally:
    """What was compared so far, and the first differences: seed, column, text, our number, the slow one."""

    texts: int = 0
    numbers: int = 0
    differ: int = 0
    first: list[tuple[int, str, str, float | None, float | None]] = field(default_factory=list)


def run() -> list[Row]:
    """Compare as many texts as are asked for."""
    return compare(TEXTS, SECONDS, 0)


def compare(texts: int, seconds: float, first_seed: int) -> list[Row]:
    """Count the numbers that differ.

    Args:
        texts: How many to compare.
        seconds: Where to stop, whatever was reached.
        first_seed: Of the first round of texts; the next rounds have the next ones.

    Returns:
        How many numbers differ, and how many texts were compared.
    """
    slow, tally, started = _slow_signals(), Tally(), time.perf_counter()
    for number in itertools.count(first_seed):
        if tally.texts >= texts or time.perf_counter() - started >= seconds:
            break
        _compare_round(slow, number, tally)
        print(
            f"examples: seed {number}, {tally.texts:,} of {texts:,} texts, {tally.differ} numbers differ, "
            f"{time.perf_counter() - started:.0f} of {seconds:.0f} s",
            file=sys.stderr,
        )
    for found in tally.first:
        print("examples: seed {}, {}, text {!r}: {}, slowly {}".format(*found), file=sys.stderr)
    note = f"{tally.numbers:,} numbers in {time.perf_counter() - started:.0f} s, seeds from {first_seed}"
    return [
        Row("examples", "numbers that are not the slow version's", tally.differ, "numbers", high=0, note=note),
        Row("examples", "texts compared", tally.texts, "texts", low=texts),
    ]


def _compare_round(slow: ModuleType, number: int, tally: Tally) -> None:
    """Compare a round of texts; hypothesis remembers what it made, so that one long round would become slow."""

    @seed(number)
    @settings(
        max_examples=ROUND // AT_ONCE,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(TEXT, min_size=AT_ONCE, max_size=AT_ONCE))
    def compare_batch(texts: list[str]) -> None:
        tally.texts += len(texts)
        for name, pairs in _pairs(slow, texts).items():
            tally.numbers += len(pairs)
            wrong = [(number, name, text, *pair) for text, pair in zip(texts, pairs, strict=True) if not _same(*pair)]
            tally.differ += len(wrong)
            tally.first += wrong[: MOST_SHOWN - len(tally.first)]

    compare_batch()


def _slow_signals() -> ModuleType:
    sys.path.insert(0, str(ROOT / "tests"))  # tests are no package
    import slow_signals  # noqa: PLC0415

    return slow_signals


def _pairs(slow: ModuleType, texts: list[str]) -> dict[str, list[tuple[float | None, float | None]]]:
    """By column, ours and the slow number of each text."""
    ours = signals.compute(pa.array(texts, pa.large_string()), slow.SIGNALS)
    slowly = [slow.slowly(text, own_tokens(text)) for text in texts]
    return {
        name: list(zip(ours[name].to_pylist(), (row[name] for row in slowly), strict=True))
        for name in ours.column_names
    }


def _same(ours: float | None, slow: float | None) -> bool:
    if ours is None or slow is None:
        return ours is slow
    return abs(ours - slow) <= EQUAL


def main() -> None:
    """Compare some texts and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.examples", description=__doc__)
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    arguments = parser.parse_args()
    Console(width=200).print(table(compare(arguments.texts, arguments.seconds, arguments.seed)))


if __name__ == "__main__":
    main()
