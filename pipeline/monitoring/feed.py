"""A broken feed: rows that cannot be what they were in training, whatever the season.

What is impossible (a value outside its range, a broken relation, an airport that is gone) is looked for in every full
day of the newest week by itself; what needs rows to be seen (PSI, nulls, volume) in the week as a whole. A category
that training did not have every day is missed in a full week alone.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from model.contract import Bools, Column, Schema
from pipeline.gates.decide import named, percent
from pipeline.monitoring.config import FeedLimits
from pipeline.monitoring.drift import psi_of
from pipeline.monitoring.observation import Reading, Section, section
from pipeline.monitoring.reference import Categories, Reference
from pipeline.monitoring.tally import Tally, names_of, reference_bins, total
from pipeline.verdict import Table

RANGES, RELATIONS, UNSEEN, GONE = "ranges", "relations", "unseen categories", "categories gone missing"
NULLS, STABLE, VOLUME = "missing values", "stable columns", "volume"
_IMPOSSIBLE = (RANGES, RELATIONS, UNSEEN, GONE)
_HISTORY_DAYS, _MIN_HISTORY_DAYS = 28, 14
# A category comes every day if the days on which it came have this share of training's rows; the rest may be an outage.
_EVERY_DAY = 0.99


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with some rows. `size` is the share of them, or how many should be there."""

    kind: str
    size: float
    text: str


@dataclass(frozen=True)
class Known:
    """What rows are held against."""

    schema: Schema
    reference: Reference
    limits: FeedLimits


def faults(tally: Tally, known: Known, whole: Collection[str] = ()) -> tuple[Fault, ...]:
    """What is impossible in these rows. Fewer than `min_cases` rows are never a fault.

    `whole` are the columns that were logged on every day of a full week: of these each category is due.
    """
    return (
        *_ranges(tally, known),
        *_relations(tally, known),
        *_unseen(tally, known),
        *_gone(tally, known, whole),
    )


def broken_days(tallies: Mapping[date, Tally], known: Known) -> dict[date, str]:
    """Days with a fault, and what it is: nothing is to be learnt from them about the model."""
    found = {day: faults(tally, known) for day, tally in tallies.items()}
    return {day: named(dict.fromkeys(one.text for one in wrong), 2) for day, wrong in found.items() if wrong}


def judge(tallies: Mapping[date, Tally], known: Known, as_of: date, more: tuple[Reading, ...] = ()) -> Section:
    """The newest full week before `as_of`, from counts by day; earlier days say how many rows are usual.

    `more` are readings of the same days that need the rows themselves.
    """
    days = [as_of - timedelta(days=back) for back in range(known.limits.days, 0, -1)]
    week = total(tallies[day] for day in days if day in tallies)
    volume = _volume(tallies, days, known.limits)
    if week is None or week.rows < known.limits.min_rows:
        rows = 0 if week is None else week.rows
        few = f"{rows:,} rows from {days[0]} to {days[-1]}; at least {known.limits.min_rows:,} are needed"
        return section((volume, *more), "", few)
    since = min(tallies)
    full = since <= days[0]
    whole = _throughout(tallies, days) if full else frozenset[str]()
    slow = (_nulls(week, known), _stable(week, known, whole)) if full else _too_young(since, known.limits)
    parts = [
        (f"from {days[0]} to {days[-1]}", faults(week, known, whole)),
        *((f"on {day}", faults(tallies[day], known)) for day in days if day in tallies),
    ]
    readings = (*_worst(week, parts, known, full=full), *slow, volume, *more)
    return section(readings, f"{week.rows:,} rows from {days[0]} to {days[-1]} are as they were in training")


def _throughout(tallies: Mapping[date, Tally], days: Sequence[date]) -> frozenset[str]:
    """The columns that every logged one of these days has: a field may be kept only since some of them."""
    return frozenset.intersection(*(frozenset(tallies[day].columns) for day in days if day in tallies))


def _worst(
    week: Tally, parts: Sequence[tuple[str, tuple[Fault, ...]]], known: Known, *, full: bool
) -> Iterator[Reading]:
    """For each kind of fault what the first part says that has one: the week, then its days."""
    found = [(when, fault) for when, those in parts for fault in those]
    for kind in _IMPOSSIBLE:
        mine = [(when, fault) for when, fault in found if fault.kind == kind]
        if not mine:
            reason = _sound(kind, week, known, full=full)
            yield Reading(name=kind, value=0.0, high=_limit(kind, known.limits), reason=reason)
            continue
        when = mine[0][0]
        here = [fault for at, fault in mine if at == when]
        size, said = max(fault.size for fault in here), named([fault.text for fault in here], 3)
        yield Reading(
            name=kind, value=size, high=_limit(kind, known.limits), alarm=True, reason=f"{kind}: {said}, {when}"
        )


