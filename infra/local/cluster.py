"""The local cluster as a whole: what it consists of, and how it comes up and goes down."""

import importlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from types import ModuleType
from typing import Any

from infra.doctor import lacking_packages
from infra.local import certificates, control, forward, images, kubernetes, namespaces, runtime
from infra.local.api import Api
from infra.local.components import (
    DNS_ADDRESS,
    MANIFESTS,
    NODE,
    PROJECT,
    ClusterError,
    Component,
    Kubectl,
    State,
    link_tools,
)
from infra.local.control import Say
from pipeline import files
from pipeline.config import read_settings
from pipeline.lock import exclusive

# What is installed once Kubernetes runs, in this order: each has `install(state)` and `components(state)`.
EXTENSIONS = ("gitserver", "prometheus", "rollouts", "argocd")
TOOLS = ("kubernetes",)
# Known to the supervisor like all others, and started where somebody asks for it: `flightline forge up`, `cluster
# ship-log`, `cluster retraining`, or who wants to hear of alerts.
OPTIONAL = ("gitea", "store", "alertmanager", "shipping", "retraining")
EXTENSION_TOOLS = ("metrics-server", "argo-rollouts", "argo-cd")
START_SECONDS = 60.0
STOP_SECONDS = 60.0
BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
DNS_PODS = "/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-dns"
EPOCH = "1970-01-01T00:00:00Z"
_PAUSE = 0.1


def components(state: State, listening: tuple[int, ...] = ()) -> tuple[Component, ...]:
    """Every process of the cluster; `listening` are the forwarder's sockets, as descriptor numbers."""
    extended = (component for extension in (*extensions(), *optional()) for component in extension.components(state))
    return (forward.component(listening), *base(state), agent(state), *extended)


def base(state: State) -> tuple[Component, ...]:
    """Kubernetes and what it runs on."""
    return (*runtime.components(state), *kubernetes.components(state))


def agent(state: State) -> Component:
    """What enforces NetworkPolicies and tells Prometheus what to scrape."""
    return Component("agent", (sys.executable, "-m", "infra.local.agent", str(state.root)), after=("apiserver",))


def extensions() -> list[ModuleType]:
    """The modules of what is installed into Kubernetes."""
    names = [f"infra.local.{name}" for name in EXTENSIONS]
    return [importlib.import_module(name) for name in names if importlib.util.find_spec(name)]


def optional() -> list[ModuleType]:
    """The modules of what runs in the cluster's network where somebody asks for it."""
    return [importlib.import_module(f"infra.local.{name}") for name in OPTIONAL]


def up(state: State, say: Say, *, bare: bool = False) -> None:
    """Have the cluster running, whatever of it runs already; `bare` is Kubernetes alone. Raises ClusterError."""
    check()
    with exclusive(state.root, say):
        link_tools(state, TOOLS if bare else (*TOOLS, *EXTENSION_TOOLS))
        started = _time(EPOCH)
        if not control.running(state):
            say("making namespaces")
            started = datetime.now(UTC).replace(microsecond=0)
            _start(state)
        say("starting Kubernetes")
        control.ask(state, "start", [one.name for one in (forward.component(), *base(state))])
        control.wait_until(state, ["forward", "registry"], ("ready",), START_SECONDS)
        references = images.push(state)
        _run(state, base(state))
        say("installing DNS and metrics")
        install(Kubectl(state), references)
        _run(state, (agent(state),))
        say("waiting for the node")
        api = Api(state, "admin")
        _wait(lambda: node_is_ready(api, started), "the node does not get ready", state, "kubelet")
        say("waiting for DNS")
        _wait(lambda: dns_is_ready(api, started), "CoreDNS does not get ready", state, "kubelet")
        for extension in () if bare else extensions():
            say(f"installing {extension.__name__.rpartition('.')[2]}")
            extension.install(state)
            _run(state, extension.components(state))
        say("ready")


def down(state: State, say: Say, *, keep_state: bool = False) -> None:
    """End the cluster and remove every trace; `keep_state` keeps etcd, git and the images. Raises ClusterError.

    The forge ends with it, and goes with what the cluster held.
    """
    from infra.local import forge

    with exclusive(state.root, say):
        if control.running(state):
            say("stopping, pods first")
            pid = control.supervisor(state)
            control.ask(state, "shutdown")
            control.wait_for_end(pid, STOP_SECONDS)
        forge.end(state, keep_state=keep_state)
        say("removing cgroups and state")
        namespaces.remove_cgroups()
        namespaces.remove_private_folders()
        remove(state, keep_state=keep_state)


def status(state: State) -> dict[str, Any]:
    """Components, the node and the pods. Of a cluster that is down, nothing but that."""
    if not control.running(state):
        return {"running": False, "components": {}, "nodes": [], "pods": []}
    api = Api(state, "admin")
    nodes, pods = (_items(api, f"/api/v1/{kind}") for kind in ("nodes", "pods"))
    return {
        "running": True,
        "components": control.ask(state, "status"),
        "nodes": [{"name": one["metadata"]["name"], "ready": bool(_conditions(one, "Ready"))} for one in nodes],
        "pods": [_pod(one) for one in pods],
    }


