import pandas as pd

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
