"""Pull requests of prepared branches: one a branch, opened or brought up to date, closed once main speaks against it.

Nothing is remembered between runs: main, the branch and the body's first line say all, so that a second run ends what a
first one began.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pipeline import reports
from pipeline.config import Frozen
from pipeline.delivery import bodies, freeze, order
from pipeline.delivery.bodies import Evidence, released_in
from pipeline.delivery.git import Checkout, Repository
from pipeline.delivery.history import RELEASE, Timeline, folder, timeline
from pipeline.delivery.models import DeliveryError, read_release
from pipeline.delivery.push import Outcome, Say
from pipeline.delivery.token import TOKENS
from pipeline.delivery.words import SHORT
from pipeline.forge import Forge, Pull

Kind = Literal["release", "promote", "rollback", "hold", "unhold"]

CHECKS, REPORT = ("pr.yml", "gate.yml"), "report.yml"
_FREEZABLE = ("release", "promote")
_CLOSED = "<!-- flightline: closed -->"
_MARKER = re.compile(
    r"<!-- flightline:(?P<kind>release|promote|rollback|hold|unhold) env=(?P<env>\S+) "
    r"identity=(?P<identity>[0-9a-f]{64}) since=(?P<since>[0-9a-f]{40}|-)(?P<closed> closed)? -->"
)


class Key(Frozen):
    """What a pull request is about; its body's first line, which nobody sees.

    `identity` is what would be released, held, let go or gone back from. `since` tells one time from the next: the
    source of a release, the commit on main that released what is promoted or gone back from, "-" for a hold.
    """

    kind: Kind
    env: str
    identity: str
    since: str = "-"

    @classmethod
    def read(cls, body: str) -> "Key | None":
        """The key in a body's first line; None for a pull request that is not ours."""
        found = _MARKER.match(body)
        return cls(**{name: found[name] for name in ("kind", "env", "identity", "since")}) if found else None

    def line(self, *, closed: bool = False) -> str:
        """The line; `closed` says that it was closed by us, and not by a person who wants none of it."""
        mark = " closed" if closed else ""
        return f"<!-- flightline:{self.kind} env={self.env} identity={self.identity} since={self.since}{mark} -->"


@dataclass(frozen=True)
class Desk:
    """Where pull requests are written: a checkout, its repository and its forge. `builtin`: with the built-in token."""

    context: Checkout
    repository: Repository
    forge: Forge
    say: Say
    builtin: bool

    @classmethod
    def of(cls, context: Checkout, say: Say, environ: Mapping[str, str] = os.environ) -> "Desk":
        """As the environment says. Raises ConfigError, GitError."""
        forge = Forge.of(context.settings, environ, say)
        return cls(context, Repository.of(context), forge, say, builtin=not environ.get(TOKENS[0]))

    def before(self, env: str) -> str:
        """The environment that a release goes through before this one, "" for none."""
        known = self.context.settings.environments
        return known[known.index(env) - 1] if env in known[1:] else ""

    def ours(self, state: str = "open", head: str = "") -> Iterator[tuple[Pull, Key]]:
        """Pull requests that we opened, from branches of this repository; a first line that lies is no such.

        Whoever writes here may push such a branch and copy such a line, so the author must be this token's own.
        """
        for pull in self.forge.pulls(state=state, head=head):
            key = Key.read(pull.body)
            if key is None or (pull.head_repository, pull.author) != (self.forge.repository, self.forge.login):
                continue
            if key.env in self.context.settings.environments and (key.since == "-" or self.repository.knows(key.since)):
                yield pull, key


Gather = Callable[[Key, str], Evidence]


