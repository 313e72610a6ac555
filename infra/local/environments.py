"""The applications on the local cluster: none of an earlier story, and what Argo CD is told of a new one."""

from pathlib import Path

from infra.local.components import ClusterError, Kubectl
from infra.local.watch import ENVIRONMENTS, namespace


def clean(kubectl: Kubectl) -> None:
    """Remove the applications and their namespaces. Raises ClusterError."""
    for kind in ("applicationsets.argoproj.io", "applications.argoproj.io"):
        _gone(kubectl, "--namespace", "argocd", "delete", kind, "--all", "--wait=true", "--timeout=60s")
    names = (namespace(environment) for environment in ENVIRONMENTS)
    _gone(kubectl, "delete", "namespace", *names, "--ignore-not-found", "--wait=true", "--timeout=120s")


def settle(kubectl: Kubectl, argocd: Path, notifications: str) -> None:
    """Project, applications and notifications of a checkout's `argocd/`, the Secret that says where to, admission.

    Raises ClusterError.
    """
    kubectl.apply(notifications)
    for what, name in (
        ("-k", "../k8s/admission"),
        ("-k", "notifications"),
        ("-f", "project.yaml"),
        ("-f", "applications.yaml"),
    ):
        kubectl("apply", "--server-side", "--force-conflicts", what, str(argocd / name))


def _gone(kubectl: Kubectl, *words: str) -> None:
    try:
        kubectl(*words)
    except ClusterError as error:
        if "could not find the requested resource" not in str(error) and "the server doesn't have" not in str(error):
            raise
