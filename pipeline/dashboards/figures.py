"""From a panel's answers to a picture or a figure. Nothing is asked and nothing is drawn here."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from pipeline.dashboards.answers import Answer, Span, shares
from pipeline.dashboards.model import Panel, Source, Unit
from pipeline.report.figures import Chart, Line, Series
from pipeline.report.plots import TONES
from pipeline.text import MISSING, clipped
from pipeline.verdict import Curve

MOST = len(TONES)
NEEDS: dict[Source, str] = {
    "server": "No server has been scraped, or none was asked anything.",
    "rules": "It needs the rules of k8s/components/prometheus-operator, and some minutes.",
    "cluster": "It needs the kubelet's figures of containers (cAdvisor).",
    "rollouts": "It needs the figures of Argo Rollouts' controller.",
    "monitoring": "It needs an observation, served to Prometheus.",
}
_UNITS: dict[Unit, tuple[str, float]] = {
    "count": ("", 1),
    "per second": ("/s", 1),
    "share": ("%", 100),
    "seconds": ("ms", 1000),
    "bytes": ("MiB", 2**-20),
    "cores": ("cores", 1),
    "ratio": ("", 1),
    "age": ("hours", 1 / 3600),
}
_LABEL = 30
_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")
_TIMES = ((3 * 3600, 60, "minutes"), (3 * 86400, 3600, "hours"), (math.inf, 86400, "days"))


@dataclass(frozen=True)
class Tile:
    """One figure to read at a glance: the newest value with its unit; a dash where there is none."""

    title: str
    value: str
    unit: str
    reading: str


def tile(panel: Panel, answers: Sequence[Answer]) -> Tile:
    """The sum is asked for in the query: a tile has one series."""
    unit, factor = _UNITS[panel.unit]
    value = _read_from_afar(answers[0].last * factor) if answers else MISSING
    return Tile(panel.title, value, unit, panel.reading)


def chart(panel: Panel, answers: Sequence[Answer], span: Span, name: str) -> Chart | None:
    """A panel as a picture; None without any answer but limits."""
    if panel.kind == "distribution":
        return _distribution(panel, answers, name)
    curves = [one for one in answers if not one.limit]
    if not curves:
        return None
    unit, factor = _UNITS[panel.unit]
    scale, word = next((one, word) for most, one, word in _TIMES if span.seconds <= most)
    shown = most_telling(curves)
    labels = short([one.name for one in shown])
    return Chart(
        name=name,
        title=panel.title,
        x=f"{word} before {span.until}",
        y=unit or "",
        reading=" ".join(filter(None, (panel.reading, left_out(curves, shown)))),
        series=tuple(
            _series(one, label, span, scale, tone) for one, label, tone in zip(shown, labels, TONES, strict=False)
        ),
        lines=tuple(Line("y", one.last * factor, one.name, foot=True) for one in answers if one.limit),
        style="steps" if panel.kind == "steps" else "line",
        y_factor=factor,
        columns=_columns(labels),
        on_zero=True,
    )


def most_telling(curves: Sequence[Answer]) -> tuple[Answer, ...]:
    """As many as can be told apart: those that reach furthest from zero, in the order they came in."""
    furthest = sorted(curves, key=lambda one: (-max(abs(value) for _, value in one.points), one.name))[:MOST]
    return tuple(one for one in curves if one in furthest)


def left_out(curves: Sequence[Answer], shown: Sequence[Answer]) -> str:
    """A sentence about those that are not drawn."""
    rest = [one for one in curves if one not in shown]
    if not rest:
        return ""
    most = max(abs(value) for one in rest for _, value in one.points)
    return f"{len(rest)} more are not drawn, {'all zero' if most == 0 else 'all nearer to zero'}."


def short(names: Sequence[str]) -> tuple[str, ...]:
    """Names without the words that they all begin with, hashes in twelve digits, no longer than a legend can have."""
    words = [name.split("-") for name in names]
    shared = len([*takewhile(lambda each: len(set(each)) == 1, zip(*words, strict=False))]) if len(names) > 1 else 0
    own = ("-".join(each[shared:]) or "-".join(each) for each in words)
    return tuple(clipped(_HASH.sub(r"\1", name), _LABEL) for name in own)


def _series(one: Answer, label: str, span: Span, scale: float, tone: str) -> Series:
    x = tuple((at - span.end) / scale for at, _ in one.points)
    y = tuple(value for _, value in one.points)
    return Series(label, Curve(name=one.name, x=x, y=y), tone)


def _distribution(panel: Panel, answers: Sequence[Answer], name: str) -> Chart | None:
    found = shares(answers)
    if not found:
        return None
    curve = Curve(name=name, x=tuple(bound for bound, _ in found), y=tuple(share for _, share in found))
    return Chart(
        name=name,
        title=panel.title,
        x="score, up to",
        y="share, %",
        reading=panel.reading,
        series=(Series("", curve, TONES[0]),),
        style="steps",
        y_factor=100,
        on_zero=True,
    )


def _columns(labels: Sequence[str]) -> int:
    """Of the legend: as many as fit beside each other."""
    longest = max(map(len, labels), default=0)
    return max(1, min(4, 66 // (longest + 7)))


def _read_from_afar(value: float) -> str:
    """Three digits and no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{float(f'{value:.3g}'):g}"  # noqa: PLR2004 - three digits
