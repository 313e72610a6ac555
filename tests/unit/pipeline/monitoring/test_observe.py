"""One look: what is said of the rows that were read."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.monitoring import observe
from pipeline.monitoring.config import DecayLimits, Monitoring
from pipeline.monitoring.observation import Observation, read_observation
from pipeline.monitoring.observe import Look
from pipeline.monitoring.play.looks import Looks
from pipeline.monitoring.scan import Looker, scan
from pipeline.monitoring.store import Store
from tests import monitored, observed

AS_OF = date(2013, 5, 6)
RULES = Monitoring(decay=DecayLimits(resamples=200))
FIRST = monitored.END + timedelta(days=1)


@pytest.fixture(scope="module")
def looker(tmp_path_factory: pytest.TempPathFactory) -> Looker:
    return monitored.looker(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def april(looker: Looker) -> list[pl.DataFrame]:
    return list(monitored.logged(looker.bundle.path, looker.bundle.version, FIRST, (AS_OF - FIRST).days))


def looked(looker: Looker, april: list[pl.DataFrame], *wrong: date) -> Observation:
    """A look at days that are all labelled; on some, temperature comes in another unit."""
    days = [celsius(one) if one["day"][0] in wrong else one for one in april]
    return observe.judge(scan(days, looker), Look(looker, RULES, AS_OF, 1e-5), 0, None)


def celsius(day: pl.DataFrame) -> pl.DataFrame:
    return day.with_columns(temp=(pl.col("temp") - 32) / 1.8)


@pytest.mark.parametrize("back", [8, 14, 20])
def test_a_broken_day_is_told_of_when_the_newest_week_is_sound_again(
    looker: Looker, april: list[pl.DataFrame], back: int
) -> None:
    day = AS_OF - timedelta(days=back)
    found = looked(looker, april, day)
    assert found.window is not None
    assert found.window.first <= day <= found.window.last
    assert [one.day for one in found.broken] == [day]
    assert found.broken[0].fault.startswith("dewp <= temp does not hold in ")
    assert not found.feed.alarm, found.feed.reason


def test_broken_days_are_in_order_and_sound_ones_are_not_among_them(looker: Looker, april: list[pl.DataFrame]) -> None:
    days = [AS_OF - timedelta(days=back) for back in (20, 8, 1)]
    assert [one.day for one in looked(looker, april, *reversed(days)).broken] == days
    assert looked(looker, april).broken == ()


def test_a_broken_day_beyond_the_history_is_told_of_and_nothing_else_is_said_of_it(
    looker: Looker, april: list[pl.DataFrame], tmp_path: Path
) -> None:
    """Decay reads `history_days`; a retraining learns everything since production's data ended."""
    decay = DecayLimits(history_days=28, days=7, min_blocks=5, resamples=200)
    look, store = Look(looker, Monitoring(decay=decay), AS_OF, 1e-5), stored(tmp_path, [celsius(april[0]), *april[1:]])
    older = observe._older(store, look, lambda _: None)
    assert sorted(older) == [FIRST + timedelta(days=at) for at in range((look.first - FIRST).days)] != []
    found = observe.judge(scan(store.batches(look.first, look.last), looker), look, 0, None, older)
    assert [one.day for one in found.broken] == [FIRST]
    assert found.curves[0].x[0] == look.first.toordinal()
    assert observe._older(store, Look(looker, RULES, AS_OF, 1e-5), pytest.fail) == {}


@pytest.mark.parametrize("history", [28, 180])
def test_a_played_morning_tells_of_the_same_broken_days(
    looker: Looker, april: list[pl.DataFrame], tmp_path: Path, history: int
) -> None:
    store = stored(tmp_path, [celsius(april[0]), *april[1:]])
    rules = Monitoring(decay=DecayLimits(history_days=history, days=7, min_blocks=5, resamples=200))
    assert [one.day for one in Looks(store, looker, rules, 1e-5).at(AS_OF).broken] == [FIRST]


def stored(root: Path, days: list[pl.DataFrame]) -> Store:
    """A store of these rows, as a server logs them, without labels."""
    features = {name: days[0].schema[name] for name in ("temp", "dewp", "seats", "origin", "dest")}
    made = observed.store(root / "kept", features=features)
    rows = (row for day in days for row in day.iter_rows(named=True))
    added = made.add_predictions(
        observed.line(
            row["id"],
            row["time"].isoformat().replace("+00:00", "Z"),
            version=row["version"],
            score=row["score"],
            features={name: row[name] for name in features},
        )
        for row in rows
    )
    assert (added.skipped, len(added.days)) == (0, len(days))
    return made


def test_what_was_found_is_written_and_read_again(looker: Looker, april: list[pl.DataFrame], tmp_path: Path) -> None:
    found = looked(looker, april, AS_OF - timedelta(days=8))
    observe.write(tmp_path, found)
    assert read_observation(tmp_path / observe.PATH).broken == found.broken
