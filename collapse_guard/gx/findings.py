"""What expectations found, and when a row of the metric table counts as open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Outcome:
    """What one expectation found.

    `subject` is the gate, the columns or the table that it is about; `documents` holds the first few ids that are
    outside; `result` is the whole finding as Great Expectations gives it, null where it could not even be asked.
    """

    expectation: str
    subject: str
    passed: bool
    sentence: str
    documents: tuple[str, ...] = ()
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Validation:
    """What a suite found in a table of so many rows."""

    suite: str
    rows: int
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        """Whether something was expected, and all of it holds."""
        return bool(self.outcomes) and all(outcome.passed for outcome in self.outcomes)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The outcomes that did not pass."""
        return tuple(outcome for outcome in self.outcomes if not outcome.passed)

    @property
    def sentence(self) -> str:
        """The finding in one line."""
        held = (
            f"{len(self.outcomes) - len(self.failed)} of {len(self.outcomes)} expectations hold over {self.rows:,} rows"
        )
        return "; ".join((f"suite {self.suite!r}: {held}", *(outcome.sentence for outcome in self.failed)))


def why_closed(rows: Sequence[Mapping[Any, Any]], low: float | None, high: float | None) -> str | None:
    """Say why a gate is closed, from its rows in the metric table.

    Args:
        rows: The gate's rows; there must be exactly one.
        low: The least that the policy allows, if it says so.
        high: The most.

    Returns:
        The reason; null where the judge passed the gate and nothing in the row speaks against it.
    """
    if len(rows) != 1:
        return f"the metric table has {len(rows)} rows for it; one was expected"
    row = rows[0]
    if not math.isfinite(row["value"]):
        return "it could not be measured, which counts as outside"
    if row["passed"] is not True:
        return f"the judge did not pass it ({row['outcome'] or 'outside'})"
    if row["outcome"] in {"outside", "unmeasured"}:
        return f"the judge found it {row['outcome']}"
    if row["outcome"] != "undecided" and not _inside(row["value"], low, high):
        return f"the judge passed it, although {row['value']:g} is outside its bound"
    return None


def _inside(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)
