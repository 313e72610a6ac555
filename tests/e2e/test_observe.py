"""Months of 2013 played to production: decay is noticed, a retraining runs on the cluster, its gain is a pull request.

One story: each part starts where the last one ended. Needs the local cluster; the forge is the story's own.
"""

import json
import shutil
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from infra.local import demo, retraining
from infra.local.demo import stage
from infra.local.members import BOT
from infra.local.telling import Demo
from infra.local.watch import identity_of
from pipeline.monitoring.observation import OBSERVED_OVER_EXPECTED, Observation
from pipeline.progress import progress
from tests.checkouts import PROJECT
from tests.e2e.conftest import Cluster
from tests.e2e.figures import held_to_their_limits
from tests.e2e.playing import Change, Flights, in_celsius, without_la_guardia
from tests.e2e.watching import Watched

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

MARCH, MAY_4, JUNE_1, JULY_7, AUGUST, SEPTEMBER = (
    date(2013, month, day) for month, day in ((3, 31), (5, 4), (6, 1), (7, 7), (8, 31), (9, 30))
)
RETRAIN = 300.0  # from the event to the open pull request, seconds


@pytest.fixture(scope="module")
def story(cluster: Cluster) -> Iterator[Demo]:
    """A fork of this checkout as it is, on a forge of its own."""
    folder = PROJECT / "build" / "observe"
    with (
        progress() as say,
        stage(cluster.state, folder, say, uncommitted=True, title="Production is watched, and retrained") as told,
    ):
        yield told


@pytest.fixture(scope="module")
def watched(story: Demo) -> Iterator[Watched]:
    """Production has the window to 31 March, nobody but the story asks it, and the cluster can retrain."""
    demo.first_release(story)
    story.send_home()
    made = Watched(story, Flights.of(MARCH + timedelta(days=1), SEPTEMBER), MARCH)
    made.follow()
    with story.timeline.chapter("the cluster can retrain"):
        retraining.up(story.state, made.root, story.timeline.say)
    try:
        yield made
    finally:
        retraining.down(story.state, made.root)


# The first story, to the pull request.


def test_01_decay_is_reported_with_the_first_full_window_of_april_and_not_before(watched: Watched) -> None:
    with watched.story.timeline.chapter("April"):
        watched.play(MAY_4)
        before = (date(2013, 4, 14), date(2013, 4, 28), date(2013, 5, 4))
        assert {watched.observed(day).decay.decision for day in before} == {"too little"}
        found = watched.observed(date(2013, 5, 5))
        assert found.decay.decision == "alarm"
        assert found.window is not None
        assert (found.window.first, found.window.last) == (date(2013, 4, 1), date(2013, 4, 28))
        assert over(found) == pytest.approx(1.9, abs=0.1)
        assert not found.feed.alarm, found.feed.reason


def test_02_retraining_at_the_end_of_april_opens_no_pull_request_and_says_why(watched: Watched) -> None:
    with watched.story.timeline.chapter("a retraining at the end of April"):
        no_gain(watched, date(2013, 5, 5), date(2013, 4, 28))


def test_03_retraining_at_the_end_of_may_opens_exactly_one(watched: Watched) -> None:
    story, as_of = watched.story, date(2013, 6, 2)
    with story.timeline.chapter("a retraining at the end of May"):
        watched.play(JUNE_1)
        assert watched.observed(as_of).decay.alarm
        main = story.reviewer.head()
        story.mark()
        began = time.time()
        job = watched.retrain(as_of)
        (pull,) = story.until("the pull request is open", watched.proposals, RETRAIN * 3)
        story.timeline.figure("retrain event -> pull request open", time.time() - began, RETRAIN)
        story.timeline.event(f"#{pull.number} by {pull.author}: {pull.title}", pull.url)
        assert watched.ended(job) == "Complete"
        assert "was started already" in watched.run("retrain", "--engine", "job", "--as-of", str(as_of)).stdout
        assert pull.author == BOT
        assert pull.title.startswith("retrain: data to 2013-05-26, better by ")
        for said in ("observed/expected", "data.end", "logged rows of 28 days", "Gate report"):
            assert said in pull.body, said
        assert story.reviewer.head() == main, "nothing is pushed to main"
        assert [one["outcome"] for one in watched.attempts()] == ["no gain", "proposed"]


# Merged, it rolls out, and was worth it.


