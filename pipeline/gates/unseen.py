"""Were these held-out rows ever seen in training? Answered from the split's rule, which travels in the bundle."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from model.contract import Bools
from model.splits import calendar_days, drawn_groups

Rule = Mapping[str, str | float]


def reason_seen(rule: Rule, holdout: pd.DataFrame, holdout_rule: Rule) -> str | None:
    """None where a model split by `rule` cannot have trained on `holdout`; otherwise why it may have.

    `holdout_rule` is the rule that chose the held-out rows. By time: training ended before the first of them. By group:
    the same rule holds out the same groups every time, so equal rules never share a row.
    """
    kind = rule.get("kind")
    if kind == "time":
        return _seen_by_time(rule, holdout)
    if kind == "group":
        return None if dict(rule) == dict(holdout_rule) else "it held out other groups than the ones compared on"
    return f"its bundle does not say how its rows were split (rule {dict(rule)!r})"


def _seen_by_time(rule: Rule, holdout: pd.DataFrame) -> str | None:
    column = str(rule.get("column"))
    if column not in holdout:
        return f"it was split by {column!r}, which these rows do not have"
    try:
        until = calendar_days(pd.Series([rule.get("trained_until")], name="trained_until")).iloc[0]
        held = calendar_days(holdout[column])
    except ValueError as error:
        return f"its split by time cannot be trusted: {error}"
    if pd.isna(until) or held.isna().any() or held.empty:
        return f"its split by time cannot be trusted: a date is missing in the rule {dict(rule)!r} or in {column!r}"
    first = held.min()
    seen = f"it was trained on rows until {until:%Y-%m-%d}, and the holdout begins on {first:%Y-%m-%d}"
    return None if until < first else seen


def holds_out(rule: Rule, groups: "pd.Series[Any]") -> Bools:
    """Which of these rows a split by group leaves out of training: (rows,). A group it never saw is drawn like any."""
    return drawn_groups(groups, float(rule["share"]), str(rule["salt"]))
