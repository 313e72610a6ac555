"""Section `monitoring` of params.yaml: what is looked at, and when it is an alarm. It never changes a bundle.

docs/monitoring.md says what each threshold is for and where its default comes from.
"""

from functools import partial
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from pipeline.config import Frozen, read_params, validated
from pipeline.monitoring.keeping import Keeping

_Share = partial(Field, gt=0, lt=1)


class FeedLimits(Frozen):
    """When the rows that come in are broken. Shares are of the rows of `days` full days, or of one of them.

    Fewer rows than `min_cases` never are a fault. A category is gone when `min_expected_of_category` rows were due.
    """

    days: int = Field(7, ge=1, le=28)
    min_rows: int = Field(100, ge=1)
    min_cases: int = Field(5, ge=1)
    max_out_of_range_share: float = _Share(0.001)
    max_null_share_increase: float = _Share(0.3)
    max_relation_violation_share: float = _Share(0.001)
    max_unseen_category_share: float = _Share(0.05)
    max_psi: float = Field(0.2, gt=0)
    min_rows_per_bin: int = Field(20, ge=1)
    min_expected_of_category: int = Field(30, ge=5)
    min_volume_ratio: float = _Share(0.5)
    max_volume_ratio: float = Field(3.0, gt=1)


class DecayLimits(Frozen):
    """When the model no longer fits what happens. A window is `days` calendar days of which `min_blocks` have rows.
    The newest `history_days` are looked at.

    `alarms_per_stream` is the share of unchanged streams of `stream_days` days that may alarm, given that the held-out
    days are what days are like; the limits follow. They are a sample; `flightline backtest` says how many do in life.
    """

    days: int = Field(28, ge=7, le=366)
    history_days: int = Field(180, ge=1)
    min_blocks: int = Field(20, ge=2)
    min_labelled_share: float = Field(0.80, gt=0, le=1)
    max_label_wait_days: int = Field(3, ge=0)
    alarms_per_stream: float = Field(0.05, gt=0, lt=0.5)
    stream_days: int = Field(84, ge=28, le=366)
    resamples: int = Field(2000, ge=200, le=100_000)
    seed: int = 20130101

    @model_validator(mode="after")
    def _a_window_fits(self) -> Self:
        if self.days > min(self.stream_days, self.history_days) or self.min_blocks > self.days:
            raise ValueError("min_blocks must be at most days, and days at most stream_days and history_days")
        return self


class PlayRules(Frozen):
    """What `flightline play` plays: so many days after production's own data, labels so many days after their event."""

    days: int = Field(153, ge=1, le=3660)
    labels_after_days: int = Field(7, ge=1, le=366)


class Monitoring(Keeping):
    """Every setting of monitoring."""

    feed: FeedLimits = FeedLimits()
    decay: DecayLimits = DecayLimits()
    play: PlayRules = PlayRules()


class _Named(Frozen):
    """The section under its name, so that a fault says the whole field."""

    monitoring: Monitoring


def read_monitoring(root: Path) -> Monitoring:
    """Section `monitoring` of `params.yaml` under `root`. Raises ConfigError naming file, field and value."""
    document = {"monitoring": read_params(root).monitoring}
    return validated(_Named, document, root / "params.yaml").monitoring
