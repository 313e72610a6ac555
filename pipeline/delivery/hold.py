"""hold and unhold: the lines of held.yaml. A held identity is refused by release, promote and rollback."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.context import Context
from pipeline.delivery import words
from pipeline.delivery.git import Repository
from pipeline.delivery.history import HELD, Named, Timeline, find, timeline
from pipeline.delivery.models import DeliveryError, Hold, Permission, write_holds
from pipeline.delivery.push import Change, Decision, How, Outcome, Say, Settled, deliver
from pipeline.delivery.release import known_environment

Edit = Callable[[Timeline, Named], tuple[Hold, ...] | Settled]


def hold(context: Context, env: str, identity: str, reason: str, how: How, say: Say) -> Outcome:
    """Hold an identity that some environment released. Raises DeliveryError, GitError, UnavailableError."""
    _check_reason(reason)
    return _deliver(
        context, env, identity, _Edit("hold", reason, lambda found, one: holding(found, one, reason)), how, say
    )


def unhold(context: Context, env: str, identity: str, reason: str, how: How, say: Say) -> Outcome:
    """Record that a held identity may be released again. Raises DeliveryError, GitError, UnavailableError."""
    _check_reason(reason)
    permission = Permission(by=Repository.of(context).person(), reason=reason, date=today())
    edit = _Edit("unhold", reason, lambda found, one: permitting(found, one, permission))
    return _deliver(context, env, identity, edit, how, say)


@dataclass(frozen=True)
class _Edit:
    verb: str
    reason: str
    lines: Edit


def _deliver(context: Context, env: str, identity: str, edit: _Edit, how: How, say: Say) -> Outcome:
    repository, known = Repository.of(context), known_environment(context, env)

    def plan(main: str) -> Decision:
        found = timeline(repository, main, known)
        named = _named(repository, main, found, context.settings.environments, identity)
        lines = edit.lines(found, named)
        return lines if isinstance(lines, Settled) else _change(known, named, lines, edit)

    return deliver(repository, known, plan, how, say)


def _change(env: str, named: Named, lines: tuple[Hold, ...], edit: _Edit) -> Change:
    return Change(
        env=env,
        identity=named.identity,
        version=named.version,
        files={HELD: write_holds(lines)},
        message=words.held(edit.verb, env, named.identity, named.version, edit.reason),
        branch=f"{edit.verb}/{env}/{named.identity[:12]}",
    )


def _named(repository: Repository, main: str, found: Timeline, environments: tuple[str, ...], wanted: str) -> Named:
    """What is to be held: a line of this list, else a release of this environment, else of another one."""
    for line in found.holds:
        if line.identity.startswith(wanted) and len(wanted) >= words.SHORT:
            return Named(line.identity, line.version, "")
    try:
        return find(found, wanted)[1]
    except DeliveryError:
        for env in environments:
            if any(one.identity.startswith(wanted) for _, one in timeline(repository, main, env).releases()):
                return find(timeline(repository, main, env), wanted)[1]
        raise


def holding(found: Timeline, named: Named, reason: str) -> tuple[Hold, ...] | Settled:
    """The list with a line that holds this identity."""
    if any(one.identity == named.identity and one.permitted is None for one in found.holds):
        return Settled("nothing", f"identity {named.identity[:12]} is held in {found.env} already")
    line = Hold(identity=named.identity, version=named.version, reason=reason, date=today())
    return held_now(found.holds, line)


def permitting(found: Timeline, named: Named, permission: Permission) -> tuple[Hold, ...] | Settled:
    """The list with this identity let go; one that only history holds gets a line for it."""
    why = found.held.get(named.identity)
    if why is None:
        return Settled("nothing", f"identity {named.identity[:12]} is not held in {found.env}")
    line = next((one for one in found.holds if one.identity == named.identity), None)
    if line is not None and line.permitted == permission:
        raise DeliveryError(f"identity {named.identity[:12]} was let go today for that very reason; give the new one")
    held = line or Hold(identity=named.identity, version=named.version, reason=why, date=permission.date)
    return held_now(found.holds, held.model_copy(update={"permitted": permission}))


def held_now(lines: tuple[Hold, ...], line: Hold) -> tuple[Hold, ...]:
    """The lines with this one in the place of an older one of its identity, or at the end."""
    if any(one.identity == line.identity for one in lines):
        return tuple(line if one.identity == line.identity else one for one in lines)
    return (*lines, line)


def today() -> datetime.date:
    """The day, in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise DeliveryError("a hold and its end need a reason: --reason '...'")
