"""A broken feed is told from a season: what is impossible alarms on the day, what only moves does not."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest

from pipeline.frames import write_json
from pipeline.gates.decide import percent
from pipeline.monitoring import feed
from pipeline.monitoring.config import FeedLimits
from pipeline.monitoring.observation import Section
from pipeline.monitoring.reference import Categories, read_reference
from pipeline.monitoring.scan import Looker, scan
from pipeline.stages import bundle as stage
from serving import bundle, replay
from tests import monitored

FIRST, AS_OF = date(2013, 4, 1), date(2013, 5, 6)
LAST = AS_OF - timedelta(days=1)
LIMITS = FeedLimits()
Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(scope="module")
def looker(tmp_path_factory: pytest.TempPathFactory) -> Looker:
    return monitored.looker(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def april(looker: Looker) -> list[pl.DataFrame]:
    return list(monitored.logged(looker.bundle.path, looker.bundle.version, FIRST, (AS_OF - FIRST).days))


def trained_on(folder: Path, toy: monitored.Toy, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Looker:
    """A looker whose reference the real stage made of changed rows."""
    signature = msgspec.structs.replace(
        monitored.SIGNATURE,
        inputs=tuple(
            msgspec.structs.replace(one, nullable=column.nullable)
            for one, column in zip(monitored.SIGNATURE.inputs, toy.schema.columns, strict=True)
        ),
    )
    monitored.write_bundle(folder, toy=toy, signature=signature)
    rows = change(monitored.prepared(folder))
    write_json(folder / "reference.json", stage.reference(toy, rows, folder))  # type: ignore[arg-type]
    bundle.seal(folder)
    opened = bundle.load(folder)
    return Looker(toy, opened, read_reference(folder, opened.version))  # type: ignore[arg-type]


def nullable_dest() -> monitored.Toy:
    columns = (*monitored.COLUMNS[:-1], monitored.COLUMNS[-1].model_copy(update={"nullable": True}))
    return monitored.Toy(replace(monitored.SCHEMA, columns=columns))


def reference_of(looker: Looker) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((looker.bundle.path / "reference.json").read_text())
    return found


def without_fields(looker: Looker, name: str, **fields: Any) -> Looker:
    """The same with a bundle of an earlier release, which did not say these of a category."""
    known = looker.reference.features[name]
    assert isinstance(known, Categories)
    features = {**looker.reference.features, name: replace(known, **fields)}
    return replace(looker, reference=replace(looker.reference, features=features))


def judged(looker: Looker, days: list[pl.DataFrame], limits: FeedLimits = LIMITS) -> Section:
    known = feed.Known(looker.model.schema, looker.reference, limits)
    return feed.judge(scan(days, looker).tallies, known, AS_OF)


def changed(days: list[pl.DataFrame], change: Change, newest: int = 1) -> list[pl.DataFrame]:
    """The same days, the newest of them changed."""
    return [*days[:-newest], *map(change, days[-newest:])]


def celsius(day: pl.DataFrame) -> pl.DataFrame:
    return day.with_columns(temp=(pl.col("temp") - 32) / 1.8)


def without(airport: str) -> Change:
    return lambda day: day.filter(pl.col("origin") != airport)


def test_days_before_a_column_was_kept_have_no_missing_values(looker: Looker, april: list[pl.DataFrame]) -> None:
    older = [*(day.drop("seats", "dest") for day in april[:-2]), *april[-2:]]
    section = judged(looker, older)
    assert not section.alarm, section.reason
    nulls = next(one for one in section.readings if one.name == feed.NULLS)
    assert nulls.value == pytest.approx(0, abs=0.05)
    lost = [*older[:-2], *(day.with_columns(seats=pl.lit(None, pl.Float64)) for day in older[-2:])]
    assert "seats is missing in 9" in judged(looker, lost).reason


def test_column_that_is_kept_for_a_part_of_the_week_is_not_judged_as_a_whole_one(
    looker: Looker, april: list[pl.DataFrame]
) -> None:
    """Of a category that the weekday decides two days say little, and of three rows nobody knows what is usual."""
    known = without_fields(looker, "dest", on_days={"ATL": 0.5, "ORD": 0.5})
    one_kind = [day.filter(pl.col("dest") == "ATL") for day in april[-2:]]
    section = judged(known, [*(day.drop("dest") for day in april[:-2]), *one_kind])
    assert not section.alarm, section.reason
    few = april[-1].with_columns(seats=pl.lit(None, pl.Float64)).head(3)
    section = judged(looker, [*(day.drop("seats") for day in april), few])
    assert not section.alarm, section.reason


def test_unchanged_days_are_quiet(looker: Looker, april: list[pl.DataFrame]) -> None:
    section = judged(looker, april)
    assert (section.alarm, section.decision) == (False, "quiet"), section.reason
    assert {one.name for one in section.readings} == {
        feed.RANGES,
        feed.RELATIONS,
        feed.UNSEEN,
        feed.GONE,
        feed.NULLS,
        feed.STABLE,
        feed.VOLUME,
    }


def test_another_season_is_quiet(looker: Looker, april: list[pl.DataFrame]) -> None:
    warmer = [day.with_columns(temp=pl.col("temp") + 40, dewp=pl.col("dewp") + 40) for day in april]
    assert not judged(looker, warmer).alarm


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (celsius, feed.RELATIONS, "dewp <= temp does not hold"),
        (without("LGA"), feed.GONE, "no row has origin LGA"),
        (lambda day: day.with_columns(seats=pl.col("seats") * 10), feed.RANGES, "seats is outside its range"),
        (lambda day: day.with_columns(dest=pl.lit("???")), feed.UNSEEN, "dest is a category"),
    ],
    ids=["celsius", "an airport gone", "another unit", "other codes"],
)
def test_what_is_impossible_alarms_on_the_very_day(
    looker: Looker, april: list[pl.DataFrame], change: Change, kind: str, said: str
) -> None:
    section = judged(looker, changed(april, change))
    reading = section.reading(kind)
    assert section.alarm
    assert reading is not None
    assert reading.alarm
    assert said in reading.reason
    assert str(LAST) in reading.reason


def test_the_share_that_is_found_is_the_one_that_is_said(looker: Looker, april: list[pl.DataFrame]) -> None:
    reading = judged(looker, changed(april, celsius, 2)).reading(feed.RELATIONS)
    assert reading is not None
    assert reading.value is not None
    assert f"in {percent(reading.value)} of rows" in reading.reason


def test_a_column_that_lost_its_values_alarms(looker: Looker, april: list[pl.DataFrame]) -> None:
    section = judged(looker, changed(april, lambda day: day.with_columns(seats=pl.lit(None, pl.Float64)), 3))
    reading = section.reading(feed.NULLS)
    assert section.alarm
    assert reading is not None
    assert "seats is missing in" in reading.reason


def test_a_stable_column_that_moved_alarms(looker: Looker, april: list[pl.DataFrame]) -> None:
    section = judged(looker, changed(april, lambda day: day.with_columns(seats=pl.lit(60.0)), 7))
    reading = section.reading(feed.STABLE)
    assert reading is not None
    assert reading.alarm
    assert "seats (PSI" in reading.reason


def test_a_stable_column_is_not_judged_on_few_rows(looker: Looker, april: list[pl.DataFrame]) -> None:
    few = changed(april, lambda day: day.with_columns(seats=pl.lit(60.0)).head(20), 7)
    reading = judged(looker, few).reading(feed.STABLE)
    assert reading is not None
    assert not reading.alarm


def test_stable_columns_and_nulls_are_judged_once_a_full_week_is_logged(
    looker: Looker, april: list[pl.DataFrame]
) -> None:
    """The first days of a release: a day of the week is missing, which is no fault."""
    one_airport = [day.with_columns(origin=pl.lit("EWR"), seats=pl.lit(None, pl.Float64)) for day in april]
    limits = LIMITS.model_copy(update={"min_expected_of_category": 10**6})
    young, full = (judged(looker, one_airport[-days:], limits) for days in (LIMITS.days - 1, LIMITS.days))
    assert not young.alarm, young.reason
    told = [one.reason for one in young.readings if one.name in (feed.STABLE, feed.NULLS)]
    assert all("7 full days are needed" in one for one in told)
    assert len(told) == 2
    assert {one.name for one in full.readings if one.alarm} == {feed.STABLE, feed.NULLS}


def test_traffic_that_stops_alarms_and_says_what_was_usual(looker: Looker, april: list[pl.DataFrame]) -> None:
    section = judged(looker, april[:-7])
    assert section.alarm
    assert "0 rows a day, 200 in the weeks before" in section.reason


def test_traffic_that_doubles_is_no_fault_and_that_quadruples_is(looker: Looker, april: list[pl.DataFrame]) -> None:
    assert not judged(looker, changed(april, lambda day: pl.concat([day] * 2), 7)).alarm
    assert judged(looker, changed(april, lambda day: pl.concat([day] * 4), 7)).alarm


def test_volume_is_not_judged_before_it_is_known_what_is_usual(looker: Looker, april: list[pl.DataFrame]) -> None:
    section = judged(looker, april[-9:])
    reading = section.reading(feed.VOLUME)
    assert reading is not None
    assert (reading.alarm, reading.value) == (False, None)


def test_an_empty_week_is_too_little(looker: Looker) -> None:
    section = judged(looker, [])
    assert (section.alarm, section.decision) == (False, "too little")
    assert "0 rows from 2013-04-29 to 2013-05-05" in section.reason


def test_a_few_odd_rows_are_no_alarm(looker: Looker, april: list[pl.DataFrame]) -> None:
    odd = changed(
        april, lambda day: day.with_columns(seats=pl.when(pl.int_range(pl.len()) < 4).then(5000.0).otherwise("seats"))
    )
    assert not judged(looker, odd).alarm


def test_a_new_category_with_few_rows_is_no_alarm(looker: Looker, april: list[pl.DataFrame]) -> None:
    new = changed(
        april,
        lambda day: day.with_columns(dest=pl.when(pl.int_range(pl.len()) < 8).then(pl.lit("BOS")).otherwise("dest")),
        7,
    )
    assert not judged(looker, new).alarm


def test_a_constant_column_is_quiet_and_another_constant_is_not(april: list[pl.DataFrame], tmp_path: Path) -> None:
    looker = trained_on(tmp_path, monitored.Toy(), lambda rows: rows.assign(seats=100.0))
    for seats, alarm in ((100.0, False), (100.5, True), (99.0, True)):
        reading = judged(looker, [day.with_columns(seats=pl.lit(seats)) for day in april]).reading(feed.STABLE)
        assert reading is not None
        assert reading.alarm is alarm, (seats, reading.reason)


def test_a_category_that_was_null_in_training_may_be_null(april: list[pl.DataFrame], tmp_path: Path) -> None:
    looker = trained_on(
        tmp_path, nullable_dest(), lambda rows: rows.assign(dest=rows["dest"].where(rows.index % 5 > 1))
    )
    for kept, alarm in ((3, False), (1, True)):
        some = [day.with_columns(dest=pl.when(pl.int_range(pl.len()) % 5 < kept).then("dest")) for day in april]
        section = judged(looker, some)
        assert section.alarm is alarm, section.reason
        assert ("dest is missing in 40 points more" in section.reason) is alarm
    sent = list(islice(replay.rows(looker.bundle.signature, reference_of(looker)), 1000))
    assert sum(row["dest"] is None for row in sent) / 1000 == pytest.approx(0.4, abs=0.05)


def test_nulls_of_a_category_that_an_older_bundle_does_not_say_are_not_judged(
    looker: Looker, april: list[pl.DataFrame]
) -> None:
    older = without_fields(looker, "dest", nulls=None)
    empty = [day.with_columns(dest=pl.when(pl.int_range(pl.len()) % 5 < 3).then("dest")) for day in april]
    assert judged(looker, empty).alarm
    section = judged(older, empty)
    reading = section.reading(feed.NULLS)
    assert not section.alarm
    assert reading is not None
    assert "does not say how many dest had" in reading.reason
    table = feed.table(scan(empty, older).tallies[LAST], feed.Known(older.model.schema, older.reference, LIMITS))
    assert {row[0]: row[4] for row in table.rows}["dest"] is None


@pytest.fixture(scope="module")
def calendar(tmp_path_factory: pytest.TempPathFactory) -> Looker:
    """Its destination is decided by the day: ORD at weekends, else ATL."""

    def weekends(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(dest=np.where(pd.to_datetime(rows["day"]).dt.weekday > 4, "ORD", "ATL"))

    return trained_on(tmp_path_factory.mktemp("calendar"), monitored.Toy(), weekends)


def at_weekends(day: pl.DataFrame) -> pl.DataFrame:
    return day.with_columns(dest=pl.lit("ORD" if day["day"][0].weekday() > 4 else "ATL"))


def test_a_category_that_the_day_decides_is_sound_every_day(calendar: Looker, april: list[pl.DataFrame]) -> None:
    days = [at_weekends(day) for day in april]
    known = feed.Known(calendar.model.schema, calendar.reference, LIMITS)
    assert feed.broken_days(scan(days, calendar).tallies, known) == {}
    for as_of in (FIRST + timedelta(days=some) for some in range(1, len(days))):
        section = feed.judge(scan(days[: (as_of - FIRST).days], calendar).tallies, known, as_of)
        assert not section.alarm, section.reason


def test_a_category_that_the_day_decides_is_missed_in_a_week(calendar: Looker, april: list[pl.DataFrame]) -> None:
    weekdays = [day.with_columns(dest=pl.lit("ATL")) for day in april]
    reading = judged(calendar, weekdays).reading(feed.GONE)
    assert reading is not None
    assert reading.alarm
    assert "no row has dest ORD" in reading.reason
    assert reading.reason.endswith("from 2013-04-29 to 2013-05-05")


def test_an_airport_is_missed_on_the_day_beside_a_category_that_the_day_decides(
    calendar: Looker, april: list[pl.DataFrame]
) -> None:
    known = feed.Known(calendar.model.schema, calendar.reference, LIMITS)
    days = changed([at_weekends(day) for day in april], without("LGA"))
    assert list(feed.broken_days(scan(days, calendar).tallies, known)) == [LAST]


def test_an_outage_of_a_day_in_training_does_not_make_a_category_one_that_the_day_decides() -> None:
    def every_day(share: float) -> bool:
        return bool(feed._every_day(["a"], Categories({"a": 100}, on_days={"a": share}))[0])

    assert every_day(0.991)
    assert not every_day(0.97)  # shut on ten days of a year


def test_where_nothing_is_known_of_days_a_category_is_missed_in_a_week_alone_and_that_is_said(
    looker: Looker, april: list[pl.DataFrame]
) -> None:
    older = without_fields(looker, "origin", on_days=None)
    reading = judged(older, changed(april, without("LGA"))).reading(feed.GONE)
    assert reading is not None
    assert not reading.alarm
    assert "does not say which of origin come every day" in reading.reason
    assert judged(older, changed(april, without("LGA"), 7)).alarm


def test_broken_days_are_named_and_sound_ones_are_not(looker: Looker, april: list[pl.DataFrame]) -> None:
    known = feed.Known(looker.model.schema, looker.reference, LIMITS)
    found = feed.broken_days(scan(changed(april, celsius, 2), looker).tallies, known)
    assert sorted(found) == [LAST - timedelta(days=1), LAST]
    assert "dewp <= temp" in found[LAST]


def test_a_relation_whose_columns_are_not_logged_is_said_not_to_be_checked(
    looker: Looker, april: list[pl.DataFrame]
) -> None:
    reading = judged(looker, [day.drop("dewp") for day in april]).reading(feed.RELATIONS)
    assert reading is not None
    assert "not checked" in reading.reason
