"""Monitoring on the flights of 2013: decay in April and not before, a broken feed told from a season."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

import model
from pipeline.context import Context
from pipeline.gates.load_server import free_port
from pipeline.monitoring import backtest, observe, report
from pipeline.monitoring.config import Monitoring
from pipeline.monitoring.labels import Label
from pipeline.monitoring.observation import OBSERVED_OVER_EXPECTED, Observation, read_observation
from pipeline.monitoring.observe import Look
from pipeline.monitoring.played import batches
from pipeline.monitoring.reference import read_reference
from pipeline.monitoring.rescoring import SCORES
from pipeline.monitoring.scan import Looker, Scanned, scan
from pipeline.monitoring.store import open_store
from serving import bundle
from tests.checkouts import Checkout
from tests.integration.test_real_pairs import trained

pytestmark = pytest.mark.flights

RULES = Monitoring()
PARITY = 1e-5
LATE = timedelta(days=7)


@dataclass(frozen=True)
class Played:
    """A model in production, and the flights after its own data as it would have answered them."""

    context: Context
    looker: Looker
    days: dict[date, pl.DataFrame]
    scanned: Scanned

    def observed(self, as_of: date, late: timedelta = timedelta(days=1), scanned: Scanned | None = None) -> Observation:
        """One look on a day: the days before it are logged, those `late` before it have labels."""
        all_of = scanned or self.scanned
        known = {day for day in all_of.tallies if day + late <= as_of}
        seen = Scanned(
            tallies={day: one for day, one in all_of.tallies.items() if day < as_of},
            labelled={day: many if day in known else 0 for day, many in all_of.labelled.items() if day < as_of},
            cells={key: sums for key, sums in all_of.cells.items() if key[0] in known},
            samples={day: one for day, one in all_of.samples.items() if day < as_of},
        )
        look = Look(self.looker, RULES, as_of, PARITY)
        return observe.judge(seen, look, sum(one.labelled for one in seen.days), None)

    def changed(self, change: Callable[[pl.DataFrame], pl.DataFrame], first: date, last: date) -> Scanned:
        """The same days, some of them changed on their way."""
        days = [change(frame) if first <= day <= last else frame for day, frame in self.days.items()]
        return scan(days, self.looker)


def played(root: Path, end: str, until: str) -> Played:
    context = trained(root, end)
    opened = bundle.load(root / "build/bundle")
    looker = Looker(context.model, opened, read_reference(opened.path, opened.version))
    given = context.params.of_model()
    later = model.load({**given, "data": {"start": end, "end": until}})
    frames = {frame["day"][0]: frame for frame in batches(later.prepare(later.fetch()), looker.model.schema, opened)}
    after = date.fromisoformat(end)
    days = {day: frame for day, frame in frames.items() if day > after}
    return Played(context, looker, days, scan(days.values(), looker))


@pytest.fixture(scope="module")
def spring(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Production has the window to 31 March; the flights until August."""
    return played(tmp_path_factory.mktemp("march"), "2013-03-31", "2013-08-31")


