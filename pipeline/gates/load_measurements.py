"""What the load gate measures, as typed values, and when it has measured enough. Pure: no clock, network or process.

Both the gate (`load`) and the process that makes the load (`load_runner`) need these; only the latter imports Locust.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from pipeline.config import Frozen, LoadGate
from pipeline.gates.load_image import Unpacked
from pipeline.verdict import Decision

CONFIDENCE = 0.95
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999)


class Burst(Frozen):
    """Users without pauses against one server for a while. Latencies are in seconds, over failed requests too.

    `failure` is the first failure's message. A burst without one answer has the whole burst as its latency, since no
    request took less.
    """

    users: int
    seconds: float
    requests: int
    failures: int
    p50: float
    p95: float
    p99: float
    failure: str | None = None

    @property
    def throughput(self) -> float:
        """Good answers per second."""
        return (self.requests - self.failures) / self.seconds


class ServerRun(Frozen):
    """One server's part of a run. `fault` is the last line it wrote where it did not start or died."""

    rounds: tuple[Burst, ...] = ()
    quantiles: tuple[float, ...] = ()
    ready_seconds: float | None = None
    memory_bytes: int = 0
    fault: str | None = None


class Measurements(Frozen):
    """All that was measured: round i of both servers ran side by side in time; `stress` is the candidate's alone."""

    candidate: ServerRun
    production: ServerRun | None
    stress: tuple[Burst, ...] = ()
    seconds: float = 0.0


Served = Path | Unpacked


class Plan(Frozen):
    """What the load process is told: the bundles or images to serve, the rows to send and how long."""

    candidate: Served
    production: Served | None
    rows: tuple[dict[str, Any], ...]
    limits: LoadGate


@dataclass(frozen=True)
class Slowdown:
    """Candidate's p95 over production's: geometric mean over the rounds and its one-sided bounds."""

    ratio: float
    low: float
    high: float


def burst(users: int, seconds: float, latencies: Sequence[float], failures: Sequence[str]) -> Burst:
    """Summarise one burst: `latencies` in seconds, one per answer or failure; `failures` their messages."""
    p50, p95, p99 = np.quantile(latencies or [seconds], [0.5, 0.95, 0.99]).tolist()
    return Burst(
        users=users,
        seconds=seconds,
        requests=len(latencies),
        failures=len(failures),
        p50=p50,
        p95=p95,
        p99=p99,
        failure=failures[0] if failures else None,
    )


def looks(limits: LoadGate) -> tuple[int, ...]:
    """The numbers of rounds after which the comparison may stop: every `rounds`, up to `max_rounds`."""
    last = max(limits.rounds, limits.max_rounds)
    return (*range(limits.rounds, last, limits.rounds), last)


def slowdown(candidate: Sequence[Burst], production: Sequence[Burst], limits: LoadGate) -> Slowdown:
    """Compare p95 round by round: t bounds of the mean log-ratio, so that what slows both down cancels.

    Stopping as soon as a bound is crossed would err more often than once in 20, because each look is another chance.
    So the error is shared equally among the planned looks (Bonferroni): over all of them together a slower candidate
    passes, or an equal one fails, in at most 5 % of runs.
    """
    paired = zip(candidate, production, strict=True)
    logs = np.log([ours.p95 / theirs.p95 for ours, theirs in paired])
    level = 1 - (1 - CONFIDENCE) / len(looks(limits))
    reach = float(stats.t.ppf(level, len(logs) - 1) * np.std(logs, ddof=1) / math.sqrt(len(logs)))
    mean = float(np.mean(logs))
    return Slowdown(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach))


def decision(found: Slowdown, limits: LoadGate) -> Decision:
    """Fail when surely slower than the margin, pass when surely not, else inconclusive."""
    limit = 1 + limits.max_slowdown
    if found.low > limit:
        return Decision.FAIL
    return Decision.PASS if found.high < limit else Decision.INCONCLUSIVE


def enough(candidate: Sequence[Burst], production: Sequence[Burst] | None, limits: LoadGate) -> bool:
    """Whether to stop measuring: at a planned look, and decided; or at the last look."""
    done = len(candidate)
    if production is None:
        return done >= limits.rounds
    if done not in looks(limits):
        return False
    compared = slowdown(candidate, production, limits)
    return done == looks(limits)[-1] or decision(compared, limits) is not Decision.INCONCLUSIVE


def knee(stress: Sequence[Burst], p95_limit: float, growth: float = 0.10) -> Burst | None:
    """The fewest users who get nearly (within `growth`) all that any step gives within the limit; None without one."""
    within = list(takewhile(lambda step: step.p95 <= p95_limit, stress))
    most = max((step.throughput for step in within), default=0.0)
    return next((step for step in within if step.throughput * (1 + growth) >= most), None)
