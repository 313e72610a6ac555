"""The supervisor, run for real in a process of its own: order, readiness, ends, deaths, orphans."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local import control
from infra.local.components import ClusterError, State

# `late` is ready once its file is there; `stubborn` ignores SIGTERM; `parent` leaves an orphan behind.
PROGRAM = """
import socket, sys
from pathlib import Path
from infra.local.components import Component, State
from infra.local.supervisor import Supervisor, serve
state = State(Path(sys.argv[1]))
components = (
    Component("after", ("sh", "-c", "trap 'sleep 0.3; exit' TERM; while :; do sleep 0.05; done"), after=("late",)),
    Component("late", ("sleep", "1000"), ready=(state.root / "ready").exists),
    Component("brief", ("sh", "-c", "echo said; exit 3")),
    Component("stubborn", ("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"), grace=0.3),
    Component("absent", ("/no/such/program",)),
    Component("told", ("sh", "-c", 'echo "$PATH $SECRET $GIVEN"; sleep 1000'), {"GIVEN": "given"}),
)
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(str(state.socket))
    listener.listen()
    serve(Supervisor(state, components), listener)
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = State(tmp_path)
    for folder in (made.run, made.log):
        folder.mkdir()
    environment = {**os.environ, "SECRET": "secret"}
    with (made.log / "supervisor.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=log, env=environment)
    _until(lambda: control.running(made))
    yield made
    if control.running(made):
        control.ask(made, "shutdown")
    process.wait(20)


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def phase(state: State, name: str) -> str:
    return str(control.ask(state, "status")[name]["phase"])


def reaches(state: State, name: str, *phases: str) -> dict[str, Any]:
    control.wait_until(state, [name], phases, 20)
    return control.ask(state, "status")[name]


def test_nothing_runs_until_it_is_asked_for(state: State) -> None:
    assert {one["phase"] for one in control.ask(state, "status").values()} == {"stopped"}


def test_a_component_waits_for_what_it_comes_after_to_be_ready(state: State) -> None:
    control.ask(state, "start", ["after", "late"])
    reaches(state, "late", "starting")
    assert phase(state, "after") == "waiting"
    (state.root / "ready").touch()
    assert reaches(state, "after", "ready")["pid"]


def test_a_death_is_recorded_and_not_mended(state: State) -> None:
    control.ask(state, "start", ["brief"])
    with pytest.raises(ClusterError, match=r"brief ended; its log says:\nsaid"):
        reaches(state, "brief", "stopped")
    assert control.ask(state, "status")["brief"]["exit"] == 3
    assert phase(state, "brief") == "dead"


def test_a_program_that_is_not_there_is_a_death_too(state: State) -> None:
    control.ask(state, "start", ["absent"])
    with pytest.raises(ClusterError, match="No such file"):
        reaches(state, "absent", "ready")


def test_a_killed_one_is_dead_and_can_be_started_again(state: State) -> None:
    control.ask(state, "start", ["told"])
    first = reaches(state, "told", "ready")["pid"]
    control.ask(state, "kill", ["told"])
    assert reaches(state, "told", "dead")["exit"] == -signal.SIGKILL
    control.ask(state, "start", ["told"])
    assert reaches(state, "told", "ready")["pid"] != first


def test_one_that_ignores_the_request_to_end_is_made_to(state: State) -> None:
    control.ask(state, "start", ["stubborn"])
    reaches(state, "stubborn", "ready")
    control.ask(state, "stop", ["stubborn"])
    assert reaches(state, "stubborn", "stopped")["exit"] == -signal.SIGKILL


def test_the_environment_is_its_own_and_not_the_callers(state: State) -> None:
    control.ask(state, "start", ["told"])
    reaches(state, "told", "ready")
    _until(lambda: control.log_end(state, "told").endswith("given"))
    assert "secret" not in control.log_end(state, "told")
    assert control.log_end(state, "told").startswith(str(state.bin))


def test_starting_twice_is_starting_once(state: State) -> None:
    control.ask(state, "start", ["told"])
    first = reaches(state, "told", "ready")["pid"]
    assert control.ask(state, "start", ["told"])["told"]["pid"] == first


def test_shutdown_stops_dependants_first_and_ends_the_supervisor(state: State) -> None:
    (state.root / "ready").touch()
    control.ask(state, "start", ["after", "late", "stubborn"])
    for name in ("after", "stubborn"):
        reaches(state, name, "ready")
    pids = [one["pid"] for one in control.ask(state, "status").values() if one["pid"]]
    supervisor = control.supervisor(state)
    control.ask(state, "shutdown")
    control.wait_for_end(supervisor, 20)
    assert not control.running(state)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    said = control.log_end(state, "supervisor")
    assert said.index("after: stopped") < said.index("late: stopped")


@pytest.mark.parametrize(("verb", "names"), [("dance", []), ("start", ["nobody"])])
def test_what_it_does_not_know_is_refused(state: State, verb: str, names: list[str]) -> None:
    with pytest.raises(ClusterError, match=verb if not names else names[0]):
        control.ask(state, verb, names)


def test_a_client_that_says_nothing_holds_nobody_up(state: State) -> None:
    silent = control._connect(state)
    assert control.ask(state, "status")
    silent.close()


def test_a_cluster_that_is_down_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="flightline cluster up"):
        control.ask(State(tmp_path), "status")
