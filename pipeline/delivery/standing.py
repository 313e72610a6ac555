"""Whether an environment is in step, from what git says and what its cluster holds, and why it is not. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pipeline.config import Frozen
from pipeline.delivery.cluster import Json, Objects
from pipeline.delivery.observed import FAILED, Pods, Rolling, Synced, pods_of, rolling_of, synced_of, without_end
from pipeline.delivery.words import SHORT
from pipeline.errors import UNAVAILABLE

Standing = Literal["in step", "under way", "waiting", "broken", "unknown"]

# From the gravest: a script that looks at several environments gets the first of these that holds for any.
EXIT_CODES: Mapping[Standing, int] = {"unknown": UNAVAILABLE, "broken": 1, "waiting": 2, "under way": 3, "in step": 0}

_Finding = tuple[Standing, str]


class InGit(Frozen):
    """What main says: `commit` wrote the release; `held` is the reason where its identity may not be released."""

    main: str
    commit: str | None = None
    identity: str | None = None
    version: str | None = None
    source: str | None = None
    image: str | None = None
    held: str | None = None
    holds: int = 0


class Environment(Frozen):
    """One environment and the verdict on it; `reasons` say why it is not in step, most telling first."""

    name: str
    standing: Standing
    reasons: tuple[str, ...]
    git: InGit | None
    synced: Synced | None
    rollout: Rolling | None
    pods: tuple[Pods, ...]


class Status(Frozen):
    """Every environment that was asked about, and notes on what could not be asked."""

    environments: tuple[Environment, ...]
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 in step, 1 broken, 2 waiting for a human, 3 under way, 69 not known."""
        standings = {one.standing for one in self.environments}
        return next((code for standing, code in EXIT_CODES.items() if standing in standings), 0)

    @property
    def settled(self) -> bool:
        """Whether nothing moves by itself any more."""
        return all(one.standing in {"in step", "broken", "waiting"} for one in self.environments)


def judge(name: str, git: InGit | None, found: Objects | None, has_release: bool | None = None) -> Environment:
    """The environment from what was fetched.

    `found` is None where the cluster cannot be asked; `has_release` is whether what Argo CD synced holds the release.
    """
    if found is None:
        return Environment(name=name, standing="unknown", reasons=(), git=git, synced=None, rollout=None, pods=())
    synced = synced_of(found.application) if found.application else None
    rollout, pods = rolling_of(found), pods_of(found)
    said = list(_findings(git, synced, rollout, pods, found, has_release))
    standing = next((one for one in EXIT_CODES if one in {grave for grave, _ in said}), "in step")
    order = list(EXIT_CODES)
    ordered = sorted(said, key=lambda one: order.index(one[0]))
    reasons = tuple(dict.fromkeys(why for _, why in ordered if why))
    return Environment(
        name=name, standing=standing, reasons=reasons, git=git, synced=synced, rollout=rollout, pods=pods
    )


def _findings(
    git: InGit | None,
    synced: Synced | None,
    rollout: Rolling | None,
    pods: Sequence[Pods],
    found: Objects,
    has_release: bool | None,
) -> Iterator[_Finding]:
    """Everything that keeps the environment from being in step."""
    yield from _of_git(git, synced, rollout, has_release)
    if synced is not None:
        yield from _of_sync(synced, rollout, released=git is None or git.identity is not None)
    if rollout is not None and found.rollout is not None:
        yield _of_rollout(rollout, found.rollout)
    yield from (("under way", problem) for group in pods for problem in group.problems)


def _of_git(
    git: InGit | None, synced: Synced | None, rollout: Rolling | None, has_release: bool | None
) -> Iterator[_Finding]:
    if git is None:
        yield "unknown", "what main says is not known here, as a note below says"
        return
    if git.held:
        yield "broken", f"main releases identity {short(git.identity)}, which is held: {git.held}"
    if git.identity is None:
        if rollout is not None:
            yield "broken", f"main has no release, and identity {short(rollout.identity)} runs here"
        return
    if synced is None:
        yield "broken", "main has a release, and Argo CD has no application here; install argocd/ (docs/operations.md)"
    elif has_release is False or rollout is None:
        yield "under way", f"Argo CD is at {short(synced.revision)}, the release is in {short(git.commit)}"
    elif rollout.identity != git.identity:
        yield "broken", f"main says identity {short(git.identity)}, the rollout {short(rollout.identity)}"


def _of_sync(synced: Synced, rollout: Rolling | None, *, released: bool) -> Iterator[_Finding]:
    if synced.operation in FAILED:
        yield "broken", f"Argo CD could not sync: {synced.message}"
    elif synced.operation == "Running":
        yield "under way", f"Argo CD is syncing: {synced.message}"
    elif synced.sync != "Synced" and released:
        yield "broken", f"Argo CD says {synced.sync or 'nothing yet'}: {synced.message or 'the cluster is not as main'}"
    elif synced.health == "Degraded" and rollout is not None and rollout.phase == "Healthy":
        yield "broken", "Argo CD says Degraded though the rollout is healthy; look at the application's other objects"


def _of_rollout(rolling: Rolling, rollout: Json) -> _Finding:
    status = rollout.get("status", {})
    if status.get("abort") or rolling.phase in {"Degraded", "Aborted"}:
        return "broken", rolling.why
    if rolling.phase == "Paused" and without_end(rollout):
        return "waiting", rolling.why
    return ("in step", "") if rolling.phase == "Healthy" else ("under way", rolling.why)


def short(value: str | None) -> str:
    """A commit, an identity or a version as people read it."""
    return (value or "none")[:SHORT]
