from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from model.contract import Column, Relation, Schema
from model.splits import by_group, last_days
from pipeline.config import DataGate
from pipeline.gates import data
from pipeline.gates.data import DataInputs
from pipeline.verdict import Decision

LIMITS = DataGate(
    max_out_of_range_share=0.0005,
    max_unseen_category_share=0.01,
    max_relation_violation_share=0.001,
    max_null_share_increase=0.10,
    min_labelled_share=0.80,
    max_days_without_label=7,
    max_single_feature_auc=0.90,
)
END = date(2013, 4, 30)
SCHEMA = Schema(
    columns=(
        Column(name="temp", type="number", description="air", unit="°F", minimum=-20, maximum=120, nullable=True),
        Column(name="dewp", type="number", description="dew point", unit="°F", minimum=-30, maximum=90, nullable=True),
        Column(name="seats", type="integer", description="of the plane", minimum=1, maximum=900),
        Column(name="carrier", type="category", description="carrier", categories=("AA", "DL", "UA")),
        Column(name="dest", type="category", description="airport", categories=("ATL", "ORD"), unseen="other"),
    ),
    key=("date", "flight"),
    label="late",
    block="date",
    event_time="departure",
    relations=(Relation("dewp <= temp", "dew point is at most the temperature", lambda f: ~(f["dewp"] > f["temp"])),),
)


