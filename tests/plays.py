"""Plays told on the spot, for tests of whatever reads their story: the spring of 2013 as it went."""

from datetime import date, timedelta
from typing import Any

from pipeline.monitoring.observation import OBSERVED_OVER_EXPECTED, SKILL, Reading, Section
from pipeline.monitoring.play.story import Against, Looked, Story, Swap, Tried

OLD, NEW = "1d40dcfd09b3" + "a" * 52, "77e0c3ab1f90" + "b" * 52
FIRST, LAST = date(2013, 4, 1), date(2013, 8, 31)
ALARM, MERGE = date(2013, 5, 5), date(2013, 6, 2)
PSI = {"temp": 1.9, "dewp": 1.4, "pressure": 0.3, "humid": 0.1, "origin": 0.01, "dest": 0.09, "score": 0.4}


def decay(window_end: date | None, over: float, *, limits: tuple[float, float] = (0.76, 1.57)) -> Section:
    """Decay by its ratio; too little without a window."""
    if window_end is None:
        return Section(alarm=False, decision="too little", reason="12 labelled days since 2013-04-01")
    low, high = limits
    alarm = not low <= over <= high
    said = f"observed/expected is {over:.2f}, {'outside' if alarm else 'within'} {low} to {high}"
    readings = (
        Reading(name=OBSERVED_OVER_EXPECTED, value=over, low=low, high=high, alarm=alarm, reason=said),
        Reading(name=SKILL, value=0.1 - 0.07 * over, low=0.017, reason="skill"),
    )
    reason = f"from {window_end - timedelta(days=27)} to {window_end}: {said}"
    return Section(alarm=alarm, decision="alarm" if alarm else "quiet", reason=reason, readings=readings)


def looked(as_of: date, **given: Any) -> Looked:
    """A morning without anything to tell; `given` replaces fields."""
    said: dict[str, Any] = {
        "as_of": as_of,
        "version": OLD,
        "rows": 912,
        "refused": 0,
        "labels": 890,
        "window_end": None,
        "decay": decay(None, 1.0),
        "feed": "quiet",
        "feed_reason": "as in training",
        "psi": PSI,
        "guard": "quiet",
        "why": "no decay",
    }
    return Looked(**{**said, **given})


def mornings() -> tuple[Looked, ...]:
    """Decay from 5 May, another model from 2 June that is right on average, and too high in July."""
    found = []
    for at in range((LAST - FIRST).days + 1):
        as_of = FIRST + timedelta(days=at + 1)
        version, since, limits = (
            (OLD, FIRST, (0.76, 1.57)) if as_of <= MERGE else (NEW, date(2013, 5, 27), (0.64, 1.18))
        )
        end = as_of - timedelta(days=7)
        window = end if end >= since + timedelta(days=27) else None
        over = 1.9 - 0.004 * at if version == OLD else 1.0 + 0.01 * max(0, at - 85)
        found.append(looked(as_of, version=version, window_end=window, decay=decay(window, over, limits=limits)))
    return tuple(found)


def tried(window_end: date, outcome: str, difference: float, **given: Any) -> Tried:
    """An attempt and the figures of its gates."""
    said: dict[str, Any] = {
        "key": f"{window_end}-{OLD[:12]}",
        "as_of": window_end + timedelta(days=7),
        "window_end": window_end,
        "version": OLD,
        "candidate": NEW,
        "outcome": outcome,
        "reason": "benchmark: cannot tell better from worse; a retrained model must gain at least the margin",
        "production_loss": 0.55,
        "difference": difference,
        "interval": (difference - 0.02, difference + 0.01),
        "margin": 0.02,
        "details": (("what the gates said", f"details/{window_end}/report.html"),),
    }
    return Tried(**{**said, **given})


def against(first: date, last: date, difference: float, half: float | None = 0.02) -> Against:
    """New less old on these days."""
    interval = None if half is None else (difference - half, difference + half)
    days = (last - first).days + 1
    return Against(
        first=first, last=last, days=days, rows=900 * days, old=0.8, new=0.8 + difference, difference=difference,
        interval=interval,
    )  # fmt: skip


def story(**given: Any) -> Story:
    """The whole spring; `given` replaces fields."""
    swap = Swap(
        as_of=MERGE,
        old=OLD,
        new=NEW,
        total=against(MERGE, LAST, -0.12),
        months=(
            against(MERGE, date(2013, 6, 30), -0.15),
            against(date(2013, 7, 1), date(2013, 7, 31), -0.16),
            against(date(2013, 8, 1), LAST, -0.06),
        ),
    )
    said: dict[str, Any] = {
        "title": "Flight delays",
        "task": "classification",
        "first": FIRST,
        "last": LAST,
        "data_end": FIRST - timedelta(days=1),
        "window_key": "data.end",
        "labels_after_days": 7,
        "confidence": 0.95,
        "max_psi": 0.2,
        "stable": ("origin", "dest"),
        "days": mornings(),
        "tried": (
            tried(date(2013, 4, 28), "no gain", -0.004),
            tried(MERGE - timedelta(days=7), "proposed", -0.051, reason="branch retrain is pushed"),
            tried(date(2013, 6, 27), "no gain", -0.006, version=NEW),
        ),
        "swaps": (swap,),
        "whole": True,
    }
    return Story(**{**said, **given})
