"""The local cluster for the tests that need one; it is started where it is not up, and left running."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.local import page, rollouts, users
from infra.local.components import Kubectl, State, default_state
from infra.local.demo import stage
from infra.local.telling import Demo
from infra.local.timeline import Timeline, sampling
from pipeline.progress import progress
from tests.checkouts import PROJECT
from tests.e2e import guards
from tests.e2e.receiver import told as told_to
from tests.e2e.stage import clean, settle
from tests.e2e.team import fork
from tests.e2e.world import FLIGHTLINE, HOOK_PORT, World, fresh


@dataclass(frozen=True)
class Cluster:
    """A running cluster and its administrator."""

    state: State
    kubectl: Kubectl

    def apply(self, manifests: str) -> None:
        """Apply YAML documents."""
        self.kubectl.apply(manifests)

    def until(self, what: str, holds: Callable[[], Any], seconds: float = 60) -> float:
        """Wait until something holds; the seconds it took."""
        start = time.monotonic()
        while not holds():
            if time.monotonic() - start > seconds:
                pytest.fail(f"not within {seconds:g} s: {what}")
            time.sleep(0.2)
        return time.monotonic() - start


def flightline(*words: str) -> None:
    """This project's command line; what it prints is shown."""
    subprocess.run([FLIGHTLINE, *words], cwd=PROJECT, check=True)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The local cluster with every controller, started where it is not up."""
    flightline("cluster", "up")
    state = default_state()
    return Cluster(state, Kubectl(state))


@pytest.fixture
def receiver(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the cluster called out since the test began: a function that gives the inputs of each workflow started."""
    cluster.kubectl.apply(rollouts.notification_secret(rollouts.RECEIVER))  # a forge that is up may have them
    out = tmp_path / "notifications.jsonl"
    command = (FLIGHTLINE, "cluster", "exec", "--", sys.executable, "-m", "tests.e2e.receiver")
    process = subprocess.Popen([*command, str(HOOK_PORT), str(out)], cwd=PROJECT)
    try:
        yield lambda: told_to(out)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def world(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A fork on the cluster's git server, watched by Argo CD; nothing of an earlier story is left."""
    folder, timeline = fresh(PROJECT / "build" / "e2e"), Timeline()
    with timeline.chapter("0 a fork, and what Argo CD is told"):
        clean(cluster.kubectl, cluster.state)
        root = tmp_path_factory.mktemp("story") / "fork"
        told = World(cluster.state, fork(root, cluster.state), folder, timeline)
        if broken := os.environ.get("BREAK"):
            guards.take_out(told.fork, broken.split(","))
        settle(told)
        told.train()
    hook = users.inside(sys.executable, "-m", "tests.e2e.receiver", str(HOOK_PORT), str(folder / "notifications.jsonl"))
    try:
        with sampling(timeline, told.look):
            yield told
    finally:
        for load in (*told.loads.values(), hook):
            users.end(load)
        timeline.write(folder)
        page.render(folder)


@pytest.fixture(scope="module")
def story(cluster: Cluster) -> Iterator[Demo]:
    """A fork of this checkout as it is, on a forge of its own, with two people; nothing of an earlier one is left."""
    with progress() as say, stage(cluster.state, PROJECT / "build" / "push", say, uncommitted=True) as told:
        yield told