def ask(desk: Desk, kind: Kind, outcome: Outcome, gather: Gather | None = None) -> Outcome:
    """Open, or bring up to date, the pull request of a branch that was just prepared; close what main moved past.

    `gather` finds the evidence beyond git, by the key and main's commit. Raises ForgeError, GitError, DeliveryError.
    """
    main = desk.repository.fetch()
    if outcome.outcome != "prepared" or outcome.branch is None or outcome.commit is None:
        tidy(desk, main)
        return outcome
    key = key_of(desk, kind, outcome, main)
    if newer := _newer(desk, key):
        tidy(desk, main)
        why = f"pull request #{newer.number} would release a newer commit already"
        return outcome.model_copy(update={"outcome": "nothing", "reason": why, "pull_request": newer.url})
    desk.say(f"{key.env}: pull request of {outcome.branch}")
    evidence = replace(gather(key, main) if gather else Evidence(), logged=outcome.evidence or "")
    asked = bodies.Asked(kind, key.env, _origin(desk, key), key.identity, main, outcome.commit)
    title, body = _subject(desk.repository, outcome.commit), written(desk, asked, evidence)
    pull = opened(desk, outcome.branch, outcome.commit, title, f"{key.line()}\n{body}")
    tidy(desk, main, (pull, key))
    return outcome.model_copy(update={"pull_request": pull.url})


def written(desk: Desk, asked: bodies.Asked, evidence: Evidence) -> str:
    """The body, without its first line."""
    raw = desk.forge.raw_url(reports.BRANCH, "").rstrip("/")
    return bodies.text(desk.repository, asked, evidence, desk.forge.web_url(), raw)


def key_of(desk: Desk, kind: Kind, outcome: Outcome, main: str) -> Key:
    """The key of a prepared commit, by what it and main say. Raises DeliveryError."""
    repository, env, commit = desk.repository, outcome.environment, str(outcome.commit)
    if kind == "rollback":
        held = repository.text("show", "--no-patch", "--format=%(trailers:key=Held,valueonly)", commit)
        return Key(kind=kind, env=env, identity=held, since=released_in(repository, main, env, held) or "-")
    identity = str(outcome.identity)
    if kind == "promote":
        since = released_in(repository, main, desk.before(env), identity)
        return Key(kind=kind, env=env, identity=identity, since=since or "-")
    if kind == "release":
        return Key(kind=kind, env=env, identity=identity, since=_source(repository, commit, env))
    return Key(kind=kind, env=env, identity=identity)


def opened(desk: Desk, branch: str, commit: str, title: str, body: str) -> Pull:
    """The branch's one pull request with this title and body, its checks started.

    The built-in token starts no workflow by what it pushes, so they are dispatched, once a commit: the body's last line
    says which, for a run that was ended before it came to that.
    """
    text, started = body.strip(), f"\n\n<!-- checks: {commit} -->"
    there = next((pull for pull in desk.forge.pulls(head=branch) if pull.base_branch == desk.repository.branch), None)
    done = there is not None and there.body.rstrip().endswith(started.strip())
    if not desk.builtin or done:
        return desk.forge.open_pull(branch, desk.repository.branch, title, text + (started if done else ""))
    pull = desk.forge.open_pull(branch, desk.repository.branch, title, text)
    for workflow in CHECKS:
        desk.say(f"starting {workflow} on {branch}")
        desk.forge.dispatch(workflow, branch, {})
    desk.forge.dispatch(REPORT, desk.repository.branch, {"commit": commit})
    return desk.forge.update_pull(pull.number, body=text + started)


def declined(desk: Desk, key: Key, branch: str) -> Pull | None:
    """The pull request about the very same that a person closed without merging it: then none is opened unasked."""
    for pull, found in desk.ours("closed", branch):
        if found == key and not pull.merged:
            return None if pull.body.startswith(key.line(closed=True)) else pull
    return None


