"""A store of predictions and labels in a folder of the test's own, and lines of the prediction log for it."""

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.monitoring.labels import Label, Rules
from pipeline.monitoring.log import Form
from pipeline.monitoring.place import Place
from pipeline.monitoring.store import Store

MODEL = "flight-delays"
FEATURES: dict[str, pl.DataType] = {"carrier": pl.String(), "temp": pl.Float64()}
RULES = Rules(delay_days=1, retention_days=400, tolerance=timedelta(minutes=5))
APRIL = date(2013, 4, 1)


def store(folder: Path | str, *, rules: Rules = RULES, features: dict[str, pl.DataType] | None = None) -> Store:
    """A store in a folder or bucket, that keeps carrier and temperature."""
    return Store(Place(str(folder)), Form(MODEL, FEATURES if features is None else features), rules)


def line(name: str, when: str = "2013-04-01T10:00:00Z", **other: Any) -> bytes:
    """A line as the server writes it, without its end; `when` is the event time."""
    said: dict[str, Any] = {
        "time": "2013-04-20T00:00:00.5Z",
        "event_time": when,
        "id": name,
        "request": "r",
        "model": MODEL,
        "version": "a" * 64,
        "features": {"carrier": "UA", "temp": 39.0, "hour": 5},
        "score": 0.25,
        "latency": 0.001,
        **other,
    }
    return json.dumps({key: value for key, value in said.items() if value is not None}).encode()


def label(name: str, value: float = 1, day: date | None = None, known: datetime | None = None) -> Label:
    """A label for a row."""
    return Label(id=name, label=value, event_day=day, known_at=known)


def evening(day: date) -> datetime:
    """Late on a day."""
    return datetime.combine(day, time(23, 59), UTC)


def values(kept: Store, first: date = date.min, last: date = date.max) -> dict[str, float | None]:
    """The label of each joined row, by id."""
    return dict(kept.joined(first, last).select("id", "label").collect().iter_rows())


def files(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def lines(names: Iterable[str], when: str = "2013-04-01T10:00:00Z") -> list[bytes]:
    """A line for each of these ids."""
    return [line(name, when) for name in names]