def _limit(kind: str, limits: FeedLimits) -> float | None:
    return {
        RANGES: limits.max_out_of_range_share,
        RELATIONS: limits.max_relation_violation_share,
        UNSEEN: limits.max_unseen_category_share,
        GONE: 0.0,
    }[kind]


def _sound(kind: str, week: Tally, known: Known, *, full: bool) -> str:
    if kind == RELATIONS and (lost := [one.name for one in known.schema.relations if one.name not in week.violations]):
        return f"not checked: {named(lost)}; the log does not carry all the columns"
    if kind == GONE and (unknown := _without_days(known)):
        looked = "none in a full week" if full else "not looked for before a full week is logged"
        return f"{looked}; the bundle does not say which of {named(unknown)} come every day"
    return "none beyond the limit"


def _without_days(known: Known) -> list[str]:
    """Stable categories of a bundle that was made of rows without time, or by an earlier release."""
    features = known.reference.features
    stable = [(one.name, features.get(one.name)) for one in known.schema.columns if one.stability == "stable"]
    return [name for name, told in stable if isinstance(told, Categories) and told.on_days is None]


def _cases(cases: int, rows: int, limit: float, known: Known) -> bool:
    return cases >= known.limits.min_cases and cases > limit * rows


def _ranges(tally: Tally, known: Known) -> Iterator[Fault]:
    for name, seen in tally.columns.items():
        if _cases(seen.out_of_range, seen.rows, known.limits.max_out_of_range_share, known):
            share = seen.out_of_range / seen.rows
            yield Fault(RANGES, share, f"{name} is outside its range in {percent(share)} of rows")


def _relations(tally: Tally, known: Known) -> Iterator[Fault]:
    for name, violations in tally.violations.items():
        usual = known.reference.relations.get(name, 0.0)
        if _cases(violations, tally.rows, usual + known.limits.max_relation_violation_share, known):
            share = violations / tally.rows
            yield Fault(RELATIONS, share, f"{name} does not hold in {percent(share)} of rows (was a unit changed?)")


def _unseen(tally: Tally, known: Known) -> Iterator[Fault]:
    for name, seen in tally.columns.items():
        if _cases(seen.unseen, seen.rows, known.limits.max_unseen_category_share, known):
            share = seen.unseen / seen.rows
            yield Fault(
                UNSEEN, share, f"{name} is a category that the schema does not know in {percent(share)} of rows"
            )


def _gone(tally: Tally, known: Known, whole: Collection[str]) -> Iterator[Fault]:
    """Stable categories of which many rows were to be expected and none came."""
    for column in known.schema.columns:
        seen, reference = tally.columns.get(column.name), known.reference.features.get(column.name)
        if column.stability != "stable" or seen is None or not isinstance(reference, Categories):
            continue
        usual, names = reference_bins(column, reference), names_of(column, reference)
        expected = usual / max(usual.sum(), 1) * seen.bins.sum()
        due = expected >= known.limits.min_expected_of_category
        if column.name not in whole:
            due &= _every_day(names, reference)
        gone = np.flatnonzero((seen.bins == 0) & due)
        for at in gone:
            yield Fault(
                GONE, float(expected[at]), f"no row has {column.name} {names[at]}, {expected[at]:,.0f} were due"
            )


def _every_day(names: Sequence[str], reference: Categories) -> Bools:
    """Which of these categories training had on (nearly) every day; the rest, as always, has the last place."""
    shares = reference.on_days or {}
    return np.array([*(shares.get(name, 0.0) for name in names), 0.0]) >= _EVERY_DAY


def _too_young(since: date, limits: FeedLimits) -> tuple[Reading, Reading]:
    """What needs all of a week: a Monday alone has a weekday like no other."""
    reason = f"rows are logged since {since}; {limits.days} full days are needed, as one day is not like another"
    return Reading(name=NULLS, value=None, reason=reason), Reading(name=STABLE, value=None, reason=reason)


