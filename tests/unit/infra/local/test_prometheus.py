import json
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local import prometheus
from infra.local.components import NODE_ADDRESS, State
from pipeline.gates.load_server import free_port
from tests.e2e.dashboards import queries

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Debian's package prometheus is not here"
)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def test_service_leads_to_the_node() -> None:
    namespace, service, slice_ = yaml.safe_load_all(prometheus.manifests())
    assert (namespace["metadata"]["name"], service["metadata"]["name"]) == ("monitoring", "prometheus")
    assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
    assert slice_["endpoints"][0]["addresses"] == [NODE_ADDRESS]
    assert service["spec"]["ports"][0]["port"] == slice_["ports"][0]["port"] == prometheus.PORT
    assert "selector" not in service["spec"]


class _Pod(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"flightline_requests_total 7\n")

    def log_message(self, format: str, *values: Any) -> None:
        pass


@pytest.fixture
def pod() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Pod) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@needs_prometheus
def test_pods_of_the_file_are_scraped_with_their_labels(
    state: State, pod: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "PORT", free_port())
    prometheus.prepare(state)
    labels = {"namespace": "flightline-staging", "pod": "flightline-1", "rollouts_pod_template_hash": "abc"}
    (component,) = prometheus.components(state)
    with subprocess.Popen(component.command, stderr=subprocess.DEVNULL) as process:
        try:
            until(component.ready or (lambda: True))
            # The list comes later than the server, and changes.
            prometheus.targets(state).write_text(json.dumps([{"targets": [pod], "labels": labels}]))
            found = until(lambda: query('flightline_requests_total{rollouts_pod_template_hash="abc"}'))
        finally:
            process.terminate()
    assert {key: found[0]["metric"][key] for key in labels} == labels
    assert found[0]["value"][1] == "7"


@needs_prometheus
def test_rules_are_taken_by_a_running_server_and_those_of_other_namespaces_stay(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "PORT", free_port())
    prometheus.prepare(state)
    (component,) = prometheus.components(state)
    with subprocess.Popen(component.command, stderr=subprocess.DEVNULL) as process:
        try:
            until(component.ready or (lambda: True))
            for namespace in ("flightline-staging", "flightline-production"):
                prometheus.load(state, [rule(namespace), {"kind": "Service", "metadata": {"name": "other"}}])
            found = until(lambda: len(series := query("flightline:test")) > 1 and series)
        finally:
            process.terminate()
    assert {one["metric"]["namespace"] for one in found} == {"flightline-staging", "flightline-production"}


def rule(namespace: str) -> dict[str, Any]:
    record = {"record": "flightline:test", "expr": "vector(1)", "labels": {"namespace": namespace}}
    metadata = {"name": "flightline", "namespace": namespace}
    return {"kind": "PrometheusRule", "metadata": metadata, "spec": {"groups": [{"name": "one", "rules": [record]}]}}


def test_argo_rollouts_and_the_kubelet_are_scraped_as_the_dashboards_need_them(state: State) -> None:
    jobs = {one["job_name"]: one for one in yaml.safe_load(prometheus.configuration(state))["scrape_configs"]}
    assert set(jobs) == {"pods", "rollouts", "observer", "kubelet"}
    kept = jobs["kubelet"]["metric_relabel_configs"][0]["regex"]
    asked = {name for one in queries() for name in re.findall(r"\bcontainer_\w+(?={)", one.expr)}
    assert asked
    assert all(re.fullmatch(kept, name) for name in asked)


def query(text: str) -> Any:
    address = f"http://127.0.0.1:{prometheus.PORT}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def until(found: Any) -> Any:
    end = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < end, "not within a minute"
        time.sleep(0.1)
    return value
