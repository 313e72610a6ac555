"""Decay: whether what happens still is what the model expects, and whether it still knows more than the base rate.

Looked at over the newest full window of labelled days after the bundle's own data ended, against its own held-out days
(`pipeline.monitoring.limits`). Pure: everything is arrays of sums by day and block.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from model.contract import Floats, Task
from pipeline.gates import statistics
from pipeline.gates.decide import percent, plain, signed
from pipeline.monitoring import limits
from pipeline.monitoring.config import DecayLimits
from pipeline.monitoring.limits import OF_LOSS, Limit, Statistic
from pipeline.monitoring.observation import (
    LOSS_DIFFERENCE,
    OBSERVED_OVER_EXPECTED,
    RESIDUAL,
    SKILL,
    Glance,
    Period,
    Reading,
    Section,
    section,
)
from pipeline.monitoring.reference import LOSS, ROWS, WITH_LOSS, Blocks, Reference
from pipeline.stages.blocks import DAY
from pipeline.verdict import Table

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Day:
    """A day of the log: its predictions, whoever made them, and how many of them have a label."""

    day: date
    rows: int
    labelled: int


@dataclass(frozen=True)
class Outcomes:
    """What became of the labelled rows, scored by production: sums (cells, sums) by day and block, in order of day.

    `reason` says why there are none, where that cannot be done.
    """

    days: NDArray[np.datetime64]
    blocks: NDArray[np.str_]
    sums: Floats
    reason: str = ""


@dataclass(frozen=True)
class Window:
    """A run of calendar days and those of them that count: with labelled rows and a sound feed."""

    first: date
    last: date
    used: tuple[date, ...]


@dataclass(frozen=True)
class Setting:
    """What decides which days count. `after` is the last day of production's own data, None without time."""

    after: date | None
    as_of: date
    label_delay_days: int
    rules: DecayLimits


@dataclass(frozen=True)
class Found:
    """Decay's answer, the window it is about, and every window that there was before."""

    section: Section
    window: Period | None
    history: tuple[Glance, ...] = ()
    table: Table | None = None


def judge(
    days: Sequence[Day],
    outcomes: Outcomes,
    reference: Reference,
    task: Task,
    setting: Setting,
    broken: Mapping[date, str],
) -> Found:
    """Decide. `days` are the log's, in any order; `broken` those of a broken feed, which do not count."""
    by_day = {one.day: one for one in days}
    found = windows(by_day, setting, broken)
    period = _period(found[-1], by_day) if found else None
    obstacle = _obstacle(reference, outcomes, setting.rules) or ("" if found else _waiting(by_day, setting, broken))
    blocks = reference.blocks
    if obstacle or blocks is None:
        return Found(section((), "", obstacle), period)
    known = _Known(blocks, limits.judged(task, blocks.sums), setting.rules)
    looked = [(window, _by_block(outcomes, window)) for window in found]
    enough = [(window, sums) for window, sums in looked if len(sums) >= setting.rules.min_blocks]
    window, newest = looked[-1]
    if len(newest) < setting.rules.min_blocks:
        few = f"{len(newest)} {_units(blocks.unit)} have labels and every column that is needed"
        few += f", and {setting.rules.min_blocks} are the least"
        return Found(section((), "", f"from {window.first} to {window.last}: {few}"), period)
    history = tuple(_glance(window, sums, known) for window, sums in enough)
    return Found(_section(window, newest, known), period, history, _table(newest, known))


def windows(days: Mapping[date, Day], setting: Setting, broken: Mapping[date, str]) -> list[Window]:
    """Every window that is full and labelled, oldest first. Its last day always has labelled rows."""
    first = _first_day(days, setting)
    if first is None:
        return []
    length, newest = setting.rules.days, setting.as_of - timedelta(days=max(1, setting.label_delay_days))
    ends = (first + timedelta(days=length - 1 + at) for at in range((newest - first).days - length + 2))
    return [window for end in ends if (window := _window(days, end, setting, broken)) is not None]


def _first_day(days: Mapping[date, Day], setting: Setting) -> date | None:
    if not days:
        return None
    logged = min(days)
    return logged if setting.after is None else max(setting.after + timedelta(days=1), logged)


