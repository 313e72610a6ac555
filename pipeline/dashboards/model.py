"""What a dashboard is made of. Nothing here knows Grafana, Prometheus' API or HTML."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["count", "per second", "share", "seconds", "bytes", "cores", "ratio", "age"]
Source = Literal["server", "rules", "cluster", "rollouts", "monitoring"]
Kind = Literal["lines", "number", "steps", "distribution"]
_VARIABLE = re.compile(r"\$(\w+)")


@dataclass(frozen=True)
class Query:
    """PromQL with the variables `$namespace`, `$env` and `$__rate_interval`, and how a series is called: `{{pod}}`.

    A `limit` is drawn as a line that others are held against.
    """

    expr: str
    legend: str = ""
    limit: bool = False


@dataclass(frozen=True)
class Panel:
    """Queries on shared axes: what one sees (title), what to make of it (reading).

    `source` is what must be scraped or loaded for an answer; docs/dashboards.md says how each comes about. `span` is
    the width in Grafana's 24ths. A distribution is of a histogram's cumulative buckets by `le`.
    """

    title: str
    reading: str
    queries: tuple[Query, ...]
    unit: Unit = "count"
    kind: Kind = "lines"
    source: Source = "server"
    span: int = 8


@dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """A dashboard. `name` is what its file, its ConfigMap and its address in Grafana are called by."""

    name: str
    title: str
    about: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> Iterator[Panel]:
        """Every panel, in the order they are shown."""
        return (panel for row in self.rows for panel in row.panels)


def filled(expr: str, values: Mapping[str, str]) -> str:
    """A query with its variables replaced. Raises ValueError for one that has no value."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise ValueError(f"no value for ${found[1]} in {expr!r}; there are {', '.join(sorted(values))}")
        return values[found[1]]

    return _VARIABLE.sub(value, expr)


def named(legend: str, labels: Mapping[str, str]) -> str:
    """What a series is called: `{{pod}}` of the legend is the label's value, empty where it has none."""
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), legend).strip()
