"""checked: whether the very files of HEAD passed their checks as a pull request, so that they are not run once more.

It only spares work. Where git or the forge cannot tell, the checks run.
"""

from pipeline.delivery.git import Repository
from pipeline.delivery.plan import Found
from pipeline.errors import GitError, UnavailableError
from pipeline.forge import Forge, ForgeError

WORKFLOW = "pr.yml"
# What says what a check is: a branch that changes it is checked by what main has then.
JUDGES = (".github", "Makefile")
_SHORT = 12


def checked(repository: Repository, forge: Forge) -> Found:
    """A run of the workflow on a commit with HEAD's own tree that ended well, and that changed nothing which judges."""
    try:
        return _found(repository, forge)
    except (GitError, ForgeError, UnavailableError) as error:
        return False, f"it could not be found out: {error}"


def _found(repository: Repository, forge: Forge) -> Found:
    head = repository.head()
    parents = repository.parents(head)
    if not parents:
        return False, "HEAD is the first commit"
    if changed := repository.changed(parents[0], head, JUDGES):
        return False, f"{changed[0]} changed, which says what is checked"
    same = [one for one in (*parents[1:], head) if repository.tree(one, "") == repository.tree(head, "")]
    for commit in same:
        newest = next((one for one in forge.runs(head_sha=commit) if one.workflow == WORKFLOW), None)
        if newest is not None and newest.conclusion == "success":
            return True, f"{commit[:_SHORT]} holds the same files and passed: {newest.url}"
    return False, "no pull request with the same files passed"
