"""Make the load: `python -m pipeline.gates.load_runner`, a process of its own because Locust patches Python on import.

Reads a Plan as JSON from standard input. Writes one JSON object per line: `{"progress": ...}` as it goes, then
`{"measurements": ...}`. Servers it started end with it; when its reader is gone, the next line it writes ends it.
"""

import json
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle
from typing import Any

import gevent
import numpy as np
from locust import FastHttpUser, task
from locust.env import Environment

from pipeline.gates import load_server
from pipeline.gates.load_measurements import QUANTILES, Burst, Measurements, Plan, Served, ServerRun, burst, enough

ALL_AT_ONCE = 10_000
WARM_UP_SECONDS = 0.3
STRESS_SECONDS = 0.5


class Target:
    """One server under measurement and what was found of it so far."""

    def __init__(self, name: str, served: Served) -> None:
        self.name = name
        self.rounds: list[Burst] = []
        self._served = served
        self._fault: str | None = None
        self._latencies: list[float] = []
        self._memory = 0
        self._ready: float | None = None

    def start(self, stack: ExitStack, rows: tuple[dict[str, Any], ...]) -> None:
        """Have its server up and warm until `stack` closes. Raises ServerError."""
        with self._blamed():
            self._server = stack.enter_context(load_server.serve(self._served))
            self._ready = self._server.ready_seconds
            self._load = Load(self._server.url, rows)
            self.attack(1, WARM_UP_SECONDS)

    def attack(self, users: int, seconds: float) -> Burst:
        """One burst. Raises ServerError if the server is dead after it."""
        found = self._load.attack(users, seconds)
        with self._blamed():
            self._server.check()
        return found

    def round(self, users: int, seconds: float) -> None:
        """One burst that counts. Raises ServerError if the server is dead after it."""
        self.rounds.append(self.attack(users, seconds))
        self._latencies += self._load.latencies
        self._memory = max(self._memory, self._server.memory_bytes())

    def summary(self) -> ServerRun:
        """All that was found."""
        return ServerRun(
            rounds=tuple(self.rounds),
            quantiles=tuple(np.quantile(self._latencies, QUANTILES).tolist()) if self._latencies else (),
            ready_seconds=self._ready,
            memory_bytes=self._memory,
            fault=self._fault,
        )

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except load_server.ServerError as fault:
            self._fault = str(fault)
            raise


class Load:
    """Locust against one URL. Every latency is kept: Locust's own statistics round to whole milliseconds."""

    def __init__(self, url: str, rows: tuple[dict[str, Any], ...]) -> None:
        self.latencies: list[float] = []
        self._failures: list[str] = []
        self._environment = Environment(user_classes=[_user(url, rows)])
        self._runner = self._environment.create_local_runner()
        self._environment.events.request.add_listener(self._record)  # type: ignore[no-untyped-call]

    def attack(self, users: int, seconds: float) -> Burst:
        """Send rows from `users` users, without pauses, for `seconds`; what is still open then does not count."""
        self._runner.start(users, spawn_rate=ALL_AT_ONCE)
        gevent.wait([self._runner.spawning_greenlet])
        self.latencies, self._failures = [], []
        started = time.perf_counter()
        gevent.sleep(seconds)
        found = burst(users, time.perf_counter() - started, self.latencies, self._failures)
        self._runner.stop()
        return found

    def _record(self, response_time: float, exception: BaseException | None, **_: Any) -> None:
        self.latencies.append(response_time / 1000)
        if exception is not None:
            self._failures.append(str(exception))


class Run:
    """One whole measurement. What was found before a fault stays."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._started = time.perf_counter()
        self._candidate = Target("candidate", plan.candidate)
        self._production = Target("production", plan.production) if plan.production else None
        self._targets = [one for one in (self._candidate, self._production) if one]
        self._stress: list[Burst] = []

    def all(self) -> None:
        """Start the servers, measure in rounds, then stress the candidate. Raises ServerError."""
        with ExitStack() as stack:
            for target in self._targets:
                _progress(f"starting the {target.name}'s server")
                target.start(stack, self._plan.rows)
            while not self._enough():
                self._round()
            self._step_up()

    def found(self) -> Measurements:
        """What was measured so far."""
        return Measurements(
            candidate=self._candidate.summary(),
            production=self._production.summary() if self._production else None,
            stress=tuple(self._stress),
            seconds=time.perf_counter() - self._started,
        )

    def _enough(self) -> bool:
        production = self._production.rounds if self._production else None
        return enough(self._candidate.rounds, production, self._plan.limits)

    def _round(self) -> None:
        """Every server once, in the reverse order of the round before, so that a drifting machine favours neither."""
        done, limits = len(self._candidate.rounds), self._plan.limits
        _progress(f"round {done + 1} of {limits.rounds if done < limits.rounds else limits.max_rounds}")
        for target in self._targets if done % 2 == 0 else reversed(self._targets):
            target.round(limits.users, limits.round_seconds)

    def _step_up(self) -> None:
        for users in self._plan.limits.stress_users:
            _progress(f"stress: {users} users")
            self._stress.append(self._candidate.attack(users, STRESS_SECONDS))


def main() -> None:
    """Carry out the plan on standard input."""
    logging.disable(logging.CRITICAL)  # Locust reports each start and stop
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    run = Run(Plan.model_validate_json(sys.stdin.read()))
    with suppress(load_server.ServerError):
        run.all()
    _write({"measurements": run.found().model_dump(mode="json")})


def _user(url: str, rows: tuple[dict[str, Any], ...]) -> type[FastHttpUser]:
    bodies = cycle([json.dumps(row) for row in rows])

    class Sender(FastHttpUser):
        host = url
        network_timeout = connection_timeout = 10.0

        @task
        def predict(self) -> None:
            self.client.post("/predict", data=next(bodies), headers={"content-type": "application/json"})

    return Sender


def _progress(text: str) -> None:
    _write({"progress": text})


def _write(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main()
