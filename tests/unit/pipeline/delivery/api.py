"""As much of a Kubernetes API server as delivery asks of one: objects by path, merge patches, the version they had."""

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import kubernetes.config.kube_config
import yaml

from pipeline.delivery.cluster import Cluster, connect
from tests.servers import answering


@dataclass
class Server:
    """Objects by path, and the patches that were taken. `changes` more times an object changes once it was read.

    `then` is what takes an object's place after it was read for the first time.
    """

    objects: dict[str, Any]
    cluster: Cluster
    changes: int = 0
    refuse: int = 0
    then: dict[str, Any] = field(default_factory=dict)
    patches: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def read(self, path: str) -> tuple[int, Any]:
        if self.refuse:
            return self.refuse, {"message": "rollouts is forbidden"}
        found = copy.deepcopy(self.objects.get(path))
        if found and self.changes:
            self.changes -= 1
            self.objects[path]["metadata"]["resourceVersion"] += "0"
        self.objects.update(self.then)
        return (200, found) if found else (404, {"message": "not found"})

    def patch(self, path: str, patch: dict[str, Any]) -> tuple[int, Any]:
        """A patch of /status changes the status alone, any other never does."""
        kept = self.objects[path.removesuffix("/status")]
        version = patch["metadata"].pop("resourceVersion")
        if version != kept["metadata"]["resourceVersion"]:
            return 409, {"message": "the object has been modified"}
        self.patches.append((path, patch))
        for name in ("status",) if path.endswith("/status") else ("metadata", "spec"):
            merge(kept[name], patch.get(name, {}))
        kept["metadata"]["resourceVersion"] += "1"
        return 200, kept


def merge(target: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """RFC 7386."""
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict):
            merge(target.setdefault(name, {}), value)
        else:
            target[name] = value


def kubeconfig(path: Path, server: str) -> Path:
    """A kubeconfig of one context, `test`."""
    one = {"cluster": "c", "user": "u"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "for-tests-only"}}],
        "contexts": [{"name": "test", "context": one}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


@contextmanager
def configured(path: Path) -> Iterator[None]:
    """As if KUBECONFIG had named this file when the client was imported."""
    before = kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION
    kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION = str(path)
    try:
        yield
    finally:
        kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION = before


@contextmanager
def serving(objects: dict[str, Any], folder: Path, *, changes: int = 0, refuse: int = 0) -> Iterator[Server]:
    """Serve these objects on loopback, with a cluster that asks there."""

    def reply(asked: BaseHTTPRequestHandler) -> tuple[int, Any]:
        if asked.command == "GET":
            return made.read(asked.path.partition("?")[0])
        assert asked.headers["Content-Type"] == "application/merge-patch+json"
        return made.patch(asked.path, json.loads(asked.rfile.read(int(asked.headers["Content-Length"]))))

    with answering(reply) as address, configured(kubeconfig(folder / "kubeconfig", address)):
        made = Server(objects, connect(), changes, refuse)
        yield made
