"""As much of Prometheus as the graphs ask of one: series in a range, of a stable version and of a canary that errs."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers import answering

STABLE, CANARY = "58597b74f9", "64fb6d65ff"
HASH = "rollouts_pod_template_hash"


def series(query: str, start: float, end: float, step: float, released: float) -> list[dict[str, Any]]:
    """What a query gives: requests by pods, or one series about those that the query names."""
    times = [start + at * step for at in range(int((end - start) / step) + 1)]
    canary = [at for at in times if at >= released]
    if query.startswith("sum by (rollouts_pod_template_hash)"):
        return [one({HASH: STABLE}, times, 40.0), one({HASH: CANARY}, canary, 10.0)]
    if CANARY in query and STABLE in query:
        return [one({}, canary, 0.4)]
    return [one({}, canary, 0.2)] if CANARY in query else [one({}, times, 0.01)]


def one(labels: dict[str, str], times: list[float], value: float) -> dict[str, Any]:
    return {"metric": labels, "values": [[at, str(value) if place else "NaN"] for place, at in enumerate(times)]}


@contextmanager
def playing(released: float) -> Iterator[str]:
    """The address of a server whose canary takes traffic from this moment on."""

    def reply(asked: BaseHTTPRequestHandler) -> tuple[int, Any]:
        given = {name: values[0] for name, values in parse_qs(urlsplit(asked.path).query).items()}
        span = (float(given["start"]), max(float(given["end"]), released + 60), float(given["step"]))
        result = series(given["query"], *span, released)
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": result}}

    with answering(reply) as address:
        yield address
