"""prepare: the raw tables joined into one row per key, and the split into rows that train and rows held out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.contract import Bools, Schema, Split, Task
from pipeline import paths
from pipeline.context import Context
from pipeline.frames import HOLDOUT, PART, TRAIN, TableError, read_tables, write_json, write_rows

_CLASSES = (0, 1)


def run(context: Context) -> None:
    """build/raw -> build/rows. Raises TableError where no model can be trained on the rows, or none judged."""
    model = context.model
    frame = model.prepare(read_tables(context.root / paths.RAW))
    check_structure(frame, model.schema)
    split = model.split(frame)
    check_parts(frame[model.schema.label], split, model.card.task)
    write_rows(frame.assign(**{PART: parts(split)}), context.root / paths.ROWS)
    write_json(context.root / paths.SPLIT, dict(split.rule))


def parts(split: Split) -> NDArray[np.str_]:
    """Which side each row is on, by its position: "train", "holdout", or "" for neither."""
    return np.select([split.train, split.holdout], [TRAIN, HOLDOUT], default="")


def check_structure(frame: pd.DataFrame, schema: Schema) -> None:
    """Raise TableError unless every column is there and every number is one. Values are for the data gate to judge."""
    if PART in frame:
        raise TableError(f"prepare gave a column {PART!r}, a name the pipeline keeps for the split; rename it")
    wanted = [*schema.key, schema.block, *schema.names, schema.label, schema.event_time or schema.block]
    missing = [name for name in dict.fromkeys(wanted) if name not in frame]
    if missing:
        raise TableError(f"prepare gave no column {missing[0]!r}; it gave {', '.join(map(str, frame))}")
    if frame.empty:
        raise TableError("prepare gave no rows; check the window in params.yaml")
    for name in (*schema.names, schema.label):
        if frame[name].isna().all():
            raise TableError(f"column {name!r} is null in every row; its source gave nothing for this window")
    for name in (*(column.name for column in schema.columns if column.type != "category"), schema.label):
        _check_numbers(name, frame[name])


def check_parts(label: "pd.Series[Any]", split: Split, task: Task) -> None:
    """Raise TableError unless both sides have rows and labels that can be learned from and judged by."""
    sides: Mapping[str, Bools] = {"training": split.train, "holdout": split.holdout}
    for side, rows in sides.items():
        if not rows.any():
            raise TableError(f"the split leaves no {side} rows; change `split` in params.yaml or widen the window")
        _check_labels(label[rows], side, task)
    trained = label[split.train]
    if task == "classification" and trained.nunique() < len(_CLASSES):
        raise TableError(
            f"every one of {len(trained):,} training rows has {label.name!r} {trained.iloc[0]:g}: there is nothing to "
            "tell apart; widen the window in params.yaml or check how the label is made"
        )


def _check_labels(labels: "pd.Series[Any]", side: str, task: Task) -> None:
    numbers = labels.astype("float64")
    legal = numbers.isin(_CLASSES) if task == "classification" else pd.Series(np.isfinite(numbers))
    if not legal.all():
        wanted = "neither 0 nor 1" if task == "classification" else "null or infinite"
        raise TableError(
            f"label {labels.name!r} is {wanted} in {(~legal).sum():,} {side} rows, first {numbers[~legal].iloc[0]}; "
            "mend it in model.prepare, or leave these rows out in model.split"
        )


def _check_numbers(name: str, values: "pd.Series[Any]") -> None:
    if pd.api.types.is_numeric_dtype(values):
        return
    known = values.dropna()
    unread = known[pd.to_numeric(known, errors="coerce").isna()]
    if len(unread):
        raise TableError(f"column {name!r} is not a number in row {unread.index[0]}: {unread.iloc[0]!r}")
    raise TableError(f"column {name!r} holds numbers as {known.iloc[0]!r}; make them numbers with pd.to_numeric")
