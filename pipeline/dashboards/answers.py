"""What Prometheus answers to a dashboard's queries, over one span of time."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.dashboards.model import Panel, Query, filled, named
from pipeline.prometheus import Points, Prometheus

ANY = ".*"
_POINTS = 180
# Four scrapes of a quarter of a minute; more often is well, too.
_LOOK_BACK = 60
_HOUR = 3600


@dataclass(frozen=True)
class Span:
    """What is asked about: so many seconds up to `end`, in seconds since 1970, of namespaces and environments."""

    seconds: float
    end: float
    namespace: str = ANY
    env: str = ANY

    @property
    def start(self) -> float:
        """Where it begins."""
        return self.end - self.seconds

    @property
    def step(self) -> int:
        """Seconds between two points."""
        return max(1, math.ceil(self.seconds / _POINTS))

    @property
    def length(self) -> str:
        """`12 minutes`, `6 hours`."""
        count, word = (self.seconds / 60, "minute") if self.seconds < _HOUR else (self.seconds / _HOUR, "hour")
        return f"{count:.3g} {word}{'' if count == 1 else 's'}"

    @property
    def until(self) -> str:
        """`2013-06-01 14:05 UTC`."""
        return f"{datetime.fromtimestamp(self.end, UTC):%Y-%m-%d %H:%M} UTC"

    def values(self, *, whole: bool = False) -> Mapping[str, str]:
        """The variables of the queries; `whole` looks back over all of the span."""
        back = math.ceil(self.seconds) if whole else max(_LOOK_BACK, 4 * self.step)
        return {"namespace": self.namespace, "env": self.env, "__rate_interval": f"{back}s"}


@dataclass(frozen=True)
class Answer:
    """One series: what it is called, its points in seconds since 1970, and whether others are held against it."""

    name: str
    points: Points
    limit: bool = False

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]


def ask(prometheus: Prometheus, panel: Panel, span: Span) -> tuple[Answer, ...]:
    """Every series of a panel that has a number; of a distribution each bucket's last one. Raises UnavailableError."""
    found = (one for query in panel.queries for one in _ask(prometheus, panel, query, span))
    return tuple(one for one in found if one.points)


def _ask(prometheus: Prometheus, panel: Panel, query: Query, span: Span) -> Iterable[Answer]:
    expr = filled(query.expr, span.values(whole=panel.kind == "distribution"))
    if panel.kind == "distribution":
        now = prometheus.now(expr, span.end)
        return [Answer(labels.get("le", ""), ((span.end, value),)) for labels, value in now if math.isfinite(value)]
    series = prometheus.range(expr, span.start, span.end, span.step)
    return [Answer(named(query.legend, labels), points, query.limit) for labels, points in series]


def shares(buckets: Iterable[Answer]) -> tuple[tuple[float, float], ...]:
    """From cumulative counts by upper bound to (bound, share of all within its bucket); the open bucket is left out."""
    ordered = sorted((float(one.name), one.last) for one in buckets)
    total = ordered[-1][1] if ordered else 0.0
    if total <= 0:
        return ()
    below = (0.0, *(count for _, count in ordered))
    within = ((bound, (count - less) / total) for (bound, count), less in zip(ordered, below, strict=False))
    return tuple((bound, share) for bound, share in within if math.isfinite(bound))
