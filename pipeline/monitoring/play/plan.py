"""What is played: which days, and what the model's source gives for them."""

from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import yaml

import model as models
from model.contract import Model
from pipeline.config import ConfigError, Frozen, Params, validated
from pipeline.context import Context
from pipeline.monitoring.config import read_monitoring
from pipeline.monitoring.play import traffic
from pipeline.monitoring.retrain import window
from pipeline.monitoring.retrain.attempts import PARAMS
from pipeline.monitoring.retrain.config import read_retrain

_A_DAY = timedelta(days=1)


class Span(Frozen):
    """Which days are played, both included; labels come `late` days after their event.

    `ends` is where the window of params.yaml is moved to first, None where it stands.
    """

    first: date
    last: date
    late: int
    ends: date | None = None

    @property
    def mornings(self) -> int:
        """How many looks there are: one after each day."""
        return (self.last - self.first).days + 1


def span_of(root: Path, first: date | None, last: date | None) -> Span:
    """From what was asked for, `monitoring.play` and the window of params.yaml. Raises ConfigError."""
    rules, key = read_monitoring(root).play, read_retrain(root).window_key
    end = window.read((root / PARAMS).read_text(), key)
    begins = first or end + _A_DAY
    if begins <= end:
        raise ConfigError(f"--from {begins}: production has the data to {end} ({key} in params.yaml); give a later day")
    until = last or begins + timedelta(days=rules.days - 1)
    if until < begins:
        raise ConfigError(f"--to {until}: it is before {begins}, the first day to be played; give a later day")
    ends = begins - _A_DAY
    return Span(first=begins, last=until, late=rules.labels_after_days, ends=None if ends == end else ends)


def rows(context: Context, span: Span) -> dict[date, pd.DataFrame]:
    """What the source gives for the days to be played, by day. Raises ConfigError where it gives none.

    A window that rolls on forgets its first days, so it is moved back to each day before those that it gave.
    """
    key, found, end = read_retrain(context.root).window_key, dict[date, pd.DataFrame](), span.last
    while end >= span.first and (some := _rows(context, key, span.first, end)):
        found, end = {**some, **found}, min(some) - _A_DAY
    if not found:
        raise ConfigError(
            f"with {key} at {span.last} model/ gives no row from {span.first} to {span.last}; give other days "
            "by --from and --to"
        )
    return found


def _rows(context: Context, key: str, first: date, end: date) -> dict[date, pd.DataFrame]:
    """Rows of a window to `end`, from `first` on."""
    text = window.advanced((context.root / PARAMS).read_text(), key, end)
    params = validated(Params, yaml.safe_load(text), context.root / PARAMS)
    later: Model = models.load(params.of_model())
    return traffic.by_day(later.prepare(later.fetch()), later.schema, first, end)
