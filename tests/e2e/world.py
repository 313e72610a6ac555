"""What the story is watched through: the cluster's objects, its metrics, its notifications, and the users' traffic."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from infra.local import rollouts, users
from infra.local.components import NODE, ClusterError, Kubectl
from infra.local.watch import Watch, identity_of, namespace
from tests.checkouts import PROJECT
from tests.e2e.receiver import told
from tests.e2e.team import Team

HOOK_PORT = urlsplit(rollouts.RECEIVER).port
OK = 200
FLIGHTLINE = str(Path(sys.executable).with_name("flightline"))


@dataclass
class World(Team, Watch):
    """`loads` are the traffic processes by environment; `excused` the spans whose failures a bad canary made."""

    loads: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    excused: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def kubectl(self) -> Kubectl:
        """The administrator's view."""
        return Kubectl(self.state)

    def until(self, what: str, holds: Callable[[], Any], seconds: float = 90) -> float:
        """Wait until something holds; seconds it took. Fails the test with what the cluster said last."""
        start = time.monotonic()
        while not holds():
            if time.monotonic() - start > seconds:
                pytest.fail(f"not within {seconds:g} s: {what}\n{self.describe()}")
            time.sleep(0.2)
        self.timeline.event(what)
        return time.monotonic() - start

    def describe(self) -> str:
        """What a person would look at first."""
        said = self.flightline("status", check=False)
        return said.stdout + said.stderr

    def applied_fields(self, environment: str) -> dict[str, Any]:
        """What of the Rollout Argo CD says is its own: managedFields."""
        managers = self.rollout(environment)["metadata"]["managedFields"]
        return dict(next(one["fieldsV1"] for one in managers if one["manager"] == "argocd-controller"))

    def takes_traffic(self, environment: str, identity: str, limit: float = 10.0) -> float:
        """Wait until a canary's pod is ready; note how long after the push sync and pod were. Returns when."""
        self.until(f"{environment} has the release", lambda: identity_of(self.rollout(environment)) == identity, 60)
        self.timeline.figure("release commit to synced", time.time() - self.pushed, 3.0)
        self.until("the canary takes traffic", lambda: self.weight(environment) > 0, 60)
        self.timeline.figure("release commit to canary", time.time() - self.pushed, limit)
        return time.time()

    def asked(self, environment: str) -> float:
        """Requests that an environment's servers counted."""
        query = f'sum(flightline_requests_total{{namespace="{namespace(environment)}",route=~".*predict.*"}})'
        answer = requests.get("http://127.0.0.1:9090/api/v1/query", params={"query": query}, timeout=5).json()
        return sum(float(one["value"][1]) for one in answer["data"]["result"])

    def notified(self, environment: str, event: str, identity: str, seconds: float = 15) -> bool:
        """Whether the cluster called out about a release, now or soon."""
        path = self.folder / "notifications.jsonl"

        def seen() -> bool:
            wanted = (event, namespace(environment), identity)
            return any((one["event"], one["environment"], one["identity"]) == wanted for one in told(path))

        return self.until(f"{environment}: notified of {event}", seen, seconds) < seconds

    def crash(self, pod: str) -> float:
        """Kill a server's process from outside, as the kernel would for want of memory. Returns when."""
        os.kill(self.process(pod), signal.SIGKILL)
        self.timeline.event(f"{pod} crashed")
        return time.time()

    def process(self, pod: str) -> int:
        """The number of a server's process, as this machine counts."""
        return process_of(self.get("production", "pods", pod)["metadata"]["uid"], "serving")

    def memory(self, pod: str) -> int:
        """Resident bytes of a server."""
        return int(psutil.Process(self.process(pod)).memory_info().rss)

    def start_to_ready(self, pod: str) -> float:
        """Seconds from a container's start to its pod's readiness, to the second."""
        status = self.get("production", "pods", pod)["status"]
        started = status["containerStatuses"][0]["state"]["running"]["startedAt"]
        ready = next(one["lastTransitionTime"] for one in status["conditions"] if one["type"] == "Ready")
        return (datetime.fromisoformat(ready) - datetime.fromisoformat(started)).total_seconds()

    def restarts(self, environment: str, pod: str) -> int:
        """How often a pod's server was started again."""
        return int(self.get(environment, "pods", pod)["status"]["containerStatuses"][0]["restartCount"])

    def drain(self, seconds: int) -> str:
        """Try to drain the only node for a while; what kubectl said."""
        words = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={seconds}s")
        try:
            return self.kubectl("drain", NODE, *words)
        except ClusterError as error:
            return str(error)

    def uncordon(self) -> None:
        """Let pods be scheduled again."""
        self.kubectl("uncordon", NODE)

    @contextmanager
    def without(self, *components: str) -> Iterator[None]:
        """An outage."""
        for name in components:
            self.component("stop", name)
        self.timeline.event(f"without {', '.join(components)}")
        try:
            yield
        finally:
            for name in components:
                self.component("start", name)
            self.timeline.event(f"back: {', '.join(components)}")

    def component(self, verb: str, name: str) -> None:
        """Stop or start a part of the cluster."""
        subprocess.run([FLIGHTLINE, "cluster", f"{verb}-component", name], cwd=PROJECT, check=True)

    def open(self, environment: str) -> None:
        """Let users in: from now on the newest rows are asked for, a connection per request."""
        self.close(environment)
        address = self.get(environment, "services", "flightline")["spec"]["clusterIP"]
        rows = users.newest_rows(self.fork.root)
        self.loads[environment] = users.start(self.folder, environment, f"http://{address}", rows)
        self.timeline.event(f"{environment} has users")

    def close(self, environment: str) -> None:
        """No more users."""
        if environment in self.loads:
            users.end(self.loads.pop(environment))

    @contextmanager
    def quiet(self, environment: str) -> Iterator[None]:
        """Users who ask nothing for a while."""
        mark = self.folder / "hold" / environment
        mark.touch()
        try:
            yield
        finally:
            mark.unlink()

    def traffic(self) -> list[dict[str, Any]]:
        """Every request so far."""
        path = self.folder / "traffic.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]

    def sent(self, environment: str, since: float, until: float) -> list[dict[str, Any]]:
        """The requests of a span of time."""
        return [one for one in self.traffic() if one["target"] == environment and since <= one["at"] <= until]

    def failed(self, environment: str, since: float, until: float) -> list[dict[str, Any]]:
        """Those that were not answered 200."""
        return [one for one in self.sent(environment, since, until) if one["status"] != OK]

    def excuse(self, environment: str, since: float, until: float) -> None:
        """Failures of this span were looked at: they are what a bad canary made."""
        self.excused.append((environment, since, until))

    def unexcused(self) -> list[dict[str, Any]]:
        """Every failed request but those."""
        return [
            one
            for one in self.traffic()
            if one["status"] != OK
            and not any(one["target"] == who and since <= one["at"] <= until for who, since, until in self.excused)
        ]


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def process_of(uid: str, word: str) -> int:
    """The process of a pod that has this word in its command, as this machine counts."""
    mine = [path for path in Path("/proc").glob("[0-9]*") if uid in _said(path / "cgroup")]
    (found,) = [path.name for path in mine if word in _said(path / "cmdline")]
    return int(found)


def _said(path: Path) -> str:
    """A file of /proc, "" where its process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""
