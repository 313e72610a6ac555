"""From a figure to a notification: real Prometheus and Alertmanager, with the rules and routes of this repository."""

import time
from pathlib import Path
from typing import Any

import yaml

from infra.local.alertmanager import ROUTES, configuration
from pipeline.config import read_settings, read_yaml
from pipeline.validate.settings import page
from tests.checkouts import PROJECT
from tests.monitors import alertmanager, exporting, needs_alertmanager, needs_prometheus, prometheus, receiving, until
from tests.unit.k8s.rendering import composed, of_kind

pytestmark = [needs_prometheus, needs_alertmanager]
PODS = 50
# Long enough for fifty pods to be scraped and judged on a busy machine.
WAIT = {"group_wait": "6s", "group_interval": "10m"}
QUIET_SECONDS = 8


class Trouble:
    """Fifty servers that lose a line of their log each second, and a model that has decayed, once it has begun."""

    def __init__(self) -> None:
        self.begun = 0.0

    def metrics(self) -> str:
        seconds = int(time.monotonic() - self.begun) if self.begun else 0
        pods = (f'namespace="flightline-staging",pod="flightline-{number}"' for number in range(PODS))
        lost = "".join(
            f"flightline_ready{{{pod}}} 1\nflightline_log_dropped_total{{{pod}}} {seconds}\n" for pod in pods
        )
        return f'{lost}flightline_decay_alarm{{env="staging",version="v1"}} {int(seconds > 0)}\n'


def routes(address: str) -> str:
    """The project's, with a test's patience."""
    names = ("pager", "tickets", "retraining")
    told = yaml.safe_load(configuration(read_yaml(ROUTES), {name: f"{address}/{name}" for name in names}))
    return yaml.safe_dump({**told, "route": {**told["route"], **WAIT}})


def test_fifty_alerts_are_one_notification_and_decay_starts_one_retraining(tmp_path: Path) -> None:
    (rules,) = of_kind(composed(("replicas", "prometheus-operator")), "PrometheusRule")
    trouble = Trouble()
    with (
        receiving() as inbox,
        exporting(trouble.metrics) as exporter,
        alertmanager(tmp_path, routes(inbox.address)) as manager,
        prometheus(tmp_path, {exporter: {}}, rules["spec"]["groups"], manager),
    ):
        time.sleep(4)
        assert inbox.posted == []
        trouble.begun = time.monotonic()
        until(lambda: inbox.of("/tickets") and inbox.of("/retraining"), "people and retraining are told", 90)
        time.sleep(QUIET_SECONDS)

    (ticket,), (started,) = inbox.of("/tickets"), inbox.of("/retraining")
    assert inbox.of("/pager") == []
    assert _named(ticket) == {"FlightlineLogDropped": PODS, "FlightlineDecay": 1}
    assert ticket["groupLabels"] == {"namespace": "flightline-staging"}
    assert {one["annotations"]["runbook_url"] for one in ticket["alerts"]} == {
        page(read_settings(PROJECT), f"docs/runbooks/{name}.md") for name in ("log-dropped", "decay")
    }
    assert (started["status"], _named(started)) == ("firing", {"FlightlineDecay": 1})
    assert started["commonLabels"]["env"] == "staging"


def _named(notification: dict[str, Any]) -> dict[str, int]:
    names = [one["labels"]["alertname"] for one in notification["alerts"]]
    return {name: names.count(name) for name in names}
