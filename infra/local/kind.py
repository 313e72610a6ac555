"""The same cluster by kind, where a Docker engine answers: two nodes, and Docker's own isolation.

The controllers are installed from their manifests by `argocd/bootstrap`, as on any cluster.
"""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.local.components import ClusterError, State
from infra.local.control import Say
from pipeline import builders
from pipeline.oci import ImageError

NAME = "flightline"
NODES = ("control-plane", "worker", "worker")


def chosen(wanted: bool | None) -> bool:
    """Whether to use kind: as asked, else where kind is installed and Docker answers. Raises ClusterError."""
    if wanted is False:
        return False
    there = bool(shutil.which("kind")) and _docker_answers()
    if wanted and not there:
        raise ClusterError("--kind needs kind (https://kind.sigs.k8s.io) on PATH and a Docker engine that answers")
    return there


def runs(state: State) -> bool:
    """Whether the cluster of this state was made by kind."""
    return _mark(state).is_file()


def up(state: State, say: Say) -> None:
    """Make the cluster, unless it is there. Raises ClusterError."""
    say("asking kind")
    if NAME not in _call("get", "clusters").split():
        say("making two workers and a control plane")
        state.root.mkdir(parents=True, exist_ok=True)
        _call(
            "create", "cluster", "--config=-", f"--kubeconfig={state.kubeconfig}", "--wait=120s", stdin=configuration()
        )
    _mark(state).touch()
    say("ready; install Argo CD and Rollouts by argocd/bootstrap")


def down(state: State, say: Say) -> None:
    """Remove the cluster. Raises ClusterError."""
    say("removing the kind cluster")
    _call("delete", "cluster", f"--name={NAME}", f"--kubeconfig={state.kubeconfig}")
    _mark(state).unlink(missing_ok=True)


def configuration() -> str:
    """Kind's own configuration: the API server on the port that the other kind of local cluster has."""
    document: Mapping[str, Any] = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": NAME,
        "networking": {"apiServerAddress": "127.0.0.1", "apiServerPort": 6443},
        "nodes": [{"role": role} for role in NODES],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _docker_answers() -> bool:
    try:
        return builders.find("docker") == "docker"
    except ImageError:
        return False


def _mark(state: State) -> Path:
    return state.root / "kind"


def _call(*words: str, stdin: str | None = None) -> str:
    done = subprocess.run(["kind", *words], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"`kind {' '.join(words[:2])}` failed: {done.stderr.strip()}")
    return done.stdout
