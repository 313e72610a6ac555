"""How far columns moved: by PSI, which seasons move as well, and which therefore never alarms by itself."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from pipeline.monitoring import drift
from pipeline.monitoring.observation import Section
from pipeline.monitoring.scan import Looker, scan
from pipeline.monitoring.tally import total
from tests import monitored


@pytest.fixture(scope="module")
def looker(tmp_path_factory: pytest.TempPathFactory) -> Looker:
    return monitored.looker(tmp_path_factory.mktemp("bundle"))


def judged(looker: Looker, **changed: float) -> Section:
    """A month of April, with columns shifted."""
    days = monitored.logged(looker.bundle.path, looker.bundle.version, date(2013, 4, 1), 28)
    moved = [day.with_columns(**{name: day[name] + by for name, by in changed.items()}) for day in days]
    found = total(scan(moved, looker).tallies.values())
    return drift.judge(found, looker.model.schema, looker.reference, "April")


def value(section: Section, name: str) -> float:
    reading = section.reading(name)
    assert reading is not None
    assert reading.value is not None
    return reading.value


def test_psi_of_equal_counts_is_zero_and_grows_with_distance() -> None:
    counts = np.array([100, 200, 300])
    assert drift.psi(counts, counts) == 0
    assert 0 < drift.psi(np.array([110, 200, 290]), counts) < 0.01 < drift.psi(np.array([300, 200, 100]), counts)


def test_psi_by_hand() -> None:
    counts, reference = np.array([30, 70]) * 1000, np.array([50, 50]) * 1000
    wanted = (0.3 - 0.5) * np.log(0.3 / 0.5) + (0.7 - 0.5) * np.log(0.7 / 0.5)
    assert drift.psi(counts, reference) == pytest.approx(wanted, abs=1e-4)


def test_an_empty_bin_gives_a_figure() -> None:
    assert 1 < drift.psi(np.array([0, 1000]), np.array([500, 500])) < 10


def test_a_constant_column_has_not_moved_and_another_constant_has() -> None:
    constant = np.array([0, 1000, 0])
    assert drift.psi(constant, constant) == 0
    assert drift.psi(np.array([0, 0, 1000]), constant) > 5


def test_unchanged_days_have_hardly_moved(looker: Looker) -> None:
    section = judged(looker)
    assert max(one.value or 0 for one in section.readings) < 0.1


def test_a_seasonal_column_that_moved_far_is_reported_and_no_alarm(looker: Looker) -> None:
    section = judged(looker, temp=40.0, dewp=40.0)
    assert value(section, "temp") > 2
    assert (section.alarm, section.decision) == (False, "quiet")
    assert "temp" in section.reason or "dewp" in section.reason


def test_the_score_is_among_the_readings(looker: Looker) -> None:
    assert value(judged(looker), drift.SCORE) < 0.1


def test_a_column_of_nulls_is_told_from_one_that_is_not_logged(looker: Looker) -> None:
    days = monitored.logged(looker.bundle.path, looker.bundle.version, date(2013, 4, 1), 2)
    frames = [day.with_columns(seats=pl.lit(None, pl.Float64)).drop("dest") for day in days]
    section = drift.judge(total(scan(frames, looker).tallies.values()), looker.model.schema, looker.reference, "April")
    said = {one.name: one.reason for one in section.readings if one.value is None}
    assert said == {"seats": "no logged row has a value", "dest": "the log does not carry it"}


def test_no_rows_is_too_little(looker: Looker) -> None:
    found = drift.judge(None, looker.model.schema, looker.reference, "April")
    assert (found.decision, found.alarm) == ("too little", False)
    assert "April" in found.reason
