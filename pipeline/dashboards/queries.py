"""Queries that several panels share. `$namespace`, `$env` and `$__rate_interval` are filled in by who asks."""

from pipeline.dashboards.model import Query

HERE = 'namespace=~"$namespace"'
ENV = 'env=~"$env"'
PODS = "rollouts_pod_template_hash"
RANGE = "[$__rate_interval]"
# Of the series that every program has, the servers' own.
OURS = f"and on (namespace, pod) flightline_ready{{{HERE}}}"
_FAILED = f'{HERE},reason=~"internal|draining|overloaded"'
_WINDOWS = ("5m", "1h", "6h", "3d")


def rate(name: str, by: str = "", selector: str = HERE) -> str:
    """What a counter gained a second, summed."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({name}{{{selector}}}{RANGE}))"


def quantile(share: float, by: str = "") -> str:
    """The answer time that this share of the requests stayed under."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share:g}, {rate('flightline_request_seconds_bucket', labels)})"


def failed(by: str = "") -> str:
    """The share of requests in which the server failed."""
    on = f"on ({by}) " if by else ""
    return f"{rate('flightline_errors_total', by, _FAILED)} / {on}{rate('flightline_requests_total', by)}"


def mean_score(by: str) -> str:
    """The mean of the scores."""
    return f"{rate('flightline_score_sum', by)} / {rate('flightline_score_count', by)}"


def per_row(reason: str) -> Query:
    """The share of rows in which a feature had a value of this kind."""
    counted = rate(f"flightline_feature_{reason}_total", "feature")
    return Query(f"{counted} / on () group_left () {rate('flightline_score_count')}", "{{feature}}")


def versions() -> Query:
    """How many servers have which bundle."""
    return Query(f"count by (version) (flightline_model_info{{{HERE}}})", "{{version}}")


def observed(name: str) -> Query:
    """What monitoring found, by environment and version of the model."""
    return Query(f"max by (env, version) ({name}{{{ENV}}})", "{{env}} {{version}}")


def came_true() -> tuple[Query, ...]:
    """A classification's ratio, or the mean residual of a regression, which has no ratio; and what is as expected."""
    ratio, residual = observed("flightline_observed_over_expected"), "flightline_mean_residual"
    neutral = f"0 * max({residual}{{{ENV}}}) or vector(1)"
    return (
        Query(f"{ratio.expr} or {observed(residual).expr}", ratio.legend),
        Query(neutral, "as expected", limit=True),
    )


def level(value: float, legend: str) -> Query:
    """A line to hold others against."""
    return Query(f"vector({value:g})", legend, limit=True)


def objective(name: str) -> Query:
    """As the servers were told; the rules' own are the same, from one file."""
    return Query(f"max(flightline_slo_{name}{{{HERE}}})", "objective", limit=True)


def burn(ratio: str) -> tuple[Query, ...]:
    """How many times as fast as it would last the error budget is used up, over every window."""
    burning = (f"flightline:{ratio}:{window}{{{HERE}}} / flightline:slo_{ratio}" for window in _WINDOWS)
    named = (Query(one, window) for one, window in zip(burning, _WINDOWS, strict=True))
    return (*named, level(14.4, "page within an hour"), level(1, "as long as it lasts"))
