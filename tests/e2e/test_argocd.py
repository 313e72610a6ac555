"""What syncs and what tells: Argo CD, Rollouts and their notifications, each with the rights of its own account.

The shipped `argocd/` is applied under another name, with a repository of its own, so that it meets nobody's releases.
Needs the local cluster (`make cluster-up`).
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from infra.local import argocd, gitserver, images
from infra.local.accounts import Account
from infra.local.components import PROJECT, ClusterError, State
from pipeline.tools import module_folder

NAME = "trial"
STAGING, PRODUCTION = f"{NAME}-staging", f"{NAME}-production"
BY_WEBHOOK, BY_POLLING = 3.0, 20.0
_Value = TypeVar("_Value")


def until(found: Callable[[], _Value], seconds: float = 60) -> _Value:
    """The first true answer; fails after `seconds` with the last one."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"not within {seconds:g} s; last seen: {value!r}"
        time.sleep(0.1)
    return value


@dataclass(frozen=True)
class Trial:
    """A project of its own on the cluster: what git says, and what the cluster has."""

    cluster: Any
    clone: Path

    @property
    def repository(self) -> Path:
        return gitserver.folder(self.cluster.state) / f"{NAME}.git"

    def release(self, *documents: Any, environment: str = "staging") -> None:
        """Commit and push what the environment is to be."""
        path = self.clone / "k8s" / "releases" / environment / "manifests.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        git(self.clone, "add", "--all")
        git(self.clone, "commit", "--quiet", "--message=release", "--allow-empty")
        git(self.clone, "push", "--quiet", "origin", "HEAD:main")

    def head(self) -> str:
        return git(self.clone, "rev-parse", "HEAD")

    def get(self, kind: str, name: str, namespace: str | None = STAGING) -> Any:
        """An object, or None where it is not there."""
        where = [f"--namespace={namespace}"] if namespace else []
        text = self.cluster.kubectl("get", kind, name, *where, "--output=json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def value(self) -> str | None:
        """What the cluster's ConfigMap says."""
        found = self.get("configmap", "settings")
        return None if found is None else str(found["data"]["level"])

    def application(self, name: str = STAGING) -> Any:
        return self.get("applications.argoproj.io", name, argocd.NAMESPACE)

    def synced(self, name: str = STAGING) -> bool:
        """Whether the environment is what main's newest commit says."""
        sync = ((self.application(name) or {}).get("status") or {}).get("sync") or {}
        return (sync.get("status"), sync.get("revision")) == ("Synced", self.head())


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def settings(level: str) -> Any:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": STAGING},
        "data": {"level": level},
    }


def service(name: str) -> Any:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": STAGING},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": 80}]},
    }