def _window(days: Mapping[date, Day], last: date, setting: Setting, broken: Mapping[date, str]) -> Window | None:
    first = last - timedelta(days=setting.rules.days - 1)
    within = [days[day] for at in range(setting.rules.days) if (day := first + timedelta(days=at)) in days]
    used = tuple(one.day for one in within if one.labelled and one.day not in broken)
    if not used or used[-1] != last or len(used) < setting.rules.min_blocks:
        return None
    sound = [one for one in within if one.day not in broken]
    rows, labelled = sum(one.rows for one in sound), sum(one.labelled for one in sound)
    if labelled < setting.rules.min_labelled_share * rows or not all(_settled(one, setting) for one in sound):
        return None
    return Window(first, last, used)


def _settled(one: Day, setting: Setting) -> bool:
    """Whether the labels of a day are there, or so late that the rest will not come (a cancelled flight has none)."""
    due = one.day + timedelta(days=setting.label_delay_days)
    if one.labelled >= setting.rules.min_labelled_share * one.rows:
        return due <= setting.as_of
    return due + timedelta(days=setting.rules.max_label_wait_days) <= setting.as_of


def _period(window: Window, days: Mapping[date, Day]) -> Period:
    within = [one for one in days.values() if window.first <= one.day <= window.last]
    return Period(
        first=window.first,
        last=window.last,
        days=(window.last - window.first).days + 1,
        rows=sum(one.rows for one in within),
        labelled=sum(one.labelled for one in within),
    )


def _obstacle(reference: Reference, outcomes: Outcomes, rules: DecayLimits) -> str:
    """Why nothing can be said whatever comes; empty where it can."""
    if reference.blocks is None:
        return f"bundle {reference.version[:12]}: {reference.reason}"
    held = len(reference.blocks.sums)
    if held < rules.min_blocks:
        unit = _units(reference.blocks.unit)
        return (
            f"the bundle was held against {held} {unit} of its own, at least {rules.min_blocks} are needed for limits"
        )
    return outcomes.reason


def _waiting(days: Mapping[date, Day], setting: Setting, broken: Mapping[date, str]) -> str:
    """Why there is no window yet, with what there is."""
    since = [one for one in days.values() if setting.after is None or one.day > setting.after]
    if not since:
        after = f" after {setting.after}, the end of production's own data" if setting.after else ""
        return f"no prediction was logged{after}"
    settled = [one for one in since if one.labelled and _settled(one, setting)]
    unsound = sum(one.day in broken for one in since)
    without = f", {unsound} of a broken feed" if unsound else ""
    return (
        f"{len(settled)} labelled days since {min(one.day for one in since)}{without}; "
        f"a window is {setting.rules.days} full days, labels for {percent(setting.rules.min_labelled_share)} of rows"
    )


@dataclass(frozen=True)
class _Known:
    """The held-out blocks, what is judged by them, and how."""

    blocks: Blocks
    statistics: tuple[Statistic, ...]
    rules: DecayLimits

    def limits(self, blocks: int) -> dict[str, Limit]:
        """Limits for a window of so many blocks."""
        return _limits(self.blocks.sums.tobytes(), self.blocks.sums.shape, blocks, self.statistics, self.rules)


@lru_cache(maxsize=64)
def _limits(
    sums: bytes, shape: tuple[int, int], blocks: int, judged: tuple[Statistic, ...], rules: DecayLimits
) -> dict[str, Limit]:
    """The same for every window of as many blocks; a simulation, so kept."""
    return limits.of(np.frombuffer(sums).reshape(shape), blocks, judged, rules)


def _by_block(outcomes: Outcomes, window: Window) -> Floats:
    """A window's sums by block: (blocks, sums)."""
    mine = np.isin(outcomes.days, np.array(window.used, "datetime64[D]"))
    number, names = statistics.codes(outcomes.blocks[mine])
    sums = np.zeros((len(names), outcomes.sums.shape[1]))
    np.add.at(sums, number, outcomes.sums[mine])
    return sums


def _glance(window: Window, sums: Floats, known: _Known) -> Glance:
    total, bounds = sums.sum(axis=0), known.limits(len(sums))
    values = {one.name: value(one, total) for one in (*known.statistics, OF_LOSS)}
    return Glance(
        last=window.last,
        rows=int(total[ROWS]),
        observed_over_expected=values.get(OBSERVED_OVER_EXPECTED),
        residual=values.get(RESIDUAL),
        skill=values.get(SKILL),
        loss=values[LOSS_DIFFERENCE],
        alarm=any(bounds[one.name].broken_by(values[one.name]) for one in known.statistics),
    )


