"""The mornings of a play as a calendar: a row of days for each month, and what happened in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby, pairwise

from pipeline.monitoring.play.story import Looked, Story, Tried
from pipeline.report.figures import sentence
from pipeline.report.words import short
from pipeline.text import number


@dataclass(frozen=True)
class Cell:
    """A morning. `state` is what decay said, or `broken` for the feed; `mark` is tried, merged or empty."""

    day: int
    state: str
    mark: str
    says: str


@dataclass(frozen=True)
class Event:
    """What happened on a morning; `tone` colours it."""

    on: date
    tone: str
    text: str


@dataclass(frozen=True)
class Month:
    """A month of it; `rows` were answered, `labels` came."""

    name: str
    rows: str
    labels: str
    cells: tuple[Cell, ...]
    events: tuple[Event, ...]


def months(story: Story) -> tuple[Month, ...]:
    """Every month that has a morning, oldest first."""
    happened = sorted(events(story), key=lambda one: one.on)
    return tuple(
        _month(list(looks), [one for one in happened if (one.on.year, one.on.month) == month], story.tried)
        for month, looks in groupby(story.days, key=lambda one: (one.as_of.year, one.as_of.month))
    )


def _month(looks: list[Looked], happened: list[Event], tried: tuple[Tried, ...]) -> Month:
    return Month(
        name=f"{looks[0].as_of:%B %Y}",
        rows=number(sum(one.rows for one in looks)),
        labels=number(sum(one.labels for one in looks)),
        cells=tuple(_cell(one, [each for each in tried if each.as_of == one.as_of]) for one in looks),
        events=tuple(happened),
    )


def _cell(one: Looked, tried: list[Tried]) -> Cell:
    state = "broken" if one.feed == "alarm" else one.decay.decision.replace(" ", "-")
    mark = ("merged" if tried[0].merged else "tried") if tried else ""
    said = f"{one.as_of}: decay {one.decay.decision}, feed {one.feed}; {number(one.rows)} rows"
    return Cell(one.as_of.day, state, mark, f"{said}; {mark}" if mark else said)


def events(story: Story) -> Iterator[Event]:
    """What changed from one morning to the next, and what was tried."""
    if story.days:
        first = story.days[0]
        text = f"Production is {short(first.version)}, with the data to {story.data_end}."
        yield Event(first.as_of, "none", text)
    for before, now in pairwise([None, *story.days]):
        if now is not None:
            yield from _changed(before, now)
    for one in story.tried:
        yield _attempt(one)


def _changed(before: Looked | None, now: Looked) -> Iterator[Event]:
    same = before is not None and before.version == now.version
    was = before is not None and same and before.decay.alarm
    if now.decay.alarm and not was:
        yield Event(now.as_of, "fail", f"Decay: {sentence(now.decay.reason)}")
    if was and now.decay.decision == "quiet":
        yield Event(now.as_of, "pass", "Decay: quiet again.")
    if now.feed == "alarm" and not (before is not None and before.feed == "alarm"):
        yield Event(now.as_of, "fail", f"Broken feed: {sentence(now.feed_reason)}")


def _attempt(one: Tried) -> Event:
    what = f"Retrained on the data to {one.window_end}"
    if one.merged:
        text = f"{what}: {sentence(one.reason)} Merged; {short(one.candidate or '')} goes to production."
        return Event(one.as_of, "pass", text)
    return Event(one.as_of, "inconclusive", f"{what}: {one.outcome}. {sentence(one.reason)}")
