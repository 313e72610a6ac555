"""commit-lock: the dvc.lock that `dvc repro` wrote here, as a commit of its own on main.

A release names the commit that holds its lock, so the lock comes first and is never in a release's commit.
"""

from dataclasses import dataclass
from typing import Any

from pipeline.delivery.answers import LOCK, Tree, answer, stages
from pipeline.delivery.git import Checkout, Repository
from pipeline.delivery.models import DeliveryError
from pipeline.delivery.push import Change, Decision, How, Outcome, Say, Settled, deliver

BRANCH = "dvc-lock"
TRAILER = "Bundle"
_SHORT = 12
_WHY = (
    f"A release names the commit that holds its `{LOCK}`. Once this is merged, the run on main releases it; nothing is "
    "trained again."
)


def commit_lock(checkout: Checkout, how: How, say: Say) -> Outcome:
    """Commit the work tree's dvc.lock on main, if main's files are those it answers for. Safe to run again.

    Raises DeliveryError, GitError, UnavailableError.
    """
    repository = Repository.of(checkout)
    locking = _Locking(repository, repository.head(), _written(checkout))
    found = deliver(repository, "", locking.plan, how, say)
    if found.outcome != "pushed" or found.commit is None or is_all(repository, locking.head, found.commit):
        return found
    why = f"what was merged since {locking.head[:_SHORT]} was not checked with it: the run of that commit goes on"
    return found.model_copy(update={"reason": f"{found.reason}; {why}"})


def is_all(repository: Repository, source: str, commit: str) -> bool:
    """Whether the lock is all that a commit adds to its source, so that checks of the one hold for the other."""
    return repository.changed(source, commit) == [LOCK]


def values(checkout: Checkout, outcome: Outcome) -> dict[str, str]:
    """For a workflow: `commit` is empty where it has more than this run checked. Raises DeliveryError, GitError."""
    repository = Repository.of(checkout)
    commit = outcome.commit or ""
    return {
        "outcome": outcome.outcome,
        "commit": commit if commit and is_all(repository, repository.head(), commit) else "",
        "branch": outcome.branch or "",
        "pull_request": outcome.pull_request or "",
        "go": str(is_committed(checkout)).lower(),
    }


def ask(checkout: Checkout, outcome: Outcome, say: Say) -> Outcome:
    """Open, or bring up to date, the pull request of the branch that was just prepared. Raises ForgeError, GitError."""
    from pipeline.delivery import pulls

    if outcome.branch is None or outcome.commit is None:
        return outcome
    desk = pulls.Desk.of(checkout, say)
    title, _, text = desk.repository.text("show", "--no-patch", "--format=%B", outcome.commit).partition("\n")
    pull = pulls.opened(desk, outcome.branch, outcome.commit, title, f"{text.strip()}\n\n{_WHY}")
    return outcome.model_copy(update={"pull_request": pull.url})


def is_committed(checkout: Checkout) -> bool:
    """Whether HEAD's dvc.lock is the work tree's: whether a release may name HEAD. Raises DeliveryError, GitError."""
    repository = Repository.of(checkout)
    return _same(Tree(repository, repository.head()).file(LOCK), _written(checkout))


def bundle_of(text: bytes | None) -> str:
    """DVC's name of the bundle that a lock names, "" for none. Raises DeliveryError."""
    stage = stages(text, LOCK).get("bundle")
    outs: Any = stage.get("outs") if isinstance(stage, dict) else None
    return str(outs[0].get("md5", "")) if outs else ""


@dataclass(frozen=True)
class _Locking:
    """A lock on its way to main, made at `head`."""

    repository: Repository
    head: str
    text: bytes

    def plan(self, main: str) -> Decision:
        """What to do, on main as it is. Raises DeliveryError where the lock belongs to no commit of main."""
        if not self.repository.contains(main, self.head):
            raise DeliveryError(
                f"HEAD {self.head[:_SHORT]} is not on {self.repository.branch}; merge or push it there first"
            )
        there = Tree(self.repository, main).file(LOCK)
        if _same(there, self.text):
            return Settled("nothing", f"{self.repository.branch} has this {LOCK} already")
        return self._refused() or self._overtaken(main, there) or self._change()

    def _refused(self) -> Settled | None:
        """A lock of other files than HEAD's would make every clone train again."""
        differs = answer(self.repository, self.head, self.text)
        if not differs.differs:
            return None
        return Settled(
            "refused",
            f"{LOCK} here does not answer for {differs.missing} at HEAD {self.head[:_SHORT]}; commit or undo what is "
            "changed here, and run `dvc repro`",
        )

    def _overtaken(self, main: str, there: bytes | None) -> Settled | None:
        """Why main needs this lock no more: what it answers for changed, or another run's lock came first."""
        moved = answer(self.repository, main, self.text)
        if moved.differs:
            why = f"changed {moved.missing}; the run of the newer commit commits its own {LOCK}"
        elif not _same(there, Tree(self.repository, self.head).file(LOCK)) and answer(self.repository, main).whole:
            why = f"has another {LOCK} for the same files; the run of that commit goes on"
        else:
            return None
        return Settled("nothing", f"{self.repository.branch} moved to {main[:_SHORT]} and {why}")

    def _change(self) -> Change:
        bundle = bundle_of(self.text)
        lines = [
            f"lock: bundle {bundle[:_SHORT]} of {self.head[:_SHORT]}",
            "",
            f"{LOCK} as `dvc repro` of that commit wrote it.",
            "",
            f"{TRAILER}: {bundle}",
            f"Source: {self.head}",
        ]
        message = "\n".join(lines) + "\n"
        return Change("", "", "", {LOCK: self.text}, message, BRANCH, scope=(LOCK,), trailer=TRAILER)


def _written(checkout: Checkout) -> bytes:
    path = checkout.root / LOCK
    if not path.is_file():
        raise DeliveryError(f"{LOCK} is not there; run `dvc repro`")
    return path.read_bytes()


def _same(one: bytes | None, other: bytes | None) -> bool:
    """Whether two locks say the same, however they are written."""
    return one == other or (one is not None and other is not None and stages(one, LOCK) == stages(other, LOCK))
