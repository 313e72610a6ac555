"""Argo CD on the local cluster: upstream's own objects and this project's settings, the controllers as processes.

What a person's cluster gets from `argocd/bootstrap` comes from the module's folder here, with the same settings.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.local import upstream
from infra.local.accounts import Account, admit
from infra.local.components import PROJECT, Component, Kubectl, State, answers, listens
from pipeline.config import read_settings

NAMESPACE = "argocd"
SETTINGS = PROJECT / "argocd" / "bootstrap" / "argo-cd" / "settings"
WEBHOOK = "http://127.0.0.1:8080/api/webhook"
ACCOUNTS = tuple(
    Account(NAMESPACE, f"argocd-{name}")
    for name in ("application-controller", "applicationset-controller", "repo-server", "server")
)
# How late a push is noticed whose webhook got lost.
POLLING = "6s"
REDIS, REPO_SERVER = "127.0.0.1:6379", "127.0.0.1:8081"


def install(state: State) -> None:
    """Apply Argo CD's objects and write what its processes need. Raises ClusterError, UnavailableError."""
    from pipeline.tools import module_folder

    module = module_folder("argo-cd")
    _write_wrapper(state, module)
    kubectl = Kubectl(state)
    upstream.apply(kubectl, state.config / NAMESPACE, NAMESPACE, module, SETTINGS)
    admit(kubectl, state, ACCOUNTS)


def components(state: State) -> tuple[Component, ...]:
    """Redis and the four processes of Argo CD, each with the rights of its own account."""
    return (
        Component("argocd-redis", _redis(state), ready=listens(6379)),
        _component(state, "repo-server", _repo_server(), listens(8081), "argocd-redis"),
        _component(state, "server", _server(), answers("http://127.0.0.1:8080/healthz"), "argocd-repo-server"),
        # After the server, which makes the key that their sessions are signed with: the second ends without one.
        *(
            _component(state, name, flags, answers(f"http://127.0.0.1:{port}"), "argocd-server")
            for name, flags, port in (
                ("application-controller", _application_controller(), "8082/healthz"),
                ("applicationset-controller", _applicationset_controller(), "8085/metrics"),
            )
        ),
    )


def applications(root: Path, repository: str) -> str:
    """The project and the applications of a checkout, as they are but for the repository's address."""
    folder, written = root / "argocd", read_settings(root).repository
    texts = ((folder / name).read_text() for name in ("project.yaml", "applications.yaml"))
    return "---\n".join(texts).replace(written, repository)


def _component(state: State, name: str, flags: Mapping[str, Any], ready: Callable[[], bool], after: str) -> Component:
    program = f"argocd-{name}"
    command = (state.tool(program), *(f"--{flag}={value}" for flag, value in flags.items()))
    return Component(program, command, _environment(state, program), ready, ("apiserver", after))


def _environment(state: State, program: str) -> Mapping[str, str]:
    """The account's kubeconfig stands for the one a pod is given; folders that an image brings are in the state."""
    folder = _folder(state)
    return {
        "KUBECONFIG": str(state.kubeconfig_of(program)),
        "ARGOCD_FAKE_IN_CLUSTER": "true",
        # Of the repo-server too: it keeps what a branch points to for as long.
        "ARGOCD_RECONCILIATION_TIMEOUT": POLLING,
        "ARGOCD_RECONCILIATION_JITTER": "0s",
        # As in the settings: a pod would be given it from there.
        "ARGOCD_SYNC_WAVE_DELAY": "0",
        "ARGOCD_GPG_ENABLED": "false",
        "ARGOCD_TLS_DATA_PATH": str(folder / "tls"),
        "ARGOCD_SSH_DATA_PATH": str(folder / "ssh"),
        "ARGOCD_PLUGINSOCKFILEPATH": str(folder / "plugins"),
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "PATH": f"{folder / 'bin'}:{os.environ.get('PATH', os.defpath)}",
    }


def _redis(state: State) -> tuple[str, ...]:
    """A cache: nothing of it outlives the cluster."""
    address, port = REDIS.split(":")
    flags = {"bind": address, "port": port, "save": "", "appendonly": "no", "dir": str(state.run)}
    return ("redis-server", *(word for flag, value in flags.items() for word in (f"--{flag}", value)))


def _repo_server() -> Mapping[str, Any]:
    host, port = REPO_SERVER.split(":")
    return {
        "address": host,
        "port": port,
        "metrics-address": host,
        "metrics-port": 8084,
        "redis": REDIS,
        "disable-tls": "true",
        "client-ca-path": "",
    }


def _application_controller() -> Mapping[str, Any]:
    return {
        "namespace": NAMESPACE,
        "redis": REDIS,
        "repo-server": REPO_SERVER,
        "repo-server-plaintext": "true",
        "metrics-port": 8082,
        "status-processors": 4,
        "operation-processors": 4,
    }


def _applicationset_controller() -> Mapping[str, Any]:
    return {
        "namespace": NAMESPACE,
        "argocd-repo-server": REPO_SERVER,
        "repo-server-plaintext": "true",
        "metrics-addr": "127.0.0.1:8085",
        "probe-addr": "127.0.0.1:8086",
        "webhook-addr": "127.0.0.1:7000",
    }


def _server() -> Mapping[str, Any]:
    """Without TLS and without login: it listens on loopback alone."""
    return {
        "namespace": NAMESPACE,
        "address": "127.0.0.1",
        "port": 8080,
        "metrics-port": 8083,
        "insecure": "true",
        "disable-auth": "true",
        "redis": REDIS,
        "repo-server": REPO_SERVER,
        "repo-server-plaintext": "true",
    }


def _folder(state: State) -> Path:
    return state.run / "argocd"


def _write_wrapper(state: State, module: Path) -> None:
    """A script that the repo-server calls by name: a module's files are not executable."""
    folder = _folder(state)
    for name in ("bin", "tls", "ssh", "plugins", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "ssh" / "ssh_known_hosts").touch()
    target = folder / "bin" / "git-verify-wrapper.sh"
    shutil.copyfile(module / "hack" / target.name, target)
    target.chmod(0o755)
