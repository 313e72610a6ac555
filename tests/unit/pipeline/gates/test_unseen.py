import pandas as pd
import pytest

from pipeline.gates.unseen import reason_seen

BY_TIME = {"kind": "time", "column": "date", "trained_until": "2013-03-03"}
BY_GROUP = {"kind": "group", "column": "shop", "share": 0.2, "salt": "flightline"}
MARCH = pd.DataFrame({"date": ["2013-03-31", "2013-03-04"], "shop": ["a", "b"]})


def test_rows_after_training_ended_are_unseen() -> None:
    assert reason_seen(BY_TIME, MARCH, BY_TIME) is None


def test_a_holdout_that_begins_on_the_last_training_day_was_seen() -> None:
    reason = reason_seen({**BY_TIME, "trained_until": "2013-03-04"}, MARCH, BY_TIME)
    assert reason is not None
    assert "until 2013-03-04" in reason


def test_time_split_on_rows_without_that_column_cannot_be_trusted() -> None:
    assert "date" in str(reason_seen(BY_TIME, MARCH.drop(columns="date"), BY_TIME))


def test_groups_held_out_by_the_same_rule_are_unseen() -> None:
    assert reason_seen(BY_GROUP, MARCH, dict(BY_GROUP)) is None


def test_groups_held_out_by_another_rule_may_have_been_seen() -> None:
    assert reason_seen(BY_GROUP, MARCH, {**BY_GROUP, "salt": "other"}) is not None


def test_bundle_that_does_not_say_how_it_was_split_is_not_trusted() -> None:
    assert reason_seen({}, MARCH, BY_TIME) is not None


def held(*dates: object) -> pd.DataFrame:
    return pd.DataFrame({"date": list(dates)})


def seen(until: object, *dates: object) -> str | None:
    return reason_seen({**BY_TIME, "trained_until": until}, held(*dates), BY_TIME)


def test_dates_are_compared_as_dates_however_they_are_written() -> None:
    assert seen("2013-10-05", "2013-9-29") is not None
    assert seen("2013-9-29", "2013-10-05") is None


def test_a_later_hour_of_the_last_training_day_was_seen() -> None:
    assert seen("2013-03-04", "2013-03-04T01:00:00") is not None
    assert seen("2013-03-04T23:00:00Z", "2013-03-04T23:30:00Z") is not None
    assert seen("2013-03-03", "2013-03-04T01:00:00Z") is None


@pytest.mark.parametrize("date", ["spring", "04/03/2013", 20130304, None])
def test_a_date_that_cannot_be_read_cannot_be_trusted(date: object) -> None:
    assert "cannot be trusted" in str(seen("2013-03-03", "2013-03-31", date))
    assert "cannot be trusted" in str(seen(date, "2013-03-31"))


def test_a_rule_without_its_last_day_cannot_be_trusted() -> None:
    rule = {"kind": "time", "column": "date"}
    assert "cannot be trusted" in str(reason_seen(rule, MARCH, BY_TIME))
