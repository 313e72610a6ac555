"""The alerts, answered by Prometheus' own engine (promtool): what fires, when, and what stays quiet."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import read_settings
from pipeline.validate.settings import page
from serving.metrics import LATENCY_BOUNDS
from tests.unit.k8s import promtool
from tests.unit.k8s.rendering import K8S, composed, of_kind

NAMESPACE = "flightline-staging"
pytestmark = promtool.needs_promtool


@cache
def groups() -> list[dict[str, Any]]:
    (rules,) = of_kind(composed(("replicas", "prometheus-operator")), "PrometheusRule")
    found: list[dict[str, Any]] = rules["spec"]["groups"]
    return found


@cache
def groups_beside() -> list[dict[str, Any]]:
    """Of what is applied beside the overlays."""
    path = K8S / "log-shipping/prometheus-operator/rules.yaml"
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["spec"]["groups"]
    return found


def alerts() -> list[dict[str, Any]]:
    return [rule for group in (*groups(), *groups_beside()) for rule in group["rules"] if "alert" in rule]


def counter(*parts: tuple[float, int], start: float = 0) -> str:
    """Values of a counter a minute: so much a second for so many minutes, part after part."""
    text, value = "", start
    for per_second, minutes in parts:
        step = round(per_second * 60, 6)
        text += f"{round(value, 6)}+{step}x{minutes - 1} "
        value += step * minutes
    return text.strip()


def pod(
    *,
    good: Sequence[tuple[float, int]],
    bad: float = 0,
    slow: float = 0,
    namespace: str = NAMESPACE,
    ready: str = "1x{}",
) -> dict[str, str]:
    """A server's series: (requests a second, minutes) parts; the last part has shares that fail and are slow."""
    labels = f'namespace="{namespace}",pod="{namespace}-1"'
    minutes = sum(part[1] for part in good)
    quiet, (rate, last) = list(good[:-1]), good[-1]
    found = {
        f'flightline_requests_total{{{labels},route="predict",code="200"}}': counter(*good),
        f'flightline_errors_total{{{labels},reason="internal"}}': counter(
            *((0, m) for _, m in quiet), (rate * bad, last)
        ),
        f'flightline_errors_total{{{labels},reason="invalid-rows"}}': counter((99, minutes)),
        f"flightline_request_seconds_count{{{labels}}}": counter(*good),
        f"flightline_ready{{{labels}}}": ready.format(minutes),
    }
    for bound in LATENCY_BOUNDS:
        fast = 1 - slow if bound < 0.2 else 1
        name = f'flightline_request_seconds_bucket{{{labels},le="{bound}"}}'
        found[name] = counter(*((r, m) if bound >= 0.01 else (0, m) for r, m in quiet), (rate * fast, last))
    found[f'flightline_request_seconds_bucket{{{labels},le="+Inf"}}'] = counter(*good)
    return found


def firing(series: Mapping[str, str], minute: int, scratch: Path, step: int = 1) -> dict[str, set[str]]:
    """The alerts that fire at that minute, each with its windows, pods or environments; of this namespace alone."""
    return promtool.firing(groups(), NAMESPACE, series, minute, scratch, step)


QUIET = (20, 360)


def test_a_sound_service_is_quiet(tmp_path: Path) -> None:
    assert firing(pod(good=[(20, 400)], bad=0.005, slow=0.03), 390, tmp_path) == {}


