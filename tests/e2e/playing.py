"""Months of 2013 played to a server: real flights in their real order, a request an hour, labels a played week late."""

import csv
import http.client
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

import model
from model.splits import calendar_days
from pipeline.context import Context
from tests.checkouts import PROJECT

LATE = timedelta(days=7)
CALLERS = 4
TIMEOUT = 30.0
_DAY, _HOUR, _ID, _LABEL = "day", "hour of event", "id", "outcome"

Change = Callable[[pd.DataFrame], pd.DataFrame]
Batch = tuple[str, bytes]


@dataclass(frozen=True)
class Flights:
    """Flights with the day and hour of their event (UTC), an id and the outcome; `names` are a request's columns."""

    frame: pd.DataFrame
    names: tuple[str, ...]

    @classmethod
    def of(cls, first: date, last: date) -> "Flights":
        """All whose event is on these days, both included, in its order."""
        given = Context(PROJECT).params.of_model()
        # What departs late in the evening belongs to the next day in UTC.
        window = {"start": str(first - timedelta(days=1)), "end": str(last)}
        flights = model.load({**given, "data": window})
        schema, rows = flights.schema, flights.prepare(flights.fetch())
        assert schema.event_time is not None
        moments = pd.to_datetime(rows[schema.event_time], utc=True, format="ISO8601")
        rows[_DAY] = [one.date() for one in calendar_days(rows[schema.event_time])]
        rows[_HOUR] = moments.dt.floor("h").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        rows[_ID] = rows[[*schema.key]].astype(str).agg("-".join, axis=1)
        rows[_LABEL] = rows[schema.label]
        kept = rows[(rows[_DAY] >= first) & (rows[_DAY] <= last)].sort_values(_HOUR, kind="stable")
        return cls(kept, tuple(schema.names))

    def between(self, first: date, last: date, change: Change | None = None) -> "Flights":
        """Those of some days, changed on their way."""
        days = self.frame[(self.frame[_DAY] >= first) & (self.frame[_DAY] <= last)]
        return Flights(days if change is None else change(days.copy()), self.names)

    def batches(self) -> Iterator[Batch]:
        """The moment of each request, and its body."""
        for moment, rows in self.frame.groupby(_HOUR, sort=False):
            yield str(moment), rows[[_ID, *self.names]].to_json(orient="records").encode()

    def play(self, address: str) -> int:
        """Ask for every row, in order but for the few requests that are under way at once; how many."""
        with ThreadPoolExecutor(CALLERS) as callers:
            return sum(callers.map(lambda one: ask(address, *one), self.batches()))

    def labels(self, path: Path) -> Path:
        """The outcomes as a file for `flightline labels add`, each known a week after its day."""
        with path.open("w", newline="") as out:
            table = csv.writer(out)
            table.writerow(("id", "label", "event_day", "known_at"))
            for name, outcome, day in self.frame[[_ID, _LABEL, _DAY]].dropna().itertuples(index=False):
                table.writerow((name, int(outcome), day, known(day).isoformat()))
        return path


def known(day: date) -> datetime:
    """When the outcomes of a day are told."""
    return datetime.combine(day + LATE, time(6), UTC)


def ask(address: str, moment: str, body: bytes) -> int:
    """One request on a connection of its own; how many rows were answered."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.netloc, timeout=TIMEOUT)
    try:
        headers = {"content-type": "application/json", "connection": "close", "x-event-time": moment}
        connection.request("POST", place.path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    assert answer.status == http.HTTPStatus.OK, f"{moment}: {answer.status} {said[:300]!r}"
    return len(json.loads(body))


def in_celsius(rows: pd.DataFrame) -> pd.DataFrame:
    """A feed that changed its unit and told nobody."""
    return rows.assign(temp=(rows["temp"] - 32) / 1.8)


def without_la_guardia(rows: pd.DataFrame) -> pd.DataFrame:
    """A feed that lost an airport."""
    return rows[rows["origin"] != "LGA"]
