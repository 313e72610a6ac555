"""The model's schema as a pandera schema: first whether the rows can be read at all, then whether values are legal."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from model.contract import Column, Schema, Task

RANGE, UNSEEN, NULL, LABEL = "range", "unseen", "null", "label"


@dataclass(frozen=True)
class Faults:
    """Illegal values of one column found by one check: how many rows, and the worst (or first) of the values."""

    column: str
    check: str
    rows: int
    worst: object


def structure(frame: pd.DataFrame, schema: Schema, *, labelled: bool) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The frame with numbers as float64, and what is wrong with its columns in sentences (none: it can be judged).

    Wrong are a missing column, a number that cannot be parsed, a key or block that is null, a time that is none, and,
    in rows that are `labelled`, a label that is null.
    """
    numbers = [column.name for column in schema.columns if column.type != "category"] + [schema.label]
    required = {
        *schema.names,
        *schema.key,
        schema.block,
        schema.label,
        *([schema.event_time] if schema.event_time else []),
    }
    never_null = {*schema.key, schema.block, *([schema.label] if labelled else [])}
    columns = {
        name: pa.Column(
            "float64" if name in numbers else None,
            coerce=name in numbers,
            nullable=name not in never_null,
        )
        for name in sorted(required)
    }
    failures = _failures(pa.DataFrameSchema(columns), frame)
    if failures is not None:
        return frame, tuple(_structural(failures, frame, len(frame)))
    if schema.event_time and times(frame[schema.event_time]).isna().any():
        return frame, (f"column {schema.event_time!r} has values that are not a time",)
    return frame.assign(**{name: frame[name].astype("float64") for name in numbers}), ()


def values(frame: pd.DataFrame, schema: Schema, task: Task) -> tuple[Faults, ...]:
    """Illegal values by column and check, in a frame whose structure is sound."""
    columns = {column.name: _column(column) for column in schema.columns}
    label = pa.Check.isin([0, 1], error=LABEL) if task == "classification" else pa.Check(np.isfinite, error=LABEL)
    columns[schema.label] = pa.Column(None, label, nullable=True)
    failures = _failures(pa.DataFrameSchema(columns), frame)
    if failures is None:
        return ()
    failures = failures.assign(check=failures["check"].replace({"not_nullable": NULL}))
    legal = {column.name: column for column in schema.columns}
    return tuple(
        Faults(str(name), str(check), len(found), _worst(found["failure_case"], legal.get(str(name))))
        for (name, check), found in failures.groupby(["column", "check"], sort=True)
    )


def times(values: "pd.Series[Any]") -> "pd.Series[pd.Timestamp]":
    """Times in UTC, whatever they came as; one that cannot be read is NaT."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values, utc=True)
    return pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601")


def _column(column: Column) -> pa.Column:
    if column.type == "category":
        return pa.Column(None, pa.Check.isin(column.categories, error=UNSEEN), nullable=column.nullable)
    return pa.Column(None, pa.Check(lambda found: _legal(found, column), error=RANGE), nullable=column.nullable)


def _legal(found: "pd.Series[float]", column: Column) -> "pd.Series[bool]":
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    legal = found.between(low, high) & ~found.isin([np.inf, -np.inf])
    return legal & (found == found.round()) if column.type == "integer" else legal


def _failures(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> pd.DataFrame | None:
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        failures: pd.DataFrame = errors.failure_cases
        return failures
    return None


def _structural(failures: pd.DataFrame, frame: pd.DataFrame, rows: int) -> Iterable[str]:
    for name in failures.loc[failures["check"] == "column_in_dataframe", "failure_case"]:
        yield f"column {name!r} is missing (there are: {', '.join(map(str, frame.columns))})"
    for name, found in failures[failures["column"].notna()].groupby("column"):
        if (found["check"] == "not_nullable").all():
            yield f"column {name!r} is null in {len(found):,} of {rows:,} rows and must not be"
        else:
            unread = found.loc[found["check"].str.startswith("coerce_dtype"), "failure_case"]
            example = f", such as {unread.iloc[0]!r}" if len(unread) else ""
            yield f"column {name!r} holds what is not a number{example}"


def _worst(cases: "pd.Series[Any]", column: Column | None) -> object:
    """The value farthest outside the range; for anything but a number the most frequent one."""
    if column is None or column.type == "category" or cases.isna().all():
        return cases.mode(dropna=False).iloc[0]
    numbers = cases.astype(float)
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    outside = np.maximum(low - numbers.to_numpy(), numbers.to_numpy() - high)
    return float(numbers.iloc[int(outside.argmax())])
