"""What a play found: a versioned, typed document, build/observe/story.json. The page is made from it alone.

The days are kept beside it as they are played, a line each, so that a play that was killed goes on from the last.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from pipeline.config import Frozen
from pipeline.frames import write_text
from pipeline.monitoring.observation import Answer, Section

STORY, DAYS = "story.json", "days.jsonl"


class Looked(Frozen):
    """One morning: the rows of the day before, the labels that came, and what was found and decided.

    `psi` is each column's over the newest 28 days; `guard` which rule decided about a retraining, and `why` in words.
    """

    as_of: date
    version: str
    rows: int
    refused: int
    labels: int
    window_end: date | None
    decay: Section
    feed: Answer
    feed_reason: str
    psi: dict[str, float]
    guard: str
    why: str
    seconds: float = 0.0


class Tried(Frozen):
    """An attempt to retrain: candidate's loss less production's on held-out rows, with the interval of resampled days.

    Figures are None where the gates did not come to any. `margin` is the gain that is needed, as a share of
    `production_loss`. `details` names pages below build/observe.
    """

    key: str
    as_of: date
    window_end: date
    version: str
    candidate: str | None
    outcome: str
    reason: str
    production_loss: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    margin: float | None = None
    details: tuple[tuple[str, str], ...] = ()

    @property
    def merged(self) -> bool:
        """Whether its candidate went to production."""
        return self.outcome == "proposed"


class Against(Frozen):
    """New model less old on played rows that the new one answered; `interval` is None for too few days."""

    first: date
    last: date
    days: int
    rows: int
    old: float
    new: float
    difference: float
    interval: tuple[float, float] | None


class Swap(Frozen):
    """A model that took another's place: when, and how both do on the rows played since, in all and by month."""

    as_of: date
    old: str
    new: str
    total: Against | None
    months: tuple[Against, ...]


class Story(Frozen):
    """The whole play. `first` and `last` are the days that are played; `whole` once all of them were."""

    format: Literal[1] = 1
    title: str
    task: str
    first: date
    last: date
    data_end: date
    window_key: str
    labels_after_days: int
    confidence: float
    max_psi: float
    stable: tuple[str, ...]
    days: tuple[Looked, ...]
    tried: tuple[Tried, ...]
    swaps: tuple[Swap, ...]
    whole: bool

    @property
    def rows(self) -> int:
        """Rows that were answered."""
        return sum(one.rows for one in self.days)

    @property
    def first_alarm(self) -> Looked | None:
        """The first morning on which decay was reported."""
        return next((one for one in self.days if one.decay.alarm), None)


def remembered(folder: Path) -> list[Looked]:
    """The days that were played so far; a line that a kill cut short is not there."""
    path = folder / DAYS
    found: list[Looked] = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            found.append(Looked.model_validate_json(line))
        except ValidationError:
            break
    return found


def remember(folder: Path, days: Sequence[Looked]) -> None:
    """Write the days anew, whole or not at all."""
    write_text(folder / DAYS, "".join(f"{one.model_dump_json()}\n" for one in days))


def write(folder: Path, story: Story) -> None:
    """The document, whole or not at all."""
    write_text(folder / STORY, story.model_dump_json(indent=2) + "\n")