def execute(state: State, words: list[str]) -> None:
    """Become a command in the cluster's network, with its kubeconfig. Raises ClusterError."""
    namespaces.enter_network(control.supervisor(state))
    path = f"{state.bin}:{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, "KUBECONFIG": str(state.kubeconfig), "PATH": path}
    try:
        os.execvpe(words[0], words, environment)  # noqa: S606 - the user's own command
    except FileNotFoundError as error:
        raise ClusterError(f"there is no command {words[0]!r}; name one that is on PATH") from error


def switch(state: State, verb: str, name: str) -> None:
    """`start`, `stop` or `kill` a component, and wait for it to be so. Raises ClusterError."""
    phases = {"start": ("ready",), "stop": ("stopped",), "kill": ("dead", "stopped")}[verb]
    control.ask(state, verb, [name])
    control.wait_until(state, [name], phases, START_SECONDS)


def check() -> None:
    """Raise ClusterError where this machine lacks something, with the way to get it."""
    if os.geteuid() != 0:
        raise ClusterError(
            "the local cluster makes namespaces and cgroups, which needs root; use sudo, or --kind where Docker runs"
        )
    if missing := lacking_packages():  # type: ignore[no-untyped-call]  # doctor runs on any Python
        raise ClusterError(f"missing: {', '.join(missing)}; apt-get install {' '.join(missing)}")
    if not BRIDGED.exists():
        raise ClusterError(f"{BRIDGED} is not there, so no NetworkPolicy would hold; modprobe br_netfilter")


def install(kubectl: Kubectl, references: Mapping[str, str]) -> None:
    """Apply what every cluster has: rights, DNS, and metrics where their server is there."""
    values = {"dns_address": DNS_ADDRESS, "node": NODE}
    names = ["rights", "coredns", *(["metrics-server"] if "metrics-server" in references else [])]
    texts = [
        Template((MANIFESTS / f"{name}.yaml").read_text()).substitute(values, image=references.get(name, ""))
        for name in names
    ]
    kubectl.apply("---\n".join(texts))


def node_is_ready(api: Api, since: datetime) -> bool:
    """Whether the one node takes pods, as its kubelet said since then: etcd remembers what an earlier one said."""
    node = api.find(f"/api/v1/nodes/{NODE}") or {}
    return any(_time(one["lastHeartbeatTime"]) >= since for one in _conditions(node, "Ready"))


def dns_is_ready(api: Api, since: datetime) -> bool:
    """Whether a pod of CoreDNS that was started since then is ready."""
    pods = (api.find(DNS_PODS) or {}).get("items", [])
    return any(_conditions(pod, "Ready") and _running_since(pod) >= since for pod in pods)


def remove(state: State, *, keep_state: bool) -> None:
    """Remove files: all but logs and the registry's blobs, and those of etcd and git where the state is kept."""
    kept = {"registry", "images.json", *(("etcd", "git") if keep_state else ())}
    for path in state.data.iterdir() if state.data.is_dir() else ():
        if path.name not in kept:
            files.remove(path)
    for path in (state.run, *(() if keep_state else (state.certificates, state.config, state.kubeconfig))):
        files.remove(path)


def _start(state: State) -> None:
    """Start the supervisor in a clean place: what an earlier one left when it was killed goes first."""
    remove(state, keep_state=True)
    files.remove(state.log)
    namespaces.remove_cgroups()
    for folder in (state.run, state.log, state.data):
        folder.mkdir(parents=True, exist_ok=True)
    certificates.write(state)
    _configure(state)
    namespaces.make_private_folders()
    namespaces.make_cgroups()
    listening = forward.listen(forward.ways(read_settings(PROJECT)))
    descriptors = [one.fileno() for one in listening]
    with (state.log / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            namespaces.command(state, *map(str, descriptors)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=PROJECT,
            pass_fds=descriptors,
            start_new_session=True,
        )
    for one in listening:
        one.close()
    _wait(lambda: control.running(state) or _ended(process), "the supervisor does not answer", state, "supervisor")
    if _ended(process):
        raise ClusterError(f"the supervisor ended; its log says:\n{control.log_end(state, 'supervisor')}")


def _ended(process: "subprocess.Popen[bytes]") -> bool:
    return process.poll() is not None


def _configure(state: State) -> None:
    for name, text in {**runtime.configuration(state), **kubernetes.configuration(state)}.items():
        path = state.config / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _run(state: State, wanted: tuple[Component, ...]) -> None:
    names = [one.name for one in wanted]
    control.ask(state, "start", names)
    control.wait_until(state, names, ("ready",), START_SECONDS)


def _wait(done: Callable[[], bool], complaint: str, state: State, log: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise ClusterError(f"{complaint} within {START_SECONDS:.0f} s:\n{control.log_end(state, log)}")
        time.sleep(_PAUSE)


def _items(api: Api, path: str) -> list[dict[str, Any]]:
    return list((api.find(path) or {}).get("items", []))


def _conditions(thing: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """The condition of that kind where it is true."""
    conditions = thing.get("status", {}).get("conditions", [])
    return [one for one in conditions if one["type"] == kind and one["status"] == "True"]


def _running_since(pod: Mapping[str, Any]) -> datetime:
    """When the last of its containers was started."""
    times = [one.get("state", {}).get("running", {}).get("startedAt") for one in pod["status"]["containerStatuses"]]
    return max(_time(one or EPOCH) for one in times)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _pod(pod: dict[str, Any]) -> dict[str, Any]:
    metadata = pod["metadata"]
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "phase": pod["status"].get("phase", "Unknown"),
        "ready": bool(_conditions(pod, "Ready")),
    }
