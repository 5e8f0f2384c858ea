"""How well log-odds tell synthetic texts from human ones, and whom they wrong."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from collapse_guard.provenance.classifier.calibration import LENGTHS, conformal_p, length_class

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from collapse_guard.kernels.classifier.linear import Scores
    from collapse_guard.provenance.classifier.calibration import Calibration

FALSE_POSITIVES = 0.01
"""The rate at which everything is reported."""
MOST_SLICES = 50
"""Values of a column that are reported, those with most texts."""

_NAMES = tuple(
    f"{least} to {most - 1}" if most else f"{least} or more" for least, most in zip_longest(LENGTHS, LENGTHS[1:])
)


def discrimination(logits: NDArray[np.float64], synthetic: NDArray[np.bool_]) -> dict[str, Any]:
    """Say how well log-odds tell two classes apart.

    Args:
        logits: Of n texts.
        synthetic: Which of them are synthetic.

    Returns:
        `human` and `synthetic` count the texts; `auc` is the probability that a synthetic text has higher log-odds
        than a human one; `found` is the share of synthetic texts above all but 1 % of the human ones. Both are null
        where a class is missing.
    """
    counts = {"human": int((~synthetic).sum()), "synthetic": int(synthetic.sum())}
    if not all(counts.values()):
        return {**counts, "auc": None, "found": None}
    people, machines = np.sort(logits[~synthetic]), logits[synthetic]
    below = np.searchsorted(people, machines, "left") + np.searchsorted(people, machines, "right")
    bound = people[-1 - int(FALSE_POSITIVES * people.size)]
    return {**counts, "auc": float(below.mean() / 2 / people.size), "found": float((machines > bound).mean())}


def by_length(held_out: Scores, synthetic: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Say how well log-odds tell two classes apart among texts of about the same length; else as `discrimination`."""
    classes = length_class(held_out.words)
    found = ((name, classes == one) for one, name in enumerate(_NAMES))
    return [{"words": name, **discrimination(held_out.logits[rows], synthetic[rows])} for name, rows in found]


def slices(table: pa.Table, held_out: Scores, by: Calibration) -> list[dict[str, Any]]:
    """Count the human texts that would be flagged at 1 %, by domain, language and length.

    Args:
        table: Columns domain, language and synthetic.
        held_out: Scores of its rows, by models that were not trained on them.
        by: The calibration on these scores.

    Returns:
        One entry per value of a column: `by`, `value`, `texts`, `flagged` and their `share`.
    """
    people = ~table["synthetic"].to_numpy()
    words = held_out.words[people]
    flagged = conformal_p(held_out.logits[people], words, by, own=1) <= FALSE_POSITIVES
    columns = {name: np.array(table[name].to_pylist(), object)[people] for name in ("domain", "language")}
    columns["length"] = np.array(_NAMES, object)[length_class(words)]
    return [entry for name, values in columns.items() for entry in _slice(name, values, flagged)]


def _slice(name: str, values: NDArray[np.object_], flagged: NDArray[np.bool_]) -> Iterator[dict[str, Any]]:
    found = {value: values == value for value in dict.fromkeys(values.tolist()) if value is not None}
    largest = sorted(found, key=lambda value: (-int(found[value].sum()), value))[:MOST_SLICES]
    for value in sorted(largest):
        texts, wrong = int(found[value].sum()), int(flagged[found[value]].sum())
        yield {"by": name, "value": value, "texts": texts, "flagged": wrong, "share": wrong / texts}
