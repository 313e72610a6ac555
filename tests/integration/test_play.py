"""`make observe` on a small fork whose world turns: noticed, not learnable at first, then learnt, merged and better."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.monitoring.play.story import Story
from tests.checkouts import Checkout, checkout
from tests.integration.test_forks import FORKS

# `make observe-test` plays the same story on the cluster.
pytestmark = [pytest.mark.alone, pytest.mark.nightly]

TURN, LATE = date(2024, 4, 1), timedelta(days=2)
WINDOW = timedelta(days=28)
FOLDER = "build/observe"


def quick(document: dict[str, Any]) -> None:
    """Speed is not the matter here, and of a world that turned most decisions are to be others."""
    document["gates"]["load"].update(rounds=3, max_rounds=6, stress_users=[1], max_slowdown=5.0)
    document["gates"]["differential"]["max_flip_share"] = 1.0


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The fork, with a file that is not committed and remotes that are nobody's."""
    made = checkout(tmp_path_factory.mktemp("turning"))
    made.fork(FORKS / "turning")
    made.edit_params(quick)
    made.commit("quick")
    (made.root / "notes.txt").write_text("mine\n")
    shutil.rmtree(made.root / ".remotes", ignore_errors=True)
    return made


def state(made: Checkout) -> tuple[str, ...]:
    """What a play must leave as it is."""
    said = [("status", "--porcelain=v2", "--branch"), ("for-each-ref",), ("stash", "list"), ("config", "--list")]
    there = [name for name in (".observed", ".remotes", "build/bundle") if (made.root / name).exists()]
    return (*(made.run("git", *words).stdout for words in said), *there)


def test_the_world_turns_and_the_play_tells_it_whole_however_often_it_is_killed(turning: Checkout) -> None:
    before = state(turning)
    turning.kill_once("2024-04-10  [", "flightline", "play")
    turning.kill_once(": gate", "flightline", "play")
    done = turning.run("flightline", "play", FLIGHTLINE_STORE="s3://nobody/nothing")
    assert state(turning) == before
    story = Story.model_validate_json((turning.root / FOLDER / "story.json").read_text())
    _check_looks(story)
    _check_attempts(story, done.stdout)
    _check_afterwards(story)
    _check_pages(turning.root / FOLDER, story)
    again = turning.run("flightline", "play", "--json")
    assert json.loads(again.stdout) == json.loads(story.model_dump_json())
    assert "rows to be played" not in again.stderr


def _check_looks(story: Story) -> None:
    """A look each morning, every row answered, decay with the first full window and not before."""
    assert story.whole
    assert [one.as_of for one in story.days] == [TURN + timedelta(days=1 + at) for at in range(70)]
    assert {(one.rows, one.refused) for one in story.days} == {(200, 0)}
    assert story.first_alarm is not None
    assert story.first_alarm.as_of == TURN + WINDOW - timedelta(days=1) + LATE
    assert {one.decay.decision for one in story.days if one.as_of < story.first_alarm.as_of} == {"too little"}
    assert {one.feed for one in story.days} <= {"quiet", "too little"}


def _check_attempts(story: Story, printed: str) -> None:
    """The first window holds the new tastes only out; the second has learnt them. One proposal, merged at once."""
    first, second = story.tried
    assert (first.window_end, first.outcome) == (TURN + WINDOW - timedelta(days=1), "no gain")
    assert (second.window_end, second.outcome) == (first.window_end + WINDOW, "proposed")
    assert second.interval is not None
    assert second.interval[1] < 0
    versions = {one.version: one.as_of for one in story.days}
    assert list(versions) == [first.version, second.candidate]
    assert versions[first.version] == second.as_of
    assert f"{second.as_of}  merged: " in printed


def _check_afterwards(story: Story) -> None:
    (swap,) = story.swaps
    assert swap.total is not None
    assert swap.total.first == swap.as_of
    assert swap.total.difference < 0
    assert swap.total.rows == 200 * swap.total.days


def _check_pages(folder: Path, story: Story) -> None:
    text = (folder / "index.html").read_text()
    assert "a newer one took its place" in text
    for one in story.tried:
        for _, path in one.details:
            assert f'href="{path}"' in text
            assert (folder / path).is_file()


def test_rows_without_event_time_cannot_be_played_and_it_says_what_to_do(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    made.fork(FORKS / "grouped")
    done = made.run("flightline", "play", check=False)
    assert (done.returncode, done.stdout) == (65, "")
    assert "name its column in schema.event_time" in done.stderr
    assert not (tmp_path / FOLDER / "tree").exists()


def test_days_without_a_row_are_told(turning: Checkout) -> None:
    done = turning.run("flightline", "play", "--from", "2025-01-01", "--to", "2025-01-31", check=False)
    assert done.returncode == 64
    assert "gives no row from 2025-01-01 to 2025-01-31" in done.stderr
