"""The local cluster: what makes it a real Kubernetes, and that nothing of it stays.

It starts and ends a cluster of its own, beside the user's state but on the same ports.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local import cluster, control, images, namespaces
from infra.local.components import PROJECT, ClusterError, Kubectl, State, default_state
from infra.local.forward import ways
from infra.local.prometheus import targets
from pipeline.config import read_settings

pytestmark = pytest.mark.slow

SECONDS = 60.0
SHOP, STAGING, ADMITTED = "shop", "flightline-staging", "admitted"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
FORBIDDEN = "forbidden"
FIXED_PORTS = range(1, 32768)
EXECUTE = """
import sys
from pathlib import Path
from infra.local import cluster
from infra.local.components import State
cluster.execute(State(Path(sys.argv[1])), sys.argv[2:])
"""
Snapshot = dict[str, set[str]]


def say(step: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {step}\n")


@pytest.fixture(scope="module")
def before() -> Snapshot:
    return snapshot()


@pytest.fixture(scope="module")
def state(before: Snapshot) -> Iterator[State]:
    if os.geteuid() != 0:
        pytest.skip("a cluster of processes needs root")
    if control.running(default_state()):
        pytest.skip("a cluster is running on the same ports; end it by `flightline cluster down`")
    made = State(default_state().root.with_name("cluster-of-tests"))
    try:
        cluster.up(made, say, bare=True)
        deploy(made)
        yield made
    finally:
        cluster.down(made, say)
        shutil.rmtree(made.root)


@pytest.fixture(scope="module")
def kubectl(state: State) -> Kubectl:
    return Kubectl(state)


def deploy(state: State) -> None:
    """A server with two pods behind a Service, and a client, all as restricted as the project's own."""
    image, kubectl = images.push(state)["busybox"], Kubectl(state)
    for name in (SHOP, STAGING):
        apply(kubectl, thing("v1", "Namespace", name, "", labels=RESTRICTED))
    apply(kubectl, deployment(SHOP, image), service(SHOP, "web"), budget(), pod("client", image))
    kubectl("rollout", "status", "deployment/web", f"--namespace={SHOP}", f"--timeout={SECONDS:.0f}s")
    kubectl("wait", "--for=condition=Ready", "pod/client", f"--namespace={SHOP}", f"--timeout={SECONDS:.0f}s")


def thing(version: str, kind: str, name: str, namespace: str, labels: Any = None, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels or {}} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def apply(kubectl: Kubectl, *things: dict[str, Any]) -> None:
    kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": things}))


def container(image: str, *command: str, **fields: Any) -> dict[str, Any]:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {"name": "only", "image": image, "command": command, "securityContext": security, **fields}


def specification(*containers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"securityContext": security, "terminationGracePeriodSeconds": 0, "containers": containers, **fields}