def tidy(desk: Desk, main: str, newest: tuple[Pull, Key] | None = None) -> tuple[str, ...]:
    """Close those that main, or the newest one, has taken the place of, or that main stops; a sentence for each."""
    from pipeline.report.markdown import with_code

    said = []
    for pull, key in desk.ours():
        if newest and pull.number == newest[0].number:
            continue
        if newest and _superseded(desk, key, newest[1]):
            said.append(_close(desk, pull, key, f"it is superseded by #{newest[0].number}"))
        elif why := _past(desk, main, key):
            said.append(_close(desk, pull, key, with_code(why)))
    return tuple(said)


def _superseded(desk: Desk, key: Key, newest: Key) -> bool:
    """By one that does the same for something newer."""
    if (key.kind, key.env) != (newest.kind, newest.env) or key.identity == newest.identity:
        return False
    if key.kind == "release":
        return desk.repository.contains(newest.since, key.since)
    return key.kind not in {"hold", "unhold"}


def _past(desk: Desk, main: str, key: Key) -> str | None:
    found = timeline(desk.repository, main, key.env)
    before = _origin(desk, key)
    origin = timeline(desk.repository, main, before) if before else None
    overtaken = order.newer(desk.repository, found, key.since) if key.kind == "release" else None
    frozen = freeze.stopped(desk.repository, main, key.env) if key.kind in _FREEZABLE else None
    return past(key, found, origin, overtaken) or frozen


def past(key: Key, found: Timeline, origin: Timeline | None, overtaken: str | None) -> str | None:
    """Why main leaves nothing to merge, or nothing that may be merged; None while it does. Pure.

    `origin` is the environment that a promotion comes from, `overtaken` what `order.newer` found of a release.
    """
    if key.kind == "hold":
        stands = any(one.identity == key.identity and one.permitted is None for one in found.holds)
        return f"identity {key.identity[:SHORT]} is held in {key.env} already" if stands else None
    if key.kind == "unhold":
        return None if key.identity in found.held else f"identity {key.identity[:SHORT]} is not held in {key.env}"
    if key.kind == "rollback":
        return None if found.identity == key.identity else _now(found)
    if found.identity == key.identity:
        return f"{key.env} has it already"
    if origin is not None and origin.identity != key.identity:
        return _now(origin)
    lines = (found, origin) if origin else (found,)
    return order.refusal(key.identity, key.since, lines, overtaken)


def _now(found: Timeline) -> str:
    return f"{found.env} has {f'identity {found.identity[:SHORT]}' if found.identity else 'no release'} now"


def _close(desk: Desk, pull: Pull, key: Key, why: str) -> str:
    """Say why (in Markdown), then close; the body's first line says that it was not a person."""
    sentence = f"Closed, for it is not to be merged: {why}."
    desk.say(f"#{pull.number}: {sentence}")
    desk.forge.comment(pull.number, _CLOSED, f"{_CLOSED}\n{sentence}")
    desk.forge.update_pull(pull.number, body=_MARKER.sub(key.line(closed=True), pull.body, count=1), state="closed")
    return f"#{pull.number} is closed: {why}"


def _newer(desk: Desk, key: Key) -> Pull | None:
    """An open pull request that releases a commit which builds on ours: this is the older run, that finished late."""
    if key.kind != "release":
        return None
    others = ((pull, one) for pull, one in desk.ours() if (one.kind, one.env) == (key.kind, key.env))
    return next(
        (pull for pull, one in others if one.since != key.since and desk.repository.contains(one.since, key.since)),
        None,
    )


def _origin(desk: Desk, key: Key) -> str:
    """The environment that a promotion comes from, "" for all else."""
    return desk.before(key.env) if key.kind == "promote" else ""


def _source(repository: Repository, commit: str, env: str) -> str:
    path = f"{folder(env)}/{RELEASE}"
    (found,) = repository.blobs([f"{commit}:{path}"])
    if found is None:
        raise DeliveryError(f"{commit[:SHORT]} has no {path}; prepare the branch anew")
    return read_release(found, path).source


def _subject(repository: Repository, commit: str) -> str:
    return repository.text("show", "--no-patch", "--format=%s", commit)