def _nulls(week: Tally, known: Known) -> Reading:
    """Whether a column lost its values since training."""
    increases = {
        name: seen.nulls / seen.rows - usual
        for name, seen in week.columns.items()
        if seen.rows >= known.limits.min_rows and (usual := _usual_nulls(name, known.reference)) is not None
    }
    limit = known.limits.max_null_share_increase
    over = {name: rise for name, rise in increases.items() if rise > limit}
    most = max(increases.values(), default=0.0)
    listed = named(f"{name} is missing in {100 * rise:.0f} points more of the rows" for name, rise in over.items())
    unsaid = [name for name in week.columns if _usual_nulls(name, known.reference) is None]
    sound = "no column lost more of its values than the limit"
    sound += f"; the bundle does not say how many {named(unsaid)} had" if unsaid else ""
    reason = f"missing values: {listed} than in training" if over else sound
    return Reading(name=NULLS, value=most, high=limit, alarm=bool(over), reason=reason)


def _usual_nulls(name: str, reference: Reference) -> float | None:
    """The share of training rows without a value; None where the bundle does not say it."""
    nulls = reference.features[name].nulls
    return None if nulls is None else nulls / reference.rows


def _stable(week: Tally, known: Known, whole: Collection[str]) -> Reading:
    """The largest PSI of a stable column that was logged on every day, and has rows enough for its bins."""
    kept = [one for one in known.schema.columns if one.stability == "stable" and one.name in whole]
    stable = [one for one in kept if _enough(one, week, known)]
    spared = known.limits.max_unseen_category_share
    found = {one.name: psi_of(one, week, known.reference, spared) or 0.0 for one in stable}
    limit = known.limits.max_psi
    over = {name: value for name, value in found.items() if value > limit}
    listed = named(f"{name} (PSI {value:.2f})" for name, value in over.items())
    reason = f"stable columns that moved: {listed}" if over else f"{len(found)} columns that no season moves"
    return Reading(name=STABLE, value=max(found.values(), default=None), high=limit, alarm=bool(over), reason=reason)


def _enough(column: Column, week: Tally, known: Known) -> bool:
    seen, reference = week.columns.get(column.name), known.reference.features.get(column.name)
    if seen is None or reference is None:
        return False
    used = int((reference_bins(column, reference) > 0).sum())
    return bool(seen.bins.sum() >= known.limits.min_rows_per_bin * used)


def _volume(tallies: Mapping[date, Tally], days: Sequence[date], limits: FeedLimits) -> Reading:
    """Rows a day against the four weeks before; they, too, may have days without rows."""
    before = [days[0] - timedelta(days=back) for back in range(1, _HISTORY_DAYS + 1)]
    logged = [day for day in before if day in tallies]
    if len(logged) < _MIN_HISTORY_DAYS:
        reason = f"{len(logged)} earlier days have rows, {_MIN_HISTORY_DAYS} are needed to know what is usual"
        return Reading(name=VOLUME, value=None, reason=reason)
    usual = sum(tallies[day].rows for day in logged) / ((days[0] - min(logged)).days)
    now = sum(tallies[day].rows for day in days if day in tallies) / len(days)
    ratio = now / usual
    alarm = not limits.min_volume_ratio <= ratio <= limits.max_volume_ratio
    reason = f"{now:,.0f} rows a day, {usual:,.0f} in the weeks before"
    return Reading(
        name=VOLUME,
        value=ratio,
        low=limits.min_volume_ratio,
        high=limits.max_volume_ratio,
        alarm=alarm,
        reason=f"volume: {reason}" if alarm else reason,
    )


def table(tally: Tally, known: Known) -> Table:
    """Every column for people: PSI, and shares of rows that are missing, illegal or unknown."""
    rows: list[tuple[str | float | None, ...]] = []
    for column in known.schema.columns:
        seen = tally.columns.get(column.name)
        if seen is None:
            rows.append((column.name, column.stability, None, None, None, None, None))
            continue
        usual = _usual_nulls(column.name, known.reference)
        shares = [count / seen.rows for count in (seen.nulls, seen.out_of_range, seen.unseen)]
        rows.append(
            (column.name, column.stability, psi_of(column, tally, known.reference), shares[0], usual, *shares[1:])
        )
    header = ("column", "kind", "PSI", "missing", "missing in training", "out of range", "unseen")
    return Table(name="columns", columns=header, rows=tuple(rows))
