"""Observations made on the spot, for tests of whatever reads one."""

from datetime import date, timedelta
from typing import Any

from pipeline.monitoring.labels import LabelCounts
from pipeline.monitoring.observation import (
    OBSERVED_OVER_EXPECTED,
    SKILL,
    Glance,
    Observation,
    Period,
    Reading,
    Section,
    section,
)
from pipeline.verdict import Curve, Table

AS_OF = date(2013, 4, 29)
OVER = Reading(
    name=OBSERVED_OVER_EXPECTED, value=1.9, low=0.76, high=1.57, alarm=True, reason="observed/expected is 1.90"
)
OF_SKILL = Reading(name=SKILL, value=-0.03, low=0.017, alarm=True, reason="skill is -.03")
QUIET = Section(alarm=False, decision="quiet", reason="as in training")


def observation(**changes: Any) -> Observation:
    """April of the story: decay, a sound feed; `changes` replace fields."""
    first = date(2013, 4, 1).toordinal()
    days = tuple(float(first + at) for at in range(28))
    history = tuple(
        Glance(
            last=AS_OF - timedelta(days=back),
            rows=20_000,
            observed_over_expected=1.9,
            residual=None,
            skill=-0.03,
            loss=0.63,
            alarm=True,
        )
        for back in (3, 2, 1)
    )
    usual = {
        "version": "a" * 64,
        "task": "classification",
        "title": "Flight delays",
        "as_of": AS_OF,
        "data_end": date(2013, 3, 31),
        "window": Period(first=date(2013, 4, 1), last=date(2013, 4, 28), days=28, rows=25_000, labelled=24_000),
        "feed": QUIET,
        "drift": Section(
            alarm=False,
            decision="quiet",
            reason="temp moved most",
            readings=(
                Reading(name="temp", value=2.3, reason="seasonal"),
                Reading(name="origin", value=0.01, reason="stable"),
                Reading(name="seats", value=None, reason="the log does not carry it"),
            ),
        ),
        "decay": section((OVER, OF_SKILL), ""),
        "labels": LabelCounts(new=24_000, late=3),
        "new_labels": 24_000,
        "history": history,
        "tables": (Table(name="window", columns=("", "window"), rows=(("labelled rows", 24_000),)),),
        "curves": (
            Curve(name="rows by day", x=days, y=(900.0,) * 28),
            Curve(name="missing by day", x=days, y=(0.4,) * 28),
            Curve(name="out of range by day", x=days, y=(0.0,) * 28),
            Curve(name="score: held-out rows", x=(0.1, 0.5), y=(0.7, 0.3)),
            Curve(name="score: newest days", x=(0.1, 0.5), y=(0.6, 0.4)),
        ),
    }
    return Observation(**{**usual, **changes})
