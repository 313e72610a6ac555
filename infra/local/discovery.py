"""Which pods Prometheus scrapes, as the targets of its file_sd."""

from collections.abc import Mapping, Sequence
from typing import Any

from infra.local.policies import address

ANNOTATION = "prometheus.io"
PORT_NAMES = ("metrics", "http")
HASH = "rollouts-pod-template-hash"


def targets(pods: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """A target for each running pod that asks for it by annotation or is one of the servers of the project `name`.

    Labels: `namespace`, `pod` and, where Rollouts manages it, `rollouts_pod_template_hash`.
    """
    chosen = sorted((pod for pod in pods if _is_scraped(pod, name)), key=address)
    return [_target(pod, port) for pod in chosen if (port := _port(pod))]


def _is_scraped(pod: Mapping[str, Any], name: str) -> bool:
    metadata, status = pod["metadata"], pod.get("status", {})
    asked = _annotation(pod, "scrape")
    servers = {"app.kubernetes.io/part-of": name, "app.kubernetes.io/component": "server"}
    labels = (metadata.get("labels") or {}).items()
    wanted = asked == "true" or (asked != "false" and servers.items() <= labels)
    return wanted and status.get("phase") == "Running" and bool(address(pod)) and "deletionTimestamp" not in metadata


def _target(pod: Mapping[str, Any], port: str) -> dict[str, Any]:
    metadata = pod["metadata"]
    labels = {"namespace": metadata["namespace"], "pod": metadata["name"]}
    if found := (metadata.get("labels") or {}).get(HASH):
        labels[HASH.replace("-", "_")] = found
    if path := _annotation(pod, "path"):
        labels["__metrics_path__"] = path
    return {"targets": [f"{address(pod)}:{port}"], "labels": labels}


def _port(pod: Mapping[str, Any]) -> str:
    """The one that is annotated, else the container's port called metrics, else the one called http; "" without."""
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or ()]
    named = {port.get("name"): str(port["containerPort"]) for port in reversed(ports)}
    found = (named[name] for name in PORT_NAMES if name in named)
    return _annotation(pod, "port") or next(found, "")


def _annotation(pod: Mapping[str, Any], name: str) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(f"{ANNOTATION}/{name}", ""))
