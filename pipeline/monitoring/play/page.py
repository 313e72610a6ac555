"""The story of a play as one page, build/observe/index.html: written from the story alone, and loading nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

from pipeline.frames import write_text
from pipeline.gates.decide import signed
from pipeline.monitoring.observation import OBSERVED_OVER_EXPECTED, RESIDUAL, SKILL
from pipeline.monitoring.play.calendar import Month, months
from pipeline.monitoring.play.story import Against, Looked, Story, Swap, Tried
from pipeline.report import page, plots
from pipeline.report.document import Grid
from pipeline.report.figures import Bar, Chart, Forest, Line, Series, sentence
from pipeline.report.plots import TONES
from pipeline.report.templating import template
from pipeline.report.words import short
from pipeline.text import MISSING, interval, number, plain
from pipeline.verdict import Curve

NAME = "index.html"
_MOST_COLUMNS = len(TONES) - 1
_LEAST_PSI = 0.001
_STATISTICS: Mapping[str, tuple[str, str, float]] = {
    OBSERVED_OVER_EXPECTED: ("Observed over expected", "right on average", 1.0),
    RESIDUAL: ("Mean residual", "right on average", 0.0),
    SKILL: ("Skill over the base rate", "no better than the base rate", 0.0),
}


@dataclass(frozen=True)
class Told:
    """One attempt in words. `tone` is the badge's, `says` what it came to."""

    tried: Tried
    tone: str
    says: str
    reason: str
    figures: str


@dataclass(frozen=True)
class Shown:
    """The page, arranged."""

    story: Story
    headline: str
    tone: str
    about: str
    facts: tuple[tuple[str, str, str], ...]
    months: tuple[Month, ...]
    decay: tuple[Chart, ...]
    attempts: tuple[Told, ...]
    gains: tuple[Forest, ...]
    swaps: tuple[tuple[str, str, Forest, Grid], ...]
    drift: tuple[Chart, ...]
    psi: Grid
    feed: str
    rows: tuple[Chart, ...]

    @property
    def pictures(self) -> tuple[Chart | Forest, ...]:
        """Every picture in the order shown."""
        after = tuple(forest for _, _, forest, _ in self.swaps)
        return (*self.decay, *self.gains, *after, *self.drift, *self.rows)


def render(story: Story, out: Path) -> Path:
    """Write the page, whole or not at all, and return its path."""
    shown = arrange(story)
    drawn = {one.name: plots.svg(one) for one in shown.pictures}
    text = template("play.html.j2", page.with_code)(shown=shown, drawn=page.inline(shown.pictures, drawn))
    write_text(out / NAME, text)
    return out / NAME


def headline(story: Story) -> str:
    """The one line that `flightline play` ends with."""
    merged = sum(one.merged for one in story.tried)
    said = f"{story.rows:,} rows from {story.first} to {story.last}: {_headline(story).lower()}"
    return f"{said}; {len(story.tried)} retrained, {merged} merged"


def arrange(story: Story) -> Shown:
    """Arrange a story for reading."""
    return Shown(
        story=story,
        headline=_headline(story),
        tone=_tone(story),
        about=_about(story),
        facts=tuple(_facts(story)),
        months=months(story),
        decay=tuple(_decay(story)),
        attempts=tuple(_told(one) for one in story.tried),
        gains=tuple(_gains(story)),
        swaps=tuple(_swap(one) for one in story.swaps if one.total is not None),
        drift=tuple(_drift(story)),
        psi=_psi_table(story),
        feed=_feed(story),
        rows=tuple(_rows(story)),
    )


def _headline(story: Story) -> str:
    if not story.whole:
        return "This play is not at its end"
    if story.first_alarm is None:
        return "The model has not decayed"
    if any(one.merged for one in story.tried):
        return "The model decayed, and a newer one took its place"
    return "The model decayed, and no newer window was a gain" if story.tried else "The model decayed"


def _tone(story: Story) -> str:
    if not story.whole:
        return "inconclusive"
    alarmed, merged = story.first_alarm is not None, any(one.merged for one in story.tried)
    return "pass" if merged or not alarmed else "fail"


def _about(story: Story) -> str:
    return (
        f"The server that `make run` starts was asked about {number(story.rows)} rows from {story.first} to "
        f"{story.last}, in their order; labels came {story.labels_after_days} days later. Each morning "
        "`flightline observe` looked, and where it found decay `flightline retrain` tried a newer window; what that "
        f"proposed was merged at once. Production began with the data to {story.data_end}."
    )