@pytest.fixture(scope="module")
def trial(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = gitserver.folder(cluster.state)
    remove(cluster, folder / f"{NAME}.git")
    gitserver.create(folder, NAME, [argocd.WEBHOOK])
    made = Trial(cluster, cloned(tmp_path_factory.mktemp("work") / "clone"))
    try:
        made.release(settings("first"))
        cluster.apply(shipped())
        until(made.synced)
        yield made
    finally:
        remove(cluster, folder / f"{NAME}.git")


def cloned(clone: Path) -> Path:
    """A clone of the empty repository, with a folder for production as the template ships it."""
    git(clone.parent, "clone", "--quiet", gitserver.address(NAME), clone.name)
    for key, text in (("user.name", "e2e"), ("user.email", "e2e@example.com")):
        git(clone, "config", key, text)
    production = clone / "k8s" / "releases" / "production"
    production.mkdir(parents=True)
    (production / ".gitkeep").touch()
    return clone


def shipped() -> str:
    """`argocd/` as the template ships it, for this repository and under this name."""
    placeholder = "repository-of-the-trial"
    text = argocd.applications(PROJECT, placeholder).replace("flightline", NAME)
    return text.replace(placeholder, gitserver.address(NAME))


def remove(cluster: Any, repository: Path) -> None:
    """Remove the trial whole, also what an earlier one left."""
    shutil.rmtree(repository, ignore_errors=True)
    here = f"--namespace={argocd.NAMESPACE}"
    for kind, names in (("applicationset", (NAME,)), ("application", (STAGING, PRODUCTION)), ("appproject", (NAME,))):
        cluster.kubectl("delete", kind, *names, here, "--ignore-not-found")
    cluster.kubectl("delete", "namespace", STAGING, PRODUCTION, "--ignore-not-found")


def measured(what: str, found: Callable[[], Any], record: Callable[[str, object], None]) -> float:
    """How long it takes, in seconds, for the report too."""
    start = time.monotonic()
    until(found)
    seconds = time.monotonic() - start
    record(what, round(seconds, 1))
    print(f"{what}: {seconds:.1f} s")
    return seconds


def test_push_is_synced_by_webhook(trial: Trial, record_property: Callable[[str, object], None]) -> None:
    trial.release(settings("by webhook"))
    assert measured("synced by webhook", lambda: trial.value() == "by webhook", record_property) <= BY_WEBHOOK
    until(trial.synced)


def test_push_is_synced_by_polling(trial: Trial, record_property: Callable[[str, object], None]) -> None:
    gitserver.set_webhooks(trial.repository, [])
    try:
        trial.release(settings("by polling"))
        assert measured("synced by polling", lambda: trial.value() == "by polling", record_property) <= BY_POLLING
    finally:
        gitserver.set_webhooks(trial.repository, [argocd.WEBHOOK])


def test_what_git_drops_is_pruned(trial: Trial, record_property: Callable[[str, object], None]) -> None:
    trial.release(settings("prune"), service("extra"))
    until(lambda: trial.get("service", "extra"))
    until(trial.synced)
    trial.release(settings("prune"))
    measured("pruned", lambda: trial.get("service", "extra") is None, record_property)


def test_release_without_manifests_deletes_nothing(trial: Trial) -> None:
    trial.release(settings("kept"))
    until(lambda: trial.synced() and trial.value() == "kept")
    trial.release()
    until(lambda: "auto-sync will wipe out all resources" in conditions(trial))
    assert trial.value() == "kept"
    trial.release(settings("kept"))
    until(trial.synced)


def test_edits_by_hand_are_healed(trial: Trial, record_property: Callable[[str, object], None]) -> None:
    trial.release(settings("healed"), service("kept"))
    until(trial.synced)
    trial.cluster.kubectl(
        *("patch", "configmap", "settings", f"--namespace={STAGING}", "--type=merge"),
        *("--patch", '{"data": {"level": "by hand"}}'),
    )
    measured("healed", lambda: trial.value() == "healed", record_property)
    trial.cluster.kubectl("delete", "service", "kept", f"--namespace={STAGING}")
    measured("put back", lambda: trial.get("service", "kept"), record_property)


def test_namespaces_are_restricted(trial: Trial) -> None:
    labels = trial.get("namespace", STAGING, None)["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "warn", "audit")} == {"restricted"}
    assert labels["app.kubernetes.io/part-of"] == NAME


def cluster_role() -> Any:
    metadata = {"name": f"{NAME}-intruder"}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, "rules": []}


def secret() -> Any:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "intruder", "namespace": STAGING}}


def stranger(namespace: str) -> Any:
    return {**settings("stranger"), "metadata": {"name": "intruder", "namespace": namespace}}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (secret(), "resource :Secret is not permitted in project trial"),
        (cluster_role(), "resource rbac.authorization.k8s.io:ClusterRole is not permitted in project trial"),
        (stranger("default"), "namespace default is not permitted in project 'trial'"),
        (stranger("argocd"), "namespace argocd is not permitted in project 'trial'"),
        (stranger("trial-other"), "namespace trial-other is not permitted in project 'trial'"),
    ],
    ids=["a Secret", "a ClusterRole", "default", "argocd", "a namespace that is not there"],
)
def test_project_refuses_what_is_not_its_own(trial: Trial, document: Any, said: str) -> None:
    trial.release(settings("refused"), document)
    try:
        until(lambda: said in conditions(trial))
        metadata = document["metadata"]
        assert trial.get(document["kind"], metadata["name"], metadata.get("namespace")) is None
    finally:
        trial.release(settings("accepted"))
        # Not the refused commit's retries: what main says now.
        until(lambda: trial.synced() and trial.value() == "accepted")


def conditions(trial: Trial) -> str:
    """All that Argo CD says about the application and its last sync."""
    return json.dumps((trial.application() or {}).get("status", {}))


TRIGGERS = ("on-rollout-completed", "on-rollout-aborted", "on-rollout-paused")


def identity(version: str) -> str:
    return (version * 64)[:64]


