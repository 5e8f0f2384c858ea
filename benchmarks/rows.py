"""What a benchmark says: one number, what was asked of it, and the peer's number where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One number. `peer` is in the same unit, from the same files in the same run."""

    benchmark: str
    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    peer: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is what was asked; null where nothing was."""
        if self.low is None and self.high is None:
            return None
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)

    @property
    def ratio(self) -> float | None:
        """Ours divided by the peer's."""
        return self.value / self.peer if self.peer else None

    def to_json(self) -> dict[str, Any]:
        """The row as plain JSON."""
        return {**vars(self), "met": self.met, "ratio": self.ratio}

    def cells(self) -> list[str]:
        """The row as text."""
        asked = f"≥ {self.low:g}" if self.low is not None else f"≤ {self.high:g}" if self.high is not None else ""
        met = {True: "yes", False: "NO", None: ""}[self.met]
        peer, ratio = ("" if number is None else f"{number:.3g}" for number in (self.peer, self.ratio))
        return [self.benchmark, self.name, f"{self.value:.3g}", self.unit, asked, met, peer, ratio, self.note]


def table(rows: list[Row]) -> Table:
    """All rows for a terminal."""
    made = Table("benchmark", "what", "measured", "unit", "asked", "met", "peer", "ratio", "note", box=None)
    for row in rows:
        made.add_row(*row.cells())
    return made
