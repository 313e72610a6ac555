"""Freshness: whether labels reach to the end of the window, without a hole, for enough of the rows."""

from datetime import date

import numpy as np
import pandas as pd

from model.contract import Schema
from pipeline.config import DataGate
from pipeline.gates import decide
from pipeline.gates.decide import percent
from pipeline.gates.schema_checks import times
from pipeline.verdict import Check


def judge(prepared: pd.DataFrame, schema: Schema, window_end: date | None, limits: DataGate) -> list[Check]:
    """The checks, on all rows with or without a label. Without event time only the labelled share is judged."""
    labelled = prepared[schema.label].notna()
    if schema.event_time is None:
        unknown = decide.reported("labels without a hole", "the rows have no time; a hole in it cannot be found")
        return [_share(labelled, limits), unknown]
    moments = times(prepared[schema.event_time])
    end = moments.max().date() if window_end is None else window_end
    due = moments <= _end_of(end) - pd.Timedelta(days=schema.label_delay_days)
    return [_share(labelled[due], limits), _holes(moments, labelled, end, schema.label_delay_days, limits)]


def _share(labelled: "pd.Series[bool]", limits: DataGate) -> Check:
    """Whether enough of the rows whose label is due have one."""
    share = float(labelled.mean()) if len(labelled) else 0.0
    needed = percent(limits.min_labelled_share)
    reason = f"{percent(share)} of {len(labelled):,} rows whose label is due have one, at least {needed} needed"
    enough = share >= limits.min_labelled_share
    return decide.judged("labelled share", enough, reason, statistic=share, threshold=limits.min_labelled_share)


def _holes(
    moments: "pd.Series[pd.Timestamp]", labelled: "pd.Series[bool]", end: date, delay: int, limits: DataGate
) -> Check:
    """Whether there is a run of days without any label, from the first row to the day on which labels are due."""
    first, due = moments.min().tz_localize(None).normalize(), pd.Timestamp(end) - pd.Timedelta(days=delay)
    days = pd.date_range(first, max(first, due))
    seen = days.isin(moments[labelled].dt.tz_localize(None).dt.normalize())
    runs = np.split(np.arange(len(days)), np.flatnonzero(np.diff(seen)) + 1)
    empty = [days[run] for run in runs if not seen[run[0]]]
    longest = max(map(len, empty), default=0)
    too_long = [run for run in empty if len(run) > limits.max_days_without_label]
    allowed = limits.max_days_without_label
    reason = f"no more than {longest} days in a row lack labels, allowed {allowed}"
    if too_long:
        reason = f"no labels {decide.named(map(_named, too_long))}; allowed are {allowed} days in a row"
    return decide.judged(
        "labels without a hole", not too_long, reason, statistic=longest, threshold=limits.max_days_without_label
    )


def _named(run: pd.DatetimeIndex) -> str:
    """From when to when, with the calendar months that lie in it whole."""
    months = [
        month.strftime("%B %Y")
        for month in pd.period_range(run[0], run[-1], freq="M")
        if month.start_time >= run[0] and month.end_time.normalize() <= run[-1]
    ]
    whole = f", all of {' and '.join(months)}" if months else ""
    return f"from {run[0]:%Y-%m-%d} to {run[-1]:%Y-%m-%d} ({len(run)} days{whole})"


def _end_of(day: date) -> pd.Timestamp:
    return pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1)
