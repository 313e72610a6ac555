"""A fork whose pull requests are at a played forge, and what its cluster says, for tests of pull requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.delivery.promote import promote
from pipeline.delivery.pulls import CHECKS, REPORT, Desk
from pipeline.delivery.push import Outcome
from pipeline.delivery.reconcile import Answer, Hint, Reconciling, contradicted, promotion_evidence
from tests import deliveries, forges
from tests.deliveries import BRANCH, Fork
from tests.forges import REPOSITORY, Played
from tests.unit.pipeline.delivery import api
from tests.unit.pipeline.delivery.recorded import document

Pull = dict[str, Any]


@dataclass
class Office:
    """A fork, the forge that it is at, and the variables of a run there. `say` collects what was told."""

    fork: Fork
    played: Played
    environ: dict[str, str]
    told: list[str] = field(default_factory=list)

    @property
    def desk(self) -> Desk:
        return Desk.of(self.fork.context, self.told.append, self.environ)

    @property
    def reconciling(self) -> Reconciling:
        return Reconciling(self.fork.context, self.desk, self.environ, deliveries.expect)

    def event(self, event: str, identity: str, env: str = "staging", **told: str) -> tuple[Answer, ...]:
        """What comes of an event."""
        return self.reconciling.answer(Hint(event=event, environment=env, identity=identity, **told))

    def promote(self) -> Outcome:
        """`flightline promote --pull-request`."""
        from pipeline.delivery import pulls

        desk, doubt = self.desk, contradicted(self.fork.context.settings, self.environ)
        outcome = promote(self.fork.context, "", BRANCH, self.told.append, deliveries.expect, doubt)
        return pulls.ask(desk, "promote", outcome, lambda key, _: promotion_evidence(desk, key, self.environ))

    def pulls(self, state: str = "open") -> list[Pull]:
        """Pull requests in a state, oldest first."""
        return [one for one in reversed(self.played.pulls) if one["state"] == state]

    def only(self) -> Pull:
        """The one open pull request."""
        (one,) = self.pulls()
        return one

    def merge(self, pull: Pull) -> None:
        """As a person does on the forge."""
        self.fork.merge(pull["head"]["ref"])
        pull.update(state="closed", merged_at="2026-01-01T00:00:00Z")

    def checked(self) -> list[tuple[str, str]]:
        """(workflow, branch) of what was dispatched."""
        return [(one["workflow"], one["ref"]) for one in self.played.dispatched]

    def identity(self, env: str = "staging") -> str:
        """What main releases."""
        return self.fork.timeline(env).identity


def checks(branch: str) -> list[tuple[str, str]]:
    """What the built-in token has to start itself."""
    return [*((workflow, branch) for workflow in CHECKS), (REPORT, "main")]


@contextmanager
def office(fork: Fork, *, builtin: bool = False) -> Iterator[Office]:
    """A desk at a forge of its own, with the built-in token or with one whose pushes start workflows."""
    with forges.serving() as (address, played):
        token = "GITHUB_TOKEN" if builtin else "FLIGHTLINE_TOKEN"
        environ = {"GITHUB_API_URL": address, "GITHUB_REPOSITORY": REPOSITORY, token: "for-tests-only"}
        yield Office(fork, played, environ)


@contextmanager
def cluster(made: Office, scenes: dict[str, str], folder: Path) -> Iterator[None]:
    """A cluster at a recorded moment in each environment named, which rolls out what main releases there."""
    objects: dict[str, Any] = {}
    for env, scene in scenes.items():
        objects |= served(env, scene, made.identity(env))
    with api.serving(objects, folder):
        made.environ["KUBECONFIG"] = str(folder / "kubeconfig")
        yield
    del made.environ["KUBECONFIG"]


def served(env: str, scene: str, identity: str) -> dict[str, Any]:
    """What an API server has at a recorded moment, with another identity on the Rollout."""
    kept, argo = document(scene), f"/apis/argoproj.io/v1alpha1/namespaces/flightline-{env}"
    kept["rollout"]["metadata"]["annotations"]["flightline/identity"] = identity
    return {
        f"{argo}/rollouts/flightline": kept["rollout"],
        f"{argo}/analysisruns": {"items": kept.get("analyses", [])},
        f"/apis/apps/v1/namespaces/flightline-{env}/replicasets": {"items": kept.get("replicasets", [])},
    }
