"""What the cluster's events lead to: a pull request that goes back, one that promotes, or an issue.

Each event is a hint, for whoever holds the cluster's token can send any. So main is read again, only an identity that
main releases is acted on, the cluster is asked where it can be, and people merge.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

from pipeline import reports
from pipeline.config import Frozen, Settings
from pipeline.context import Context
from pipeline.delivery import bodies, graphs, pulls
from pipeline.delivery.bodies import Evidence, Picture, Told, released_in
from pipeline.delivery.cluster import Cluster, connect
from pipeline.delivery.git import Repository
from pipeline.delivery.graphs import Span
from pipeline.delivery.history import folder, timeline
from pipeline.delivery.models import DeliveryError, is_identity
from pipeline.delivery.promote import Doubt, promote
from pipeline.delivery.promote import branch_of as promotion_branch
from pipeline.delivery.pulls import Desk, Key
from pipeline.delivery.push import How, Outcome, Say
from pipeline.delivery.release import Expect
from pipeline.delivery.rollback import branch_of as rollback_branch
from pipeline.delivery.rollback import revert_aborted
from pipeline.delivery.witness import Event, Witness, ask, look
from pipeline.delivery.words import SHORT
from pipeline.errors import UnavailableError, foreseen
from pipeline.forge import Pull
from pipeline.prometheus import Prometheus
from pipeline.text import said

PROMETHEUS = "FLIGHTLINE_PROMETHEUS"
_UNCONFIRMED = "Cluster not confirmed"


class Hint(Frozen):
    """What was called out. `environment` may be the namespace, which is what the cluster knows."""

    event: str
    environment: str
    identity: str
    reason: str = ""
    message: str = ""


class Answer(Frozen):
    """What came of it; `url` is where to look."""

    outcome: Literal["pull request", "issue", "closed", "nothing", "refused"]
    environment: str
    reason: str
    url: str | None = None

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.outcome}: {self.reason}" + (f" ({self.url})" if self.url else "")


@dataclass(frozen=True)
class About:
    """An identity that main, at a commit, releases in an environment, what is said of it, and by whom."""

    env: str
    identity: str
    main: str
    event: Event
    witness: Witness
    reason: str

    @property
    def told(self) -> Told:
        """For a body."""
        return Told(self.witness, self.event)


@dataclass(frozen=True)
class Faults:
    """What went wrong in one environment, kept until the others had their turn."""

    say: Say
    found: list[tuple[str, Exception]] = field(default_factory=list)

    @contextmanager
    def kept(self, env: str) -> Iterator[None]:
        """Go on after a fault that has a sentence, and say it at once: a later one may end the run."""
        try:
            yield
        except foreseen() as error:
            self.say(f"{env}: {error}")
            self.found.append((env, error))

    def told(self) -> None:
        """Raise the one that there was, or UnavailableError, which names them all."""
        if not self.found:
            return
        first = self.found[0][1]
        if len(self.found) == 1:
            raise first
        raise UnavailableError("; ".join(f"{env}: {error}" for env, error in self.found)) from first


@dataclass(frozen=True)
class Reconciling:
    """A checkout, its forge and its environment. Every method raises GitError, ForgeError, DeliveryError."""

    context: Context
    desk: Desk
    environ: Mapping[str, str]
    expect: Expect | None = None

    @classmethod
    def of(cls, context: Context, say: Say, environ: Mapping[str, str] = os.environ) -> "Reconciling":
        """As the environment says. Raises ConfigError, GitError."""
        return cls(context, Desk.of(context, say, environ), environ)

    def answer(self, hint: Hint) -> tuple[Answer, ...]:
        """Do what an event asks for, if main and the cluster do not speak against it."""
        env, main = environment(self._settings, hint.environment), self._repository.fetch()
        heard = self._heard(hint, env, main) if env else f"{hint.environment!r:.80} is no environment"
        if isinstance(heard, str):
            return (*self._tidied(main), Answer(outcome="nothing", environment=env, reason=heard))
        return (*self._tidied(main), self._act(heard))

    def poll(self) -> tuple[Answer, ...]:
        """Do what the events would have done, for a cluster that cannot call out; what aborted goes first.

        One environment's fault keeps no other waiting. Raises ClusterError, too: the fault, or all that there were.
        """
        cluster, main = connect(), self._repository.fetch()
        answers, faults = [*self._tidied(main)], Faults(self.desk.say)
        seen: list[tuple[str, str, Witness]] = []
        for env in self._settings.environments:
            with faults.kept(env):
                seen += self._seen(cluster, env, main)
        for env, identity, witness in sorted(seen, key=lambda one: one[2].event != "aborted"):
            with faults.kept(env):
                answers.append(self._polled(env, identity, main, witness))
        faults.told()
        return tuple(answers)

    def tidy(self) -> tuple[Answer, ...]:
        """Close the pull requests and issues that main has moved past, or stops."""
        return self._tidied(self._repository.fetch())

    @property
    def _settings(self) -> Settings:
        return self.context.settings

    @property
    def _repository(self) -> Repository:
        return self.desk.repository

    def _heard(self, hint: Hint, env: str, main: str) -> About | str:
        """What the hint is about, or why nothing is done."""
        released = timeline(self._repository, main, env).identity
        if why := unfounded(hint, env, released):
            return why
        event: Event = next(one for one in get_args(Event) if one == hint.event)
        witness = ask(self._settings, env, released, self.environ)
        if witness.confirms(event) is False:
            self._end_pause(env, witness)
            return f"{env} was said to be {event}, and the cluster says otherwise: {witness.why}"
        return About(env, released, main, event, witness, _reason(hint, witness))

    def _seen(self, cluster: Cluster, env: str, main: str) -> list[tuple[str, str, Witness]]:
        """What main releases in an environment and the cluster's word on it; nothing where nothing is released."""
        identity = timeline(self._repository, main, env).identity
        if not identity:
            return []
        self.desk.say(f"{env}: asking the cluster about {identity[:SHORT]}")
        return [(env, identity, look(cluster, self._settings, env, identity))]

    def _polled(self, env: str, identity: str, main: str, witness: Witness) -> Answer:
        if witness.event is None:
            self._end_pause(env, witness)
            why = f"{env} is {witness.says}: {witness.why}" if witness.why else f"{env} is {witness.says}"
            return Answer(outcome="nothing", environment=env, reason=why)
        about = About(env, identity, main, witness.event, witness, said(witness.why))
        return self._act(about, polled=True)

    def _act(self, about: About, *, polled: bool = False) -> Answer:
        if about.event == "paused":
            return self._issue(about)
        self._end_pause(about.env, about.witness)
        if about.event == "aborted":
            return self._go_back(about, polled=polled)
        return self._go_on(about, polled=polled)

    def _go_back(self, about: About, *, polled: bool) -> Answer:
        """The one pull request that reverts and holds an aborted identity."""
        branch = rollback_branch(about.env, about.identity)
        key = self._key("rollback", about.env, about)
        if standing := self._standing(key, branch, polled=polled):
            return standing
        outcome = self._kept(about, key, branch) or revert_aborted(
            self.context, about.env, about.identity, about.reason, How(), self.desk.say
        )
        return _answered(pulls.ask(self.desk, "rollback", outcome, lambda *_: self._graphed(about)))

    def _go_on(self, about: About, *, polled: bool) -> Answer:
        """The one pull request that brings a completed release to the next environment."""
        known = self._settings.environments
        if about.env == known[-1]:
            return Answer(outcome="nothing", environment=about.env, reason=f"{about.env} is the last environment")
        env, branch = known[known.index(about.env) + 1], promotion_branch(about.identity)
        key = self._key("promote", env, about)
        if standing := self._standing(key, branch, polled=polled):
            return standing
        outcome = self._kept(about, key, branch) or promote(
            self.context, env, How(), self.desk.say, self.expect, contradicted(self._settings, self.environ)
        )
        return _answered(pulls.ask(self.desk, "promote", outcome, self._gather))

    def _gather(self, key: Key, _: str) -> Evidence:
        return promotion_evidence(self.desk, key, self.environ)

    def _key(self, kind: pulls.Kind, env: str, about: About) -> Key:
        since = released_in(self._repository, about.main, about.env, about.identity)
        return Key(kind=kind, env=env, identity=about.identity, since=since or "-")

    def _standing(self, key: Key, branch: str, *, polled: bool) -> Answer | None:
        """The answer where a pull request about the very same needs nothing more, or was closed by a person."""
        if pull := pulls.declined(self.desk, key, branch):
            why = f"a person closed #{pull.number} about {key.identity[:SHORT]}; reopen it to merge it after all"
            return Answer(outcome="nothing", environment=key.env, reason=why, url=pull.url)
        pull = self._open(key, branch)
        if polled and pull is not None and _UNCONFIRMED not in pull.body and self._fits(key.env, branch):
            why = f"#{pull.number} about {key.identity[:SHORT]} is open"
            return Answer(outcome="pull request", environment=key.env, reason=why, url=pull.url)
        return None

    def _kept(self, about: About, key: Key, branch: str) -> Outcome | None:
        """The branch as it was prepared, where its pull request is open and main has not changed beneath it.

        A second event would write today's date or another reason, and so take away the reviews there are.
        """
        commit = self._fits(key.env, branch) if self._open(key, branch) else None
        if commit is None:
            return None
        why = f"{branch} is as it was prepared"
        return Outcome(
            outcome="prepared", environment=key.env, reason=why, identity=about.identity, commit=commit, branch=branch
        )

    def _open(self, key: Key, branch: str) -> Pull | None:
        return next((pull for pull, one in self.desk.ours(head=branch) if one == key), None)

    def _fits(self, env: str, branch: str) -> str | None:
        """The branch's commit, if it was prepared on what main says of the environment now."""
        tip, main = self._repository.tip(branch), self._repository.fetch()
        if tip is None:
            return None
        self._repository.bring(branch)
        base, where = self._repository.common(tip, main), folder(env)
        unmoved = base is not None and self._repository.tree(base, where) == self._repository.tree(main, where)
        return tip if unmoved else None

    def _graphed(self, about: About) -> Evidence:
        """The cluster's word and pictures of the canary; without them, and a word why, where they cannot be had."""
        address = self.environ.get(PROMETHEUS, "")
        if not address:
            return Evidence(told=about.told)
        try:
            pictures = self._pictures(about, address)
        except (UnavailableError, ValueError, OSError) as error:
            self.desk.say(f"{about.env}: no pictures: {error}")
            return Evidence(told=about.told, note="There are no pictures: Prometheus or branch reports did not answer.")
        note = "" if pictures else "There are no pictures: Prometheus knows no canary that took traffic."
        return Evidence(told=about.told, pictures=pictures, note=note)

    def _pictures(self, about: About, address: str) -> tuple[Picture, ...]:
        from pipeline.report import plots

        released = released_in(self._repository, about.main, about.env, about.identity)
        at = float(self._repository.text("show", "--no-patch", "--format=%ct", released))
        span = Span.since(f"{self._settings.name}-{about.env}", at)
        self.desk.say(f"{about.env}: drawing the canary against stable")
        charts = graphs.charts(Prometheus(address), span, about.witness.canary, about.witness.stable)
        where = f"aborted/{about.env}/{about.identity[:SHORT]}"
        if charts:
            reports.publish(self._repository, where, {f"{one.name}.png": plots.png(one) for one in charts})
        urls = (self.desk.forge.raw_url(reports.BRANCH, f"{where}/{one.name}.png") for one in charts)
        return tuple(Picture(one.title, url) for one, url in zip(charts, urls, strict=True))

    def _issue(self, about: About) -> Answer:
        """The one issue of an environment that waits for a person."""
        title = f"{about.env}: {about.identity[:SHORT]} is paused, and waits for a person"
        body = bodies.paused(about.env, about.identity, about.told, about.reason)
        made = self.desk.forge.open_issue(
            _marker(about.env), title, f"{_paused_line(about.env, about.identity)}\n{body}"
        )
        return Answer(outcome="issue", environment=about.env, reason=title, url=made.url)

    def _end_pause(self, env: str, witness: Witness) -> None:
        """Close the environment's issue, unless the cluster says that it still waits, or cannot be asked."""
        if witness.says in ("paused", "unknown"):
            return
        if self.desk.forge.issue(_marker(env)):
            now = "completed" if witness.says == "healthy" else witness.says
            self.desk.forge.close_issue(_marker(env), f"It waits no more: the rollout is {now}.")

    def _tidied(self, main: str) -> tuple[Answer, ...]:
        closed = [Answer(outcome="closed", environment="", reason=one) for one in pulls.tidy(self.desk, main)]
        for env in self._settings.environments:
            identity = timeline(self._repository, main, env).identity
            issue = self.desk.forge.issue(_marker(env))
            if issue is not None and not issue.body.startswith(_paused_line(env, identity)):
                why = f"It waits no more: {self._repository.branch} has moved on to {identity[:SHORT] or 'nothing'}."
                self.desk.forge.close_issue(_marker(env), why)
                closed.append(
                    Answer(outcome="closed", environment=env, reason=f"#{issue.number}: {why}", url=issue.url)
                )
        return tuple(closed)