def _facts(story: Story) -> Iterator[tuple[str, str, str]]:
    """(figure, what it is, its tone)."""
    alarm, merged = story.first_alarm, [one for one in story.tried if one.merged]
    yield (str(alarm.as_of) if alarm else "never", "decay first reported", "fail" if alarm else "pass")
    yield (number(len(story.tried)), "windows tried", "none")
    yield (number(len(merged)), "proposed and merged", "pass" if merged else "none")
    gain = _gain(story.swaps)
    yield (gain or MISSING, "loss since, new against old", "pass" if gain else "none")
    broken = sum(one.feed == "alarm" for one in story.days)
    yield (number(broken), "mornings with a broken feed", "fail" if broken else "pass")


def _gain(swaps: tuple[Swap, ...]) -> str:
    """How much less the newest model that stayed loses, in per cent."""
    totals = [one.total for one in swaps if one.total is not None]
    return f"{100 * totals[0].difference / totals[0].old:+.0f} %" if totals and totals[0].old else ""


def _eras(story: Story) -> Iterator[tuple[int, str, list[Looked]]]:
    """The looks by production: its place in line, the data it knows, and its mornings."""
    ends = {one.candidate: one.window_end for one in story.tried}
    for place, (version, looks) in enumerate(groupby(story.days, key=lambda one: one.version)):
        yield place, f"model with data to {ends.get(version, story.data_end)}", list(looks)


def _decay(story: Story) -> Iterator[Chart]:
    for name, (title, neutral, at) in _STATISTICS.items():
        series = tuple(_of_statistic(story, name))
        if series:
            yield Chart(
                name=f"decay-{''.join(one if one.isalnum() else '-' for one in name)}",
                title=title,
                x="last day of the window",
                y=title.lower(),
                reading="Each point is a window of labelled days after production's own data; the band is where "
                "windows of unchanged days lie. Upright lines: windows that were tried.",
                series=series,
                lines=(Line("y", at, neutral), *_marks(story)),
                x_scale="date",
                columns=1,
            )


def _of_statistic(story: Story, name: str) -> Iterator[Series]:
    known = [(place, role, _points(looks, name)) for place, role, looks in _eras(story)]
    highest = max((value for _, _, points in known for _, value, _, _ in points), default=0.0)
    for place, role, points in known:
        if points:
            curve = Curve(
                name=role,
                x=tuple(x for x, _, _, _ in points),
                y=tuple(y for _, y, _, _ in points),
                low=tuple(0.0 if low is None else low for _, _, low, _ in points),
                high=tuple(1.1 * highest if high is None else high for _, _, _, high in points),
            )
            yield Series(role, curve, TONES[place % len(TONES)])


def _points(looks: list[Looked], name: str) -> list[tuple[float, float, float | None, float | None]]:
    """(last day of the window, value, limits); each window once."""
    found = {}
    for one in looks:
        reading = one.decay.reading(name)
        if one.window_end is not None and reading is not None and reading.value is not None:
            found[one.window_end] = (float(one.window_end.toordinal()), reading.value, reading.low, reading.high)
    return list(found.values())


def _marks(story: Story) -> Iterator[Line]:
    for one in story.tried:
        yield Line("x", float(one.window_end.toordinal()), "merged" if one.merged else one.outcome, foot=one.merged)


def _told(one: Tried) -> Told:
    says = "merged" if one.merged else one.outcome
    tone = {"proposed": "pass", "failed": "fail", "stopped": "fail"}.get(one.outcome, "inconclusive")
    figures = ""
    if one.difference is not None and one.production_loss is not None and one.margin is not None:
        figures = (
            f"{signed(one.difference)} {interval(one.interval)}; needed at most "
            f"{signed(-one.margin * one.production_loss)}"
        )
    return Told(one, tone, says, sentence(one.reason), figures)


def _gains(story: Story) -> Iterator[Forest]:
    bars = [bar for one in story.tried for bar in _gain_bar(one)]
    needed = next((one.margin for one in story.tried if one.margin is not None), None)
    if bars and needed is not None:
        yield Forest(
            name="gains",
            title="Each window's candidate against production",
            x="loss on held-out days against production's, %",
            reading="Left of zero the candidate is better. It is proposed where the estimate reaches the dotted line "
            "and the bound stays left of zero. Hollow: not proposed.",
            bars=tuple(bars),
            lines=(Line("x", -100 * needed, f"gain needed: {100 * needed:.0f} %"),),
        )


def _gain_bar(one: Tried) -> Iterator[Bar]:
    if one.difference is None or one.interval is None or not one.production_loss:
        return
    value, low, high = (100 * each / one.production_loss for each in (one.difference, *one.interval))
    yield Bar("", f"data to {one.window_end}", value, low, high, "judged" if one.merged else "listed")


