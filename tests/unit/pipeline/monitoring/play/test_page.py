import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from pipeline.monitoring.play import page
from pipeline.monitoring.play.calendar import events, months
from pipeline.monitoring.play.story import Story
from tests import plays


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "The model decayed, and a newer one took its place"),
        ({"tried": (plays.tried(date(2013, 4, 28), "no gain", -0.004),)}, "no newer window was a gain"),
        ({"tried": (), "days": plays.mornings()[:20]}, "The model has not decayed"),
        ({"whole": False}, "not at its end"),
    ],
)
def test_the_headline_says_how_it_went(changes: dict, said: str) -> None:
    assert said in page.arrange(plays.story(**changes)).headline


def test_the_calendar_has_a_cell_for_each_morning_and_marks_what_was_tried() -> None:
    shown = months(plays.story())
    assert [one.name for one in shown] == [f"{name} 2013" for name in "April May June July August September".split()]
    assert sum(len(one.cells) for one in shown) == 153
    assert {cell.day: cell.mark for cell in shown[1].cells if cell.mark} == {5: "tried"}
    assert {cell.day: cell.mark for cell in shown[2].cells if cell.mark} == {2: "merged"}
    assert {cell.state for cell in shown[0].cells} == {"too-little"}
    assert {cell.state for cell in shown[1].cells} == {"too-little", "alarm"}


def test_an_alarm_that_stays_is_told_once_and_again_for_another_model() -> None:
    told = [one.on for one in events(plays.story()) if one.text.startswith("Decay: ")]
    assert told[0] == plays.ALARM
    assert len(told) == 2
    assert told[1] > plays.MERGE


def test_a_broken_feed_is_told_and_shown() -> None:
    broken = tuple(
        one.model_copy(update={"feed": "alarm", "feed_reason": "dewp <= temp fails"}) if at in (3, 4) else one
        for at, one in enumerate(plays.mornings()[:10])
    )
    told = plays.story(days=broken)
    assert [one.text for one in events(told) if "feed" in one.text] == ["Broken feed: Dewp <= temp fails."]
    assert "Broken on 2 mornings" in page.arrange(told).feed
    assert [cell.state for cell in months(told)[0].cells].count("broken") == 2


def test_gains_are_shares_of_productions_loss_against_the_margin() -> None:
    (gains,) = page.arrange(plays.story()).gains
    assert [(bar.label, bar.kind) for bar in gains.bars] == [
        ("data to 2013-04-28", "listed"),
        ("data to 2013-05-26", "judged"),
        ("data to 2013-06-27", "listed"),
    ]
    assert gains.bars[1].value == pytest.approx(-100 * 0.051 / 0.55)
    assert gains.lines[0].at == pytest.approx(-2)


def test_each_production_is_a_curve_with_its_own_limits() -> None:
    over = next(one for one in page.arrange(plays.story()).decay if "observed" in one.name)
    old, new = over.series
    assert {*old.curve.high} == {1.57}
    assert {*new.curve.high} == {1.18}
    assert old.curve.x[0] == date(2013, 4, 28).toordinal()
    assert [line.label for line in over.lines if line.axis == "x"] == ["no gain", "merged", "no gain"]


def test_what_became_of_a_swap_needs_days_enough() -> None:
    (swap,) = plays.story().swaps
    few = plays.against(plays.MERGE, plays.MERGE + timedelta(days=3), -0.1, half=None)
    told = plays.story(swaps=(swap.model_copy(update={"total": few, "months": (few,)}),))
    ((_, found, forest, _),) = page.arrange(told).swaps
    assert "Too few days" in found
    assert {bar.kind for bar in forest.bars} == {"listed"}


def test_the_page_is_whole_and_escapes_what_it_is_told(tmp_path: Path) -> None:
    evil = plays.tried(date(2013, 4, 28), "no gain", -0.004, reason="<script>alert(1)</script>")
    text = page.render(plays.story(tried=(evil,)), tmp_path).read_text()
    assert "<script>" not in text
    assert not re.search(r"(src|href)=\"(https?:|//)", text)
    assert 'href="details/2013-04-28/report.html"' in text


@pytest.mark.parametrize(
    "changes", [{"days": (), "tried": (), "swaps": (), "whole": False}, {"days": plays.mornings()[:1]}]
)
def test_a_play_that_has_hardly_begun_has_a_page(changes: dict, tmp_path: Path) -> None:
    assert page.render(plays.story(**changes), tmp_path).is_file()


def test_a_story_comes_back_as_it_was_written() -> None:
    told = plays.story()
    assert Story.model_validate_json(told.model_dump_json()) == told
    assert replace(page.arrange(told), story=told) == page.arrange(told)