def flights(days: int = 120, per_day: int = 40, seed: int = 0) -> pd.DataFrame:
    """Sound rows, from 1 January 2013 on, every one labelled."""
    random = np.random.default_rng(seed)
    rows = days * per_day
    day = pd.Timestamp("2013-01-01") + pd.to_timedelta(np.repeat(np.arange(days), per_day), unit="D")
    temp = random.uniform(20, 80, rows)
    return pd.DataFrame(
        {
            "date": day.strftime("%Y-%m-%d"),
            "flight": np.tile(np.arange(per_day), days),
            "departure": (day + pd.Timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "temp": temp,
            "dewp": temp - random.uniform(0, 20, rows),
            "seats": random.integers(50, 300, rows).astype(float),
            "carrier": random.choice(["AA", "DL", "UA"], rows),
            "dest": random.choice(["ATL", "ORD"], rows),
            "late": (random.random(rows) < 0.2 + 0.3 * (temp > 60)).astype(float),
        }
    )


def given(frame: pd.DataFrame, schema: Schema = SCHEMA, **changes: object) -> DataInputs:
    split = last_days(frame, day="date", label="late", days=28)
    fields = {
        "prepared": frame,
        "train": frame[split.train],
        "holdout": frame[split.holdout],
        "schema": schema,
        "task": "classification",
        "rule": split.rule,
        "window_end": END,
    }
    return DataInputs(**{**fields, **changes})


def judge(frame: pd.DataFrame, schema: Schema = SCHEMA, **changes: object):
    return data.judge(given(frame, schema, **changes), LIMITS)


def check(result, name):
    return next(one for one in result.checks if one.name == name)


def refused(result, name):
    """The reason, where this check and no other refused the rows."""
    failed = [one.name for one in result.checks if one.decision is Decision.FAIL]
    assert result.decision is Decision.FAIL
    assert failed == [name]
    return result.reason


def with_column(name: str, **changes: object) -> Schema:
    columns = tuple(one.model_copy(update=changes) if one.name == name else one for one in SCHEMA.columns)
    return replace(SCHEMA, columns=columns)


def test_sound_rows_pass():
    result = judge(flights())
    assert result.decision is Decision.PASS
    assert "3,680 train, 1,120 are held out" in result.reason
    assert [row[0] for row in result.tables[0].rows] == list(SCHEMA.names)


@pytest.mark.parametrize("column", ["temp", "carrier", "flight", "date", "late", "departure"])
def test_a_missing_column_fails_and_is_named(column):
    frame = flights()
    sound = given(frame)
    parts = {name: getattr(sound, name).drop(columns=column) for name in ("prepared", "train", "holdout")}
    assert f"column {column!r} is missing" in refused(data.judge(replace(sound, **parts), LIMITS), "structure")


def test_a_renamed_column_fails_and_shows_what_there_is():
    reason = refused(judge(flights().rename(columns={"temp": "temperature"})), "structure")
    assert "column 'temp' is missing (there are: " in reason
    assert "temperature" in reason


def test_a_number_that_cannot_be_parsed_fails_with_the_value():
    frame = flights()
    frame["temp"] = frame["temp"].astype(object)
    frame.loc[5, "temp"] = "warm"
    assert "column 'temp' holds what is not a number, such as 'warm'" in refused(judge(frame), "structure")


def test_numbers_that_came_as_text_are_read():
    assert judge(flights().assign(temp=lambda f: f["temp"].astype(str))).decision is Decision.PASS


def test_a_time_that_is_none_fails():
    frame = flights()
    frame.loc[3, "departure"] = "noon"
    assert "'departure' has values that are not a time" in refused(judge(frame), "structure")


def test_a_null_key_fails():
    frame = flights()
    frame["flight"] = frame["flight"].astype(float)
    frame.loc[3, "flight"] = np.nan
    assert "column 'flight' is null in 1 of" in refused(judge(frame), "structure")


def test_no_rows_fail():
    sound = given(flights())
    reason = refused(data.judge(replace(sound, holdout=sound.holdout.iloc[:0]), LIMITS), "structure")
    assert "there are no holdout rows" in reason


def test_celsius_for_fahrenheit_shows_in_the_relation():
    frame = flights().assign(temp=lambda f: (f["temp"] - 32) / 1.8)
    reason = refused(judge(frame), "relation dewp <= temp")
    assert "a changed unit or swapped columns" in reason


def test_a_changed_unit_that_leaves_the_range_fails_with_worst_value_and_range():
    frame = flights().assign(temp=lambda f: f["temp"] + 273.15, dewp=lambda f: f["dewp"])
    frame.loc[9, "temp"] = 400.0
    reason = refused(judge(frame), "ranges")
    assert "temp in 100 % of rows, such as 400.0 (range -20 to 120 °F)" in reason
    assert "a changed unit is the usual cause" in reason


@pytest.mark.parametrize(("rows", "sound"), [(2, True), (3, False)])
def test_values_out_of_range_are_tolerated_up_to_the_limit(rows, sound):
    frame = flights()  # 4,800 rows: the limit of .05 % is 2.4 of them
    frame.loc[: rows - 1, "seats"] = 901.0
    assert (judge(frame).decision is Decision.PASS) is sound


def test_a_fraction_of_a_whole_number_and_an_infinite_one_are_out_of_range():
    frame = flights()
    frame.loc[:99, "seats"] = 10.5
    frame.loc[:99, "temp"] = np.inf
    reason = refused(judge(frame), "ranges")
    assert "seats" in reason
    assert "temp" in reason


def test_an_unseen_category_that_is_refused_fails_beyond_the_limit():
    frame = flights()
    frame.loc[:99, "carrier"] = "XX"
    assert "carrier in 2.1 % of rows, such as 'XX'" in refused(judge(frame), "categories")
    frame.loc[40:99, "carrier"] = "AA"
    assert judge(frame).decision is Decision.PASS


def test_an_unseen_category_that_is_encoded_as_other_is_reported():
    frame = flights()
    frame.loc[:999, "dest"] = "LAX"
    result = judge(frame)
    assert result.decision is Decision.PASS
    assert "dest 'LAX' (21 % of rows)" in check(result, "new categories").reason


def test_a_null_where_none_is_allowed_fails():
    frame = flights()
    frame.loc[7, "seats"] = np.nan
    assert "seats in .02 % of rows" in refused(judge(frame), "nulls")


def test_a_null_category_where_none_is_allowed_fails():
    frame = flights()
    frame["carrier"] = frame["carrier"].astype(object)
    frame.loc[:3, "carrier"] = None
    assert "carrier" in check(judge(frame), "nulls").reason
    assert check(judge(frame), "nulls").decision is Decision.FAIL


def test_a_source_that_stopped_shows_as_a_rise_of_nulls():
    frame = flights()
    frame.loc[frame["date"] >= "2013-04-10", ["dewp"]] = np.nan
    assert "'dewp' by 75.0 points" in refused(judge(frame), "null increase")


def test_duplicated_keys_fail_with_an_example():
    frame = flights()
    reason = refused(judge(pd.concat([frame, frame.iloc[[50]]], ignore_index=True)), "duplicate keys")
    assert "1 rows repeat a key, first date 2013-01-02, flight 10" in reason


def test_a_key_in_training_and_in_the_holdout_fails():
    sound = given(flights())
    train = sound.train.copy()
    train.loc[train.index[0], ["date", "flight"]] = ["2013-04-20", 5]
    result = data.judge(replace(sound, train=train), LIMITS)
    assert "1 held-out rows have a key that trains too, first date 2013-04-20, flight 5" in refused(
        result, "train and holdout apart"
    )


def test_holdout_rows_inside_the_training_window_fail():
    frame = flights()
    held = frame["date"].between("2013-02-01", "2013-02-28").to_numpy()
    result = judge(frame, train=frame[~held], holdout=frame[held])
    reason = refused(result, "training before holdout")
    assert "not before the holdout's first block, 2013-02-01" in reason
    assert "reach to 2013-04-30" in reason


def test_a_training_row_on_the_holdouts_first_day_fails_though_it_is_earlier():
    frame = flights()
    sound = given(frame)
    first = sound.holdout.index[0]
    frame.loc[first, "departure"] = "2013-04-03T05:00:00Z"
    train, holdout = frame.loc[[*sound.train.index, first]], frame.loc[sound.holdout.index[1:]]
    assert "1 training rows are not before" in refused(
        judge(frame, train=train, holdout=holdout), "training before holdout"
    )


def test_a_month_with_no_labels_fails_and_is_named():
    frame = flights()
    frame.loc[frame["date"].str.startswith("2013-02"), "late"] = np.nan
    result = judge(frame)
    assert check(result, "labels without a hole").decision is Decision.FAIL
    assert "from 2013-02-01 to 2013-02-28 (28 days, all of February 2013)" in result.reason


def test_a_month_whose_rows_are_gone_fails_likewise():
    frame = flights()
    frame = frame[~frame["date"].str.startswith("2013-02")].reset_index(drop=True)
    assert "all of February 2013" in refused(judge(frame), "labels without a hole")


@pytest.mark.parametrize(("days", "sound"), [(7, True), (8, False)])
def test_up_to_seven_days_without_a_label_are_tolerated(days, sound):
    frame = flights()
    frame.loc[frame["date"].between("2013-02-01", f"2013-02-{days:02}"), "late"] = np.nan
    assert (judge(frame).decision is Decision.PASS) is sound


def test_labels_that_stopped_before_the_window_ends_fail():
    result = judge(flights(days=110))
    assert "no labels from 2013-04-21 to 2013-04-29 (9 days)" in refused(result, "labels without a hole")


def test_rows_that_end_weeks_before_the_window_does_fail():
    frame = flights(days=319)  # to 15 November
    result = judge(frame, window_end=date(2013, 12, 31))
    assert "no labels from 2013-11-16 to 2013-12-30 (45 days" in refused(result, "labels without a hole")
    assert judge(frame, window_end=None).decision is Decision.PASS


@pytest.mark.parametrize(("share", "sound"), [(0.82, True), (0.78, False)])
def test_most_rows_must_have_a_label(share, sound):
    frame = flights()
    frame.loc[np.random.default_rng(1).random(len(frame)) > share, "late"] = np.nan
    assert (judge(frame).decision is Decision.PASS) is sound


def test_a_label_that_is_neither_0_nor_1_fails():
    frame = flights()
    frame.loc[len(frame) - 1, "late"] = 2.0
    assert "labelled neither 0 nor 1: late in .02 % of rows, such as 2.0" in refused(judge(frame), "labels")


def test_an_infinite_label_fails_in_regression():
    frame = flights()
    frame.loc[len(frame) - 1, "late"] = np.inf
    assert "not finite: late" in refused(judge(frame, task="regression"), "labels")


def test_a_training_row_without_a_label_fails():
    sound = given(flights())
    train = sound.train.assign(late=sound.train["late"].where(sound.train["flight"] > 0))
    reason = refused(data.judge(replace(sound, train=train), LIMITS), "structure")
    assert "column 'late' is null in 92 of 3,680 rows" in reason


def test_a_request_column_known_only_after_the_event_fails():
    assert "known only after the event: seats" in refused(
        judge(flights(), with_column("seats", known="after")), "known before"
    )


@pytest.mark.parametrize(
    "leak",
    [
        lambda f: 30 + 20 * f["late"],
        lambda f: f["temp"] / 4 + 40 * f["late"],
        lambda f: 50 + np.where(f["late"] == 1, np.random.default_rng(0).choice([-30, 30], len(f)), 0),
        lambda f: f["temp"].where(f["late"] == 0),
    ],
    ids=["copy", "noisy", "not monotone", "null when late"],
)
def test_a_feature_that_leaks_the_label_fails_and_is_named(leak):
    frame = flights().assign(temp=leak, dewp=np.nan)
    assert "a column alone predicts the label: 'temp' at " in refused(judge(frame), "single feature")


def test_a_category_that_leaks_the_label_fails():
    frame = flights()
    frame["carrier"] = np.where(frame["late"] == 1, "UA", "AA")
    assert "'carrier' at 1.000" in refused(judge(frame), "single feature")


def test_a_useful_feature_is_no_leak():
    assert 0.6 < check(judge(flights()), "single feature").statistic < 0.75


def test_a_holdout_of_one_class_leaves_leakage_inconclusive():
    frame = flights()
    frame.loc[given(frame).holdout.index, "late"] = 0.0
    result = judge(frame)
    assert result.decision is Decision.INCONCLUSIVE
    assert check(result, "single feature").decision is Decision.INCONCLUSIVE
    assert "the held-out labels do not differ" in result.reason


def test_a_relation_that_cannot_be_evaluated_fails_rather_than_raises():
    broken = replace(SCHEMA, relations=(Relation("wind", "wind is known", lambda f: f["wind"] > 0),))
    assert "cannot be evaluated" in refused(judge(flights(), broken), "relation wind")


def grouped() -> tuple[pd.DataFrame, Schema]:
    frame = flights().drop(columns="departure").assign(customer=lambda f: "c" + (f.index % 200).astype(str))
    return frame, replace(SCHEMA, event_time=None, block="customer")


def test_a_split_by_group_without_event_time_works():
    frame, schema = grouped()
    split = by_group(frame, group="customer", label="late", share=0.3)
    parts = {"train": frame[split.train], "holdout": frame[split.holdout], "rule": split.rule}
    result = data.judge(DataInputs(frame, schema=schema, task="classification", window_end=None, **parts), LIMITS)
    assert result.decision is Decision.PASS
    assert check(result, "groups apart").decision is Decision.PASS
    assert check(result, "labels without a hole").decision is None


def test_a_group_on_both_sides_of_the_split_fails():
    frame, schema = grouped()
    split = by_group(frame, group="customer", label="late", share=0.3)
    train = frame[split.train].assign(customer=lambda f: f["customer"].where(f.index != f.index[0], "c3"))
    holdout = frame[split.holdout].assign(customer=lambda f: f["customer"].where(f.index != f.index[0], "c3"))
    parts = {"train": train, "holdout": holdout, "rule": split.rule}
    result = data.judge(DataInputs(frame, schema=schema, task="classification", window_end=None, **parts), LIMITS)
    assert "both in training and in the holdout: c3" in refused(result, "groups apart")


def test_regression_works_and_finds_a_leak_by_rank():
    frame = flights().assign(late=lambda f: f["temp"] ** 3 + 2e5 * np.random.default_rng(3).normal(0, 1, len(f)))
    assert judge(frame, task="regression").decision is Decision.PASS
    leaking = frame.assign(seats=frame["late"].rank().floordiv(6) + 1)
    assert "'seats' at " in refused(judge(leaking, task="regression"), "single feature")


def test_ranges_are_also_judged_on_rows_without_a_label():
    frame = flights()
    frame.loc[frame["date"] == "2013-02-03", "late"] = np.nan
    frame.loc[frame["date"] == "2013-02-03", "seats"] = -5.0
    assert "seats" in refused(judge(frame), "ranges")
