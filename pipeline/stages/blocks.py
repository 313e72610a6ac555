"""Sums over the rows of each held-out block: what later windows are compared with, and no row of anybody.

The same sums are taken of logged rows, so that a window of them and a draw of these blocks are of one kind.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from model.contract import Floats, Model, Schema
from model.splits import calendar_days

# The columns of every array of sums.
SUMS = ("rows", "observed", "expected", "with_loss", "loss", "baseline_loss")
# What the unit is called where blocks are calendar days; a column may be called "day" and hold something else.
DAY = "calendar day"
# A block of fewer rows could tell of a person; more blocks than this say nothing more.
MIN_ROWS, MOST_BLOCKS = 5, 2000
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def contributions(model: Model, rows: pd.DataFrame, scores: Floats, baseline: float) -> Floats:
    """What each labelled row adds to the sums: (rows,) -> (rows, sums). `baseline` is the constant to beat.

    A row that carries no loss (ranking: all but one of a query) adds none. Where the constant has no finite loss its
    column is zero. Raises KeyError where the loss needs a column that is not there.
    """
    scores = np.asarray(scores, np.float64)
    loss = np.asarray(model.loss(rows, scores), np.float64)
    constant = np.asarray(model.loss(rows, np.full(len(rows), baseline)), np.float64)
    carried = np.isfinite(loss)
    usable = bool(np.isfinite(constant[carried]).all())
    labels = rows[model.schema.label].to_numpy(np.float64)
    ones = np.ones(len(rows))
    held = np.where(carried, constant, 0.0) if usable else np.zeros(len(rows))
    return np.stack([ones, labels, scores, carried.astype(np.float64), np.where(carried, loss, 0.0), held], axis=1)


def described(model: Model, holdout: pd.DataFrame, scores: Floats, baseline: float) -> Mapping[str, Any]:
    """The part `blocks` of reference.json: the unit, the last day of the data, and the sums by name.

    Blocks are in order of their name, which is not kept; one of fewer than `MIN_ROWS` rows is left out.
    """
    unit = unit_of(model.schema, holdout)
    sums = pd.DataFrame(contributions(model, holdout, scores, baseline), columns=list(SUMS))
    by_block = sums.groupby(holdout[model.schema.block].astype("str").to_numpy(), sort=True).sum()
    kept = by_block[by_block["rows"] >= MIN_ROWS]
    if kept.empty:
        return {"reason": f"no held-out {unit} has {MIN_ROWS} rows or more, and fewer could tell of a person"}
    kept = kept.iloc[:: -(-len(kept) // MOST_BLOCKS)]
    return {
        "unit": unit,
        "until": _until(model.schema, holdout, unit),
        "left_out": len(by_block) - len(kept),
        "sums": {name: [float(value) for value in kept[name]] for name in SUMS},
    }


def unit_of(schema: Schema, rows: pd.DataFrame) -> str:
    """`DAY` where the blocks are the calendar days of the events; else the column that names them."""
    dated = schema.event_time is not None and rows[schema.block].astype("str").map(_DATE.fullmatch).notna().all()
    return DAY if dated else schema.block


def _until(schema: Schema, rows: pd.DataFrame, unit: str) -> str | None:
    """The last day of the bundle's own data; None where its rows have no time."""
    if schema.event_time is None:
        return None
    days = calendar_days(rows[schema.block if unit == DAY else schema.event_time])
    return str(days.max().date())
