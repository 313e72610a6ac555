"""Production is watched and retrained as a team does it: the project's own verbs in a clone, the Job on the cluster."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from infra.local import retraining
from infra.local.api import Api
from infra.local.components import Kubectl, direct
from infra.local.telling import Demo
from infra.local.watch import namespace
from pipeline.errors import INPUT_OUTPUT, UNAVAILABLE, USAGE
from pipeline.forge import Pull
from pipeline.monitoring.observation import PATH, Observation, read_observation
from tests.e2e.playing import LATE, Change, Flights
from tests.e2e.world import FLIGHTLINE

ADDRESS = "http://127.0.0.1:8002/predict"
SPACE = "flightline-retraining"
JOB_SECONDS = 900.0
ROTATED = (USAGE, UNAVAILABLE, INPUT_OUTPUT)


@dataclass
class Watched:
    """A story with months to play. `played` and `told` are the last days that were asked for, and have labels."""

    story: Demo
    flights: Flights
    played: date
    told: date = field(default=date.min)

    @property
    def root(self) -> Path:
        """The clone in which everything is typed."""
        return self.story.reviewer.root

    def run(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """`flightline ...` as the clone has it, with the way to the pods' store and to the cluster."""
        own = {"PYTHONPATH": str(self.root), "KUBECONFIG": str(self.story.state.kubeconfig)}
        environment = {**os.environ, **direct(os.environ), **retraining.here(self.story.state), **own}
        done = subprocess.run(
            [FLIGHTLINE, *words], cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def follow(self) -> None:
        """The clone as main is now."""
        self.story.reviewer.begin("watching")

    def play(self, until: date, change: Change | None = None) -> int:
        """Ask production for the days up to one; what it logged is then in the store. How many rows."""
        days = self.flights.between(_after(self.played), until, change)
        asked = days.play(ADDRESS)
        self.played = until
        self.story.timeline.event(f"played to {until}: {asked:,} rows")
        self.story.until("what was answered is in the store", lambda: self._kept(days) == asked, 60)
        return asked

    def _kept(self, days: Flights) -> int:
        """Keep the pods' logs once more; how many rows of these days the store has.

        A file that the kubelet rotates meanwhile is gone, or half written: the next time it is whole.
        """
        done = self.run("log", "add", *map(str, self._logs()), check=False)
        assert done.returncode in {0, *ROTATED}, done.stderr
        wanted = set(map(str, days.frame["day"]))
        return sum(one["predictions"] for one in self.kept() if one["day"] in wanted)

    def _logs(self) -> list[Path]:
        """Where the kubelet keeps what production's servers print."""
        return sorted((self.story.state.log / "pods").glob(f"{namespace('production')}_*/server"))

    def kept(self) -> list[dict[str, Any]]:
        """The store by day and version."""
        found: list[dict[str, Any]] = json.loads(self.run("log", "days", "--json").stdout)
        return found

    def observed(self, as_of: date) -> Observation:
        """One look, after the labels that are known by then have come."""
        newest = as_of - LATE
        if newest > self.told:
            since = self.flights.between(_after(self.told), newest)
            path = since.labels(self.story.folder / f"labels-{newest}.csv")
            self.run("labels", "add", str(path), "--as-of", as_of.isoformat())
            self.told = newest
        done = self.run("observe", "--as-of", as_of.isoformat(), check=False)
        assert done.returncode in {0, 1, 2}, done.stderr
        found = read_observation(self.root / PATH)
        assert (found.as_of, found.exit_code) == (as_of, done.returncode)
        self.story.timeline.event(f"{as_of}: feed {found.feed.decision}, decay {found.decay.decision}")
        return found

    def retrain(self, as_of: date) -> str:
        """The event: `flightline retrain`, which starts the Job; its name."""
        self.follow()
        said = self.run("retrain", "--engine", "job", "--as-of", as_of.isoformat()).stdout
        assert "is started" in said, said
        self.story.timeline.event(f"{as_of}: {said.partition(';')[0]}")
        return f"{SPACE}-{as_of:%Y%m%d}"

    def ended(self, job: str) -> str:
        """Wait for the end of a Job: Complete or Failed."""

        def end() -> str:
            found = Api(self.story.state, "admin").get(f"/apis/batch/v1/namespaces/{SPACE}/jobs/{job}")
            true = [one["type"] for one in found.get("status", {}).get("conditions", ()) if one["status"] == "True"]
            return next((one for one in true if one in {"Complete", "Failed"}), "")

        kind: str = self.story.until(f"{job} has ended", end, JOB_SECONDS)
        return kind

    def said(self, job: str, step: str) -> str:
        """What a step of a Job printed."""
        kubectl = Kubectl(self.story.state)
        return kubectl("--namespace", SPACE, "logs", f"job/{job}", f"--container={step}", "--tail=-1")

    def attempts(self) -> list[Mapping[str, Any]]:
        """What was tried, oldest first."""
        found: list[Mapping[str, Any]] = json.loads(self.run("retraining", "attempts", "--json").stdout)
        return found

    def proposals(self) -> list[Pull]:
        """The open pull requests of the retraining."""
        return [one for one in self.story.reviewer.forge.pulls() if one.head_branch == "retrain"]


def _after(day: date) -> date:
    return date.fromordinal(day.toordinal() + 1) if day > date.min else day
