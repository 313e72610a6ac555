"""Upstream's manifests as a local cluster takes them: everything but what would run as pods.

Accounts, roles, settings and kinds are applied as they are; the controllers themselves are processes of this machine.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import yaml

from infra.local.components import Kubectl

# These would be pods, or say who may reach them.
LEFT_OUT = frozenset({"Deployment", "StatefulSet", "Service", "NetworkPolicy"})


def apply(kubectl: Kubectl, folder: Path, namespace: str, module: Path, *own: Path) -> None:
    """Apply what a module installs into its namespace, with the project's own folders on top.

    `folder` takes the kustomization. Raises ClusterError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kustomization.yaml").write_text(kustomization(folder, namespace, module, own))
    kubectl.apply(yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))
    kubectl.apply(without_pods(kubectl("kustomize", str(folder))))


def kustomization(folder: Path, namespace: str, module: Path, own: Iterable[Path]) -> str:
    """What to render in `folder`. Kustomize wants relative paths, and tells components from resources."""

    def relative(path: Path) -> str:
        return os.path.relpath(path.resolve(), folder.resolve())

    components = [one for one in own if _is_component(one)]
    resources = [module / "manifests" / "cluster-install", *(one for one in own if one not in components)]
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": [*map(relative, resources)],
        "components": [*map(relative, components)],
    }
    return yaml.safe_dump(document, sort_keys=False)


def without_pods(manifests: str) -> str:
    """The documents that a cluster takes without running anything from them.

    Told apart by their text: kustomize writes every field at the margin, and parsing 2 MB of schemas takes seconds.
    """
    return "\n---\n".join(one for one in manifests.split("\n---\n") if _kind(one) not in LEFT_OUT)


def _kind(document: str) -> str:
    mark = "kind: "
    return next((line.removeprefix(mark) for line in document.splitlines() if line.startswith(mark)), "")


def _is_component(folder: Path) -> bool:
    return bool(yaml.safe_load((folder / "kustomization.yaml").read_text())["kind"] == "Component")
