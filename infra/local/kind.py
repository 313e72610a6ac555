"""A cluster by kind, for who asks for one and has a Docker engine: a control plane and two workers, nothing else.

It has no registry, git server, Prometheus, Argo CD or Rollouts; the last two come from `argocd/bootstrap`, as on any
cluster. What follows is asked of kubectl.
"""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.local import control
from infra.local.components import ClusterError, State
from infra.local.control import Say
from pipeline import builders
from pipeline.oci import ImageError

NAME = "flightline"
NODES = ("control-plane", "worker", "worker")
BOOTSTRAP = " && ".join(
    f"kubectl apply --server-side --force-conflicts --kustomize=argocd/bootstrap/{name}"
    for name in ("argo-cd", "argo-rollouts")
)


def runs(state: State) -> bool:
    """Whether the cluster of this state was made by kind."""
    return _mark(state).is_file()


def refuse(state: State) -> None:
    """Raise ClusterError where the cluster of this state was made by kind, for verbs that know only the other one."""
    if runs(state):
        raise ClusterError(
            f"the cluster here is one of kind, of which `flightline cluster` knows only `up --kind` and `down`; "
            f"ask it by `KUBECONFIG={state.kubeconfig} kubectl get nodes,pods --all-namespaces`, or take it down first"
        )


def up(state: State, say: Say) -> None:
    """Make the cluster, unless it is there. Raises ClusterError."""
    if control.running(state):
        raise ClusterError("a local cluster of processes is running; end it by `flightline cluster down` first")
    if not (shutil.which("kind") and _docker_answers()):
        raise ClusterError("--kind needs kind (https://kind.sigs.k8s.io) on PATH and a Docker engine that answers")
    say("asking kind")
    if NAME not in _call("get", "clusters").split():
        say("making two workers and a control plane")
        state.root.mkdir(parents=True, exist_ok=True)
        _call(
            "create", "cluster", "--config=-", f"--kubeconfig={state.kubeconfig}", "--wait=120s", stdin=configuration()
        )
    _mark(state).touch()
    say("ready")


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
