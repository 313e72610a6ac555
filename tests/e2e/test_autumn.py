"""October to December played: the alarm is right, no newer window helps, and nothing is proposed.

Told without a cluster: a server, its log, a git remote and a forge in memory. Nothing in it depends on where it runs.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest

from infra.local.components import answers
from infra.local.timeline import Timeline
from pipeline.gates.load_server import free_port
from pipeline.monitoring.observation import PATH, Observation, read_observation
from tests import forges
from tests.checkouts import Checkout, checkout
from tests.e2e.playing import LATE, Flights
from tests.forges import REPOSITORY
from tests.integration.test_retrain_flights import quick, release

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1800)]

SEPTEMBER, DECEMBER = date(2013, 9, 30), date(2013, 12, 23)
START_SECONDS = 300.0


@pytest.fixture(scope="module")
def autumn(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Production has the window to 30 September; main is at a remote. The load gate is short."""
    made = checkout(tmp_path_factory.mktemp("autumn") / "here")
    quick(made)
    params = made.root / "params.yaml"
    params.write_text(params.read_text().replace('end: "2013-03-31"', f'end: "{SEPTEMBER}"'))
    made.run("dvc", "repro", OMP_NUM_THREADS="1", PYTHONHASHSEED="0")
    made.commit("the lock")
    release(made)
    remote = made.root.with_name("remote.git")
    subprocess.run(["git", "clone", "-q", "--bare", str(made.root), str(remote)], check=True)
    made.run("git", "remote", "add", "origin", str(remote))
    made.run("git", "fetch", "-q", "origin")
    return made


@contextmanager
def server(made: Checkout, log: Path) -> Iterator[str]:
    """Production's bundle, served; its prediction log goes to a file, whole when the block has ended."""
    port = free_port()
    settings = {"FLIGHTLINE_PORT": str(port), "FLIGHTLINE_BUNDLE": str(made.root / "build/bundle")}
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "serving"], stdout=out, env={**os.environ, **settings})
        try:
            _wait(f"http://127.0.0.1:{port}/readyz")
            yield f"http://127.0.0.1:{port}/predict"
        finally:
            process.terminate()
            assert process.wait(30) == 0


def _wait(address: str) -> None:
    ready, deadline = answers(address), time.monotonic() + START_SECONDS
    while not ready():
        assert time.monotonic() < deadline, f"{address} does not answer"
        time.sleep(0.1)


def observed(made: Checkout, flights: Flights, as_of: date, told: date) -> Observation:
    """A look, after the outcomes of the days from `told` on have come that are known by then."""
    labels = flights.between(told, as_of - LATE).labels(made.root / f"labels-{as_of}.csv")
    made.run("flightline", "labels", "add", str(labels), "--as-of", str(as_of))
    assert made.run("flightline", "observe", "--as-of", str(as_of), check=False).returncode in {0, 1, 2}
    return read_observation(made.root / PATH)


def test_autumn_s_alarm_is_right_and_nothing_is_learnt_from_it(autumn: Checkout) -> None:
    flights = Flights.of(SEPTEMBER + timedelta(days=1), DECEMBER)
    timeline, log = Timeline("Autumn"), autumn.root / "build/predictions.jsonl"
    with timeline.chapter("October to December are played"), server(autumn, log) as address:
        asked = flights.play(address)
        timeline.event(f"{asked:,} rows")
    autumn.run("flightline", "log", "add", str(log))
    kept = json.loads(autumn.run("flightline", "log", "days", "--json").stdout)
    assert sum(one["predictions"] for one in kept) == asked
    with timeline.chapter("a look a week"):
        first_alarm = looked(autumn, flights, timeline)
    assert date(2013, 12, 10) < first_alarm.as_of <= date(2013, 12, 31)
    assert not first_alarm.feed.alarm
    with timeline.chapter("a retraining"):
        tried(autumn, first_alarm, timeline)


def looked(made: Checkout, flights: Flights, timeline: Timeline) -> Observation:
    """The first alarm of decay, looked for once a week."""
    told, as_of = SEPTEMBER + timedelta(days=1), date(2013, 10, 15)
    while as_of <= DECEMBER + LATE:
        found = observed(made, flights, as_of, told)
        told, as_of = as_of - LATE + timedelta(days=1), as_of + timedelta(days=7)
        timeline.event(f"{found.as_of}: feed {found.feed.decision}, decay {found.decay.decision}")
        if found.decay.alarm:
            return found
    raise AssertionError("no alarm")


def tried(made: Checkout, seen: Observation, timeline: Timeline) -> None:
    """A retraining as of that day, on a forge that would take a pull request."""
    main = made.run("git", "rev-parse", "origin/main").stdout
    with forges.serving() as (address, played):
        forge = {"GITHUB_API_URL": address, "GITHUB_REPOSITORY": REPOSITORY, "FLIGHTLINE_TOKEN": "for-tests-only"}
        words = ("flightline", "retrain", "--engine", "local", "--as-of", str(seen.as_of), "--json")
        ended = json.loads(made.run(*words, **forge).stdout)
        timeline.event(f"{ended['outcome']}: {ended['reason']}")
        assert (ended["outcome"], played.pulls) == ("no gain", [])
    assert "must gain at least the margin" in ended["reason"]
    assert "the change looks seasonal" in ended["reason"]
    assert "not learnable from this history" in ended["reason"]
    assert made.run("git", "ls-remote", "origin", "refs/heads/main").stdout.split()[0] == main.strip()
