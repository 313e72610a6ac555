"""A status as text for a person."""

from collections.abc import Iterator

from pipeline.delivery.observed import Rolling
from pipeline.delivery.standing import Environment, InGit, Status, short
from pipeline.text import plain


def text(status: Status) -> str:
    """Every environment and the notes, with an empty line between."""
    return "\n\n".join(
        [environment_text(one) for one in status.environments] + [f"note: {plain(note)}" for note in status.notes]
    )


def environment_text(environment: Environment) -> str:
    """The environment as lines, each with what it is about."""
    reasons = ((" why", reason) for reason in environment.reasons)
    lines = [(environment.name, environment.standing.upper()), *reasons, *_lines(environment)]
    return "\n".join(f"{about:<12}{plain(said)}" for about, said in lines)


def _lines(environment: Environment) -> Iterator[tuple[str, str]]:
    if environment.git is not None:
        yield " git", _git_line(environment.git)
    if environment.synced is not None:
        one = environment.synced
        yield " argo cd", f"{one.sync} at {short(one.revision)}, {one.health}; last sync {one.operation or 'none'}"
    if environment.rollout is not None:
        yield from _rollout_lines(environment.rollout)
    for group in environment.pods:
        runs = f"{short(group.version)} ({group.digest[:19]})"
        yield " pods", f"{group.ready} of {group.count} ready, {group.role}, run {runs}"


def _git_line(git: InGit) -> str:
    holds = f"; {git.holds} held" if git.holds else ""
    if git.identity is None:
        return f"no release yet on main at {short(git.main)}{holds}"
    made = f"version {short(git.version)} from source {short(git.source)}"
    return f"identity {short(git.identity)}, {made}, released by {short(git.commit)}{holds}"


def _rollout_lines(rollout: Rolling) -> Iterator[tuple[str, str]]:
    step = f", step {rollout.step} of {rollout.steps}: {rollout.doing or 'done'}" if rollout.step else ""
    yield " rollout", f"identity {short(rollout.identity)}, {rollout.phase}{step}"
    for one in rollout.analyses:
        yield " analysis", f"{one.kind.lower()}, {one.phase}: {one.figures or one.message or 'not measured yet'}"
