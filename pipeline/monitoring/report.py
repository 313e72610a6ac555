"""The observation as one page, `build/observation.html`: written from it alone, the same bytes for the same figures."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline import verdict
from pipeline.frames import write_text
from pipeline.monitoring.observation import (
    OBSERVED_OVER_EXPECTED,
    RESIDUAL,
    SKILL,
    Answer,
    Glance,
    Observation,
    Reading,
    Section,
)
from pipeline.report import page, plots
from pipeline.report.document import Grid, grid
from pipeline.report.figures import Bar, Chart, Forest, Line, Series, sentence
from pipeline.report.templating import template
from pipeline.report.words import short
from pipeline.text import interval, number, plain
from pipeline.verdict import Curve

if TYPE_CHECKING:
    from rich.table import Table

NAME = "observation.html"
_TONES = {"quiet": "pass", "alarm": "fail", "too little": "inconclusive"}
_TITLES = {"decay": "Decay", "feed": "Broken feed", "drift": "Drift"}
_LABELS = {"late": "late ones, among the new"}
_QUESTIONS = {
    "decay": "Does what happens still fit what the model expects? Only this may start a retraining.",
    "feed": "Are the rows that come in what they were in training? If not, nothing may be learnt from them.",
    "drift": "How far have the columns moved from training? Seasons move them; by itself that is no alarm.",
}


@dataclass(frozen=True)
class Row:
    """One reading as text; `judged` is whether it has a limit."""

    name: str
    judged: bool
    answer: Answer
    found: str
    limits: str
    reason: str


@dataclass(frozen=True)
class Part:
    """One question: its answer, readings, pictures and tables."""

    name: str
    title: str
    question: str
    decision: Answer
    reason: str
    readings: tuple[Row, ...]
    pictures: tuple[Chart | Forest, ...]
    tables: tuple[Grid, ...]


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    as_of: str
    decision: Answer
    headline: str
    sentence: str
    about: str
    sections: tuple[Part, ...]
    labels: Grid
    format: str

    @property
    def pictures(self) -> tuple[Chart | Forest, ...]:
        """Every picture in the order shown."""
        return tuple(one for section in self.sections for one in section.pictures)


def render(observation: Observation, out: Path) -> Path:
    """Write the page, whole or not at all, and return its path."""
    arranged = arrange(observation)
    drawn = {one.name: plots.svg(one) for one in arranged.pictures}
    rendered = template("observation.html.j2", page.with_code)(
        report=arranged, drawn=page.inline(arranged.pictures, drawn), tones=_TONES
    )
    write_text(out / NAME, rendered)
    return out / NAME


def headline(observation: Observation) -> str:
    """The one line that `flightline observe` prints."""
    said = [f"{name} {getattr(observation, name).decision}" for name in ("decay", "feed")]
    return f"{decision(observation).upper()}  {observation.as_of}, {short(observation.version)}: {', '.join(said)}"


def decision(observation: Observation) -> Answer:
    """An alarm of either kind; else what decay says."""
    return "alarm" if observation.alarm else observation.decay.decision


def arrange(observation: Observation) -> Page:
    """Arrange an observation for reading."""
    answer = decision(observation)
    return Page(
        title=plain(observation.title),
        as_of=str(observation.as_of),
        decision=answer,
        headline=_headline(observation),
        sentence=sentence(_decisive(observation).reason),
        about=_about(observation),
        sections=tuple(_parts(observation)),
        labels=_labels(observation),
        format=str(observation.format),
    )


def _headline(observation: Observation) -> str:
    if observation.feed.alarm:
        return "The feed is broken" + (", and the model has decayed" if observation.decay.alarm else "")
    if observation.decay.alarm:
        return "The model has decayed"
    return "Too few labels to tell decay" if observation.decay.decision == "too little" else "Nothing is wrong"


def _decisive(observation: Observation) -> Section:
    return observation.feed if observation.feed.alarm else observation.decay


def _about(observation: Observation) -> str:
    end = f", whose own data ended on {observation.data_end}" if observation.data_end else ""
    window = observation.window
    looked = (
        f" Window: {window.first} to {window.last}, {number(window.labelled)} of {number(window.rows)} rows labelled."
        if window
        else ""
    )
    return f"Production is {short(observation.version)}{end}.{looked}"


def _parts(observation: Observation) -> Iterator[Part]:
    tables = {one.name: _windows(one) if one.name == "window" else grid(one) for one in observation.tables}
    pictures: dict[str, tuple[Chart | Forest, ...]] = {
        "decay": tuple(_of_decay(observation)),
        "feed": tuple(_of_feed(observation)),
        "drift": tuple(_of_drift(observation)),
    }
    belongs = {"decay": "window", "feed": "columns"}
    for name, title in _TITLES.items():
        section: Section = getattr(observation, name)
        table = tables.get(belongs.get(name, ""))
        yield Part(
            name=name,
            title=title,
            question=_QUESTIONS[name],
            decision=section.decision,
            reason=sentence(section.reason),
            readings=tuple(map(_row, section.readings)),
            pictures=pictures[name],
            tables=(table,) if table else (),
        )


def _windows(table: verdict.Table) -> Grid:
    """Each figure by itself: one column has counts of rows and losses below 1."""
    rows = tuple(tuple(plain(one) if isinstance(one, str) else number(one) for one in row) for row in table.rows)
    return Grid("The window", tuple(map(plain, table.columns)), rows, (False, *(True for _ in table.columns[1:])))


def _row(one: Reading) -> Row:
    judged = one.low is not None or one.high is not None
    limits = interval((one.low, one.high)) if one.low is not None and one.high is not None else ""
    if judged and not limits:
        limits = f"≥ {number(one.low)}" if one.low is not None else f"≤ {number(one.high)}"
    found = number(one.value) if one.value is not None else ""
    return Row(plain(one.name), judged, "alarm" if one.alarm else "quiet", found, limits, sentence(one.reason))


def _of_decay(observation: Observation) -> Iterator[Chart]:
    by_name = {
        OBSERVED_OVER_EXPECTED: ("observed_over_expected", "Observed over expected", "right on average", 1.0),
        RESIDUAL: ("residual", "Mean residual", "right on average", 0.0),
        SKILL: ("skill", "Skill over the base rate", "no better than the base rate", 0.0),
    }
    for reading in observation.decay.readings:
        if reading.name in by_name:
            yield _history(observation.history, reading, *by_name[reading.name])


def _history(history: tuple[Glance, ...], reading: Reading, name: str, title: str, neutral: str, at: float) -> Chart:
    points = [(one.last.toordinal(), found) for one in history if (found := getattr(one, name)) is not None]
    lines = [Line("y", at, neutral)]
    lines += [Line("y", one, "limit") for one in (reading.low, reading.high) if one is not None and one != at]
    return Chart(
        name=f"decay-{name.replace('_', '-')}",
        title=f"{title}, by window",
        x="last day of the window",
        y=title.lower(),
        reading=f"Each point is a window of days with labels. {sentence(reading.reason)}",
        series=(Series("", _curve(name, points)),),
        lines=tuple(lines),
        style="points" if len(points) == 1 else "line",
        x_scale="date",
    )


def _curve(name: str, points: list[tuple[int, float]]) -> Curve:
    return Curve(name=name, x=tuple(float(x) for x, _ in points), y=tuple(y for _, y in points))


def _of_feed(observation: Observation) -> Iterator[Chart]:
    curves = {one.name: one for one in observation.curves}
    shares = [(role, curves[name]) for role in ("missing", "out of range") if (name := f"{role} by day") in curves]
    if shares:
        yield Chart(
            name="feed-shares",
            title="Missing and impossible values",
            x="day",
            y="values per row, %",
            reading="Summed over the columns: two columns that are always missing are 200 %.",
            series=tuple(Series(role, curve) for role, curve in shares),
            x_scale="date",
            y_factor=100,
        )
    if "rows by day" in curves:
        yield Chart(
            name="feed-rows",
            title="Rows a day",
            x="day",
            y="rows",
            reading="Predictions logged, whichever version answered.",
            series=(Series("", curves["rows by day"]),),
            x_scale="date",
        )


def _of_drift(observation: Observation) -> Iterator[Chart | Forest]:
    bars = tuple(_bars(observation))
    if bars:
        limit = next((one.high for one in observation.feed.readings if one.name == "stable columns"), None)
        yield Forest(
            name="drift-psi",
            title="How far each column has moved",
            x="population stability index against training",
            reading="Hollow: seasonal, or the score; reported only.",
            bars=bars,
            lines=(Line("x", limit, f"limit {number(limit)}"),) if limit is not None else (),
        )
    curves = {one.name: one for one in observation.curves}
    if "score: newest days" in curves:
        roles = ("held-out rows", "newest days")
        yield Chart(
            name="drift-score",
            title="What the model says",
            x="score",
            y="share of rows",
            reading="The held-out rows of the bundle, and the newest 28 days.",
            series=tuple(Series(role, curves[f"score: {role}"]) for role in roles),
            style="steps",
        )


def _bars(observation: Observation) -> Iterator[Bar]:
    limit = next((one.high for one in observation.feed.readings if one.name == "stable columns"), None)
    for one in observation.drift.readings:
        if one.value is not None:
            kind = _kind(one, limit)
            yield Bar("", plain(one.name), one.value, None, None, kind)


def _kind(one: Reading, limit: float | None) -> Literal["judged", "harmed", "listed"]:
    if one.reason != "stable":
        return "listed"
    return "harmed" if limit is not None and one.value is not None and one.value > limit else "judged"


def _labels(observation: Observation) -> Grid:
    counts = observation.labels.model_dump() if observation.labels else {}
    rows = [("labelled rows since production's data ended", number(observation.new_labels))]
    rows += [(_LABELS.get(name, plain(name)), number(count)) for name, count in counts.items()]
    return Grid("Labels", ("What became of them", "Rows"), tuple(rows), (False, True))


def terminal(observation: Observation) -> "Table":
    """The three answers as a table for the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table("question", "answer", "why", box=None, pad_edge=False, header_style="dim")
    for name, title in _TITLES.items():
        section: Section = getattr(observation, name)
        style = {"quiet": "green", "alarm": "bold red", "too little": "bold yellow"}[section.decision]
        table.add_row(title.lower(), Text(section.decision, style), Text(plain(section.reason)))
    return table
