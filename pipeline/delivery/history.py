"""What main says was released in an environment, in order, and what it holds.

Only main's first-parent line counts: a merged promotion is one step, whatever its branch did on the way.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from pipeline import paths
from pipeline.delivery.git import Repository
from pipeline.delivery.models import DeliveryError, Hold, Permission, Release, is_identity, read_holds, read_release

MANIFESTS, RELEASE, BUNDLE, HELD = "manifests.yaml", "release.yaml", "bundle.dvc", "held.yaml"
FILES = (MANIFESTS, RELEASE, BUNDLE)
SHORTEST = 7


def folder(env: str) -> str:
    """Where an environment's release is, from the top of the repository."""
    return (paths.RELEASES / env).as_posix()


@dataclass(frozen=True)
class Named:
    """A release as history needs it: what it is, which bundle it holds, which commit rendered it."""

    identity: str
    version: str
    source: str


@dataclass(frozen=True)
class Point:
    """One commit of main that changed an environment's folder: what it released (None: nothing) and held."""

    commit: str
    release: Named | None
    holds: tuple[Hold, ...] = ()

    @property
    def identity(self) -> str:
        """The released identity, "" for none."""
        return self.release.identity if self.release else ""

    def permission(self, identity: str) -> Permission | None:
        """What the held list says lets an identity go."""
        return next((hold.permitted for hold in self.holds if hold.identity == identity), None)


@dataclass(frozen=True)
class Timeline:
    """An environment's points on main, oldest first; `release` and `holds` are those that stand now."""

    env: str
    points: tuple[Point, ...]
    release: Release | None = None
    holds: tuple[Hold, ...] = ()

    @property
    def identity(self) -> str:
        """The released identity, "" for none."""
        return self.release.identity if self.release else ""

    @cached_property
    def held(self) -> Mapping[str, str]:
        """Why each held identity is held: a line of held.yaml, or a step back that main took."""
        steps = {one: f"main went back from it in {at[:12]}" for one, at in went_back(self.points).items()}
        lines = {one.identity: f"held since {one.date}: {one.reason}" for one in self.holds if one.permitted is None}
        return {**steps, **lines}

    def releases(self) -> Iterator[tuple[str, Named]]:
        """(commit on main, release) for each time something else became released, newest first."""
        steps = zip(self.points, (None, *self.points), strict=False)
        changed = [(now, before) for now, before in steps if before is None or now.identity != before.identity]
        yield from ((now.commit, now.release) for now, _ in reversed(changed) if now.release)


def went_back(points: Sequence[Point]) -> dict[str, str]:
    """Identities that an earlier release, or none at all, took the place of, each with the commit that did it.

    A permission written afterwards lets one go, and so does its release anew, which only people can commit.
    """
    first: dict[str, int] = {"": -1}
    held: dict[str, tuple[str, Permission | None]] = {}
    before = ""
    for at, point in enumerate(points):
        now = point.identity
        if now != before and before and first.get(now, at) < first[before]:
            held[before] = (point.commit, point.permission(before))
        first.setdefault(now, at)
        held.pop(now, None)
        held = {one: why for one, why in held.items() if point.permission(one) in (None, why[1])}
        before = now
    return {one: commit for one, (commit, _) in held.items()}


def timeline(repository: Repository, main: str, env: str) -> Timeline:
    """Read an environment's history. Only what stands now must be valid. Raises GitError, DeliveryError."""
    commits = repository.changes(main, folder(env))
    names = [f"{commit}:{folder(env)}/{name}" for commit in commits for name in (RELEASE, HELD)]
    blobs = repository.blobs(names)
    points = tuple(_points(commits, blobs))
    if not commits:
        return Timeline(env, ())
    release, held = blobs[-2:]
    where = f"{folder(env)}/%s on {repository.branch}"
    return Timeline(
        env,
        points,
        read_release(release, where % RELEASE) if release is not None else None,
        read_holds(held, where % HELD) if held is not None else (),
    )


def _points(commits: Sequence[str], blobs: Sequence[bytes | None]) -> Iterator[Point]:
    """A commit whose files cannot be read says nothing, and is left out."""
    for at, commit in enumerate(commits):
        release, held = blobs[2 * at : 2 * at + 2]
        try:
            holds = read_holds(held, HELD) if held is not None else ()
        except DeliveryError:
            holds = ()
        named = _named(release) if release is not None else None
        if named is not None or release is None:
            yield Point(commit, named, holds)


def _named(text: bytes) -> Named | None:
    """The three fields that every version of release.yaml has."""
    try:
        document: Any = yaml.safe_load(text)
        named = Named(*(str(document[field]) for field in ("identity", "version", "source")))
    except (yaml.YAMLError, TypeError, KeyError):
        return None
    return named if is_identity(named.identity) else None


def find(found: Timeline, wanted: str) -> tuple[str, Named]:
    """The newest (commit, release) that an identity, a version or a commit on main names. Raises DeliveryError."""
    if len(wanted) < SHORTEST:
        raise DeliveryError(f"{wanted!r} is too short to name a release; give {SHORTEST} characters or more")
    named = [
        (commit, release)
        for commit, release in found.releases()
        if any(one.startswith(wanted) for one in (release.identity, release.version, commit))
    ]
    identities = {release.identity for _, release in named}
    if len(identities) > 1:
        several = ", ".join(sorted(one[:12] for one in identities))
        raise DeliveryError(f"{wanted!r} names several releases of {found.env}: identities {several}; give one of them")
    if not named:
        known = ", ".join(dict.fromkeys(one.identity[:12] for _, one in found.releases())) or "none yet"
        raise DeliveryError(f"{wanted!r} names no release of {found.env} on main; identities released: {known}")
    return named[0]
