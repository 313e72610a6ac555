"""The backtest: how often the daily check alarms on days that did not change, and how soon when they did.

Streams are drawn with replacement from the bundle's held-out days and looked at as they would be in life: every day,
over the newest window. Two rates are told. The first is given that the held-out days are what days are like; the stated
rate is held to it alone. The second is given that they are a sample of such days, as in life: each stream has a drawn
reference of its own, with limits of its own.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from model.contract import Floats, Task
from pipeline.config import Frozen
from pipeline.monitoring import limits
from pipeline.monitoring.config import DecayLimits
from pipeline.monitoring.limits import Limit, Statistic, sliding
from pipeline.monitoring.reference import EXPECTED, OBSERVED, Reference

FACTORS = (0.5, 0.7, 1.3, 1.5, 2.0)
_FEWER = 500
Change = Literal["labels", "scores"]


class Rate(Frozen):
    """The share of looks, and of whole streams, in which an alarm was raised though nothing had changed."""

    streams: int
    per_window: float
    per_stream: float


class Delay(Frozen):
    """Days from a change to the alarm: `found` is the share of streams that alarmed before they ended.

    `change` says what was multiplied by `factor`: the label rate, or the scores. None where too few alarmed.
    """

    change: Change
    factor: float
    found: float
    median_days: float | None
    slow_days: float | None


class Backtest(Frozen):
    """What the simulation found. `stated` is the share of unchanged streams that the limits were made for.

    `given` is the rate given that the held-out days are what days are like, `sampled` that they are a sample of them.
    """

    format: Literal[1] = 1
    version: str
    blocks: int
    window_days: int
    stream_days: int
    stated: float
    given: Rate
    sampled: Rate
    delays: tuple[Delay, ...]

    @property
    def holds(self) -> bool:
        """Whether `given` keeps the stated rate, to three standard errors. It says nothing of `sampled`."""
        spread = float((self.stated * (1 - self.stated) / self.given.streams) ** 0.5)
        return self.given.per_stream <= self.stated + 3 * spread


def run(reference: Reference, task: Task, rules: DecayLimits, streams: int = 200) -> Backtest:
    """Simulate. Same seed, same result. Raises ValueError where the bundle has too few held-out days."""
    if reference.blocks is None or len(reference.blocks.sums) < rules.min_blocks:
        held = 0 if reference.blocks is None else len(reference.blocks.sums)
        raise ValueError(
            f"{reference.reason or f'the bundle has {held} held-out blocks'}; {rules.min_blocks} are needed"
        )
    held_out = reference.blocks.sums
    judged = limits.judged(task, held_out)
    bounds = limits.of(held_out, rules.days, judged, rules)
    random = np.random.default_rng(rules.seed + 1)
    alarms = broken(sliding(_streams(held_out, streams, rules.stream_days, random), rules.days), judged, bounds)
    return Backtest(
        version=reference.version,
        blocks=len(held_out),
        window_days=rules.days,
        stream_days=rules.stream_days,
        stated=rules.alarms_per_stream,
        given=_rate(alarms),
        sampled=_rate(_sampled(held_out, streams, judged, rules, random)),
        delays=tuple(_delays(held_out, streams, judged, bounds, rules)),
    )


def broken(windows: Floats, judged: Sequence[Statistic], bounds: dict[str, Limit]) -> Floats:
    """Which windows alarm: sums (..., sums) -> booleans (...)."""
    found = np.zeros(windows.shape[:-1], bool)
    for one in judged:
        value, limit = one.of(windows), bounds[one.name]
        if limit.low is not None:
            found |= value < limit.low
        if limit.high is not None:
            found |= value > limit.high
    return found


def _rate(alarms: Floats) -> Rate:
    return Rate(streams=len(alarms), per_window=float(alarms.mean()), per_stream=float(alarms.any(axis=1).mean()))


def _streams(held_out: Floats, streams: int, days: int, random: np.random.Generator) -> Floats:
    """Days drawn with replacement: (streams, days, sums)."""
    drawn: Floats = held_out[random.integers(0, len(held_out), (streams, days))]
    return drawn


def _sampled(
    held_out: Floats, streams: int, judged: Sequence[Statistic], rules: DecayLimits, random: np.random.Generator
) -> Floats:
    """Alarms of streams that each have a drawn reference, and limits from it."""
    fewer = rules.model_copy(update={"resamples": min(rules.resamples, _FEWER)})
    found = []
    for _ in range(streams):
        drawn = held_out[random.integers(0, len(held_out), len(held_out))]
        bounds = limits.of(drawn, rules.days, judged, fewer)
        found.append(broken(sliding(_streams(held_out, 1, rules.stream_days, random), rules.days), judged, bounds)[0])
    return np.array(found)


def _delays(
    held_out: Floats, streams: int, judged: Sequence[Statistic], bounds: dict[str, Limit], rules: DecayLimits
) -> Iterator[Delay]:
    """For each change: a window of unchanged days, then changed ones to the stream's end.

    Loss cannot be had from sums, so it stays as it was: what is found is found by observed/expected alone, and the
    delays are no shorter than they would be.
    """
    changes: tuple[tuple[Change, int], ...] = (("labels", OBSERVED), ("scores", EXPECTED))
    for change, column in changes:
        for factor in FACTORS:
            random = np.random.default_rng(rules.seed + 2)
            days = _streams(held_out, streams, rules.days + rules.stream_days, random)
            days[:, rules.days :, column] *= factor
            alarms = broken(sliding(days, rules.days), judged, bounds)[:, 1:]
            yield _delay(change, factor, alarms)


def _delay(change: Change, factor: float, alarms: Floats) -> Delay:
    """`alarms` (streams, days) begins with the window that has one changed day in it."""
    first = np.where(alarms.any(axis=1), alarms.argmax(axis=1) + 1.0, np.inf)
    median, slow = (float(np.quantile(first, at, method="higher")) for at in (0.5, 0.9))
    return Delay(
        change=change,
        factor=factor,
        found=float(np.isfinite(first).mean()),
        median_days=median if np.isfinite(median) else None,
        slow_days=slow if np.isfinite(slow) else None,
    )


def text(found: Backtest) -> str:
    """The figures for a terminal."""
    lines = [
        f"{found.given.streams} streams of {found.stream_days} days drawn from {found.blocks} held-out blocks, "
        f"windows of {found.window_days}; of unchanged streams alarm",
        f"- given that the held-out days are what days are like: {_said(found.given)}; "
        f"at most {found.stated:.1%} are stated, which {'holds' if found.holds else 'does NOT hold'}",
        f"- given that they are a sample of them: {_said(found.sampled)}; this is what to expect in life",
    ]
    return "\n".join([*lines, *map(_line, found.delays)])


def _said(rate: Rate) -> str:
    return f"{rate.per_stream:.1%} of streams, {rate.per_window:.2%} of windows"


def _line(one: Delay) -> str:
    days = f"{one.median_days:.0f} days" if one.median_days is not None else "more than half did not alarm"
    return f"{one.change} x {one.factor:g}: {one.found:.0%} found, median {days}"
