"""rollback: an earlier release's very files as a new commit, and a hold on what they replace. Nothing is rebuilt."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.context import Context
from pipeline.delivery import words
from pipeline.delivery.git import Repository
from pipeline.delivery.history import FILES, HELD, RELEASE, SHORTEST, Named, Timeline, find, folder, timeline
from pipeline.delivery.hold import held_now, today
from pipeline.delivery.models import DeliveryError, Hold, Release, read_release, write_holds
from pipeline.delivery.push import Change, Decision, How, Outcome, Say, Settled, deliver
from pipeline.delivery.release import known_environment

Aim = tuple[str, Named]
Choose = Callable[[Timeline], Aim | Settled]


def rollback(context: Context, env: str, to: str, reason: str, how: How, say: Say) -> Outcome:
    """Take an environment back to a release that an identity, a version or a commit on main names.

    Raises DeliveryError, GitError, UnavailableError.
    """
    return _deliver(context, env, lambda found: aim(found, to), reason or "rolled back", how, say)


def revert_aborted(context: Context, env: str, identity: str, reason: str, how: How, say: Say) -> Outcome:
    """Take an environment back from an aborted release, if that is still the released one; else do nothing.

    What it was told is a hint: main alone says what is released. Raises DeliveryError, GitError, UnavailableError.
    """
    if len(identity) < SHORTEST:
        raise DeliveryError(f"{identity!r} is too short for an identity; give {SHORTEST} characters or more")
    why = reason or "its rollout was aborted"
    return _deliver(context, env, lambda found: aim_before(found, identity), why, how, say)


def _deliver(context: Context, env: str, choose: Choose, reason: str, how: How, say: Say) -> Outcome:
    repository = Repository.of(context)
    going = _GoingBack(repository, known_environment(context, env), choose, reason)
    return deliver(repository, env, going.plan, how, say)


@dataclass(frozen=True)
class _GoingBack:
    repository: Repository
    env: str
    choose: Choose
    reason: str

    def plan(self, main: str) -> Decision:
        found = timeline(self.repository, main, self.env)
        chosen = self.choose(found)
        if isinstance(chosen, Settled) or found.release is None:
            return chosen if isinstance(chosen, Settled) else Settled("nothing", f"{self.env} has no release")
        return self._change(found, found.release, chosen[0])

    def _change(self, found: Timeline, replaced: Release, commit: str) -> Change:
        there = self.repository.files(commit, folder(self.env))
        if missing := [name for name in FILES if name not in there]:
            raise DeliveryError(
                f"{folder(self.env)} at {commit[:12]} has no {', '.join(missing)}; choose another release"
            )
        release = read_release(there[RELEASE], f"{folder(self.env)}/{RELEASE} at {commit[:12]}")
        line = Hold(identity=replaced.identity, version=replaced.version, reason=self.reason, date=today())
        return Change(
            env=self.env,
            identity=release.identity,
            version=release.version,
            files={**{name: there[name] for name in FILES}, HELD: write_holds(held_now(found.holds, line))},
            message=words.rolled_back(release, replaced, self.reason),
            branch=branch_of(self.env, replaced.identity),
        )


def branch_of(env: str, identity: str) -> str:
    """The branch that goes back from an identity."""
    return f"rollback/{env}/{identity[:12]}"


def aim(found: Timeline, to: str) -> Aim | Settled:
    """The release to go back to. Raises DeliveryError where `to` names none or several."""
    chosen = find(found, to)
    if chosen[1].identity == found.identity:
        return Settled("nothing", f"{found.env} has identity {found.identity[:12]} already")
    if why := found.held.get(chosen[1].identity):
        return _held(found, chosen[1].identity, why)
    return chosen


def aim_before(found: Timeline, aborted: str) -> Aim | Settled:
    """The newest earlier release that is not held, if `aborted` is what is released."""
    if not found.identity.startswith(aborted):
        now = found.identity[:12] or "nothing"
        return Settled("nothing", f"identity {aborted[:12]} is not released in {found.env}; {now} is")
    refused = {found.identity, *found.held}
    for commit, release in found.releases():
        if release.identity not in refused:
            return commit, release
    return Settled("refused", f"{found.env} has no earlier release that is not held; revert the release by hand")


def _held(found: Timeline, identity: str, why: str) -> Settled:
    fix = f"`flightline unhold --env {found.env} {identity[:12]} --reason ...` lets it go"
    return Settled("refused", f"identity {identity[:12]} is held in {found.env} ({why}); {fix}")
