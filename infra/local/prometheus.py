"""Prometheus on the local cluster: a process that scrapes the pods which the node's agent lists in a file.

The distribution's package is built without discovery by the Kubernetes API, hence the file. Inside the cluster it is
the Service `prometheus` in namespace `monitoring`, as it would be where the operator runs it.
There is no operator: `load` gives it the rules of a PrometheusRule.
"""

import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml

from infra.local.components import MANIFESTS, NODE_ADDRESS, Component, Kubectl, State, answers

PORT = 9090
INTERVAL = "2s"
RETENTION = "6h"
ALERTMANAGER, ROLLOUTS, KUBELET = "127.0.0.1:9093", "127.0.0.1:8090", "127.0.0.1:10250"
# `flightline exporter`, where somebody started it in the cluster's network.
OBSERVER = "127.0.0.1:9108"
# Of the kubelet's many series, what the dashboards draw.
CONTAINERS = "container_(cpu_usage_seconds_total|memory_working_set_bytes|spec_memory_limit_bytes)"


def targets(state: State) -> Path:
    """What to scrape, written by the node's agent: a list of {targets: [address:port], labels: {...}}.

    The labels are `namespace`, `pod` and `rollouts_pod_template_hash`. It is replaced whole, by a rename.
    """
    return state.data / "prometheus" / "targets.json"


def install(state: State) -> None:
    """Write the configuration and apply the Service that leads to it. Raises ClusterError."""
    prepare(state)
    Kubectl(state).apply(manifests())


def prepare(state: State) -> None:
    """Write what the server reads at its start."""
    for path in (targets(state), _file(state), rules(state) / "any"):
        path.parent.mkdir(parents=True, exist_ok=True)
    _file(state).write_text(configuration(state))


def components(state: State) -> tuple[Component, ...]:
    """The server: on loopback for people, on the node's address for pods and for the controller."""
    command = (
        "prometheus",
        f"--config.file={_file(state)}",
        f"--storage.tsdb.path={state.data / 'prometheus' / 'tsdb'}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address=0.0.0.0:{PORT}",
        "--web.enable-lifecycle",
    )
    return (Component("prometheus", command, ready=answers(f"http://127.0.0.1:{PORT}/-/ready")),)


def rules(state: State) -> Path:
    """The folder of the files of rules."""
    return state.data / "prometheus" / "rules"


def load(state: State, objects: Iterable[Mapping[str, Any]]) -> tuple[Path, ...]:
    """Have the server take the rules of every PrometheusRule among these objects, as the operator would.

    Those of other namespaces stay. Returns the files. Raises OSError where the server is not up or refuses them.
    """
    written = []
    for one in objects:
        if one["kind"] == "PrometheusRule":
            path = rules(state) / f"{one['metadata'].get('namespace', 'default')}-{one['metadata']['name']}.yaml"
            path.write_text(yaml.safe_dump({"groups": one["spec"]["groups"]}, sort_keys=False))
            written.append(path)
    reload = urllib.request.Request(f"http://127.0.0.1:{PORT}/-/reload", method="POST")
    with urllib.request.urlopen(reload, timeout=10):  # noqa: S310 - a constant address
        return tuple(written)


def configuration(state: State) -> str:
    """prometheus.yaml: the pods, from a file, Argo Rollouts, what monitoring says, the kubelet's containers; rules."""
    times = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL}
    document = {
        "global": times,
        "rule_files": [str(rules(state) / "*.yaml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [ALERTMANAGER]}]}]},
        "scrape_configs": [_pods(state), _rollouts(), _observer(), _kubelet(state)],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _pods(state: State) -> dict[str, Any]:
    return {"job_name": "pods", "file_sd_configs": [{"files": [str(targets(state))], "refresh_interval": "1s"}]}


def _rollouts() -> dict[str, Any]:
    """The controller's own labels say which namespace it speaks of."""
    return {"job_name": "rollouts", "honor_labels": True, "static_configs": [{"targets": [ROLLOUTS]}]}


def _observer() -> dict[str, Any]:
    return {"job_name": "observer", "static_configs": [{"targets": [OBSERVER]}]}


def _kubelet(state: State) -> dict[str, Any]:
    """As the API server, whose certificate the kubelet knows."""
    own = state.certificates
    return {
        "job_name": "kubelet",
        "scheme": "https",
        "metrics_path": "/metrics/cadvisor",
        "scrape_interval": "10s",
        "scrape_timeout": "5s",
        "honor_labels": True,
        "tls_config": {
            "ca_file": str(own / "ca.crt"),
            "cert_file": str(own / "apiserver-kubelet-client.crt"),
            "key_file": str(own / "apiserver-kubelet-client.key"),
        },
        "static_configs": [{"targets": [KUBELET]}],
        "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": CONTAINERS, "action": "keep"}],
    }


def manifests() -> str:
    """The namespace, the Service and where it leads."""
    text = (MANIFESTS / "prometheus.yaml").read_text()
    return Template(text).substitute(address=NODE_ADDRESS, port=PORT)


def _file(state: State) -> Path:
    return state.config / "prometheus.yaml"
