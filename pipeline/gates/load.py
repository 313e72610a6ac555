"""The load gate: does the candidate's server meet the SLO, and is it as fast as production's?

`measure` has both served and loaded by a process of its own (`load_runner`); `judge` decides, purely.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median
from tempfile import TemporaryFile
from typing import IO, Any

from pipeline.config import ConfigError, LoadGate
from pipeline.gates import load_measurements as measured
from pipeline.gates.load_measurements import QUANTILES, Burst, Measurements, Plan, Served, ServerRun
from pipeline.slo import Slo
from pipeline.verdict import Check, Curve, Decision, GateResult, Table, worst

MILLI = 1000
MEGABYTE = 1 << 20


MOST_USERS = 256


class LoadError(Exception):
    """The load could not be made at all, which says nothing about the candidate. The message is the cause."""


def measure(
    candidate: Served,
    production: Served | None,
    rows: Sequence[Mapping[str, Any]],
    limits: LoadGate,
    progress: Callable[[str], None] = lambda _: None,
) -> Measurements:
    """Serve both bundles, or images, and load them in turns; `rows` are JSON rows as a caller would send them.

    Takes about 10 s alone and 15 s beside production by default, and up to 30 s where the comparison stays unclear.
    Raises LoadError, ConfigError.
    """
    _check(limits)
    if not rows:
        raise LoadError("no rows to send; give at least one, e.g. the bundle's golden rows")
    plan = Plan(candidate=candidate, production=production, rows=tuple(map(dict, rows)), limits=limits)
    with TemporaryFile() as told, TemporaryFile() as errors:
        told.write(plan.model_dump_json().encode())
        told.seek(0)
        answer = _answer(told, errors, progress)
        errors.seek(0)
        if answer is None:
            raise LoadError(f"the load process ended early: {_last_line(errors.read())}")
    return Measurements.model_validate(answer)


def _check(limits: LoadGate) -> None:
    """Raise ConfigError for a step that is no number of users."""
    for at, users in enumerate(limits.stress_users):
        if not 1 <= users <= MOST_USERS:
            field = f"params.yaml: gates.load.stress_users.{at}"
            raise ConfigError(f"{field} is {users}; give whole numbers of users from 1 to {MOST_USERS}")


def judge(found: Measurements, slo: Slo, limits: LoadGate) -> GateResult:
    """Hold the candidate to the SLO, and to production's speed where production was measured too."""
    checks = tuple(_checks(found, slo, limits))
    decision = worst(check.decision for check in checks if check.decision is not None)
    return GateResult(
        gate="load",
        decision=decision,
        reason=_reason(checks, decision),
        checks=checks,
        inputs={"slo": slo.model_dump(), "limits": limits.model_dump(mode="json")},
        tables=(_servers(found), _steps(found.stress)),
        curves=tuple(_curves(found)),
        seconds=found.seconds,
    )


def _answer(told: IO[bytes], errors: IO[bytes], progress: Callable[[str], None]) -> Any:
    """The measurements as the load process writes them, or None if it ended without. It ends with this call."""
    command = [sys.executable, "-m", "pipeline.gates.load_runner"]
    with subprocess.Popen(command, stdin=told, stdout=subprocess.PIPE, stderr=errors) as process:
        try:
            return _listen(process.stdout or (), progress)
        finally:
            process.terminate()


def _listen(lines: Iterable[bytes], progress: Callable[[str], None]) -> Any:
    for line in lines:
        document = json.loads(line)
        if "measurements" in document:
            return document["measurements"]
        progress(document["progress"])
    return None


def _last_line(text: bytes) -> str:
    return text.decode(errors="replace").strip().rpartition("\n")[2] or "it wrote nothing"


def _checks(found: Measurements, slo: Slo, limits: LoadGate) -> Iterator[Check]:
    candidate, production = found.candidate, found.production
    yield _starts("candidate", candidate, Decision.FAIL)
    if production is not None:
        yield _starts("production", production, Decision.INCONCLUSIVE)
    if candidate.rounds:
        yield from _objectives(candidate, slo)
    yield _slower(candidate, production, limits)
    yield _knee(found.stress, slo)


def _starts(name: str, server: ServerRun, otherwise: Decision) -> Check:
    """A production that cannot be served is not the candidate's fault, but leaves nothing to compare with."""
    if server.fault is not None:
        return Check(name=f"{name} serves", decision=otherwise, reason=f"the {name}'s server says: {server.fault}")
    return Check(
        name=f"{name} serves",
        decision=Decision.PASS,
        reason=f"ready {server.ready_seconds or 0:.2f} s after its start, and still there after the load",
        statistic=server.ready_seconds,
    )


