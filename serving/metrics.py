"""What Prometheus is told: plain integers counted per request, turned into text only when scraped."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from serving.bundle import Bundle
from serving.problems import KINDS
from serving.signature import Output

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_BOUNDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.025, 0.05),
    *(0.075, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
SCORE_STEPS = 20
ROUTES = ("predict", "infer")
_UNBOUNDED = tuple(float(f"{digit}e{power}") for power in range(-2, 6) for digit in (1, 2, 5))


class Histogram:
    """Counts of values by upper bound (inclusive), with their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.total = tuple(bounds), 0.0
        self._edges = np.asarray(self.bounds)
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, values: ArrayLike) -> None:
        """Count values; of many at a time each costs little."""
        array = np.asarray(values, np.float64)
        found = np.bincount(np.searchsorted(self._edges, array), minlength=len(self._counts))
        self._counts = [old + new for old, new in zip(self._counts, found.tolist(), strict=True)]
        self.total += float(array.sum())

    def lines(self, name: str) -> Iterator[str]:
        """Samples in the text format: cumulative buckets, sum and count."""
        running = 0
        for bound, count in zip((*map(_number, self.bounds), "+Inf"), self._counts, strict=True):
            running += count
            yield f'{name}_bucket{{le="{bound}"}} {running}'
        yield f"{name}_sum {_number(self.total)}"
        yield f"{name}_count {running}"


class Metrics:
    """Everything counted by one server. Changed from the event loop only."""

    def __init__(self, bundle: Bundle, slo: dict[str, float]) -> None:
        signature = bundle.signature
        self._names = signature.names
        self._info = {"model": signature.model, "version": bundle.version, "api": str(signature.api)}
        self._slo, self._started = slo, time.time()
        self.in_flight = 0
        self.log_lines = self.log_dropped = 0
        self.ready = True
        self.latency = Histogram(LATENCY_BOUNDS)
        self.scores = Histogram(score_bounds(signature.output))
        self.requests: Counter[tuple[str, int]] = Counter({(route, 200): 0 for route in ROUTES})
        self.errors: Counter[str] = Counter({kind.slug: 0 for kind in KINDS})
        self.features = {reason: [0] * len(self._names) for reason in ("missing", "unseen", "out_of_range")}

    def answered(self, routes: Sequence[str], seconds: Sequence[float]) -> None:
        """Requests were answered, each on its route and after its time."""
        for route, count in Counter(routes).items():
            self.requests[route, 200] += count
        self.latency.observe(seconds)

    def noticed(self, reason: str, counts: Sequence[int]) -> None:
        """Values were missing, unseen or out of range, so many of each input."""
        self.features[reason] = [old + new for old, new in zip(self.features[reason], counts, strict=True)]

    def refused(self, route: str, status: int, slug: str) -> None:
        """One request was answered with a problem."""
        self.requests[route, status] += 1
        self.errors[slug] += 1

    def render(self) -> bytes:
        """The whole exposition."""
        lines = [*self._service(), *self._model(), *_process(self._started)]
        return ("\n".join(lines) + "\n").encode()

    def _service(self) -> Iterator[str]:
        name = "flightline_requests_total"
        yield from _head(name, "counter", "Requests for a prediction, by route and HTTP status.")
        for (route, status), count in sorted(self.requests.items()):
            yield f'{name}{{route="{route}",code="{status}"}} {count}'
        yield from _head("flightline_errors_total", "counter", "Requests answered with a problem, by its kind.")
        yield from (f'flightline_errors_total{{reason="{slug}"}} {count}' for slug, count in self.errors.items())
        name = "flightline_request_seconds"
        yield from _head(name, "histogram", "Time from a request's head to its answer, for those that were scored.")
        yield from self.latency.lines(name)
        yield from _gauge("flightline_requests_in_flight", "Requests for a prediction under way.", self.in_flight)
        yield from _gauge("flightline_ready", "1 while /readyz answers 200.", int(self.ready))
        name = "flightline_log_lines_total"
        yield from _head(name, "counter", "Lines given to the prediction log, dropped ones among them.")
        yield f"{name} {self.log_lines}"
        name = "flightline_log_dropped_total"
        yield from _head(name, "counter", "Lines of the prediction log that could not be written.")
        yield f"{name} {self.log_dropped}"
        for objective, value in self._slo.items():
            yield from _gauge(f"flightline_slo_{objective}", "The objective as given; for display.", value)

    def _model(self) -> Iterator[str]:
        yield from _head("flightline_model_info", "gauge", "1, with what is served.")
        labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in self._info.items())
        yield f"flightline_model_info{{{labels}}} 1"
        yield from _head("flightline_score", "histogram", "Scores given; its count is the number of rows.")
        yield from self.scores.lines("flightline_score")
        for reason, counts in self.features.items():
            name = f"flightline_feature_{reason}_total"
            yield from _head(name, "counter", f"Values that were {reason.replace('_', ' ')}, by input.")
            for feature, count in zip(self._names, counts, strict=True):
                yield f'{name}{{feature="{_escaped(feature)}"}} {count}'


def score_bounds(output: Output) -> tuple[float, ...]:
    """Bucket bounds: equal steps over the output's range, or 1-2-5 steps on both sides of zero where it has none.

    They depend on the signature alone, so that two releases of one model can be compared bucket by bucket.
    """
    if output.minimum is None or output.maximum is None:
        return (*(-bound for bound in reversed(_UNBOUNDED)), 0.0, *_UNBOUNDED)
    width = (output.maximum - output.minimum) / SCORE_STEPS
    return tuple(round(output.minimum + width * step, 10) for step in range(1, SCORE_STEPS + 1))


def _process(started: float) -> Iterator[str]:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    yield from _gauge("process_resident_memory_bytes", "Memory in use.", resident)
    yield from _head("process_cpu_seconds_total", "counter", "Processor time used.")
    yield f"process_cpu_seconds_total {_number(time.process_time())}"
    yield from _gauge("process_start_time_seconds", "When the server started, in Unix time.", started)


def _head(name: str, kind: str, help_text: str) -> Iterator[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} {kind}"


def _gauge(name: str, help_text: str, value: float) -> Iterator[str]:
    yield from _head(name, "gauge", help_text)
    yield f"{name} {_number(value)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