def promotion_evidence(desk: Desk, key: Key, environ: Mapping[str, str] = os.environ) -> Evidence:
    """What the cluster says of a release in the environment that it is promoted from."""
    witness = ask(desk.context.settings, desk.before(key.env), key.identity, environ)
    return Evidence(told=Told(witness, "completed"))


def contradicted(settings: Settings, environ: Mapping[str, str] = os.environ) -> Doubt:
    """What speaks against a promotion: a cluster that can be asked, and does not have the identity healthy."""

    def why(env: str, identity: str) -> str:
        witness = ask(settings, env, identity, environ)
        if witness.confirms("completed") is not False:
            return ""
        return f"identity {identity[:SHORT]} is not healthy in {env}, says the cluster: {said(witness.why)}"

    return why


def environment(settings: Settings, name: str) -> str:
    """The environment that is called so, or whose namespace is; "" for none."""
    namespaces = {f"{settings.name}-{env}": env for env in settings.environments}
    return name if name in settings.environments else namespaces.get(name, "")


def unfounded(hint: Hint, env: str, released: str) -> str | None:
    """Why main gives no cause to do anything, `released` being what it releases there; None where it does. Pure."""
    if hint.event not in get_args(Event):
        return f"{hint.event!r:.40} is no event; the cluster sends {', '.join(get_args(Event))}"
    if not is_identity(hint.identity):
        return f"{hint.identity!r:.80} is no identity"
    if hint.identity != released:
        now = f"{released[:SHORT]} is" if released else "nothing is"
        return f"identity {hint.identity[:SHORT]} is not what main releases in {env}; {now}"
    return None


def _reason(hint: Hint, witness: Witness) -> str:
    """The cluster's own words where it was asked, else those of the message."""
    if witness.says != "unknown" and witness.why:
        return said(witness.why)
    parts = (f"the rollout was {hint.event}", hint.reason, hint.message)
    return said(": ".join(part for part in parts if part))


def _answered(outcome: Outcome) -> Answer:
    if outcome.outcome == "prepared":
        return Answer(
            outcome="pull request", environment=outcome.environment, reason=outcome.reason, url=outcome.pull_request
        )
    if outcome.outcome in ("nothing", "refused"):
        return Answer(
            outcome=outcome.outcome, environment=outcome.environment, reason=outcome.reason, url=outcome.pull_request
        )
    raise DeliveryError(f"{outcome.environment}: {outcome.outcome} is nothing that an event leads to")


def _marker(env: str) -> str:
    return f"<!-- flightline:paused env={env} -->"


def _paused_line(env: str, identity: str) -> str:
    return f"{_marker(env)}<!-- identity={identity} -->"