def rollout(image: str, version: str, *steps: Any, **spec: Any) -> Any:
    """Pods that do nothing, released in steps; two Services follow the stable ones and the canaries."""
    subscriptions = {f"notifications.argoproj.io/subscribe.{trigger}.flightline": "" for trigger in TRIGGERS}
    named = {f"flightline/{field}": identity(version) for field in ("identity", "version", "source")}
    restricted = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {
        "name": "server",
        "image": image,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    canary = {"stableService": f"{NAME}-stable", "canaryService": f"{NAME}-canary", "steps": [*steps]}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": NAME, "namespace": STAGING, "annotations": {**subscriptions, **named}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": NAME}},
            "template": {
                "metadata": {"labels": {"app": NAME, "version": version}},
                "spec": {"securityContext": restricted, "terminationGracePeriodSeconds": 1, "containers": [container]},
            },
            "strategy": {"canary": canary},
            **spec,
        },
    }


def analysis(name: str, **conditions: str) -> Any:
    """A run of one measurement, whose result is always 1."""
    prometheus = {"address": "http://127.0.0.1:9090", "query": "vector(1)"}
    metric = {"name": "one", "count": 1, "provider": {"prometheus": prometheus}, **conditions}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": name, "namespace": STAGING},
        "spec": {"metrics": [metric]},
    }


ANALYSES = (
    analysis("good", successCondition="result[0] == 1"),
    analysis("bad", successCondition="result[0] == 0"),
    analysis("unclear", successCondition="result[0] == 0", failureCondition="result[0] == 2"),
)


def judged(name: str) -> Any:
    return {"analysis": {"templates": [{"templateName": name}]}}


@dataclass(frozen=True)
class Rollouts:
    """The trial's Rollout, what is told about it, and the image that it runs."""

    trial: Trial
    messages: Callable[[], list[Any]]
    image: str

    def release(self, version: str, *steps: Any, **spec: Any) -> None:
        """Release a version."""
        services = (service(f"{NAME}-stable"), service(f"{NAME}-canary"))
        self.trial.release(settings("rollouts"), *ANALYSES, *services, rollout(self.image, version, *steps, **spec))

    def events(self, version: str) -> list[str]:
        """What was told about a version, in order."""
        return [one["event"] for one in self.messages() if one["identity"] == identity(version)]

    def told(self, event: str, version: str) -> Any:
        """The first message of this kind about this version."""
        until(lambda: event in self.events(version))
        about = (one for one in self.messages() if one["identity"] == identity(version))
        return next(one for one in about if one["event"] == event)

    def phase(self) -> str:
        return str(((self.trial.get("rollout", NAME) or {}).get("status") or {}).get("phase"))

    def abort(self) -> None:
        """As `flightline abort` does, and the CronJob that ends a pause."""
        self.trial.cluster.kubectl(
            *("patch", "rollout", NAME, f"--namespace={STAGING}", "--subresource=status", "--type=merge"),
            *("--patch", '{"status": {"abort": true}}'),
        )


@pytest.fixture(scope="module")
def image(cluster: Any) -> str:
    """An image that the cluster has anyway; it waits."""
    return images.push(cluster.state)["pause"]


@pytest.fixture
def rollouts(trial: Trial, receiver: Callable[[], list[Any]], image: str) -> Rollouts:
    made = Rollouts(trial, receiver, image)
    made.release("a")
    until(lambda: trial.synced() and made.phase() == "Healthy")
    return made


def test_completed_release_is_told(rollouts: Rollouts) -> None:
    rollouts.release("b", {"setWeight": 50}, {"pause": {"duration": "1s"}}, judged("good"))
    assert rollouts.told("completed", "b") == {
        "workflow": "promote.yml",
        "event": "completed",
        "environment": STAGING,
        "identity": identity("b"),
        "version": identity("b"),
        "source": identity("b"),
        "reason": "",
        "message": "",
    }
    # A timed pause is no reason to call a person.
    assert rollouts.events("b") == ["completed"]


def test_release_that_fails_its_analysis_is_told_with_the_reason(rollouts: Rollouts) -> None:
    rollouts.release("b", {"setWeight": 50}, judged("bad"))
    message = rollouts.told("aborted", "b")
    assert (message["reason"], message["workflow"]) == ("analysis", "reconcile.yml")
    assert 'Metric "one" assessed Failed' in message["message"]
    until(lambda: rollouts.phase() == "Degraded")


def test_release_that_cannot_be_judged_is_told_and_waits(rollouts: Rollouts) -> None:
    rollouts.release("b", {"setWeight": 50}, {"pause": {"duration": "1s"}}, judged("unclear"))
    message = rollouts.told("paused", "b")
    assert (message["reason"], message["workflow"]) == ("inconclusive", "reconcile.yml")
    assert 'Metric "one" assessed Inconclusive' in message["message"]
    assert rollouts.events("b") == ["paused"]
    assert rollouts.phase() == "Paused"
    rollouts.abort()
    assert rollouts.told("aborted", "b")["reason"] == "request"


