"""Before the story: nothing of an earlier one, and what a user's cluster is told once."""

import shutil

from infra.local import environments, gitserver, rollouts
from infra.local.components import Kubectl, State
from tests.e2e.world import World


def clean(kubectl: Kubectl, state: State) -> None:
    """Remove the applications, their namespaces and the fork's repository."""
    environments.clean(kubectl)
    shutil.rmtree(gitserver.folder(state) / "flightline.git", ignore_errors=True)


def settle(world: World) -> None:
    """Project, applications and notifications, as the fork has them."""
    environments.settle(world.kubectl, world.fork.root / "argocd", rollouts.notification_secret(rollouts.RECEIVER))
