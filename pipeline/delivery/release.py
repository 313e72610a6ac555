"""release: from a bundle that passed to a commit on main that the first environment follows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline import production
from pipeline.context import Context
from pipeline.delivery import candidate as candidates
from pipeline.delivery import freeze, order, words
from pipeline.delivery.candidate import Candidate, values
from pipeline.delivery.git import Here, Repository
from pipeline.delivery.history import BUNDLE, MANIFESTS, RELEASE, Timeline, timeline
from pipeline.delivery.models import DeliveryError, Expects, Release, write_release
from pipeline.delivery.proofs import check_signed
from pipeline.delivery.push import Change, Decision, How, Outcome, Say, Settled, deliver
from pipeline.delivery.render import render
from pipeline.dvcfiles import dvc_hash

Expect = Callable[[Context, str, Path, Path | None], Expects]


@dataclass(frozen=True)
class Wanted:
    """Which image to release where; "" is the first environment."""

    image: str
    env: str = ""


def release(context: Context, wanted: Wanted, how: How, say: Say, expect: Expect | None = None) -> Outcome:
    """Release HEAD's bundle in the image named. Safe to run again, at any time, by several at once.

    Raises DeliveryError, GitError, UnavailableError and what reading bundle, verdict and image raises.
    """
    repository, env = Repository.of(context), first_environment(context, wanted.env)
    source = repository.head()
    with repository.exported(source) as tree:
        say(f"{env}: checking bundle, verdict and image")
        found = candidates.gather(context, repository, source, tree, wanted.image)
        check_signed(Here(tree), found.image, source, say)
        expects = Expectations(context, found.bundle, expect or partial(measured, say=say))
        planned = Releasing(repository, env, found, tree, expects)
        return deliver(repository, env, planned.plan, how, say)


def measured(
    context: Context,
    env: str,
    candidate: Path,
    released: Path | None,
    say: Say = lambda _: None,
    said: Expects | None = None,
) -> Expects:
    """The distance between what is released and the candidate, as the analysis will see it, or as `said` measured."""
    from pipeline.delivery.expectations import expect

    return expect(context, env, candidate, released, say, said)


def first_environment(context: Context, env: str) -> str:
    """The environment that releases go to. Raises DeliveryError for one that promotions go to."""
    first, *later = context.settings.environments
    if env in later:
        raise DeliveryError(f"{env} is reached by `flightline promote`, not by a release; leave --env out for {first}")
    return known_environment(context, env or first)


def known_environment(context: Context, env: str) -> str:
    """The environment, if the settings name it. Raises DeliveryError."""
    if env not in context.settings.environments:
        raise DeliveryError(
            f"{env!r} is no environment; pyproject.toml names {', '.join(context.settings.environments)}"
        )
    return env


@dataclass(frozen=True)
class Releasing:
    """A candidate on its way to an environment."""

    repository: Repository
    env: str
    candidate: Candidate
    tree: Path
    expects: "Expectations"

    def plan(self, main: str) -> Decision:
        """What to do about it, on main as it is. Raises DeliveryError where the source is not on main."""
        source = self.candidate.source
        if not self.repository.contains(main, source):
            raise DeliveryError(f"HEAD {source[:12]} is not on {self.repository.branch}; merge or push it there first")
        found = timeline(self.repository, main, self.env)
        return (
            decide(self.candidate, found, order.newer(self.repository, found, source))
            or freeze.settled(self.repository, main, self.env, self.candidate.identity)
            or self._change(found, main)
        )

    def _change(self, found: Timeline, main: str) -> Change:
        expects = self.expects.against(main, found)
        return change(self.tree, self.candidate.release(self.env, expects), self.candidate.bundle_dvc, found.release)


def decide(candidate: Candidate, found: Timeline, newer: str | None) -> Settled | None:
    """Why there is nothing to release, or None. `newer` is a commit that was released and that the source lacks."""
    identity = candidate.identity
    if identity == found.identity:
        return Settled("nothing", f"{found.env} has identity {identity[:12]} already", identity)
    why = order.refusal(identity, candidate.source, (found,), newer)
    return Settled("refused", why, identity) if why else None


def change(tree: Path, release: Release, bundle_dvc: bytes, before: Release | None) -> Change:
    """The three files of a release, rendered from its source's files, and its commit's message."""
    return Change(
        env=release.environment,
        identity=release.identity,
        version=release.version,
        files={
            MANIFESTS: render(tree, release.environment, values(release)),
            RELEASE: write_release(release),
            BUNDLE: bundle_dvc,
        },
        message=words.released("release", release, before),
        branch=f"release/{release.environment}/{release.identity[:12]}",
    )


class Expectations:
    """What a canary of one bundle should look like against what is released; measured once per bundle it meets."""

    def __init__(self, context: Context, bundle: Path, expect: Expect) -> None:
        self._context, self._bundle, self._expect = context, bundle, expect
        self._known: dict[tuple[str, str], Expects] = {}

    def against(self, main: str, found: Timeline) -> Expects:
        """For the environment as it stands on main. Raises DeliveryError, UnavailableError."""
        key = (found.env, found.release.version if found.release else "")
        if key not in self._known:
            with self._released(main, found) as released:
                self._known[key] = self._expect(self._context, found.env, self._bundle, released)
        return self._known[key]

    @contextmanager
    def _released(self, main: str, found: Timeline) -> Iterator[Path | None]:
        """The bundle that is released: none, this one, or what the trusted remote gives."""
        if found.release is None:
            yield None
        elif production.named_bundle(self._context, main, found.env) == dvc_hash(self._bundle):
            yield self._bundle
        else:
            with production.lent(self._context, main, found.env) as folder:
                yield folder
