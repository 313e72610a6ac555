from datetime import date
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

import model

PARAMS = yaml.safe_load((Path(__file__).resolve().parents[3] / "params.yaml").read_text())


def load(start: str, end: str) -> model.flights.FlightDelays:
    return model.load({**{name: PARAMS[name] for name in ("split", "estimator")}, "data": {"start": start, "end": end}})


def test_rows_are_expected_up_to_the_end_of_the_window() -> None:
    assert load("2013-01-01", "2013-12-31").history_end == date(2013, 12, 31)


def test_a_window_of_one_day_is_a_window() -> None:
    assert load("2013-01-01", "2013-01-01").history_end == date(2013, 1, 1)


def test_a_window_that_ends_before_it_starts_is_refused_with_both_days() -> None:
    with pytest.raises(ValidationError, match="start 2013-03-31 is after end 2013-01-01"):
        load("2013-03-31", "2013-01-01")
