"""From a plan to a commit on main or on a branch. What moved meanwhile is fetched, and everything decided anew."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.config import Frozen
from pipeline.delivery.git import Repository
from pipeline.delivery.history import folder
from pipeline.delivery.models import DeliveryError
from pipeline.errors import GitError, UnavailableError

ATTEMPTS = 10
UNMOVED = 2  # refusals in a row that no move of main explains: another push may be half done
LONGEST = 2.0

Say = Callable[[str], None]
Ending = Literal["pushed", "prepared", "shown", "nothing", "refused"]


@dataclass(frozen=True)
class How:
    """Where a commit goes: to main (`push`), to a branch (a name, "" for the change's own), or nowhere (`dry_run`)."""

    push: bool = False
    branch: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class Settled:
    """Nothing to write: it is so already, or must not be. `identity` is what was asked for, where that is known."""

    ending: Literal["nothing", "refused"]
    reason: str
    identity: str | None = None


@dataclass(frozen=True)
class Change:
    """What one commit writes in an environment's folder (None removes a file), and what it is called.

    With `scope`, the paths that are all it may touch, files are named from the top of the repository and `env` is "".
    `trailer` is the line of the message by which a branch is known as ours. `evidence` is what its pull request says
    beyond git.
    """

    env: str
    identity: str
    version: str
    files: Mapping[str, bytes | None]
    message: str
    branch: str
    scope: tuple[str, ...] = ()
    trailer: str = "Identity"
    evidence: str = ""

    @property
    def places(self) -> tuple[str, ...]:
        """The folder or the files that it may touch."""
        return self.scope or (folder(self.env),)


Decision = Settled | Change
Plan = Callable[[str], Decision]


class Outcome(Frozen):
    """What came of it. `commit` and `branch` are those pushed; `diff` is given for a dry run.

    `environment` is "" for what concerns none; `pull_request` is the address of the one that asks for the branch,
    `evidence` a line for it.
    """

    outcome: Ending
    environment: str
    reason: str
    identity: str | None = None
    version: str | None = None
    commit: str | None = None
    branch: str | None = None
    diff: str | None = None
    pull_request: str | None = None
    evidence: str | None = None

    @property
    def exit_code(self) -> int:
        """1 where it was refused."""
        return int(self.outcome == "refused")

    @property
    def text(self) -> str:
        """For people."""
        where = f" ({self.pull_request})" if self.pull_request else ""
        evidence = f"\nlogged requests: {self.evidence}" if self.evidence else ""
        return f"{self.outcome}: {self.reason}{where}{evidence}" + (f"\n\n{self.diff}" if self.diff else "")


def deliver(repository: Repository, env: str, plan: Plan, how: How, say: Say) -> Outcome:
    """Decide on main as it is now, write, push; where main moved, again.

    Raises DeliveryError for a branch that is not to be written, GitError, UnavailableError.
    """
    unmoved, about = 0, env or repository.branch
    _check_branch(repository, how)
    for attempt in range(ATTEMPTS):
        say(f"{about}: reading {repository.branch}")
        main = repository.fetch()
        decided = plan(main)
        if isinstance(decided, Settled):
            return Outcome(outcome=decided.ending, environment=env, reason=decided.reason, identity=decided.identity)
        commit = repository.commit(main, paths_of(decided), decided.message)
        if how.dry_run or not how.push:
            return _beside(repository, decided, main, commit, how)
        say(f"{about}: pushing {commit[:12]}")
        said = repository.push(commit, repository.branch)
        if said is None:
            return _ended("pushed", decided, commit, repository.branch)
        unmoved = unmoved + 1 if repository.fetch() == main else 0
        if unmoved > UNMOVED:
            raise GitError(
                f"{repository.branch} takes no push: {said}; where it is protected, prepare a branch instead"
            )
        back_off(attempt)
    raise UnavailableError(f"{repository.branch} moved {ATTEMPTS} times while this was pushed; run it again")


def paths_of(change: Change) -> dict[str, bytes | None]:
    """The change's files by their path in the repository."""
    return {name if change.scope else f"{folder(change.env)}/{name}": data for name, data in change.files.items()}


def _beside(repository: Repository, change: Change, main: str, commit: str, how: How) -> Outcome:
    """Leave main alone: show the commit, or prepare its branch."""
    if not how.dry_run:
        return _prepare(repository, change, main, commit, how.branch or change.branch)
    diff = repository.diff(main, commit)
    return _outcome("shown", change, f"{_subject(change)}; nothing was written", diff=diff)


def _check_branch(repository: Repository, how: How) -> None:
    if how.branch == repository.branch:
        raise DeliveryError(
            f"--branch {how.branch} is what environments follow: production changes by pull request; leave it out, or "
            "give the name of a branch to merge"
        )


def _prepare(repository: Repository, change: Change, main: str, commit: str, branch: str) -> Outcome:
    """Push the branch, unless it says the same already; what we said there before is replaced, if nobody moved it."""
    tip = repository.tip(branch)
    if tip is not None:
        repository.bring(branch)
        if _says_the_same(repository, change.places, main, commit, tip):
            return _ended("prepared", change, tip, branch)
        _check_ours(repository, change, main, branch, tip)
    said = repository.push(commit, branch, tip, replace=True)
    if said is not None and repository.tip(branch) != commit:
        raise GitError(f"branch {branch} takes no push: {said}; if somebody else just prepared it, run this again")
    return _ended("prepared", change, commit, branch)


def _says_the_same(repository: Repository, places: tuple[str, ...], main: str, commit: str, tip: str) -> bool:
    """Whether the branch would still merge to exactly what this commit makes."""
    base = repository.text("merge-base", tip, main)
    pairs = ((base, main), (tip, commit))
    return all(repository.tree(one, where) == repository.tree(other, where) for one, other in pairs for where in places)


def _check_ours(repository: Repository, change: Change, main: str, branch: str, tip: str) -> None:
    """Raise DeliveryError where replacing the branch would lose anything but what we prepared for this place."""
    ours = repository.text("show", "--no-patch", f"--format=%(trailers:key={change.trailer},valueonly)", tip)
    changed = repository.changed(repository.text("merge-base", tip, main), tip)
    if not ours or any(not _within(path, change.places) for path in changed):
        raise DeliveryError(
            f"branch {branch} at {tip[:12]} has work that `flightline` did not prepare for "
            f"{change.env or ', '.join(change.places)}, and replacing it would lose that; give another name with "
            "--branch, or delete the branch"
        )


def _within(path: str, places: tuple[str, ...]) -> bool:
    return any(path == where or path.startswith(f"{where}/") for where in places)


def _ended(ending: Ending, change: Change, commit: str, branch: str) -> Outcome:
    return _outcome(ending, change, f"{_subject(change)} ({commit[:12]} on {branch})", commit=commit, branch=branch)


def _outcome(
    ending: Ending, change: Change, reason: str, *, commit: str | None = None, branch: str | None = None, diff: str = ""
) -> Outcome:
    return Outcome(
        outcome=ending,
        environment=change.env,
        reason=reason,
        identity=change.identity or None,
        version=change.version or None,
        commit=commit,
        branch=branch,
        diff=diff or None,
        evidence=change.evidence or None,
    )


def _subject(change: Change) -> str:
    return change.message.partition("\n")[0]


def back_off(attempt: int, longest: float = LONGEST) -> None:
    """Wait up to twice as long each time, in seconds, by chance: two who collided do not again."""
    most = min(longest, 0.1 * 2**attempt)
    time.sleep(most * secrets.randbelow(1000) / 1000)
