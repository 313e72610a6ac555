"""The newest logged rows, for whoever compares models on what callers really ask."""

from collections.abc import Collection
from datetime import date
from typing import Any

import pandas as pd

from pipeline.context import Context
from pipeline.errors import UnavailableError

DAYS, MOST = 28, 200_000
_DAY = "day"


def newest(context: Context, names: Collection[str]) -> pd.DataFrame | None:
    """These columns and `day` of the newest rows: at most DAYS days, and no older day once there are MOST rows.

    None where there is no store, it does not answer or does not keep all of these columns, or has no row.
    """
    try:
        from pipeline.monitoring.store import open_store
    except ImportError:  # an environment that only releases
        return None
    try:
        store = open_store(context)
        if not set(names) <= set(store.features):
            return None
        days = newest_days(store.days())
        return as_pandas(store.joined(days[0], days[-1]).select(_DAY, *names).collect()) if days else None
    except UnavailableError:
        return None


def newest_days(counts: Any) -> list[date]:
    """The newest days with rows by `Store.days`, oldest first: at most DAYS, none older once there are MOST rows."""
    rows: dict[date, int] = {}
    for one in counts.iter_rows(named=True):
        rows[one[_DAY]] = rows.get(one[_DAY], 0) + one["predictions"]
    chosen: list[date] = []
    for day in sorted(rows, reverse=True)[:DAYS]:
        if sum(rows[one] for one in chosen) >= MOST:
            break
        chosen.insert(0, day)
    return chosen


def as_pandas(frame: Any) -> pd.DataFrame:
    """A polars frame as the model's functions take it."""
    return pd.DataFrame({name: frame[name].to_list() for name in frame.columns})