def test_release_that_makes_no_progress_is_told(rollouts: Rollouts) -> None:
    missing = rollouts.image.partition("@")[0] + "@sha256:" + "0" * 64
    Rollouts(rollouts.trial, rollouts.messages, missing).release(
        "b", {"setWeight": 50}, progressDeadlineSeconds=5, progressDeadlineAbort=True
    )
    message = rollouts.told("aborted", "b")
    assert message["reason"] == "deadline"
    assert "progress" in message["message"]


def test_selectors_that_the_controller_writes_are_no_drift(rollouts: Rollouts) -> None:
    rollouts.release("b", {"setWeight": 50}, {"pause": {}})
    until(lambda: rollouts.phase() == "Paused")
    hashes = [until(lambda name=name: pods_of(rollouts.trial, name)) for name in ("stable", "canary")]
    assert hashes[0] != hashes[1]
    # A sync of something else must not take them away either: all traffic would go to all pods.
    rollouts.trial.release(
        settings("beside"),
        *ANALYSES,
        *(service(f"{NAME}-{one}") for one in ("stable", "canary")),
        rollout(rollouts.image, "b", {"setWeight": 50}, {"pause": {}}),
    )
    until(lambda: rollouts.trial.synced() and rollouts.trial.value() == "beside")
    assert [pods_of(rollouts.trial, name) for name in ("stable", "canary")] == hashes


def pods_of(trial: Trial, name: str) -> str | None:
    """Which pods a Service leads to."""
    selector = trial.get("service", f"{NAME}-{name}")["spec"]["selector"]
    return selector.get("rollouts-pod-template-hash")


@dataclass(frozen=True)
class Caller:
    """Asks the API server with an account's own token, as its controller does."""

    state: State
    account: str

    def __call__(self, *words: str) -> str:
        command = [self.state.tool("kubectl"), f"--kubeconfig={self.state.kubeconfig_of(self.account)}", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(done.stderr)
        return done.stdout


@pytest.mark.parametrize("account", [*argocd.ACCOUNTS, Account("argo-rollouts", "argo-rollouts")], ids=lambda a: a.name)
def test_controllers_are_who_they_would_be_in_a_pod(cluster: Any, account: Account) -> None:
    who = Caller(cluster.state, account.name)("auth", "whoami", "--output=jsonpath={.status.userInfo.username}")
    assert who == f"system:serviceaccount:{account.namespace}:{account.name}"


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ("argo-rollouts", ("get", "nodes")),
        ("argo-rollouts", ("create", "namespace", "intruder")),
        ("argo-rollouts", ("delete", "configmap", "argocd-cm", "--namespace=argocd")),
        ("argocd-applicationset-controller", ("get", "pods", "--all-namespaces")),
        ("argocd-repo-server", ("get", "configmaps", "--namespace=argocd")),
        ("argocd-server", ("create", "namespace", "intruder")),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_controllers_cannot_do_what_their_roles_do_not_say(cluster: Any, account: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ClusterError, match=r"[Ff]orbidden"):
        Caller(cluster.state, account)(*words)


@pytest.mark.parametrize("name", ["argo-cd", "argo-rollouts"])
def test_bootstrap_is_accepted_by_a_cluster(cluster: Any, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(PROJECT / "argocd", tmp_path / "argocd")) / "bootstrap" / name
    module = os.path.relpath(module_folder(name), folder.resolve())
    written = (folder / "kustomization.yaml").read_text()
    (folder / "kustomization.yaml").write_text(re.sub(r"https://\S+//(\S+)\?ref=\S+", rf"{module}/\1", written))
    rendered = cluster.kubectl("kustomize", str(folder))
    (tmp_path / "rendered.yaml").write_text(rendered)
    options = ("--server-side", "--force-conflicts", "--dry-run=server", "--field-manager=trial")
    applied = cluster.kubectl("apply", *options, f"--filename={tmp_path / 'rendered.yaml'}").splitlines()
    assert len(applied) == len(rendered.split("\n---\n"))
    assert ":latest" not in rendered


def test_deleting_the_list_leaves_everything_running(trial: Trial) -> None:
    trial.cluster.kubectl("delete", "applicationset", NAME, f"--namespace={argocd.NAMESPACE}")
    trial.cluster.kubectl("delete", "application", STAGING, f"--namespace={argocd.NAMESPACE}", "--ignore-not-found")
    until(lambda: trial.application() is None)
    assert trial.value() is not None
