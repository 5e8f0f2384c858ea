"""The tables and figures of docs/science.md, from the numbers that benchmarks/science.py found."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from PIL import Image

from benchmarks.texts import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

PAGE = ROOT / "docs" / "science.md"
NUMBERS = ROOT / "docs" / "science.json"
IMAGES = ROOT / "docs" / "images"
MARKED = re.compile(r"(<!-- table: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
FIGURES = {
    "pages": ("training pages",),
    "order": ("model order",),
    "approximation": ("smoothing", "sharpness"),
}
LINES = {
    "rare_coverage": "#c2410c",
    "missing_mass": "#b45309",
    "distinct_2": "#1d4ed8",
    "entropy_2": "#0e7490",
    "feature_variance": "#15803d",
    "vendi": "#4d7c0f",
    "repeated_4grams": "#be123c",
    "self_bleu": "#9d174d",
    "heldout_perplexity": "#6b21a8",
    "reverse_perplexity": "#6b7280",
}
COLOURS = 48


def keep(tables: Mapping[str, Sequence[Sequence[str]]], figures: Mapping[str, Any]) -> None:
    """Keep the numbers, put the tables into the page and draw the figures.

    Args:
        tables: By name; the first row of each is its head.
        figures: Numbers of the dials.
    """
    told = {"tables": tables, "figures": figures}
    NUMBERS.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
    for name, dials in FIGURES.items():
        (IMAGES / f"science-{name}.png").write_bytes(draw({dial: figures["dials"][dial] for dial in dials}))


def render(page: str, tables: Mapping[str, Sequence[Sequence[str]]]) -> str:
    """Put the tables between their markers."""
    return MARKED.sub(lambda found: f"{found[1]}{markdown(tables[found[2]])}\n{found[3]}", page)


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Write a table whose first row is its head; rows may be shorter."""
    head, *rows = table
    width = len(head)
    lines = [[*row, *[""] * (width - len(row))] for row in (head, ["---"] * width, *rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(dials: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Draw every metric along one or two dials, as a ratio to human text.

    Returns:
        A PNG of at most 40 KB.
    """
    figure = Figure(figsize=(4.2 * len(dials) + 2, 3.6), dpi=88, layout="constrained")
    for number, (name, curves) in enumerate(dials.items(), start=1):
        _axes(figure.add_subplot(1, len(dials), number), name, curves)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    return _compact(figure)


def _axes(axes: Axes, name: str, curves: Mapping[str, Any]) -> None:
    places = range(len(curves["at"]))
    for metric, colour in LINES.items():
        axes.plot(places, curves["effects"][metric], color=colour, marker="o", markersize=3, label=metric)
    axes.axhline(1.0, color="#9ca3af", linewidth=1, linestyle="--")
    axes.set_xticks(list(places), [f"{at:g}" for at in curves["at"]])
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(name, fontsize=9)
    axes.set_ylabel("ratio to human text", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _compact(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    drawn, compact = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(COLOURS).save(compact, format="PNG", optimize=True)
    return compact.getvalue()
