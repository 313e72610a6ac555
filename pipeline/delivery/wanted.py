"""wanted: what of a delivery is left to do, by what other runs of the forge did or are doing with the same files.

It only spares work. Where git or the forge cannot tell, everything is done.
"""

import re
from collections.abc import Callable
from typing import Literal

from pipeline import paths
from pipeline.delivery.answers import LOCK
from pipeline.delivery.git import Repository
from pipeline.delivery.lock import is_all
from pipeline.delivery.plan import Found
from pipeline.delivery.push import Say
from pipeline.errors import GitError, UnavailableError
from pipeline.forge import Forge, ForgeError, Run, waiting

Wanted = Literal["", "all", "delivery"]

CHECKS, DELIVERY = "pr.yml", "deliver.yml"
# What says what a check is: a branch that changes it is checked by what main has then.
JUDGES = (".github/", "Makefile")
_SOURCE = re.compile(r"(?m)^Source: ([0-9a-f]{40})$")
_SHORT = 12


def wanted(repository: Repository, forge: Forge, left: Callable[[], bool], say: Say) -> tuple[Wanted, str]:
    """Of HEAD on main: nothing where another run delivered it, `delivery` where its checks passed, else `all`.

    The run that wrote a lock goes on with it. Its end is waited for; what it left undone, as `left` says, is done here.
    """
    try:
        if (run := _going_on(repository, forge)) is not None:
            say(f"the run that wrote {LOCK} goes on with it, and is waited for: {run.url}")
            waiting.ended(forge, run)
            if not left():
                return "", f"nothing is left after {run.url}"
        passed, why = checked(repository, forge)
    except (GitError, ForgeError, UnavailableError) as error:
        return "all", f"what other runs did could not be found out: {error}"
    return "delivery" if passed else "all", why


def checked(repository: Repository, forge: Forge) -> Found:
    """Whether a pull request with HEAD's very files, which changed nothing that judges, passed its checks."""
    head = repository.head()
    parents = repository.parents(head)
    if not parents:
        return False, "HEAD is the first commit"
    changed = repository.changed(parents[0], head)
    if judging := [path for path in changed if path.startswith(JUDGES)]:
        return False, f"{judging[0]} changed, which says what is checked"
    if all(path == LOCK or path.startswith(f"{paths.RELEASES}/") for path in changed):
        return False, "only machines wrote, which a pull request's checks leave out"
    same = [one for one in parents[1:] if repository.tree(one, "") == repository.tree(head, "")]
    for commit in same:
        newest = waiting.newest(forge, CHECKS, commit)
        if newest is not None and newest.conclusion == "success":
            if why := _elsewhere(forge, repository.branch, newest):
                return False, why
            return True, f"{commit[:_SHORT]} holds the same files and passed: {newest.url}"
    return False, "no pull request with the same files passed"


def _elsewhere(forge: Forge, branch: str, run: Run) -> str:
    """Why other workflows than this commit's may have passed; "" where only its own can have.

    GitHub runs those of a pull request's merge into its base, which may be a branch whose pr.yml checks nothing.
    """
    if run.event == "workflow_dispatch":
        return ""
    pulls = forge.pulls_of(run) if run.event == "pull_request" else []
    if not pulls:
        return f"no pull request is known whose run passed: {run.url}"
    others = [one.number for one in pulls if one.base_branch != branch or forge.moved(one.number)]
    return f"#{others[0]} is or was to be merged into another branch, whose workflows may have passed" if others else ""


def _going_on(repository: Repository, forge: Forge) -> Run | None:
    """The run that committed HEAD, a lock, if it has not ended; it leaves HEAD alone that has more than it checked."""
    head = repository.head()
    if [repository.changed(one, head) for one in repository.parents(head)] != [[LOCK]]:
        return None
    source = _SOURCE.search(repository.text("show", "--no-patch", "--format=%B", head))
    if source is None or not is_all(repository, source[1], head):
        return None
    run = waiting.newest(forge, DELIVERY, source[1])
    return run if run is not None and run.status != "completed" else None
