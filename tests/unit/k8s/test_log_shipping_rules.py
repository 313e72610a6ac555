"""The alerts of the collectors, answered by Prometheus' own engine: what is lost, what waits, and who is away."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.k8s import promtool
from tests.unit.k8s.rendering import K8S

pytestmark = promtool.needs_promtool

RULES = K8S / "log-shipping/prometheus-operator/rules.yaml"
POD = "flightline-log-shipping-x2x7k"
OVERFLOW, REFUSED = (f"otelcol_exporter_{kind}_failed_log_records_total" for kind in ("enqueue", "send"))
SIZE, CAPACITY = "otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity"


@cache
def groups() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    return found


def series(values: dict[str, str], pod: str = POD) -> dict[str, str]:
    labels = f'namespace="monitoring",pod="{pod}",data_type="logs",exporter="otlp_http"'
    return {f"{name}{{{labels}}}": of for name, of in {SIZE: "0x60", CAPACITY: "512x60", **values}.items()}


def firing(values: dict[str, str], minute: int, scratch: Path) -> dict[str, set[str]]:
    return promtool.firing(groups(), "monitoring", series(values), minute, scratch)


def test_a_collector_that_hands_over_is_quiet(tmp_path: Path) -> None:
    assert firing({SIZE: "0x20 200x20 0x20"}, 59, tmp_path) == {}


@pytest.mark.parametrize(
    ("counter", "alert"), [(OVERFLOW, "FlightlineShippingOverflow"), (REFUSED, "FlightlineShippingRefused")]
)
class TestLost:
    def test_lines_that_are_lost_alarm(self, counter: str, alert: str, tmp_path: Path) -> None:
        assert firing({counter: "5x30 5+20x20"}, 40, tmp_path) == {alert: {POD}}

    @pytest.mark.parametrize("minute", [30, 38])
    def test_a_counter_that_appears_with_its_first_loss_alarms(
        self, counter: str, alert: str, minute: int, tmp_path: Path
    ) -> None:
        """The collector has no counter until there is something to count."""
        assert firing({counter: "_x29 700x30"}, minute, tmp_path) == {alert: {POD}}

    def test_a_loss_after_a_restart_alarms(self, counter: str, alert: str, tmp_path: Path) -> None:
        assert firing({counter: "900x25 _x3 300x30"}, 33, tmp_path) == {alert: {POD}}

    @pytest.mark.parametrize("values", ["700x60", "_x20 700x39"], ids=["always", "since"])
    def test_what_was_lost_long_ago_is_quiet(self, counter: str, alert: str, values: str, tmp_path: Path) -> None:
        assert alert not in firing({counter: values}, 50, tmp_path)

    def test_other_collectors_are_nobodys_business(self, counter: str, alert: str, tmp_path: Path) -> None:
        found = {**series({}), **series({counter: "0+20x60"}, "opentelemetry-collector-1")}
        assert alert not in promtool.firing(groups(), "monitoring", found, 40, tmp_path)


@pytest.mark.parametrize(("values", "fires"), [("0x20 300x39", True), ("0x20 200x39", False), ("0x36 300x23", False)])
def test_a_queue_over_half_for_five_minutes_says_so_while_nothing_is_lost(
    values: str, fires: bool, tmp_path: Path
) -> None:
    assert firing({SIZE: values}, 40, tmp_path) == ({"FlightlineShippingBehind": {POD}} if fires else {})


@pytest.mark.parametrize(("minute", "fires"), [(35, False), (50, True)])
def test_no_collector_at_all_is_said_after_ten_minutes(minute: int, fires: bool, tmp_path: Path) -> None:
    gone = {SIZE: "0x30 _x29", CAPACITY: "512x30 _x29"}
    assert firing(gone, minute, tmp_path) == ({"FlightlineShippingAbsent": {""}} if fires else {})