@pytest.mark.nightly
def test_04_merged_it_rolls_out_as_anybodys_change(watched: Watched) -> None:
    story = watched.story
    with story.timeline.chapter("the pull request is merged"):
        (pull,) = watched.proposals()
        shutil.copytree(watched.root / "build/production", old(watched))
        before = str(story.reviewer.released("production")["identity"])
        story.mark()
        identity = demo.rolls_out(story, pull)
        story.send_home()
        assert identity_of(story.rollout("production")) == identity != before
        assert not watched.proposals()


@pytest.mark.nightly
def test_05_alarm_of_late_june_brings_no_second_pull_request(watched: Watched) -> None:
    with watched.story.timeline.chapter("the alarm of late June"):
        watched.follow()
        watched.play(JULY_7)
        days = (date(2013, 6, 30) + timedelta(days=at) for at in range(9))
        as_of, found = next(((day, one) for day in days if (one := watched.observed(day)).decay.alarm), (JULY_7, None))
        assert found is not None, "production's own alarm is late"
        assert found.window is not None
        no_gain(watched, as_of, found.window.last)


@pytest.mark.nightly
def test_06_played_june_to_august_improve_on_the_old_model(watched: Watched) -> None:
    """The old model as the challenger: its loss less production's, on what production answered."""
    with watched.story.timeline.chapter("June to August"):
        watched.play(AUGUST)
        newest = watched.observed(date(2013, 9, 7)).version
        for day in (date(2013, 6, 29), date(2013, 7, 31), AUGUST):
            compared = json.loads(
                watched.run("shadow", str(old(watched)), "--last", str(day), "--json", check=False).stdout
            )
            assert compared["production"] == newest
            (loss,) = (one for one in compared["gate"]["checks"] if one["name"] == "loss")
            low, high = loss["interval"]
            watched.story.timeline.event(
                f"28 days to {day}: new less old model {-loss['statistic']:.4f} [{-high:.4f}, {-low:.4f}]"
            )
            assert -low < 0


# What may not be learnt from.


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(in_celsius, "dewp <= temp does not hold in", id="temperature in Celsius"),
        pytest.param(without_la_guardia, "no row has origin LGA", id="one airport missing"),
    ],
)
def test_07_broken_feed_is_reported_as_one_and_nothing_is_learnt_from_it(
    watched: Watched, change: Change, why: str
) -> None:
    with watched.story.timeline.chapter("a week of a broken feed"):
        tried, proposed = watched.attempts(), watched.proposals()
        watched.play(watched.played + timedelta(days=7), change)
        as_of = watched.played + timedelta(days=1)
        found = watched.observed(as_of)
        assert found.feed.alarm
        assert why in found.feed.reason
        job = watched.retrain(as_of)
        assert watched.ended(job) == "Failed"
        said = watched.said(job, "decide")
        assert "refused: the feed is broken, and a model must not learn from it" in said
        assert why in said
        assert (watched.attempts(), watched.proposals()) == (tried, proposed)


def test_08_unchanged_days_alarm_within_the_stated_rate(watched: Watched) -> None:
    with watched.story.timeline.chapter("unchanged days, drawn again"):
        found = json.loads(watched.run("backtest", "--json").stdout)
        given = found["given"]
        watched.story.timeline.event(f"{given['streams']} streams, of which alarm: {given['per_stream']:.1%}")
        assert given["streams"] == 200
        assert given["per_stream"] <= found["stated"]


def test_09_every_figure_is_within_its_limit(watched: Watched, pytestconfig: pytest.Config) -> None:
    held_to_their_limits(watched.story.timeline, pytestconfig)


def no_gain(watched: Watched, as_of: date, window_end: date) -> None:
    """A retraining that runs to its end, and proposes nothing."""
    main, open_before = watched.story.reviewer.head(), watched.proposals()
    job = watched.retrain(as_of)
    assert watched.ended(job) == "Complete"
    newest = watched.attempts()[-1]
    assert (newest["outcome"], newest["window_end"]) == ("no gain", str(window_end)), newest
    assert "must gain at least the margin" in newest["reason"]
    watched.story.timeline.event(f"no gain: {newest['reason']}")
    assert watched.proposals() == open_before == []
    assert watched.story.reviewer.head() == main


def old(watched: Watched) -> Path:
    """Where the bundle is kept that was replaced."""
    return watched.story.folder / "replaced"


def over(found: Observation) -> float:
    """Observed/expected."""
    reading = found.decay.reading(OBSERVED_OVER_EXPECTED)
    assert reading is not None
    assert reading.value is not None
    return reading.value
