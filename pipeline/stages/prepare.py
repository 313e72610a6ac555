"""prepare: the raw tables joined into one row per key, and the split into rows that train and rows held out."""

import numpy as np
import pandas as pd

from model.contract import Schema, Split
from pipeline import paths
from pipeline.context import Context
from pipeline.frames import HOLDOUT, PART, TRAIN, TableError, read_tables, write_json, write_rows


def run(context: Context) -> None:
    """build/raw -> build/rows. Raises TableError where a column of the schema is not there."""
    frame = context.model.prepare(read_tables(context.root / paths.RAW))
    check_structure(frame, context.model.schema)
    split = context.model.split(frame)
    write_rows(frame.assign(**{PART: parts(split)}), context.root / paths.ROWS)
    write_json(context.root / paths.SPLIT, dict(split.rule))


def parts(split: Split) -> "pd.Series[str]":
    """Which side each row is on: "train", "holdout", or "" for neither."""
    return pd.Series(np.select([split.train, split.holdout], [TRAIN, HOLDOUT], default=""), dtype="str")


def check_structure(frame: pd.DataFrame, schema: Schema) -> None:
    """Raise TableError unless every column is there and every number is one. Values are for the data gate to judge."""
    wanted = [*schema.key, schema.block, *schema.names, schema.label, schema.event_time or schema.block]
    missing = [name for name in dict.fromkeys(wanted) if name not in frame]
    if missing:
        raise TableError(f"prepare gave no column {missing[0]!r}; it gave {', '.join(map(str, frame))}")
    for column in schema.columns:
        if column.type != "category" and not pd.api.types.is_numeric_dtype(frame[column.name]):
            worst = frame[column.name][pd.to_numeric(frame[column.name], errors="coerce").isna()].dropna()
            raise TableError(f"column {column.name!r} is not a number in row {worst.index[0]}: {worst.iloc[0]!r}")
    if frame.empty:
        raise TableError("prepare gave no rows; check the window in params.yaml")