def value(statistic: Statistic, total: Floats) -> float | None:
    """A statistic of a window's sums; None where it cannot be said."""
    found = float(statistic.of(total))
    return found if np.isfinite(found) else None


def _section(window: Window, sums: Floats, known: _Known) -> Section:
    total, bounds = sums.sum(axis=0), known.limits(len(sums))
    readings = [_reading(one, value(one, total), bounds[one.name]) for one in known.statistics]
    found = section((*readings, _loss(sums, known)), "; ".join(one.reason for one in readings))
    return found.model_copy(update={"reason": f"from {window.first} to {window.last}: {found.reason}"})


def _reading(one: Statistic, found: float | None, limit: Limit) -> Reading:
    if found is None:
        return Reading(name=one.name, value=None, reason=f"{one.name} cannot be said of these rows")
    alarm = limit.broken_by(found)
    reason = (
        f"{one.name} is {plain(found)}, {'outside' if alarm else 'within'} {_range(limit)}; "
        f"it was {plain(limit.reference)} on the held-out rows"
    )
    return Reading(name=one.name, value=found, low=limit.low, high=limit.high, alarm=alarm, reason=reason)


def _range(limit: Limit) -> str:
    if limit.low is None and limit.high is None:
        return "no limits at all (too few cases)"
    if limit.high is None:
        return f"the limit of at least {plain(limit.low or 0.0)}"
    low = "0" if limit.low is None else plain(limit.low)
    return f"{low} to {plain(limit.high)}"


def _loss(sums: Floats, known: _Known) -> Reading:
    """Mean loss against the held-out blocks', both resampled. Harder days raise it, too: reported, not judged."""
    if not sums[:, WITH_LOSS].sum():
        return Reading(name=LOSS_DIFFERENCE, value=None, reason="no row of the window carries a loss")
    now, then = (_bootstrap(part, known.rules, seed) for seed, part in enumerate((sums, known.blocks.sums)))
    difference = float(now.estimate[0] - then.estimate[0])
    error = float(np.hypot(now.error[0], then.error[0]))
    if not error:
        return Reading(name=LOSS_DIFFERENCE, value=difference, reason=f"mean loss {signed(difference)}; reported")
    pivots = (now.pivots[:, 0] * now.error[0] - then.pivots[:, 0] * then.error[0]) / error
    tail = (1 - _CONFIDENCE) / 2
    low, high = (difference - float(np.quantile(pivots, at)) * error for at in (1 - tail, tail))
    reason = (
        f"mean loss {plain(float(now.estimate[0]))} against {plain(float(then.estimate[0]))} on the held-out rows: "
        f"{signed(difference)} [{signed(low)}, {signed(high)}]; reported, as harder days raise it too"
    )
    return Reading(name=LOSS_DIFFERENCE, value=difference, reason=reason)


def _bootstrap(sums: Floats, rules: DecayLimits, seed: int) -> statistics.Bootstrap:
    return statistics.bootstrap(
        sums[:, [LOSS]], sums[:, [WITH_LOSS]], resamples=rules.resamples, seed=rules.seed + seed
    )


def _table(sums: Floats, known: _Known) -> Table:
    """The window beside the held-out rows."""
    columns = list(zip(_figures(sums), _figures(known.blocks.sums), strict=True))
    names = (
        "labelled rows",
        "days or groups",
        "observed mean",
        "expected mean",
        "mean loss",
        "mean loss of the base rate",
    )
    rows = tuple((name, *pair) for name, pair in zip(names, columns, strict=True))
    return Table(name="window", columns=("", "window", "held-out rows"), rows=rows)


def _figures(sums: Floats) -> Iterator[float | None]:
    rows, observed, expected, carried, loss, baseline = (float(one) for one in sums.sum(axis=0))
    yield from (rows, float(len(sums)), observed / rows, expected / rows)
    yield from ((loss / carried, baseline / carried) if carried else (None, None))


def _units(unit: str) -> str:
    return "held-out days" if unit == DAY else f"groups by {unit}"
