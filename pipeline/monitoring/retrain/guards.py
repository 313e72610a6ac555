"""Whether to retrain: a pure decision over what was observed, what was tried, what is proposed, and the time.

Only decay starts a retraining. A broken feed forbids it, whoever asks: its rows would teach the model the fault. So
does a broken day in what would be learnt, until a reviewed line says that its rows are right at the source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from pipeline.gates.decide import named
from pipeline.monitoring.observation import BrokenDay, Observation
from pipeline.monitoring.retrain.attempts import TRIED, Attempt, in_order, key
from pipeline.monitoring.retrain.config import Retrain

Guard = Literal[
    "go", "resume", "feed", "circuit", "stale", "quiet", "window", "attempted", "busy", "cooldown", "labels", "declined"
]
REFUSED: tuple[Guard, ...] = ("feed", "circuit")
_SHORT = 12


@dataclass(frozen=True)
class Proposal:
    """An open retrain pull request, or one that a person closed without merging it: which attempt it is about."""

    number: int
    attempt: str
    open: bool


@dataclass(frozen=True)
class Asked:
    """All that the decision is made from.

    `version` is production's bundle as main says it; `data_end` the day that `window_key` has now; `holder` who asks;
    `force` a person's reason, "" for none.
    """

    observation: Observation
    attempts: Sequence[Attempt]
    proposals: Sequence[Proposal]
    version: str
    data_end: date | None
    holder: str
    now: datetime
    settings: Retrain
    force: str = ""


@dataclass(frozen=True)
class Answer:
    """What to do, by which guard, and why. With "go" a new attempt of `window_end`, with "resume" the given one."""

    guard: Guard
    reason: str
    window_end: date | None = None
    attempt: Attempt | None = None

    @property
    def goes(self) -> bool:
        """Whether an attempt is made or carried on."""
        return self.guard in ("go", "resume")

    @property
    def refused(self) -> bool:
        """Whether a person has to look at it."""
        return self.guard in REFUSED


def decide(asked: Asked) -> Answer:
    """Go, resume, or the first reason why not."""
    for guard in (_feed, _circuit, _unfinished, _stale, _decay, _window, _attempted, _cooldown, _labels):
        if (answer := guard(asked)) is not None:
            return _learnable(asked, answer)
    why = f"forced: {asked.force}" if asked.force else f"decay: {asked.observation.decay.reason}"
    return _learnable(asked, Answer("go", why, window_end=_end(asked)))


def _learnable(asked: Asked, answer: Answer) -> Answer:
    """The answer, unless a day with a broken feed would be learnt: labels come late, and so does the window."""
    end = answer.attempt.window_end if answer.attempt else answer.window_end
    if end is None or not (days := _broken(asked, end)):
        return answer
    said = named((f"{one.day} ({one.fault})" for one in days), 3)
    return Answer(
        "feed",
        f"the feed was broken on {said}, and the window to {end} would teach that to a model; see that these days' "
        "rows are right where training reads them, then add the days to `retrain.sound_days` in params.yaml",
    )


def _broken(asked: Asked, end: date) -> list[BrokenDay]:
    """The broken days that main's data would get with a window to `end`, without those that a person vouches for."""
    new = [one for one in asked.observation.broken if asked.data_end is None or one.day > asked.data_end]
    return [one for one in new if one.day <= end and one.day not in asked.settings.sound_days]


def _feed(asked: Asked) -> Answer | None:
    feed = asked.observation.feed
    if not feed.alarm:
        return None
    return Answer("feed", f"the feed is broken, and a model must not learn from it: {feed.reason}; mend the feed first")


def _circuit(asked: Asked) -> Answer | None:
    """Open after so many failures in a row, until a reviewed line of params.yaml forgives them."""
    failed = failures(asked.attempts, asked.settings.reset_after)
    if len(failed) < asked.settings.max_failures:
        return None
    newest = failed[-1]
    return Answer(
        "circuit",
        f"the last {len(failed)} attempts failed, the newest with: {newest.reason}; mend that, then set "
        f"`retrain.reset_after: {newest.ended.date() if newest.ended else newest.as_of}` in params.yaml",
    )


def failures(attempts: Sequence[Attempt], reset_after: date | None) -> list[Attempt]:
    """The failed attempts since the last that came to an answer, oldest first, without those that were forgiven."""
    found: list[Attempt] = []
    for one in in_order(tuple(attempts)):
        if one.outcome == "failed":
            found.append(one)
        elif one.outcome in TRIED:
            found.clear()
    return [one for one in found if reset_after is None or (one.ended or one.began).date() > reset_after]


def _unfinished(asked: Asked) -> Answer | None:
    """One that was begun is finished first, by whoever held it or once its time is up."""
    begun = [one for one in in_order(tuple(asked.attempts)) if one.outcome is None and one.version == asked.version]
    if not begun:
        return None
    one = begun[-1]
    if one.holder == asked.holder or one.until <= asked.now:
        return Answer("resume", f"{one.key} was begun and not finished; {one.next} is next", attempt=one)
    return Answer("busy", f"{one.holder} is at {one.key} ({one.next} is next), and has it until {one.until:%H:%M} UTC")


def _stale(asked: Asked) -> Answer | None:
    if asked.observation.version == asked.version:
        return None
    return Answer(
        "stale",
        f"the observation is of bundle {asked.observation.version[:_SHORT]}, and production has "
        f"{asked.version[:_SHORT]}; observe that one first",
    )


def _decay(asked: Asked) -> Answer | None:
    decay = asked.observation.decay
    return None if decay.alarm or asked.force else Answer("quiet", f"no decay ({decay.decision}): {decay.reason}")


def _window(asked: Asked) -> Answer | None:
    window = asked.observation.window
    if window is None:
        return Answer("window", "there is no full window of labelled days after production's data yet")
    if asked.data_end is not None and window.last <= asked.data_end:
        return Answer("window", f"main's data ends on {asked.data_end} already, the labelled days on {window.last}")
    return None


def _attempted(asked: Asked) -> Answer | None:
    name = key(asked.version, _end(asked))
    for one in asked.attempts:
        if one.key == name and one.outcome is not None:
            return Answer("attempted", f"tried already: {one.sentence}")
    for proposal in asked.proposals:
        if proposal.attempt == name:
            said = "is open" if proposal.open else "was closed by a person without a merge"
            return Answer("attempted" if proposal.open else "declined", f"pull request #{proposal.number} {said}")
    return None


def _cooldown(asked: Asked) -> Answer | None:
    """Counted in days of data: a backlog that is worked off in an hour is no storm of attempts."""
    tried = [one for one in asked.attempts if one.outcome in TRIED]
    if asked.force or not tried:
        return None
    newest = max(tried, key=lambda one: one.window_end)
    after = newest.window_end + timedelta(days=asked.settings.cooldown_days)
    if _end(asked) >= after:
        return None
    return Answer(
        "cooldown", f"the last attempt was on the window to {newest.window_end} ({newest.outcome}); again from {after}"
    )


def _labels(asked: Asked) -> Answer | None:
    new = asked.observation.new_labels
    if asked.force or new >= asked.settings.min_new_labels:
        return None
    return Answer(
        "labels",
        f"{new:,} rows have got a label since production's data ended; {asked.settings.min_new_labels:,} are wanted",
    )


def _end(asked: Asked) -> date:
    """The last day of the window that would be tried; `_window` has seen that there is one."""
    window = asked.observation.window
    if window is None:
        raise ValueError("no window")
    return window.last
