"""Plots of a corpus over its generations, small enough for an event log."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image

from collapse_guard.document import EDITED, HUMAN_PRESUMED, HUMAN_VERIFIED, SYNTHETIC, UNKNOWN
from collapse_guard.report.judged import human_band, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from collapse_guard.report.generations import Frequencies

    Entries = Sequence[Mapping[str, Any]]

BLUE, SKY, GREEN, ORANGE, RED = "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00"
"""Colours that people who are blind to some can tell apart (Okabe and Ito 2008)."""
BLACK, DARK, GREY, BAND, WHITE = "#000000", "#767676", "#b8b8b8", "#dddddd", "#ffffff"
INKS = (BLACK, DARK, GREY, BLUE, SKY, GREEN, ORANGE, RED)
PANELS = {
    "human_share": "human share of tokens \u2193",
    "rare_coverage": "rare words covered \u2193",
    "missing_mass": "chance that a bigram is new \u2193",
    "distinct_2": "distinct bigrams \u2193",
    "repeated_4grams": "4-grams also in other documents, log \u2191",
    "self_bleu": "self-BLEU, likeness \u2191",
    "entropy_2": "entropy of bigrams, bits \u2193",
    "feature_variance": "variance of documents \u2193",
    "heldout_perplexity": "held-out perplexity \u2191",
}
"""Metrics that are drawn, and which way collapse moves them."""
LOGARITHMIC = frozenset({"repeated_4grams"})
STATES = {"OK": ("o", BLUE), "EARLY": ("^", ORANGE)}
CLOSED = ("s", RED)
"""How the points of all other states are drawn."""
ORIGINS = {HUMAN_VERIFIED: BLUE, HUMAN_PRESUMED: SKY, EDITED: GREEN, SYNTHETIC: RED, UNKNOWN: GREY}
MOST_DUMPS = 60
MOST_MARKED = 40
"""Where there are more generations, those that are OK have no mark of their own."""
SHADES = 3
"""Of each ink on white and on the band, for smooth edges; the event log keeps every picture for ever."""
ROOM, WIDE_ROOM = 26, 60
"""Letters that the names below an axis have room for."""
DPI = 84
SMALL, SMALLEST = 8.5, 7.5
LONGEST_NAME = 16


def history_plot(history: Entries, title: str) -> bytes:
    """Draw the main metrics generation by generation, each beside what human text gives at the same size.

    Args:
        history: Judgements as JSON with `dump`, oldest first; the newest sixty are drawn.
        title: Above the plot.

    Returns:
        A PNG of at most 30 KB.
    """
    history = history[-MOST_DUMPS:]
    figure = _figure(9.4, 6.6, title)
    grid = figure.subplots(3, 3, sharex=True)
    for axes, (metric, label) in zip(grid.flat, PANELS.items(), strict=True):
        _panel(axes, history, metric, label)
    for axes in grid[-1]:
        _dumps(axes, [str(entry["dump"]) for entry in history], ROOM)
    figure.legend(handles=_key(), loc="outside lower center", ncols=6, fontsize=SMALL, frameon=False)
    return _compact_png(figure)


def rank_plot(curves: Mapping[str, Frequencies], title: str) -> bytes:
    """Draw how often the words of a corpus occur by their rank, beside as many words of the reservoir.

    Args:
        curves: From `rank_frequency`.
        title: Above the plot.

    Returns:
        A PNG of at most 30 KB.
    """
    figure = _figure(6.4, 4.0, title)
    axes = figure.add_subplot()
    looks = {"reservoir": (GREY, 4.0, "reservoir"), "corpus": (BLUE, 1.6, "corpus")}
    for name, (colour, width, label) in looks.items():
        ranks, shares = curves[name]
        said = f"{label}: {ranks[-1]:,} different words"
        axes.loglog(ranks, shares, color=colour, linewidth=width, label=said, solid_capstyle="round")
    axes.set_xlabel("rank of the word", fontsize=SMALL)
    axes.set_ylabel("share of all words, %", fontsize=SMALL)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rank, _: number(rank)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: number(100 * share)))
    axes.legend(fontsize=SMALL, frameon=False, loc="upper right")
    _plain(axes)
    return _compact_png(figure)


def origin_plot(made: Entries, title: str) -> bytes:
    """Draw who wrote a corpus, generation by generation, as shares of its tokens.

    Args:
        made: Entries with `dump` and `tokens` by origin, oldest first; the newest sixty are drawn.
        title: Above the plot.

    Returns:
        A PNG of at most 30 KB.
    """
    made = made[-MOST_DUMPS:]
    figure = _figure(6.4, 3.4, title)
    axes = figure.add_subplot()
    totals = [max(1, sum(entry["tokens"].values())) for entry in made]
    floor = [0.0] * len(made)
    width = 0.85 if len(made) <= MOST_MARKED else 1.0
    for origin, colour in ORIGINS.items():
        shares = [entry["tokens"].get(origin, 0) / total for entry, total in zip(made, totals, strict=True)]
        if any(shares):
            said = origin.replace("_", " ")
            axes.bar(range(len(made)), shares, width, bottom=floor, color=colour, label=said)
        floor = [low + share for low, share in zip(floor, shares, strict=True)]
    axes.set_ylim(0, 1)
    axes.set_xlim(-0.75, max(len(made), 4) - 0.25)
    axes.set_ylabel("share of tokens", fontsize=SMALL)
    _plain(axes)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    _dumps(axes, [str(entry["dump"]) for entry in made], WIDE_ROOM)
    if axes.containers:
        figure.legend(loc="outside right center", fontsize=SMALL, frameon=False, reverse=True)
    return _compact_png(figure)


def _figure(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    return figure


def _panel(axes: Axes, history: Entries, metric: str, label: str) -> None:
    """One metric over the generations, the band of human text, and the bounds that block, where they are in sight."""
    axes.set_title(label, fontsize=SMALL, loc="left")
    _plain(axes)
    values = [math.nan if (value := entry["metrics"].get(metric)) is None else value for entry in history]
    known = [value for value in values if not math.isnan(value)]
    if not known:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=DARK, fontsize=SMALL)
        axes.set_yticks([])
        return
    _band(axes, [_human(entry, metric) for entry in history])
    axes.plot(range(len(history)), values, color=BLUE, linewidth=1.4)
    _points(axes, [str(entry["state"]) for entry in history], values)
    axes.margins(x=0.08)
    if metric == "human_share":
        axes.set_ylim(-0.03, 1.03)
    elif metric in LOGARITHMIC and min(known) > 0:
        _logarithmic(axes)
    _bounds(axes, history, metric)


def _points(axes: Axes, states: Sequence[str], values: Sequence[float]) -> None:
    looks = [STATES.get(state, CLOSED) for state in states]
    for marker, colour in dict.fromkeys(looks):
        places = [place for place, look in enumerate(looks) if look == (marker, colour)]
        if len(states) <= MOST_MARKED or (marker, colour) != STATES["OK"]:
            held = [values[place] for place in places]
            axes.plot(places, held, marker=marker, color=colour, linestyle="", markersize=6)


def _band(axes: Axes, human: Sequence[tuple[float, float, float]]) -> None:
    """What human text gives at each generation; one alone has a band of its own width."""
    known = [(float(place), *found) for place, found in enumerate(human) if not math.isnan(found[1])]
    if len(known) == 1:
        place, low, mean, high = known[0]
        known = [(place - 0.4, low, mean, high), (place + 0.4, low, mean, high)]
    if known:
        places, lows, means, highs = zip(*known, strict=True)
        axes.fill_between(places, [max(0.0, value) for value in lows], highs, color=BAND, linewidth=0)
        axes.plot(places, means, color=DARK, linewidth=1)


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log", nonpositive="clip")
    low, high = axes.get_ylim()
    digits = (1.0,) if high / low > 100 else (1.0, 2.0, 5.0)  # noqa: PLR2004 - two decades
    axes.yaxis.set_major_locator(LogLocator(subs=digits))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _bounds(axes: Axes, history: Entries, metric: str) -> None:
    """The newest bounds that block; a bound that is far off is not drawn, so that the band stays visible."""
    around = axes.get_ylim()
    scale = _human(history[-1], metric)[1]
    for gate in history[-1]["gates"]:
        sides = [gate[side] for side in ("low", "high") if gate[side] is not None]
        if gate["metric"] == metric and gate["outside"] == "block":
            for side in sides:
                axes.axhline(side * scale if gate["relative"] else side, color=RED, linewidth=1.2, linestyle=":")
    axes.set_ylim(around)


def _human(entry: Mapping[str, Any], metric: str) -> tuple[float, float, float]:
    """Lower end, mean and upper end of a metric's band; NaN where the metric was not compared."""
    found = next((one for one in entry.get("findings", ()) if one["metric"] == metric), None)
    if found is None:
        return math.nan, math.nan, math.nan
    low, high = human_band(found["mean"], found["sd"])
    return low, found["mean"], high


