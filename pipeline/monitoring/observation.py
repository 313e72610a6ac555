"""The observation: what one look at the logged rows found. A versioned, typed document, build/observation.json.

Report, metrics and the retrain decision are made from it and compute nothing again. Only `decay.alarm` may start a
retraining; `feed.alarm` and a window with a broken day in it forbid it.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from pipeline.config import Frozen, faults
from pipeline.frames import TableError
from pipeline.monitoring.labels import LabelCounts
from pipeline.verdict import Curve, Table

PATH = Path("build/observation.json")
Answer = Literal["quiet", "alarm", "too little"]
# Names of the readings that others look up.
OBSERVED_OVER_EXPECTED = "observed/expected"
RESIDUAL = "mean residual"
SKILL = "skill over the base rate"
LOSS_DIFFERENCE = "loss against the held-out rows"


class Period(Frozen):
    """Calendar days in UTC, both ends included, the predictions of them and how many have a label."""

    first: date
    last: date
    days: int
    rows: int
    labelled: int


class Reading(Frozen):
    """One statistic against its limits. None is "cannot be said", or no limit on that side; `reason` says why."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    alarm: bool = False
    reason: str


class Section(Frozen):
    """One question, its answer and why. `alarm` is `decision == "alarm"`."""

    alarm: bool
    decision: Answer
    reason: str
    readings: tuple[Reading, ...] = ()

    def reading(self, name: str) -> Reading | None:
        """The reading of that name."""
        return next((one for one in self.readings if one.name == name), None)


class Glance(Frozen):
    """One window of the past: its last day and what decay's readings were; None where it cannot be said."""

    last: date
    rows: int
    observed_over_expected: float | None
    residual: float | None
    skill: float | None
    loss: float | None
    alarm: bool


class BrokenDay(Frozen):
    """A day, in UTC, of whose rows some cannot be right, and what is wrong with them."""

    day: date
    fault: str


class Observation(Frozen):
    """`version` is production's bundle; `window` the newest full, labelled window after its own data ended.

    `new_labels` counts the labelled rows since then. `labels` is what the store says of all labels it was given.
    `broken` are all days with a fault since production's own data ended, however long ago, and of those before it that
    were read, oldest first: `feed` is about the newest week alone.
    `history` has one glance for each day that a window could have ended on.
    """

    format: Literal[1] = 1
    version: str
    task: str = ""
    title: str = ""
    as_of: date
    data_end: date | None = None
    window: Period | None
    feed: Section
    broken: tuple[BrokenDay, ...] = ()
    drift: Section
    decay: Section
    labels: LabelCounts | None = None
    new_labels: int = Field(ge=0)
    history: tuple[Glance, ...] = ()
    tables: tuple[Table, ...] = ()
    curves: tuple[Curve, ...] = ()

    @property
    def alarm(self) -> bool:
        """Whether anything asks for a person or for a retraining."""
        return self.feed.alarm or self.decay.alarm

    @property
    def exit_code(self) -> int:
        """What `flightline observe` exits with: 0 quiet, 1 an alarm, 2 too little to tell decay."""
        if self.alarm:
            return 1
        return 2 if self.decay.decision == "too little" else 0


def section(readings: Iterator[Reading] | tuple[Reading, ...], quiet: str, too_little: str = "") -> Section:
    """An alarm where a reading is one; else "too little" with that reason, if there is one; else quiet."""
    found = tuple(readings)
    alarms = [one.reason for one in found if one.alarm]
    if alarms:
        return Section(alarm=True, decision="alarm", reason="; ".join(alarms), readings=found)
    decision: Answer = "too little" if too_little else "quiet"
    return Section(alarm=False, decision=decision, reason=too_little or quiet, readings=found)


def read_observation(path: Path) -> Observation:
    """An observation that `flightline observe` wrote. Raises TableError naming the file and the fix."""
    if not path.is_file():
        raise TableError(f"{path} is not there; run `flightline observe`")
    try:
        return Observation.model_validate_json(path.read_text())
    except ValidationError as error:
        raise TableError(f"{path} is not an observation: {faults(error)}; run `flightline observe` again") from error
