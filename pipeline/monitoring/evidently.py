"""Evidently's own drift report, for whoever has it installed. It decides nothing here: it knows no seasons."""

from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import polars as pl

from model.contract import Schema
from pipeline import paths
from pipeline.context import Context
from pipeline.errors import UnavailableError
from pipeline.frames import PART, TRAIN, read_rows
from pipeline.monitoring.store import Store
from pipeline.monitoring.tally import pandas_of

PATH = Path("build/evidently.html")
_DAYS, _MOST_ROWS = 28, 50_000


def check() -> None:
    """Raise UnavailableError unless Evidently can be imported."""
    if find_spec("evidently") is None:
        raise UnavailableError("evidently is not installed here (1 GB, so no dependency): `pip install evidently`")


def render(context: Context, store: Store, as_of: date) -> Path:
    """Rows that train, of build/rows, against the newest 28 days of the log, a sample of each. Raises TableError."""
    check()
    from evidently import Report
    from evidently.presets import DataDriftPreset

    schema = context.model.schema
    rows = read_rows(context.root / paths.ROWS, schema)
    current = newest(store, schema, as_of)
    known = rows.loc[rows[PART] == TRAIN, list(current.columns)]
    found = Report([DataDriftPreset()]).run(_sample(current), _sample(known))
    found.save_html(str(context.root / PATH))
    return context.root / PATH


def newest(store: Store, schema: Schema, as_of: date) -> pd.DataFrame:
    """The logged columns of the newest 28 days. Raises UnavailableError where nothing was logged."""
    frames = list(store.batches(as_of - timedelta(days=_DAYS), as_of - timedelta(days=1), schema.names))
    if not frames:
        raise UnavailableError(f"nothing was logged in the {_DAYS} days before {as_of}")
    kept = set.intersection(*({*frame.columns} for frame in frames))
    return pandas_of(pl.concat(frame.select(name for name in schema.names if name in kept) for frame in frames))


def _sample(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sample(min(len(rows), _MOST_ROWS), random_state=0)
