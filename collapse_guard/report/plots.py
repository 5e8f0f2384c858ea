"""Plots of a corpus over its dumps, small enough for an event log."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

LINES = {
    "rare_coverage": ("rare words covered", "#c2410c"),
    "distinct_2": ("distinct bigrams", "#1d4ed8"),
    "heldout_perplexity": ("held-out perplexity", "#6b21a8"),
}
MOST_DUMPS = 100
COLOURS = 64
"""Enough for lines and smooth text; the event log keeps every picture for ever."""
HUMAN = ("human share of tokens", "#15803d")


def history_plot(history: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Draw every metric, as a ratio to human text, and the human share, dump by dump.

    Args:
        history: Judgements as JSON with `dump`, oldest first; the newest hundred are drawn.
        title: Above the plot.

    Returns:
        A PNG of at most 30 KB.
    """
    figure = Figure(figsize=(8, 3.6), dpi=88, layout="constrained")
    axes = figure.add_subplot()
    history = history[-MOST_DUMPS:]
    dumps = [str(entry["dump"]) for entry in history]
    for metric, (label, colour) in LINES.items():
        _line(axes, dumps, [_ratio(entry, metric) for entry in history], label, colour)
    _line(axes, dumps, [entry["metrics"].get("human_share") for entry in history], *HUMAN)
    axes.axhline(1.0, color="#9ca3af", linewidth=1, linestyle="--")
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_ylabel("ratio to human text; share", fontsize=9)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", fontsize=9, frameon=False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return _compact_png(figure)


def _compact_png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    drawn, compact = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(COLOURS).save(compact, format="PNG", optimize=True)
    return compact.getvalue()


def _ratio(entry: Mapping[str, Any], metric: str) -> float | None:
    value, mean = entry["metrics"].get(metric), entry["baseline"].get(metric)
    return value / mean if value is not None and mean else None


def _line(axes: Axes, dumps: Sequence[str], values: Sequence[float | None], label: str, colour: str) -> None:
    points = [float("nan") if value is None else value for value in values]
    axes.plot(dumps, points, color=colour, marker="o", markersize=4, linewidth=1.8, label=label)
