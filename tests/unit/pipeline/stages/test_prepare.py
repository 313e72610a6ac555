from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from model.contract import Column, Schema, Split
from model.splits import last_days
from pipeline import paths
from pipeline.context import Context
from pipeline.frames import HOLDOUT, PART, TRAIN, TableError, read_rows, write_tables
from pipeline.stages import prepare

SCHEMA = Schema(
    columns=(
        Column(name="temp", type="number", description="air", nullable=True),
        Column(name="origin", type="category", description="airport", categories=("EWR", "JFK")),
    ),
    key=("flight",),
    label="late",
    block="date",
)


def flights(days: int = 10, per_day: int = 4) -> pd.DataFrame:
    day = pd.Timestamp("2013-01-01") + pd.to_timedelta(np.repeat(np.arange(days), per_day), unit="D")
    rows = np.arange(days * per_day)
    frame = {"flight": rows, "date": day.strftime("%Y-%m-%d"), "temp": rows * 1.0, "origin": "EWR", "late": rows % 2}
    return pd.DataFrame(frame)


class Shuffled:
    """A fork that sorts its rows by time and leaves the index as it was: rows in order, index permuted."""

    schema = SCHEMA
    card = type("Card", (), {"task": "classification"})

    def prepare(self, tables):
        shuffled = tables["flights"].sample(frac=1, random_state=0, ignore_index=True)
        return shuffled.sort_values("flight")

    def split(self, frame):
        return last_days(frame, day="date", label="late", days=3)


def refused(frame: pd.DataFrame, schema: Schema = SCHEMA) -> str:
    with pytest.raises(TableError) as refusal:
        prepare.check_structure(frame, schema)
    return str(refusal.value)


def test_a_row_keeps_its_side_whatever_the_index_says(tmp_path):
    write_tables({"flights": flights()}, tmp_path / paths.RAW)
    context = Context(tmp_path)
    context.__dict__["model"] = Shuffled()
    prepare.run(context)
    rows = read_rows(tmp_path / paths.ROWS, SCHEMA)
    assert set(rows["date"][rows[PART] == HOLDOUT]) == {"2013-01-08", "2013-01-09", "2013-01-10"}
    assert rows["date"][rows[PART] == TRAIN].max() == "2013-01-07"


def test_a_sound_frame_is_let_through():
    prepare.check_structure(flights(), SCHEMA)


def test_a_missing_column_is_named_with_those_there_are():
    reason = refused(flights().drop(columns="temp"))
    assert "no column 'temp'" in reason
    assert "flight, date, origin, late" in reason


def test_a_column_called_part_is_refused():
    assert "'part'" in refused(flights().assign(part="wing"))


def test_no_rows_are_refused_before_their_columns_are_looked_at():
    assert "no rows; check the window" in refused(flights().iloc[:0].astype({"temp": "object"}))


@pytest.mark.parametrize("column", ["temp", "late"])
def test_a_text_among_numbers_is_named_with_its_row(column):
    frame = flights().astype({column: object})
    frame.loc[5, column] = "warm"
    assert f"column {column!r} is not a number in row 5: 'warm'" in refused(frame)


@pytest.mark.parametrize("column", ["temp", "late"])
def test_numbers_held_as_text_are_refused_with_the_fix(column):
    assert f"column {column!r} holds numbers as '" in refused(flights().astype({column: "str"}))


@pytest.mark.parametrize("nothing", [None, np.nan])
@pytest.mark.parametrize("column", ["temp", "origin", "late"])
def test_a_column_without_one_value_is_named(column, nothing):
    assert f"column {column!r} is null in every row" in refused(flights().assign(**{column: nothing}))


def parts(frame: pd.DataFrame, task: str = "classification", **sides: np.ndarray) -> None:
    train = np.arange(len(frame)) < 28
    split = replace(Split(train, ~train, {}), **sides)
    prepare.check_parts(frame["late"], split, task)


def part_refused(frame: pd.DataFrame, task: str = "classification", **sides: np.ndarray) -> str:
    with pytest.raises(TableError) as refusal:
        parts(frame, task, **sides)
    return str(refusal.value)


def test_two_sides_with_both_labels_are_let_through():
    parts(flights())


@pytest.mark.parametrize(("side", "name"), [("train", "training"), ("holdout", "holdout")])
def test_a_side_without_rows_is_named(side, name):
    reason = part_refused(flights(), **{side: np.zeros(40, bool)})
    assert f"no {name} rows; change `split` in params.yaml" in reason


def test_training_rows_of_one_class_are_refused():
    frame = flights().assign(late=lambda rows: (rows["flight"] >= 28) * 1)
    assert "28 training rows has 'late' 0: there is nothing to tell apart" in part_refused(frame)


def test_a_regression_may_train_on_any_label():
    parts(flights().assign(late=3.5), task="regression")


def test_a_holdout_of_one_class_is_for_the_gates_to_judge():
    parts(flights().assign(late=lambda rows: (rows["flight"] % 2) * (rows["flight"] < 28)))


@pytest.mark.parametrize(("at", "side"), [(3, "training"), (35, "holdout")])
@pytest.mark.parametrize("value", [2.0, np.nan])
def test_a_label_that_is_neither_0_nor_1_is_named_with_its_side(at, side, value):
    frame = flights().astype({"late": float})
    frame.loc[at, "late"] = value
    assert f"'late' is neither 0 nor 1 in 1 {side} rows, first {value}" in part_refused(frame)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_regressions_label_that_is_not_finite_is_refused(value):
    frame = flights().astype({"late": float})
    frame.loc[3, "late"] = value
    assert f"null or infinite in 1 training rows, first {value}" in part_refused(frame, task="regression")
