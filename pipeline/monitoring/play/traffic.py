"""Prepared rows as the requests that callers would have made: in their order, each with the moment it is about."""

import http.client
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec
import pandas as pd

from model.contract import Schema
from pipeline.config import Frozen
from pipeline.errors import UnavailableError
from pipeline.monitoring.labels import Label
from pipeline.monitoring.played import moments
from pipeline.text import clipped, plain

MOST_ROWS = 500  # a request
TRIES = 5
TIMEOUT = 30.0
DAY, MOMENT, ID = "_day", "_moment", "_id"  # columns beside those of the prepared table
_OK, _BUSY = http.HTTPStatus.OK, http.HTTPStatus.SERVICE_UNAVAILABLE
_REFUSED = range(400, 500)


class Sent(Frozen):
    """Rows that were answered, and those that the server refused, with what it said of the first."""

    answered: int = 0
    refused: int = 0
    example: str = ""

    def __add__(self, other: "Sent") -> "Sent":
        """Both together."""
        return Sent(
            answered=self.answered + other.answered,
            refused=self.refused + other.refused,
            example=self.example or other.example,
        )


@dataclass(frozen=True)
class Request:
    """Rows about one moment, RFC 3339 in UTC, each by name and with its id."""

    moment: str
    rows: tuple[dict[str, Any], ...]


def by_day(prepared: pd.DataFrame, schema: Schema, first: date, last: date) -> dict[date, pd.DataFrame]:
    """The rows of these days (UTC) of their events by day, in order of event time and key, with DAY, MOMENT and ID.

    Raises ValueError without event time.
    """
    times = moments(prepared, schema)
    within = (times >= pd.Timestamp(first, tz="UTC")) & (times < pd.Timestamp(last, tz="UTC") + pd.Timedelta(days=1))
    frame, times = prepared[within], times[within]
    parts = [[_part(value) for value in frame[name]] for name in schema.key]
    ids = ["-".join(key) for key in zip(*parts, strict=True)]
    spelt = times.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    added: dict[str, Any] = {DAY: times.dt.date, MOMENT: spelt, ID: ids}
    named = frame.assign(**added).sort_values([MOMENT, ID])
    return dict(iter(named.groupby(DAY, sort=True)))  # type: ignore[arg-type]


def _part(value: Any) -> str:
    """A part of a key as a person writes it: 1545 and not 1545.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def requests(day: pd.DataFrame, schema: Schema) -> Iterator[Request]:
    """A day's rows as requests: those of a moment together."""
    for moment, rows in day.groupby(MOMENT, sort=True):
        made = _rows(rows, schema)
        for first in range(0, len(made), MOST_ROWS):
            yield Request(str(moment), tuple(made[first : first + MOST_ROWS]))


def _rows(frame: pd.DataFrame, schema: Schema) -> list[dict[str, Any]]:
    """Rows by name; what is null is null, and whole numbers are whole."""
    columns = {column.name: _values(frame[column.name], column.type) for column in schema.columns}
    ids = frame[ID].tolist()
    return [
        {"id": name, **dict(zip(columns, values, strict=True))}
        for name, *values in zip(ids, *columns.values(), strict=True)
    ]


def _values(values: "pd.Series[Any]", kind: str) -> list[Any]:
    kinds: dict[str, Callable[[Any], Any]] = {"category": str, "number": float, "integer": _whole}
    convert = kinds[kind]
    return [None if missing else convert(value) for value, missing in zip(values, values.isna(), strict=True)]


def _whole(value: Any) -> float:
    return int(value) if float(value).is_integer() else float(value)


def outcomes(day: pd.DataFrame, schema: Schema) -> Iterator[Label]:
    """How a day's rows turned out, those of them that have an outcome."""
    known = day[day[schema.label].notna()]
    for name, label, when in zip(known[ID], known[schema.label], known[DAY], strict=True):
        yield Label(id=str(name), label=float(label), event_day=when)


class Caller:
    """Whoever asks the server: one connection, one request after the other."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)

    def send(self, given: Iterator[Request]) -> Sent:
        """Send everything; rows that are refused keep no others from being answered. Raises UnavailableError."""
        total = Sent()
        for request in given:
            total += self._one(request.moment, request.rows)
        return total

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _one(self, moment: str, rows: Sequence[dict[str, Any]]) -> Sent:
        status, said = self._asked(moment, rows)
        if status == _OK:
            return Sent(answered=len(rows))
        if status not in _REFUSED:
            raise UnavailableError(f"the server answered {status} to rows about {moment}: {_why(said)}")
        if len(rows) == 1:
            return Sent(refused=1, example=f"{rows[0]['id']}: {_why(said)}")
        return sum((self._one(moment, [row]) for row in rows), Sent())

    def _asked(self, moment: str, rows: Sequence[dict[str, Any]]) -> tuple[int, bytes]:
        """Status and body; asked again where the connection broke or the server was busy, as ids make that safe."""
        body = msgspec.json.encode(rows)
        for left in reversed(range(TRIES)):
            try:
                headers = {"Content-Type": "application/json", "X-Event-Time": moment}
                self._connection.request("POST", "/predict", body, headers)
                with self._connection.getresponse() as answer:
                    said = answer.read()
                    if answer.status != _BUSY or not left:
                        return answer.status, said
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if not left:
                    raise UnavailableError(f"the server stopped answering: {type(error).__name__}") from error
            time.sleep(0.1)
        raise AssertionError("the last try returns or raises")


def _why(said: bytes) -> str:
    """What a problem (RFC 9457) says went wrong."""
    try:
        problem = msgspec.json.decode(said)
        faults = problem.get("errors") or problem.get("faults") or [{}]
        return clipped(plain(faults[0].get("detail") or problem.get("detail") or problem.get("title") or ""), 200)
    except (msgspec.DecodeError, AttributeError, TypeError, IndexError):
        return clipped(plain(said.decode(errors="replace")), 200)
