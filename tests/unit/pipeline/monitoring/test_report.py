"""The page of an observation says what is in it, whole and by itself."""

import re
from pathlib import Path

import pytest

from pipeline.monitoring import report
from pipeline.monitoring.observation import RESIDUAL, Observation, Reading, Section, section
from pipeline.verdict import Table
from tests.observations import QUIET, observation

UNKNOWN = Section(alarm=False, decision="too little", reason="12 labelled days since 2013-04-01")
BROKEN = section((Reading(name="ranges", value=0.4, high=0.001, alarm=True, reason="seats is outside its range"),), "")


def page(found: Observation, out: Path) -> str:
    return report.render(found, out).read_text()


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({}, "The model has decayed"),
        ({"decay": QUIET}, "Nothing is wrong"),
        ({"decay": QUIET, "feed": BROKEN}, "The feed is broken"),
        ({"feed": BROKEN}, "The feed is broken, and the model has decayed"),
        ({"decay": UNKNOWN, "window": None, "history": ()}, "Too few labels to tell decay"),
    ],
)
def test_the_headline_is_the_answer(tmp_path: Path, changes: dict, headline: str) -> None:
    assert f"<h1>{headline}</h1>" in page(observation(**changes), tmp_path)


def test_the_same_observation_gives_the_same_bytes(tmp_path: Path) -> None:
    assert page(observation(), tmp_path) == page(observation(), tmp_path / "again")


def test_it_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    text = page(observation(), tmp_path)
    assert not re.search(r"<script|<link|src=|https?://(?!www\.w3\.org)", text)


def test_every_question_has_a_section_with_its_pictures(tmp_path: Path) -> None:
    text = page(observation(), tmp_path)
    for name in ("decay", "feed", "drift", "labels"):
        assert f'<section id="{name}">' in text
    for name in ("decay-observed-over-expected", "decay-skill", "feed-shares", "feed-rows", "drift-psi", "drift-score"):
        assert f'<figure id="{name}">' in text


@pytest.mark.filterwarnings("error:constrained_layout not applied")
def test_counts_and_losses_of_the_window_are_each_in_their_own_digits(tmp_path: Path) -> None:
    rows = (("labelled rows", 25_558, 25_297), ("mean loss", 0.6015, 0.489))
    text = page(
        observation(tables=(Table(name="window", columns=("", "window", "held-out rows"), rows=rows),)), tmp_path
    )
    for said in ("25,558", "25,297", ".6015", ".4890"):
        assert f">{said}<" in text


def test_limits_and_days_are_drawn(tmp_path: Path) -> None:
    text = page(observation(), tmp_path)
    assert "limit" in text
    assert "2013-04-26" in text


def test_what_comes_from_data_is_escaped(tmp_path: Path) -> None:
    odd = Section(alarm=False, decision="quiet", reason="<b>bold</b>")
    assert "<b>bold</b>" not in page(observation(feed=odd), tmp_path)


def test_a_regression_shows_its_residual(tmp_path: Path) -> None:
    decay = section((Reading(name=RESIDUAL, value=2.0, low=-1.0, high=1.0, alarm=True, reason="2 minutes"),), "")
    history = tuple(
        one.model_copy(update={"residual": 2.0, "observed_over_expected": None}) for one in observation().history
    )
    assert '<figure id="decay-residual">' in page(observation(decay=decay, history=history), tmp_path)


def test_nothing_observed_yet_is_still_a_page(tmp_path: Path) -> None:
    empty = observation(
        decay=UNKNOWN,
        window=None,
        history=(),
        tables=(),
        curves=(),
        labels=None,
        new_labels=0,
        data_end=None,
        drift=UNKNOWN,
    )
    assert "12 labelled days" in page(empty, tmp_path)


def test_the_line_for_the_terminal_names_day_bundle_and_answers() -> None:
    assert report.headline(observation()) == "ALARM  2013-04-29, aaaaaaaaaaaa: decay alarm, feed quiet"
