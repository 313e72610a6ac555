"""A broken feed is told from a season: what is impossible alarms on the day, what only moves does not."""

from collections.abc import Callable
from datetime import date, timedelta

import polars as pl
import pytest

from pipeline.gates.decide import percent
from pipeline.monitoring import feed
from pipeline.monitoring.config import FeedLimits
from pipeline.monitoring.observation import Section
from pipeline.monitoring.scan import Looker, scan
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


def test_a_constant_column_is_quiet(
    looker: Looker, april: list[pl.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> None:
    constant = [day.with_columns(seats=pl.lit(100.0)) for day in april]
    # The reference knows the column as constant, too: what training saw is what comes.
    known = looker.reference.features["seats"]
    import dataclasses

    import numpy as np

    from pipeline.monitoring.reference import Numbers

    features = {
        **looker.reference.features,
        "seats": Numbers(np.array([100.0, 101.0]), np.array([5000.0]), known.nulls),
    }
    same = dataclasses.replace(looker, reference=dataclasses.replace(looker.reference, features=features))
    assert not judged(same, constant).alarm


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
