"""A canary beside the stable version as pictures, asked of Prometheus in ranges of time.

The queries are those of `k8s/base/analysis.yaml`, without their minimum samples: a thin canary is drawn too.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.prometheus import Points, Prometheus
from pipeline.report.figures import Chart, Series
from pipeline.verdict import Curve

HASH = "rollouts_pod_template_hash"
LONGEST, BEFORE = 6 * 3600, 120
_POINTS = 150
_ERRORS = (
    'sum(increase(flightline_errors_total{{{pods},reason=~"internal|draining|overloaded"}}[{window}]))'
    " / sum(increase(flightline_requests_total{{{pods}}}[{window}]))"
)
_P95 = "histogram_quantile(0.95, sum by (le) (rate(flightline_request_seconds_bucket{{{pods}}}[{window}])))"
_SHARES = (
    "(sum by (le) (increase(flightline_score_bucket{{{pods}}}[{window}])) / on () group_left ()"
    " sum(increase(flightline_score_count{{{pods}}}[{window}])))"
)


@dataclass(frozen=True)
class Span:
    """What to draw: a namespace, from when to when in seconds since 1970, from when on the canary may be there."""

    namespace: str
    start: float
    released: float
    end: float

    @classmethod
    def since(cls, namespace: str, released: float) -> "Span":
        """From shortly before a release up to now, or to the longest that is drawn."""
        return cls(namespace, released - BEFORE, released, min(time.time(), released + LONGEST))

    @property
    def step(self) -> int:
        """Seconds between two points."""
        return max(2, math.ceil((self.end - self.start) / _POINTS))

    @property
    def asked(self) -> tuple[float, float, float]:
        """Start, end and step, as Prometheus is asked."""
        return self.start, self.end, self.step

    @property
    def window(self) -> str:
        """How far each point looks back."""
        return f"{max(20, 4 * self.step)}s"


def charts(prometheus: Prometheus, span: Span, canary: str = "", stable: str = "") -> tuple[Chart, ...]:
    """Errors, p95 and the scores' distance of the canary against the stable version; none where it took no traffic.

    Without the hashes of their pods, the canary is what first answered after the release. Raises UnavailableError.
    """
    if not (canary and stable) or canary == stable:
        canary, stable = sides(_traffic(prometheus, span), span.released)
    if not canary:
        return ()
    both = {"canary": canary, "stable": stable}
    errors = {role: _one(prometheus, span, _ERRORS, pods) for role, pods in both.items() if pods}
    p95 = {role: _one(prometheus, span, _P95, pods) for role, pods in both.items() if pods}
    drawn = (
        _chart("errors", "Failed requests, canary against stable", "%", errors, span, factor=100),
        _chart("p95", "95th percentile of the answer time", "ms", p95, span, factor=1000),
        _chart("distance", "Distance of the scores, canary from stable", "KS", _distance(prometheus, span, both), span),
    )
    return tuple(one for one in drawn if one.series)


def sides(traffic: Mapping[str, Points], released: float) -> tuple[str, str]:
    """(canary, stable) by pod hash: what first answered after the release, and what answered most before. Pure."""
    before = {pods: sum(1 for at, rate in points if at < released and rate > 0) for pods, points in traffic.items()}
    after = {pods: sum(1 for at, rate in points if at >= released and rate > 0) for pods, points in traffic.items()}
    new = [pods for pods in traffic if not before[pods] and after[pods]]
    old = [pods for pods in traffic if before[pods]]
    return max(new, key=lambda one: after[one], default=""), max(old, key=lambda one: before[one], default="")


def _traffic(prometheus: Prometheus, span: Span) -> dict[str, Points]:
    query = f'sum by ({HASH}) (increase(flightline_requests_total{{namespace="{span.namespace}"}}[{span.window}]))'
    return {labels.get(HASH, ""): points for labels, points in prometheus.range(query, *span.asked) if labels.get(HASH)}


def _one(prometheus: Prometheus, span: Span, query: str, pods: str) -> Points:
    found = prometheus.range(_filled(query, span, pods), *span.asked)
    return found[0][1] if found else ()


def _distance(prometheus: Prometheus, span: Span, both: Mapping[str, str]) -> dict[str, Points]:
    if not all(both.values()):
        return {}
    one, other = (_filled(_SHARES, span, pods) for pods in both.values())
    found = prometheus.range(f"max(abs({one} - {other}))", *span.asked)
    return {"canary": found[0][1]} if found else {}


def _filled(query: str, span: Span, pods: str) -> str:
    return query.format(pods=f'namespace="{span.namespace}",{HASH}="{pods}"', window=span.window)


def _chart(name: str, title: str, unit: str, found: Mapping[str, Points], span: Span, *, factor: float = 1) -> Chart:
    return Chart(
        name=name,
        title=title,
        x="minutes since the release commit",
        y=unit,
        reading="",
        series=tuple(_series(role, points, span.released) for role, points in found.items() if points),
        y_factor=factor,
    )


def _series(role: str, points: Points, released: float) -> Series:
    x = tuple((at - released) / 60 for at, _ in points)
    return Series(role, Curve(name=role, x=x, y=tuple(value for _, value in points)))
