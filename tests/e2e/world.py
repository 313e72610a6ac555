"""What the story is watched through: the cluster's objects, its metrics, its notifications, and the users' traffic."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from infra.local import rollouts
from infra.local.api import Api
from infra.local.components import NODE, ClusterError, Kubectl
from tests.checkouts import PROJECT
from tests.e2e.team import Team

ENVIRONMENTS = ("staging", "production")
ROLLOUT = "rollouts.argoproj.io/flightline"
PATHS = {
    "pods": "/api/v1",
    "services": "/api/v1",
    "configmaps": "/api/v1",
    "rollouts": "/apis/argoproj.io/v1alpha1",
    "analysisruns": "/apis/argoproj.io/v1alpha1",
    "analysistemplates": "/apis/argoproj.io/v1alpha1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
}
HOOK_PORT = urlsplit(rollouts.RECEIVER).port
OK = 200
FLIGHTLINE = str(Path(sys.executable).with_name("flightline"))


@dataclass
class World(Team):
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

    def get(self, environment: str, resource: str, name: str = "", **asked: str) -> dict[str, Any]:
        """One object, or the list of a resource, of an environment."""
        path = f"{PATHS[resource]}/namespaces/{namespace(environment)}/{resource}"
        return Api(self.state, "admin").get(f"{path}/{name}" if name else path, **asked)

    def rollout(self, environment: str) -> dict[str, Any]:
        """The Rollout, {} while there is none or the API server is away."""
        try:
            return self.get(environment, "rollouts", "flightline")
        except ClusterError:
            return {}

    def in_step(self, environment: str) -> bool:
        """Whether Argo CD finds the cluster to be what main says."""
        path = f"/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/flightline-{environment}"
        status = Api(self.state, "admin").get(path)["status"]
        return bool(status["sync"]["status"] == "Synced")

    def applied_fields(self, environment: str) -> dict[str, Any]:
        """What of the Rollout Argo CD says is its own: managedFields."""
        managers = self.rollout(environment)["metadata"]["managedFields"]
        return dict(next(one["fieldsV1"] for one in managers if one["manager"] == "argocd-controller"))

    def pods(self, environment: str) -> list[str]:
        """The names of the ready servers."""
        found = self.get(environment, "pods", labelSelector="app.kubernetes.io/component=server")["items"]
        return [one["metadata"]["name"] for one in found if _ready(one)]

    def ready(self, environment: str) -> int:
        """How many servers are ready."""
        return len(self.pods(environment))

    def weight(self, environment: str) -> int:
        """How many ready pods the canary has; 0 between releases."""
        status = self.rollout(environment).get("status", {})
        latest = status.get("currentPodHash")
        if not latest or latest == status.get("stableRS"):
            return 0
        chosen = f"rollouts-pod-template-hash={latest}"
        return sum(_ready(one) for one in self.get(environment, "pods", labelSelector=chosen)["items"])

    def takes_traffic(self, environment: str, identity: str, limit: float = 10.0) -> float:
        """Wait until a canary's pod is ready; note how long after the push sync and pod were. Returns when."""
        self.until(f"{environment} has the release", lambda: _identity(self.rollout(environment)) == identity, 60)
        self.timeline.figure("release commit to synced", time.time() - self.pushed, 3.0)
        self.until("the canary takes traffic", lambda: self.weight(environment) > 0, 60)
        self.timeline.figure("release commit to canary", time.time() - self.pushed, limit)
        return time.time()

    def analysis(self, environment: str) -> dict[str, Any]:
        """The status of the newest blocking analysis."""
        runs = self.get(environment, "analysisruns")["items"]
        steps = [one for one in runs if one["metadata"]["labels"].get("rollout-type") == "Step"]
        return dict(max(steps, key=lambda one: one["metadata"]["creationTimestamp"])["status"])

    def failed_metrics(self, environment: str) -> set[str]:
        """The metrics that failed in the newest revision's analyses."""
        runs = self.get(environment, "analysisruns")["items"]
        newest = max(runs, key=lambda one: one["metadata"]["creationTimestamp"])
        revision = newest["metadata"]["annotations"]["rollout.argoproj.io/revision"]
        mine = [one for one in runs if one["metadata"]["annotations"]["rollout.argoproj.io/revision"] == revision]
        found = (metric for one in mine for metric in one["status"].get("metricResults", ()))
        return {metric["name"] for metric in found if metric["phase"] == "Failed"}

    def inconclusive(self, environment: str) -> bool:
        """Whether the rollout waits for a person."""
        paused = self.rollout(environment).get("status", {}).get("pauseConditions") or ()
        return any(one["reason"] == "InconclusiveAnalysisRun" for one in paused)

    def asked(self, environment: str) -> float:
        """Requests that an environment's servers counted."""
        query = f'sum(flightline_requests_total{{namespace="{namespace(environment)}",route=~".*predict.*"}})'
        answer = requests.get("http://127.0.0.1:9090/api/v1/query", params={"query": query}, timeout=5).json()
        return sum(float(one["value"][1]) for one in answer["data"]["result"])

    def notified(self, environment: str, event: str, identity: str, seconds: float = 15) -> bool:
        """Whether the cluster called out about a release, now or soon."""
        path = self.folder / "notifications.jsonl"

        def seen() -> bool:
            lines = path.read_text().splitlines() if path.exists() else []
            bodies = [json.loads(line)["body"] for line in lines]
            wanted = (event, namespace(environment), identity)
            return any((one["event"], one["environment"], one["identity"]) == wanted for one in bodies)

        return self.until(f"{environment}: notified of {event}", seen, seconds) < seconds

    def crash(self, pod: str) -> None:
        """Kill a server's process from outside, as the kernel would for want of memory."""
        os.kill(self.process(pod), signal.SIGKILL)
        self.timeline.event(f"{pod} crashed")

    def process(self, pod: str) -> int:
        """The number of a server's process, as this machine counts."""
        uid = self.get("production", "pods", pod)["metadata"]["uid"]
        mine = [path for path in Path("/proc").glob("[0-9]*") if uid in _said(path / "cgroup")]
        (server,) = [path.name for path in mine if "serving" in _said(path / "cmdline")]
        return int(server)

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

    def inside(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command in the cluster's network; the caller ends it."""
        return subprocess.Popen([FLIGHTLINE, "cluster", "exec", "--", *command], cwd=PROJECT, start_new_session=True)

    def open(self, environment: str) -> None:
        """Let users in: from now on the newest rows are asked for, a connection per request."""
        self.close(environment)
        address = self.get(environment, "services", "flightline")["spec"]["clusterIP"]
        (self.folder / "hold").mkdir(exist_ok=True)
        spec = {
            "targets": {environment: f"http://{address}"},
            "rate": 20,
            "workers": 4,
            "batch": 10,
            "rows": newest_rows(self.fork.root),
            "hold": str(self.folder / "hold"),
        }
        path = self.folder / f"load-{environment}.json"
        path.write_text(json.dumps(spec))
        load = (sys.executable, "-m", "tests.e2e.load", str(path), str(self.folder / "traffic.jsonl"))
        self.loads[environment] = self.inside(*load)
        self.timeline.event(f"{environment} has users")

    def close(self, environment: str) -> None:
        """No more users."""
        if environment in self.loads:
            end(self.loads.pop(environment))

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

    def look(self) -> list[dict[str, Any]]:
        """A sample for the page: weight and ready pods of each environment."""
        return [
            {"environment": environment, **_sample(found)}
            for environment in ENVIRONMENTS
            if (found := self.rollout(environment))
        ]


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def namespace(environment: str) -> str:
    """Where an environment's objects are."""
    return f"flightline-{environment}"


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process group of ours, whatever it does."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(15)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


def healthy(rollout: Mapping[str, Any], identity: str) -> bool:
    """Whether this identity is what all pods run."""
    status = _status_of(rollout, identity)
    return bool(status.get("phase") == "Healthy" and not status.get("abort"))


def aborted(rollout: Mapping[str, Any], identity: str) -> bool:
    """Whether the rollout of this identity was aborted."""
    return bool(_status_of(rollout, identity).get("abort"))


def _status_of(rollout: Mapping[str, Any], identity: str) -> Mapping[str, Any]:
    """What the controller says of this identity and this very generation; {} where it speaks of another."""
    status: Mapping[str, Any] = rollout.get("status", {})
    speaks = _identity(rollout) == identity and str(rollout["metadata"]["generation"]) == status.get(
        "observedGeneration"
    )
    return status if speaks else {}


def newest_rows(root: Path) -> list[dict[str, Any]]:
    """Every tenth of the last month's rows, as callers would ask for them: mixed, for those of one day are alike."""
    import pandas as pd

    names = [one["name"] for one in json.loads((root / "build/bundle/signature.json").read_text())["inputs"]]
    rows = (
        pd.read_csv(root / "build/rows/rows.csv", usecols=names, low_memory=False)
        .tail(20_000)
        .iloc[::10]
        .sample(frac=1, random_state=1)[names]
    )
    return [dict(one) for one in json.loads(rows.to_json(orient="records"))]


def _said(path: Path) -> str:
    """A file of /proc, "" where its process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _identity(rollout: Mapping[str, Any]) -> str | None:
    found = rollout.get("metadata", {}).get("annotations", {}).get("flightline/identity")
    return None if found is None else str(found)


def _ready(pod: Mapping[str, Any]) -> bool:
    going = "deletionTimestamp" in pod["metadata"]
    conditions = pod["status"].get("conditions", ())
    return not going and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _sample(rollout: Mapping[str, Any]) -> dict[str, Any]:
    status, steps = rollout.get("status", {}), rollout["spec"]["strategy"]["canary"]["steps"]
    stable = status.get("currentPodHash") == status.get("stableRS") or status.get("abort")
    done = steps[: status.get("currentStepIndex", 0) + 1]
    weights = [one["setWeight"] for one in done if "setWeight" in one]
    return {
        "weight": 0 if stable or not weights else weights[-1],
        "ready": status.get("availableReplicas", 0),
        "phase": status.get("phase", ""),
    }
