"""Attempts: what was tried, on which evidence, and what came of it. A versioned, typed document of its own each.

An attempt is known by production's bundle and the last day of the window that was tried, so that an alarm that comes
fifty times is one attempt.
"""

from datetime import date, datetime
from typing import Literal, get_args

from pydantic import ValidationError

from pipeline.config import Frozen, faults
from pipeline.delivery.models import Commit, Hex64
from pipeline.frames import TableError
from pipeline.monitoring.retrain.steps import NAMES, StepName

FILE, OBSERVATION, PARAMS, LOCK, BODY = "attempt.json", "observation.json", "params.yaml", "dvc.lock", "pull-request.md"
# "stopped": a slice is harmed, or another gate blocks; "superseded": production changed before it came to an end.
Outcome = Literal["proposed", "no gain", "stopped", "failed", "superseded"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
TRIED: tuple[Outcome, ...] = ("proposed", "no gain", "stopped")
_SHORT = 12


class Attempt(Frozen):
    """One attempt. `version` is production's bundle, `base` main's commit that it started from.

    `done` are the steps that came to their end. `holder` has it until `until`, and then whoever comes next. `tries`
    counts the runs that took it up; pods of one Job or Workflow are one. `outcome` is None until it has ended.
    """

    format: Literal[1] = 1
    version: Hex64
    window_end: date
    as_of: date
    base: Commit
    why: str
    forced: str = ""
    holder: str
    until: datetime
    tries: int = 1
    began: datetime
    done: tuple[StepName, ...] = ()
    outcome: Outcome | None = None
    reason: str = ""
    ended: datetime | None = None
    candidate: Hex64 | None = None
    pull_request: str = ""

    @property
    def key(self) -> str:
        """What it is known by; also its folder."""
        return key(self.version, self.window_end)

    @property
    def next(self) -> StepName | None:
        """The first step that is still to be done; None once it has ended."""
        if self.outcome is not None:
            return None
        return next((name for name in NAMES if name not in self.done), None)

    def after(self, name: StepName) -> "Attempt":
        """With that step done."""
        return self if name in self.done else self.model_copy(update={"done": (*self.done, name)})

    def ending(self, outcome: Outcome, reason: str, at: datetime) -> "Attempt":
        """With its end."""
        return self.model_copy(update={"outcome": outcome, "reason": reason, "ended": at})

    @property
    def sentence(self) -> str:
        """For people: what came of it."""
        what = f"{self.outcome}: {self.reason}" if self.outcome else f"under way, {self.next} is next"
        return f"window to {self.window_end} against {self.version[:_SHORT]}: {what}"


def key(version: str, window_end: date) -> str:
    """`2013-05-26-1d40dcfd09b3`."""
    return f"{window_end.isoformat()}-{version[:_SHORT]}"


def read(text: bytes, where: str) -> Attempt:
    """The document. Raises TableError, naming `where`."""
    try:
        return Attempt.model_validate_json(text)
    except ValidationError as error:
        raise TableError(f"{where}: not an attempt of this version: {faults(error)}") from error


def written(attempt: Attempt) -> bytes:
    """The document as it is kept."""
    return attempt.model_dump_json(indent=2).encode() + b"\n"


def in_order(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Oldest first, by when they began."""
    return tuple(sorted(attempts, key=lambda one: (one.began, one.key)))
