"""Before the story: nothing of an earlier one, and what a user's cluster is told once."""

import shutil
from pathlib import Path

from infra.local import gitserver, rollouts
from infra.local.components import ClusterError, Kubectl, State
from tests.e2e.world import ENVIRONMENTS, World, namespace


def clean(kubectl: Kubectl, state: State) -> None:
    """Remove the applications, their namespaces and the fork's repository."""
    for kind in ("applicationsets.argoproj.io", "applications.argoproj.io"):
        _gone(kubectl, "--namespace", "argocd", "delete", kind, "--all", "--wait=true", "--timeout=60s")
    names = (namespace(environment) for environment in ENVIRONMENTS)
    _gone(kubectl, "delete", "namespace", *names, "--ignore-not-found", "--wait=true", "--timeout=120s")
    shutil.rmtree(gitserver.folder(state) / "flightline.git", ignore_errors=True)


def _gone(kubectl: Kubectl, *words: str) -> None:
    try:
        kubectl(*words)
    except ClusterError as error:
        if "could not find the requested resource" not in str(error) and "the server doesn't have" not in str(error):
            raise


def settle(world: World) -> None:
    """Project, applications and notifications, as the fork has them."""
    argocd: Path = world.fork.root / "argocd"
    world.kubectl.apply(rollouts.notification_secret(rollouts.RECEIVER))
    for what in (("-k", str(argocd / "notifications")), ("-f", str(argocd / "project.yaml"))):
        world.kubectl("apply", "--server-side", "--force-conflicts", *what)
    world.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(argocd / "applications.yaml"))
