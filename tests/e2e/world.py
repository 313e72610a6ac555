"""What the story plays in: the local cluster, a fork of the project on its git server, and traffic."""

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
from pathlib import Path
from typing import Any

import pytest

from infra.local.components import Kubectl, State
from tests.checkouts import PROJECT, Checkout
from tests.e2e.timeline import Timeline

ENVIRONMENTS = ("staging", "production")
NAME = "flightline"
ROLLOUT = "rollouts.argoproj.io/flightline"
HOOK_PORT = 9099
REPOSITORY = "http://127.0.0.1:3000/flightline.git"
REGISTRY = "127.0.0.1:5000/flightline"


@dataclass
class World:
    """`folder` gets what the story leaves behind: timeline, traffic, notifications, the page."""

    state: State
    fork: Checkout
    folder: Path
    timeline: Timeline
    images: dict[str, str] = field(default_factory=dict)

    @property
    def kubectl(self) -> Kubectl:
        """The administrator's view."""
        return Kubectl(self.state)

    def get(self, environment: str, what: str, *more: str) -> dict[str, Any]:
        """One object, or the list of a kind, of an environment."""
        return dict(json.loads(self.kubectl("--namespace", namespace(environment), "get", what, *more, "-o", "json")))

    def rollout(self, environment: str) -> dict[str, Any]:
        """The Rollout, {} while there is none."""
        try:
            return self.get(environment, ROLLOUT)
        except Exception:  # noqa: BLE001 - not there yet, or an API server that is away: the story waits for both
            return {}

    def flightline(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The fork's own command line, as its user types it."""
        return self.fork.run("flightline", *words, check=check, KUBECONFIG=str(self.state.kubeconfig))

    def until(self, what: str, holds: Callable[[], Any], seconds: float = 90) -> float:
        """Wait until something holds; seconds it took. Fails the test with what the cluster said last."""
        start = time.monotonic()
        while not holds():
            if time.monotonic() - start > seconds:
                pytest.fail(f"not within {seconds:g} s: {what}\n{self.describe()}")
            time.sleep(0.2)
        return time.monotonic() - start

    def describe(self) -> str:
        """What a person would look at first."""
        return self.flightline("status", check=False).stdout

    def released(self, environment: str) -> dict[str, Any]:
        """What main on the git server says of an environment; {} where nothing was released."""
        self.fork.run("git", "fetch", "-q", "origin")
        path = f"origin/main:k8s/releases/{environment}/release.yaml"
        shown = self.fork.run("git", "show", path, check=False)
        return dict(_yaml(shown.stdout)) if not shown.returncode else {}

    def head(self) -> str:
        """main on the git server."""
        return self.fork.run("git", "ls-remote", "origin", "refs/heads/main").stdout.split()[0]

    def notifications(self, environment: str, event: str) -> list[dict[str, Any]]:
        """What the cluster called out about an environment so far."""
        path = self.folder / "notifications.jsonl"
        lines = [json.loads(line)["body"] for line in path.read_text().splitlines()] if path.exists() else []
        return [one for one in lines if one["event"] == event and one["environment"].endswith(environment)]

    def traffic(self) -> list[dict[str, Any]]:
        """Every request of the load so far."""
        path = self.folder / "traffic.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]

    def failed(self, target: str, since: float, until: float | None = None) -> list[dict[str, Any]]:
        """Requests that were not answered 200, sent in a span of time."""
        end = until or time.time()
        seen = (one for one in self.traffic() if one["target"] == target and since <= one["at"] <= end)
        return [one for one in seen if one["status"] != http_ok()]

    @contextmanager
    def quiet(self, *targets: str) -> Iterator[None]:
        """No load for a while."""
        marks = [self.folder / "hold" / target for target in targets]
        for mark in marks:
            mark.touch()
        try:
            yield
        finally:
            for mark in marks:
                mark.unlink()

    def inside(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command in the cluster's network; the caller ends its process group."""
        entered = (sys.executable, "-m", "pipeline.cli", "cluster", "exec", "--", *command)
        return subprocess.Popen(entered, cwd=PROJECT, env=os.environ, start_new_session=True)


def http_ok() -> int:
    """What a good answer's status is."""
    return 200


def namespace(environment: str) -> str:
    """Where an environment's objects are."""
    return f"{NAME}-{environment}"


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process group of ours, whatever it does."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(15)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


def healthy(rollout: Mapping[str, Any], identity: str) -> bool:
    """Whether this identity is what all pods run, and the controller says so of this very generation."""
    return (
        rollout.get("metadata", {}).get("annotations", {}).get("flightline/identity") == identity
        and str(rollout["metadata"]["generation"]) == rollout.get("status", {}).get("observedGeneration")
        and rollout["status"].get("phase") == "Healthy"
    )


def aborted(rollout: Mapping[str, Any], identity: str) -> bool:
    """Whether the rollout of this identity was aborted."""
    named = rollout.get("metadata", {}).get("annotations", {}).get("flightline/identity")
    return bool(named == identity and rollout.get("status", {}).get("abort"))


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _yaml(text: str) -> dict[str, Any]:
    import yaml

    return dict(yaml.safe_load(text))
