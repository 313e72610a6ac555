"""The two honest ways to hold rows out: the newest days, or whole groups. Never rows at random."""

import hashlib
from typing import Any

import pandas as pd

from model.contract import Bools, Split

_YEAR_FIRST = r"\d{4}-\d{1,2}-\d{1,2}(?:[T ].*)?"


def last_days(frame: pd.DataFrame, *, day: str, label: str, days: int) -> Split:
    """Hold out the last `days` calendar days that have a label; training ends before them.

    `day` names a column of dates or times, year first; a day is a day in UTC. Raises ValueError where one cannot be
    read, and where nothing is left to train on.
    """
    labelled = frame[label].notna()
    dates = calendar_days(frame[day])
    newest = dates[labelled].max()
    if pd.isna(newest):
        raise ValueError(f"no row has a {label!r}: nothing can be trained; check the window in params.yaml")
    first_held_out = newest - pd.Timedelta(days=days - 1)
    train = labelled & (dates < first_held_out)
    if not train.any():
        raise ValueError(
            f"holding out {days} days leaves no labelled day to train on; widen the window or hold out less"
        )
    holdout = labelled & (dates >= first_held_out)
    trained_until = dates[train].max().date().isoformat()
    rule: dict[str, str | float] = {"kind": "time", "column": day, "trained_until": trained_until}
    return Split(train.to_numpy(bool), holdout.to_numpy(bool), rule)


def calendar_days(values: "pd.Series[Any]") -> "pd.Series[pd.Timestamp]":
    """The day, in UTC, of each date or time; NaT where it is null. Raises ValueError naming the column and the value.

    Numbers and dates that do not begin with the year are refused: they can be read in more ways than one.
    """
    text = values.astype("str")
    days = pd.to_datetime(text.where(text.str.fullmatch(_YEAR_FIRST)), utc=True, format="mixed", errors="coerce")
    unread = values[days.isna() & values.notna()]
    if len(unread):
        raise ValueError(f"column {values.name!r} holds {unread.iloc[0]!r}, which is no date; write it as 2013-03-04")
    return days.dt.normalize()


def by_group(frame: pd.DataFrame, *, group: str, label: str, share: float, salt: str = "flightline") -> Split:
    """Hold out about `share` of the groups, chosen by a hash of the group so that every run holds out the same ones.

    Raises ValueError where either side would be empty.
    """
    labelled = frame[label].notna().to_numpy(bool)
    drawn = drawn_groups(frame[group], share, salt)
    if not (labelled & drawn).any() or not (labelled & ~drawn).any():
        raise ValueError(f"splitting by {group!r} with share {share} leaves one side without rows; change the share")
    rule: dict[str, str | float] = {"kind": "group", "column": group, "share": share, "salt": salt}
    return Split(labelled & ~drawn, labelled & drawn, rule)


def drawn_groups(groups: "pd.Series[Any]", share: float, salt: str) -> Bools:
    """Which rows such a split holds out, shape (rows,): of each group by itself, whatever others there are."""
    return groups.astype(str).map(lambda value: _unit_interval(f"{salt}:{value}") < share).to_numpy(bool)


def _unit_interval(text: str) -> float:
    """A number in [0, 1) that depends on nothing but the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
