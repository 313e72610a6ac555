"""Which pods Prometheus scrapes, and by which labels the analysis finds them again."""

from typing import Any

import pytest

from infra.local import discovery

SERVER = {"app.kubernetes.io/part-of": "flightline", "app.kubernetes.io/component": "server"}


def targets(pods: list[dict[str, Any]], name: str = "flightline") -> list[dict[str, Any]]:
    return discovery.targets(pods, name)


def pod(
    labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **status: Any
) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "n", "labels": labels or {}, "annotations": annotations or {}},
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8000}]}]},
        "status": {"phase": "Running", "podIP": "10.244.0.9", **status},
    }


def test_a_server_is_scraped_at_its_http_port_with_the_labels_of_the_analysis() -> None:
    found = targets([pod({**SERVER, "rollouts-pod-template-hash": "abc"})])
    labels = {"namespace": "n", "pod": "p", "rollouts_pod_template_hash": "abc"}
    assert found == [{"targets": ["10.244.0.9:8000"], "labels": labels}]


def test_another_pod_is_scraped_when_its_annotation_asks() -> None:
    asked = {"prometheus.io/scrape": "true", "prometheus.io/port": "9153", "prometheus.io/path": "/m"}
    (found,) = targets([pod(annotations=asked)])
    assert found["targets"] == ["10.244.0.9:9153"]
    assert found["labels"]["__metrics_path__"] == "/m"


def test_an_annotation_can_refuse() -> None:
    assert targets([pod(SERVER, {"prometheus.io/scrape": "false"})]) == []


def test_a_port_called_metrics_goes_first() -> None:
    one = pod(SERVER)
    one["spec"]["containers"][0]["ports"].append({"name": "metrics", "containerPort": 9000})
    assert targets([one])[0]["targets"] == ["10.244.0.9:9000"]


@pytest.mark.parametrize("status", [{"phase": "Pending"}, {"podIP": None}, {"phase": "Failed"}])
def test_only_running_pods_are_scraped(status: dict[str, Any]) -> None:
    assert targets([pod(SERVER, **status)]) == []


def test_a_pod_on_its_way_out_is_not_scraped() -> None:
    one = pod(SERVER)
    one["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert targets([one]) == []


def test_nobody_else_is_scraped() -> None:
    assert (
        targets([pod(), pod({"app.kubernetes.io/part-of": "flightline", "app.kubernetes.io/component": "traffic"})])
        == []
    )


def test_the_servers_are_those_of_the_settings_name() -> None:
    renamed = pod(SERVER | {"app.kubernetes.io/part-of": "harbour"})
    assert targets([renamed], "harbour")
    assert targets([renamed]) == []
