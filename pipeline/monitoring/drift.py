"""Drift: how far the columns have moved from what the bundle was trained on. Reported; on its own it never alarms.

The population stability index (PSI) of two distributions over the same bins is the sum of (p - q) ln(p / q). Seasonal
columns move with the calendar, far beyond any limit, in every window.
"""

from collections.abc import Iterator

import numpy as np

from model.contract import Column, Schema
from pipeline.monitoring.observation import Reading, Section
from pipeline.monitoring.reference import Reference
from pipeline.monitoring.tally import Counts, Tally, reference_bins

SCORE = "score"
_HALF = 0.5


def psi(counts: Counts, reference: Counts) -> float:
    """PSI of two arrays of counts over the same bins; a half is added to each, so that an empty bin has a value."""
    seen = (counts + _HALF) / (counts.sum() + _HALF * len(counts))
    known = (reference + _HALF) / (reference.sum() + _HALF * len(reference))
    return float(((seen - known) * np.log(seen / known)).sum())


def psi_of(column: Column, tally: Tally, reference: Reference, spared: float = 0.0) -> float | None:
    """A column's PSI against training; None where the log does not carry it, or only nulls.

    Values of a kind that training never had are left out where they are no more than `spared` of all: a new
    destination with 4 % of rows has a PSI of .3 by itself.
    """
    seen, known = tally.columns.get(column.name), reference.features.get(column.name)
    if seen is None or known is None or not seen.bins.sum():
        return None
    usual = reference_bins(column, known)
    new = usual == 0
    if 0 < seen.bins[new].sum() <= spared * seen.bins.sum():
        return psi(seen.bins[~new], usual[~new])
    return psi(seen.bins, usual)


def judge(tally: Tally | None, schema: Schema, reference: Reference, days: str) -> Section:
    """Every column's PSI over `days` (said as they are, such as "1 to 28 April")."""
    if tally is None or not tally.rows:
        return Section(alarm=False, decision="too little", reason=f"no prediction was logged in {days}")
    readings = (*_columns(tally, schema, reference), _score(tally, reference))
    moved = max((one for one in readings if one.value is not None), key=lambda one: one.value or 0.0, default=None)
    most = f"; {moved.name} moved most, PSI {moved.value:.2f}" if moved else ""
    reason = f"{tally.rows:,} rows of {days} against training{most}; reported: by itself drift is no alarm"
    return Section(alarm=False, decision="quiet", reason=reason, readings=readings)


def _columns(tally: Tally, schema: Schema, reference: Reference) -> Iterator[Reading]:
    for column in schema.columns:
        value = psi_of(column, tally, reference)
        without = "no logged row has a value" if column.name in tally.columns else "the log does not carry it"
        reason = without if value is None else column.stability
        yield Reading(name=column.name, value=value, reason=reason)


def _score(tally: Tally, reference: Reference) -> Reading:
    known = np.array([0, *reference.score.counts, 0], np.int64)
    return Reading(name=SCORE, value=psi(tally.score.bins, known), reason="against the held-out rows")