@pytest.fixture(scope="module")
def autumn(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Production has the window to 30 September; the flights until the end of the year."""
    return played(tmp_path_factory.mktemp("september"), "2013-09-30", "2013-12-30")


def over(found: Observation) -> float:
    reading = found.decay.reading(OBSERVED_OVER_EXPECTED)
    assert reading is not None
    assert reading.value is not None
    return reading.value


def at_window(found: Observation, last: date) -> float:
    (one,) = (one for one in found.history if one.last == last)
    assert one.observed_over_expected is not None
    return one.observed_over_expected


def test_decay_is_reported_with_the_first_full_window_of_april_and_not_before(spring: Played) -> None:
    """Labels come a week late: the window of 1 to 28 April is whole on 5 May."""
    looks = {day: spring.observed(day, LATE) for day in (date(2013, 4, 2) + timedelta(days=at) for at in range(34))}
    decided = {day: found.decay.decision for day, found in looks.items()}
    first = date(2013, 5, 5)
    assert decided.pop(first) == "alarm"
    assert set(decided.values()) == {"too little"}
    found = looks[first]
    assert found.window is not None
    assert (found.window.first, found.window.last) == (date(2013, 4, 1), date(2013, 4, 28))
    assert over(found) == pytest.approx(1.9, abs=0.1)
    assert found.exit_code == 1


@pytest.mark.parametrize(
    ("which", "first", "days"), [("spring", date(2013, 4, 9), 144), ("autumn", date(2013, 10, 9), 82)]
)
def test_no_day_has_a_broken_feed(which: str, first: date, days: int, request: pytest.FixtureRequest) -> None:
    given: Played = request.getfixturevalue(which)
    looks = [given.observed(first + timedelta(days=at)) for at in range(0, days, 3)]
    assert [(one.as_of, one.feed.reason) for one in looks if one.feed.alarm] == []
    assert all(not one.drift.alarm for one in looks)


def test_seasonal_columns_have_moved_far_and_stable_ones_have_not(spring: Played) -> None:
    found = spring.observed(date(2013, 7, 31)).drift
    psi = {one.name: one.value for one in found.readings if one.value is not None}
    assert psi["temp"] > 1
    assert psi["dewp"] > 1
    for name in ("hour", "weekday", "distance", "age", "seats", "carrier", "origin"):
        assert psi[name] < 0.1, name
    assert psi["dest"] < RULES.feed.max_psi, "some destinations are new"
    assert found.decision == "quiet"


def test_october_expects_too_much_and_december_too_little(autumn: Played) -> None:
    found = autumn.observed(date(2013, 12, 31))
    assert at_window(found, date(2013, 10, 28)) == pytest.approx(0.7, abs=0.05)
    assert at_window(found, date(2013, 12, 28)) == pytest.approx(1.35, abs=0.05)
    assert found.decay.alarm
    assert not found.feed.alarm


def test_autumn_alarms_once_the_model_expects_too_little(autumn: Played) -> None:
    found = autumn.observed(date(2013, 12, 31))
    alarms = [one.last for one in found.history if one.alarm]
    assert date(2013, 12, 1) < alarms[0] < date(2013, 12, 20)


def test_temperature_in_celsius_is_a_broken_feed_and_no_decay(spring: Played) -> None:
    as_of = date(2013, 4, 30)
    celsius = spring.changed(lambda day: day.with_columns(temp=(pl.col("temp") - 32) / 1.8), date(2013, 4, 10), as_of)
    found = spring.observed(as_of, scanned=celsius)
    assert found.feed.alarm
    assert "dewp <= temp does not hold in 9" in found.feed.reason
    assert not found.decay.alarm
    assert "of a broken feed" in found.decay.reason


def test_one_airport_missing_is_a_broken_feed(spring: Played) -> None:
    as_of = date(2013, 4, 16)
    without = spring.changed(lambda day: day.filter(pl.col("origin") != "LGA"), date(2013, 4, 9), as_of)
    found = spring.observed(as_of, scanned=without)
    assert found.feed.alarm
    assert "no row has origin LGA" in found.feed.reason
    assert "origin (PSI 2." in found.feed.reason


def test_one_airport_missing_is_noticed_the_day_after(spring: Played) -> None:
    as_of = date(2013, 4, 16)
    without = spring.changed(lambda day: day.filter(pl.col("origin") != "LGA"), date(2013, 4, 15), as_of)
    assert "on 2013-04-15" in spring.observed(as_of, scanned=without).feed.reason


def test_scores_that_production_never_gave_are_no_feed_to_learn_from(spring: Played) -> None:
    as_of = date(2013, 4, 16)
    sound = spring.observed(as_of).feed
    altered = spring.changed(lambda day: day.with_columns(score=pl.col("score") + 1e-3), date(2013, 4, 15), as_of)
    found = spring.observed(as_of, scanned=altered).feed
    (said,) = (one.reason for one in sound.readings if one.name == SCORES)
    assert said.startswith("1,400 of ")
    assert not sound.alarm
    assert found.alarm
    assert found.reason.startswith("logged scores: request ")


@pytest.mark.parametrize("which", ["spring", "autumn"])
def test_unchanged_days_alarm_within_the_stated_rate(which: str, request: pytest.FixtureRequest) -> None:
    given: Played = request.getfixturevalue(which)
    found = backtest.run(given.looker.reference, "classification", RULES.decay)
    assert found.given.per_stream <= found.stated
    assert found.sampled.per_stream <= 0.15


def test_a_held_out_month_played_again_is_quiet(spring: Played) -> None:
    """April's rows with March's rate: labels are drawn from the scores, as if nothing had changed."""
    random = np.random.default_rng(1)
    ratio = 1.09

    def redrawn(day: pl.DataFrame) -> pl.DataFrame:
        late = random.uniform(size=len(day)) < ratio * day["score"].to_numpy()
        return day.with_columns(label=pl.Series(late.astype(float)))

    same = spring.changed(redrawn, date(2013, 4, 1), date(2013, 8, 31))
    found = spring.observed(date(2013, 5, 15), scanned=same)
    assert found.decay.decision == "quiet", found.decay.reason


def log_lines(days: list[pl.DataFrame], version: str) -> list[bytes]:
    lines = []
    for row in (row for day in days for row in day.iter_rows(named=True)):
        moment = row["time"].isoformat().replace("+00:00", "Z")
        features = {
            name: value for name, value in row.items() if name not in {"id", "day", "time", "version", "score", "label"}
        }
        line = {"time": moment, "event_time": moment, "id": row["id"], "request": "r", "model": "flight-delays"}
        lines.append(
            msgspec.json.encode(
                {**line, "version": version, "features": features, "score": row["score"], "latency": 0.001}
            )
        )
    return lines


def test_observe_reads_the_store_and_leaves_everything_for_people_and_machines(spring: Played) -> None:
    root = spring.context.root
    days = [spring.days[date(2013, 4, 1) + timedelta(days=at)] for at in range(34)]
    store = open_store(Context(root))
    assert store.add_predictions(log_lines(days, spring.looker.bundle.version)).skipped == 0
    known = (
        Label(id=row["id"], label=row["label"], event_day=row["day"])
        for day in days
        for row in day.iter_rows(named=True)
        if row["label"] is not None
    )
    store.add_labels(known, datetime(2013, 5, 5, tzinfo=UTC))
    made = Checkout(root)
    done = made.run("flightline", "observe", "--as-of", "2013-05-05", "--json", check=False)
    assert done.returncode == 1, done.stderr
    found = read_observation(root / "build/observation.json")
    assert json.loads(done.stdout) == json.loads(found.model_dump_json())
    assert "ALARM  2013-05-05" in done.stderr
    assert found.decay.alarm
    assert found.labels is not None
    assert found.new_labels == found.labels.new == sum(day["label"].is_not_null().sum() for day in days)
    assert "flightline_decay_alarm" in (root / "build/observation.prom").read_text()
    assert "The model has decayed" in (root / "build" / report.NAME).read_text()
    again = made.run("flightline", "observe", "--as-of", "2013-05-05", check=False)
    assert again.returncode == 1
    assert len((root / "build/observations.jsonl").read_text().splitlines()) == 1


def test_observe_with_the_store_away_is_told_and_leaves_the_last_look(spring: Played) -> None:
    last = spring.context.root / "build/observation.json"
    last.write_text("the last look")
    bucket = {"FLIGHTLINE_STORE": "s3://observed", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    access = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    done = Checkout(spring.context.root).run(
        "flightline", "observe", "--as-of", "2013-05-05", check=False, **bucket, **access
    )
    assert done.returncode == 69
    assert "s3://observed: " in done.stderr.splitlines()[-1]
    assert last.read_text() == "the last look"


def test_an_older_bundle_is_too_little_for_decay_and_the_rest_is_said(spring: Played) -> None:
    older = replace(spring.looker.reference, blocks=None, reason="made before held-out days were kept in it")
    found = replace(spring, looker=replace(spring.looker, reference=older)).observed(date(2013, 5, 5))
    assert (found.decay.decision, found.feed.decision) == ("too little", "quiet")
    assert found.exit_code == 2