def _objectives(server: ServerRun, slo: Slo) -> tuple[Check, ...]:
    """The SLO's four objectives. Medians over rounds, so that one disturbed round does not decide."""
    p95 = median(one.p95 for one in server.rounds)
    throughput = median(one.throughput for one in server.rounds)
    errors, failure = _errors(server.rounds)
    return (
        _limit("p95", p95, slo.p95_seconds, f"p95 is {_ms(p95)}; the SLO allows {_ms(slo.p95_seconds)}"),
        _limit("errors", errors, slo.error_ratio, f"{errors:.2%} fail{failure}; the SLO allows {slo.error_ratio:.2%}"),
        _objective(
            "throughput",
            throughput >= slo.throughput_per_second,
            (throughput, slo.throughput_per_second),
            f"{throughput:,.0f} answers/s; the SLO asks for {slo.throughput_per_second:,.0f}",
        ),
        _limit(
            "memory",
            server.memory_bytes,
            slo.memory_bytes,
            f"{server.memory_bytes / MEGABYTE:.0f} MiB resident; the SLO allows {slo.memory_bytes / MEGABYTE:.0f} MiB",
        ),
    )


def _errors(rounds: Sequence[Burst]) -> tuple[float, str]:
    """The share of requests that failed, all of them where none was answered, and what the first failure said."""
    requests = sum(one.requests for one in rounds)
    said = next((f" (the first: {one.failure})" for one in rounds if one.failure), "")
    return (sum(one.failures for one in rounds) / requests, said) if requests else (1.0, " (no answer at all)")


def _limit(name: str, value: float, limit: float, reason: str) -> Check:
    return _objective(name, value <= limit, (value, limit), reason)


def _objective(name: str, met: bool, figures: tuple[float, float], reason: str) -> Check:
    decision = Decision.PASS if met else Decision.FAIL
    return Check(name=name, decision=decision, reason=reason, statistic=figures[0], threshold=figures[1])


def _slower(candidate: ServerRun, production: ServerRun | None, limits: LoadGate) -> Check:
    if production is None:
        return Check(name="slower", decision=None, reason="no production to compare with: judged by the SLO alone")
    rounds = min(len(candidate.rounds), len(production.rounds))
    if rounds < limits.rounds:
        return Check(name="slower", decision=None, reason=f"not compared: {rounds} of {limits.rounds} rounds measured")
    found = measured.slowdown(candidate.rounds[:rounds], production.rounds[:rounds], limits)
    limit = 1 + limits.max_slowdown
    return Check(
        name="slower",
        decision=measured.decision(found, limits),
        reason=f"p95 is {found.ratio:.2f}x production's [{found.low:.2f}, {found.high:.2f}] in {rounds} paired rounds; "
        f"{limit:.2f}x is allowed",
        statistic=found.ratio,
        threshold=limit,
        interval=(found.low, found.high),
    )


def _knee(stress: Sequence[Burst], slo: Slo) -> Check:
    step = measured.knee(stress, slo.p95_seconds)
    if step is None:
        return Check(name="knee", decision=None, reason="not found: no stress step stayed within the SLO's p95")
    reason = f"{step.throughput:,.0f} answers/s with {step.users} users; more add under 10 % or break the SLO's p95"
    return Check(name="knee", decision=None, reason=reason, statistic=float(step.users))


def _reason(checks: Sequence[Check], decision: Decision) -> str:
    """What decided: the checks with the gate's own decision, or the figures of a pass."""
    if decision is Decision.PASS:
        shown = [check for check in checks if check.name in {"p95", "throughput", "memory", "slower"}]
    else:
        shown = [check for check in checks if check.decision is decision]
    return "; ".join(check.reason for check in shown)


def _servers(found: Measurements) -> Table:
    """Medians over rounds of both servers."""
    servers = {"candidate": found.candidate, "production": found.production}
    rows = [_server_row(name, server) for name, server in servers.items() if server is not None and server.rounds]
    columns = (
        "server",
        "rounds",
        "requests",
        "failed",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "answers/s",
        "memory MiB",
        "ready s",
    )
    return Table(name="servers under load", columns=columns, rows=tuple(rows))


def _server_row(name: str, server: ServerRun) -> tuple[str | float | int | None, ...]:
    rounds = server.rounds
    return (
        name,
        len(rounds),
        sum(one.requests for one in rounds),
        sum(one.failures for one in rounds),
        *(round(median(getattr(one, field) for one in rounds) * MILLI, 2) for field in ("p50", "p95", "p99")),
        round(median(one.throughput for one in rounds)),
        round(server.memory_bytes / MEGABYTE),
        round(server.ready_seconds or 0, 2),
    )


def _steps(stress: Sequence[Burst]) -> Table:
    rows = tuple(
        (one.users, round(one.throughput), _rounded(one.p50), _rounded(one.p95), one.failures) for one in stress
    )
    return Table(name="stress", columns=("users", "answers/s", "p50 ms", "p95 ms", "failed"), rows=rows)


def _rounded(seconds: float) -> float:
    return round(seconds * MILLI, 2)


def _curves(found: Measurements) -> Iterator[Curve]:
    """Latency by quantile for each server (x: share of requests, y: seconds); answers per second by users."""
    servers = {"candidate": found.candidate, "production": found.production}
    for name, server in servers.items():
        if server is not None and server.quantiles:
            yield Curve(name=f"latency {name}", x=QUANTILES, y=server.quantiles)
    if found.stress:
        users = tuple(float(one.users) for one in found.stress)
        yield Curve(name="stress throughput", x=users, y=tuple(one.throughput for one in found.stress))
        yield Curve(name="stress p95", x=users, y=tuple(one.p95 for one in found.stress))


def _ms(seconds: float) -> str:
    return f"{seconds * MILLI:.1f} ms"
