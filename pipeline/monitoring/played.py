"""Prepared rows as if production had answered them and their labels had come: history played to the check."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import polars as pl

from model.contract import Schema
from model.splits import calendar_days
from pipeline.frames import columns_of
from serving.bundle import Bundle
from serving.signature import encode


def batches(prepared: pd.DataFrame, schema: Schema, bundle: Bundle) -> Iterator[pl.DataFrame]:
    """A frame for each day (UTC) of the events, as `Store.batches` gives it. Raises ValueError without event time."""
    times = moments(prepared, schema)
    names = tuple(one.name for one in bundle.signature.inputs)
    scores = bundle.score(encode(bundle.signature, columns_of(prepared, names))).astype("float64")
    frame = pl.DataFrame(
        {
            "id": [str(at) for at in range(len(prepared))],
            "day": [one.date() for one in times],
            "time": pl.Series(times.dt.tz_localize(None).to_numpy())
            .cast(pl.Datetime("us"))
            .dt.replace_time_zone("UTC"),
            "version": pl.Series([bundle.version]).extend_constant(bundle.version, len(prepared) - 1),
            "score": scores,
            "label": pl.Series(prepared[schema.label].to_numpy(dtype="float64"), nan_to_null=True),
            **{column.name: _values(prepared[column.name], column.type) for column in schema.columns},
        }
    )
    yield from frame.sort("time").partition_by("day", maintain_order=True)


def moments(prepared: pd.DataFrame, schema: Schema) -> "pd.Series[pd.Timestamp]":
    """The event time of each row, in UTC. Raises ValueError without event time, or where one cannot be read."""
    times = prepared[event_time(schema)]
    calendar_days(times)  # refuses what can be read in more ways than one
    return pd.to_datetime(times, utc=True, format="ISO8601")


def event_time(schema: Schema) -> str:
    """The column that says when. Raises ValueError where there is none."""
    if schema.event_time is None:
        raise ValueError(
            "rows without event time cannot be played: nothing says which came first; where yours have one, name its "
            "column in schema.event_time in model/"
        )
    return schema.event_time


def _values(values: "pd.Series[Any]", kind: str) -> pl.Series:
    if kind != "category":
        return pl.Series(values.to_numpy(dtype="float64"), nan_to_null=True)
    return pl.Series([None if pd.isna(value) else str(value) for value in values], dtype=pl.String)
