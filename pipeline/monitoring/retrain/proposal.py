"""The retrain branch and its one pull request: updated, never multiplied. Main is never pushed to."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline import reports
from pipeline.config import ConfigError
from pipeline.delivery import pulls, push
from pipeline.delivery.answers import answer
from pipeline.delivery.git import REMOTE, Repository
from pipeline.delivery.pulls import Desk
from pipeline.delivery.push import Change, Decision, How, Settled
from pipeline.monitoring.retrain import body, ledger, window
from pipeline.monitoring.retrain.attempts import LOCK, PARAMS, Attempt
from pipeline.monitoring.retrain.config import Retrain
from pipeline.monitoring.retrain.errors import AttemptError
from pipeline.monitoring.retrain.guards import Proposal
from pipeline.review.models import VERDICT
from pipeline.verdict import Verdict

TRAILER = "Retrain"
_MARKER = re.compile(r"<!-- flightline:retrain attempt=(?P<key>\d{4}-\d\d-\d\d-[0-9a-f]{12}) -->")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Proposed:
    """Where the pull request is ("" where none could be opened), its text, and what was done in a sentence."""

    url: str
    body: str
    reason: str


@dataclass(frozen=True)
class Proposing:
    """An attempt on its way to the branch: main's params.yaml with the window moved, and the lock that was made."""

    repository: Repository
    attempt: Attempt
    settings: Retrain
    lock: bytes
    subject: str

    def plan(self, main: str) -> Decision:
        """What to write on main as it is. Settled where main moved to something that this lock does not answer for."""
        (text,) = self.repository.blobs([f"{main}:{PARAMS}"])
        try:
            moved = window.advanced((text or b"").decode(), self.settings.window_key, self.attempt.window_end)
        except ConfigError as error:
            return Settled("refused", f"main moved on: {error}")
        files = {PARAMS: moved.encode(), LOCK: self.lock}
        differs = answer(self.repository, self.repository.commit(main, files, "to compare"))
        if differs.differs:
            return Settled("refused", f"main changed {differs.missing} since the attempt began")
        version = self.attempt.candidate or ""
        places = (PARAMS, LOCK)
        return Change("", "", version, files, self._message(), self.settings.branch, scope=places, trailer=TRAILER)

    def _message(self) -> str:
        lines = [self.subject, "", f"Candidate {self.attempt.candidate}.", "", f"{TRAILER}: {self.attempt.key}"]
        return "\n".join(lines) + "\n"


def standing(desk: Desk | None, branch: str) -> tuple[Proposal, ...]:
    """Our retrain pull requests that are open, and those that a person closed without a merge. Raises ForgeError."""
    if desk is None:
        return ()
    found = []
    for pull in desk.forge.pulls(state="all", head=branch):
        marked = _MARKER.match(pull.body)
        if marked and pull.author == desk.forge.login and not pull.merged:
            found.append(Proposal(pull.number, marked["key"], pull.state == "open"))
    return tuple(found)


def propose(
    repository: Repository, desk: Desk | None, settings: Retrain, attempt: Attempt, files: Mapping[str, bytes], say: Say
) -> Proposed:
    """Push the branch if the checkout has a remote, and open or update the pull request if there is a forge.

    Raises AttemptError where main took what was tried out of date, DeliveryError for a branch with somebody's work.
    """
    verdict = Verdict.model_validate_json(files[VERDICT])
    raw = desk.forge.raw_url(reports.BRANCH, ledger.place(attempt.key)) if desk else ""
    text = body.text(body.Told.of(repository, attempt, files, verdict, settings), raw)
    if REMOTE not in repository.text("remote").split():
        return Proposed("", text, "there is no remote; the pull request's text is kept with the attempt")
    subject = body.subject(attempt, verdict)
    planned = Proposing(repository, attempt, settings, files[LOCK], subject)
    outcome = push.deliver(repository, "", planned.plan, How(), say)
    if outcome.branch is None or outcome.commit is None:
        raise AttemptError(outcome.reason)
    if desk is None:
        return Proposed("", text, f"branch {outcome.branch} is pushed; without a token no pull request is opened")
    marker = f"<!-- flightline:retrain attempt={attempt.key} -->"
    pull = pulls.opened(desk, outcome.branch, outcome.commit, subject, f"{marker}\n{text}")
    return Proposed(pull.url, text, f"pull request #{pull.number}: {subject}")
