"""What is asked of a Prometheus server: series over a range of time, values now, alerts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import requests

from pipeline.errors import UnavailableError
from pipeline.registry import LOOPBACK
from pipeline.text import plain

Points = tuple[tuple[float, float], ...]
Labels = Mapping[str, str]
_TIMEOUT = (3.0, 20.0)


class QueryError(UnavailableError):
    """Prometheus answered, and took the query for wrong or too much. The message has its words."""


@dataclass(frozen=True)
class Alert:
    """An alert as Prometheus has it now: `pending` or `firing`."""

    state: str
    labels: Labels
    annotations: Labels


@dataclass(frozen=True)
class Prometheus:
    """The server at an address. Every method raises UnavailableError."""

    address: str

    def range(self, query: str, start: float, end: float, step: float) -> tuple[tuple[Labels, Points], ...]:
        """Every series of a query by its labels: a point each `step` seconds; what is no number is left out."""
        found = self._ask("query_range", query=query, start=start, end=end, step=step)["result"]
        return tuple((one["metric"], _points(one["values"])) for one in found)

    def now(self, query: str, at: float | None = None) -> tuple[tuple[Labels, float], ...]:
        """What a query is now, or at a time in seconds since 1970: a value for each series, NaN among them."""
        found = self._ask("query", query=query, **({} if at is None else {"time": at}))
        if found["resultType"] == "scalar":
            return (({}, float(found["result"][1])),)
        return tuple((one["metric"], float(one["value"][1])) for one in found["result"])

    def alerts(self) -> tuple[Alert, ...]:
        """What is pending or fires."""
        found = self._ask("alerts")["alerts"]
        return tuple(Alert(one["state"], one["labels"], one["annotations"]) for one in found)

    def _ask(self, what: str, **asked: str | float) -> Any:
        try:
            answer = self._session.get(f"{self.address.rstrip('/')}/api/v1/{what}", params=asked, timeout=_TIMEOUT)
            document = answer.json()
            if document["status"] == "success":
                return document["data"]
            about = plain(asked.get("query", what))[:200]
            raise QueryError(f"Prometheus refused {about!r}: {plain(document['error'])}")
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise UnavailableError(
                f"no Prometheus answers at {self.address} ({type(error).__name__}); is it up, and is its address right?"
            ) from error

    @cached_property
    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = not LOOPBACK.fullmatch(urlsplit(self.address).netloc)  # no proxy reaches this machine
        return session


def _points(values: Sequence[Any]) -> Points:
    return tuple(_numbers(values))


def _numbers(values: Sequence[Any]) -> Iterator[tuple[float, float]]:
    for at, value in values:
        if math.isfinite(float(value)):
            yield float(at), float(value)
