"""How far decay's statistics may stray on unchanged days: found by resampling the bundle's own held-out days.

The held-out days are few, so what they say is itself uncertain: a window is compared with a *drawn* reference, not with
the one there is. Otherwise, with 28 held-out days, three unchanged streams of twelve weeks in ten alarm at a nominal
one in twenty. And a check is looked at every day: the level of the limits is the one at which the asked-for share of
whole streams alarms, over all statistics together (the smallest p of a stream, as in Westfall and Young's min-p).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from model.contract import Floats, Task
from pipeline.monitoring.config import DecayLimits
from pipeline.monitoring.observation import LOSS_DIFFERENCE, OBSERVED_OVER_EXPECTED, RESIDUAL, SKILL
from pipeline.monitoring.reference import BASELINE_LOSS, EXPECTED, LOSS, OBSERVED, ROWS, WITH_LOSS

_WINDOWS_PER_STREAM = 10


@dataclass(frozen=True)
class Statistic:
    """One figure of a window's sums. `scale` says how two of them are compared: by ratio or by difference.

    `sides` are those that are bad. `neutral` is the value of a model that is right on average: never out of limits.
    """

    name: str
    of: Callable[[Floats], Floats]
    scale: Literal["ratio", "difference"]
    sides: Literal["both", "low"]
    neutral: float | None = None

    def contrast(self, value: Floats, reference: Floats) -> Floats:
        """How far one is from the other; 0 where neither can be said."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.log(value / reference) if self.scale == "ratio" else value - reference
        return np.where(np.isnan(found), 0.0, found)

    def at(self, reference: float, contrast: float) -> float:
        """The value that is so far from the reference."""
        return float(reference * np.exp(contrast)) if self.scale == "ratio" else float(reference + contrast)


@dataclass(frozen=True)
class Limit:
    """What a statistic was on the held-out days and how low and high it may be; None where that side has no limit."""

    reference: float
    low: float | None
    high: float | None

    def broken_by(self, value: float | None) -> bool:
        """Whether the value is outside."""
        if value is None:
            return False
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)


def _ratio(over: Floats, under: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(under > 0, over / under, np.nan)


def _observed_over_expected(sums: Floats) -> Floats:
    return _ratio(sums[..., OBSERVED], sums[..., EXPECTED])


def _residual(sums: Floats) -> Floats:
    return _ratio(sums[..., OBSERVED] - sums[..., EXPECTED], sums[..., ROWS])


def _skill(sums: Floats) -> Floats:
    return 1 - _ratio(sums[..., LOSS], sums[..., BASELINE_LOSS])


def _loss(sums: Floats) -> Floats:
    return _ratio(sums[..., LOSS], sums[..., WITH_LOSS])


OVER = Statistic(OBSERVED_OVER_EXPECTED, _observed_over_expected, "ratio", "both", neutral=1.0)
MEAN_RESIDUAL = Statistic(RESIDUAL, _residual, "difference", "both", neutral=0.0)
OF_SKILL = Statistic(SKILL, _skill, "difference", "low")
OF_LOSS = Statistic(LOSS_DIFFERENCE, _loss, "difference", "low")
_BY_TASK: dict[Task, tuple[Statistic, ...]] = {
    "classification": (OVER, OF_SKILL),
    "regression": (MEAN_RESIDUAL, OF_SKILL),
    "ranking": (OF_SKILL,),
}


def judged(task: Task, reference: Floats) -> tuple[Statistic, ...]:
    """The statistics that decide for this task: those that the held-out blocks (blocks, sums) have a value of."""
    total = reference.sum(axis=0)
    found = [one for one in _BY_TASK[task] if np.isfinite(one.of(total)) and (one.scale != "ratio" or one.of(total))]
    return tuple(found)


def of(reference: Floats, blocks: int, statistics: Sequence[Statistic], rules: DecayLimits) -> dict[str, Limit]:
    """Limits by name for windows of so many blocks; `reference` holds the held-out ones, (blocks, sums).

    Same seed, same limits.
    """
    total = reference.sum(axis=0)
    level, windows = _level(reference, blocks, statistics, rules)
    return {
        one.name: _limit(one, float(one.of(total)), level, contrasts)
        for one, contrasts in zip(statistics, windows, strict=True)
    }


def _limit(one: Statistic, reference: float, level: float, contrasts: Floats) -> Limit:
    low = _usable(one.at(reference, float(np.quantile(contrasts, level, method="lower"))))
    high = None
    if one.sides == "both":
        high = _usable(one.at(reference, float(np.quantile(contrasts, 1 - level, method="higher"))))
    if one.neutral is not None:
        low, high = _reaching(low, one.neutral, min), _reaching(high, one.neutral, max)
    return Limit(reference, low, high)


def _usable(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _reaching(limit: float | None, neutral: float, choose: Callable[[float, float], float]) -> float | None:
    return None if limit is None else choose(limit, neutral)


def _level(
    reference: Floats, blocks: int, statistics: Sequence[Statistic], rules: DecayLimits
) -> tuple[float, list[Floats]]:
    """The tail probability of one limit, and each statistic's sorted contrasts of single windows."""
    random = np.random.default_rng(rules.seed)
    single = rules.resamples * _WINDOWS_PER_STREAM
    windows, drawn = _totals(reference, blocks, single, random), _totals(reference, len(reference), single, random)
    contrasts = [np.sort(one.contrast(one.of(windows), one.of(drawn))) for one in statistics]
    length = max(blocks, round(rules.stream_days * blocks / rules.days))
    slid = sliding(reference[random.integers(0, len(reference), (rules.resamples, length))], blocks)
    held = _totals(reference, len(reference), rules.resamples, random)[:, None]
    smallest = np.min(
        [
            _smallest_p(one, one.contrast(one.of(slid), one.of(held)), known)
            for one, known in zip(statistics, contrasts, strict=True)
        ],
        axis=0,
    )
    return float(np.quantile(smallest, rules.alarms_per_stream, method="lower")), contrasts


def _smallest_p(one: Statistic, streams: Floats, known: Floats) -> Floats:
    """Tail probability, among single windows, of each stream's most extreme: (streams, windows) -> (streams,)."""
    low: Floats = np.searchsorted(known, streams.min(axis=1), "right") / len(known)
    if one.sides == "low":
        return low
    high: Floats = 1 - np.searchsorted(known, streams.max(axis=1), "left") / len(known)
    return np.minimum(low, high)


def _totals(reference: Floats, blocks: int, draws: int, random: np.random.Generator) -> Floats:
    """Sums of so many blocks drawn with replacement: (draws, sums)."""
    return random.multinomial(blocks, np.full(len(reference), 1 / len(reference)), draws) @ reference


def sliding(streams: Floats, blocks: int) -> Floats:
    """Sums of every window of so many successive blocks: (streams, length, sums) -> (streams, windows, sums)."""
    running = np.cumsum(streams, axis=1)
    first = running[:, blocks - 1 : blocks]
    return np.concatenate([first, running[:, blocks:] - running[:, :-blocks]], axis=1)
