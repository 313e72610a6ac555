"""k8s/admission asked by a real API server, which is all that a cluster needs to have for it."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from infra.local.components import PROJECT
from pipeline.config import read_settings
from pipeline.errors import UnavailableError
from pipeline.gates.load_server import free_port
from pipeline.tools import Workshop

SETTINGS = read_settings(PROJECT)
GROUP = "/apis/admissionregistration.k8s.io/v1"
TOKEN, SECONDS = "a-token-of-tests", 90.0
HEX = "1f" * 32
OURS = f"{SETTINGS.registry}@sha256:{HEX}"


@dataclass(frozen=True)
class Server:
    """An API server that answers whoever has the token."""

    address: str
    certificate: Path

    def ask(self, method: str, path: str, document: Any = None, kind: str = "application/json") -> requests.Response:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        details = {"data": None if document is None else json.dumps(document), "headers": headers, "timeout": 20}
        return requests.request(method, self.address + path, verify=str(self.certificate), **details)  # noqa: S113 - in details

    def ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz").ok
        except (requests.RequestException, OSError):  # the certificate is made at the start
            return False

    def create(self, path: str, document: Any) -> None:
        answer = self.ask("POST", path, document)
        assert answer.ok, answer.text


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """etcd and kube-apiserver of the pinned Kubernetes, with the policy and two namespaces."""
    folder, programs = tmp_path_factory.mktemp("apiserver"), built("kubernetes")
    ports = [free_port() for _ in range(3)]
    commands = (etcd(programs, folder, ports), apiserver(programs, folder, ports))
    logs = [(folder / f"{name}.log").open("w") for name in ("etcd", "apiserver")]
    running = [
        subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        for command, log in zip(commands, logs, strict=True)
    ]
    try:
        found = Server(f"https://127.0.0.1:{ports[2]}", folder / "certificates/apiserver.crt")
        until(found.ready)
        install(found)
        yield found
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(30)


def built(name: str) -> Path:
    workshop = Workshop()
    try:
        folder = workshop.folder(workshop.find(name))
    except UnavailableError as error:
        pytest.skip(str(error))
    if not folder.is_dir():
        pytest.skip(f"{name} is not built, which takes minutes: `flightline tools build {name}`")
    return folder


def etcd(programs: Path, folder: Path, ports: list[int]) -> list[str]:
    client, peer = (f"http://127.0.0.1:{port}" for port in ports[:2])
    flags = {
        "data-dir": folder / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "unsafe-no-fsync": "true",
    }
    return [str(programs / "etcd"), *(f"--{name}={value}" for name, value in flags.items())]


def apiserver(programs: Path, folder: Path, ports: list[int]) -> list[str]:
    (folder / "tokens.csv").write_text(f"{TOKEN},tester,1,system:masters\n")
    key = folder / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    flags = {
        "etcd-servers": f"http://127.0.0.1:{ports[0]}",
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "secure-port": ports[2],
        "cert-dir": folder / "certificates",
        "token-auth-file": folder / "tokens.csv",
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": key,
        "service-account-signing-key-file": key,
        "service-cluster-ip-range": "10.0.0.0/24",
        # Nobody makes the accounts that pods would be given.
        "disable-admission-plugins": "ServiceAccount",
        "endpoint-reconciler-type": "none",
        "profiling": "false",
    }
    return [str(programs / "kube-apiserver"), *(f"--{name}={value}" for name, value in flags.items())]


def install(server: Server) -> None:
    for name in (*(f"{SETTINGS.name}-{one}" for one in SETTINGS.environments), "elsewhere"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        server.create("/api/v1/namespaces", namespace)
    for file, kind in (("policy", "validatingadmissionpolicies"), ("binding", "validatingadmissionpolicybindings")):
        server.create(f"{GROUP}/{kind}", yaml.safe_load((PROJECT / f"k8s/admission/{file}.yaml").read_text()))
    until(lambda: refused(server, pod("registry.example.com/flightline:latest")) != "")


def until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def pod(*images: str, first: str = "", name: str = "tried") -> dict[str, Any]:
    """A pod with a container for each image; `first` is the image of an init container."""
    containers = [{"name": f"c{at}", "image": image} for at, image in enumerate(images)]
    begins = {"initContainers": [{"name": "first", "image": first}]} if first else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": containers, **begins},
    }


def refused(server: Server, document: dict[str, Any], namespace: str = "flightline-staging") -> str:
    """Why the server would not take a pod; "" where it would."""
    answer = server.ask("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", document)
    if answer.ok:
        return ""
    assert answer.status_code == 403, answer.text
    return str(answer.json()["message"])


@pytest.mark.parametrize("environment", SETTINGS.environments)
def test_our_image_by_digest_is_accepted(server: Server, environment: str) -> None:
    assert refused(server, pod(OURS, first=OURS), f"{SETTINGS.name}-{environment}") == ""


@pytest.mark.parametrize(
    "image",
    [
        f"{SETTINGS.registry}:latest",
        SETTINGS.registry,
        f"{SETTINGS.registry}:1@sha256:{HEX}",
        f"{SETTINGS.registry}@sha256:{HEX[:-1]}",
        f"{SETTINGS.registry}@sha256:{HEX}0",
        f"{SETTINGS.registry}-other@sha256:{HEX}",
        f"{SETTINGS.registry}/other@sha256:{HEX}",
        f"docker.io/library/python@sha256:{HEX}",
        f"evil.example.com/{SETTINGS.registry}@sha256:{HEX}",
    ],
)
def test_tag_and_other_registry_are_refused_and_named(server: Server, image: str) -> None:
    said = refused(server, pod(image))
    assert said.endswith(f"images here are {SETTINGS.registry}@sha256:...; refused: {image}")


def test_every_container_counts(server: Server) -> None:
    other = f"docker.io/library/python@sha256:{HEX}"
    assert other in refused(server, pod(OURS, other))
    assert other in refused(server, pod(OURS, first=other))


def test_image_that_is_mounted_counts_too(server: Server) -> None:
    document = pod(OURS)
    mounted = {"name": "data", "image": {"reference": OURS}}
    document["spec"]["volumes"] = [{"name": "empty", "emptyDir": {}}, mounted]
    assert refused(server, document) == ""
    mounted["image"] = {"reference": "docker.io/library/busybox:1"}
    assert refused(server, document).endswith("refused: docker.io/library/busybox:1")


def test_debug_container_is_refused_too(server: Server) -> None:
    pods = "/api/v1/namespaces/flightline-staging/pods"
    server.create(pods, pod(OURS, name="running"))
    debugger = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "docker.io/library/busybox:1"}]}}
    path = f"{pods}/running/ephemeralcontainers"
    answer = server.ask("PATCH", path, debugger, "application/strategic-merge-patch+json")
    assert answer.status_code == 403
    assert "busybox:1" in answer.json()["message"]


def test_image_of_a_running_pod_cannot_be_changed_to_another(server: Server) -> None:
    pods = "/api/v1/namespaces/flightline-production/pods"
    server.create(pods, pod(OURS, name="running"))
    change = {"spec": {"containers": [{"name": "c0", "image": "docker.io/library/busybox:1"}]}}
    answer = server.ask("PATCH", f"{pods}/running", change, "application/strategic-merge-patch+json")
    assert answer.status_code == 403
    assert server.ask(
        "PATCH", f"{pods}/running", {"metadata": {"labels": {"role": "canary"}}}, "application/merge-patch+json"
    ).ok


def test_other_namespaces_are_left_alone(server: Server) -> None:
    assert refused(server, pod("docker.io/library/busybox:1"), "elsewhere") == ""
