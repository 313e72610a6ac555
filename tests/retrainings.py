"""What a retraining is decided from, for tests: an observation that alarms, an attempt, the question to the guards."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pipeline.monitoring.observation import OBSERVED_OVER_EXPECTED, Observation, Period, Reading, Section
from pipeline.monitoring.retrain.attempts import Attempt
from pipeline.monitoring.retrain.config import Retrain
from pipeline.monitoring.retrain.guards import Asked
from tests import observations
from tests.observations import QUIET

VERSION, OTHER = "a" * 64, "b" * 64
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
END = date(2013, 5, 26)
READING = Reading(
    name=OBSERVED_OVER_EXPECTED, value=1.89, low=0.77, high=1.26, alarm=True, reason="1.89 above 1.26 of unchanged days"
)
DECAYED = Section(alarm=True, decision="alarm", reason="observed/expected is 1.89", readings=(READING,))
BROKEN = Section(alarm=True, decision="alarm", reason="dewp <= temp fails in 98.9 % of rows")


def observation(end: date = END, **given: Any) -> Observation:
    """Production decayed in the 28 days to `end`, and its feed is sound; or what `given` says."""
    window = Period(first=end - timedelta(days=27), last=end, days=28, rows=25_000, labelled=24_000)
    said: dict[str, Any] = {
        "version": VERSION,
        "as_of": end + timedelta(days=8),
        "window": window,
        "feed": QUIET,
        "drift": QUIET,
        "decay": DECAYED,
        "new_labels": 50_000,
    }
    return observations.observation(**{**said, **given})


def attempt(end: date = END, **given: Any) -> Attempt:
    """An attempt on the window to `end`, just begun."""
    said: dict[str, Any] = {
        "version": VERSION,
        "window_end": end,
        "as_of": end + timedelta(days=8),
        "base": "c" * 40,
        "why": "decay: observed/expected is 1.89",
        "holder": "one",
        "until": NOW + timedelta(hours=2),
        "began": NOW - timedelta(minutes=5),
        "done": ("decide",),
    }
    return Attempt(**{**said, **given})


def asked(**given: Any) -> Asked:
    """The question, with an alarm and nothing tried yet; or what `given` says."""
    said: dict[str, Any] = {
        "observation": observation(),
        "attempts": (),
        "proposals": (),
        "version": VERSION,
        "data_end": date(2013, 3, 31),
        "holder": "two",
        "now": NOW,
        "settings": Retrain(),
    }
    return Asked(**{**said, **given})


def observer(end: date = END, **given: Any) -> Callable[[], Observation]:
    """What a run asks for its observation."""
    return lambda: observation(end, **given)
