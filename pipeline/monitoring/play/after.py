"""The new model against the old one on what was played afterwards: paired, with whole days resampled."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.contract import Floats, Model
from pipeline.config import BenchmarkGate
from pipeline.gates import statistics
from pipeline.monitoring.play.story import Against
from pipeline.monitoring.shadow import Logged, scores
from serving.bundle import Bundle


def against(
    model: Model, rows: Logged, old: Bundle, limits: BenchmarkGate
) -> tuple[Against | None, tuple[Against, ...]]:
    """All rows together, and each calendar month; logged scores are the new model's, and the old one is asked again."""
    said = rows.frame["score"].to_numpy(np.float64)
    losses = np.array([model.loss(rows.frame, one) for one in (scores(old, rows.frame), said)])
    known = np.isfinite(losses).all(axis=0)
    days = rows.frame["day"].to_numpy("datetime64[D]")[known]
    return _one(losses[:, known], days, limits), tuple(_by_month(losses[:, known], days, limits))


def _by_month(losses: Floats, days: NDArray[np.datetime64], limits: BenchmarkGate) -> Iterator[Against]:
    months = days.astype("datetime64[M]")
    for month in np.unique(months):
        mine = months == month
        if (found := _one(losses[:, mine], days[mine], limits)) is not None:
            yield found


def _one(losses: Floats, days: NDArray[np.datetime64], limits: BenchmarkGate) -> Against | None:
    """The difference of these rows' mean losses; (2, rows): old, new. None without rows."""
    if not len(days):
        return None
    number, names = statistics.codes(days)
    sums, counts = statistics.block_sums(losses[1] - losses[0], number, np.zeros_like(number), (len(names), 1))
    boot = statistics.bootstrap(sums, counts, resamples=limits.resamples, seed=limits.seed)
    low, high = boot.interval(limits.confidence)
    return Against(
        first=_day(days.min()),
        last=_day(days.max()),
        days=len(names),
        rows=len(days),
        old=float(losses[0].mean()),
        new=float(losses[1].mean()),
        difference=float(boot.estimate[0]),
        interval=(float(low[0]), float(high[0])) if len(names) >= limits.min_blocks else None,
    )


def _day(value: Any) -> date:
    found: date = value.astype("datetime64[D]").item()
    return found
