"""Prometheus on the local cluster: a process that scrapes the pods which the node's agent lists in a file.

The distribution's package is built without discovery by the Kubernetes API, hence the file. Inside the cluster it is
the Service `prometheus` in namespace `monitoring`, as it would be where the operator runs it.
"""

from pathlib import Path
from string import Template

import yaml

from infra.local.components import MANIFESTS, NODE_ADDRESS, Component, Kubectl, State, answers

PORT = 9090
INTERVAL = "2s"
RETENTION = "6h"


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
    for path in (targets(state), _file(state)):
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
    )
    return (Component("prometheus", command, ready=answers(f"http://127.0.0.1:{PORT}/-/ready")),)


def configuration(state: State) -> str:
    """prometheus.yaml: one job, whose targets come from a file."""
    job = {"job_name": "pods", "file_sd_configs": [{"files": [str(targets(state))], "refresh_interval": "1s"}]}
    times = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL}
    return yaml.safe_dump({"global": times, "scrape_configs": [job]}, sort_keys=False)


def manifests() -> str:
    """The namespace, the Service and where it leads."""
    text = (MANIFESTS / "prometheus.yaml").read_text()
    return Template(text).substitute(address=NODE_ADDRESS, port=PORT)


def _file(state: State) -> Path:
    return state.config / "prometheus.yaml"