def _key() -> list[Line2D | Patch]:
    def point(state: tuple[str, str], label: str) -> Line2D:
        return Line2D([], [], marker=state[0], color=state[1], linestyle="", markersize=6, label=label)

    return [
        Patch(color=BAND, label="human text, 95 %"),
        point(STATES["OK"], "OK"),
        point(STATES["EARLY"], "EARLY"),
        point(CLOSED, "LATE, drift, inconclusive"),
        Line2D([], [], color=RED, linestyle=":", linewidth=1.2, label="bound that blocks"),
        Line2D([], [], linestyle="", label="\u2191\u2193 the way of collapse"),
    ]


def _dumps(axes: Axes, names: Sequence[str], room: int) -> None:
    """Name the generations, or the first and the last where there is no room for more."""
    everything = len(names) < 2 or sum(map(len, names)) + 2 * len(names) <= room  # noqa: PLR2004 - one needs no side
    shown = range(len(names)) if everything else (0, len(names) - 1)
    axes.set_xticks(list(shown), [_short(names[place]) for place in shown], fontsize=SMALLEST)
    if not everything:
        first, last = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"\u2026{name[1 - LONGEST_NAME :]}"


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALLEST)
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _compact_png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    drawn, compact = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as picture:
        shaded = picture.convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE)
        shaded.save(compact, format="PNG", optimize=True)
    return compact.getvalue()


def _palette() -> Image.Image:
    """The shades of every ink, always the same: a choice by frequency would lose the colour of a single point."""
    papers = [to_rgb(paper) for paper in (WHITE, BAND)]
    mixed = [
        round(255 * (ink * level + sheet * (SHADES - level)) / SHADES)
        for paper in papers
        for colour in INKS
        for level in range(SHADES + 1)
        for ink, sheet in zip(to_rgb(colour), paper, strict=True)
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette(mixed)
    return palette
