"""The local forge as a whole: Gitea with a fork of this project, a runner for its workflows, a store for its data.

It belongs to the local cluster: Argo CD reads main from it, and Rollouts tells it what became of a release.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local import (
    argocd,
    cluster,
    control,
    environments,
    fork,
    gitea,
    members,
    protection,
    rollouts,
    runner,
    standins,
    store,
)
from infra.local.accounts import Account, portable
from infra.local.components import MANIFESTS, Kubectl, State
from infra.local.control import Say
from infra.local.gitea import ADMIN, NAME, OWNER, Folders, Person
from infra.local.members import BOT, CLUSTER, REVIEWER, Credentials
from infra.local.protection import Mode
from pipeline.lock import exclusive

TOOLS = ("gitea", "forge-runner")
COMPONENTS = (gitea.COMPONENT, store.COMPONENT)
START_SECONDS = 60.0
# What `make test` runs here: the workflow's way is what counts, and everything takes an hour.
TESTS = "tests/unit/pipeline/test_text.py tests/unit/pipeline/test_config.py"
APP = "FLIGHTLINE_APP_ID"
# Asks the cluster for the workflows: infra/local/manifests/reader.yaml.
READER = Account(argocd.NAMESPACE, "flightline-reader")


def up(state: State, say: Say, *, mode: Mode = "bypass", uncommitted: bool = False) -> None:
    """Have the forge running, and the cluster before it; a fork that it has stays as it is. Raises ClusterError."""
    folders = Folders.of(state)
    if not control.running(state):
        cluster.up(state, say)
    folders.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with exclusive(folders.root, say):
        say("starting Gitea")
        credentials = _serve(state, folders)
        administrator = credentials.person(ADMIN)
        _configure(state, administrator, credentials, mode)
        if administrator.find(f"repos/{OWNER}/{NAME}/branches/{fork.BRANCH}") is None:
            _make_fork(state, folders, credentials, say, uncommitted=uncommitted)
        say("protecting main")
        protection.apply(administrator, folders.fork, mode)
        # Each time: an `up` that was ended half way, or another story on this cluster, left Argo CD without it.
        environments.settle(Kubectl(state), folders.fork / "argocd", notifications(credentials))
        say("starting the runner")
        runner.start(folders, administrator, _tool("gitea-runner"), {"cosign": _tool("cosign")})
        say("ready")


def down(state: State, say: Say) -> None:
    """End the forge and remove every trace of it, on the cluster too. Raises ClusterError."""
    folders = Folders.of(state)
    if not folders.root.is_dir():
        return
    with exclusive(folders.root, say):
        say("stopping the forge")
        runner.stop(folders)
        if control.running(state):
            control.ask(state, "stop", COMPONENTS)
            control.wait_until(state, COMPONENTS, ("stopped",), START_SECONDS)
            say("removing what it released")
            environments.clean(Kubectl(state))
            Kubectl(state).apply(rollouts.notification_secret(rollouts.RECEIVER))
        say("removing its state")
    shutil.rmtree(folders.root)


def end(state: State, *, keep_state: bool) -> None:
    """What the end of its cluster means for it: the rest of it is ended, and kept where the cluster's state is."""
    folders = Folders.of(state)
    runner.stop(folders)
    if not keep_state:
        shutil.rmtree(folders.root, ignore_errors=True)


def status(state: State) -> dict[str, Any]:
    """Whether it runs, each of its processes, and the newest runs of workflows."""
    folders = Folders.of(state)
    found = control.ask(state, "status") if control.running(state) else {}
    phases = {name: found.get(name, {}).get("phase", "stopped") for name in COMPONENTS}
    phases["runner"] = "ready" if runner.running(folders) else "stopped"
    running = set(phases.values()) == {"ready"}
    credentials = members.read(folders)
    return {
        "running": running,
        "address": gitea.REPOSITORY,
        "components": phases,
        "credentials": str(folders.credentials),
        "runs": _runs(credentials.person(ADMIN)) if running and credentials else [],
    }


