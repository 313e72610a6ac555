"""The dashboards on a real server's figures, scraped by a real Prometheus with the rules of this repository."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from pipeline import cli
from tests import bundles
from tests.e2e.dashboards import queries, unanswered
from tests.monitors import exporting, needs_prometheus, prometheus
from tests.servers import Running, running
from tests.unit.k8s.rendering import composed, of_kind

pytestmark = needs_prometheus
POD = {"namespace": "flightline-staging", "pod": "flightline-abc-1", "rollouts_pod_template_hash": "abc"}
ROW = json.dumps({"temp": 39.0, "seats": 149, "origin": "JFK", "dest": "ORD"}).encode()
MODEL = '{env="staging",version="v1"}'
REGRESSION = '{env="fork",version="v2"}'
ROLLOUT = 'namespace="flightline-staging",name="flightline"'
CONTAINER = '{namespace="flightline-staging",pod="flightline-abc-1",container="server"}'
# What the cluster, the controller and monitoring would say beside the server.
OTHERS = f"""
flightline_decay_alarm{MODEL} 0
flightline_decay_known{MODEL} 1
flightline_feed_alarm{MODEL} 0
flightline_observed_over_expected{MODEL} 1.02
flightline_skill{MODEL} 0.05
flightline_mean_residual{REGRESSION} -12.5
flightline_labelled_rows{MODEL} 5000
flightline_observation_timestamp_seconds{MODEL} 1700000000
flightline_psi{{env="staging",version="v1",feature="temp"}} 1.5
flightline_retraining_attempts{{env="staging",outcome="no gain"}} 1
flightline_retraining_failures_in_a_row{{env="staging"}} 0
rollout_info_replicas_desired{{{ROLLOUT}}} 2
rollout_info_replicas_updated{{{ROLLOUT}}} 2
rollout_info_replicas_available{{{ROLLOUT}}} 2
rollout_info{{{ROLLOUT},phase="Healthy"}} 1
rollout_events_total{{{ROLLOUT},type="Normal",reason="RolloutCompleted"}} 1
container_cpu_usage_seconds_total{CONTAINER} 12
container_memory_working_set_bytes{CONTAINER} 9e7
container_spec_memory_limit_bytes{CONTAINER} 2e8
"""
SLO = {"slo_p95_seconds": 0.05, "slo_error_ratio": 0.01, "slo_memory_bytes": 125829120}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that has watched a busy server, until each of the slowest rules has something to say."""
    folder = tmp_path_factory.mktemp("watched")
    bundles.write(folder / "bundle")
    (rules,) = of_kind(composed(("replicas", "prometheus-operator")), "PrometheusRule")
    with running(folder / "bundle", **SLO) as server, exporting(lambda: OTHERS) as others:
        targets = {server.url.removeprefix("http://"): POD, others: {}}
        with prometheus(folder, targets, rules["spec"]["groups"]) as address:
            end = time.monotonic() + 60
            while time.monotonic() < end and _asked_once_more(server) and _missing(address):
                time.sleep(0.5)
            yield address


def _asked_once_more(server: Running) -> bool:
    asked = requests.post(f"{server.url}/predict", data=ROW, headers={"content-type": "application/json"}, timeout=5)
    return asked.ok


def _missing(address: str) -> list[str]:
    return [f"{one.dashboard}: {one.panel}: {one.expr}" for one in unanswered(address)]


def test_every_query_of_every_dashboard_has_an_answer(watched: str) -> None:
    assert len({one.panel for one in queries()}) > 30
    assert _missing(watched) == []


def test_a_regression_has_its_residual_where_a_classification_has_its_ratio(watched: str) -> None:
    title = "Observed against expected"
    assert {one.dashboard for one in queries() if one.panel == title} == {"model", "retraining"}
    assert title not in {one.panel for one in unanswered(watched, env="fork")}
    assert {one.panel for one in unanswered(watched, env="fork")} >= {"Skill", "Decay"}


def test_a_query_without_an_answer_is_named(watched: str, tmp_path: Path) -> None:
    target = {"expr": 'sum(flightline_never_heard_of_total{namespace=~"$namespace"})'}
    (tmp_path / "one.json").write_text(json.dumps({"panels": [{"title": "Lost", "targets": [target]}]}))
    (found,) = unanswered(watched, tmp_path)
    assert (found.dashboard, found.panel) == ("one", "Lost")
    assert unanswered(watched, namespace="elsewhere")


def test_the_page_draws_every_panel_and_loads_nothing(watched: str, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    words = ["dashboard", "--prometheus", watched, "--hours", "0.1", "--out", str(out), "--env", "staging"]
    done = CliRunner().invoke(cli.app, words, standalone_mode=False, catch_exceptions=False)
    assert f"dashboard: {out}" in done.output
    page = out.read_text()
    assert page.count("<svg") > 25
    assert "No answer." not in page
    assert "Environment staging." in page
    assert not [word for word in ("<script", "<link", "<img", "@import", "url(http") if word in page]


def test_an_environment_that_has_no_series_is_said_panel_by_panel(watched: str, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    words = ["dashboard", "--prometheus", watched, "--hours", "0.1", "--out", str(out), "--env", "production"]
    CliRunner().invoke(cli.app, words, standalone_mode=False, catch_exceptions=False)
    assert "No answer. No server has been scraped" in out.read_text()
