"""Draws the pictures of the report as SVG or PNG with matplotlib, the same bytes for the same figures.

In SVG text stays text, and every colour is one of `COLOURS`, so that a page can put its own scheme in their place.
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import groupby
from math import log10
from typing import IO, TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

from pipeline.report.figures import Bar, Chart, Forest, Line, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "candidate": "#0072b2",
    "production": "#d55e00",
    "harm": "#a3216f",
    "ink": "#1c2630",
    "muted": "#5f6c79",
    "faint": "#9aa5b1",
    "grid": "#e3e8ed",
    "paper": "#ffffff",
    "third": "#008a63",
    "fourth": "#7b5bb5",
    "fifth": "#b8860b",
    "sixth": "#3f8fa6",
}
# For series that are neither of the two; those that follow each other are easy to tell apart.
TONES = ("candidate", "production", "third", "fourth", "fifth", "sixth")
_WIDTH, _DOTS, _SHADES = 5.0, 144, 64
_DASHES = {"candidate": "-", "production": (0, (5, 2))}
_LIKE = {
    "canary": "candidate",
    "stable": "production",
    "newest days": "candidate",
    "held-out rows": "production",
    "missing": "candidate",
    "out of range": "harm",
}
_MOST_DATES = 4
_TAIL = (0.5, 0.9, 0.95, 0.99, 0.999)
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "flightline",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "axes.unicode_minus": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["faint"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.8,
    "xtick.color": COLOURS["faint"],
    "ytick.color": COLOURS["faint"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "text.color": COLOURS["ink"],
    "figure.facecolor": COLOURS["paper"],
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.labelcolor": COLOURS["muted"],
}


def svg(figure: Chart | Forest) -> str:
    """One picture as an SVG document on a white ground."""
    out = io.StringIO()
    _save(figure, out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return out.getvalue()


def png(figure: Chart | Forest) -> bytes:
    """The same picture in pixels, for where a forge shows no SVG: 720 wide, in few colours, so that it is small."""
    from PIL import Image

    drawn, out = io.BytesIO(), io.BytesIO()
    _save(figure, drawn, format="png", dpi=_DOTS)
    Image.open(drawn).convert("RGB").quantize(_SHADES, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def _save(figure: Chart | Forest, out: IO[Any], **how: Any) -> None:
    with _style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        drawn = _forest(figure) if isinstance(figure, Forest) else _chart(figure)
        drawn.savefig(out, **how)


def themed(document: str, name: str, label: str) -> str:
    """An SVG document of `svg` as an element of a page: colours are CSS variables, ids start with `name`.

    `label` is what a screen reader says.
    """
    element = document[document.index("<svg") :].replace("xlink:href", "href")
    element = re.sub(r' xmlns(:\w+)?="[^"]*"', "", element)
    element = re.sub(r"\s*<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', element)
    start = f'<svg role="img" aria-label={quoteattr(label)} {box.group() if box else ""}>'
    element = start + element[element.index(">") + 1 :]
    element = re.sub(r'(\bid="|\bhref="#|url\(#)', rf"\g<1>{name}-", element)
    for role, colour in COLOURS.items():
        element = element.replace(colour, f"var(--{role})")
    return element


@contextmanager
def _style() -> Iterator[None]:
    """The defaults of matplotlib with ours on top, whatever the user's matplotlibrc says; undone afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def _canvas(height: float, title: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    return figure, figure.subplots()


def _chart(chart: Chart) -> "Figure":
    figure, axes = _canvas(3.5, chart.title)
    if chart.diagonal:
        axes.axline((0, 0), slope=1, color=COLOURS["muted"], linewidth=1, linestyle=(0, (1, 2)))
    for one in chart.series:
        _draw(axes, chart, one)
    _scale(axes, chart)
    for line in chart.lines:
        _reference_line(axes, line)
    axes.set(xlabel=chart.x, ylabel=chart.y)
    if any(one.role for one in chart.series):
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=chart.columns, borderpad=0.2, handlelength=2.4)
    return figure


def _draw(axes: "Axes", chart: Chart, one: Series) -> None:
    like = one.tone or _LIKE.get(one.role, one.role)
    colour = COLOURS.get(like, COLOURS["ink"])
    x = [_tail(value) for value in one.curve.x] if chart.x_scale == "tail" else list(one.curve.x)
    y, low, high = ([chart.y_factor * value for value in part] for part in (one.curve.y, one.curve.low, one.curve.high))
    style: dict[str, Any] = {"color": colour, "linestyle": _DASHES.get(like, "-"), "label": one.role or None}
    if chart.style == "steps":
        axes.step(x, y, where="mid", **style)
        axes.fill_between(x, y, step="mid", color=colour, alpha=0.12, linewidth=0)
    else:
        style["marker"] = {"production": "s"}.get(one.role, "o") if chart.style == "points" else None
        axes.plot(x, y, markersize=4, **style)
    if low and high:
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def _scale(axes: "Axes", chart: Chart) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if chart.x_scale == "date":
        _dates(axes, [x for one in chart.series for x in one.curve.x])
    if chart.x_scale == "tail":
        last = max((max(one.curve.x, default=0) for one in chart.series), default=0)
        shown = [one for one in _TAIL if one <= last] or list(_TAIL[:1])
        axes.set_xticks([_tail(one) for one in shown], [f"{100 * one:g} %" for one in shown])
    if chart.x_scale == "log2":
        ticks = sorted({x for one in chart.series for x in one.curve.x})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{one:g}" for one in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    if chart.y_scale == "log":
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    elif chart.on_zero:
        axes.set_ylim(*_on_zero(chart))
    else:
        (low, high), lines = axes.get_ylim(), [line.at for line in chart.lines if line.axis == "y"]
        bottom = min(0.0, low, *lines)
        axes.set_ylim(bottom, max([high + 0.03 * (high - bottom), *(1.08 * one for one in lines)]))