def _serve(state: State, folders: Folders) -> Credentials:
    """Have the server and the store running, with every user; the credentials, tokens and all."""
    from pipeline import tools

    credentials = members.read(folders) or members.new()
    members.write(folders, credentials)
    secrets = {**credentials.server, "password": credentials.passwords[ADMIN]}
    if control.ask(state, "status").get(gitea.COMPONENT, {}).get("phase") != "ready":
        gitea.install(folders, tools.tool("gitea"), tools.module_folder("gitea"), secrets)
    control.ask(state, "start", COMPONENTS)
    control.wait_until(state, COMPONENTS, ("ready",), START_SECONDS)
    credentials = members.settle(credentials)
    members.write(folders, credentials)
    return credentials


def _configure(state: State, administrator: Person, credentials: Credentials, mode: Mode) -> None:
    """The repository's secrets, variables and webhook."""
    here = f"repos/{OWNER}/{NAME}"
    kubectl = Kubectl(state)
    kubectl.apply((MANIFESTS / "reader.yaml").read_text())
    for name, value in secrets(credentials, portable(kubectl, state, READER)).items():
        administrator.call("PUT", f"{here}/actions/secrets/{name}", {"data": value})
    for name, value in variables(mode).items():
        _set_variable(administrator, f"{here}/actions/variables/{name}", value)
    if not administrator.find(f"{here}/hooks"):
        config = {"url": argocd.WEBHOOK, "content_type": "json"}
        administrator.call(
            "POST", f"{here}/hooks", {"type": "gitea", "config": config, "events": ["push"], "active": True}
        )


def secrets(credentials: Credentials, kubeconfig: str) -> Mapping[str, str]:
    """The repository's secrets, by the names that the workflows know."""
    return {
        "FLIGHTLINE_APP_KEY": credentials.tokens[BOT],
        "COSIGN_PRIVATE_KEY": credentials.signing.private,
        "COSIGN_PASSWORD": credentials.signing.password,
        # Lines of the trusted remote in .dvc/config.local.
        "FLIGHTLINE_DVC_CONFIG": f"auth = basic\nuser = {store.USER}\npassword = {credentials.store}",
        "FLIGHTLINE_KUBECONFIG": kubeconfig,
    }


def variables(mode: Mode) -> Mapping[str, str]:
    """The repository's variables; an empty one is none."""
    return {
        APP: "1" if mode == "bypass" else "",
        "FLIGHTLINE_BASE_IMAGE": "local",
        "FLIGHTLINE_PROMETHEUS": "http://127.0.0.1:9090",
        "FLIGHTLINE_TESTS": TESTS,
    }


def notifications(credentials: Credentials) -> str:
    """The Secret with which Rollouts starts workflows here."""
    return rollouts.notification_secret(gitea.REPOSITORY_API, credentials.tokens[CLUSTER])


def _set_variable(administrator: Person, path: str, value: str) -> None:
    there = administrator.find(path) is not None
    if value:
        administrator.call("PUT" if there else "POST", path, {"value": value})
    elif there:
        administrator.call("DELETE", path)


def _make_fork(state: State, folders: Folders, credentials: Credentials, say: Say, *, uncommitted: bool) -> None:
    """Make main, with the project's own history; an earlier fork's releases go first."""
    administrator, kubectl = credentials.person(ADMIN), Kubectl(state)
    say("making a fork")
    start = fork.make(folders.fork, uncommitted=uncommitted)
    fork.settle(folders.fork, gitea.REPOSITORY, owner=REVIEWER, key=credentials.signing.public)
    fork.use_store(folders.fork, store.ADDRESS)
    protection.name_owners(folders.fork)
    fork.commit(folders.fork, f"Settings of the local forge\n\nOn top of {start}.")
    say("publishing stand-ins for actions")
    standins.publish(administrator, folders.fork)
    say("removing what an earlier fork released")
    environments.clean(kubectl)
    say("pushing main")
    fork.git(folders.fork, "remote", "add", "origin", gitea.REPOSITORY)
    fork.git(folders.fork, "push", "-q", "-u", "origin", fork.BRANCH, **fork.authorized(administrator))


def _runs(administrator: Person) -> list[dict[str, Any]]:
    """The newest ones first."""
    found = administrator.find(f"repos/{OWNER}/{NAME}/actions/runs?limit=10") or {}
    fields = ("id", "event", "status", "conclusion", "display_title", "html_url")
    return [
        {"workflow": one["path"].partition("@")[0], **{name: one.get(name) for name in fields}}
        for one in found.get("workflow_runs", [])
    ]


def _tool(name: str) -> Path:
    from pipeline import tools

    return tools.tool(name)
