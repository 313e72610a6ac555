"""The data window moves by one value; every other character of params.yaml stays."""

from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from pipeline.config import ConfigError
from pipeline.monitoring.retrain import window

SHIPPED = (Path(__file__).resolve().parents[5] / "params.yaml").read_text()
END = date(2013, 5, 26)


@pytest.mark.flights
def test_one_value_of_the_shipped_file_changes_and_comments_stay() -> None:
    shipped = yaml.safe_load(SHIPPED)["data"]["end"]
    later = date.fromisoformat(shipped) + timedelta(days=56)
    moved = window.advanced(SHIPPED, "data.end", later)
    assert moved == SHIPPED.replace(f'"{shipped}"', f'"{later}"')
    assert yaml.safe_load(moved)["data"]["end"] == str(later)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a: {end: 2013-01-01} # kept\n", "a: {end: 2013-05-26} # kept\n"),
        ("a:\n  end: '2013-01-01'   # so\n", "a:\n  end: '2013-05-26'   # so\n"),
        ('b: {end: 1}\na: {"end": "2013-01-01"}\n', 'b: {end: 1}\na: {"end": "2013-05-26"}\n'),
    ],
)
def test_quotes_style_and_comment_stay(text: str, wanted: str) -> None:
    assert window.advanced(text, "a.end", END) == wanted


def test_the_day_that_is_there_changes_nothing() -> None:
    assert window.advanced("a: {end: 2013-05-26}\n", "a.end", END) == "a: {end: 2013-05-26}\n"


def test_window_never_goes_back() -> None:
    with pytest.raises(ConfigError, match="2013-06-01, later than 2013-05-26"):
        window.advanced("a: {end: 2013-06-01}\n", "a.end", END)


@pytest.mark.parametrize("key", ["a.end", "b.end"])
def test_value_that_stands_for_another_too_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} has an anchor"):
        window.advanced("a: {end: &day 2013-01-01}\nb: {end: *day}\n", key, END)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {start: 2013-01-01}\n", r"no 'a\.end'"),
        ("a: {end: soon}\n", "is 'soon'"),
        ("a: [\n", "not YAML"),
        (
            "a: {end: 2013-13-03}\n",
            r"params\.yaml: a\.end: month must be in 1\.\.12.*\(got '2013-13-03'\); write a day",
        ),
    ],
)
def test_key_that_names_no_day_is_an_error_with_the_fix(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        window.advanced(text, "a.end", END)
