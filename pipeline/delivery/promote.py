"""promote: what one environment runs, on a branch that would bring it to the next; people merge it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline import paths, production
from pipeline.context import Context
from pipeline.delivery import freeze, order, words
from pipeline.delivery.candidate import values
from pipeline.delivery.checks import check_release
from pipeline.delivery.git import Repository
from pipeline.delivery.history import BUNDLE, MANIFESTS, RELEASE, Timeline, folder, timeline
from pipeline.delivery.logged import Logged, rescored
from pipeline.delivery.models import DeliveryError, Expects, Release, write_release
from pipeline.delivery.push import Change, Decision, How, Outcome, Say, Settled, deliver
from pipeline.delivery.release import Expect, Expectations, known_environment, measured
from pipeline.delivery.render import render
from pipeline.dvcfiles import dvc_hash

# (environment, identity) -> why the identity must not go on from there, "" for nothing.
Doubt = Callable[[str, str], str]


def trusted(_env: str, _identity: str) -> str:
    """No doubt: whoever merges looks at the cluster."""
    return ""


def promote(
    context: Context, env: str, how: How, say: Say, expect: Expect | None = None, doubt: Doubt = trusted
) -> Outcome:
    """Prepare the branch that brings to `env` ("": the second environment) what the one before it has on main.

    `doubt` is asked about that, each time main is read. Raises DeliveryError, GitError, UnavailableError.
    """
    if how.push:
        raise DeliveryError("promote takes no --push: production changes by a pull request that people merge")
    before, target = between(context, env)
    measure = expect or partial(measured, say=say)
    promoting = Promoting(context, Repository.of(context), before, target, measure, say, doubt)
    return deliver(promoting.repository, target, promoting.plan, how, say)


def between(context: Context, env: str) -> tuple[str, str]:
    """(from, to): `env` and the environment before it; "" is the second. Raises DeliveryError."""
    first, *later = context.settings.environments
    if not later:
        raise DeliveryError(f"pyproject.toml names one environment, {first}: there is nothing to promote to")
    target = known_environment(context, env or later[0])
    if target == first:
        raise DeliveryError(f"{first} is reached by `flightline release`; promote goes to {', '.join(later)}")
    return context.settings.environments[context.settings.environments.index(target) - 1], target


@dataclass(frozen=True)
class Promoting:
    """A way from one environment to the next."""

    context: Context
    repository: Repository
    before: str
    env: str
    expect: Expect
    say: Say
    doubt: Doubt

    def plan(self, main: str) -> Decision:
        """What to do, on main as it is. Raises DeliveryError where the release to promote is not what it says."""
        origin, target = (timeline(self.repository, main, env) for env in (self.before, self.env))
        if origin.release is None:
            return Settled("nothing", f"{self.before} has no release yet; `flightline release` makes one")
        newer = order.newer(self.repository, target, origin.release.source)
        return (
            decide(origin.release, origin, target, newer)
            or freeze.settled(self.repository, main, self.env, origin.release.identity)
            or self._doubted(origin.release.identity)
            or self._change(main, origin.release, target)
        )

    def _doubted(self, identity: str) -> Settled | None:
        why = self.doubt(self.before, identity)
        return Settled("refused", why, identity) if why else None

    def _change(self, main: str, release: Release, target: Timeline) -> Decision:
        files = self.repository.files(main, folder(self.before))
        with self.repository.exported(release.source) as tree:
            check_release(self.repository, tree, self.before, files)
            logged, expects = self._asked(main, target)
            if why := logged.refusal(self.before):
                return Settled("refused", why, release.identity)
            self.say(f"{self.env}: rendering at {release.source[:12]}")
            promoted = release.model_copy(update={"environment": self.env, "expects": expects})
            rendered = render(tree, self.env, values(promoted))
        return Change(
            env=self.env,
            identity=promoted.identity,
            version=promoted.version,
            files={MANIFESTS: rendered, RELEASE: write_release(promoted), BUNDLE: files[BUNDLE]},
            message=words.released("promote", promoted, target.release),
            branch=branch_of(promoted.identity),
            evidence=logged.text,
        )

    def _asked(self, main: str, target: Timeline) -> tuple[Logged, Expects]:
        """What the bundle says again of requests that it answered, and what its canary should look like."""
        with self._bundle(main) as bundle:
            self.say(f"{self.before}: asking the bundle again about logged requests")
            return rescored(self.context, bundle), Expectations(self.context, bundle, self.expect).against(main, target)

    @contextmanager
    def _bundle(self, main: str) -> Iterator[Path]:
        """The bundle to promote: this checkout's where it is the one, else what the trusted remote gives."""
        here = self.context.root / paths.BUNDLE
        if here.is_dir() and dvc_hash(here) == production.named_bundle(self.context, main, self.before):
            yield here
        else:
            with production.lent(self.context, main, self.before) as lent:
                yield lent


def branch_of(identity: str) -> str:
    """The branch that promotes an identity."""
    return f"promote/{identity[:12]}"


def decide(release: Release, origin: Timeline, target: Timeline, newer: str | None) -> Settled | None:
    """Why there is nothing to promote, or None. `newer` is a commit that the target had and that the source lacks."""
    if release.identity == target.identity:
        return Settled("nothing", f"{target.env} has identity {release.identity[:12]} already", release.identity)
    why = order.refusal(release.identity, release.source, (target, origin), newer)
    return Settled("refused", why, release.identity) if why else None