@pytest.mark.parametrize(
    ("share", "minutes", "windows"),
    [
        (0.02, 5, set()),
        (1.0, 2, set()),
        (1.0, 15, {"1h"}),
        (0.16, 62, {"1h"}),
        (0.16, 30, set()),
        (0.10, 64, set()),
        (0.10, 240, {"6h", "3d"}),
    ],
    ids=["a little", "a moment", "everything", "an hour", "half an hour", "too slow for an hour", "hours"],
)
def test_errors_fire_by_how_fast_they_use_up_the_budget(
    share: float, minutes: int, windows: set[str], tmp_path: Path
) -> None:
    """The objective is 1 %: 14.4 % over an hour, 6 % over six hours, 1 % over three days."""
    series = pod(good=[QUIET, (20, minutes)], bad=share)
    assert firing(series, 360 + minutes - 1, tmp_path).get("FlightlineErrors", set()) - {"3d"} == windows - {"3d"}
    if "3d" in windows:
        assert "3d" in firing(series, 360 + minutes - 1, tmp_path)["FlightlineErrors"]


def test_an_alert_ends_soon_after_the_errors_do(tmp_path: Path) -> None:
    """Half of everything failed for half an hour; ten minutes later the long window still knows, the short does not."""
    series = pod(good=[QUIET, (20, 30)], bad=0.5)
    longer = {name: f"{values} {_on(name, values)}" for name, values in series.items()}
    assert "1h" in firing(series, 389, tmp_path)["FlightlineErrors"]
    assert "1h" not in firing(longer, 402, tmp_path).get("FlightlineErrors", set())


def _on(name: str, values: str) -> str:
    """Twenty minutes more in which nothing fails."""
    start, _, rest = values.rsplit(maxsplit=1)[-1].partition("+")
    if not rest:
        return "1x20"
    step, _, times = rest.partition("x")
    return f"{float(start) + float(step) * (float(times) + 1)}+{0 if 'errors' in name else 1200}x20"


@pytest.mark.parametrize(("share", "windows"), [(0.04, set()), (0.8, {"1h"}), (0.35, set())])
def test_slow_answers_fire_by_the_share_over_the_objective(share: float, windows: set[str], tmp_path: Path) -> None:
    """A p95 allows 5 %; 14.4 times that is 72 %."""
    found = firing(pod(good=[QUIET, (20, 60)], slow=share), 419, tmp_path)
    assert found.get("FlightlineSlow", set()) & {"1h"} == windows
    assert "FlightlineErrors" not in found


def test_requests_under_the_objective_are_not_slow_wherever_they_fall(tmp_path: Path) -> None:
    series = pod(good=[(20, 120)])
    edge = {name: values for name, values in series.items() if 'le="0.05"' not in name}
    assert firing(series, 119, tmp_path) == {}
    assert "FlightlineSlow" not in firing(edge, 119, tmp_path)


def test_one_failure_among_few_requests_is_no_alert(tmp_path: Path) -> None:
    assert firing(pod(good=[(0.0005, 400)], bad=0.5), 399, tmp_path) == {}


def test_another_environments_errors_are_not_this_ones(tmp_path: Path) -> None:
    other = pod(good=[(20, 120)], bad=1.0, slow=1.0, namespace="flightline-production")
    assert firing({**pod(good=[(20, 120)]), **other}, 119, tmp_path) == {}


@pytest.mark.parametrize("ready", ["0x{}", "1x5 _x{}"], ids=["not ready", "gone"])
def test_an_environment_without_a_ready_server_is_absent(ready: str, tmp_path: Path) -> None:
    found = firing(pod(good=[(20, 60)], ready=ready), 40, tmp_path)
    assert set(found) == {"FlightlineAbsent"}


def test_a_moment_without_a_ready_server_is_not(tmp_path: Path) -> None:
    assert firing(pod(good=[(20, 60)], ready="1x30 0x1 1x{}"), 32, tmp_path) == {}


def servers(name: str, values: str) -> dict[str, str]:
    labels = f'namespace="{NAMESPACE}",pod="{NAMESPACE}-1"'
    return {**pod(good=[(20, 90)]), f"{name}{{{labels}}}": values}


