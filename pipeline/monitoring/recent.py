"""The newest logged rows, for whoever compares models on what callers really ask: as many as memory has room for."""

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.context import Context
from pipeline.errors import UnavailableError

if TYPE_CHECKING:
    import polars as pl

    from pipeline.monitoring.store import Store

DAYS, MOST = 28, 200_000
_DAY, _ID, _SEED = "day", "id", 1


def newest(context: Context, names: Collection[str]) -> pd.DataFrame | None:
    """These columns and `day` of the newest rows: at most DAYS days, and no older day once there are MOST rows.

    Of a day that has more, MOST.

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
        return as_pandas(sampled(store, days[0], days[-1], names, MOST).drop(_ID)) if days else None
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


def sampled(
    store: "Store", first: date, last: date, names: Collection[str], most: int, chosen: "pl.Expr | None" = None
) -> "pl.DataFrame":
    """`day`, `id` and these columns of the rows of some days, or of those chosen: no more than `most` of each day.

    Of these days at least one has rows.
    """
    import polars as pl

    columns = [_DAY, _ID, *(name for name in names if name not in (_DAY, _ID))]
    days: dict[date, pl.DataFrame] = {}
    for frame in store.batches(first, last, [*columns, *(chosen.meta.root_names() if chosen is not None else ())]):
        if frame.is_empty():
            continue
        day: date = frame[_DAY][0]
        rows = (frame if chosen is None else frame.filter(chosen)).select(columns)
        days[day] = drawn(pl.concat([days[day], rows]) if day in days else rows, most)
    return pl.concat(days.values())


def drawn(rows: "pl.DataFrame", most: int) -> "pl.DataFrame":
    """The rows, or so many of them by their ids alone."""
    import polars as pl

    return rows.bottom_k(most, by=pl.col(_ID).hash(_SEED)) if rows.height > most else rows


def as_pandas(frame: Any) -> pd.DataFrame:
    """A polars frame as the model's functions take it."""
    return pd.DataFrame({name: frame[name].to_list() for name in frame.columns})
