"""Whether Grafana's dashboards would have anything to show: the queries of the JSON in git, asked of a Prometheus."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.dashboards.model import filled
from pipeline.prometheus import Prometheus
from tests.checkouts import PROJECT

FOLDER = PROJECT / "k8s" / "components" / "grafana"
STEP = 5


@dataclass(frozen=True)
class Asked:
    """A query of a panel of a dashboard."""

    dashboard: str
    panel: str
    expr: str


def queries(folder: Path = FOLDER) -> Iterator[Asked]:
    """Every query of every dashboard, as Grafana finds them."""
    for path in sorted(folder.glob("*.json")):
        for panel in _panels(json.loads(path.read_text())):
            for target in panel.get("targets") or ():
                yield Asked(path.stem, panel["title"], target["expr"])


def unanswered(address: str, folder: Path = FOLDER, *, back: float = 300, **values: str) -> list[Asked]:
    """The queries to which a Prometheus has no number over so many seconds up to now.

    `values` are of the dashboards' variables; without them every namespace and environment. A query that Prometheus
    refuses raises UnavailableError.
    """
    known = {"namespace": ".*", "env": ".*", "__rate_interval": "1m", **values}
    prometheus, now = Prometheus(address), time.time()
    return [one for one in queries(folder) if not _has_number(prometheus, filled(one.expr, known), now - back, now)]


def _has_number(prometheus: Prometheus, expr: str, start: float, end: float) -> bool:
    return any(points for _, points in prometheus.range(expr, start, end, STEP))


def _panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those in rows too, where a row is folded."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels") or ()
