"""The newest logged rows, for whoever compares models on what callers really ask: as many as memory has room for.

Of full days alone, so that who names the last of them finds the same rows again while the log grows.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.context import Context
from pipeline.errors import UnavailableError

if TYPE_CHECKING:
    import polars as pl

    from pipeline.monitoring.store import Store

DAYS, MOST = 28, 200_000
_DAY, _ID, _SEED = "day", "id", 1


def newest(context: Context, names: Collection[str], last: date | None = None) -> pd.DataFrame:
    """These columns and `day` of the newest rows: at most DAYS days, and no older day once there are MOST rows.

    Of a day that has more, MOST. Days are full: before today, in UTC. `last` is the newest of them to take, one of the
    newest DAYS that have rows; None for the newest.

    Raises UnavailableError where there is no store, it does not answer or does not keep all of these columns, or has no
    row of such days.
    """
    try:
        from pipeline.monitoring.store import open_store
    except ImportError as error:  # an environment that only releases
        raise UnavailableError(f"{error.name} is not installed") from error
    store = open_store(context)
    if lacking := sorted(set(names) - set(store.features)):
        raise UnavailableError(f"{store.place.where} does not keep {', '.join(lacking)}")
    counts = store.days(last=datetime.now(UTC).date() - timedelta(days=1))
    days = newest_days(counts if last is None else _up_to(counts, last, store.place.where))
    if not days:
        raise UnavailableError(f"{store.place.where} has no row of a full day")
    return as_pandas(sampled(store, days[0], days[-1], names, MOST).drop(_ID))


def _up_to(counts: Any, last: date, where: str) -> Any:
    """The counts up to a day, which has to be new: whoever could name any day could choose what comes of it."""
    there = sorted(set(counts[_DAY].to_list()))[-DAYS:]
    if last not in there:
        has = f"{there[0]} to {there[-1]}" if there else "none"
        raise UnavailableError(f"{last} is none of the newest {DAYS} full days with rows in {where}: {has}")
    return counts.filter(counts[_DAY] <= last)


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

    Rows that lack one of these columns are passed over: they were logged before it was kept, and are not null there.
    Raises UnavailableError where no row is left.
    """
    import polars as pl

    columns = [_DAY, _ID, *(name for name in names if name not in (_DAY, _ID))]
    days: dict[date, pl.DataFrame] = {}
    lost: list[str] = []
    for frame in store.batches(first, last, [*columns, *(chosen.meta.root_names() if chosen is not None else ())]):
        if frame.is_empty():
            continue
        if lacking := [name for name in columns if name not in frame.columns]:
            lost += lacking
            continue
        day: date = frame[_DAY][0]
        rows = (frame if chosen is None else frame.filter(chosen)).select(columns)
        days[day] = drawn(pl.concat([days[day], rows]) if day in days else rows, most)
    if not days:
        kept = f"`monitoring.fields` kept {', '.join(dict.fromkeys(lost))}; wait for newer ones"
        raise UnavailableError(f"{store.place.where}: all rows from {first} to {last} were logged before {kept}")
    return pl.concat(days.values())


def drawn(rows: "pl.DataFrame", most: int) -> "pl.DataFrame":
    """The rows, or so many of them by their ids alone."""
    import polars as pl

    return rows.bottom_k(most, by=pl.col(_ID).hash(_SEED)) if rows.height > most else rows


def as_pandas(frame: Any) -> pd.DataFrame:
    """A polars frame as the model's functions take it."""
    return pd.DataFrame({name: frame[name].to_list() for name in frame.columns})