def deployment(namespace: str, image: str) -> dict[str, Any]:
    serve = "echo served > /www/index.html && exec httpd -f -p 8000 -h /www"
    served = container(
        image,
        "sh",
        "-c",
        serve,
        ports=[{"name": "http", "containerPort": 8000}],
        readinessProbe={"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        volumeMounts=[{"name": "www", "mountPath": "/www"}],
    )
    labels = {"app.kubernetes.io/part-of": "flightline", "app.kubernetes.io/component": "server"}
    template = {
        "metadata": {"labels": labels},
        "spec": specification(served, volumes=[{"name": "www", "emptyDir": {}}]),
    }
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return thing("apps/v1", "Deployment", "web", namespace, spec=spec)


def service(namespace: str, name: str) -> dict[str, Any]:
    spec = {"selector": {"app.kubernetes.io/component": "server"}, "ports": [{"port": 80, "targetPort": "http"}]}
    return thing("v1", "Service", name, namespace, spec=spec)


def budget() -> dict[str, Any]:
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app.kubernetes.io/component": "server"}}}
    return thing("policy/v1", "PodDisruptionBudget", "web", SHOP, spec=spec)


def pod(name: str, image: str) -> dict[str, Any]:
    spec = specification(container(image, "sleep", "86400"))
    return thing("v1", "Pod", name, SHOP, labels={"role": name}, spec=spec)


def policy(name: str, **spec: Any) -> dict[str, Any]:
    return thing("networking.k8s.io/v1", "NetworkPolicy", name, SHOP, spec=spec)


def servers(kubectl: Kubectl) -> list[dict[str, Any]]:
    found = kubectl(
        "get", "pods", f"--namespace={SHOP}", "--selector=app.kubernetes.io/component=server", "--output=json"
    )
    return list(json.loads(found)["items"])


def asks(kubectl: Kubectl, address: str) -> str:
    """What the client in its pod is answered; "" where it is not."""
    words = ("exec", f"--namespace={SHOP}", "client", "--", "timeout", "2", "wget", "-q", "-O", "-", address)
    try:
        return kubectl(*words).strip()
    except ClusterError:
        return ""


def fetched(address: str) -> str:
    """What this machine is answered; "" where it is not."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - loopback
            return str(answer.read().decode())
    except OSError:
        return ""


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def snapshot() -> Snapshot:
    """What a cluster could leave on a machine, by kind."""
    return {
        "mounts": {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
        "interfaces": {path.name for path in Path("/sys/class/net").iterdir()},
        "cgroups": {str(path) for path in namespaces.CGROUPS.glob("*/flightline*")},
        "rules": set(re.findall(r"^table .*", _output("nft", "list", "ruleset"), re.MULTILINE)),
        "ports": {port for port in _listening() if int(port) in FIXED_PORTS},
        "kernel": {f"{name} {(Path('/proc/sys') / name).read_text().strip()}" for name in namespaces.KERNEL},
        "folders": {str(path) for folder in namespaces.PRIVATE for path in (Path(folder), *Path(folder).glob("*"))
                    if path.exists()},
    }  # fmt: skip


def _listening() -> Iterator[str]:
    for line in _output("ss", "-Hltn").splitlines():
        yield line.split()[3].rpartition(":")[2]


def _output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def processes_in(namespace: Path) -> list[int]:
    """The processes of a process namespace."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "ns/pid").readlink() == namespace:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def assert_nothing_is_left(before: Snapshot, namespace: Path) -> None:
    until(lambda: not processes_in(namespace))
    left = {kind: now - before[kind] for kind, now in snapshot().items()}
    assert not any(left.values()), left


def test_the_node_is_ready(kubectl: Kubectl) -> None:
    (node,) = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")


def test_images_are_pulled_by_digest_from_the_local_registry(kubectl: Kubectl) -> None:
    for server in servers(kubectl):
        (status,) = server["status"]["containerStatuses"]
        assert re.fullmatch(r"127\.0\.0\.1:5000/busybox@sha256:[0-9a-f]{64}", status["imageID"])


def test_a_pod_reaches_a_service_by_its_name(kubectl: Kubectl) -> None:
    assert asks(kubectl, f"http://web.{SHOP}.svc.cluster.local/") == "served"
    assert asks(kubectl, "http://web/") == "served"


def test_the_machines_loopback_reaches_the_staging_service(state: State, kubectl: Kubectl) -> None:
    """The forwarder looks the Service's name up in the cluster's DNS."""
    apply(kubectl, deployment(STAGING, images.push(state)["busybox"]), service(STAGING, "flightline"))
    kubectl("rollout", "status", "deployment/web", f"--namespace={STAGING}", f"--timeout={SECONDS:.0f}s")
    until(lambda: fetched("http://127.0.0.1:8001/") == "served\n")


def test_pod_security_refuses_what_is_not_restricted(state: State, kubectl: Kubectl) -> None:
    loose = pod("loose", images.push(state)["busybox"])
    loose["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        apply(kubectl, loose)


def test_only_our_image_by_digest_is_admitted(state: State, kubectl: Kubectl) -> None:
    image, registry = images.push(state)["busybox"], read_settings(PROJECT).registry
    for name in ("policy.yaml", "binding.yaml"):
        text = (PROJECT / "k8s" / "admission" / name).read_text()
        kubectl.apply(text.replace(registry, image.partition("@")[0]).replace("flightline-production", ADMITTED))
    apply(kubectl, thing("v1", "Namespace", ADMITTED, "", labels=RESTRICTED))
    until(lambda: "default" in kubectl("get", "serviceaccounts", f"--namespace={ADMITTED}", "--output=name"))
    tag = image.partition("@")[0] + ":latest"
    until(lambda: refused(kubectl, tag))
    assert refused(kubectl, f"docker.io/library/{image.rpartition('/')[2]}")
    assert not refused(kubectl, image)


def refused(kubectl: Kubectl, image: str) -> bool:
    """Whether the admission policy keeps a pod with this image out."""
    document = pod("tried", image)
    document["metadata"]["namespace"] = ADMITTED
    try:
        kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(document))
    except ClusterError as error:
        return f"refused: {image}" in str(error)
    return False


def test_network_policies_hold(kubectl: Kubectl) -> None:
    web, client = {"app.kubernetes.io/component": "server"}, {"matchLabels": {"role": "client"}}
    assert asks(kubectl, "http://web/") == "served"
    apply(kubectl, policy("deny", podSelector={}, policyTypes=["Ingress"]))
    until(lambda: not asks(kubectl, "http://web/"))
    allowed = [{"from": [{"podSelector": client}], "ports": [{"port": "http"}]}]
    apply(kubectl, policy("allow", podSelector={"matchLabels": web}, ingress=allowed))
    until(lambda: asks(kubectl, "http://web/") == "served")
    apply(kubectl, policy("deny-egress", podSelector=client, policyTypes=["Egress"]))
    until(lambda: not asks(kubectl, "http://web/"))
    assert all(one["status"]["phase"] == "Running" for one in servers(kubectl)), "the kubelet's probes still pass"
    kubectl("delete", "networkpolicy", "--all", f"--namespace={SHOP}")
    until(lambda: asks(kubectl, "http://web/") == "served")


def test_rights_are_what_the_roles_say(state: State, kubectl: Kubectl) -> None:
    agent = f"--kubeconfig={state.kubeconfig_of('agent')}"
    assert kubectl("get", "pods", "--all-namespaces", agent, "--output=name")
    with pytest.raises(ClusterError, match=FORBIDDEN):
        kubectl("get", "secrets", "--all-namespaces", agent)
    with pytest.raises(ClusterError, match=FORBIDDEN):
        kubectl("delete", "pod", "client", f"--namespace={SHOP}", agent)


def test_a_disruption_budget_refuses_an_eviction(kubectl: Kubectl) -> None:
    name = servers(kubectl)[0]["metadata"]["name"]
    eviction = json.dumps(thing("policy/v1", "Eviction", name, SHOP))
    with pytest.raises(ClusterError, match="disruption budget"):
        kubectl("create", "--raw", f"/api/v1/namespaces/{SHOP}/pods/{name}/eviction", "-f", "-", stdin=eviction)


def test_prometheus_is_told_of_the_servers(state: State, kubectl: Kubectl) -> None:
    names = {one["metadata"]["name"] for one in servers(kubectl)}
    found = [one["labels"] for one in json.loads(targets(state).read_text())]
    assert {one["pod"] for one in found if one["namespace"] == SHOP} == names


def test_an_outage_of_a_component_is_an_outage(state: State, kubectl: Kubectl) -> None:
    cluster.switch(state, "stop", "scheduler")
    apply(kubectl, pod("waiting", images.push(state)["busybox"]))
    assert cluster.status(state)["components"]["scheduler"]["phase"] == "stopped"
    assert kubectl("get", "pod", "waiting", f"--namespace={SHOP}", "--output=jsonpath={.spec.nodeName}") == ""
    cluster.switch(state, "start", "scheduler")
    kubectl("wait", "--for=condition=Ready", "pod/waiting", f"--namespace={SHOP}", f"--timeout={SECONDS:.0f}s")


def test_a_command_runs_in_the_clusters_network(state: State, kubectl: Kubectl) -> None:
    address = servers(kubectl)[0]["status"]["podIP"]
    words = ["curl", "--silent", "--max-time", "5", f"http://{address}:8000/"]
    assert _output(sys.executable, "-c", EXECUTE, str(state.root), *words) == "served\n"
    outside = subprocess.run(words, capture_output=True, text=True, check=False)
    assert outside.stdout != "served\n", "nothing leads there from outside"


def test_up_again_changes_nothing(state: State) -> None:
    first = {name: one["pid"] for name, one in control.ask(state, "status").items()}
    cluster.up(state, say, bare=True)
    assert {name: one["pid"] for name, one in control.ask(state, "status").items()} == first


def test_it_goes_without_a_trace_and_comes_back_with_its_state(
    state: State, kubectl: Kubectl, before: Snapshot
) -> None:
    namespace = Path(f"/proc/{control.supervisor(state)}/ns/pid").readlink()
    cluster.down(state, say, keep_state=True)
    assert_nothing_is_left(before, namespace)
    cluster.up(state, say, bare=True)
    until(lambda: asks(kubectl, "http://web/") == "served")


def test_killed_it_leaves_nothing_but_files_and_cgroups_and_down_removes_these(state: State, before: Snapshot) -> None:
    pid = control.supervisor(state)
    namespace = Path(f"/proc/{pid}/ns/pid").readlink()
    os.kill(pid, signal.SIGKILL)
    control.wait_for_end(pid, SECONDS)
    cluster.down(state, say)
    assert_nothing_is_left(before, namespace)
    assert not state.kubeconfig.exists()
    assert not {str(way.port) for way in ways(read_settings(PROJECT))} & set(_listening())