@pytest.mark.parametrize(
    ("name", "values", "alert"),
    [
        ("flightline_log_dropped_total", "0x60 0+10x29", "FlightlineLogDropped"),
        ("process_resident_memory_bytes", "130000000x90", "FlightlineMemory"),
        ("process_start_time_seconds", "100x50 4000x10 4500x30", "FlightlineRestarts"),
    ],
)
def test_a_server_in_trouble_is_named(name: str, values: str, alert: str, tmp_path: Path) -> None:
    assert firing(servers(name, values), 85, tmp_path) == {alert: {f"{NAMESPACE}-1"}}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("flightline_log_dropped_total", "7x90"),
        ("process_resident_memory_bytes", "100000000x80 130000000x10"),
        ("process_start_time_seconds", "100x50 4000x40"),
    ],
    ids=["long ago", "for a moment", "once"],
)
def test_what_is_no_trouble_is_quiet(name: str, values: str, tmp_path: Path) -> None:
    assert firing(servers(name, values), 85, tmp_path) == {}


def test_memory_and_restarts_of_other_programs_are_nobodys_business(tmp_path: Path) -> None:
    labels = f'namespace="{NAMESPACE}",pod="other"'
    series = {
        **pod(good=[(20, 90)]),
        f"process_resident_memory_bytes{{{labels}}}": "9000000000x90",
        f"process_start_time_seconds{{{labels}}}": "0+600x90",
    }
    assert firing(series, 85, tmp_path) == {}


def monitored(name: str, values: str, env: str = "staging") -> dict[str, str]:
    return {**pod(good=[(20, 90)]), f'{name}{{env="{env}",version="v1",namespace="monitoring"}}': values}


@pytest.mark.parametrize(
    ("name", "alert"), [("flightline_decay_alarm", "FlightlineDecay"), ("flightline_feed_alarm", "FlightlineFeed")]
)
def test_what_monitoring_finds_is_the_environments_it_found_it_in(name: str, alert: str, tmp_path: Path) -> None:
    assert firing(monitored(name, "1x90"), 85, tmp_path) == {alert: {"staging"}}
    assert firing(monitored(name, "0x90"), 85, tmp_path) == {}
    assert firing(monitored(name, "1x90", "production"), 85, tmp_path) == {}


def test_an_observation_that_is_old_or_gone_is_stale(tmp_path: Path) -> None:
    every, now = 4, 3 * 24 * 60
    looks = now // every
    ready = {f'flightline_ready{{namespace="{NAMESPACE}",pod="{NAMESPACE}-1"}}': f"1x{looks}"}
    name = 'flightline_observation_timestamp_seconds{env="staging",version="v1"}'
    for values in (f"0x{looks}", f"0+{60 * every}x{looks // 6} _x{looks}"):
        found = firing({**ready, name: values}, now - every, tmp_path, every)
        assert found == {"FlightlineObservationStale": {"staging"}}
    assert firing({**ready, name: f"0+{60 * every}x{looks}"}, now - every, tmp_path, every) == {}
    assert firing(ready, now - every, tmp_path, every) == {}


@pytest.mark.parametrize("rule", alerts(), ids=lambda one: f"{one['alert']} {one['labels'].get('window', '')}")
def test_every_alert_links_a_runbook_of_this_repository(rule: dict[str, Any]) -> None:
    address = rule["annotations"]["runbook_url"]
    path = f"docs/runbooks/{Path(address).name}"
    assert address == page(read_settings(K8S.parent), path)
    text = (K8S.parent / path).read_text()
    assert rule["alert"] in text


def test_every_runbook_is_linked() -> None:
    linked = {Path(rule["annotations"]["runbook_url"]).name for rule in alerts()}
    assert {path.name for path in (K8S.parent / "docs/runbooks").glob("*.md")} == linked


def test_every_rule_that_reads_a_series_is_kept_to_its_namespace() -> None:
    for group in groups()[1:]:
        for rule in group["rules"]:
            assert rule["expr"].split('"')[1] == NAMESPACE, rule
            assert 'namespace=""' not in rule["expr"]