def _dates(axes: "Axes", days: Sequence[float]) -> None:
    """At most four days as ticks, each written as a date: more would touch."""
    first, last = int(min(days, default=1)), int(max(days, default=1))
    step = max(1, -(-(last - first) // (_MOST_DATES - 1)))
    shown = range(first, last + 1, step)
    axes.set_xticks(list(shown), [f"{date.fromordinal(one):%Y-%m-%d}" for one in shown])


def _on_zero(chart: Chart) -> tuple[float, float]:
    """From zero, or below where values are, to a little over the highest value or line."""
    values = [chart.y_factor * value for one in chart.series for value in one.curve.y]
    highest = max([*values, *(line.at for line in chart.lines if line.axis == "y")], default=0.0)
    lowest = min([0.0, *values])
    return 1.08 * lowest, 1.08 * highest if highest > 0 else max(1.0, -lowest / 10)


def _tail(share: float) -> float:
    """Where a quantile stands on an axis that gives each further nine as much room."""
    return -log10(max(1 - share, 1e-6))


def _reference_line(axes: "Axes", line: Line) -> None:
    draw = axes.axvline if line.axis == "x" else axes.axhline
    draw(line.at, color=COLOURS["ink"], linewidth=1, linestyle=(0, (1, 2)))
    if line.axis == "x":
        end, inward = (0.0, 4) if line.foot else (1.0, -2)
        place, across, shift, turn = (line.at, end), axes.get_xaxis_transform(), (-3, inward), 90
    else:
        place, across, shift, turn = (0.0, line.at), axes.get_yaxis_transform(), (4, 3), 0
    axes.annotate(
        line.label,
        place,
        xycoords=across,
        xytext=shift,
        textcoords="offset points",
        ha="right" if turn else "left",
        va="top" if turn and not line.foot else "bottom",
        rotation=turn,
        fontsize=8,
    )


def _forest(forest: Forest) -> "Figure":
    rows = list(_rows(forest.bars))
    figure, axes = _canvas(1.1 + 0.2 * len(rows), forest.title)
    axes.axvline(0, color=COLOURS["muted"], linewidth=1)
    for line in forest.lines:
        axes.axvline(line.at, color=COLOURS["ink"], linewidth=1, linestyle=(0, (1, 2)))
    for place, bar in enumerate(rows):
        if isinstance(bar, Bar):
            _bar(axes, place, bar)
    _names(axes, rows)
    axes.set(xlabel=forest.x, ylim=(len(rows) - 0.4, -0.6))
    _margin_names(axes, forest.lines)
    axes.grid(visible=False, axis="y")
    return figure


def _rows(bars: Sequence[Bar]) -> Iterator[Bar | str]:
    """The bars, each dimension's after its name."""
    for group, members in groupby(bars, key=lambda bar: bar.group):
        if group:
            yield group
        yield from members


def _bar(axes: "Axes", place: int, bar: Bar) -> None:
    colour = COLOURS[{"judged": "candidate", "harmed": "harm", "listed": "faint"}[bar.kind]]
    marker = {"judged": "o", "harmed": "D", "listed": "o"}[bar.kind]
    if bar.low is not None and bar.high is not None:
        axes.plot([bar.low, bar.high], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
    inside = COLOURS["paper"] if bar.kind == "listed" else colour
    axes.plot([bar.value], [place], marker=marker, markersize=4.5, color=colour, markerfacecolor=inside, linestyle="")


def _names(axes: "Axes", rows: Sequence[Bar | str]) -> None:
    axes.set_yticks(range(len(rows)), [_clipped(row.label if isinstance(row, Bar) else row) for row in rows])
    axes.tick_params(axis="y", length=0)
    for name, row in zip(axes.get_yticklabels(), rows, strict=True):
        if isinstance(row, str):
            name.set(fontweight="bold", color=COLOURS["ink"])
        else:
            kind = {"judged": "ink", "harmed": "harm", "listed": "faint"}[row.kind]
            name.set(color=COLOURS[kind], fontweight="bold" if row.kind == "harmed" else "normal")


def _margin_names(axes: "Axes", lines: Sequence[Line]) -> None:
    for line in lines:
        axes.annotate(
            line.label,
            (line.at, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )


def _clipped(label: str, most: int = 24) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"