def _swap(one: Swap) -> tuple[str, str, Forest, Grid]:
    """What took whose place, a sentence, the picture and the table."""
    parts = [*one.months, *([one.total] if one.total else [])]
    names = [*(f"{part.first:%B %Y}" for part in one.months), "all of it"]
    bars = tuple(_against_bar(name, part) for name, part in zip(names, parts, strict=True))
    forest = Forest(
        name=f"after-{short(one.new)}",
        title="New model against old, afterwards",
        x="mean loss on played rows, new minus old",
        reading="Left of zero the new model is better. Intervals are of resampled days; hollow: zero is within, or too "
        "few days for an interval.",
        bars=bars,
    )
    header = ("", "Days", "Rows", "Old", "New", "New less old", "Interval")
    rows = tuple(_against_row(name, part) for name, part in zip(names, parts, strict=True))
    table = Grid("Loss on the rows played since", header, rows, (False, *[True] * (len(header) - 1)))
    said = f"{short(one.new)} took the place of {short(one.old)} on {one.as_of}."
    return said, _verdict_of(one.total), forest, table


def _verdict_of(total: Against | None) -> str:
    if total is None or total.interval is None:
        return "Too few days since then to say which is better."
    low, high = total.interval
    if high < 0:
        return f"Better for certain: {number(total.difference)} {interval(total.interval)}."
    return "Worse for certain." if low > 0 else "The interval reaches zero: which is better cannot be told."


def _against_bar(name: str, part: Against) -> Bar:
    low, high = part.interval or (None, None)
    sure = low is not None and high is not None and (high < 0 or low > 0)
    return Bar(
        "", name, part.difference, low, high, ("harmed" if part.difference > 0 else "judged") if sure else "listed"
    )


def _against_row(name: str, part: Against) -> tuple[str, ...]:
    figures = (part.old, part.new, part.difference)
    return (name, number(part.days), number(part.rows), *map(number, figures), interval(part.interval) or MISSING)


def _drift(story: Story) -> Iterator[Chart]:
    most = _largest(story)
    moved = sorted(most, key=lambda name: -most[name][0])
    seasonal = [name for name in moved if name not in story.stable][:_MOST_COLUMNS]
    series = [
        *(_psi_series(story, name, (name,)) for name in seasonal),
        _psi_series(story, "stable columns", story.stable),
    ]
    shown = tuple(
        Series(one.role, one.curve, tone) for one, tone in zip(filter(None, series), reversed(TONES), strict=False)
    )
    if shown:
        yield Chart(
            name="drift-psi",
            title="How far the columns have moved",
            x="morning",
            y="PSI against training (log)",
            reading="The newest 28 days against what production was trained on; of the stable columns the one that "
            "moved most. Seasons move the others in every window, so they are reported and never alarm.",
            series=shown,
            lines=(Line("y", story.max_psi, "limit of stable columns, a week"),),
            x_scale="date",
            y_scale="log",
            columns=3,
        )


def _psi_series(story: Story, role: str, names: tuple[str, ...]) -> Series | None:
    points = [
        (float(one.as_of.toordinal()), max(_LEAST_PSI, *known))
        for one in story.days
        if (known := [one.psi[name] for name in names if name in one.psi])
    ]
    if not points:
        return None
    return Series(role, Curve(name=role, x=tuple(x for x, _ in points), y=tuple(y for _, y in points)))


def _largest(story: Story) -> dict[str, tuple[float, date]]:
    """Each column's largest PSI and the morning of it."""
    found: dict[str, tuple[float, date]] = {}
    for one in story.days:
        for name, value in one.psi.items():
            if name not in found or value > found[name][0]:
                found[name] = (value, one.as_of)
    return found


def _psi_table(story: Story) -> Grid:
    last = story.days[-1].psi if story.days else {}
    rows = [
        (
            plain(name),
            "stable" if name in story.stable else "reported only",
            f"{most:.2f}",
            str(day),
            _psi(last.get(name)),
        )
        for name, (most, day) in sorted(_largest(story).items(), key=lambda one: -one[1][0])
    ]
    header = ("Column", "Kind", "Largest PSI", "On", "At the end")
    return Grid("PSI of every column", header, tuple(rows), (False, False, True, False, True))


def _psi(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def _feed(story: Story) -> str:
    broken = [one for one in story.days if one.feed == "alarm"]
    if broken:
        return sentence(f"broken on {len(broken)} mornings, first on {broken[0].as_of}: {broken[0].feed_reason}")
    refused = sum(one.refused for one in story.days)
    told = f" The server refused {number(refused)} rows." if refused else " The server refused none."
    return f"Sound on each of {len(story.days)} mornings.{told}"


def _rows(story: Story) -> Iterator[Chart]:
    if story.days:
        x = tuple(float(one.as_of.toordinal() - 1) for one in story.days)
        curve = Curve(name="rows", x=x, y=tuple(float(one.rows) for one in story.days))
        yield Chart(
            name="rows-a-day",
            title="Rows a day",
            x="day",
            y="rows answered",
            reading="Every row that the server answered is in the prediction log, and from there in the store.",
            series=(Series("", curve),),
            x_scale="date",
            on_zero=True,
        )
